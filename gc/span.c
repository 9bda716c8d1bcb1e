/* SPDX-License-Identifier: MIT */
/*
 * Spans: runs of heap pages cut into slots of one size.
 *
 * Records stand in one table and are type-stable: a stale pointer to one always finds a span
 * record. The table of spans holds a record's number for each heap page; number 0 is a record that
 * is nobody's, so that a look-up never fails, it only finds a span without slots. A large object has
 * a span of its own, whose `base` may be past the start of its pages.
 *
 * Bits of slots stand beside the heap, at the place of the span's first page, packed by slot number: one word of
 * alloc bits and one of mark bits are 64 slots, and stand side by side, for who marks asks both: so one cache line answers. If one
 * such pair is enough, it is in the record, for a free to find both with one look. Else: a heap page has 128 bytes, enough for its
 * 512 slots of 16 bytes. Of larger slots there are at most 256 a page, so behind the pairs there is room for two bits more:
 * the remote bits (freed by a thread that does not own the span: remote.c), and behind those the scan bits (mark.c). The
 * remote bits of 16-byte slots stand where their pointer bits would: of 128 bytes a
 * page, they are the first 64 (typed.c has the rest); scan bits they do without. All in all 256 bytes a page, and 4 for the
 * number: 3.17 % of the heap.
 *
 *   [SPAN-1] Each page of an in-use span leads to it; each other page leads to number 0.
 *   [SPAN-2] Bits of slots that do not exist are clear.
 *   [SPAN-3] `used` is the number of alloc bits set.
 *
 * Order of publication: a record is complete before the table leads to it (release), because
 * loam_free looks without a lock.
 */
#include "gc/heap.h"

#include "arch/cpu.h"

void *memset(void *dst, int c, size_t n);

#define SPAN_PAGES  8u /* a class with many spans gets them as large as this */
#define SPARE_BATCH 8u /* records that a thread takes at once */

static uint32_t *table(void)
{
	return (uint32_t *)loam_heap.spans.base;
}

/* ---- records ---- */

static struct loam_span *record_make_locked(void)
{
	struct loam_heap *h = &loam_heap;
	struct loam_span *span = h->spare;

	if (span != NULL) {
		h->spare = span->spare_next;
		return span;
	}
	if ((h->record_count + 1) * sizeof(*span) > h->records.size ||
	    loam_table_grow(&h->records, (h->record_count + 1) * sizeof(*span)) != LOAM_OK)
		return NULL;
	return loam_span_record((uint32_t)h->record_count++);
}

static struct loam_span *record_take(struct loam_cache *cache)
{
	struct loam_span *span;

	if (cache->spare == NULL) {
		loam_gc_lock(&loam_heap.lock);
		while (cache->spare_count < SPARE_BATCH && (span = record_make_locked()) != NULL) {
			span->spare_next = cache->spare;
			cache->spare = span;
			cache->spare_count++;
		}
		loam_gc_unlock(&loam_heap.lock);
	}
	span = cache->spare;
	if (span != NULL) {
		cache->spare = span->spare_next;
		cache->spare_count--;
	}
	return span;
}

void loam_span_records_flush(struct loam_cache *cache)
{
	loam_gc_lock(&loam_heap.lock);
	while (cache->spare != NULL) {
		struct loam_span *span = cache->spare;

		cache->spare = span->spare_next;
		span->spare_next = loam_heap.spare;
		loam_heap.spare = span;
	}
	cache->spare_count = 0;
	loam_gc_unlock(&loam_heap.lock);
}

static void record_put(struct loam_cache *cache, struct loam_span *span)
{
	span->spare_next = cache->spare;
	cache->spare = span;
	if (++cache->spare_count >= 4 * SPARE_BATCH)
		loam_span_records_flush(cache);
}

/* ---- spans ---- */

static void set_table(uint64_t page, uint64_t pages, uint32_t number)
{
	/* release: partner of the acquire in loam_span_at_page */
	for (uint64_t i = 0; i < pages; i++)
		__atomic_store_n(&table()[page + i], number, __ATOMIC_RELEASE);
	/* A round that is told that a page was written must find its span. No barrier orders what the MMU writes into page tables, but that. */
	if (loam_heap.barrier == LOAM_BARRIER_MMU)
		loam_cpu_complete();
}

