/* SPDX-License-Identifier: MIT */
/*
 * Physical memory as the firmware or the host kernel describes it: plain data, any order,
 * overlapping, wrapping or absurd entries allowed. mm/memmap.c makes sense of it.
 *
 * What is USABLE and not RESERVED is loam's from loam_init on, and it writes there. To be RESERVED by the
 * host, over what the firmware calls usable: the kernel's image, its stacks, the page tables that are in force,
 * the memory map itself and boot modules if they are read later, firmware tables that are (ACPI, device tree).
 */
#ifndef LOAM_MEMMAP_H
#define LOAM_MEMMAP_H

#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum loam_mem_type {
	LOAM_MEM_USABLE = 1, /* free RAM; rounded inward to whole frames */
	LOAM_MEM_RESERVED,   /* in use or not RAM; rounded outward; wins over USABLE */
};

/* One entry: [base, base + size) bytes of physical address space. */
struct loam_mem_entry {
	uint64_t base;
	uint64_t size;
	enum loam_mem_type type;
	const char *what; /* for the log: "kernel image", "initrd"; may be NULL */
};

#ifdef __cplusplus
}
#endif

#endif
