/* SPDX-License-Identifier: MIT */
/*
 * Where a thread's bin gets its slots from, from near to far: the current word of the current
 * span, the span's next words, other spans that the thread owns, what others have freed of its
 * spans, the central list of the class, and new pages.
 *
 *   [BIN-1] A current span is owned by the bin's thread and not listed. A span is listed by its owner
 *           if it has room and is not current.
 *   [BIN-2] Nothing is claimed when the current span changes.
 *
 * When to collect is decided here, where a span is taken, new or used before: what the thread has claimed of the class, and what
 * has become free of its spans, is told to the estimate of live bytes; so slots that are used again count once more.
 * Not before: what a thread's current spans have room for is much for a small heap, and would have cycles begin early (Go does count it;
 * its spans are smaller, and its threads share them). What is not told is less than two spans a class, and all is when the thread goes.
 */
#include "gc/claim.h"
#include "gc/spanlist.h"

#define TELL_BYTES ((int64_t)64 << 10) /* the largest span of small slots that is common */
#define SWEEP_MOST \
	16u /* stretches of pages swept in search of a slot, before new pages are taken */

/* ---- lists of one thread ---- */

void loam_cache_own(struct loam_cache *cache, struct loam_span *span)
{
	span->owned_prev = NULL;
	span->owned_next = cache->owned;
	if (cache->owned != NULL)
		cache->owned->owned_prev = span;
	cache->owned = span;
}

void loam_cache_disown(struct loam_cache *cache, struct loam_span *span)
{
	if (span->owned_next != NULL)
		span->owned_next->owned_prev = span->owned_prev;
	if (span->owned_prev != NULL)
		span->owned_prev->owned_next = span->owned_next;
	else
		cache->owned = span->owned_next;
	span->owned_next = span->owned_prev = NULL;
}

/* ---- the current span ---- */

static void make_current(struct loam_bin *bin, struct loam_span *span)
{
	bin->span = span;
	span->window_word = span->next_word = 0;
	bin->frees_claimed = (uint32_t)bin->frees;
}

/* ---- what counts as live ---- */

/*
 * Bytes by which heap.live is to change: what this thread has claimed of the class since it last asked, and what has become free of its
 * spans. Who frees what another owns tells nothing (free.c): the owner does (remote.c), or what one thread makes and another
 * frees would come to a cycle. So does the sweep for what is freed amid a cycle. A cycle's end makes heap.live what is marked: then nothing is untold (end_thread).
 */
static int64_t untold(const struct loam_bin *bin)
{
	int32_t more = (int32_t)((uint32_t)(bin->mallocs - bin->frees) - bin->told);

	return (int64_t)more * bin->slot_bytes;
}

/* It is told. Returns the same. */
static int64_t tell_live(struct loam_bin *bin)
{
	int64_t bytes = untold(bin);

	bin->told = (uint32_t)(bin->mallocs - bin->frees);
	return bytes;
}

/* ---- letting go ---- */

static void retire(struct loam_cache *cache, struct loam_span *span)
{
	loam_cache_disown(cache, span);
	loam_span_free(cache, span);
}

void loam_span_freed_slots(struct loam_cache *cache, struct loam_span *span, bool was_full)
{
	struct loam_bin *bin = loam_bin_of(cache, span);

	if (loam_span_current(span))
		return;
	if (was_full)
		loam_spanlist_push(&bin->partial, span);
	LOAM_ASSERT(!loam_marking()); /* [SWEEP-2] */
	/* the last of its class is kept, or one object coming and going would cost a span each time */
	if (span->used == 0 && span->next != loam_span_number(span)) {
		loam_spanlist_remove(&bin->partial, span);
		retire(cache, span);
	}
}

/* The current span is current no longer. What was claimed of it has been handed out. */
static void leave_span(struct loam_bin *bin)
{
	struct loam_span *span = bin->span;

	bin->span = NULL;
	span->window_word = LOAM_NO_WINDOW;
	if (span->used < span->slots)
		loam_spanlist_push(&bin->partial, span);
}

