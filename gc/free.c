/* SPDX-License-Identifier: MIT */
/*
 * Explicit free, and questions about objects.
 *
 * A pointer is judged before anything is touched: it must lie in an in-use span, at the start of a
 * slot that exists, is taken, has been handed out, and is not pinned. If the span is ours, its alloc
 * bit is cleared with a plain store; if it is another thread's, the slot is marked for it
 * (remote.c); if it is nobody's, it becomes ours first (central.c). Large objects give their pages back
 * at once. While marking goes on, all that is only noted (sweep.c); and while spans are owed a sweep, the span is
 * swept first. Then `free_id` is no span's owner, which keeps the fast path free of questions.
 */
#include "gc/heap.h"
#include "mm/print.h"

void *memset(void *dst, int c, size_t n);

static void complain(const char *what, const void *p, const struct loam_span *span)
{
	if (span == NULL)
		loam_log(LOAM_LOG_ERROR, "loam: free of %p: %s\n", p, what);
	else
		loam_log(LOAM_LOG_ERROR,
			 "loam: free of %p: %s (class of %llu bytes, span %#llx + %llu pages)\n", p,
			 what, (unsigned long long)span->slot_bytes, (unsigned long long)span->base,
			 (unsigned long long)span->pages);
	loam_history_tell(p);
}

/* ---- what is wrong ---- */

/* What is wrong with freeing `addr`, a slot of `span`; NULL: nothing. */
static const char *judge(struct loam_cache *cache, struct loam_span *span, uintptr_t addr,
			 uint64_t slot, enum loam_err *err)
{
	uint64_t bit = (uint64_t)1 << (slot % 64);

	*err = LOAM_INVAL;
	if (!span->in_use)
		return "not in the heap";
	if (span->offheap)
		return "off-heap memory: loam_offheap_free is for that";
	if (span->span_class == LOAM_SPAN_TINY)
		return "a tiny object: it shares its block and is only collected";
	if (slot >= span->slots)
		return "not in any object: the tail of a span";
	if (addr != span->base + slot * span->slot_bytes)
		return "points into an object, not to its start";
	*err = LOAM_NOENT;
	if (!loam_span_slot_used(span, slot) ||
	    (__atomic_load_n(&span->owner, __ATOMIC_RELAXED) == cache->id &&
	     loam_bin_holds(loam_bin_of(cache, span), span, slot)))
		return "freed already";
	if ((__atomic_load_n(&span->remote_bits[slot / 64], __ATOMIC_RELAXED) & bit) != 0)
		return "freed already, and waits for its owner or the sweep";
	*err = LOAM_BUSY;
	if (__atomic_load_n(&span->special, __ATOMIC_RELAXED) && loam_pin_count((void *)addr) > 0)
		return "pinned: loam_unpin comes first";
	return NULL;
}

/* ---- the ways to free ---- */

static enum loam_err free_large(struct loam_cache *cache, struct loam_span *span)
{
	uint64_t bytes = span->slot_bytes;

	/* of two that get here at once one clears the bit */
	if ((__atomic_fetch_and(&span->bits[0].alloc, ~(uint64_t)1, __ATOMIC_ACQ_REL) & 1) == 0)
		return LOAM_NOENT;
	__atomic_add_fetch(&loam_heap.large_frees, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loam_heap.large_free_bytes, bytes, __ATOMIC_RELAXED);
	loam_live_add(-(int64_t)bytes);
	span->used = 0;
	loam_span_free(cache, span);
	return LOAM_OK;
}

/* The slot is in a span of ours; true: now the span has none in use. */
static inline __attribute__((always_inline)) bool
free_own(struct loam_bin *bin, struct loam_span *span, uint64_t slot, uint64_t word)
{
	if (LOAM_DEBUG >= 3)
		memset((void *)(span->base + slot * span->slot_bytes), LOAM_POISON,
		       span->slot_bytes);
	span->needzero = true;
	loam_span_set_word(span, slot / 64, word & ~((uint64_t)1 << (slot % 64)));
	loam_count(&bin->frees, 1);
	return --span->used == 0;
}

