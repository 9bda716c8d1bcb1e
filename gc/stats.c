/* SPDX-License-Identifier: MIT */
/* Figures and text about the heap. */
#include "gc/heap.h"
#include "mm/print.h"

void loam_stats_read(struct loam_stats *s)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_heap *h = &loam_heap;
	struct loam_sys_stats sys;

	loam_sys_stats(&sys);
	loam_cache_enter(cache);
	loam_gc_lock(&h->lock);
	*s = (struct loam_stats){
		.total_alloc = h->alloc_bytes,
		.mallocs = h->mallocs,
		.frees = h->frees,
		.heap_sys = h->mapped_bytes,
		.heap_inuse = h->pages_used << LOAM_HEAP_PAGE_SHIFT,
		.heap_idle = h->mapped_bytes - (h->pages_used << LOAM_HEAP_PAGE_SHIFT),
		.heap_released = h->mapped_bytes - (h->pages_ready << LOAM_HEAP_PAGE_SHIFT),
		.gc_sys = sys.ready_bytes[LOAM_OWNER_GC],
		.sys = sys.ready_bytes[LOAM_OWNER_GC] + sys.ready_bytes[LOAM_OWNER_HEAP],
		.next_gc = h->next_gc,
		.num_gc = h->cycles,
		.num_forced_gc = h->forced_cycles,
		.pause_total_ns = h->pause_total_ns,
		.pause_last_ns = h->pause_last_ns,
		.heap_marked = h->marked,
	};
	/* our own thread's, exactly; the others' are in their caches until they refill */
	s->mallocs += cache->mallocs;
	s->total_alloc += cache->alloc_bytes;
	s->frees += cache->frees;
	s->alloc = s->total_alloc - h->free_bytes - cache->free_bytes;
	s->heap_objects = s->mallocs - s->frees;
	loam_gc_unlock(&h->lock);
	loam_cache_leave(cache);
}

void loam_dump_stats(void)
{
	struct loam_sys_stats sys;
	struct loam_stats s;

	loam_stats_read(&s);
	loam_sys_stats(&sys);
	loam_log(LOAM_LOG_INFO, "heap: %k in %llu objects; %k in spans, %k idle (%k given back)\n",
		 (uint64_t)s.alloc, (unsigned long long)s.heap_objects, (uint64_t)s.heap_inuse,
		 (uint64_t)s.heap_idle, (uint64_t)s.heap_released);
	loam_log(LOAM_LOG_INFO,
		 "      %llu allocations of %k, %llu frees; %k of collector's tables\n",
		 (unsigned long long)s.mallocs, (uint64_t)s.total_alloc,
		 (unsigned long long)s.frees, (uint64_t)s.gc_sys);
	loam_log(LOAM_LOG_INFO, "gc:   %llu collections (%llu forced), %llu us stopped in all\n",
		 (unsigned long long)s.num_gc, (unsigned long long)s.num_forced_gc,
		 (unsigned long long)(s.pause_total_ns / 1000));
	loam_log(LOAM_LOG_INFO,
		 "sys:  %k Ready (%k in huge leaves), %k Prepared, %k Reserved, %llu regions\n",
		 (uint64_t)sys.state_bytes[LOAM_STATE_READY], (uint64_t)sys.huge_ready_bytes,
		 (uint64_t)sys.state_bytes[LOAM_STATE_PREPARED],
		 (uint64_t)sys.state_bytes[LOAM_STATE_RESERVED],
		 (unsigned long long)sys.region_count);
}

/* One character for what most of a stretch of pages is. */
static char glyph(uintptr_t at, const uint64_t *ready)
{
	static const char small[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	const struct loam_span *span = loam_span_of(at);
	uint64_t i = loam_page_index(at);

	if (span != NULL && span->size_class == 0)
		return 'L';
	if (span != NULL)
		return small[span->size_class / 2];
	return (ready[i / 64] >> (i % 64) & 1) != 0 ? '.' : ' ';
}

void loam_dump_heap(void)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_heap *h = &loam_heap;
	const uint64_t *ready = (const uint64_t *)h->page_ready.base;
	uint64_t pages, per, blank = 0;
	char line[65];

	loam_cache_enter(cache);
	loam_gc_lock(&h->lock);
	pages = h->mapped_bytes >> LOAM_HEAP_PAGE_SHIFT;
	per = (pages + 64 * 16 - 1) / (64 * 16); /* at most 16 lines of 64 */
	per = per > 0 ? per : 1;
	loam_log(LOAM_LOG_INFO,
		 "heap map: a character is %k; 0-9a-x small objects by class, L large, . free, "
		 "blank given back\n",
		 (uint64_t)(per << LOAM_HEAP_PAGE_SHIFT));
	for (uint64_t at = 0; at < pages; at += per * 64) {
		bool any = false;
		unsigned n = 0;

		for (uint64_t p = at; p < at + per * 64 && p < pages; p += per) {
			line[n] = glyph(h->base + (p << LOAM_HEAP_PAGE_SHIFT), ready);
			any = any || line[n] != ' ';
			n++;
		}
		line[n] = '\0';
		blank += !any;
		if (any)
			loam_log(LOAM_LOG_INFO, "  |%-64s|\n", line);
	}
	if (blank > 0)
		loam_log(LOAM_LOG_INFO, "  %llu blank lines left out\n", (unsigned long long)blank);
	loam_gc_unlock(&h->lock);
	loam_cache_leave(cache);
}
