/* SPDX-License-Identifier: MIT */
/*
 * Changing the size of an object.
 *
 * A block stays where it is if its size class does. A large one first tries to grow into the pages
 * behind it, or gives those at its end back. If it must move and is big, its memory moves by page-table
 * entries instead of bytes (loam_sys_move), unless there is free memory to copy it to. Otherwise:
 * allocate, copy, free. What it grows by is an allocation to the pacer, whichever way.
 */
#include "gc/check.h"
#include "mm/print.h"

void *memset(void *dst, int c, size_t n);
void *memcpy(void *restrict dst, const void *restrict src, size_t n);

#define MOVE_LEAST (128u << 10) /* below, copying is as fast */

static void count_resize(uint64_t from, uint64_t to)
{
	struct loam_heap *h = &loam_heap;

	if (to > from)
		__atomic_add_fetch(&h->large_alloc_bytes, to - from, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&h->large_free_bytes, from - to, __ATOMIC_RELAXED);
	loam_live_add((int64_t)to - (int64_t)from);
}

/* To the program it is a new object, and the old one is gone. */
static void count_move(uint64_t from, uint64_t to)
{
	struct loam_heap *h = &loam_heap;

	__atomic_add_fetch(&h->large_free_bytes, from, __ATOMIC_RELAXED);
	__atomic_add_fetch(&h->large_alloc_bytes, to, __ATOMIC_RELAXED);
	__atomic_add_fetch(&h->large_mallocs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&h->large_frees, 1, __ATOMIC_RELAXED);
	loam_live_add((int64_t)to - (int64_t)from);
}

/* A large object has grown by so many bytes where it is, or moved: the pacer sees an allocation. After it, for what is marked
 * does not move. The object is kept by the caller's stack. Outside. */
static void pay(struct loam_cache *cache, uint64_t bytes)
{
	struct loam_heap *h = &loam_heap;
	uint64_t seen;

	loam_cache_enter(cache);
	seen = __atomic_load_n(&h->cycles, __ATOMIC_RELAXED);
	if (!loam_marking() && __atomic_load_n(&h->live, __ATOMIC_RELAXED) >=
				       __atomic_load_n(&h->due_bytes, __ATOMIC_RELAXED))
		loam_collect_goal(cache, seen);
	loam_cache_leave(cache);
	if (__atomic_load_n(&h->busy, __ATOMIC_RELAXED))
		loam_assist(cache, bytes);
}

/* A large object becomes `size` bytes, in place; false: the pages behind it are taken. */
static bool resize_large(struct loam_span *span, size_t size)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t pages = (size + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	uint64_t bytes = span->slot_bytes, now;
	bool ok;

	if (size <= LOAM_SMALL_MAX || pages > UINT32_MAX || span->base != loam_span_start(span))
		return false;
	loam_cache_enter(cache);
	loam_sweep_ensure(cache, span);
	/* [SWEEP-2]: its end stays where it is; and what is scanned just now, what it is */
	if (loam_marking() && (pages < span->pages || span->scan == LOAM_SCAN_TYPED))
		ok = pages <= span->pages;
	else
		ok = pages == span->pages || loam_span_resize(cache, span, pages);
	if (ok && span->slot_bytes > bytes && span->scan == LOAM_SCAN_TYPED)
		span->scan = LOAM_SCAN_WORDS; /* nobody told the type of the rest */
	if (ok)
		count_resize(bytes, span->slot_bytes);
	now = span->slot_bytes;
	loam_cache_leave(cache);
	if (ok && now > bytes)
		pay(cache, now - bytes);
	return ok;
}

/* A large object that grows moves without copying; NULL: it is not large, or there is no memory. Pinned
 * ones stay where a device believes them. */
static void *move_large(struct loam_span *span, size_t size)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t pages = (size + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	uint64_t bytes = span->slot_bytes, now = 0;
	void *to = NULL;

	if (span->magic != 0 || bytes < MOVE_LEAST || size <= bytes || size > LOAM_ALLOC_MAX ||
	    pages > UINT32_MAX || span->special || span->base != loam_span_start(span))
		return NULL;
	loam_cache_enter(cache);
	loam_sweep_ensure(cache, span);
	if (!loam_marking() && loam_span_move(span, pages)) {
		count_move(bytes, span->slot_bytes);
		to = (void *)span->base;
		now = span->slot_bytes;
	}
	loam_cache_leave(cache);
	if (to != NULL)
		pay(cache, now - bytes);
	return to;
}

