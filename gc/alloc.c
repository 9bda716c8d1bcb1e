/* SPDX-License-Identifier: MIT */
/*
 * Allocation: Go's mallocgc.
 *
 * The fast path takes the lowest free slot of the cached span's current word: no lock, no
 * division. Small objects come from their class's span, objects above LOAM_SMALL_MAX from a span
 * of their own. Memory is zeroed just when it may hold old bytes (span->needzero).
 *
 * A slot's alloc bit is set after its memory is zero and, for typed objects, its pointer bits
 * are written: the collector runs only while no thread is inside, but loam_free does not.
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

/* What loam_alloc(0) gives: one byte that is nobody's. */
uint8_t loam_zero_byte[LOAM_GRANULE] __attribute__((aligned(16)));

static struct loam_cache *enter(void)
{
	struct loam_cache *cache = loam_cache_self();

	loam_cache_enter(cache);
	if (__builtin_expect(loam_heap.stress != 0, 0)) {
		struct loam_heap *h = &loam_heap;

		if (__atomic_add_fetch(&h->stress_count, 1, __ATOMIC_RELAXED) % h->stress == 0) {
			loam_cache_leave(cache);
			loam_collect(0, true);
			loam_cache_enter(cache);
		}
	}
	return cache;
}

static void *take_slot(struct loam_cache *cache, struct loam_span *span, bool clear)
{
	uint64_t bit = span->free_slots & -span->free_slots;
	uint32_t slot = span->word * 64 + (unsigned)__builtin_ctzll(bit);
	void *p = (void *)(span->base + slot * span->slot_bytes);

	span->free_slots &= ~bit;
	if (clear && __atomic_load_n(&span->needzero, __ATOMIC_RELAXED))
		memset(p, 0, span->slot_bytes);
	/* release: the object is zero before it counts; partner: loam_span_alloc_word */
	__atomic_fetch_or(&span->alloc_bits[span->word], bit, __ATOMIC_RELEASE);
	cache->mallocs++;
	cache->alloc_bytes += span->slot_bytes;
	return p;
}

static void *alloc_small(struct loam_cache *cache, unsigned span_class)
{
	struct loam_span *span = cache->span[span_class];

	if (__builtin_expect(span == NULL || span->free_slots == 0, 0)) {
		if (!loam_cache_refill(cache, span_class))
			return NULL;
		span = cache->span[span_class];
	}
	return take_slot(cache, span, true);
}

static struct loam_span *large_span_locked(uint64_t pages, enum loam_scan scan)
{
	struct loam_span *span = loam_span_alloc_locked(0, pages, scan);

	if (span == NULL)
		return NULL;
	loam_heap.live += span->slot_bytes;
	loam_heap.mallocs++;
	loam_heap.alloc_bytes += span->slot_bytes;
	return span;
}

/* The alloc bit is set last, outside the lock: zeroing a big object must not hold up others. Nobody
 * can reach it before, and no collection runs while this thread is inside. */
static void *alloc_large(struct loam_cache *cache, size_t size, enum loam_scan scan)
{
	uint64_t pages = (size + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	struct loam_heap *h = &loam_heap;

	if (size > LOAM_ALLOC_MAX || pages > UINT32_MAX)
		return NULL;
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		struct loam_span *span;
		uint64_t seen;
		bool due;

		loam_gc_lock(&h->lock);
		seen = h->cycles;
		due = attempt == 0 && h->live + size >= h->next_gc;
		span = due ? NULL : large_span_locked(pages, scan);
		loam_gc_unlock(&h->lock);
		if (span != NULL) {
			if (span->needzero)
				memset((void *)span->base, 0, span->slot_bytes);
			__atomic_fetch_or(&span->alloc_bits[0], 1, __ATOMIC_RELEASE);
			return (void *)span->base;
		}
		if (attempt == 2)
			break;
		loam_cache_leave(cache);
		loam_collect(seen, attempt == 1);
		loam_cache_enter(cache);
	}
	return NULL;
}

static void *alloc(size_t size, enum loam_scan scan)
{
	struct loam_cache *cache;
	void *p;

	if (size == 0)
		return loam_zero_byte;
	cache = enter();
	p = size <= LOAM_SMALL_MAX ? alloc_small(cache, loam_span_class(loam_class_of(size), scan))
				   : alloc_large(cache, size, scan);
	loam_cache_leave(cache);
	return p;
}

