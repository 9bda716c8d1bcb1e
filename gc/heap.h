/* SPDX-License-Identifier: MIT */
/*
 * The heap: what all threads share, and what the collector's files offer each other. Theory:
 * gc/README.md.
 *
 * Who protects what: fields marked `lock` by heap.lock; `stopped` are touched with the world
 * stopped; `init` never change after loam_gc_init; `atomic` anybody, relaxed unless said.
 */
#ifndef LOAM_GC_HEAP_H
#define LOAM_GC_HEAP_H

#include <loam/loam.h>

#include "gc/cache.h"
#include "gc/lock.h"
#include "gc/pacer.h"
#include "gc/span.h"
#include "gc/table.h"

/* Code that reads memory it does not own, word by word, whatever is there. */
#define LOAM_NO_SANITIZE __attribute__((no_sanitize("address"), no_sanitize("thread")))

#define LOAM_POISON 0xdb /* of freed memory, at LOAM_DEBUG 3 */

/* Threads that want memory, when there was none: shortage.c */
struct loam_queue {
	uint64_t next;	 /* atomic: the number that the next one takes */
	uint64_t turn;	 /* atomic: whose turn it is; next: nobody waits */
	uint64_t lacked; /* after this cycle the turn before found none; 0: it found some */
	bool shut;	 /* atomic: whose turn it is collects, and nobody else takes memory */
};

struct loam_heap {
	struct loam_gc_lock lock;
	struct loam_gc_lock
		collecting; /* one collection at a time; `lock` is taken under it, never the other way round */
	bool initialised;
	uintptr_t base;		 /* init: start of the heap's range, 64 MiB aligned */
	uint64_t reserved_bytes; /* init */
	uint64_t mapped_bytes; /* pages.lock to write: [base, base + mapped) is Prepared or Ready */
	/* tables beside the heap */
	struct loam_table spans;	/* uint32_t, one a heap page: number of the span's record */
	struct loam_table records;	/* struct loam_span; type-stable; number 0 is nobody's */
	struct loam_table slot_bits;	/* 128 bytes a heap page: span.c */
	struct loam_table pointer_bits; /* 128 bytes a heap page, where needed: typed.c */
	struct loam_table pointer_pieces; /* bit a piece of pointer_bits: backed */
	struct loam_pageheap pages;
	/* spans */
	struct loam_span *spare;		 /* lock */
	uint64_t record_count;			 /* lock: ever made, and number 0 */
	uint64_t spans_used;			 /* atomic */
	uint32_t class_spans[LOAM_SPAN_CLASSES]; /* atomic: how many there are */
	struct loam_cache *threads;		 /* lock; stopped */
	uint32_t thread_count;			 /* lock to write; atomic: of them */
	/* the cycle: collect.c */
	uint8_t barrier;     /* init: enum loam_barrier */
	uint8_t phase;	     /* stopped to write; atomic: enum loam_phase */
	bool black;	     /* atomic: what is claimed is marked at once; see loam_mark_claimed */
	uint8_t sweep_cycle; /* stopped to write: which cycle's sweep spans are to pass: 0 to 253 */
	uint64_t
		marking_bytes; /* atomic: marked in this cycle, by workers that have given back and by claims */
	uint64_t scanned_bytes; /* atomic: scanned, same */
	uint64_t sweep_at,
		sweep_end; /* atomic: heap pages before are swept or about to be; where that ends */
	uint64_t sweep_left; /* atomic: stretches of pages not yet swept */
	/* pacing */
	int percent;
	uint64_t limit;
	int64_t live; /* atomic, estimate: marked last time, and told by caches since: refill.c */
	uint64_t marked;   /* stopped: bytes that survived the last collection */
	int64_t due_bytes; /* atomic: a cycle begins when live gets here */
	struct loam_pacer pacer;
	uint64_t cycles, forced_cycles;
	struct loam_queue queue;
	/* counters of what no cache counts: of detached threads, lock or stopped; and frees also by sweeping, atomic */
	uint64_t mallocs[LOAM_SPAN_CLASSES], tiny_allocs;
	uint64_t frees[LOAM_SPAN_CLASSES];
	/* atomic: large objects */
	uint64_t large_mallocs, large_frees, large_alloc_bytes, large_free_bytes;
	uint64_t stress, stress_count; /* tests: collect at every stress-th allocation, */
	uint64_t step_bytes;	       /* or do so much of it */
	bool efence;	   /* init: every object has pages of its own, and a trap behind */
	bool singly;	   /* claim one slot at a time: every allocation goes the slow way */
	bool busy;	   /* atomic: there is marking or sweeping to help with */
	bool exact;	   /* atomic: checkmark.c or audit.c looks: no object has old bytes in it */
	uint8_t trace;	   /* init: config.gctrace */
	uint64_t start_ns; /* init */
	uint64_t goal_last, procs; /* of the last collection: its goal, threads attached */
};

