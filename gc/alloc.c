/* SPDX-License-Identifier: MIT */
/*
 * Allocation: Go's mallocgc.
 *
 * The fast path adds the slot size to a pointer in the thread's bin: no lock, no atomic operation,
 * no flag; a thread may be stopped at any instruction of it ([CACHE-1]). What it takes was claimed
 * before (refill.c): alloc bits set, counted, small slots zeroed. Everything else, such as sizes
 * above 1 KiB, goes through alloc_refill or alloc_big.
 *
 * Objects above LOAM_SMALL_MAX have a span of their own. Memory is zeroed just when it may hold old
 * bytes (span->needzero).
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

/* What loam_alloc(0) gives: one byte that is nobody's. */
uint8_t loam_zero_byte[LOAM_GRANULE] __attribute__((aligned(16)));

/* Where in a cache the bin of a small size stands, in bytes; by granules. Of none: one that is
 * always empty. */
static uint16_t bin_at[LOAM_SCAN_COUNT][1024 / LOAM_GRANULE + 1];

void loam_alloc_init(void)
{
	_Static_assert(sizeof(struct loam_cache) <= UINT16_MAX, "an offset in a cache fits");
	for (unsigned scan = 0; scan < LOAM_SCAN_COUNT; scan++) {
		bin_at[scan][0] = offsetof(struct loam_cache, bin);
		for (unsigned i = 1; i <= 1024 / LOAM_GRANULE; i++) {
			unsigned c = loam_span_class(loam_class_of(i * LOAM_GRANULE), scan);

			bin_at[scan][i] = (uint16_t)(offsetof(struct loam_cache, bin) +
						     c * sizeof(struct loam_bin));
		}
	}
}

/* ---- the slow way ---- */

static inline void collect_if_stressed(void)
{
	struct loam_heap *h = &loam_heap;

	if (__builtin_expect(h->stress != 0, 0) &&
	    __atomic_add_fetch(&h->stress_count, 1, __ATOMIC_RELAXED) % h->stress == 0)
		loam_collect(0, true);
}

/* The next claimed slot of the bin; NULL: none. Its bytes are not yet zeroed if zero_bytes says so. */
static inline void *take(struct loam_bin *bin)
{
	uintptr_t p = bin->next;

	if (__builtin_expect(p == bin->end, 0))
		return NULL;
	/* one store: [CACHE-1]; only this thread writes it, others look */
	__atomic_store_n(&bin->next, p + bin->slot_bytes, __ATOMIC_RELAXED);
	return (void *)p;
}

/* From a bin with an empty run. Inside. */
static inline __attribute__((always_inline)) void *alloc_small(struct loam_cache *cache,
							       struct loam_bin *bin, bool clear)
{
	struct loam_span *span;
	unsigned first;
	void *p;

	if (__builtin_expect(bin->window == 0, 0) &&
	    !loam_bin_refill(cache, (unsigned)(bin - cache->bin)))
		return NULL;
	span = bin->span;
	first = (unsigned)__builtin_ctzll(bin->window);
	if (__builtin_expect((~(bin->window >> first) & 7) == 0, 0)) { /* at least three */
		loam_bin_claim_run(bin);
		p = take(bin);
		return clear && bin->zero_bytes != 0 ? memset(p, 0, bin->zero_bytes) : p;
	}
	__atomic_store_n(&bin->window, bin->window & (bin->window - 1), __ATOMIC_RELAXED);
	p = (void *)(span->base + (span->window_word * 64u + first) * span->slot_bytes);
	return clear && span->needzero ? memset(p, 0, span->slot_bytes) : p;
}

static void *alloc_class(struct loam_cache *cache, unsigned span_class, bool clear)
{
	struct loam_bin *bin = &cache->bin[span_class];
	void *p = take(bin);

	if (p == NULL)
		return alloc_small(cache, bin, clear);
	return clear && bin->zero_bytes != 0 ? memset(p, 0, bin->zero_bytes) : p;
}

static struct loam_span *large_span(struct loam_cache *cache, uint64_t pages, uint64_t align_pages,
				    enum loam_scan scan)
{
	struct loam_span *span =
		loam_span_alloc(cache, loam_span_class(0, scan), pages, align_pages);

	if (span == NULL)
		return NULL;
	loam_live_add((int64_t)span->slot_bytes);
	__atomic_add_fetch(&loam_heap.large_mallocs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loam_heap.large_alloc_bytes, span->slot_bytes, __ATOMIC_RELAXED);
	return span;
}

