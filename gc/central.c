/* SPDX-License-Identifier: MIT */
/*
 * From the page heap to a thread's cache: spans that have room, a list a class.
 *
 * A span is in one of three places: a cache (cached), its class's partial list (listed), or
 * neither, when it is full. Only the thread that has it cached takes slots from it, without a
 * lock; anybody frees into it by clearing an alloc bit. A slot freed behind the cache's back is
 * found when the cache comes to refill: it looks through the words once more before it lets go.
 *
 *   [CENTRAL-1] A span is not both cached and listed.
 *   [CENTRAL-2] A listed span has a free slot or will be found full and dropped from the list.
 *
 * When to collect is decided here, where a span's worth of memory is handed out: the estimate of
 * live bytes grows by the span's free slots at once (an over-estimate by design, as in Go).
 */
#include "gc/heap.h"

void loam_central_list_locked(struct loam_span *span)
{
	unsigned span_class = loam_span_class(span->size_class, (enum loam_scan)span->scan);

	LOAM_ASSERT(!span->cached && !span->listed);
	span->listed = true;
	span->next = loam_heap.partial[span_class];
	loam_heap.partial[span_class] = span;
}

/* Free slots of word `w` that the owner may hand out. */
static uint64_t free_slots_of(const struct loam_span *span, uint32_t w)
{
	uint32_t rest = span->slots - w * 64;
	uint64_t exist = rest >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << rest) - 1;

	return ~loam_span_alloc_word(span, w) & exist;
}

/* Move the owner's window to the next word with a free slot; false if there is none ahead. */
static bool advance(struct loam_span *span)
{
	for (; span->next_word * 64 < span->slots; span->next_word++) {
		span->free_slots = free_slots_of(span, span->next_word);
		if (span->free_slots != 0) {
			span->word = span->next_word++;
			return true;
		}
	}
	return false;
}

static void uncache_locked(struct loam_span *span)
{
	span->cached = false;
	span->next_word = 0;
	span->free_slots = 0;
	if (loam_span_used_slots(span) < span->slots)
		loam_central_list_locked(span);
}

void loam_cache_flush_locked(struct loam_cache *cache)
{
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
		if (cache->span[i] != NULL)
			uncache_locked(cache->span[i]);
		cache->span[i] = NULL;
	}
	loam_heap.mallocs += cache->mallocs;
	loam_heap.alloc_bytes += cache->alloc_bytes;
	loam_heap.frees += cache->frees;
	loam_heap.free_bytes += cache->free_bytes;
	cache->mallocs = 0;
	cache->alloc_bytes = 0;
	cache->frees = 0;
	cache->free_bytes = 0;
}

static struct loam_span *take_partial_locked(unsigned span_class)
{
	for (;;) {
		struct loam_span *span = loam_heap.partial[span_class];

		if (span == NULL)
			return NULL;
		loam_heap.partial[span_class] = span->next;
		span->listed = false;
		span->next_word = 0;
		if (advance(span))
			return span;
	}
}

static struct loam_span *take_span_locked(unsigned span_class)
{
	unsigned size_class = span_class / LOAM_SCAN_COUNT;
	struct loam_span *span = take_partial_locked(span_class);

	if (span == NULL)
		span = loam_span_alloc_locked(size_class, loam_size_class[size_class].pages,
					      (enum loam_scan)(span_class % LOAM_SCAN_COUNT));
	if (span == NULL)
		return NULL;
	if (span->free_slots == 0 && !advance(span))
		LOAM_CHECK(false, "[CENTRAL-2] a new span has no free slot");
	span->cached = true;
	loam_heap.live += (span->slots - loam_span_used_slots(span)) * span->slot_bytes;
	return span;
}

bool loam_cache_refill(struct loam_cache *cache, unsigned span_class)
{
	struct loam_span *old = cache->span[span_class];
	struct loam_heap *h = &loam_heap;

	if (old != NULL && advance(old))
		return true;
	for (unsigned attempt = 0;; attempt++) {
		struct loam_span *span;
		uint64_t seen;

		loam_gc_lock(&h->lock);
		old = cache->span[span_class];
		if (old != NULL)
			uncache_locked(old);
		cache->span[span_class] = NULL;
		h->live -= cache->unlive < h->live ? cache->unlive : h->live;
		cache->unlive = 0;
		seen = h->cycles;
		span = attempt == 0 && h->live >= h->next_gc ? NULL : take_span_locked(span_class);
		cache->span[span_class] = span;
		loam_gc_unlock(&h->lock);
		if (span != NULL)
			return true;
		if (attempt == 2)
			return false;
		/* stoppable while somebody else collects; the second time all must go */
		loam_cache_leave(cache);
		loam_collect(seen, attempt == 1);
		loam_cache_enter(cache);
	}
}
