/* SPDX-License-Identifier: MIT */
/*
 * The scavenger: how much free memory the heap keeps, and when the rest goes back.
 *
 * Two goals, as in Go. After each collection, the heap keeps 1.10 times the pages that were in use, scaled
 * by how much the heap may grow until the next one. And with a memory limit, all that loam has Ready shall
 * stay below 95 % of it. Whichever is exceeded, free pages go back, highest address first, 64 KiB
 * at a time; which pages those are is scavindex.c's affair.
 *
 * It runs on donated time (loam_gc_work), and a little at the end of a collection. And an allocation that
 * needs new memory while a goal is exceeded gives as much back first, so that the heap does not
 * grow past it for want of a donor.
 *
 * References: Go's runtime/mgcscavenge.go. Departures: no pacing by a controller; whoever donates time
 * says how much.
 */
#include "gc/heap.h"

#include <loam/stack.h>

#define QUANTUM	    8u	/* heap pages at a time: 64 KiB */
#define LIMIT_SHARE 95u /* per cent of the memory limit */

/* Pages that went back; atomic, relaxed: since loam_scavenge_told was last asked. */
static uint64_t donated_pages, before_pages;

static uint64_t release(uint64_t pages, bool force, uint64_t *sum)
{
	uint64_t gone = loam_pages_release(pages, force);

	if (gone > 0)
		__atomic_add_fetch(sum, gone, __ATOMIC_RELAXED);
	return gone;
}

void loam_scavenge_told(uint64_t *donated, uint64_t *before)
{
	*donated = __atomic_exchange_n(&donated_pages, 0, __ATOMIC_RELAXED) << LOAM_HEAP_PAGE_SHIFT;
	*before = __atomic_exchange_n(&before_pages, 0, __ATOMIC_RELAXED) << LOAM_HEAP_PAGE_SHIFT;
}

static uint64_t ready(void)
{
	return __atomic_load_n(&loam_heap.pages.ready, __ATOMIC_RELAXED);
}

/* Pages beyond the goal of the last collection. */
static uint64_t over_goal(void)
{
	uint64_t goal = __atomic_load_n(&loam_heap.pages.goal, __ATOMIC_RELAXED), have = ready();

	return goal != 0 && have > goal ? have - goal : 0;
}

/* Pages beyond the memory limit's share, if `more` are added. */
static uint64_t over_limit(uint64_t more)
{
	uint64_t limit = loam_heap.limit, most, have;

	if (limit == UINT64_MAX)
		return 0;
	most = limit / 100 * LIMIT_SHARE;
	have = loam_sys_ready_bytes() + (more << LOAM_HEAP_PAGE_SHIFT);
	return have > most ? (have - most + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT : 0;
}

void loam_scavenge_goal(uint64_t last_goal)
{
	struct loam_heap *h = &loam_heap;
	uint64_t goal = loam_pacer_goal(&h->pacer),
		 next = goal == LOAM_PACER_NEVER ? h->marked : goal, keep;

	/* what was in use, holes and all, at the last collection's goal; scaled to the next one's; a tenth more */
	keep = last_goal > 0 ? h->pages.used * (next / 4096 + 1) / (last_goal / 4096 + 1) : 0;
	if (keep < next >> LOAM_HEAP_PAGE_SHIFT)
		keep = next >> LOAM_HEAP_PAGE_SHIFT;
	if (keep < h->pages.used)
		keep = h->pages.used;
	/* and 2 MiB that the page heap may have made Ready at once */
	keep += keep / 10 + (keep >= LOAM_HUGE_HEAP_PAGES ? LOAM_HUGE_HEAP_PAGES : 0);
	__atomic_store_n(&h->pages.goal, keep, __ATOMIC_RELAXED);
	loam_gc_lock(&h->pages.lock);
	loam_pagealloc_tick(&h->pages.pa);
	loam_gc_unlock(&h->pages.lock);
}

void loam_scavenge_before(uint64_t pages)
{
	uint64_t over = over_goal(), most = over_limit(pages);

	if (most > 0)
		release(most < pages ? most : pages, true, &before_pages);
	else if (over > 0)
		release(over < pages ? over : pages, false, &before_pages);
}

bool loam_scavenge_room(uint64_t pages)
{
	uint64_t goal = __atomic_load_n(&loam_heap.pages.goal, __ATOMIC_RELAXED);
	uint64_t all = loam_sys_memory_bytes();

	return (goal == 0 || ready() + pages <= goal) && over_limit(pages) == 0 &&
	       loam_sys_ready_bytes() + (pages << LOAM_HEAP_PAGE_SHIFT) < all - all / 4;
}

bool loam_scavenge_some(void)
{
	uint64_t over = over_goal(), most = over_limit(0);

	if (most > 0 && release(most < QUANTUM ? most : QUANTUM, true, &donated_pages) > 0)
		return true;
	return over > 0 && release(over < QUANTUM ? over : QUANTUM, false, &donated_pages) > 0;
}

uint64_t loam_scavenge_all(void)
{
	uint64_t pages;

	loam_stack_pool_release();
	pages = loam_pages_release(UINT64_MAX, true);
	loam_pages_released();
	return pages << LOAM_HEAP_PAGE_SHIFT;
}
