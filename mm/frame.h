/* SPDX-License-Identifier: MIT */
/*
 * Frames inside mm: what <loam/frame.h> offers, plus lists of frames and the per-frame record.
 */
#ifndef LOAM_MM_FRAME_H
#define LOAM_MM_FRAME_H

#include <loam/frame.h>
#include <loam/memmap.h>

#include "mm/memmap.h"

/*
 * A list of single frames, linked through their records (not through their contents): taking
 * them first and using them later is how a mapping operation prepares. Zero-initialised is empty.
 */
struct loam_frame_list {
	struct loam_pfn head; /* meaningful if count > 0 */
	size_t count;
};

/*
 * Take `count` single frames (order 0) for `owner` and put them in front of `list`, all or
 * nothing. `flags` as loam_frame_alloc. Fails: NOMEM. Context: any.
 */
LOAM_MUST_USE enum loam_err loam_frame_list_alloc(struct loam_frame_list *list, size_t count,
						  unsigned flags, enum loam_owner owner);

/* Put an allocated single frame in front of the list, or take one off it (count > 0). */
void loam_frame_list_push(struct loam_frame_list *list, struct loam_pfn pfn);
struct loam_pfn loam_frame_list_pop(struct loam_frame_list *list);

/* Free every frame of the list. Context: any. */
void loam_frame_list_free(struct loam_frame_list *list);

/*
 * An allocated run of 2^order frames becomes runs of 2^to frames (to 0: single ones) of the same
 * owner, each freed on its own from now on. The reverse of nothing. Context: any.
 */
void loam_frame_split(struct loam_pfn pfn, unsigned order, unsigned to);

/*
 * Keep single frame `frame` with the allocated run that begins at `run`, which is in no list, and
 * take it back. Who keeps one must remember that he did. Context: any.
 */
void loam_frame_deposit(struct loam_pfn run, struct loam_pfn frame);
struct loam_pfn loam_frame_withdraw(struct loam_pfn run);

/* The frames of an allocated run change owner (accounting only). */
void loam_frame_set_owner(struct loam_pfn pfn, unsigned order, enum loam_owner owner);

/* Who has this frame: its owner and the order it was taken with. Fails: NOENT not RAM of ours. */
LOAM_MUST_USE enum loam_err loam_frame_query(struct loam_pfn pfn, enum loam_owner *owner,
					     unsigned *order);

/*
 * Take over the free frames of a sanitised map: bitmaps and records are placed in the map's own
 * memory by the early allocator, the rest becomes free. Once. Fails: NOMEM not enough memory for
 * the records; INVAL no usable memory. Context: boot CPU.
 */
LOAM_MUST_USE enum loam_err loam_frame_init(const struct loam_memmap *map);

/* Every frame that came free from the map is free again, in the buddies and nowhere else, or panic
 * [SHUT-1]; then forget the map. What loam_frame_stats says stays, until loam_frame_init. */
void loam_frame_shutdown(void);

/* Give a sanitised map's frames back to nobody: for tests that init again. */
void loam_frame_reset(void);

/* Walk everything and panic on the first broken invariant. Context: any. */
void loam_frame_verify(void);

/*
 * Tests: the n-th frame request from now on fails with NOMEM, and every later one too until
 * loam_frame_fail_at(0). n counts from 1 and counts calls of _alloc and _list_alloc alike (one per frame
 * for lists). Returns how many requests were made since the last call. Only at LOAM_DEBUG >= 1.
 */
uint64_t loam_frame_fail_at(uint64_t n);

#endif
