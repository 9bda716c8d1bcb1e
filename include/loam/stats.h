/* SPDX-License-Identifier: MIT */
/* Figures of the heap and the collector, under the names of Go's runtime.MemStats. */
#ifndef LOAM_STATS_H
#define LOAM_STATS_H

#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes unless said otherwise. [HEAP-1] heap_sys == heap_inuse + heap_idle; [HEAP-2] heap_idle >=
 * heap_released; [HEAP-3] heap_objects == mallocs - frees. */
struct loam_stats {
	uint64_t alloc;			/* in objects that are allocated and not known to be free */
	uint64_t total_alloc;		/* ever allocated */
	uint64_t sys;			/* Ready, for the heap and the collector */
	uint64_t mallocs, frees;	/* objects, ever */
	uint64_t heap_objects;		/* objects, now */
	uint64_t heap_sys;		/* address space the heap has mapped */
	uint64_t heap_inuse;		/* in spans */
	uint64_t heap_idle;		/* not in spans */
	uint64_t heap_released;		/* of the idle: not backed by memory */
	uint64_t gc_sys;		/* the collector's own tables and records */
	uint64_t next_gc;		/* live bytes at which the next collection starts */
	uint64_t num_gc, num_forced_gc; /* collections */
	uint64_t pause_total_ns, pause_last_ns;
	uint64_t heap_marked; /* bytes that survived the last collection */
};

/* A consistent snapshot; counts of other threads may lag until their next refill. Context:
 * thread (attached). */
void loam_stats_read(struct loam_stats *stats);

/* The same as text, and a map of the heap: one character a stretch of pages. Through the log. */
void loam_dump_stats(void);
void loam_dump_heap(void);

#ifdef __cplusplus
}
#endif

#endif