/* Does a block of `size` bytes belong where the object is already? */
static bool stays(struct loam_span *span, size_t size)
{
	if (span->magic == 0)
		return size <= LOAM_ALLOC_MAX && resize_large(span, size);
	return size <= span->slot_bytes &&
	       loam_class_of(size) == loam_span_class_size(span->span_class);
}

/* A device knows its address, or somebody waits for its death, which nobody shall miss. */
static bool must_stay(void *p)
{
	struct loam_cache *cache = loam_cache_self();
	bool pinned, runs;

	loam_cache_enter(cache);
	pinned = loam_pin_count(p) > 0;
	runs = loam_special_runs((uintptr_t)p);
	loam_cache_leave(cache);
	if (pinned || runs)
		loam_log(LOAM_LOG_ERROR, "loam: realloc of %p: it %s, and would have to move\n", p,
			 pinned ? "is pinned" : "has a finalizer or cleanups");
	return pinned || runs;
}

/* A large object that grows takes what threads may wait for that are short of memory: not before its turn. */
static struct loam_shortage turn_to_grow(const struct loam_span *span, size_t size)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_shortage shortage;

	loam_cache_enter(cache);
	shortage = loam_shortage();
	if (span->magic == 0 && size > span->slot_bytes && loam_shortage_others(&shortage))
		loam_shortage_wait(cache, &shortage);
	loam_cache_leave(cache);
	return shortage;
}

/* In place, or by page-table entries; NULL: neither can be, and if *refused, copying cannot either. */
static void *without_copy(struct loam_span *span, void *p, size_t size, bool *refused)
{
	struct loam_shortage shortage = turn_to_grow(span, size);
	void *to = NULL;

	if (stays(span, size))
		to = p;
	else if (__atomic_load_n(&span->special, __ATOMIC_RELAXED) && must_stay(p))
		*refused = true;
	else
		to = move_large(span, size);
	loam_shortage_over(&shortage);
	return to;
}

void *loam_realloc(void *p, size_t size)
{
	struct loam_span *span;
	bool refused = false;
	uintptr_t base;
	enum loam_err err;
	size_t keep;
	void *to;

	if (p == NULL || p == loam_zero_byte)
		return loam_alloc(size);
	if (size == 0) {
		(void)loam_free(p); /* a wrong one has been told of */
		return NULL;
	}
	span = loam_object_find(p, &base);
	if (span == NULL || base != (uintptr_t)p || span->span_class == LOAM_SPAN_TINY) {
		loam_log(LOAM_LOG_ERROR, "loam: realloc of %p: not the start of an object\n", p);
		return NULL;
	}
	to = without_copy(span, p, size, &refused);
	if (to == p) {
		/* zero behind the end, so that growing again later finds zeros there */
		if (span->scan != LOAM_SCAN_NONE)
			loam_store_zero((char *)p + size, span->slot_bytes - size);
		else
			memset((char *)p + size, 0, span->slot_bytes - size);
		return p;
	}
	if (to != NULL || refused)
		return to;
	keep = size < span->slot_bytes ? size : span->slot_bytes;
	to = loam_alloc_for_copy(
		size, span->scan == LOAM_SCAN_NONE ? LOAM_SCAN_NONE : LOAM_SCAN_WORDS, keep);
	if (to == NULL)
		return NULL;
	/* no barrier: what was in `p` when marking began is found there, for that is kept until it ends */
	if (loam_audit_on() && span->scan != LOAM_SCAN_NONE)
		loam_store_move(to, p, keep); /* which does not know that */
	else
		memcpy(to, p, keep);
	if (LOAM_DEBUG >= 2)
		loam_history_note(LOAM_HISTORY_ALLOC, to, size, __builtin_return_address(0));
	err = loam_free(p);
	LOAM_CHECK(err == LOAM_OK, "the old block vanished during realloc");
	return to;
}
