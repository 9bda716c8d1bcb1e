/* SPDX-License-Identifier: MIT */
/*
 * Sweeping: what is in use and not marked is free. A span's alloc bits become its mark bits, a
 * word of 64 slots at a time; spans without a marked object give their pages back; the others
 * are listed for allocation if they have room.
 *
 *   [SWEEP-1] No marked slot is free: such a zombie was freed explicitly while something still
 *             pointed to it, and is reported as a bug when the heap is verified.
 *
 * Runs with the world stopped and no span cached.
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

#define POISON 0xdb

static void poison_dead(const struct loam_span *span, uint32_t word, uint64_t dead)
{
	if (LOAM_DEBUG < 3)
		return;
	for (; dead != 0; dead &= dead - 1) {
		uint64_t slot = word * 64 + (unsigned)__builtin_ctzll(dead);

		memset((void *)(span->base + slot * span->slot_bytes), POISON, span->slot_bytes);
	}
}

/* Returns the slots that live on. */
static uint32_t sweep_span(struct loam_span *span)
{
	struct loam_heap *h = &loam_heap;
	uint32_t live = 0;

	for (uint32_t w = 0; w < (span->slots + 63) / 64; w++) {
		uint64_t used = span->alloc_bits[w], marked = span->mark_bits[w] & used;
		uint64_t dead = used & ~marked;

		for (uint64_t m = marked; m != 0; m &= m - 1)
			live++;
		if (dead == 0)
			continue;
		for (uint64_t d = dead; d != 0; d &= d - 1) {
			h->frees++;
			h->free_bytes += span->slot_bytes;
		}
		poison_dead(span, w, dead);
		span->needzero = true;
		span->alloc_bits[w] = marked;
	}
	return live;
}

void loam_sweep_all(void)
{
	struct loam_span *next;

	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		loam_heap.partial[i] = NULL;
	for (struct loam_span *span = loam_span_next(NULL); span != NULL; span = next) {
		uint32_t live = sweep_span(span);

		next = loam_span_next(span);
		span->listed = false;
		span->next_word = 0;
		span->free_slots = 0;
		if (live == 0)
			loam_span_free_locked(span);
		else if (live < span->slots)
			loam_central_list_locked(span);
	}
}
