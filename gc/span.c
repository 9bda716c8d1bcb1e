/* SPDX-License-Identifier: MIT */
/*
 * Spans: runs of heap pages cut into slots of one size.
 *
 * Records come from loam_sys_alloc in batches and are type-stable: a stale pointer to one always
 * finds a span record. The spans table maps each heap page to its record. A span's bits stand in
 * the side tables at the place of its first granules, but packed by slot number: a slot is never
 * smaller than a granule, so there is room, and 64 slots are one word.
 *
 *   [SPAN-1] Each page of an in-use span leads to it; each other page leads to NULL.
 *   [SPAN-2] Bits of slots that do not exist are clear.
 *
 * Order of publication: a record is complete before the table leads to it (release), because
 * loam_free looks without the lock.
 */
#include "gc/heap.h"

#define BATCH_BYTES 16384u

void *memset(void *dst, int c, size_t n);

static struct loam_span **table(void)
{
	return (struct loam_span **)loam_heap.spans.base;
}

static struct loam_span *record_take_locked(void)
{
	struct loam_span *span = loam_heap.spare;

	if (span == NULL) {
		void *batch;

		if (loam_sys_alloc(BATCH_BYTES, LOAM_OWNER_GC, &batch) != LOAM_OK)
			return NULL;
		/* one record of each batch links the batches, for shutdown */
		span = batch;
		span[0].next = loam_heap.batches;
		loam_heap.batches = &span[0];
		for (size_t i = 1; i < BATCH_BYTES / sizeof(*span); i++) {
			span[i].next = loam_heap.spare;
			loam_heap.spare = &span[i];
		}
		span = loam_heap.spare;
	}
	loam_heap.spare = span->next;
	return span;
}

void loam_span_records_free(void)
{
	while (loam_heap.batches != NULL) {
		uintptr_t batch = (uintptr_t)loam_heap.batches;
		enum loam_err err;

		loam_heap.batches = loam_heap.batches->next;
		err = loam_sys_free(batch, BATCH_BYTES);
		LOAM_CHECK(err == LOAM_OK, "span records could not be freed");
	}
	loam_heap.spare = NULL;
}

static void set_table(const struct loam_span *span, struct loam_span *value)
{
	uint64_t at = loam_page_index(span->base);

	/* release: partner of the acquire in loam_span_of */
	for (uint64_t i = 0; i < span->pages; i++)
		__atomic_store_n(&table()[at + i], value, __ATOMIC_RELEASE);
}

struct loam_span *loam_span_alloc_locked(unsigned size_class, uint64_t pages, enum loam_scan scan)
{
	const struct loam_size_class *c = &loam_size_class[size_class];
	struct loam_span *span = record_take_locked();
	uint64_t granule_byte;
	bool zeroed;

	if (span == NULL)
		return NULL;
	*span = (struct loam_span){
		.base = loam_pages_alloc_locked(pages, &zeroed),
		.pages = (uint32_t)pages,
		.slots =
			size_class == 0 ? 1 : (uint32_t)((pages << LOAM_HEAP_PAGE_SHIFT) / c->size),
		.slot_bytes = size_class == 0 ? pages << LOAM_HEAP_PAGE_SHIFT : c->size,
		.magic = c->magic,
		.size_class = (uint8_t)size_class,
		.scan = (uint8_t)scan,
	};
	if (span->base == 0) {
		span->next = loam_heap.spare;
		loam_heap.spare = span;
		return NULL;
	}
	span->needzero = !zeroed;
	granule_byte = (span->base - loam_heap.base) / LOAM_GRANULE / 8;
	span->alloc_bits = (uint64_t *)(loam_heap.alloc_bits.base + granule_byte);
	span->mark_bits = (uint64_t *)(loam_heap.mark_bits.base + granule_byte);
	/* by words: other spans' bits may share nothing with ours, a span is a whole page */
	memset(span->alloc_bits, 0, (span->slots + 63) / 64 * 8);
	memset(span->mark_bits, 0, (span->slots + 63) / 64 * 8);
	span->in_use = 1;
	set_table(span, span);
	loam_heap.spans_used++;
	return span;
}

void loam_span_free_locked(struct loam_span *span)
{
	LOAM_ASSERT(span->in_use && !span->cached && !span->listed);
	set_table(span, NULL);
	loam_pages_free_locked(span->base, span->pages);
	span->in_use = 0;
	span->next = loam_heap.spare;
	loam_heap.spare = span;
	loam_heap.spans_used--;
}

struct loam_span *loam_span_of(uintptr_t addr)
{
	if (addr - loam_heap.base >= loam_heap.mapped_bytes)
		return NULL;
	/* acquire: partner of the release in set_table */
	return __atomic_load_n(&table()[loam_page_index(addr)], __ATOMIC_ACQUIRE);
}

uint32_t loam_span_used_slots(const struct loam_span *span)
{
	uint32_t used = 0;

	for (uint32_t w = 0; w < (span->slots + 63) / 64; w++) {
		uint64_t word = loam_span_alloc_word(span, w);

		for (; word != 0; word &= word - 1)
			used++;
	}
	return used;
}

struct loam_span *loam_span_next(struct loam_span *span)
{
	uintptr_t at = span == NULL ? loam_heap.base
				    : span->base + ((uint64_t)span->pages << LOAM_HEAP_PAGE_SHIFT);

	for (; at - loam_heap.base < loam_heap.mapped_bytes; at += LOAM_HEAP_PAGE) {
		struct loam_span *next = loam_span_of(at);

		if (next != NULL)
			return next;
	}
	return NULL;
}