/* Fill in the record of a span of these pages; but for what outlives the span. */
static void describe(struct loam_span *span, unsigned span_class, uintptr_t base, uint64_t pages,
		     uint16_t owner)
{
	unsigned size_class = loam_span_class_size(span_class);
	const struct loam_size_class *c = &loam_size_class[size_class];
	uint64_t page = loam_page_index(base);

	span->base = base;
	span->pages = (uint32_t)pages;
	span->slot_bytes = size_class == 0 ? pages << LOAM_HEAP_PAGE_SHIFT : c->size;
	span->slots = size_class == 0 ? 1 : (uint32_t)((pages << LOAM_HEAP_PAGE_SHIFT) / c->size);
	span->magic = c->magic;
	span->span_class = (uint8_t)span_class;
	span->scan = (uint8_t)loam_span_class_scan(span_class);
	span->bits = (struct loam_slot_bits *)loam_heap.slot_bits.base + page * 8;
	span->remote_bits = (uint64_t *)(span->bits + pages * 4);
	if (span->slots <= 64)
		span->bits = &span->own_bits;
	if (span->slot_bytes == LOAM_GRANULE)
		span->remote_bits = loam_pointer_words(page);
	/* relaxed: nobody can find the span before the table leads to it */
	__atomic_store_n(&span->owner, owner, __ATOMIC_RELAXED);
	span->used = 0;
	span->next_word = 0;
	span->unlisted = true;
	span->window_word = LOAM_NO_WINDOW;
	span->rescan = span->keys = false;
	span->offheap = false;
	span->queue = 0;
	/* relaxed, as the owner above */
	__atomic_store_n(&span->swept, loam_heap.sweep_cycle, __ATOMIC_RELAXED);
	span->special = span_class == LOAM_SPAN_TINY;
	span->next = span->prev = 0;
	span->owned_next = span->owned_prev = NULL;
}

/* Only the words the span has: its pages' bits are its own. */
static void clear_bits(struct loam_span *span)
{
	uint64_t bytes = loam_span_words(span) * 8;

	memset(span->bits, 0, 2 * bytes);
	memset(span->remote_bits, 0, bytes);
	if (loam_span_batched(span))
		memset(loam_span_scan_bits(span), 0, bytes);
}

struct loam_span *loam_span_alloc(struct loam_cache *cache, unsigned span_class, uint64_t pages,
				  uint64_t align_pages)
{
	struct loam_span *span = record_take(cache);
	uintptr_t base;
	bool zeroed;

	if (span == NULL)
		return NULL;
	base = loam_pages_alloc(&cache->pages, pages, align_pages, &zeroed);
	if (base == 0) {
		record_put(cache, span);
		return NULL;
	}
	describe(span, span_class, base, pages,
		 span_class / LOAM_SCAN_COUNT != 0 ? cache->id : LOAM_SPARE_ID);
	if ((span->slot_bytes == LOAM_GRANULE || span->scan == LOAM_SCAN_TYPED) &&
	    loam_pointer_bits_back(span) != LOAM_OK) {
		__atomic_store_n(&span->owner, LOAM_SPARE_ID, __ATOMIC_RELAXED);
		loam_pages_free(&cache->pages, base, pages);
		record_put(cache, span);
		return NULL;
	}
	span->needzero = !zeroed;
	clear_bits(span);
	/* release: all that the record says comes first */
	__atomic_store_n(&span->in_use, true, __ATOMIC_RELEASE);
	set_table(loam_page_index(base), pages, loam_span_number(span));
	__atomic_add_fetch(&loam_heap.spans_used, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loam_heap.class_spans[span_class], 1, __ATOMIC_RELAXED);
	return span;
}

void loam_span_free(struct loam_cache *cache, struct loam_span *span)
{
	uintptr_t start = loam_span_start(span);

	LOAM_ASSERT(!loam_marking()); /* [SWEEP-2] */
	LOAM_ASSERT(span->in_use && span->unlisted && !loam_span_current(span) && span->used == 0);
	__atomic_store_n(&span->in_use, false, __ATOMIC_RELAXED);
	__atomic_store_n(&span->owner, LOAM_SPARE_ID, __ATOMIC_RELEASE);
	/* release: who waits for the sweep sees the rest; partner: loam_sweep_ensure */
	__atomic_store_n(&span->swept, LOAM_SWEPT_ANY, __ATOMIC_RELEASE);
	set_table(loam_page_index(start), span->pages, 0);
	if (loam_heap.efence)
		loam_pages_fence(start, span->pages);
	else
		loam_pages_free(&cache->pages, start, span->pages);
	__atomic_sub_fetch(&loam_heap.spans_used, 1, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&loam_heap.class_spans[span->span_class], 1, __ATOMIC_RELAXED);
	record_put(cache, span);
}