/* Marking goes on: the slot is freed by the sweep, [SWEEP-2]; counted now. */
static enum loam_err free_later(struct loam_bin *bin, struct loam_span *span, uint64_t slot)
{
	uint64_t bit = (uint64_t)1 << (slot % 64);

	if ((__atomic_fetch_or(&span->remote_bits[slot / 64], bit, __ATOMIC_SEQ_CST) & bit) != 0)
		return LOAM_NOENT;
	if (span->magic != 0) {
		loam_count(&bin->frees, 1);
		bin->told--; /* it takes its place until then */
		return LOAM_OK;
	}
	__atomic_add_fetch(&loam_heap.large_frees, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loam_heap.large_free_bytes, span->slot_bytes, __ATOMIC_RELAXED);
	return LOAM_OK;
}

/* Anything. Inside. */
static enum loam_err free_any(struct loam_cache *cache, uintptr_t addr)
{
	struct loam_span *span;
	struct loam_bin *bin;
	enum loam_err err;
	uint16_t owner;
	uint64_t slot;
	const char *bad;

	do {
		span = loam_span_at_page(loam_page_index(addr));
		loam_sweep_ensure(cache, span);
		slot = loam_span_slot(span, addr);
		bad = judge(cache, span, addr, slot, &err);
		if (bad != NULL) {
			complain(bad, (void *)addr, span->in_use ? span : NULL);
			return err;
		}
		/* acquire: what the owner did to the span; partner: the release where it is given up */
		owner = __atomic_load_n(&span->owner, __ATOMIC_ACQUIRE);
	} while (owner == 0 && span->magic != 0 && !loam_marking() &&
		 (loam_central_adopt(cache, span), true));
	bin = loam_bin_of(cache, span); /* before: the span may be gone afterwards */
	if (__atomic_load_n(&span->special, __ATOMIC_RELAXED))
		loam_specials_drop(addr);
	if (loam_marking()) {
		err = free_later(bin, span, slot);
		if (err == LOAM_NOENT)
			complain("freed already, just now by another thread", (void *)addr, span);
		return err;
	}
	if (LOAM_DEBUG >= 3 && owner != cache->id)
		memset((void *)addr, LOAM_POISON, span->slot_bytes);
	err = LOAM_OK;
	if (span->magic == 0) {
		err = free_large(cache, span);
	} else if (owner == cache->id) {
		bool full = span->used == span->slots;

		if (free_own(bin, span, slot, loam_span_alloc_word(span, slot / 64)) || full)
			loam_span_freed_slots(cache, span, full);
	} else {
		err = loam_remote_free(cache, span, slot, owner);
		loam_count(&bin->frees, err == LOAM_OK);
		bin->told -= err == LOAM_OK; /* the owner tells, when it takes the slot in */
	}
	if (err == LOAM_NOENT)
		complain("freed already, just now by another thread", (void *)addr, span);
	return err;
}

/* ---- what loam_free ends with, but for the usual case; then the thread is no longer inside ---- */

/* NULL, an object of size 0, or no object at all. Outside already. */
__attribute__((noinline)) static enum loam_err free_odd(void *p)
{
	if (p == NULL || p == loam_zero_byte)
		return LOAM_OK;
	loam_cache_self(); /* without a thread: panics, and says why */
	complain("not in the heap", p, NULL);
	return LOAM_INVAL;
}

__attribute__((noinline)) static enum loam_err free_slow(struct loam_cache *cache, uintptr_t addr)
{
	enum loam_err err = free_any(cache, addr);

	/* every span that carries our id is ours again */
	if (cache->free_id == LOAM_NO_ID && !loam_marking() && !loam_sweep_pending())
		cache->free_id = cache->id;
	loam_cache_leave(cache);
	return err;
}

/* Its span was full, or has become empty. */
__attribute__((noinline)) static enum loam_err freed_slot(struct loam_cache *cache,
							  struct loam_span *span, bool full)
{
	loam_span_freed_slots(cache, span, full);
	loam_cache_leave(cache);
	return LOAM_OK;
}

