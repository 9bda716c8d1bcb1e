/* SPDX-License-Identifier: MIT */
/*
 * A collection, and when the next one is due.
 *
 * One at a time: `collecting` is taken first, by a thread that is outside, so it can itself be
 * stopped while it waits. Then the world stops; caches are flushed; mark; sweep; pace; and the
 * world starts again. Giving memory back comes after that, with other threads running.
 *
 * Pacing, as in Go: collect when the live estimate reaches marked * (1 + percent / 100), at least
 * HEAP_MINIMUM * percent / 100; a memory limit lowers that. A machine with less memory than that
 * collects when it runs out (gc/central.c, gc/alloc.c).
 *
 * Memory that the heap need not keep goes back at the end (scavenge.c), and all that is free when memory
 * is short.
 */
#include "gc/heap.h"

#include "arch/cpu.h"

#define HEAP_MINIMUM ((uint64_t)4 << 20)
#define PERCENT_MAX  100000

/* ---- pacing ---- */

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

void loam_gc_set_stress(uint64_t n)
{
	struct loam_cache *cache = loam_cache_self();

	loam_heap.stress = n;
	loam_heap.singly = n != 0; /* every allocation comes by to be counted */
	loam_cache_enter(cache);
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		loam_bin_drop(cache, &cache->bin[i]);
	loam_cache_leave(cache);
}

/* ---- donated time ---- */

static bool scavenge_some(struct loam_cache *cache)
{
	bool more;

	loam_cache_enter(cache);
	more = loam_scavenge_some();
	loam_cache_leave(cache);
	return more;
}

bool loam_gc_work(uint64_t budget_ns)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t start = loam_host_now_ns();

	do {
		if (!scavenge_some(cache))
			return false;
	} while (loam_host_now_ns() - start < budget_ns);
	return true;
}

static uint64_t scavenge_all(struct loam_cache *cache)
{
	uint64_t bytes;

	loam_cache_enter(cache);
	loam_pagecache_flush(&cache->pages);
	bytes = loam_scavenge_all();
	loam_cache_leave(cache);
	return bytes;
}

uint64_t loam_release(void)
{
	uint64_t *ready = &loam_heap.pages.ready, after;
	uint64_t before = __atomic_load_n(ready, __ATOMIC_RELAXED);

	loam_gc();
	scavenge_all(loam_cache_self());
	after = __atomic_load_n(ready, __ATOMIC_RELAXED);
	return before > after ? (before - after) << LOAM_HEAP_PAGE_SHIFT : 0;
}

/* ---- the collection ---- */

struct cycle {
	uint64_t begun, stopped, marked, swept; /* ns */
	uint64_t live_before, live_after, stack_bytes;
	bool forced;
};

static void collect_stopped(void *arg, const void *sp)
{
	struct cycle *c = arg;
	struct loam_heap *h = &loam_heap;
	uint64_t freed, used = h->pages.used;

	c->stopped = loam_host_now_ns();
	/* the world is stopped and nobody was inside: the lock is free */
	LOAM_CHECK(loam_gc_trylock(&h->lock), "[THREAD-1] a stopped thread holds the heap lock");
	loam_gc_unlock(&h->lock);
	h->procs = 0;
	for (struct loam_cache *t = h->threads; t != NULL; t = t->next) {
		loam_pagecache_flush(&t->pages);
		t->tiny = t->tiny_end = 0;
		for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
			t->bin[i].frees_seen = (uint32_t)t->bin[i].frees;
		h->procs++;
	}
	c->live_before = loam_heap_bytes(&freed);
	c->live_before -= freed;
	h->goal_last = h->percent >= 0 || h->limit != UINT64_MAX ? (uint64_t)h->next_gc : 0;
	h->marked = loam_mark_all(sp, &c->stack_bytes);
	c->marked = loam_host_now_ns();
	if (LOAM_DEBUG >= 3)
		loam_mark_check();
	loam_sweep_all(loam_cache_self());
	__atomic_store_n(&h->cycles, h->cycles + 1, __ATOMIC_RELAXED);
	h->forced_cycles += c->forced;
	loam_pace();
	loam_scavenge_goal(h->goal_last, used);
	c->live_after = h->marked;
	LOAM_VERIFY(loam_heap_verify_stopped());
	c->swept = loam_host_now_ns();
}

void loam_collect(uint64_t seen, enum loam_why why)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_heap *h = &loam_heap;
	struct cycle c = {.forced = why == LOAM_WHY_ASKED, .begun = loam_host_now_ns()};
	uint64_t done;

	loam_gc_lock(&h->collecting); /* outside: we can be stopped while we wait */
	if (why == LOAM_WHY_GOAL && h->cycles != seen) {
		loam_gc_unlock(&h->collecting);
		return;
	}
	loam_host_world_stop();
	loam_cpu_spill(collect_stopped, &c);
	loam_host_world_start();
	done = loam_host_now_ns();
	h->pause_last_ns = done - c.begun;
	h->pause_total_ns += done - c.begun;
	h->gc_ns += done - c.begun;
	h->last_gc_ns = done;
	if (h->trace)
		loam_gctrace(c.begun, c.stopped, c.marked, done, c.live_before, c.live_after,
			     c.stack_bytes, c.forced);
	loam_gc_unlock(&h->collecting);
	if (why == LOAM_WHY_SHORTAGE)
		scavenge_all(cache);
	else
		while (scavenge_some(cache))
			;
}

void loam_gc(void)
{
	loam_collect(0, LOAM_WHY_ASKED);
}