extern struct loam_heap loam_heap;

static inline uint64_t loam_page_index(uintptr_t addr)
{
	return (addr - loam_heap.base) >> LOAM_HEAP_PAGE_SHIFT;
}

static inline bool loam_heap_has(uintptr_t addr)
{
	/* acquire: the tables were backed before; partner: grow_to in pageheap.c */
	return addr - loam_heap.base < __atomic_load_n(&loam_heap.mapped_bytes, __ATOMIC_ACQUIRE);
}

static inline struct loam_span *loam_span_record(uint32_t number)
{
	return &((struct loam_span *)loam_heap.records.base)[number];
}

static inline uint32_t loam_span_number(const struct loam_span *span)
{
	return (uint32_t)(span - (struct loam_span *)loam_heap.records.base);
}

/* The record behind a heap page; number 0, which is nobody's, for a page in no span. */
static inline struct loam_span *loam_span_at_page(uint64_t page)
{
	/* acquire: the record is complete; partner: the release in set_table */
	return loam_span_record(
		__atomic_load_n(&((uint32_t *)loam_heap.spans.base)[page], __ATOMIC_ACQUIRE));
}

/* The in-use span around `addr`, or NULL. Context: inside the allocator, or stopped. */
static inline struct loam_span *loam_span_of(uintptr_t addr)
{
	struct loam_span *span;

	if (!loam_heap_has(addr))
		return NULL;
	span = loam_span_at_page(loam_page_index(addr));
	return span->in_use ? span : NULL;
}

/* The bin of a cache that holds claimed slots of the span, if the cache owns it. */
static inline struct loam_bin *loam_bin_of(struct loam_cache *cache, const struct loam_span *span)
{
	return &cache->bin[span->span_class];
}

/* ---- alloc.c ---- */
extern uint8_t loam_zero_byte[];
/* An object of `size` bytes, not 0: the first `keep` of them may be anything, the rest is zero. NULL: out of
 * memory. */
void *loam_alloc_for_copy(size_t size, enum loam_scan scan, size_t keep);
/* The parts of a new cache that never change. */
void loam_alloc_attach(struct loam_cache *cache);

/* ---- typed.c: pointer bits ---- */
/* Back the table behind the span's pages. */
LOAM_MUST_USE enum loam_err loam_pointer_bits_back(const struct loam_span *span);
/* How objects of `n` elements of the type are scanned. */
enum loam_scan loam_type_scan(const struct loam_type *type, size_t n);
/* Write the bits of a new object. Inside. */
void loam_pointer_bits_set(uintptr_t p, const struct loam_type *type, size_t n);
/* Is word `i` of the typed object in `slot` a pointer? */
bool loam_pointer_bit(const struct loam_span *span, uint64_t slot, uint64_t i);

static inline uint64_t *loam_pointer_words(uint64_t page)
{
	return (uint64_t *)loam_heap.pointer_bits.base + page * 16;
}

