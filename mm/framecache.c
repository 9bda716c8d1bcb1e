/* SPDX-License-Identifier: MIT */
/*
 * Single frames close at hand.
 *
 * Each CPU has a stack of frames under a lock of its own, which nobody else wants unless memory
 * runs out; the frame lock is taken once for BATCH of them. Frames in a stack are "loose":
 * nobody's, counted as free. How many frames each owner has is counted here as a difference, so
 * that the common path writes nothing that CPUs share.
 *
 * A few more wait in the reserve, for interrupt handlers, which can neither wait nor collect. Nobody else
 * gets those; what is freed goes there first.
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
static struct cache reserve;
static uint32_t keep; /* boot only: how many the reserve should hold */

/* The rank is not in a static initialiser because there are so many. */
static uintptr_t enter(struct cache *c)
{
	c->lock.rank = LOAM_RANK_CACHE;
	return loam_lock(&c->lock);
}

/* Relaxed: a hint; whoever acts on it looks again under the lock. */
static bool reserve_is_full(void)
{
	return __atomic_load_n(&reserve.count, __ATOMIC_RELAXED) >= keep;
}

static void reserve_count(uint32_t n)
{
	__atomic_store_n(&reserve.count, n, __ATOMIC_RELAXED);
}

static void reserve_fill(void)
{
	uintptr_t irq = enter(&reserve);
	uint32_t n = reserve.count;

	reserve_count(n + loam_frame_take_loose(reserve.pfn + n, n < keep ? keep - n : 0));
	loam_unlock(&reserve.lock, irq);
}

static bool reserve_put(struct loam_pfn pfn, enum loam_owner owner)
{
	uintptr_t irq = enter(&reserve);
	bool room = reserve.count < keep;

	if (room) {
		reserve.pfn[reserve.count] = pfn;
		reserve_count(reserve.count + 1);
		reserve.moved[LOAM_OWNER_NONE]++;
		reserve.moved[owner]--;
	}
	loam_unlock(&reserve.lock, irq);
	return room;
}

static enum loam_err pop(struct cache *c, enum loam_owner owner, struct loam_pfn *pfn)
{
	uint32_t n = c->count;

	if (n == 0)
		return LOAM_NOMEM;
	*pfn = c->pfn[n - 1];
	__atomic_store_n(&c->count, n - 1, __ATOMIC_RELAXED);
	loam_frame_own(*pfn, owner);
	c->moved[LOAM_OWNER_NONE]--;
	c->moved[owner]++;
	return LOAM_OK;
}

enum loam_err loam_framecache_reserve(enum loam_owner owner, struct loam_pfn *pfn)
{
	uintptr_t irq = enter(&reserve);
	enum loam_err err = pop(&reserve, owner, pfn);

	loam_unlock(&reserve.lock, irq);
	return err;
}

enum loam_err loam_framecache_alloc(enum loam_owner owner, struct loam_pfn *pfn)
{
	struct cache *c = &cache[loam_host_cpu_id()];
	uintptr_t irq;
	enum loam_err err;

	if (!reserve_is_full())
		reserve_fill();
	irq = enter(c);
	if (c->count == 0)
		c->count = loam_frame_take_loose(c->pfn, BATCH);
	err = pop(c, owner, pfn);
	loam_unlock(&c->lock, irq);
	return err;
}

void loam_framecache_free(struct loam_pfn pfn, enum loam_owner owner, bool keep_it)
{
	struct cache *c = &cache[loam_host_cpu_id()];
	uintptr_t irq;

	if (!reserve_is_full() && reserve_put(pfn, owner))
		return;
	irq = enter(c);
	if (c->count == STACK) {
		/* the oldest go: the youngest are warm */
		loam_frame_give_loose(c->pfn, BATCH);
		for (unsigned i = BATCH; i < STACK; i++)
			c->pfn[i - BATCH] = c->pfn[i];
		c->count = STACK - BATCH;
	}
	if (keep_it)
		c->pfn[c->count++] = pfn;
	else
		loam_frame_give_loose(&pfn, 1);
	c->moved[LOAM_OWNER_NONE]++;
	c->moved[owner]--;
	loam_unlock(&c->lock, irq);
}

static bool drain(struct cache *c)
{
	uintptr_t irq = enter(c);
	bool any = c->count > 0;

	loam_frame_give_loose(c->pfn, c->count);
	__atomic_store_n(&c->count, 0, __ATOMIC_RELAXED);
	loam_unlock(&c->lock, irq);
	return any;
}

bool loam_framecache_drain(bool reserve_too)
{
	bool any = reserve_too && drain(&reserve);

	for (unsigned cpu = 0; cpu < loam_host_cpu_count(); cpu++)
		any |= drain(&cache[cpu]);
	return any;
}

static void sum(struct cache *c, uint64_t *owner)
{
	uintptr_t irq = enter(c);

	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++)
		owner[o] += c->moved[o];
	loam_unlock(&c->lock, irq);
}

void loam_framecache_sum(uint64_t *owner)
{
	sum(&reserve, owner);
	for (unsigned cpu = 0; cpu < loam_host_cpu_count(); cpu++)
		sum(&cache[cpu], owner);
}

void loam_framecache_init(uint64_t total)
{
	keep = (uint32_t)(total / 512 < LOAM_FRAME_RESERVE ? total / 512 : LOAM_FRAME_RESERVE);
	reserve_fill();
}

void loam_framecache_reset(void)
{
	keep = 0;
	reserve = (struct cache){0};
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++)
		cache[cpu] = (struct cache){0};
}
