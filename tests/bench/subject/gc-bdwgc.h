/* SPDX-License-Identifier: MIT */
/*
 * bdwgc; GC_NPROCS and GC_MARKERS in the environment tell it of the CPUs. It knows no percentage; the
 * nearest thing is a divisor: it allocates about 2 / divisor of what it scans between collections. Its
 * default, 3, stands where Go's 100 does; more is asked for with 1.
 */
#include "tests/bench/subject/bdwgc.h"

#include <stdbool.h>
#include <time.h>

/* Both written in a collection, with bdwgc's lock held. */
static uint64_t bdwgc_stop_begun, bdwgc_stop_longest;

static void GC_CALLBACK bdwgc_event(GC_EventType event)
{
	struct timespec t;
	uint64_t now;

	if (event != GC_EVENT_PRE_STOP_WORLD && event != GC_EVENT_POST_START_WORLD)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (event == GC_EVENT_PRE_STOP_WORLD)
		bdwgc_stop_begun = now;
	else if (now - bdwgc_stop_begun > bdwgc_stop_longest)
		bdwgc_stop_longest = now - bdwgc_stop_begun;
}

static inline void heap_gc_begin(struct heap_thread *t, void *base, unsigned cpus, unsigned percent)
{
	heap_begin(t, base);
	GC_set_on_collection_event(bdwgc_event);
	if (percent > 100)
		GC_set_free_space_divisor(1);
}

static inline void heap_gc_end(void)
{
}

static inline void heap_collecting(bool on)
{
	if (on)
		GC_enable();
	else
		GC_disable();
}

static inline void heap_store(void *slot, void *value)
{
	*(void **)slot = value;
}

static inline uint64_t heap_stop_ns(void)
{
	return bdwgc_stop_longest;
}
