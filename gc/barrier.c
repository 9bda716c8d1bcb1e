/* SPDX-License-Identifier: MIT */
/*
 * The software write barrier, for compilers and for C that stores pointers by loam_store: the half of Go's hybrid barrier
 * that notes what is deleted (Yuasa's).
 *
 * While marking goes on, before a pointer is overwritten, the old value is noted with the thread; when it has noted enough,
 * it marks them all. Whoever ends the marking does that for everybody, in the stop.
 *
 *   [BARRIER-1] What could be reached when the world stopped for marking to begin, or was allocated since, is marked
 *               when it ends. Stacks are looked at in that stop alone.
 *
 * Why: each pointer from then is either still where it was, and found there, or was overwritten, and noted. What is
 * freed explicitly stays until the sweep, with what it points to ([SWEEP-2]). So whatever the program holds, puts anywhere
 * or hands to another thread is marked: it had it from there, or made it since.
 *
 * Go notes the new value too, because it looks at one stack after the other: a value can hide in one that has not been
 * looked at yet. Here all threads stand still for that, which takes microseconds for each. It spares
 * every store into a new object, which has nothing to delete, all work but the question.
 *
 * A thread can be stopped at any instruction of loam_store. If marking begins there, between the look at the
 * flag and the store, the value that is overwritten without a note is in a register, and so found among
 * the roots. Once it has seen the flag, the thread is inside to the store's end. The audit would take that store for one
 * past the barrier; so with an audit a thread is always inside while it stores.
 * Model: tests/model/hybrid.pml. References: Yuasa, "Real-time garbage collection on general-purpose machines"; Go proposal 17503.
 */
#include "gc/check.h"
#include "gc/mark.h"

void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);

#define CHUNK ((size_t)64 << 10) /* zeroed without a look whether to stop */

enum {
	NOTES = 1, /* what is overwritten is noted */
	AUDIT = 2, /* no store goes by without a call, even while nothing is noted */
};

uint32_t loam_barrier_on; /* stopped to write; atomic */

void loam_barrier_set(bool notes)
{
	uint32_t on = (notes ? NOTES : 0) | (loam_audit_on() ? AUDIT : 0);

	__atomic_store_n(&loam_barrier_on, on, __ATOMIC_RELAXED);
}

void loam_notes_flush(struct loam_cache *cache)
{
	for (uint32_t i = 0; i < cache->note_count; i++)
		loam_mark_shade(NULL, cache->note[i]);
	cache->note_count = 0;
}

static void note(struct loam_cache *cache, uintptr_t value)
{
	if (!loam_heap_has(value))
		return;
	if (cache->note_count == LOAM_NOTES)
		loam_notes_flush(cache);
	cache->note[cache->note_count++] = value;
}

static bool noting(void)
{
	return (__atomic_load_n(&loam_barrier_on, __ATOMIC_RELAXED) & NOTES) != 0;
}

void loam_store_noted(void *slot, void *value)
{
	struct loam_cache *cache = loam_cache_self();

	loam_cache_enter(cache);
	if (noting()) {
		loam_audit_stores(slot, sizeof(value), false);
		note(cache, *(uintptr_t *)slot);
	}
	*(void *volatile *)slot = value;
	loam_cache_leave(cache);
}

/* Inside to the end, so what is replaced can be noted after. */
void *loam_store_exchange(void *slot, void *value)
{
	struct loam_cache *cache = loam_cache_self();
	void *old;

	loam_cache_enter(cache);
	if (noting())
		loam_audit_stores(slot, sizeof(value), true);
	/* acq_rel: as promised; partners: the same in other threads */
	old = __atomic_exchange_n((void **)slot, value, __ATOMIC_ACQ_REL);
	if (noting())
		note(cache, (uintptr_t)old);
	loam_cache_leave(cache);
	return old;
}

bool loam_store_compare(void *slot, void *expected, void *value)
{
	struct loam_cache *cache = loam_cache_self();
	void *old = expected;
	bool stored;

	loam_cache_enter(cache);
	if (noting())
		loam_audit_stores(slot, sizeof(value), true);
	stored = __atomic_compare_exchange_n((void **)slot, &old, value, false, __ATOMIC_ACQ_REL,
					     __ATOMIC_ACQUIRE);
	if (noting() && stored)
		note(cache, (uintptr_t)expected);
	loam_cache_leave(cache);
	return stored;
}

/* Of a word that is changed in part, its pointer is gone as well. */
static void note_words(struct loam_cache *cache, const void *lo, const void *hi)
{
	const uintptr_t *end = (const uintptr_t *)loam_align_down((uintptr_t)hi, sizeof(uintptr_t));

	for (const uintptr_t *at = (const uintptr_t *)loam_align_down((uintptr_t)lo, sizeof(*at));
	     at < end; at++)
		note(cache, *at);
}

/* Inside to the end, or marking could begin amid the bytes. */
void loam_store_move(void *to, const void *from, size_t size)
{
	struct loam_cache *cache = loam_cache_self();

	loam_cache_enter(cache);
	if (noting()) {
		loam_audit_stores(to, size, false);
		note_words(cache, to, (char *)to + size);
	}
	memmove(to, from, size);
	loam_cache_leave(cache);
}

static void zero_some(struct loam_cache *cache, void *to, size_t size)
{
	loam_cache_enter(cache);
	if (noting()) {
		loam_audit_stores(to, size, false);
		note_words(cache, to, (char *)to + size);
	}
	memset(to, 0, size);
	loam_cache_leave(cache);
}

void loam_store_zero(void *to, size_t size)
{
	struct loam_cache *cache = loam_cache_self();

	for (size_t at = 0; at < size; at += CHUNK)
		zero_some(cache, (char *)to + at, size - at < CHUNK ? size - at : CHUNK);
}
