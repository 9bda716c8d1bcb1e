/* SPDX-License-Identifier: MIT */
/*
 * Allocation: Go's mallocgc.
 *
 * The fast path takes the lowest claimed slot of the thread's bin: no lock, no atomic operation, no flag;
 * a thread may be stopped at any instruction of it ([CACHE-1]). What it takes was claimed before
 * (claim.h): alloc bits set, counted, small slots zeroed. Everything else, such as sizes above 1 KiB,
 * goes through alloc_refill or alloc_slow.
 *
 * Objects above LOAM_SMALL_MAX have a span of their own. Memory is zeroed just when it may hold old
 * bytes (span->needzero).
 */
#include "gc/claim.h"

void *memset(void *dst, int c, size_t n);

#define ZERO_BATCH 1024u /* bytes zeroed at a time, of small slots */

/* What loam_alloc(0) gives: one byte that is nobody's. */
uint8_t loam_zero_byte[LOAM_GRANULE] __attribute__((aligned(16)));

void loam_alloc_attach(struct loam_cache *cache)
{
	_Static_assert(sizeof(struct loam_cache) <= UINT16_MAX, "an offset in a cache fits");
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		cache->bin[i].slot_bytes = loam_size_class[loam_span_class_size(i)].size;
	for (unsigned scan = 0; scan < LOAM_SCAN_COUNT; scan++) {
		cache->bin_at[scan][0] = offsetof(struct loam_cache, bin);
		for (unsigned i = 1; i < LOAM_BIN_STEPS; i++) {
			unsigned c = loam_span_class(loam_class_of(i * LOAM_GRANULE),
						     (enum loam_scan)scan);

			cache->bin_at[scan][i] = (uint16_t)offsetof(struct loam_cache, bin[c]);
		}
	}
}

/* ---- the slow way ---- */

static inline void collect_if_stressed(void)
{
	if (__builtin_expect(loam_heap.stress != 0, 0))
		loam_stress(loam_cache_self());
}

/* The thread has taken `bytes` for objects, and is outside again. What it has got is kept by its stack. */
static inline void assist_if_busy(struct loam_cache *cache, uint64_t bytes)
{
	if (__builtin_expect(__atomic_load_n(&loam_heap.busy, __ATOMIC_RELAXED), 0))
		loam_assist(cache, bytes);
}

/* Take the lowest of the claimed slots in `*set`, which is not empty. One store: [CACHE-1]; only this thread
 * writes it, others look. */
static inline __attribute__((always_inline)) void *take(const struct loam_bin *bin, uint64_t *set)
{
	uint64_t slots = *set;
	/* 32 bits are enough for an offset in a word's slots, and take an instruction less */
	uintptr_t p = bin->base + (uint32_t)__builtin_ctzll(slots) * bin->slot_bytes;

	/* the address is in a register before the store, or a collection in between would find the slot nowhere */
	__asm__ volatile("" : "+r"(p) : : "memory");
	__atomic_store_n(set, slots & (slots - 1), __ATOMIC_RELAXED);
	return (void *)p;
}

/* Zero some small dirty slots, those that are neighbours at once, and take the first. */
static void *take_zeroed(struct loam_bin *bin)
{
	uint64_t dirty = bin->dirty, batch = 0;

	for (uint32_t bytes = 0; dirty != 0 && bytes < ZERO_BATCH;) {
		unsigned first = (unsigned)__builtin_ctzll(dirty), run = 64 - first;
		uint64_t rest = ~(dirty >> first);

		if (rest != 0)
			run = (unsigned)__builtin_ctzll(rest);
		if (run * bin->slot_bytes > ZERO_BATCH)
			run = ZERO_BATCH / bin->slot_bytes;
		memset((void *)(bin->base + first * bin->slot_bytes), 0, run * bin->slot_bytes);
		batch |= loam_word_mask(first, run);
		dirty &= ~batch;
		bytes += run * bin->slot_bytes;
	}
	/* inside: nobody looks between the two */
	__atomic_store_n(&bin->dirty, dirty, __ATOMIC_RELAXED);
	__atomic_store_n(&bin->window, batch, __ATOMIC_RELAXED);
	return take(bin, &bin->window);
}

/* Inline in alloc_refill, which comes by every few objects; alloc_small is for the rest. Inside. */
static inline __attribute__((always_inline)) void *from_bin(struct loam_cache *cache,
							    struct loam_bin *bin, bool clear)
{
	void *p;