__attribute__((noinline)) static enum loam_err park(struct loam_cache *cache)
{
	loam_cache_park(cache);
	return LOAM_OK;
}

/* Without a call that returns here: it needs no frame. */
static inline __attribute__((always_inline)) enum loam_err free_object(void *p)
{
	struct loam_cache *cache = loam_cache_mine();
	uint64_t offset = (uintptr_t)p - loam_heap.base, quotient, slot, word;
	struct loam_span *span;
	struct loam_bin *bin;
	uint32_t care;

	if (__builtin_expect(cache == NULL || !loam_heap_has((uintptr_t)p), 0))
		return free_odd(p);
	loam_cache_enter(cache);
	span = loam_span_at_page(offset >> LOAM_HEAP_PAGE_SHIFT);
	quotient = loam_span_quotient(span, (uintptr_t)p);
	slot = quotient >> 32;
	/* relaxed: if it is ours, nobody else changes that */
	if (__builtin_expect(__atomic_load_n(&span->owner, __ATOMIC_RELAXED) != cache->free_id, 0))
		return free_slow(cache, (uintptr_t)p);
	word = span->bits[slot / 64].alloc;
	if (__builtin_expect((uint32_t)quotient >= span->magic || (word >> (slot % 64) & 1) == 0,
			     0))
		return free_slow(cache, (uintptr_t)p);
	care = __atomic_load_n(&span->care, __ATOMIC_RELAXED);
	bin = loam_bin_of(cache, span);
	__asm__("" : "+r"(bin)); /* worked out once; else this needs more registers than are free */
	if (__builtin_expect((care & LOAM_CARE_SLOW) != 0, 0) ||
	    (LOAM_CARE_WINDOW(care) == (uint8_t)(slot / 64) &&
	     __builtin_expect((loam_bin_claimed(bin) >> (slot % 64) & 1) != 0, 0)))
		return free_slow(cache, (uintptr_t)p);
	if (__builtin_expect(free_own(bin, span, slot, word), 0))
		return freed_slot(cache, span, care == LOAM_CARE_FULL);
	if (__builtin_expect(care == LOAM_CARE_FULL, 0))
		return freed_slot(cache, span, true);
	return __builtin_expect(loam_cache_out(cache), 0) ? park(cache) : LOAM_OK;
}

enum loam_err loam_free(void *p)
{
	enum loam_err err = free_object(p);

	if (LOAM_DEBUG >= 2 && err == LOAM_OK && p != NULL)
		loam_history_note(LOAM_HISTORY_FREE, p, 0, __builtin_return_address(0));
	return err;
}

/* ---- questions ---- */

struct loam_span *loam_object_find(const void *p, uintptr_t *base)
{
	struct loam_cache *cache = loam_cache_mine();
	struct loam_span *span = loam_span_of((uintptr_t)p);
	uint64_t slot;

	if (span == NULL)
		return NULL;
	slot = loam_span_slot(span, (uintptr_t)p);
	if (slot >= span->slots || !loam_span_slot_used(span, slot) ||
	    (__atomic_load_n(&span->remote_bits[slot / 64], __ATOMIC_RELAXED) >> (slot % 64) & 1) !=
		    0)
		return NULL; /* or freed, and waits for its owner or the sweep */
	*base = span->base + slot * span->slot_bytes;
	if (cache != NULL && __atomic_load_n(&span->owner, __ATOMIC_RELAXED) == cache->id &&
	    loam_bin_holds(loam_bin_of(cache, span), span, slot))
		return NULL; /* claimed, and nobody's yet */
	return span;
}

void *loam_object_base(const void *p)
{
	uintptr_t base;

	return loam_object_find(p, &base) != NULL ? (void *)base : NULL;
}

size_t loam_object_size(const void *p)
{
	uintptr_t base;
	struct loam_span *span = loam_object_find(p, &base);

	return span != NULL ? span->slot_bytes : 0;
}
