/* SPDX-License-Identifier: MIT */
/*
 * The pure buddy allocator: orders 0 to LOAM_ORDER_MAX over one stretch of frames. It never
 * looks into the frames, takes no lock and calls no hook but panic. Theory: buddy.c.
 */
#ifndef LOAM_MM_BUDDY_H
#define LOAM_MM_BUDDY_H

#include <loam/err.h>
#include <loam/types.h>

#define LOAM_BUDDY_DEPTH 6 /* 64^6 blocks of order 0: more than any machine has */

/* The free blocks of one order: bit i of map[0] is block i; bit i of map[d + 1] says that word i
 * of map[d] is not zero. map[depth - 1] is one word. */
struct loam_buddy_order {
	uint64_t *map[LOAM_BUDDY_DEPTH];
	uint64_t first; /* absolute number (pfn >> order) of block 0 */
	uint64_t free_blocks;
	uint32_t depth;
};

struct loam_buddy {
	uint64_t base;	/* first frame number covered */
	uint64_t count; /* frames covered, free or not */
	uint64_t free_frames;
	uint32_t order_mask; /* bit o: order o has a free block */
	struct loam_buddy_order order[LOAM_ORDER_COUNT];
};

/* Bytes of metadata for `count` frames from `base` on: about 2.03 bits a frame. */
uint64_t loam_buddy_meta_bytes(struct loam_pfn base, uint64_t count);

/* Cover [base, base + count), nothing free yet. `meta`: loam_buddy_meta_bytes bytes, 8-byte
 * aligned, the buddy's from now on. count > 0. */
void loam_buddy_init(struct loam_buddy *buddy, struct loam_pfn base, uint64_t count, void *meta);

/* Make a run of any length free. It must be covered, and none of it free: else panic. */
void loam_buddy_add(struct loam_buddy *buddy, struct loam_pfn pfn, uint64_t count);

/* Take the lowest block of the smallest order that serves. Fails: NOMEM. */
LOAM_MUST_USE enum loam_err loam_buddy_alloc(struct loam_buddy *buddy, unsigned order,
					     struct loam_pfn *pfn);

/* Take just this block. Fails: NOMEM not wholly free. */
LOAM_MUST_USE enum loam_err loam_buddy_alloc_at(struct loam_buddy *buddy, struct loam_pfn pfn,
						unsigned order);

/* Give a block back; it merges with its buddies. At LOAM_DEBUG >= 1 panics if it is not
 * covered, not aligned, or if any frame of it is free already. */
void loam_buddy_free(struct loam_buddy *buddy, struct loam_pfn pfn, unsigned order);

/* Is this one frame in a free block? */
bool loam_buddy_is_free(const struct loam_buddy *buddy, struct loam_pfn pfn);

/* Walk everything; panic on the first broken invariant. */
void loam_buddy_verify(const struct loam_buddy *buddy);

#endif
