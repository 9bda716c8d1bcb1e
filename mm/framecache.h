/* SPDX-License-Identifier: MIT */
/* Single frames close at hand, a stack a CPU. Theory: framecache.c. */
#ifndef LOAM_MM_FRAMECACHE_H
#define LOAM_MM_FRAMECACHE_H

#include <loam/frame.h>

/* One frame for `owner`, contents undefined. Fails: NOMEM none here and none in the buddies. */
LOAM_MUST_USE enum loam_err loam_framecache_alloc(enum loam_owner owner, struct loam_pfn *pfn);

/* Take back a frame that had `owner` until now and is nobody's; `keep_it`, or it goes on to its buddy. */
void loam_framecache_free(struct loam_pfn pfn, enum loam_owner owner, bool keep_it);

/* Single frames that wait for LOAM_FRAME_IRQ, unless memory is small. */
#define LOAM_FRAME_RESERVE 16u

/* One from the reserve, when there is nothing else. Fails: NOMEM that is empty too. */
LOAM_MUST_USE enum loam_err loam_framecache_reserve(enum loam_owner owner, struct loam_pfn *pfn);

/* Everything goes back to the buddies, from every CPU. True if there was anything. */
bool loam_framecache_drain(bool reserve_too);

/* Add to owner[] what the caches have moved between owners. */
void loam_framecache_sum(uint64_t *owner);

/* `total` frames are there: a 512th of them at most, and LOAM_FRAME_RESERVE, is kept in reserve. */
void loam_framecache_init(uint64_t total);

/* For tests that init again. */
void loam_framecache_reset(void);

/* ---- what mm/frame.c offers for it ---- */

/* Up to `n` single frames that are nobody's from now on; returns how many. And back. */
unsigned loam_frame_take_loose(struct loam_pfn *pfn, unsigned n);
void loam_frame_give_loose(const struct loam_pfn *pfn, unsigned n);
/* A loose frame becomes somebody's. */
void loam_frame_own(struct loam_pfn pfn, enum loam_owner owner);

#endif