/* The alloc bit is set last: zeroing a big object must not hold up others. Nobody can reach it
 * before, and no collection runs while this thread is inside. */
static void *alloc_large(struct loam_cache *cache, size_t size, size_t align, enum loam_scan scan,
			 bool clear)
{
	uint64_t pages = (size + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	struct loam_heap *h = &loam_heap;

	if (size > LOAM_ALLOC_MAX || pages > UINT32_MAX)
		return NULL;
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		uint64_t seen = __atomic_load_n(&h->cycles, __ATOMIC_RELAXED);
		bool due = attempt == 0 &&
			   __atomic_load_n(&h->live, __ATOMIC_RELAXED) + (int64_t)size >=
				   __atomic_load_n(&h->next_gc, __ATOMIC_RELAXED);
		struct loam_span *span =
			due ? NULL : large_span(cache, pages, align >> LOAM_HEAP_PAGE_SHIFT, scan);

		if (span != NULL) {
			if (clear && span->needzero)
				memset((void *)span->base, 0, span->slot_bytes);
			span->used = 1;
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

/* `clear`: the bytes must be zero. */
__attribute__((noinline)) static void *alloc_big(size_t size, enum loam_scan scan, bool clear)
{
	struct loam_cache *cache = loam_cache_self();
	void *p;

	collect_if_stressed();
	loam_cache_enter(cache);
	if (size <= LOAM_SMALL_MAX)
		p = alloc_class(cache, loam_span_class(loam_class_of(size), scan), clear);
	else
		p = alloc_large(cache, size, 0, scan, clear);
	loam_cache_leave(cache);
	return p;
}

/* The bin is empty. */
__attribute__((noinline)) static void *alloc_refill(struct loam_cache *cache, struct loam_bin *bin,
						    bool clear)
{
	void *p;

	if (__builtin_expect(bin->slot_bytes == 0, 0))
		return loam_zero_byte; /* size 0 */
	collect_if_stressed();
	loam_cache_enter(cache);
	p = alloc_small(cache, bin, clear);
	loam_cache_leave(cache);
	return p;
}

/* ---- the fast way ---- */

/* Slots that are not small are zeroed when they are handed out. */
__attribute__((noinline)) static void *cleared(void *p, const struct loam_bin *bin)
{
	return memset(p, 0, bin->zero_bytes);
}

static inline __attribute__((always_inline)) void *alloc(size_t size, enum loam_scan scan,
							 bool clear)
{
	char *cache = (char *)loam_host_thread();
	struct loam_bin *bin;
	uintptr_t p;

	if (__builtin_expect(size > 1024 || cache == NULL, 0))
		return alloc_big(size, scan, clear);
	bin = (struct loam_bin *)(cache + bin_at[scan][(size + LOAM_GRANULE - 1) / LOAM_GRANULE]);
	p = bin->next;
	if (__builtin_expect(p == bin->end, 0))
		return alloc_refill((struct loam_cache *)(void *)cache, bin, clear);
	/* one store: [CACHE-1]; only this thread writes it, others look */
	__atomic_store_n(&bin->next, p + bin->slot_bytes, __ATOMIC_RELAXED);
	if (clear && __builtin_expect(bin->zero_bytes != 0, 0))
		return cleared((void *)p, bin);
	return (void *)p;
}

/* For the history of objects: where in the program this one was made. */
static inline __attribute__((always_inline)) void *noted(void *p, size_t size)
{
	if (LOAM_DEBUG >= 2 && p != NULL)
		loam_history_note(LOAM_HISTORY_ALLOC, p, size, __builtin_return_address(0));
	return p;
}

void *loam_alloc(size_t size)
{
	return noted(alloc(size, LOAM_SCAN_WORDS, true), size);
}

void *loam_alloc_noscan(size_t size)
{
	return noted(alloc(size, LOAM_SCAN_NONE, true), size);
}

void *loam_alloc_raw(size_t size)
{
	return noted(alloc(size, LOAM_SCAN_NONE, false), size);
}

/* ---- alignment, tiny objects ---- */

/* Spans begin at a heap page, so slots of a multiple of `align` bytes are aligned to it. */
void *loam_alloc_aligned(size_t size, size_t align)
{
	struct loam_cache *cache;
	void *p;

	if (!loam_is_pow2(align) || align > LOAM_ALIGN_MAX || size > LOAM_ALLOC_MAX)
		return NULL;
	if (align <= LOAM_GRANULE || size == 0)
		return loam_alloc(size);
	if (size <= LOAM_SMALL_MAX && align <= LOAM_HEAP_PAGE) {
		for (unsigned c = loam_class_of(size); c < LOAM_CLASS_COUNT; c++) {
			if (loam_size_class[c].size % align == 0)
				return loam_alloc(loam_size_class[c].size);
		}
	}
	cache = loam_cache_self();
	collect_if_stressed();
	loam_cache_enter(cache);
	p = alloc_large(cache, size > LOAM_SMALL_MAX ? size : LOAM_SMALL_MAX + 1, align,
			LOAM_SCAN_WORDS, true);
	loam_cache_leave(cache);
	return noted(p, size);
}

/* Natural alignment of a tiny object, as in Go. */
static uintptr_t tiny_align(size_t size)
{
	return size % 8 == 0 ? 8 : size % 4 == 0 ? 4 : size % 2 == 0 ? 2 : 1;
}

void *loam_alloc_tiny(size_t size)
{
	struct loam_cache *cache;
	uintptr_t p;
	void *block;

	if (size == 0 || size >= LOAM_GRANULE)
		return loam_alloc_noscan(size);
	cache = loam_cache_self();
	collect_if_stressed();
	loam_cache_enter(cache);
	loam_count(&cache->tiny_allocs, 1);
	p = loam_align_up(cache->tiny, tiny_align(size));
	if (cache->tiny == 0 || p + size > cache->tiny_end) {
		block = alloc_class(cache, LOAM_SPAN_TINY, true);
		p = (uintptr_t)block;
		if (block == NULL) {
			loam_count(&cache->tiny_allocs, -(uint64_t)1);
			goto out;
		}
		/* whichever block has more room left stays */
		if (cache->tiny != 0 && cache->tiny_end - cache->tiny >= LOAM_GRANULE - size)
			goto out;
		cache->tiny_end = p + LOAM_GRANULE;
	}
	cache->tiny = p + size;
out:
	loam_cache_leave(cache);
	return noted((void *)p, size);
}

/* ---- typed objects ---- */

/* Any type and number; or NULL. */
static void *alloc_types(const struct loam_type *type, size_t n)
{
	struct loam_cache *cache;
	enum loam_scan scan;
	size_t size;
	void *p;

	if (type->size == 0 || n == 0)
		return loam_zero_byte;
	if (type->size % 8 != 0 || type->ptr_words > type->size / 8 ||
	    n > LOAM_ALLOC_MAX / type->size)
		return NULL;
	size = type->size * n;
	scan = loam_type_scan(type, n);
	if (scan != LOAM_SCAN_TYPED)
		return scan == LOAM_SCAN_NONE ? loam_alloc_noscan(size) : loam_alloc(size);
	cache = loam_cache_self();
	collect_if_stressed();
	loam_cache_enter(cache);
	if (size <= LOAM_SMALL_MAX)
		p = alloc_class(cache, loam_span_class(loam_class_of(size), LOAM_SCAN_TYPED), true);
	else
		p = alloc_large(cache, size, 0, LOAM_SCAN_TYPED, true);
	if (p != NULL)
		loam_pointer_bits_set((uintptr_t)p, type, n);
	loam_cache_leave(cache);
	return p;
}

/*
 * The usual case first: one object with its bits in one word of the type. Inside to the end: the pointer
 * bits share words with those of the span's other slots, so the span must stay ours.
 */
void *loam_alloc_type(const struct loam_type *type, size_t n)
{
	struct loam_cache *cache = (struct loam_cache *)(void *)loam_host_thread();
	size_t size = type->size;
	struct loam_bin *bin;
	void *p;

	if (__builtin_expect(n != 1 || cache == NULL || size <= LOAM_GRANULE || size > 512 ||
				     size % 8 != 0 || type->ptr_words == 0 ||
				     type->ptr_words > size / 8,
			     0))
		return noted(alloc_types(type, n), size * n);
	bin = (struct loam_bin *)((char *)cache + bin_at[LOAM_SCAN_TYPED]
							[(size + LOAM_GRANULE - 1) / LOAM_GRANULE]);
	loam_cache_enter(cache);
	p = take(bin);
	if (__builtin_expect(p == NULL || bin->zero_bytes != 0, 0)) {
		if (p == NULL) {
			loam_cache_leave(cache);
			return noted(alloc_types(type, n), size);
		}
		memset(p, 0, bin->zero_bytes);
	}
	loam_pointer_bits_set_one((uintptr_t)p, bin->slot_bytes / 8, type);
	loam_cache_leave(cache);
	return noted(p, size);
}
