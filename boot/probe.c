/* SPDX-License-Identifier: MIT */
/* Touching memory that may trap, and living to tell (the touch itself is in <isa>/entry.S). */
#include "boot/boot.h"

int loam_probe_touch(enum loam_access access, const void *addr);

volatile uint64_t loam_probe_sp;
volatile uint8_t loam_probe_armed;
struct loam_fault loam_probe_fault;

bool loam_boot_probe(enum loam_access access, const void *addr, struct loam_fault *fault)
{
	bool trapped = loam_probe_touch(access, addr) != 0;

	if (trapped && fault != NULL)
		*fault = loam_probe_fault;
	return trapped;
}
