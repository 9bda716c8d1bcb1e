/* SPDX-License-Identifier: MIT */
/*
 * Root ranges: memory that holds pointers and is not the heap's, a kernel's .data for instance. A
 * small sorted array, in the image, so that registering one needs no memory. The collector's own
 * data is never registered: it would keep everything alive.
 *
 *   [ROOT-1] Ranges are sorted, disjoint, pointer-aligned and not empty.
 */
#include "gc/heap.h"

#define ROOT_MAX 1024u

struct root {
	uintptr_t lo, hi;	      /* pointer-aligned inward: what is scanned */
	uintptr_t given_lo, given_hi; /* as registered */
};

static struct root root[ROOT_MAX]; /* heap.lock; stopped */
static size_t root_count;	   /* heap.lock; stopped */

/* Threads that are not attached may register roots too. No stop waits for those: they keep collections
 * out instead. */
static struct loam_cache *lock(void)
{
	struct loam_cache *cache = loam_cache_mine();

	if (cache != NULL)
		loam_cache_enter(cache);
	else
		loam_gc_lock(&loam_heap.collecting);
	loam_gc_lock(&loam_heap.lock);
	return cache;
}

static void unlock(struct loam_cache *cache)
{
	loam_gc_unlock(&loam_heap.lock);
	if (cache != NULL)
		loam_cache_leave(cache);
	else
		loam_gc_unlock(&loam_heap.collecting);
}

static enum loam_err add_locked(uintptr_t lo, uintptr_t hi)
{
	size_t at = 0;

	while (at < root_count && root[at].given_lo < lo)
		at++;
	if ((at < root_count && root[at].given_lo < hi) || (at > 0 && root[at - 1].given_hi > lo))
		return LOAM_EXIST;
	if (root_count == ROOT_MAX)
		return LOAM_LIMIT;
	for (size_t i = root_count; i > at; i--)
		root[i] = root[i - 1];
	root[at] = (struct root){
		.lo = loam_align_up(lo, sizeof(void *)),
		.hi = loam_align_down(hi, sizeof(void *)),
		.given_lo = lo,
		.given_hi = hi,
	};
	root_count++;
	return LOAM_OK;
}

enum loam_err loam_root_add(void *lo, void *hi)
{
	struct loam_cache *cache;
	enum loam_err err;

	if ((uintptr_t)lo >= (uintptr_t)hi || lo == NULL)
		return LOAM_INVAL;
	cache = lock();
	err = add_locked((uintptr_t)lo, (uintptr_t)hi);
	unlock(cache);
	return err;
}

enum loam_err loam_root_remove(void *lo, void *hi)
{
	struct loam_cache *cache = lock();
	enum loam_err err = LOAM_NOENT;

	for (size_t i = 0; i < root_count; i++) {
		if (root[i].given_lo != (uintptr_t)lo || root[i].given_hi != (uintptr_t)hi)
			continue;
		for (; i + 1 < root_count; i++)
			root[i] = root[i + 1];
		root_count--;
		err = LOAM_OK;
	}
	unlock(cache);
	return err;
}

void loam_roots_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg)
{
	for (size_t i = 0; i < root_count; i++) {
		if (root[i].lo < root[i].hi)
			visit(arg, (const void *)root[i].lo, (const void *)root[i].hi);
	}
}

uint64_t loam_roots_bytes(void)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < root_count; i++)
		bytes += root[i].given_hi - root[i].given_lo;
	return bytes;
}

void loam_roots_reset(void)
{
	root_count = 0;
}
