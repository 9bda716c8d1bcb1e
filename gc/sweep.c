/* SPDX-License-Identifier: MIT */
/*
 * Sweeping: what is in use and not marked is free. A span's alloc bits become its mark bits, a
 * word of 64 slots at a time; spans without a marked object give their pages back; spans with room go
 * to the list of the thread that owned them, if it is the one that sweeps, and else to the central lists.
 *
 * When marking ends, nothing is swept but the spans that threads have claimed slots of. All other spans are
 * owed a sweep, and on no list: whoever touches one sweeps it first. Apart from that, threads sweep
 * stretches of the heap by address: when they run out of slots, for what they allocate, and on donated time. The
 * next cycle begins when all is swept.
 *
 *   [SWEEP-1] What is in use after the sweep was in use before it, marked, and not freed explicitly; or it has a finalizer
 *             that is due now (special.c).
 *   [SWEEP-2] While marking goes on no slot and no span becomes free: what is freed explicitly is noted in the
 *             remote bits, and freed by the sweep. So what marking finds stays what it is.
 *   [SWEEP-3] A span whose `swept` is not this cycle's is owned by nobody, whatever its record says, and on no
 *             list. Who changes `swept` to LOAM_SWEEPING has it alone until it writes the cycle.
 *   [SWEEP-4] A swept span has no mark or scan bits until marking begins.
 *
 * Runs inside; a stop waits for the span that is being swept.
 */
#include "gc/record.h"
#include "gc/spanlist.h"

void *memset(void *dst, int c, size_t n);

#define STRETCH 64u /* heap pages swept at a time */
#define AHEAD	24u /* words of bits, or twice as many: six lines of a cache that were asked for */

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

/* Those freed explicitly have been counted; but heap.live knows them as marked, if they were. */
static void count_dead(const struct loam_span *span, unsigned dead, unsigned freed_marked)
{
	struct loam_heap *h = &loam_heap;

	if (freed_marked > 0)
		loam_live_add(-(int64_t)(freed_marked * span->slot_bytes));
	if (dead == 0)
		return;
	if (span->magic != 0) {
		__atomic_add_fetch(&h->frees[span->span_class], dead, __ATOMIC_RELAXED);
	} else {
		__atomic_add_fetch(&h->large_frees, dead, __ATOMIC_RELAXED);
		__atomic_add_fetch(&h->large_free_bytes, dead * span->slot_bytes, __ATOMIC_RELAXED);
	}
}

/* What hangs on the dead; which of them live on, for their finalizers. heap.live does not know them as marked. */
static uint64_t revive(struct loam_span *span, uint32_t word, uint64_t dead, uint64_t freed)
{
	uint64_t revived = loam_specials_sweep(span, word, dead, freed);

	if (revived != 0)
		loam_live_add((int64_t)(loam_popcount(revived) * span->slot_bytes));
	return revived;
}

/* Its bits. */
static void sweep_bits(struct loam_span *span)
{
	bool special = __atomic_load_n(&span->special, __ATOMIC_RELAXED);
	uint32_t live = 0, died = 0, freed_marked = 0;

	for (uint32_t w = 0; w < loam_span_words(span); w++) {
		uint64_t used = loam_span_alloc_word(span, w), freed = 0,
			 marked = span->bits[w].mark, dead;

		__builtin_prefetch(&span->bits[w + AHEAD]);
		__builtin_prefetch(&span->remote_bits[w + 2 * AHEAD]);
		/* acquire: the last writes to what was freed come before its reuse */
		if (__atomic_load_n(&span->remote_bits[w], __ATOMIC_RELAXED) != 0)
			freed = __atomic_exchange_n(&span->remote_bits[w], 0, __ATOMIC_SEQ_CST) &
				used;
		dead = used & (~marked | freed);
		if (__builtin_expect(special, 0) && dead != 0)
			dead &= ~revive(span, w, dead, freed);
		span->bits[w].mark = 0; /* [SWEEP-4] */
		if (loam_span_batched(span))
			loam_span_scan_bits(span)[w] = 0;
		live += loam_popcount(used & ~dead);
		if (dead == 0)
			continue;
		died += loam_popcount(dead & ~freed);
		freed_marked += loam_popcount(freed & marked);
		bury(span, w, dead);
		span->needzero = true;
		loam_span_set_word(span, w, used & ~dead);
	}
	span->used = (uint16_t)live;
	count_dead(span, died, freed_marked);
}

