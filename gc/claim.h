/* SPDX-License-Identifier: MIT */
/*
 * Claiming: the free slots of one word of the current span become the bin's. Their alloc bits are set, and the
 * fast path hands them out one by one. Where they may hold old bytes they are dirty: small ones
 * are zeroed some at a time, on the way to the window; larger ones when they are handed out. Slots
 * that are freed meanwhile are found on the next pass over the span.
 *
 * In a header, because allocation comes by here every few objects.
 */
#ifndef LOAM_GC_CLAIM_H
#define LOAM_GC_CLAIM_H

#include "gc/heap.h"
#include "arch/check.h"

#define LOAM_CLAIM_AGAIN 16u /* freed slots that make a word worth another look */

/* Slots of word `w` that are free. Those freed by others stay taken until they are applied. */
static inline uint64_t loam_span_free_slots(const struct loam_span *span, uint32_t w)
{
	uint32_t rest = span->slots - w * 64;
	uint64_t exist = rest >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << rest) - 1;

	return ~loam_span_alloc_word(span, w) & exist;
}

/* Claim these free slots of word `w`: some. */
static inline void loam_bin_claim(struct loam_bin *bin, uint32_t w, uint64_t slots)
{
	struct loam_span *span = bin->span;
	unsigned count;

	if (__builtin_expect(loam_heap.singly, 0))
		slots &= -slots;
	count = loam_popcount(slots);
	span->window_word = (uint8_t)w;
	span->next_word = (uint8_t)(w + 1);
	if (__builtin_expect(__atomic_load_n(&loam_heap.black, __ATOMIC_RELAXED), 0))
		loam_mark_claimed(span, w, slots);
	loam_span_set_word(span, w, loam_span_alloc_word(span, w) | slots);
	span->used = (uint16_t)(span->used + count);
	loam_count(&bin->mallocs, count);
	bin->frees_claimed = (uint32_t)bin->frees;
	bin->base = span->base + w * 64u * span->slot_bytes;
	__atomic_store_n(span->needzero ? &bin->dirty : &bin->window, slots, __ATOMIC_RELAXED);
}

/*
 * Claim the free slots of the next word that has any, around the current span once; false: it is full. The
 * same word again if enough of it has been freed: a program that frees and allocates in turns then
 * stays in few cache lines.
 */
static inline bool loam_bin_advance(struct loam_bin *bin)
{
	struct loam_span *span = bin->span;
	uint32_t words = loam_span_words(span), w = span->window_word;
	uint64_t slots = 0;

	if (span->used == span->slots)
		return false;
	/* first the count of the class's frees, which costs less than that of bits */
	if ((uint32_t)bin->frees - bin->frees_claimed >= LOAM_CLAIM_AGAIN) {
		slots = loam_span_free_slots(span, w);
		if (loam_popcount(slots) < LOAM_CLAIM_AGAIN)
			slots = 0;
	}
	for (uint32_t tries = 0; slots == 0; tries++) {
		LOAM_CHECK(tries < words, "[SPAN-3] a span with room has no free slot");
		w = tries == 0 ? span->next_word : w + 1;
		w = w < words ? w : 0;
		slots = loam_span_free_slots(span, w);
	}
	loam_bin_claim(bin, w, slots);
	return true;
}

#endif
