/* SPDX-License-Identifier: MIT */
/*
 * Single frames close at hand.
 *
 * Each CPU has a stack of frames under a lock of its own, which nobody else wants unless memory
 * runs out; the frame lock is taken once for BATCH of them. Frames in a stack are "loose":
 * nobody's, counted as free. How many frames each owner has is counted here as a difference, so
 * that the common path writes nothing that CPUs share.
 *
 *   [CACHE-1] A loose frame is in one stack, has no owner, and is not free in its buddy.
 *
 * Order of locks: space, then cache, then frame (mm/lockrank.h); never two caches at once.
 */
#include "mm/framecache.h"

#include "arch/check.h"
#include "mm/lock.h"

#define STACK 64u
#define BATCH 32u

struct cache {
	struct loam_lock lock;
	uint32_t count;			  /* lock */
	struct loam_pfn pfn[STACK];	  /* lock */
	uint64_t moved[LOAM_OWNER_COUNT]; /* lock: to each owner, modulo 2^64 */
} __attribute__((aligned(64)));

static struct cache cache[LOAM_CPU_MAX];

/* The rank is not in a static initialiser because there are so many. */
static uintptr_t enter(struct cache *c)
{
	c->lock.rank = LOAM_RANK_CACHE;
	return loam_lock(&c->lock);
}

enum loam_err loam_framecache_alloc(enum loam_owner owner, struct loam_pfn *pfn)
{
	struct cache *c = &cache[loam_host_cpu_id()];
	uintptr_t irq = enter(c);

	if (c->count == 0)
		c->count = loam_frame_take_loose(c->pfn, BATCH);
	if (c->count == 0) {
		loam_unlock(&c->lock, irq);
		return LOAM_NOMEM;
	}
	*pfn = c->pfn[--c->count];
	loam_frame_own(*pfn, owner);
	c->moved[LOAM_OWNER_NONE]--;
	c->moved[owner]++;
	loam_unlock(&c->lock, irq);
	return LOAM_OK;
}

void loam_framecache_free(struct loam_pfn pfn, enum loam_owner owner)
{
	struct cache *c = &cache[loam_host_cpu_id()];
	uintptr_t irq = enter(c);

	if (c->count == STACK) {
		/* the oldest go: the youngest are warm */
		loam_frame_give_loose(c->pfn, BATCH);
		for (unsigned i = BATCH; i < STACK; i++)
			c->pfn[i - BATCH] = c->pfn[i];
		c->count = STACK - BATCH;
	}
	c->pfn[c->count++] = pfn;
	c->moved[LOAM_OWNER_NONE]++;
	c->moved[owner]--;
	loam_unlock(&c->lock, irq);
}

bool loam_framecache_drain(void)
{
	bool any = false;

	for (unsigned cpu = 0; cpu < loam_host_cpu_count(); cpu++) {
		struct cache *c = &cache[cpu];
		uintptr_t irq = enter(c);

		any |= c->count > 0;
		loam_frame_give_loose(c->pfn, c->count);
		c->count = 0;
		loam_unlock(&c->lock, irq);
	}
	return any;
}

void loam_framecache_sum(uint64_t *owner)
{
	for (unsigned cpu = 0; cpu < loam_host_cpu_count(); cpu++) {
		struct cache *c = &cache[cpu];
		uintptr_t irq = enter(c);

		for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++)
			owner[o] += c->moved[o];
		loam_unlock(&c->lock, irq);
	}
}

void loam_framecache_reset(void)
{
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++)
		cache[cpu] = (struct cache){0};
}
