/* SPDX-License-Identifier: MIT */
/* Figures of the heap and the collector, under the names of Go's runtime.MemStats. */
#ifndef LOAM_STATS_H
#define LOAM_STATS_H

#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Size classes, of which the first stands for objects that have pages of their own. */
#define LOAM_STATS_CLASSES 68

/*
 * Bytes unless said otherwise. At a quiet point these hold:
 *   [HEAP-1] heap_sys == heap_inuse + heap_idle
 *   [HEAP-2] heap_idle >= heap_released; heap_sys - heap_released is what is Ready for the heap
 *   [HEAP-3] heap_objects == mallocs - frees
 *   [HEAP-4] alloc == heap_alloc == total_alloc - what was freed, and heap_alloc <= heap_inuse
 *   [HEAP-5] sys == the sum of all *_sys
 *   [HEAP-6] mallocs and frees are the sums over by_size, and the tiny objects in each
 */
struct loam_stats {
	uint64_t alloc;	      /* in objects that are allocated and not known to be free */
	uint64_t total_alloc; /* ever allocated */
	uint64_t sys;	      /* address space and memory loam has from below, for all purposes */
	uint64_t lookups;     /* always 0, as in Go since 1.12 */
	uint64_t mallocs, frees; /* objects, ever; a tiny object counts in both at once, as in Go */

	uint64_t heap_alloc;	/* the same as alloc */
	uint64_t heap_sys;	/* address space the heap has mapped */
	uint64_t heap_idle;	/* not in spans */
	uint64_t heap_inuse;	/* in spans */
	uint64_t heap_released; /* of the idle: not backed by memory */
	uint64_t heap_objects;	/* objects, now */

	uint64_t stack_inuse, stack_sys; /* committed for stacks that loam handed out */
	uint64_t mspan_inuse, mspan_sys; /* span records: in use; backed */
	uint64_t mcache_inuse;	/* caches of attached threads; the memory is the caller's */
	uint64_t mcache_sys;	/* so this is 0 */
	uint64_t buck_hash_sys; /* 0: no profile is kept */
	uint64_t gc_sys;	/* the collector's tables beside the heap and its work buffers */
	uint64_t other_sys;	/* page tables, records of frames and regions, the host's own */

	uint64_t next_gc; /* live bytes at which the next collection starts; UINT64_MAX: none due */
	uint64_t last_gc; /* when the last one ended, in ns of loam_host_now_ns; 0: none yet */
	uint64_t pause_total_ns;
	uint64_t pause_last_ns, pause_max_ns; /* of the stops of the world */
	uint64_t num_gc, num_forced_gc;	      /* collections; those that loam_gc asked for */
	uint64_t gc_cpu_ppm; /* Go's GCCPUFraction: millionths of the time since loam_gc_init */
	bool enable_gc, debug_gc; /* true, false */

	uint64_t heap_marked; /* survived the last collection */
	uint64_t tiny_allocs; /* objects from loam_alloc_tiny, ever */

	/* Go's /gc/finalizers/queued and so on: became due, ever; of those, have run. */
	uint64_t finalizers_queued, finalizers_executed;
	uint64_t cleanups_queued, cleanups_executed;

	struct loam_size_stats {
		uint64_t size;		 /* of a slot; 0 in the first */
		uint64_t mallocs, frees; /* objects of this class, ever */
	} by_size[LOAM_STATS_CLASSES];

	uint64_t owner_bytes[LOAM_OWNER_COUNT]; /* Ready, by who pays */
};

/*
 * All of them. Stops nobody: while other threads run, their counts are of slightly different
 * moments, and objects may be counted a run of slots (at most 1 KiB or 64 objects a class) early.
 * Context: thread (attached).
 */
void loam_stats_read(struct loam_stats *stats);

/* The same as text, and a map of the heap: one character a stretch of pages. Through the log. */
void loam_dump_stats(void);
void loam_dump_heap(void);

#ifdef __cplusplus
}
#endif

#endif