/* Where the swept span belongs now. `ours`: the caller owned it. Last, for then it can be somebody's. */
static void place(struct loam_cache *cache, struct loam_span *span, bool ours)
{
	span->unlisted = true;
	span->next = span->prev = 0;
	span->owned_next = span->owned_prev = NULL;
	span->next_word = 0;
	if (span->offheap) {
		__atomic_store_n(&span->swept, loam_heap.sweep_cycle, __ATOMIC_RELEASE);
	} else if (span->used == 0 && !loam_span_current(span)) {
		loam_span_free(
			cache,
			span); /* being swept to its end, or who it belonged to would take it for his */
	} else if (ours) {
		loam_cache_own(cache, span);
		if (span->used < span->slots && !loam_span_current(span))
			loam_spanlist_push(&loam_bin_of(cache, span)->partial, span);
		__atomic_store_n(&span->swept, loam_heap.sweep_cycle, __ATOMIC_RELEASE);
	} else {
		loam_central_put_swept(span);
	}
}

static void sweep_span(struct loam_cache *cache, struct loam_span *span)
{
	bool ours =
		span->magic != 0 && __atomic_load_n(&span->owner, __ATOMIC_RELAXED) == cache->id;

	sweep_bits(span);
	place(cache, span, ours);
}

/* [SWEEP-3]; false: it has been swept, or is just being. */
static bool claim(struct loam_span *span)
{
	uint8_t was = __atomic_load_n(&span->swept, __ATOMIC_RELAXED);

	/* acquire: what its owner did comes first; partners: the releases in place, and the stop */
	return was != loam_heap.sweep_cycle && was != LOAM_SWEEPING && was != LOAM_SWEPT_ANY &&
	       __atomic_compare_exchange_n(&span->swept, &was, LOAM_SWEEPING, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void loam_sweep_ensure(struct loam_cache *cache, struct loam_span *span)
{
	for (;;) {
		/* acquire: partner of the releases in place */
		uint8_t swept = __atomic_load_n(&span->swept, __ATOMIC_ACQUIRE);

		if (swept == loam_heap.sweep_cycle || swept == LOAM_SWEPT_ANY)
			return;
		if (swept != LOAM_SWEEPING && claim(span))
			sweep_span(cache, span);
		else
			loam_cpu_relax(); /* who sweeps it is inside, and waits for nobody */
	}
}

/* Every span that has a page in the stretch. Those that another sweeps are waited for: when all stretches are done,
 * no span is being swept. */
static void sweep_pages(struct loam_cache *cache, uint64_t at, uint64_t end)
{
	while (at < end) {
		struct loam_span *span = loam_span_at_page(at);
		uint64_t next = at + 1;

		if (span == loam_span_record(0)) {
			at = next;
			continue;
		}
		if (claim(span)) {
			/* before: then it may be gone */
			next = loam_page_index(loam_span_start(span)) + span->pages;
			sweep_span(cache, span);
		} else {
			loam_sweep_ensure(cache, span);
		}
		at = next;
	}
}

bool loam_sweep_some(struct loam_cache *cache)
{
	struct loam_heap *h = &loam_heap;
	uint64_t end = h->sweep_end, at;

	/* relaxed: only a look */
	if (__atomic_load_n(&h->sweep_at, __ATOMIC_RELAXED) >= end)
		return false;
	at = __atomic_fetch_add(&h->sweep_at, STRETCH, __ATOMIC_RELAXED);
	if (at >= end)
		return false;
	sweep_pages(cache, at, end - at < STRETCH ? end : at + STRETCH);
	/* release: partner of the acquire in loam_sweep_pending */
	if (__atomic_sub_fetch(&h->sweep_left, 1, __ATOMIC_ACQ_REL) == 0) {
		loam_record_swept();
		if (h->trace > 1)
			loam_gctrace_swept();
	}
	return true;
}

void loam_sweep_finish(struct loam_cache *cache)
{
	while (loam_sweep_pending()) {
		loam_cache_enter(cache);
		if (!loam_sweep_some(cache))
			loam_cpu_relax(); /* the rest is others' */
		loam_cache_leave(cache);
	}
}

/* Forget all lists. Current spans of which something is claimed are swept now; the others are no longer
 * current. */
static void start_thread(struct loam_cache *t)
{
	t->owned = NULL;
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
		struct loam_bin *bin = &t->bin[i];

		bin->partial = 0;
		if (bin->span == NULL)
			continue;
		if (loam_bin_claimed(bin) == 0) {
			bin->span->window_word = LOAM_NO_WINDOW;
			bin->span = NULL;
		} else if (claim(bin->span)) {
			sweep_span(t, bin->span);
		}
	}
}

void loam_sweep_start(void)
{
	struct loam_heap *h = &loam_heap;

	LOAM_CHECK(h->sweep_left == 0, "[SWEEP-3] a cycle ends before the last one's sweep");
	h->sweep_cycle = h->sweep_cycle == LOAM_SWEPT_ANY - 1 ? 0 : h->sweep_cycle + 1;
	loam_central_reset();
	for (struct loam_cache *t = h->threads; t != NULL; t = t->next)
		start_thread(t);
	h->sweep_at = 0;
	h->sweep_end = h->mapped_bytes >> LOAM_HEAP_PAGE_SHIFT;
	h->sweep_left = (h->sweep_end + STRETCH - 1) / STRETCH;
	h->busy = true;
}
