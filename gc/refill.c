/* SPDX-License-Identifier: MIT */
/*
 * Where a thread's bin gets its slots from, from near to far: the current word of the current
 * span, the span's next words, other spans that the thread owns, what others have freed of its
 * spans, the central list of the class, and new pages.
 *
 * Claiming takes all free slots of one word: their alloc bits are set, and the fast path hands them out
 * one by one. Where they may hold old bytes they are dirty: small ones are zeroed some at a time, on
 * the way to the window; larger ones when they are handed out. Slots that are freed meanwhile are found on
 * the next pass over the span.
 *
 *   [BIN-1] A current span is owned by the bin's thread and not listed. A span is listed by its owner
 *           if it has room and is not current.
 *   [BIN-2] Nothing is claimed when the current span changes.
 *
 * When to collect is decided here, where a span's worth of memory is taken: the estimate of live bytes
 * grows by the span's free slots at once (an over-estimate by design, as in Go).
 */
#include "gc/spanlist.h"

void *memset(void *dst, int c, size_t n);

#define AGAIN 16u /* freed slots that make a word worth another look */

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

/* ---- claiming ---- */

/* Slots of word `w` that are free. Those freed by others stay taken until they are applied. */
static uint64_t free_slots_of(const struct loam_span *span, uint32_t w)
{
	uint32_t rest = span->slots - w * 64;
	uint64_t exist = rest >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << rest) - 1;

	return ~loam_span_alloc_word(span, w) & exist;
}

/* Claim these free slots of word `w`. */
static void claim(struct loam_bin *bin, uint32_t w, uint64_t slots, unsigned count)
{
	struct loam_span *span = bin->span;

	if (loam_heap.singly) {
		slots &= -slots;
		count = 1;
	}
	span->window_word = (uint8_t)w;
	span->next_word = (uint8_t)(w + 1);
	loam_span_set_word(span, w, loam_span_alloc_word(span, w) | slots);
	span->used = (uint16_t)(span->used + count);
	loam_count(&bin->mallocs, count);
	bin->base = span->base + w * 64u * span->slot_bytes;
	__atomic_store_n(span->needzero ? &bin->dirty : &bin->window, slots, __ATOMIC_RELAXED);
}

/* Claim the free slots of the next word that has any, around the span once; false: it is full. The same
 * word again if enough of it has been freed: a program that frees and allocates in turns then
 * stays in few cache lines. */
static bool advance(struct loam_bin *bin)
{
	struct loam_span *span = bin->span;
	uint32_t words = loam_span_words(span), w = span->window_word;
	uint64_t slots;
	unsigned count;

	if (span->used == span->slots)
		return false;
	slots = free_slots_of(span, w);
	count = loam_popcount(slots);
	if (count < AGAIN && words > 1) {
		w = span->next_word;
		do {
			w = w < words ? w : 0;
			slots = free_slots_of(span, w++);
		} while (slots == 0); /* there is one: [SPAN-3] */
		w--;
		count = loam_popcount(slots);
	}
	claim(bin, w, slots, count);
	return true;
}

static void make_current(struct loam_bin *bin, struct loam_span *span)
{
	bin->span = span;
	span->current = true;
	span->window_word = span->next_word = 0;
}

/* ---- letting go ---- */

static void retire(struct loam_cache *cache, struct loam_span *span)
{
	loam_cache_disown(cache, span);
	loam_span_free(cache, span);
}

void loam_span_freed_slots(struct loam_cache *cache, struct loam_span *span, uint32_t before)
{
	struct loam_bin *bin = loam_bin_of(cache, span);

	if (span->current)
		return;
	if (before == span->slots)
		loam_spanlist_push(&bin->partial, span);
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
	span->current = false;
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
	if (span->used == 0) {
		loam_spanlist_remove(&bin->partial, span);
		retire(cache, span);
	}
}

void loam_cache_flush(struct loam_cache *cache)
{
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		loam_bin_drop(cache, &cache->bin[i]);
	loam_inbox_close(cache); /* may make us the owner of more */
	while (cache->owned != NULL) {
		struct loam_span *span = cache->owned;

		if (!span->unlisted)
			loam_spanlist_remove(&loam_bin_of(cache, span)->partial, span);
		if (span->used == 0)
			retire(cache, span);
		else
			loam_central_give(cache, span);
	}
	loam_inbox_release(cache); /* no span carries our id any more */
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
	return advance(bin);
}

/* A span with room from the heap; it costs heap.live its free slots. */
static bool take_new(struct loam_cache *cache, struct loam_bin *bin, unsigned span_class)
{
	struct loam_span *span = loam_central_take(cache, span_class);

	if (span == NULL) {
		span = loam_span_alloc(cache, span_class, loam_span_pages(span_class), 1);
		if (span == NULL)
			return false;
		loam_cache_own(cache, span);
	}
	loam_live_add((int64_t)((span->slots - span->used) * span->slot_bytes));
	make_current(bin, span);
	return advance(bin);
}

/* What this thread has freed of the class since it was last here comes off heap.live. */
static bool collection_due(struct loam_bin *bin)
{
	uint32_t freed = (uint32_t)bin->frees - bin->frees_seen;
	int64_t live = loam_live_add(-(int64_t)((uint64_t)freed * bin->slot_bytes));

	bin->frees_seen += freed;
	return live >= __atomic_load_n(&loam_heap.next_gc, __ATOMIC_RELAXED);
}

/* The current span has nothing. */
__attribute__((noinline)) static bool refill_from_afar(struct loam_cache *cache,
						       struct loam_bin *bin)
{
	unsigned span_class = (unsigned)(bin - cache->bin);

	for (unsigned attempt = 0;; attempt++) {
		uint64_t seen = __atomic_load_n(&loam_heap.cycles, __ATOMIC_RELAXED);

		if (bin->span != NULL)
			leave_span(bin);
		loam_remote_collect(cache);
		if (take_partial(bin))
			break;
		if (!(attempt == 0 && collection_due(bin)) && take_new(cache, bin, span_class))
			break;
		if (attempt == 2)
			return false;
		/* stoppable while somebody else collects; the second time all must go */
		loam_cache_leave(cache);
		loam_collect(seen, attempt == 1 ? LOAM_WHY_SHORTAGE : LOAM_WHY_GOAL);
		loam_cache_enter(cache);
	}
	return true;
}

bool loam_bin_refill(struct loam_cache *cache, struct loam_bin *bin)
{
	return (bin->span != NULL && advance(bin)) || refill_from_afar(cache, bin);
}
