/* SPDX-License-Identifier: MIT */
/* Physical frames: power-of-two runs of 4 KiB, naturally aligned. */
#ifndef LOAM_FRAME_H
#define LOAM_FRAME_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_FRAME_ZERO	      1u /* the frames come zeroed */
#define LOAM_FRAME_DMA32      2u /* below 4 GiB, for devices that reach no further */
#define LOAM_FRAME_STRICT     8u /* from the node named, or this CPU's, and no other */
#define LOAM_FRAME_NODE_SHIFT 8u
#define LOAM_FRAME_NODE(n) \
	(((unsigned)(n) + 1) << LOAM_FRAME_NODE_SHIFT) /* from node n if it can be */
#define LOAM_FRAME_IRQ 4u /* when nothing else is left, a single frame from the reserve */

/*
 * Take 2^order frames (order 0 to LOAM_ORDER_MAX), aligned to their size, for `owner`. Contents
 * are undefined unless LOAM_FRAME_ZERO is in `flags`.
 * Interrupt handlers, which can neither wait nor collect, say LOAM_FRAME_IRQ: a few frames (16, or a 512th
 * of a small machine's) are kept for them, and what is freed fills those up first.
 * With several nodes (<loam/numa.h>) frames come from this CPU's, or from the one that
 * LOAM_FRAME_NODE names, and from another only when that has none left.
 * Fails: NOMEM; INVAL order, owner or node out of range. Context: any, IRQs on or off.
 */
LOAM_MUST_USE enum loam_err loam_frame_alloc(unsigned order, unsigned flags, enum loam_owner owner,
					     struct loam_pfn *pfn);

/*
 * Give back what loam_frame_alloc gave, whole and with the same order.
 * Fails, with nothing changed: INVAL the frame is not RAM of ours, is free already, is not the
 * first of its run, or has another order. Context: any, IRQs on or off.
 */
LOAM_MUST_USE enum loam_err loam_frame_free(struct loam_pfn pfn, unsigned order);

/*
 * Donate idle time: zero a few free frames ahead, for later requests with LOAM_FRAME_ZERO, demand
 * paging among them. Up to 1/64 of RAM, at most 16 MiB; they count as free, and serve any request
 * when nothing else is left. True: there is more to do. Bounded: at most 16 frames a call.
 * Context: any, IRQs on or off.
 */
bool loam_frame_idle(void);

struct loam_frame_stats {
	uint64_t total;	 /* usable frames, bookkeeping included */
	uint64_t free;	 /* free now */
	uint64_t intake; /* were free when the memory map had been read: all but bookkeeping */
	uint64_t free_blocks[LOAM_ORDER_COUNT];	 /* free blocks by order */
	uint64_t owner_frames[LOAM_OWNER_COUNT]; /* [NONE] == free; sums to total */
	uint64_t zeroed;			 /* frames zeroed on request so far */
	uint64_t known_zero;			 /* free frames that are zero: loam_frame_idle */
	uint64_t meta_bytes;			 /* bitmaps and records; part of owner META */
	unsigned zone_count;
};

/* A consistent snapshot. After loam_shutdown: of what was left then. Context: any. */
void loam_frame_stats(struct loam_frame_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
