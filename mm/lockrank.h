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

#include "arch/check.h"
#include "arch/cpu.h"

#include <loam/cpu.h>
#include <loam/host.h>
#include <loam/stack.h>

enum loam_lock_rank {
	LOAM_RANK_SPACE = 1,
	LOAM_RANK_CACHE,
	LOAM_RANK_FRAME,
	LOAM_RANK_COUNT,
};

/* Which ranks each CPU holds: bit n is rank n. By its own CPU, with interrupts off; a cache line each,
 * because every lock writes here. */
extern struct loam_lockrank {
	uint32_t held;
} __attribute__((aligned(64))) loam_lockrank[LOAM_CPU_MAX];

/* Record that this CPU takes or drops a lock of `rank`; at LOAM_DEBUG >= 1 an order violation
 * panics [LOCK-1]. From here on a page that is missing is not filled, so this is where a stack that fills itself
 * grows: before the rank is noted, because the bit counts while the lock is only waited for. Context: IRQs off. */
static inline void loam_lockrank_acquire(uint32_t rank)
{
	unsigned cpu = loam_host_cpu_id();

	LOAM_CHECK(cpu < LOAM_CPU_MAX, "loam_host_cpu_id must be below 64");
	/* [STACK-2]: the first lock; what further ones need is in the room already */
	if (loam_lockrank[cpu].held == 0)
		loam_cpu_touch_stack(LOAM_STACK_ROOM);
	if (LOAM_DEBUG >= 1)
		LOAM_CHECK(loam_lockrank[cpu].held >> rank == 0,
			   "[LOCK-1] lock order violated: see mm/lockrank.h");
	loam_lockrank[cpu].held |= 1u << rank;
}

static inline void loam_lockrank_release(uint32_t rank)
{
	loam_lockrank[loam_host_cpu_id()].held &= ~(1u << rank);
}

/* Does this CPU hold any of them? Context: IRQs off. */
static inline bool loam_lockrank_held(void)
{
	return loam_lockrank[loam_host_cpu_id()].held != 0;
}

/* This CPU holds nothing: for tests that come out of an expected panic. */
static inline void loam_lockrank_reset(void)
{
	loam_lockrank[loam_host_cpu_id()].held = 0;
}

#endif
