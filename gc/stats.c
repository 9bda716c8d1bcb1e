/* SPDX-License-Identifier: MIT */
/* Figures and text about the heap. */
#include "gc/record.h"
#include "gc/special.h"
#include "mm/print.h"

/* Slots of one span class: freed ever; taken ever. Frees first: an object counted as freed was counted
 * as made. heap.lock is held, or the world is stopped. */
static uint64_t class_frees(unsigned c)
{
	uint64_t sum = __atomic_load_n(&loam_heap.frees[c], __ATOMIC_RELAXED);

	for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next)
		sum += __atomic_load_n(&t->bin[c].frees, __ATOMIC_RELAXED);
	return sum;
}

static uint64_t class_mallocs(unsigned c)
{
	uint64_t sum = loam_heap.mallocs[c];

	for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next) {
		/* in this order: a thread that claims meanwhile is over-counted, not under- */
		sum -= loam_popcount(loam_bin_claimed(&t->bin[c]));
		sum += __atomic_load_n(&t->bin[c].mallocs, __ATOMIC_RELAXED);
	}
	return sum;
}

uint64_t loam_heap_bytes(uint64_t *freed)
{
	struct loam_heap *h = &loam_heap;
	uint64_t bytes;

	*freed = __atomic_load_n(&h->large_free_bytes, __ATOMIC_RELAXED);
	for (unsigned c = LOAM_SCAN_COUNT; c < LOAM_SPAN_CLASSES; c++)
		*freed += class_frees(c) * loam_size_class[loam_span_class_size(c)].size;
	bytes = __atomic_load_n(&h->large_alloc_bytes, __ATOMIC_RELAXED);
	for (unsigned c = LOAM_SCAN_COUNT; c < LOAM_SPAN_CLASSES; c++)
		bytes += class_mallocs(c) * loam_size_class[loam_span_class_size(c)].size;
	return bytes;
}

static void read_classes(struct loam_stats *s)
{
	struct loam_heap *h = &loam_heap;
	uint64_t tiny = h->tiny_allocs;

	s->by_size[0].frees = __atomic_load_n(&h->large_frees, __ATOMIC_RELAXED);
	for (unsigned c = LOAM_SCAN_COUNT; c < LOAM_SPAN_CLASSES; c++)
		s->by_size[loam_span_class_size(c)].frees += class_frees(c);
	for (unsigned c = LOAM_SCAN_COUNT; c < LOAM_SPAN_CLASSES; c++)
		s->by_size[loam_span_class_size(c)].mallocs += class_mallocs(c);
	s->by_size[0].mallocs = __atomic_load_n(&h->large_mallocs, __ATOMIC_RELAXED);
	/* acquire: frees are read first, and are no more than there were allocations */
	s->alloc = -__atomic_load_n(&h->large_free_bytes, __ATOMIC_ACQUIRE);
	s->total_alloc = __atomic_load_n(&h->large_alloc_bytes, __ATOMIC_RELAXED);
	s->alloc += s->total_alloc;
	for (unsigned i = 0; i < LOAM_STATS_CLASSES; i++) {
		struct loam_size_stats *b = &s->by_size[i];

		b->size = loam_size_class[i].size;
		s->mallocs += b->mallocs;
		s->frees += b->frees;
		s->total_alloc += b->mallocs * b->size;
		s->alloc += (b->mallocs - b->frees) * b->size;
	}
	for (struct loam_cache *t = h->threads; t != NULL; t = t->next) {
		tiny += __atomic_load_n(&t->tiny_allocs, __ATOMIC_RELAXED);
		s->mcache_inuse += sizeof(struct loam_thread);
	}
	s->tiny_allocs = tiny;
	s->mallocs += tiny;
	s->frees += tiny;
	s->heap_alloc = s->alloc;
	s->heap_objects = s->mallocs - s->frees;
}

static void read_memory(struct loam_stats *s)
{
	struct loam_heap *h = &loam_heap;
	struct loam_sys_stats sys;
	uint64_t ready;

	loam_sys_stats(&sys);
	/* acquire: the heap is asked last how long it is: no shorter than what is in use of it, or Ready */
	s->heap_inuse = __atomic_load_n(&h->pages.used, __ATOMIC_ACQUIRE) << LOAM_HEAP_PAGE_SHIFT;
	ready = __atomic_load_n(&h->pages.ready, __ATOMIC_ACQUIRE) << LOAM_HEAP_PAGE_SHIFT;
	s->heap_sys = __atomic_load_n(&h->mapped_bytes, __ATOMIC_RELAXED);
	s->heap_idle = s->heap_sys - s->heap_inuse;
	s->heap_released = s->heap_sys - ready;
	s->mspan_sys = h->records.ready;
	s->mspan_inuse =
		__atomic_load_n(&h->spans_used, __ATOMIC_RELAXED) * sizeof(struct loam_span);
	s->stack_inuse = s->stack_sys = sys.ready_bytes[LOAM_OWNER_STACK];
	s->gc_sys = sys.ready_bytes[LOAM_OWNER_GC] - s->mspan_sys;
	for (unsigned i = 0; i < LOAM_OWNER_COUNT; i++) {
		s->owner_bytes[i] = sys.ready_bytes[i];
		if (i != LOAM_OWNER_HEAP && i != LOAM_OWNER_GC && i != LOAM_OWNER_STACK)
			s->other_sys += sys.ready_bytes[i];
	}
	s->sys = s->heap_sys + s->stack_sys + s->mspan_sys + s->gc_sys + s->other_sys;
}

void loam_stats_read(struct loam_stats *s)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_heap *h = &loam_heap;

	*s = (struct loam_stats){.enable_gc = true};
	loam_cache_enter(cache);
	loam_gc_lock(&h->lock);
	read_classes(s);
	read_memory(s);
	s->next_gc = loam_pacer_goal(&h->pacer);
	s->num_gc = h->cycles;
	s->num_forced_gc = h->forced_cycles;
	loam_record_stats(s);
	s->heap_marked = h->marked;
	loam_finalq_stats(s);
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
	loam_dump_gc(&s);
	loam_log(LOAM_LOG_INFO,
		 "sys:  %k Ready (%k in huge leaves), %k Prepared, %k Reserved, %llu regions\n",
		 (uint64_t)sys.state_bytes[LOAM_STATE_READY], (uint64_t)sys.huge_ready_bytes,
		 (uint64_t)sys.state_bytes[LOAM_STATE_PREPARED],
		 (uint64_t)sys.state_bytes[LOAM_STATE_RESERVED],
		 (unsigned long long)sys.region_count);
}

/* One character for what most of a stretch of pages is. */
static char glyph(uintptr_t at)
{
	static const char small[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	const struct loam_span *span = loam_span_of(at);
	uint64_t i = loam_page_index(at);
	const struct loam_chunk_bits *bits =
		loam_chunk_bits(&loam_heap.pages.pa, i >> LOAM_CHUNK_SHIFT);

	if (span != NULL && span->magic == 0)
		return 'L';
	if (span != NULL)
		return small[loam_span_class_size(span->span_class) / 2];
	return (bits->scavenged[i % LOAM_CHUNK_PAGES / 64] >> (i % 64) & 1) == 0 ? '.' : ' ';
}

void loam_dump_heap(void)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_heap *h = &loam_heap;
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
			line[n] = glyph(h->base + (p << LOAM_HEAP_PAGE_SHIFT));
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
