/* SPDX-License-Identifier: MIT */
/*
 * A thread's cache (Go's mcache): what it allocates from without asking anybody. It is the inside of
 * struct loam_thread.
 *
 * Two protocols stand here. A thread is *inside* while it is in the allocator, but for the fast
 * path of loam_alloc: it is not stopped there (thread.c). And the fast path is made so that a
 * thread may be stopped at any instruction of it:
 *
 *   [CACHE-1] The slots of a bin's `window` and `dirty` are claimed: their alloc bits are set, and they
 *             are nobody's yet. The collector keeps them, unscanned. The fast path takes one away with
 *             one store; before it the slot is among them, after it the slot is in a register.
 */
#ifndef LOAM_GC_CACHE_H
#define LOAM_GC_CACHE_H

#include <loam/gc.h>
#include <loam/host.h>

#include "gc/pageheap.h"
#include "gc/span.h"
#include "arch/check.h"

/* Slots below this are zeroed several at once, before they are handed out; larger ones one by one. */
#define LOAM_ZERO_BATCH_BYTES 128u

/* What a thread has of one span class. One cache line. */
struct loam_bin {
	uint64_t window;	/* atomic: claimed slots of one word, zero: [CACHE-1] */
	uint64_t dirty;		/* atomic: those that may hold old bytes */
	uintptr_t base;		/* address of the word's slot 0 */
	uint32_t slot_bytes;	/* init */
	uint32_t partial;	/* list: spans owned, with room, not current */
	struct loam_span *span; /* current: NULL before the first */
	uint64_t mallocs;	/* slots claimed */
	uint64_t frees;		/* slots freed by this thread, anybody's */
	uint32_t told;		/* slots in use that heap.live knows of, modulo 2^32: refill.c */
	uint32_t frees_claimed; /* frees when `window` was claimed, modulo 2^32 */
};
_Static_assert(sizeof(struct loam_bin) == 64, "a bin is a cache line");

#define LOAM_BIN_STEPS (1024 / LOAM_GRANULE + 1)
#define LOAM_NO_ID     UINT16_MAX /* no inbox has it */
#define LOAM_SPARE_ID \
	(UINT16_MAX - \
	 1) /* nor that: "owner" of what nobody can own: a large span, a spare record */
#define LOAM_NOTES 62u

struct loam_cache {
	uint64_t magic;
	const void *stack_base;
	uint32_t inside;       /* atomic: in the allocator, not to be stopped */
	uint32_t stop_request; /* atomic: park when leaving */
	uint16_t id;	       /* of the inbox; never 0 */
	uint16_t
		free_id; /* the same, or LOAM_NO_ID while every free must go the slow way: free.c */
	uint32_t spare_count;
	struct loam_span *spare;  /* records for the next spans */
	struct loam_span *owned;  /* spans that this thread owns */
	struct loam_cache *next;  /* heap.lock; stopped */
	uintptr_t tiny, tiny_end; /* rest of the block that tiny objects share; 0: none */
	uint64_t tiny_allocs;
	int64_t credit;		/* bytes it may allocate before it must help */
	uint64_t rest_until_ns; /* before that it need not, if all is well: pace.c */
	int64_t look_credit;	/* and looks at the clock when its credit is no more than that */
	uint64_t round_ns;	/* before that it begins no round, if so; 0: none was due */
	bool quick;		/* when it scanned last a slice took next to no time: collect.c */

	uint32_t note_count;	    /* its own; stopped */
	uintptr_t note[LOAM_NOTES]; /* values that the write barrier has seen: barrier.c */
	struct loam_pagecache pages;
	/* init: where the bin of a size up to 1 KiB stands, in bytes from here, by granules. Of size 0: one
	 * that is always empty. */
	uint16_t bin_at[LOAM_SCAN_COUNT][LOAM_BIN_STEPS];
	struct loam_bin bin[LOAM_SPAN_CLASSES] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct loam_cache) <= sizeof(struct loam_thread), "the opaque part holds it");

/* The calling thread's; NULL if it is not attached. Who builds loam for a host of his own may have the
 * look-up inline: a header with the same as a static inline loam_thread_self (<loam/host.h>). */
#ifdef LOAM_THREAD_HEADER
#include LOAM_THREAD_HEADER
#else
static inline struct loam_thread *loam_thread_self(void)
{
	return loam_host_thread();
}
#endif

