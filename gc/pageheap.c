/* SPDX-License-Identifier: MIT */
/*
 * The page heap: which heap pages are in a span, and which are backed.
 *
 * The heap is one reserved range that grows at its end in steps of STEP_PAGES, so that a small
 * machine does not pay for what it does not use; a big request takes as many steps as it needs.
 * Two bits a page: used (in a span) and ready (Ready, else Prepared). Allocation is address-ordered
 * first fit over the used bits, which keeps the high end free for giving back.
 *
 *   [PAGES-1] A used page is Ready.
 *   [PAGES-2] pages_used and pages_ready count the bits; ready pages are the Ready bytes of owner
 *             heap.
 *   [PAGES-3] No free page lies below first_free.
 *
 * Zeroing: pages that become Ready come zeroed from loam_sys_used; pages that were free and
 * Ready hold old bytes, so a run is "zeroed" only if none of it was Ready before.
 * Failure: no memory, no address space: 0, with nothing changed.
 */
#include "gc/heap.h"

#define STEP_PAGES 128u /* 1 MiB */

/* ---- bits ---- */

static uint64_t *used_bits(void)
{
	return (uint64_t *)loam_heap.page_used.base;
}

static uint64_t *ready_bits(void)
{
	return (uint64_t *)loam_heap.page_ready.base;
}

