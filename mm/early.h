/* SPDX-License-Identifier: MIT */
/*
 * The early allocator: memory before the buddy is up, straight out of a sanitised map.
 * What it hands out leaves the map, so the two never own the same frame.
 */
#ifndef LOAM_MM_EARLY_H
#define LOAM_MM_EARLY_H

#include "mm/memmap.h"

/*
 * Take `size` bytes (rounded up to frames), aligned to `align` (a power of two, at least a
 * frame), below `limit` (bytes; 0: anywhere), from the highest address that fits, and remove
 * them from `map`. The contents are undefined. Fails: NOMEM; INVAL. Context: boot CPU.
 */
LOAM_MUST_USE enum loam_err loam_early_alloc(struct loam_memmap *map, uint64_t size, uint64_t align,
					     uint64_t limit, struct loam_paddr *pa);

#endif
