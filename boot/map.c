/* SPDX-License-Identifier: MIT */
/* The list of memory that the firmware readers fill. */
#include "boot/boot.h"

void loam_boot_map_add(struct loam_boot_map *m, uint64_t base, uint64_t size,
		       enum loam_mem_type type, const char *what)
{
	if (size == 0)
		return;
	if (m->count == LOAM_BOOT_ENTRIES) {
		m->lost++;
		return;
	}
	m->entry[m->count++] = (struct loam_mem_entry){base, size, type, what};
}