/* Put the low `count` bits (1 to 64) of `value` at bit `at`. */
static inline void loam_put_bits(uint64_t *bits, uint64_t at, uint64_t value, unsigned count)
{
	uint64_t mask = ~(uint64_t)0 >> (64 - count);
	unsigned shift = at % 64;
	uint64_t *word = &bits[at / 64];

	value &= mask;
	word[0] = (word[0] & ~(mask << shift)) | value << shift;
	if (shift + count > 64)
		word[1] = (word[1] & ~(mask >> (64 - shift))) | value >> (64 - shift);
}

/* Of a typed span of 16-byte slots: bit a slot, which of the two words is the pointer. They are behind the
 * remote bits of the whole span. */
static inline uint64_t *loam_which_words(const struct loam_span *span)
{
	return loam_pointer_words(loam_page_index(span->base)) + span->pages * 8;
}

/* One element of up to 64 words in a slot of more than a granule, the usual small object, with
 * everything behind it in the slot. */
static inline void loam_pointer_bits_set_one(uintptr_t p, uint64_t slot_words,
					     const struct loam_type *type)
{
	uint64_t known = ~(uint64_t)0 >> (64 - type->ptr_words);

	loam_put_bits((uint64_t *)loam_heap.pointer_bits.base, (p - loam_heap.base) / 8,
		      type->ptr_bits[0] & known, (unsigned)slot_words);
}

/* ---- free.c ---- */
/* The object around `p` that is in use and somebody's; NULL: none. */
struct loam_span *loam_object_find(const void *p, uintptr_t *base);

/* ---- efence.c ---- */
/* An object with a fence behind it. Inside; NULL: out of memory or addresses. */
void *loam_fence_alloc(struct loam_cache *cache, size_t size, enum loam_scan scan);

/* ---- pin.c ---- */
/* How often the object that starts at `p` is pinned. */
uint64_t loam_pin_count(const void *p);
/* The words that hold the addresses of pinned objects. Stopped. */
void loam_pins_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg);
LOAM_MUST_USE enum loam_err loam_pin_init(void);
void loam_pin_reset(void);

/* ---- special.c ---- */
/* Slots of a word of the span are dead, some of them `freed` explicitly: what hangs on them goes or becomes due. Returns
 * those that live on. The caller sweeps the span. */
uint64_t loam_specials_sweep(struct loam_span *span, uint32_t word, uint64_t dead, uint64_t freed);
/* The object is about to be freed explicitly: nothing hangs on it any more. Inside. */
void loam_specials_drop(uintptr_t object);
/* Has the object a finalizer, or cleanups? */
bool loam_special_runs(uintptr_t object);
/* The words that hold addresses of what they keep. Marking is over, nothing is swept; stopped. */
void loam_specials_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg);
void loam_specials_verify(void);
LOAM_MUST_USE enum loam_err loam_specials_init(uint64_t heap_bytes);
void loam_specials_reset(void);

/* ---- history.c: LOAM_DEBUG 2 and up ---- */
enum loam_history_kind {
	LOAM_HISTORY_ALLOC,
	LOAM_HISTORY_FREE,
	LOAM_HISTORY_SWEEP,
};
/* Remember an event of the object at `p`: where in the program it came from. */
void loam_history_note(enum loam_history_kind kind, const void *p, size_t size, const void *pc);
/* Say in the log what is remembered of objects around `p`. */
void loam_history_tell(const void *p);

/* ---- root.c ---- */
uint64_t loam_roots_bytes(void);
/* All root ranges. Stopped. */
void loam_roots_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg);
void loam_roots_reset(void);

/* ---- mark.c (and gc/mark.h) ---- */
/* These slots of a span, which are claimed or about to be, are marked, and not scanned: while heap.black, by who claims. */
void loam_mark_claimed(struct loam_span *span, uint32_t word, uint64_t slots);
/* The marked object at `addr` could not be made to wait: it is scanned in the end. */
void loam_mark_again(uintptr_t addr);

