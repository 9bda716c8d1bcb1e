/* SPDX-License-Identifier: MIT */
/* Making sense of a firmware's memory map. The theory stands in memmap.c. */
#ifndef LOAM_MM_MEMMAP_H
#define LOAM_MM_MEMMAP_H

#include <loam/err.h>
#include <loam/memmap.h>

#define LOAM_MEMMAP_MAX 256 /* ranges after sanitising */

/* Usable RAM: whole frames, sorted, disjoint, not adjacent, none reserved. */
struct loam_mem_range {
	uint64_t base; /* bytes, frame-aligned */
	uint64_t end;  /* one past the last byte */
};

struct loam_memmap {
	struct loam_mem_range range[LOAM_MEMMAP_MAX];
	size_t count;
	uint64_t usable_bytes;
	uint64_t highest;	/* end of the last range */
	size_t dropped_count;	/* entries that made no sense: empty, wrapping, beyond pa_bits */
	uint64_t dropped_bytes; /* usable bytes lost to rounding and to LOAM_MEMMAP_MAX */
};

/*
 * Sort, clip to [LOAM_PAGE_SIZE, 2^pa_bits), merge, subtract what is reserved, round inward.
 * Frame 0 is never usable: a null physical address stays an error. `out` describes the result.
 * Fails: INVAL `entries` NULL with count > 0, or no usable frame at all; what is in `out` then
 * means nothing.
 * Context: any; no memory but `out`.
 */
LOAM_MUST_USE enum loam_err loam_memmap_sanitise(const struct loam_mem_entry *entries, size_t count,
						 unsigned pa_bits, struct loam_memmap *out);

/* Remove [base, base + size) (rounded outward) from a sanitised map. */
void loam_memmap_reserve(struct loam_memmap *map, uint64_t base, uint64_t size);

#endif