static bool bit(const uint64_t *bits, uint64_t i)
{
	return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static void set_bits(uint64_t *bits, uint64_t from, uint64_t count, bool value)
{
	for (uint64_t i = from; i < from + count;) {
		uint64_t n = 64 - i % 64 < from + count - i ? 64 - i % 64 : from + count - i;
		uint64_t mask = (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << (i % 64);

		bits[i / 64] = value ? bits[i / 64] | mask : bits[i / 64] & ~mask;
		i += n;
	}
}

static uint64_t count_bits(const uint64_t *bits, uint64_t from, uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = from; i < from + count; i++)
		sum += bit(bits, i);
	return sum;
}

/* First index from `i` on, below `end`, whose bit is `value`; `end` if there is none. */
static uint64_t next_bit(const uint64_t *bits, uint64_t i, uint64_t end, bool value)
{
	while (i < end) {
		uint64_t word = (value ? bits[i / 64] : ~bits[i / 64]) >> (i % 64);

		if (word != 0) {
			i += (unsigned)__builtin_ctzll(word);
			return i < end ? i : end;
		}
		i = (i / 64 + 1) * 64;
	}
	return end;
}

static uint64_t page_count(void)
{
	return loam_heap.mapped_bytes >> LOAM_HEAP_PAGE_SHIFT;
}

static uintptr_t page_addr(uint64_t index)
{
	return loam_heap.base + (index << LOAM_HEAP_PAGE_SHIFT);
}

/* ---- growth ---- */

/* The tables first, then the pages: a page is in the heap only with its metadata. */
static bool grow_to(uint64_t pages)
{
	struct loam_heap *h = &loam_heap;
	uint64_t bytes = pages << LOAM_HEAP_PAGE_SHIFT;

	if (bytes > h->reserved_bytes || loam_table_grow(&h->spans, pages * 4) != LOAM_OK ||
	    loam_table_grow(&h->page_used, pages / 8) != LOAM_OK ||
	    loam_table_grow(&h->page_ready, pages / 8) != LOAM_OK ||
	    loam_table_grow(&h->alloc_bits, pages * 64) != LOAM_OK ||
	    loam_table_grow(&h->mark_bits, pages * 64) != LOAM_OK)
		return false;
	if (loam_sys_map(h->base + h->mapped_bytes, bytes - h->mapped_bytes, LOAM_OWNER_HEAP) !=
	    LOAM_OK)
		return false;
	__atomic_store_n(&h->mapped_bytes, bytes, __ATOMIC_RELEASE);
	return true;
}

static bool grow(uint64_t pages)
{
	uint64_t have = page_count(), tail = have;

	/* free pages at the end count towards the request */
	while (tail > 0 && !bit(used_bits(), tail - 1))
		tail--;
	return grow_to(loam_align_up(tail + pages, STEP_PAGES));
}

/* ---- runs ---- */

static uint64_t find_run(uint64_t pages)
{
	uint64_t end = page_count(), at = loam_heap.first_free;

	for (;;) {
		uint64_t stop;

		at = next_bit(used_bits(), at, end, false);
		if (end - at < pages)
			return end;
		stop = next_bit(used_bits(), at, at + pages, true);
		if (stop - at >= pages)
			return at;
		at = stop;
	}
}

static uintptr_t alloc_locked(uint64_t pages, bool *zeroed)
{
	struct loam_heap *h = &loam_heap;
	uint64_t at = find_run(pages), were_ready;

	if (at == page_count()) {
		if (!grow(pages))
			return 0;
		at = find_run(pages);
	}
	were_ready = count_bits(ready_bits(), at, pages);
	if (were_ready < pages &&
	    loam_sys_used(page_addr(at), pages << LOAM_HEAP_PAGE_SHIFT, NULL) != LOAM_OK)
		return 0;
	set_bits(ready_bits(), at, pages, true);
	set_bits(used_bits(), at, pages, true);
	h->pages_used += pages;
	h->pages_ready += pages - were_ready;
	if (at == h->first_free)
		h->first_free = at + pages;
	*zeroed = were_ready == 0;
	return page_addr(at);
}

static void free_locked(uintptr_t base, uint64_t pages)
{
	struct loam_heap *h = &loam_heap;
	uint64_t at = loam_page_index(base);

	LOAM_ASSERT(count_bits(used_bits(), at, pages) == pages);
	set_bits(used_bits(), at, pages, false);
	h->pages_used -= pages;
	if (at < h->first_free)
		h->first_free = at;
}

uint64_t loam_pages_release_locked(uint64_t keep, uint64_t most)
{
	struct loam_heap *h = &loam_heap;
	uint64_t gone = 0;

	for (uint64_t i = page_count();
	     i > 0 && gone < most && h->pages_ready - h->pages_used > keep;) {
		uint64_t low = i, room = h->pages_ready - h->pages_used - keep;
		enum loam_err err;

		if (bit(used_bits(), i - 1) || !bit(ready_bits(), i - 1)) {
			i--;
			continue;
		}
		while (low > 0 && !bit(used_bits(), low - 1) && bit(ready_bits(), low - 1) &&
		       i - low < room && i - low < most - gone)
			low--;
		err = loam_sys_unused(page_addr(low), (i - low) << LOAM_HEAP_PAGE_SHIFT);
		LOAM_CHECK(err == LOAM_OK, "free heap pages could not be given back");
		set_bits(ready_bits(), low, i - low, false);
		h->pages_ready -= i - low;
		gone += i - low;
		i = low;
	}
	return gone;
}

/* ---- the interface ---- */

uintptr_t loam_pages_alloc(struct loam_pagecache *pc, uint64_t pages, uint64_t align_pages,
			   bool *zeroed)
{
	uint64_t extra = align_pages > 1 ? align_pages - 1 : 0,
		 align = align_pages << LOAM_HEAP_PAGE_SHIFT;
	uintptr_t base, at;

	(void)pc;
	loam_gc_lock(&loam_heap.lock);
	base = alloc_locked(pages + extra, zeroed);
	at = base;
	if (base != 0 && extra != 0) {
		at = loam_align_up(base, align);
		if (at != base)
			free_locked(base, (at - base) >> LOAM_HEAP_PAGE_SHIFT);
		if (extra != (at - base) >> LOAM_HEAP_PAGE_SHIFT)
			free_locked(at + (pages << LOAM_HEAP_PAGE_SHIFT),
				    extra - ((at - base) >> LOAM_HEAP_PAGE_SHIFT));
	}
	loam_gc_unlock(&loam_heap.lock);
	return at;
}

void loam_pages_free(struct loam_pagecache *pc, uintptr_t base, uint64_t pages)
{
	(void)pc;
	loam_gc_lock(&loam_heap.lock);
	free_locked(base, pages);
	loam_gc_unlock(&loam_heap.lock);
}

bool loam_pages_extend(uintptr_t end, uint64_t more, bool *zeroed)
{
	(void)end;
	(void)more;
	(void)zeroed;
	return false;
}

void loam_pagecache_flush(struct loam_pagecache *pc)
{
	(void)pc;
}