/* ---- markcheck.c: world stopped, marking over ---- */
/* LOAM_DEBUG 3: a second, simple pass over all marked objects: [MARK-1] or panic. */
void loam_mark_check(void);

/* ---- sweep.c ---- */
/* Marking is over; world stopped: from now on spans are to be swept, and nobody's list has any. */
void loam_sweep_start(void);
/* Sweep some; false: nobody has begun with none any more. Inside. */
bool loam_sweep_some(struct loam_cache *cache);
/* All of it, others' share too. Outside. */
void loam_sweep_finish(struct loam_cache *cache);
/* Sweep the span, if it has not been. Inside. */
void loam_sweep_ensure(struct loam_cache *cache, struct loam_span *span);

/* Is there any span left that has not been swept? */
static inline bool loam_sweep_pending(void)
{
	/* acquire: what others swept is seen; partner: the release in loam_sweep_some */
	return __atomic_load_n(&loam_heap.sweep_left, __ATOMIC_ACQUIRE) != 0;
}

/* ---- barrier.c ---- */
/* From now, what is overwritten is noted, or is not. Stopped, or nobody stores yet. */
void loam_barrier_set(bool notes);
/* Mark what a thread has noted. Inside, or stopped. */
void loam_notes_flush(struct loam_cache *cache);

/* ---- collect.c ---- */
enum loam_phase {
	LOAM_PHASE_OFF,	 /* no marking; sweeping, if there is any left */
	LOAM_PHASE_MARK, /* nothing is freed */
};

/* Inside, the answer stays true. */
static inline bool loam_marking(void)
{
	return __atomic_load_n(&loam_heap.phase, __ATOMIC_RELAXED) == LOAM_PHASE_MARK;
}

/* The heap has grown to where a cycle is due: begin one, if the barrier allows that; else have it. `seen` is heap.cycles
 * as the caller saw it when it decided: if somebody else has collected since, nothing is done. Inside, but not meanwhile. */
void loam_collect_goal(struct loam_cache *cache, uint64_t seen);

/* Until so many cycles are over, and swept. Outside. */
void loam_collect_complete(struct loam_cache *cache, uint64_t cycles, enum loam_why why);
/* Mark a little, if marking goes on; if there is nothing to be had, a moment's rest. Outside. */
void loam_collect_help(struct loam_cache *cache);
/* When heap.cycles is so many, all is freed that is unreachable now. Inside: no cycle ends amid the question. */
uint64_t loam_collect_fresh(void);
/* Give everything free back, what the thread keeps too; returns bytes. Outside. */
uint64_t loam_collect_release(struct loam_cache *cache);
/* The caller has taken `bytes` while heap.busy: it does its share of what there is to do. Outside. */
void loam_assist(struct loam_cache *cache, uint64_t bytes);
static inline int64_t loam_live_add(int64_t bytes)
{
	return __atomic_add_fetch(&loam_heap.live, bytes, __ATOMIC_RELAXED);
}

/* ---- shortage.c ---- */
/* What a thread that finds no memory has done about it. */
struct loam_shortage {
	/* when heap.cycles is so many, all is freed that was unreachable when it began, or shut the heap */
	uint64_t fresh;
	bool queued; /* it is its turn, */
	bool shut;   /* it has shut the heap, */
	bool all;    /* and all of that was done: one look is left */
};

/* A thread begins to look for memory. Inside. */
struct loam_shortage loam_shortage(void);
/* Does another collect for its own need, so that what is no thread's is not ours to take? Inside; if not, that stays so until a cycle begins. */
bool loam_shortage_others(const struct loam_shortage *s);
/* Wait until it is our turn. Inside, but not meanwhile. */
void loam_shortage_wait(struct loam_cache *cache, struct loam_shortage *s);
/* It found none, or others wait: the next best is done. Its turn comes; then, from the running cycle's end, which is not far, to the end of a whole
 * cycle; then what is free but in other places is given back. False: all has been. Inside, but not meanwhile. */
