/* SPDX-License-Identifier: MIT */
/*
 * Threads that use the heap.
 *
 * A thread is "inside" while it is in the allocator, but for the fast path of an allocation: it may
 * hold one of the heap's locks, so it must not be stopped there. Whoever stops the world asks loam_thread_may_stop in the
 * thread's own context (a signal or interrupt handler on its CPU), or sets the request flag, which
 * the thread looks at each time it leaves.
 *
 *   [THREAD-1] The heap's locks are taken inside only (or by the collector, with the world stopped); so no
 *              stopped thread holds it.
 *   [THREAD-2] A thread that waits for a collection is outside: it can be stopped.
 *
 * Why there is no deadlock: the collector waits for threads to leave the allocator; a thread
 * inside waits for nothing but those locks, whose holder is inside too and makes progress.
 */
#include "gc/heap.h"
#include "gc/work.h"

void *memset(void *dst, int c, size_t n);

#define MAGIC UINT64_C(0x6c6f616d74687264) /* "loamthrd" */

struct loam_cache *loam_cache_self(void)
{
	struct loam_cache *cache = loam_cache_mine();

	LOAM_CHECK(cache != NULL && cache->magic == MAGIC,
		   "heap call from a thread that is not attached: call loam_thread_attach first");
	return cache;
}

bool loam_thread_may_stop(const struct loam_thread *thread)
{
	const struct loam_cache *cache = (const struct loam_cache *)(const void *)thread;

	/* acquire: partner of the release in loam_cache_leave */
	return __atomic_load_n(&cache->inside, __ATOMIC_ACQUIRE) == 0;
}

void loam_thread_request_stop(struct loam_thread *thread)
{
	struct loam_cache *cache = (struct loam_cache *)(void *)thread;

	/* release: after what the host has written to begin the stop; partner: loam_cache_park */
	__atomic_store_n(&cache->stop_request, 1, __ATOMIC_RELEASE);
}

/* The host is asked whether there is a stop after the request is seen to be gone: else that could undo the request of the next stop,
 * whose signal came inside. Model: tests/model/signalstop.pml. */
void loam_cache_park(struct loam_cache *cache)
{
	/* seq_cst: before the host's look at its stop, which is seq_cst too */
	__atomic_exchange_n(&cache->stop_request, 0, __ATOMIC_SEQ_CST);
	loam_host_thread_parked();
}

void loam_gc_safepoint(void)
{
	struct loam_cache *cache = loam_cache_self();

	if (__atomic_load_n(&cache->stop_request, __ATOMIC_RELAXED) != 0)
		loam_cache_park(cache);
}

enum loam_err loam_thread_attach(struct loam_thread *thread, void *stack_base)
{
	struct loam_cache *cache = (struct loam_cache *)(void *)thread;
	struct loam_heap *h = &loam_heap;
	enum loam_err err;

	if (loam_host_thread() != NULL)
		return LOAM_EXIST;
	if (!h->initialised || thread == NULL || (uintptr_t)stack_base <= loam_cpu_sp() ||
	    !loam_is_aligned((uintptr_t)stack_base, sizeof(void *)))
		return LOAM_INVAL;
	memset(cache, 0, sizeof(*cache));
	cache->stack_base = stack_base;
	loam_alloc_attach(cache);
	cache->free_id = LOAM_NO_ID;
	cache->magic = MAGIC;
	/* from here on the host may stop us; the cache is empty and valid */
	loam_host_thread_set(thread);
	loam_cache_enter(cache);
	err = loam_inbox_open(cache);
	if (err == LOAM_OK) {
		loam_gc_lock(&h->lock);
		cache->next = h->threads;
		h->threads = cache;
		__atomic_add_fetch(&h->thread_count, 1, __ATOMIC_SEQ_CST);
		loam_gc_unlock(&h->lock);
		loam_work_not_alone();
	}
	loam_cache_leave(cache);
	if (err != LOAM_OK) {
		loam_host_thread_set(NULL);
		cache->magic = 0;
	}
	return err;
}

/* What the thread has counted is the heap's from now on. */
static void count_locked(const struct loam_cache *cache)
{
	struct loam_heap *h = &loam_heap;

	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
		h->mallocs[i] += cache->bin[i].mallocs;
		/* relaxed, atomic: whoever sweeps counts here too, without the lock */
		__atomic_add_fetch(&h->frees[i], cache->bin[i].frees, __ATOMIC_RELAXED);
	}
	h->tiny_allocs += cache->tiny_allocs;
}

enum loam_err loam_thread_detach(struct loam_thread *thread)
{
	struct loam_cache *cache = (struct loam_cache *)(void *)thread;
	struct loam_heap *h = &loam_heap;

	if (thread == NULL || loam_host_thread() != thread)
		return LOAM_NOENT;
	loam_cache_enter(cache);
	loam_notes_flush(cache);
	loam_cache_flush(cache);
	loam_gc_lock(&h->lock);
	count_locked(cache);
	for (struct loam_cache **link = &h->threads; *link != NULL; link = &(*link)->next) {
		if (*link == cache) {
			*link = cache->next;
			__atomic_sub_fetch(&h->thread_count, 1, __ATOMIC_RELEASE);
			break;
		}
	}
	loam_gc_unlock(&h->lock);
	loam_cache_leave(cache);
	loam_host_thread_set(NULL);
	memset(cache, 0, sizeof(*cache)); /* addresses of slots are in it: no roots of ours */
	return LOAM_OK;
}
