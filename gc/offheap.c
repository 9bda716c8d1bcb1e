/* SPDX-License-Identifier: MIT */
/*
 * Off-heap spans (Go's mSpanManual): whole pages of the heap's range that the collector neither
 * scans nor frees. For buffers with a life of their own, which would only fragment the heap of small
 * things, or keep garbage alive.
 *
 * Such a span's alloc bit is never set: so no pointer into it keeps anything, and loam_free refuses it.
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

enum loam_err loam_offheap_alloc(size_t size, void **p)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t pages = (size + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	struct loam_span *span;

	if (size == 0 || size > LOAM_ALLOC_MAX || pages > UINT32_MAX)
		return LOAM_INVAL;
	loam_cache_enter(cache);
	span = loam_span_alloc(cache, loam_span_class(0, LOAM_SCAN_NONE), pages, 1);
	if (span != NULL) {
		span->offheap = true;
		if (span->needzero)
			memset((void *)span->base, 0, span->slot_bytes);
		*p = (void *)span->base;
	}
	loam_cache_leave(cache);
	return span != NULL ? LOAM_OK : LOAM_NOMEM;
}

enum loam_err loam_offheap_free(void *p)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_span *span;
	enum loam_err err = LOAM_INVAL;

	loam_cache_enter(cache);
	span = loam_span_of((uintptr_t)p);
	if (span != NULL && span->offheap && span->base == (uintptr_t)p) {
		loam_sweep_ensure(cache, span);
		span->offheap = false;
		if (!loam_marking())
			loam_span_free(cache,
				       span); /* else the sweep does: it is in use by nobody */
		err = LOAM_OK;
	}
	loam_cache_leave(cache);
	return err;
}
