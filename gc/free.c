/* SPDX-License-Identifier: MIT */
/*
 * Explicit free, realloc, and questions about objects.
 *
 * Free clears the slot's alloc bit with one atomic operation; whoever clears it has freed it, so of
 * two frees of one object one is told. A pointer is judged before anything is touched: it must
 * lie in an in-use span, at the start of a slot that exists and is taken.
 *
 * A span nobody has cached that was full gets room by a free: it goes back to its class's list,
 * under the lock. Large objects give their pages back at once.
 */
#include "gc/heap.h"
#include "mm/print.h"

void *memset(void *dst, int c, size_t n);
void *memcpy(void *restrict dst, const void *restrict src, size_t n);

#define POISON 0xdb

extern uint8_t loam_zero_byte[];

static void complain(const char *what, const void *p, const struct loam_span *span)
{
	if (span == NULL)
		loam_log(LOAM_LOG_ERROR, "loam: free of %p: %s\n", p, what);
	else
		loam_log(LOAM_LOG_ERROR,
			 "loam: free of %p: %s (class of %llu bytes, span %#llx + %llu pages)\n", p,
			 what, (unsigned long long)span->slot_bytes, (unsigned long long)span->base,
			 (unsigned long long)span->pages);
}

/* The span and slot that begin at `p`; or what is wrong. */
static const char *judge(const void *p, struct loam_span **span, uint64_t *slot)
{
	uintptr_t addr = (uintptr_t)p;

	*span = loam_span_of(addr);
	if (*span == NULL)
		return "not in the heap";
	*slot = loam_span_slot(*span, addr);
	if (*slot >= (*span)->slots)
		return "not in any object: the tail of a span";
	if (addr != (*span)->base + *slot * (*span)->slot_bytes)
		return "points into an object, not to its start";
	return NULL;
}

static void free_large(struct loam_span *span)
{
	loam_gc_lock(&loam_heap.lock);
	loam_heap.frees++;
	loam_heap.free_bytes += span->slot_bytes;
	loam_heap.live -= span->slot_bytes < loam_heap.live ? span->slot_bytes : loam_heap.live;
	loam_span_free_locked(span);
	loam_gc_unlock(&loam_heap.lock);
}

static void after_free(struct loam_cache *cache, struct loam_span *span)
{
	unsigned span_class = loam_span_class(span->size_class, (enum loam_scan)span->scan);

	cache->frees++;
	cache->free_bytes += span->slot_bytes;
	cache->unlive += span->slot_bytes;
	if (cache->span[span_class] == span)
		return; /* our own cached span: we will find the slot */
	loam_gc_lock(&loam_heap.lock);
	if (span->in_use && !span->cached && !span->listed)
		loam_central_list_locked(span);
	loam_gc_unlock(&loam_heap.lock);
}

enum loam_err loam_free_inside(struct loam_cache *cache, void *p)
{
	struct loam_span *span;
	uint64_t slot, bit;
	const char *bad = judge(p, &span, &slot);

	if (bad != NULL) {
		complain(bad, p, span);
		return LOAM_INVAL;
	}
	bit = (uint64_t)1 << (slot % 64);
	if (!loam_span_slot_used(span, slot)) {
		complain("freed already", p, span);
		return LOAM_NOENT;
	}
	if (LOAM_DEBUG >= 3)
		memset(p, POISON, span->slot_bytes);
	/* before the bit goes: whoever finds the slot free finds needzero set */
	__atomic_store_n(&span->needzero, true, __ATOMIC_RELAXED);
	/* release: our last writes come before the next owner's; partner: loam_span_alloc_word */
	if ((__atomic_fetch_and(&span->alloc_bits[slot / 64], ~bit, __ATOMIC_RELEASE) & bit) == 0) {
		complain("freed already, just now by another thread", p, span);
		return LOAM_NOENT;
	}
	if (span->magic == 0)
		free_large(span);
	else
		after_free(cache, span);
	return LOAM_OK;
}

enum loam_err loam_free(void *p)
{
	struct loam_cache *cache;
	enum loam_err err;

	if (p == NULL || p == loam_zero_byte)
		return LOAM_OK;
	cache = loam_cache_self();
	loam_cache_enter(cache);
	err = loam_free_inside(cache, p);
	loam_cache_leave(cache);
	return err;
}

/* ---- questions ---- */

/* The live object around `p`. */
static struct loam_span *find(const void *p, uintptr_t *base)
{
	struct loam_span *span = loam_span_of((uintptr_t)p);
	uint64_t slot;

	if (span == NULL)
		return NULL;
	slot = loam_span_slot(span, (uintptr_t)p);
	if (slot >= span->slots || !loam_span_slot_used(span, slot))
		return NULL;
	*base = span->base + slot * span->slot_bytes;
	return span;
}

void *loam_object_base(const void *p)
{
	uintptr_t base;

	return find(p, &base) != NULL ? (void *)base : NULL;
}

size_t loam_object_size(const void *p)
{
	uintptr_t base;
	struct loam_span *span = find(p, &base);

	return span != NULL ? span->slot_bytes : 0;
}

/* ---- realloc ---- */

static void *alloc_like(const struct loam_span *span, size_t size)
{
	return span->scan == LOAM_SCAN_NONE ? loam_alloc_noscan(size) : loam_alloc(size);
}

/* Does a block of `size` bytes belong where the object is already? */
static bool stays(const struct loam_span *span, size_t size)
{
	if (size > span->slot_bytes)
		return false;
	if (span->magic == 0)
		return size > LOAM_SMALL_MAX && size > span->slot_bytes / 2;
	return loam_class_of(size) == span->size_class;
}

void *loam_realloc(void *p, size_t size)
{
	struct loam_span *span;
	uintptr_t base;
	enum loam_err err;
	size_t keep;
	void *to;

	if (p == NULL || p == loam_zero_byte)
		return loam_alloc(size);
	if (size == 0) {
		(void)loam_free(p); /* a wrong one has been told of */
		return NULL;
	}
	span = find(p, &base);
	if (span == NULL || base != (uintptr_t)p) {
		complain("realloc of what is no object", p, span);
		return NULL;
	}
	if (stays(span, size)) {
		/* zero behind the end, so that growing again later finds zeros there */
		memset((char *)p + size, 0, span->slot_bytes - size);
		return p;
	}
	to = alloc_like(span, size);
	if (to == NULL)
		return NULL;
	keep = size < span->slot_bytes ? size : span->slot_bytes;
	memcpy(to, p, keep);
	err = loam_free(p);
	LOAM_CHECK(err == LOAM_OK, "the old block vanished during realloc");
	return to;
}
