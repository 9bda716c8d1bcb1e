/* SPDX-License-Identifier: MIT */
/*
 * When a cycle is due, as in Go: when the live estimate reaches marked * (1 + percent / 100), at least
 * HEAP_MINIMUM * percent / 100; a memory limit lowers that. A machine with less memory than that
 * collects when it runs out (gc/refill.c, gc/alloc.c).
 */
#include "gc/heap.h"

#define HEAP_MINIMUM ((uint64_t)4 << 20)
#define PERCENT_MAX  100000

/* Where the next collection is due, by percent and by limit. */
static uint64_t goal(const struct loam_heap *h)
{
	uint64_t least, to = UINT64_MAX >> 1;

	if (h->percent >= 0) {
		to = h->marked + h->marked / 100 * (uint64_t)h->percent;
		least = HEAP_MINIMUM / 100 * (uint64_t)h->percent;
		to = to > least ? to : least;
	}
	if (to > h->limit) {
		/* never below what is live, or every allocation would collect */
		least = h->marked + h->marked / 16 + LOAM_HEAP_PAGE;
		to = h->limit > least ? h->limit : least;
	}
	return to;
}

void loam_pace(void)
{
	struct loam_heap *h = &loam_heap;

	__atomic_store_n(&h->live, (int64_t)h->marked, __ATOMIC_RELAXED);
	__atomic_store_n(&h->next_gc, (int64_t)goal(h), __ATOMIC_RELAXED);
}

enum loam_err loam_gc_set_percent(int percent)
{
	if (percent > PERCENT_MAX)
		return LOAM_INVAL;
	loam_heap.percent = percent;
	__atomic_store_n(&loam_heap.next_gc, (int64_t)goal(&loam_heap), __ATOMIC_RELAXED);
	return LOAM_OK;
}

enum loam_err loam_gc_set_limit(uint64_t bytes)
{
	if (bytes == 0)
		return LOAM_INVAL;
	loam_heap.limit = bytes;
	__atomic_store_n(&loam_heap.next_gc, (int64_t)goal(&loam_heap), __ATOMIC_RELAXED);
	return LOAM_OK;
}