void loam_bin_drop(struct loam_cache *cache, struct loam_bin *bin)
{
	struct loam_span *span = bin->span;
	uint64_t claimed = loam_bin_claimed(bin);
	unsigned count = loam_popcount(claimed);

	if (span == NULL)
		return;
	__atomic_store_n(&bin->window, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&bin->dirty, 0, __ATOMIC_RELAXED);
	loam_count(&bin->mallocs, -(uint64_t)count);
	span->used = (uint16_t)(span->used - count);
	if (count > 0)
		loam_span_set_word(span, span->window_word,
				   loam_span_alloc_word(span, span->window_word) & ~claimed);
	leave_span(bin);
	if (span->used == 0 && !loam_marking()) {
		loam_spanlist_remove(&bin->partial, span);
		retire(cache, span);
	}
}

void loam_cache_flush(struct loam_cache *cache)
{
	int64_t more = 0;

	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
		loam_bin_drop(cache, &cache->bin[i]);
		more += tell_live(&cache->bin[i]);
	}
	loam_live_add(more);
	loam_inbox_close(cache); /* may make us the owner of more */
	while (cache->owned != NULL) {
		struct loam_span *span = cache->owned;

		if (!span->unlisted)
			loam_spanlist_remove(&loam_bin_of(cache, span)->partial, span);
		if (span->used == 0 && !loam_marking())
			retire(cache, span);
		else
			loam_central_give(cache, span);
	}
	loam_inbox_release(
		cache); /* none that has been swept carries our id; and the sweep goes by who asks */
	cache->tiny = cache->tiny_end = 0;
	loam_pagecache_flush(&cache->pages);
	loam_span_records_flush(cache);
}

/* ---- refilling ---- */

static bool take_partial(struct loam_bin *bin)
{
	struct loam_span *span;

	if (bin->partial == 0)
		return false;
	span = loam_span_record(bin->partial);
	loam_spanlist_remove(&bin->partial, span);
	make_current(bin, span);
	return loam_bin_advance(bin);
}

/* A span with room from the heap. */
static bool take_new(struct loam_cache *cache, struct loam_bin *bin, unsigned span_class)
{
	struct loam_span *span = loam_central_take(cache, span_class);

	for (unsigned i = 0; span == NULL && i < SWEEP_MOST && loam_sweep_some(cache); i++) {
		if (take_partial(bin)) /* what was ours comes back to us */
			return true;
		span = loam_central_take(cache, span_class);
	}
	if (span == NULL) {
		span = loam_span_alloc(cache, span_class, loam_span_pages(span_class), 1);
		if (span == NULL)
			return false;
		loam_cache_own(cache, span);
	}
	make_current(bin, span);
	return loam_bin_advance(bin);
}

/* Asked before a span is taken. One that has been the thread's may have little room: then there is next to nothing to tell. */
static bool collection_due(struct loam_bin *bin)
{
	int64_t more = untold(bin);

	if (bin->partial != 0 && more < TELL_BYTES && more > -TELL_BYTES)
		return false;
	return loam_live_add(tell_live(bin)) >=
	       __atomic_load_n(&loam_heap.due_bytes, __ATOMIC_RELAXED);
}

bool loam_bin_refill(struct loam_cache *cache, struct loam_bin *bin)
{
	unsigned span_class = (unsigned)(bin - cache->bin);
	struct loam_shortage shortage = loam_shortage();

	for (bool first = true;; first = false) {
		uint64_t seen = __atomic_load_n(&loam_heap.cycles, __ATOMIC_RELAXED);
		bool due, others;

		if (bin->span != NULL)
			leave_span(bin);
		loam_remote_collect(cache);
		others = loam_shortage_others(&shortage);
		due = collection_due(bin) && first && !others && !loam_marking();
		if (!due && (take_partial(bin) || (!others && take_new(cache, bin, span_class))))
			break;
		if (due)
			loam_collect_goal(cache, seen);
		else if (!loam_shortage_helped(cache, &shortage))
			return false;
	}
	loam_shortage_over(&shortage);
	return true;
}