uint64_t loam_span_pages(unsigned span_class)
{
	uint64_t pages = loam_size_class[loam_span_class_size(span_class)].pages, times;

	times = 1 + __atomic_load_n(&loam_heap.class_spans[span_class], __ATOMIC_RELAXED) / 4;
	if (times > SPAN_PAGES / pages)
		times = SPAN_PAGES / pages;
	return times > 1 ? pages * times : pages;
}

static void set_bytes(struct loam_span *span, uintptr_t end)
{
	/* relaxed: who marks it meanwhile scans the old length or the new one, of which the rest is zero */
	__atomic_store_n(&span->slot_bytes, end - span->base, __ATOMIC_RELAXED);
}

bool loam_span_resize(struct loam_cache *cache, struct loam_span *span, uint64_t pages)
{
	uintptr_t start = loam_span_start(span);
	uintptr_t end = start + ((uint64_t)span->pages << LOAM_HEAP_PAGE_SHIFT);
	uintptr_t new_end = start + (pages << LOAM_HEAP_PAGE_SHIFT);
	bool zeroed;

	LOAM_ASSERT(span->magic == 0 && pages > 0);
	if (pages > span->pages) {
		if (!loam_pages_extend(end, pages - span->pages, &zeroed))
			return false;
		if (!zeroed)
			memset((void *)end, 0, new_end - end);
		/* first, as in loam_span_alloc: before the program writes there */
		set_bytes(span, new_end);
		set_table(loam_page_index(end), pages - span->pages, loam_span_number(span));
	}
	if (pages < span->pages) {
		set_table(loam_page_index(new_end), span->pages - pages, 0);
		loam_pages_free(&cache->pages, new_end, span->pages - pages);
		set_bytes(span, new_end);
	}
	span->pages = (uint32_t)pages;
	return true;
}

void loam_span_cut_last(struct loam_span *span)
{
	span->pages--;
	span->slot_bytes -= LOAM_HEAP_PAGE;
	set_table(loam_page_index(span->base) + span->pages, 1, 0);
}

bool loam_span_move(struct loam_span *span, uint64_t pages)
{
	uint64_t old_page = loam_page_index(span->base), old = span->pages;
	enum loam_scan scan = span->scan == LOAM_SCAN_NONE ? LOAM_SCAN_NONE : LOAM_SCAN_WORDS;
	uint64_t alloc = span->own_bits.alloc;

	bool special = span->special;
	uintptr_t base;

	LOAM_ASSERT(span->magic == 0 && span->base == loam_span_start(span));
	/* first: the pages may be another's as soon as they are free */
	set_table(old_page, old, 0);
	base = loam_pages_move(span->base, old, pages);
	if (base == 0) {
		set_table(old_page, old, loam_span_number(span));
		return false;
	}
	__atomic_sub_fetch(&loam_heap.class_spans[span->span_class], 1, __ATOMIC_RELAXED);
	describe(span, loam_span_class(0, scan), base, pages, LOAM_SPARE_ID);
	__atomic_add_fetch(&loam_heap.class_spans[span->span_class], 1, __ATOMIC_RELAXED);
	span->own_bits = (struct loam_slot_bits){.alloc = alloc};

	span->used = 1;
	span->special = special;

	set_table(loam_page_index(base), pages, loam_span_number(span));
	return true;
}

struct loam_span *loam_span_next(struct loam_span *span)
{
	uint64_t at = 0, end = loam_heap.mapped_bytes >> LOAM_HEAP_PAGE_SHIFT;

	if (span != NULL)
		at = loam_page_index(span->base) + span->pages;
	for (; at < end; at++) {
		uint32_t number = __atomic_load_n(&table()[at], __ATOMIC_ACQUIRE);

		if (number != 0)
			return loam_span_record(number);
	}
	return NULL;
}