bool loam_shortage_helped(struct loam_cache *cache, struct loam_shortage *s);
/* It has found some, or does without: the next one's turn comes. After `false` of the above there is no need. */
void loam_shortage_over(struct loam_shortage *s);

/* ---- scavenge.c ---- */
/* Marking has ended, nothing is swept yet: what to keep until it ends again. `last_goal`: bytes at which it was due. */
void loam_scavenge_goal(uint64_t last_goal);
/* `pages` are about to become Ready: give as many back first, if the heap is past a goal. Inside. */
void loam_scavenge_before(uint64_t pages);
/* May so many pages become Ready before they are wanted? Not if a goal would be passed, or memory is short. */
bool loam_scavenge_room(uint64_t pages);
/* Give a little back, if there is too much; true: something went. Inside. */
bool loam_scavenge_some(void);
/* Give everything free back; returns bytes. Others' share is back then, too. Inside. */
uint64_t loam_scavenge_all(void);
/* Bytes that went back since this was last asked: on donated time; before an allocation. */
void loam_scavenge_told(uint64_t *donated, uint64_t *before);

/* ---- trace.c ---- */
/* What is known of a cycle: ns of loam_host_now_ns, and bytes. */
struct loam_cycle {
	uint64_t begin_ns; /* the first stop is asked for */
	uint64_t mark_ns;  /* the world runs again, or marking begins in the stop */
	uint64_t end_ns;   /* the last stop is asked for, or marking has ended in the stop */
	uint64_t done_ns;  /* the world runs again */
	uint64_t live_begun, live_marked,
		live_after;   /* when it began; when marking ended; what was marked */
	uint64_t goal;	      /* for live_marked; 0: none */
	uint64_t stack_bytes; /* scanned, when they were last */
	uint64_t global_bytes, scanned_bytes; /* roots; all that was scanned */
	uint64_t stood_ns;		      /* since when all others stand, in the latest stop */
	uint64_t rounds;     /* LOAM_BARRIER_MMU: in which written pages were scanned again */
	uint64_t last_pages; /* of them in the last stop */
	uint64_t stops, stopped_ns; /* all of them */
	uint64_t assist_ns,
		donated_ns; /* atomic: marking by threads that allocate; on donated time */
	enum loam_why why;
};
/* Print what config.gctrace asks for, of a cycle that has ended. heap.collecting is held. */
void loam_gctrace(const struct loam_gc_cycle *r);
/* All is swept. Inside. */
void loam_gctrace_swept(void);
/* What loam_dump_stats says of the collector. */
void loam_dump_gc(const struct loam_stats *s);

/* Benchmarks: what keeps a thread from its own work. Told on the CPU that did it, outside. */
enum loam_stall {
	LOAM_STALL_BEGIN, /* the stop in which a cycle begins; LOAM_BARRIER_STOP: the only one */
	LOAM_STALL_AGAIN, /* a last stop that was not the last */
	LOAM_STALL_END,	  /* the one in which it ends */
	LOAM_STALL_ROUND, /* asking the page tables, before the cycle or in it; stops nobody else */
	LOAM_STALL_ASSIST, /* marking or sweeping for an allocation; may have stops in it */
	LOAM_STALLS,
};
extern void (*loam_gc_on_stall)(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
				const struct loam_cycle *c);

/* Tests: collect at every n-th allocation; 0: off. */
void loam_gc_set_stress(uint64_t n);
/* Tests: at every n-th allocation a step of a cycle, of so many bytes if it marks; 0: off. */
void loam_gc_set_steps(uint64_t n, uint64_t bytes);
/* Count an allocation for these two. Outside. */
void loam_stress(struct loam_cache *cache);

/* ---- the rest ---- */
/* Give everything back and forget loam_gc_init. No other thread may be attached. */
void loam_gc_shutdown(void);
void loam_heap_verify(void);
void loam_heap_verify_stopped(void);
/* Bytes of all objects that were ever allocated; of all that were freed. Stopped or lock. */
uint64_t loam_heap_bytes(uint64_t *freed);

#endif
