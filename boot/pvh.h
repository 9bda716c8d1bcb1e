/* SPDX-License-Identifier: MIT */
/* The PVH boot protocol's start info (Xen's public header start_info.h describes it). */
#ifndef LOAM_BOOT_PVH_H
#define LOAM_BOOT_PVH_H

#include "boot/boot.h"

/* Reads `size` bytes of physical memory into `to`; false where that cannot be RAM. */
typedef bool loam_pvh_read(void *context, uint64_t pa, void *to, size_t size);

/*
 * Fill in the map from the start info at physical address `pa`: memory map, first module as
 * initrd, and the structures themselves as reserved. The command line's address goes to
 * `cmdline_pa`. Returns NULL, or what is wrong with it.
 */
const char *loam_pvh_parse(loam_pvh_read *read, void *context, uint64_t pa,
			   struct loam_boot_map *map, uint64_t *cmdline_pa);

#endif