void *loam_alloc(size_t size)
{
	return alloc(size, LOAM_SCAN_WORDS);
}

void *loam_alloc_noscan(size_t size)
{
	return alloc(size, LOAM_SCAN_NONE);
}

/* Spans begin at a heap page, so slots of a multiple of `align` bytes are aligned to it. */
void *loam_alloc_aligned(size_t size, size_t align)
{
	unsigned c;

	if (!loam_is_pow2(align) || align > LOAM_PAGE_SIZE)
		return NULL;
	if (align <= LOAM_GRANULE || size == 0)
		return alloc(size, LOAM_SCAN_WORDS);
	if (size > LOAM_SMALL_MAX)
		return alloc(size, LOAM_SCAN_WORDS);
	for (c = loam_class_of(size); c < LOAM_CLASS_COUNT; c++) {
		if (loam_size_class[c].size % align == 0)
			return alloc(loam_size_class[c].size, LOAM_SCAN_WORDS);
	}
	return alloc(LOAM_SMALL_MAX + 1, LOAM_SCAN_WORDS);
}

/* ---- typed objects ---- */

/* Pointer bits of the object at `p`: the type's, tiled; cleared behind the last element. They are
 * written while the object is not yet reachable for anybody. */
static void write_pointer_bits(uintptr_t p, uint64_t slot_bytes, const struct loam_type *type,
			       size_t n)
{
	uint64_t *bits = (uint64_t *)loam_heap.pointer_bits.base;
	uint64_t first = (p - loam_heap.base) / 8, words = type->size / 8;

	for (uint64_t i = 0; i < slot_bytes / 8; i++) {
		uint64_t in = i % words, at = first + i;
		bool pointer = i < n * words && in < type->ptr_words &&
			       (type->ptr_bits[in / 64] >> (in % 64) & 1) != 0;
		uint64_t mask = (uint64_t)1 << (at % 64);

		/* relaxed and atomic: objects of 16 bytes share words with their neighbours, whose
		 * bits another thread may be writing */
		if (pointer)
			__atomic_fetch_or(&bits[at / 64], mask, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&bits[at / 64], ~mask, __ATOMIC_RELAXED);
	}
}

/* The table of pointer bits is backed when the first typed object needs it, up to the heap's end
 * as it stands; growing the heap later leaves it behind until the next one. */
static bool pointer_bits_ready(uintptr_t end)
{
	uint64_t bytes = loam_align_up(end - loam_heap.base, 512) / 64; /* whole words of bits */
	bool ok;

	if (bytes <= __atomic_load_n(&loam_heap.pointer_bits.ready, __ATOMIC_ACQUIRE))
		return true;
	loam_gc_lock(&loam_heap.lock);
	ok = loam_table_grow(&loam_heap.pointer_bits, bytes) == LOAM_OK;
	loam_gc_unlock(&loam_heap.lock);
	return ok;
}

void *loam_alloc_type(const struct loam_type *type, size_t n)
{
	struct loam_cache *cache;
	size_t size;
	void *p;

	if (type->size == 0 || n == 0)
		return loam_zero_byte;
	if (type->size % 8 != 0 || type->ptr_words > type->size / 8 ||
	    n > LOAM_ALLOC_MAX / type->size)
		return NULL;
	size = type->size * n;
	if (type->ptr_words == 0)
		return alloc(size, LOAM_SCAN_NONE);
	cache = enter();
	p = size <= LOAM_SMALL_MAX
		    ? alloc_small(cache, loam_span_class(loam_class_of(size), LOAM_SCAN_TYPED))
		    : alloc_large(cache, size, LOAM_SCAN_TYPED);
	if (p != NULL) {
		const struct loam_span *span = loam_span_of((uintptr_t)p);

		if (pointer_bits_ready((uintptr_t)p + span->slot_bytes)) {
			write_pointer_bits((uintptr_t)p, span->slot_bytes, type, n);
		} else {
			enum loam_err err = loam_free_inside(cache, p);

			LOAM_CHECK(err == LOAM_OK, "an object just made could not be freed");
			p = NULL;
		}
	}
	loam_cache_leave(cache);
	return p;
}
