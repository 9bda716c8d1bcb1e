/* SPDX-License-Identifier: MIT */
/*
 * The order in which locks are taken, as data: a lock may be taken only while every lock that
 * this CPU holds has a smaller rank.
 *
 *    gc heap ---> space ---> cache ---> frame
 *    (gc)         (mm/sys.c) (mm/framecache.c, one a CPU) (mm/frame.c)
 *
 * gc's heap lock keeps interrupts on and is no concern of this file's checks, but it is always
 * taken before the two of mm. space covers region records, page tables and their accounting;
 * cache covers one CPU's stack of frames; frame covers the
 * buddies and the frame records. The log and panic paths take none.
 */
#ifndef LOAM_MM_LOCKRANK_H
#define LOAM_MM_LOCKRANK_H

#include <loam/types.h>

enum loam_lock_rank {
	LOAM_RANK_SPACE = 1,
	LOAM_RANK_CACHE,
	LOAM_RANK_FRAME,
	LOAM_RANK_COUNT,
};

/* Record that this CPU takes or drops a lock of `rank`; at LOAM_DEBUG >= 1 an order violation
 * panics. Context: IRQs off. */
void loam_lockrank_acquire(uint32_t rank);
void loam_lockrank_release(uint32_t rank);
/* Does this CPU hold any of them? Context: IRQs off. */
bool loam_lockrank_held(void);
/* This CPU holds nothing: for tests that come out of an expected panic. */
void loam_lockrank_reset(void);

#endif
