/* SPDX-License-Identifier: MIT */
/*
 * Sweeping: what is in use and not marked is free. A span's alloc bits become its mark bits, a
 * word of 64 slots at a time; spans without a marked object give their pages back; spans with room go
 * to the central lists, for whichever thread comes first. A thread keeps its full spans, and its
 * current ones.
 *
 *   [SWEEP-1] No marked slot is free: such a zombie was freed explicitly while something still
 *             pointed to it, and is reported as a bug when the heap is verified.
 *
 * Runs with the world stopped and nobody inside.
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

static void bury(const struct loam_span *span, uint32_t word, uint64_t dead)
{
	if (LOAM_DEBUG < 2)
		return;
	for (; dead != 0; dead &= dead - 1) {
		uint64_t slot = word * 64 + (unsigned)__builtin_ctzll(dead);
		void *p = (void *)(span->base + slot * span->slot_bytes);

		loam_history_note(LOAM_HISTORY_SWEEP, p, span->slot_bytes, NULL);
		if (LOAM_DEBUG >= 3)
			memset(p, LOAM_POISON, span->slot_bytes);
	}
}

static void count_dead(const struct loam_span *span, unsigned dead)
{
	struct loam_heap *h = &loam_heap;

	if (span->magic != 0) {
		h->frees[span->span_class] += dead;
	} else {
		h->large_frees += dead;
		h->large_free_bytes += dead * span->slot_bytes;
	}
}

/* Returns the slots that live on. */
static uint32_t sweep_span(struct loam_span *span)
{
	uint32_t live = 0;

	for (uint32_t w = 0; w < loam_span_words(span); w++) {
		uint64_t used = span->alloc_bits[w], marked = span->mark_bits[w] & used;
		uint64_t dead = used & ~marked;

		live += loam_popcount(marked);
		if (dead == 0)
			continue;
		count_dead(span, loam_popcount(dead));
		bury(span, w, dead);
		span->needzero = true;
		span->alloc_bits[w] = marked;
	}
	span->used = (uint16_t)live;
	return live;
}

/* Forget all lists, and current spans of which nothing is claimed. */
static void reset_lists(void)
{
	loam_central_reset();
	for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next) {
		t->owned = NULL;
		for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
			struct loam_bin *bin = &t->bin[i];

			bin->partial = 0;
			if (bin->span == NULL || loam_bin_claimed(bin) != 0)
				continue;
			bin->span->window_word = LOAM_NO_WINDOW;
			bin->span = NULL;
		}
	}
}

static void place(struct loam_cache *cache, struct loam_span *span)
{
	span->unlisted = true;
	span->next = span->prev = 0;
	span->owned_next = span->owned_prev = NULL;
	span->next_word = 0;
	if (span->used == 0 && !loam_span_current(span)) {
		span->owner = 0;
		loam_span_free(cache, span);
	} else if (loam_span_current(span) || (span->owner != 0 && span->used == span->slots)) {
		loam_cache_own(loam_cache_by_id(span->owner), span);
	} else if (span->magic != 0) {
		span->owner = 0;
		if (span->used < span->slots)
			loam_central_list_stopped(span);
	}
}

void loam_sweep_all(struct loam_cache *cache)
{
	struct loam_span *next;

	reset_lists();
	for (struct loam_span *span = loam_span_next(NULL); span != NULL; span = next) {
		next = loam_span_next(span);
		if (span->offheap)
			continue;
		sweep_span(span);
		place(cache, span);
	}
}