	if (__builtin_expect(loam_heap.efence, 0))
		return loam_fence_alloc(cache, bin->slot_bytes,
					loam_span_class_scan((unsigned)(bin - cache->bin)));
	if (loam_bin_claimed(bin) == 0 && !(bin->span != NULL && loam_bin_advance(bin)) &&
	    !loam_bin_refill(cache, bin))
		return NULL;
	if (bin->window != 0)
		return take(bin, &bin->window);
	if (clear && bin->slot_bytes < LOAM_ZERO_BATCH_BYTES)
		return take_zeroed(bin);
	p = take(bin, &bin->dirty);
	return clear ? memset(p, 0, bin->slot_bytes) : p;
}

__attribute__((noinline)) static void *alloc_small(struct loam_cache *cache, struct loam_bin *bin,
						   bool clear)
{
	return from_bin(cache, bin, clear);
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
			 size_t clear_from)
{
	uint64_t pages = (size + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	struct loam_heap *h = &loam_heap;
	struct loam_shortage shortage = loam_shortage();

	if (size > LOAM_ALLOC_MAX || pages > UINT32_MAX)
		return NULL;
	if (__builtin_expect(h->efence && align <= LOAM_GRANULE, 0))
		return loam_fence_alloc(cache, size, scan);
	for (bool first = true;; first = false) {
		uint64_t seen = __atomic_load_n(&h->cycles, __ATOMIC_RELAXED);
		bool due = first && !loam_marking() &&
			   __atomic_load_n(&h->live, __ATOMIC_RELAXED) + (int64_t)size >=
				   __atomic_load_n(&h->due_bytes, __ATOMIC_RELAXED);
		bool others = loam_shortage_others(&shortage);
		struct loam_span *span =
			due || others
				? NULL
				: large_span(cache, pages, align >> LOAM_HEAP_PAGE_SHIFT, scan);

		if (span != NULL) {
			loam_shortage_over(&shortage);
			if (span->needzero && clear_from < span->slot_bytes)
				memset((void *)(span->base + clear_from), 0,
				       span->slot_bytes - clear_from);
			span->used = 1;
			if (__atomic_load_n(&loam_heap.black, __ATOMIC_RELAXED))
				loam_mark_claimed(span, 0, 1);
			__atomic_fetch_or(&span->bits[0].alloc, 1, __ATOMIC_RELEASE);
			return (void *)span->base;
		}
		if (due && !others)
			loam_collect_goal(cache, seen);
		else if (!loam_shortage_helped(cache, &shortage))
			return NULL;
	}
}

/* Of the slots that have been claimed since there were so many: what a thread pays for, for it comes by here once
 * for all of them. */
static inline uint64_t claimed_bytes(const struct loam_bin *bin, uint64_t mallocs)
{
	return (bin->mallocs - mallocs) * bin->slot_bytes;
}

/* Any size, the slow way. Bytes before `clear_from` may be anything: the caller is about to write them, or
 * does not care. */
__attribute__((noinline)) static void *alloc_slow(size_t size, enum loam_scan scan,
						  size_t clear_from)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_bin *bin;
	void *p;

	collect_if_stressed();
	loam_cache_enter(cache);
	if (size <= LOAM_SMALL_MAX) {
		bin = &cache->bin[loam_span_class(loam_class_of(size), scan)];
		p = alloc_small(cache, bin, clear_from < bin->slot_bytes);
	} else {
		p = alloc_large(cache, size, 0, scan, clear_from);
	}
	loam_cache_leave(cache);
	assist_if_busy(cache, size);
	return p;
}

/* The bin is empty. */
__attribute__((noinline)) static void *alloc_refill(struct loam_cache *cache, struct loam_bin *bin,
						    bool clear)
{
	uint64_t claimed;
	void *p;

	if (__builtin_expect(bin->slot_bytes == 0, 0))
		return loam_zero_byte; /* size 0 */
	if (__builtin_expect(loam_heap.singly, 0))
		collect_if_stressed();
	claimed = bin->mallocs;
	loam_cache_enter(cache);
	p = from_bin(cache, bin, clear);
	loam_cache_leave(cache);
	assist_if_busy(cache, claimed_bytes(bin, claimed));
	return p;
}

/* ---- the fast way ---- */

