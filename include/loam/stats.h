/* SPDX-License-Identifier: MIT */
/*
 * What the heap and the collector have done. Field names follow Go's runtime.MemStats in lower
 * case with underscores: HeapInuse is heap_inuse. Two of Go's fields are the same number here
 * (Alloc and HeapAlloc: alloc); Lookups, BuckHashSys, MCache*, and DebugGC have no counterpart.
 */
#ifndef LOAM_STATS_H
#define LOAM_STATS_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_STATS_PAUSES	256u /* pauses remembered */
#define LOAM_STATS_CLASSES	68u  /* size classes; [0] is every large object */

struct loam_stats_class {
	uint32_t size;	      /* bytes of a slot; 0 for the large ones */
	uint32_t span_pages;  /* heap pages of 8 KiB in a span */
	uint64_t mallocs;     /* objects allocated, ever */
	uint64_t frees;	      /* objects freed, ever: by sweeping and by loam_free */
	uint64_t spans;	      /* spans now */
	uint64_t span_bytes;  /* bytes in those spans */
};

struct loam_stats {
	/* Objects. Dead ones that no sweep has reached yet count as live, as in Go. */
	uint64_t alloc;	      /* bytes in live objects, rounded up to their classes */
	uint64_t total_alloc; /* ... in all objects ever */
	uint64_t mallocs;     /* objects ever */
	uint64_t frees;	      /* objects freed, ever */
	uint64_t explicit_frees; /* part of frees done by loam_free */
	uint64_t heap_objects;	 /* mallocs - frees */

	/* Bytes of heap address space; [HEAP-1] heap_sys = heap_inuse + heap_idle. */
	uint64_t heap_sys;	/* mapped: Prepared or Ready */
	uint64_t heap_inuse;	/* in spans that hold objects */
	uint64_t heap_idle;	/* in no span; includes heap_released */
	uint64_t heap_released; /* the part of heap_idle that has no memory behind it */
	uint64_t heap_reserved; /* address space set aside in all */
	uint64_t gc_sys;	/* the collector's own tables and records, Ready */
	uint64_t mspan_inuse;	/* part of gc_sys: span records in use */
	uint64_t mspan_sys;	/* part of gc_sys: span records in all */
	uint64_t stack_inuse;	/* stack bytes scanned by the last collection */
	uint64_t globals;	/* bytes in registered root ranges */
	uint64_t sys;		/* heap_sys - heap_released + gc_sys: memory taken (mappedReady) */

	/* Collections. Times are of loam_host_now_ns. */
	uint64_t next_gc;	/* live bytes at which the next one starts; UINT64_MAX: never */
	uint64_t heap_goal;	/* live bytes it aims to stay under */
	uint64_t heap_marked;	/* bytes the last one found alive */
	uint64_t last_gc;	/* when the last one ended */
	uint64_t pause_total_ns; /* world stopped, in all */
	uint64_t gc_cpu_ns;	/* spent marking and sweeping, in all */
	uint64_t pause_ns[LOAM_STATS_PAUSES];  /* ring: the newest at [(num_gc + 255) % 256] */
	uint64_t pause_end[LOAM_STATS_PAUSES]; /* when each ended */
	uint32_t num_gc;
	uint32_t num_forced_gc;	   /* ... by loam_gc */
	uint32_t num_oom_gc;	   /* ... because memory was out */
	uint32_t mark_overflows;   /* times a mark stack was full and spans were re-scanned */
	uint32_t threads;	   /* attached now */
	uint64_t limit_bytes;	   /* of loam_gc_set_limit; UINT64_MAX: none */
	int32_t gc_percent;	   /* GOGC; negative: off */

	struct loam_stats_class by_size[LOAM_STATS_CLASSES];
};

/*
 * A snapshot. Counts of threads that allocate meanwhile may lag by what their caches hold; with
 * no other thread running they are exact. Context: thread.
 */
void loam_stats_read(struct loam_stats *stats);

/* Print statistics, and the heap as text (a character for each run of heap pages, with a
 * legend), through loam_host_log at INFO. Context: thread. */
void loam_dump_stats(void);
void loam_dump_heap(void);

#ifdef __cplusplus
}
#endif

#endif
