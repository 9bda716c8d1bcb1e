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
	uint64_t
		gc_cpu_ppm; /* Go's GCCPUFraction: millionths of the time that threads had since loam_gc_init */
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

/* ---- how long things took ---- */

/*
 * Durations, counted: bucket i has those of loam_histogram_bound(i) ns and more that are shorter than
 * loam_histogram_bound(i + 1). Four buckets for each power of two, as Go's runtime/metrics has them.
 */
#define LOAM_HISTOGRAM_BUCKETS 160
struct loam_histogram {
	uint64_t count[LOAM_HISTOGRAM_BUCKETS];
	uint64_t under; /* below 0: the clock ran backwards */
	uint64_t
		over; /* loam_histogram_bound(LOAM_HISTOGRAM_BUCKETS) ns and more: 2^47, 39 hours */
};

/* Where a bucket begins, in ns; that of LOAM_HISTOGRAM_BUCKETS is where the last one ends; behind it UINT64_MAX.
 * Source: Go's timeHistogramMetricsBuckets (runtime/histogram.go). Context: any. */
uint64_t loam_histogram_bound(unsigned bucket);

/* How many durations. Context: any. */
uint64_t loam_histogram_total(const struct loam_histogram *histogram);

/*
 * So many of a thousand took less than the result, in ns: a bucket's end, so at most a quarter too much. 0: there
 * are none; UINT64_MAX: longer than any bucket. More than 1,000 is as 1,000: the longest. Context: any.
 */
uint64_t loam_histogram_quantile(const struct loam_histogram *histogram, unsigned per_mille);

/* Held up for less is not counted as held up. */
#define LOAM_GC_STALL_LEAST_NS 1000

enum loam_gc_histogram_kind {
	LOAM_GC_PAUSES,	  /* stops of the world: from asking for one until all may run again */
	LOAM_GC_STOPPING, /* of these the first part: until all stand */
	LOAM_GC_STALLS, /* what held up an allocation: marking, sweeping, giving back, a collection it began; or
			   * waiting for another's. From LOAM_GC_STALL_LEAST_NS on */
	LOAM_GC_HISTOGRAMS,
};

/*
 * All that were counted since loam_gc_init. While others count, some of it is of a moment later. Go's
 * /sched/pauses/total/gc:seconds and /sched/pauses/stopping/gc:seconds; it has none for stalls. Context: any.
 */
void loam_gc_histogram_read(enum loam_gc_histogram_kind which, struct loam_histogram *histogram);

/* ---- the last cycles ---- */

/* Why a collection. */
enum loam_why {
	LOAM_WHY_GOAL, /* the heap has grown to its trigger; or time was donated and the last one was long ago */
	LOAM_WHY_SHORTAGE, /* there is no memory: afterwards everything free goes back */
	LOAM_WHY_ASKED,	   /* loam_gc: a new collection in any case. Go calls it forced */
};

/*
 * A cycle: stop, marking, stop, sweeping. Its four parts follow each other: the second stop ends at begin_ns +
 * begin_stop_ns + mark_ns + end_stop_ns. With LOAM_BARRIER_STOP the first three are one stop.
 * Go's PauseNs is stopped_ns, its PauseEnd the end of the second stop.
 */
struct loam_gc_cycle {
	uint64_t number;	    /* from 1 */
	uint64_t begin_ns;	    /* the first stop was asked for: in ns of loam_host_now_ns */
	uint64_t begin_stop_ns;	    /* how long: until the world ran again */
	uint64_t mark_ns;	    /* until the last stop was asked for */
	uint64_t end_stop_ns;	    /* until the world ran again */
	uint64_t sweep_ns;	    /* until the last page was swept; if `swept` */
	uint64_t stops, stopped_ns; /* all stops, also those after which there was more to mark */
	uint64_t assist_ns,
		donated_ns; /* marking: by threads that allocate; in loam_gc_work and loam_gc */
	uint64_t live_begun_bytes;  /* thought to be live when it began */
	uint64_t live_marked_bytes; /* and when marking ended */
	uint64_t live_after_bytes;  /* marked */
	uint64_t goal_bytes;	    /* what live_marked_bytes was to be; 0: none */
	uint64_t scanned_bytes;	    /* of objects, stacks and roots */
	uint64_t stack_bytes;	    /* all stacks, when they were last scanned */
	uint64_t global_bytes;	    /* roots */
	uint64_t
		rounds; /* LOAM_BARRIER_MMU: how often pages written meanwhile were scanned again */
	uint64_t last_pages; /* and how many were in the last stop */
	uint64_t threads;    /* attached */
	uint64_t procs;	     /* of them could run at once: CPUs, if those are fewer */
	/* Since loam_gc_init, up to the end of the second stop: what all threads spent on collecting, stops in full
	 * for each of `procs`; and the time they had. The difference of two records tells the share in between. */
	uint64_t busy_ns, total_ns;
	uint8_t why; /* enum loam_why */
	bool swept;  /* all is swept */
	uint8_t unused[6];
};

/* So many cycles are remembered. */
#define LOAM_GC_CYCLES 256

/*
 * The last `n` cycles whose marking has ended, or as many as there were and are remembered; the newest is to[0]. Returns
 * how many. Each is whole, and no number is left out, while cycles run. Context: any.
 */
size_t loam_gc_cycles_read(struct loam_gc_cycle *to, size_t n);

/* The same as text, and a map of the heap: one character a stretch of pages. Through the log. Context: thread
 * (attached). */
void loam_dump_stats(void);
void loam_dump_heap(void);

#ifdef __cplusplus
}
#endif

#endif
