/* SPDX-License-Identifier: MIT */
/*
 * The electric fence (Go's GODEBUG=efence=1), for finding overruns and uses after free: each object
 * has pages of its own and ends where they end, the page behind traps, and what is freed traps for ever.
 * Nothing is used twice, so addresses run out in the end; it is for debugging.
 *
 * An object's span begins in the middle of its first page. The fences are loam_sys_fault's: the report of
 * a touch names the heap, and the kernel's report the address.
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

void *loam_fence_alloc(struct loam_cache *cache, size_t size, enum loam_scan scan)
{
	size_t bytes = loam_align_up(size, LOAM_GRANULE);
	uint64_t pages = (bytes + LOAM_HEAP_PAGE - 1) >> LOAM_HEAP_PAGE_SHIFT;
	struct loam_span *span;
	uintptr_t end;

	if (size > LOAM_ALLOC_MAX || pages >= UINT32_MAX)
		return NULL;
	span = loam_span_alloc(cache, loam_span_class(0, scan), pages + 1, 1);
	if (span == NULL)
		return NULL;
	loam_span_cut_last(span);
	end = span->base + (pages << LOAM_HEAP_PAGE_SHIFT);
	loam_pages_fence(end, 1);
	span->base = end - bytes;
	span->slot_bytes = bytes;
	if (span->needzero)
		memset((void *)span->base, 0, bytes);
	loam_live_add((int64_t)bytes);
	__atomic_add_fetch(&loam_heap.large_mallocs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loam_heap.large_alloc_bytes, bytes, __ATOMIC_RELAXED);
	span->used = 1;
	if (__atomic_load_n(&loam_heap.black, __ATOMIC_RELAXED))
		loam_mark_claimed(span, 0, 1);
	__atomic_fetch_or(&span->bits[0].alloc, 1, __ATOMIC_RELEASE);
	return (void *)span->base;
}