static inline __attribute__((always_inline)) void *alloc(size_t size, enum loam_scan scan,
							 bool clear)
{
	struct loam_cache *cache = loam_cache_mine();
	struct loam_bin *bin;

	if (__builtin_expect(size > 1024 || cache == NULL, 0))
		return alloc_slow(size, scan, clear ? 0 : SIZE_MAX);
	bin = (struct loam_bin *)((char *)cache +
				  cache->bin_at[scan][(size + LOAM_GRANULE - 1) / LOAM_GRANULE]);
	if (__builtin_expect(bin->window != 0, 1))
		return take(bin, &bin->window);
	if (!clear && bin->dirty != 0)
		return take(bin, &bin->dirty);
	return alloc_refill(cache, bin, clear);
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

void *loam_alloc_for_copy(size_t size, enum loam_scan scan, size_t keep)
{
	size_t slot_bytes;
	char *p;

	if (__atomic_load_n(&loam_heap.exact, __ATOMIC_RELAXED))
		return alloc(size, scan, true);
	if (size > 1024)
		return alloc_slow(size, scan, keep);
	slot_bytes = loam_size_class[loam_class_of(size)].size;
	p = alloc(size, scan, false);
	if (p != NULL && keep < slot_bytes)
		memset(p + keep, 0, slot_bytes - keep);
	return p;
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
			LOAM_SCAN_WORDS, 0);
	loam_cache_leave(cache);
	assist_if_busy(cache, size);
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
	struct loam_bin *bin;
	uint64_t claimed;
	uintptr_t p;
	void *block;

	if (size == 0 || size >= LOAM_GRANULE)
		return loam_alloc_noscan(size);
	cache = loam_cache_self();
	collect_if_stressed();
	bin = &cache->bin[LOAM_SPAN_TINY];
	claimed = bin->mallocs;
	loam_cache_enter(cache);
	loam_count(&cache->tiny_allocs, 1);
	p = loam_align_up(cache->tiny, tiny_align(size));
	if (cache->tiny == 0 || p + size > cache->tiny_end) {
		block = alloc_small(cache, bin, true);
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
	if (bin->mallocs != claimed)
		assist_if_busy(cache, claimed_bytes(bin, claimed));
	return noted((void *)p, size);
}

/* ---- typed objects ---- */

/* Any type and number; or NULL. */
static void *alloc_types(const struct loam_type *type, size_t n)
{
	struct loam_cache *cache;
	struct loam_bin *bin;
	enum loam_scan scan;
	uint64_t claimed;
	size_t size;
	bool small;
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
	small = size <= LOAM_SMALL_MAX;
	bin = &cache->bin[loam_span_class(small ? loam_class_of(size) : 0, LOAM_SCAN_TYPED)];
	claimed = bin->mallocs;
	loam_cache_enter(cache);
	p = small ? alloc_small(cache, bin, true) : alloc_large(cache, size, 0, LOAM_SCAN_TYPED, 0);
	if (p != NULL)
		loam_pointer_bits_set((uintptr_t)p, type, n);
	loam_cache_leave(cache);
	assist_if_busy(cache, small ? claimed_bytes(bin, claimed) : size);
	return p;
}

/* One object of 16 bytes: typed only if one of its words is a pointer (typed.c). */
static inline __attribute__((always_inline)) void *alloc_granule(struct loam_cache *cache,
								 const struct loam_type *type)
{
	struct loam_bin *bin = &cache->bin[loam_span_class(LOAM_TINY_CLASS, LOAM_SCAN_TYPED)];
	uint64_t pointers = type->ptr_bits[0] & (~(uint64_t)0 >> (64 - type->ptr_words)), slot;
	void *p;

	if (pointers == 3)
		return loam_alloc(LOAM_GRANULE);
	if (__builtin_expect(pointers == 0 || bin->window == 0, 0))
		return alloc_types(type, 1);
	loam_cache_enter(cache);
	p = take(bin, &bin->window);
	slot = ((uintptr_t)p - bin->span->base) / LOAM_GRANULE;
	loam_put_bits(loam_which_words(bin->span), slot, pointers >> 1, 1);
	loam_cache_leave(cache);
	return p;
}

/*
 * The usual case first: one object with its bits in one word of the type. Inside to the end: the pointer
 * bits share words with those of the span's other slots, so the span must stay ours.
 */
void *loam_alloc_type(const struct loam_type *type, size_t n)
{
	struct loam_cache *cache = loam_cache_mine();
	size_t size = type->size;
	struct loam_bin *bin;
	void *p;

	if (__builtin_expect(n != 1 || cache == NULL || size < LOAM_GRANULE || size > 512 ||
				     size % 8 != 0 || type->ptr_words == 0 ||
				     type->ptr_words > size / 8,
			     0))
		return noted(alloc_types(type, n), size * n);
	if (size == LOAM_GRANULE)
		return noted(alloc_granule(cache, type), size);
	bin = (struct loam_bin
		       *)((char *)cache +
			  cache->bin_at[LOAM_SCAN_TYPED][(size + LOAM_GRANULE - 1) / LOAM_GRANULE]);
	if (__builtin_expect(bin->window == 0, 0))
		return noted(alloc_types(type, n), size);
	loam_cache_enter(cache);
	p = take(bin, &bin->window);
	loam_pointer_bits_set_one((uintptr_t)p, bin->slot_bytes / 8, type);
	loam_cache_leave(cache);
	return noted(p, size);
}
