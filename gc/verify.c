/* SPDX-License-Identifier: MIT */
/* The heap's invariants, walked. Tags are explained where the structures are. */
#include "gc/heap.h"

static void verify_place(const struct loam_span *span)
{
	LOAM_CHECK(!(loam_span_current(span) && !span->unlisted),
		   "[BIN-1] span both current and listed");
	LOAM_CHECK(!loam_span_current(span) || span->owner != 0,
		   "[BIN-1] a current span that nobody owns");
	LOAM_CHECK(span->unlisted || span->used < span->slots, "[CENTRAL-1] a full span is listed");
	if (span->magic != 0 && span->used < span->slots && span->owner != 0)
		LOAM_CHECK(!span->unlisted || loam_span_current(span),
			   "[BIN-1] a span with room is lost");
}

static void verify_span(const struct loam_span *span)
{
	uint64_t at = loam_page_index(span->base);
	const struct loam_chunk_bits *bits;
	uint32_t tail = span->slots % 64, count = 0;

	LOAM_CHECK(span->in_use, "[SPAN-1] the table leads to a spare record");
	for (uint64_t i = at; i < at + span->pages; i++) {
		LOAM_CHECK(loam_span_of(loam_heap.base + (i << LOAM_HEAP_PAGE_SHIFT)) == span,
			   "[SPAN-1] a page of a span leads elsewhere");
		bits = loam_chunk_bits(&loam_heap.pages.pa, i >> LOAM_CHUNK_SHIFT);
		LOAM_CHECK((bits->used[i % LOAM_CHUNK_PAGES / 64] >> (i % 64) & 1) != 0 &&
				   (bits->scavenged[i % LOAM_CHUNK_PAGES / 64] >> (i % 64) & 1) ==
					   0,
			   "[PAGES-1] a span's page is not used or not Ready");
	}
	if (tail != 0)
		LOAM_CHECK(loam_span_alloc_word(span, span->slots / 64) >> tail == 0,
			   "[SPAN-2] alloc bit of a slot that does not exist");
	for (uint32_t w = 0; w < loam_span_words(span); w++)
		count += loam_popcount(loam_span_alloc_word(span, w));
	LOAM_CHECK(count == span->used, "[SPAN-3] count of used slots is wrong");
	if (span->swept != loam_heap.sweep_cycle) {
		LOAM_CHECK(!loam_span_current(span) && loam_sweep_pending(),
			   "[SWEEP-3] a span's sweep was forgotten");
		return; /* owner and list mean nothing */
	}
	verify_place(span);
}

static void verify_marks(const struct loam_span *span)
{
	for (uint32_t w = 0; w < loam_span_words(span); w++) {
		LOAM_CHECK(loam_marking() || span->swept != loam_heap.sweep_cycle ||
				   span->bits[w].mark == 0,
			   "[SWEEP-4] a swept span has mark bits");
	}
}

static void verify_bins(struct loam_cache *cache)
{
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
		struct loam_bin *bin = &cache->bin[i];

		if (bin->span == NULL) {
			LOAM_CHECK(loam_bin_claimed(bin) == 0, "[BIN-2] claimed slots of no span");
			continue;
		}
		LOAM_CHECK(bin->span->owner == cache->id && loam_span_current(bin->span),
			   "[BIN-1] a current span of another thread's");
		LOAM_CHECK((loam_bin_claimed(bin) &
			    ~loam_span_alloc_word(bin->span, bin->span->window_word)) == 0,
			   "[CACHE-1] a claimed slot is not taken");
	}
}

void loam_heap_verify_stopped(void)
{
	struct loam_heap *h = &loam_heap;
	uint64_t pages = h->mapped_bytes >> LOAM_HEAP_PAGE_SHIFT, in_spans = 0, spans = 0;

	for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
		verify_span(s);
		verify_marks(s);
		in_spans += s->pages;
		spans++;
	}
	for (struct loam_cache *t = h->threads; t != NULL; t = t->next)
		verify_bins(t);
	LOAM_CHECK(spans == h->spans_used && in_spans == h->pages.used,
		   "[SPAN-1] span counts are wrong");
	loam_pageheap_verify();
	loam_specials_verify();
	LOAM_CHECK(h->pages.ready + h->pages.fenced <= pages && h->pages.used <= h->pages.ready,
		   "[HEAP-2] more pages used than Ready, or Ready than mapped");
}

static void verify(void *arg, const void *sp)
{
	(void)arg;
	(void)sp;
	for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next)
		loam_pagecache_flush(&t->pages);
	loam_heap_verify_stopped();
}

void loam_heap_verify(void)
{
	loam_gc_lock(&loam_heap.collecting); /* outside: we can be stopped while we wait */
	loam_host_world_stop();
	loam_cpu_spill(verify, NULL);
	loam_host_world_start();
	loam_gc_unlock(&loam_heap.collecting);
}