static inline struct loam_cache *loam_cache_mine(void)
{
	return (struct loam_cache *)(void *)loam_thread_self();
}

/* The same; panics if it is not attached. */
struct loam_cache *loam_cache_self(void);

static inline void loam_cache_enter(struct loam_cache *cache)
{
	/* relaxed: only this thread's own signal or interrupt handler must see it in order */
	__atomic_store_n(&cache->inside, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void loam_cache_park(struct loam_cache *cache);

/* The thread is outside now; true: it is to park. */
static inline bool loam_cache_out(struct loam_cache *cache)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* release: partner of loam_thread_may_stop's acquire, when another CPU asks */
	__atomic_store_n(&cache->inside, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&cache->stop_request, __ATOMIC_RELAXED) != 0;
}

static inline void loam_cache_leave(struct loam_cache *cache)
{
	if (__builtin_expect(loam_cache_out(cache), 0))
		loam_cache_park(cache);
}

/* Counters that their thread alone writes and anybody reads. */
static inline void loam_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Slots of the bin's word that are claimed and not handed out. Exact for the caller's own, and
 * stopped. */
static inline uint64_t loam_bin_claimed(const struct loam_bin *bin)
{
	return __atomic_load_n(&bin->window, __ATOMIC_RELAXED) |
	       __atomic_load_n(&bin->dirty, __ATOMIC_RELAXED);
}

/* Is `slot` of a span of the bin's thread claimed and not handed out? Same. */
static inline bool loam_bin_holds(const struct loam_bin *bin, const struct loam_span *span,
				  uint64_t slot)
{
	return slot / 64 == span->window_word && (loam_bin_claimed(bin) >> (slot % 64) & 1) != 0;
}

/* ---- refill.c: inside ---- */
/* Claim slots for an empty bin whose current span is full; false: out of memory. May collect: leaves and re-enters. */
bool loam_bin_refill(struct loam_cache *cache, struct loam_bin *bin);
/* The bin's claimed slots are free again, and its span is no longer current. */
void loam_bin_drop(struct loam_cache *cache, struct loam_bin *bin);
/* The span is now, or no longer, among those that the thread owns. */
void loam_cache_own(struct loam_cache *cache, struct loam_span *span);
void loam_cache_disown(struct loam_cache *cache, struct loam_span *span);
/* All bins, pages, records and spans go back to the heap: before detaching. */
void loam_cache_flush(struct loam_cache *cache);
/* Slots of a span that the caller owns have become free; `was_full`: all were used. */
void loam_span_freed_slots(struct loam_cache *cache, struct loam_span *span, bool was_full);

/* ---- central.c: spans that nobody owns ---- */
/* A span of the class with room, now the caller's; NULL: none. */
struct loam_span *loam_central_take(struct loam_cache *cache, unsigned span_class);
/* The span is the caller's no longer. */
void loam_central_give(struct loam_cache *cache, struct loam_span *span);
/* Become the owner of a span that nobody owns; false: somebody does. */
bool loam_central_adopt(struct loam_cache *cache, struct loam_span *span);
/* With the world stopped: empty all lists. */
void loam_central_reset(void);
/* A span that is being swept, by the caller, is nobody's and swept. */
void loam_central_put_swept(struct loam_span *span);

/* ---- remote.c: frees by threads that do not own the span ---- */
/* Free `slot` of a span that another thread owns. Fails: NOENT freed already. */
enum loam_err loam_remote_free(struct loam_cache *cache, struct loam_span *span, uint64_t slot,
			       uint16_t owner);
/* Take in what others have freed of our spans. */
void loam_remote_collect(struct loam_cache *cache);
/* Apply the remote frees of one span that the caller owns. */
void loam_remote_apply(struct loam_cache *cache, struct loam_span *span);
/* The cache with that id. Inside its own thread, or stopped. */
struct loam_cache *loam_cache_by_id(uint16_t id);
LOAM_MUST_USE enum loam_err loam_inbox_open(struct loam_cache *cache);
/* Nothing comes in from now on. The id is still the thread's, as long as spans carry it. */
void loam_inbox_close(struct loam_cache *cache);
void loam_inbox_release(struct loam_cache *cache);
LOAM_MUST_USE enum loam_err loam_remote_init(void);
void loam_remote_reset(void);

#endif
