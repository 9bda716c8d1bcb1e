/* SPDX-License-Identifier: MIT */
/*
 * Root ranges: memory that holds pointers and is not the heap's, a kernel's .data for instance. A
 * small sorted array, in the image, so that registering one needs no memory. The collector's own
 * data is never registered: it would keep everything alive.
 *
 *   [ROOT-1] Ranges are sorted, disjoint, pointer-aligned and not empty.
 *
 * Marking scans them by address, a piece at a time, while the program runs. A range that is added below of what is
 * scanned already is not, and need not be: what it holds could be reached otherwise, or is new. One that is removed is
 * scanned first: what it held when marking began is kept ([BARRIER-1]).
 */
#include "gc/mark.h"

#define ROOT_MAX 1024u
#define PIECE	 4096u /* bytes scanned at a time, under the lock */

struct root {
	uintptr_t lo, hi;	      /* pointer-aligned inward: what is scanned */
	uintptr_t given_lo, given_hi; /* as registered */
};

static struct root root[ROOT_MAX]; /* heap.lock; stopped */
static size_t root_count;	   /* heap.lock; stopped */
static uintptr_t scanned_to;	   /* heap.lock: roots below have been scanned in this cycle */

/* Threads that are not attached may register roots too. No stop waits for those: they keep collections
 * out instead. */
static struct loam_cache *lock(void)
{
	struct loam_cache *cache = loam_cache_mine();

	if (cache != NULL)
		loam_cache_enter(cache);
	else
		loam_gc_lock(&loam_heap.collecting);
	if (cache == NULL) {
		__atomic_add_fetch(&loam_heap.thread_count, 1, __ATOMIC_SEQ_CST);
		loam_work_not_alone();
	}
	loam_gc_lock(&loam_heap.lock);
	return cache;
}

static void unlock(struct loam_cache *cache)
{
	loam_gc_unlock(&loam_heap.lock);
	if (cache == NULL)
		__atomic_sub_fetch(&loam_heap.thread_count, 1, __ATOMIC_RELEASE);
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
		if (loam_marking())
			loam_mark_words_apart(root[i].lo, root[i].hi);
		for (; i + 1 < root_count; i++)
			root[i] = root[i + 1];
		root_count--;
		err = LOAM_OK;
	}
	unlock(cache);
	return err;
}

/* ---- marking ---- */

void loam_roots_start(void)
{
	scanned_to = 0;
}

/* The lowest range, or what is left of one, that is not scanned; false: all are. */
static bool next_locked(struct root *next)
{
	for (size_t i = 0; i < root_count; i++) {
		if (root[i].hi <= scanned_to || root[i].lo >= root[i].hi)
			continue;
		*next = root[i];
		if (next->lo < scanned_to)
			next->lo = scanned_to;
		return true;
	}
	return false;
}

bool loam_roots_scan_some(struct loam_worker *w)
{
	struct root next;
	bool some;

	loam_gc_lock(&loam_heap.lock);
	some = next_locked(&next);
	if (some) {
		uintptr_t end = next.hi - next.lo > PIECE ? next.lo + PIECE : next.hi;

		loam_mark_range(w, (const void *)next.lo, (const void *)end);
		scanned_to = end;
	}
	loam_gc_unlock(&loam_heap.lock);
	return some;
}

bool loam_roots_left(void)
{
	struct root next;
	bool some;

	loam_gc_lock(&loam_heap.lock);
	some = next_locked(&next);
	loam_gc_unlock(&loam_heap.lock);
	return some;
}

void loam_roots_scan_again(struct loam_worker *w)
{
	for (size_t i = 0; i < root_count; i++)
		loam_mark_range(w, (const void *)root[i].lo, (const void *)root[i].hi);
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
