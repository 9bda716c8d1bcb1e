/* SPDX-License-Identifier: MIT */
/*
 * The collector's structures, and what its files offer each other. Theory: gc/README.md.
 *
 * Who protects what: fields marked `lock` by heap.lock; `owner` by the thread whose cache has the
 * span; `stopped` are touched with the world stopped; `init` never change after loam_gc_init.
 */
#ifndef LOAM_GC_HEAP_H
#define LOAM_GC_HEAP_H

#include <loam/loam.h>

#include "gc/lock.h"
#include "gc/sizeclass.h"
#include "arch/check.h"

/* Code that reads memory it does not own, word by word, whatever is there. */
#define LOAM_NO_SANITIZE __attribute__((no_sanitize("address"), no_sanitize("thread")))

/* What a scan does with an object of the span. */
enum loam_scan {
	LOAM_SCAN_NONE,	 /* holds no pointers */
	LOAM_SCAN_WORDS, /* every word may be a pointer */
	LOAM_SCAN_TYPED, /* pointer_bits tell */
	LOAM_SCAN_COUNT,
};

#define LOAM_SPAN_CLASSES (LOAM_CLASS_COUNT * LOAM_SCAN_COUNT)

static inline unsigned loam_span_class(unsigned size_class, enum loam_scan scan)
{
	return size_class * LOAM_SCAN_COUNT + scan;
}

/* A run of heap pages with objects of one size. Records are type-stable. */
struct loam_span {
	uintptr_t base;
	uint32_t pages;
	uint32_t slots;
	uint64_t slot_bytes;
	uint32_t magic; /* 0 for a large object */
	uint8_t size_class;
	uint8_t scan;	      /* enum loam_scan */
	uint8_t in_use;	      /* 0: the record is spare */
	uint8_t rescan;	      /* stopped: mark stack overflowed on an object of this span */
	bool cached;	      /* lock: some thread's cache has it */
	bool listed;	      /* lock: on its class's partial list */
	bool needzero;	      /* atomic: a slot may hold old bytes; set before its alloc bit goes */
	uint32_t next_word;   /* owner: the word of alloc bits to look at next */
	uint32_t word;	      /* owner: the word that `free_slots` is of */
	uint64_t free_slots;  /* owner: slots of that word still free; taken lowest first */
	uint64_t *alloc_bits; /* atomic words: slot taken */
	uint64_t *mark_bits;  /* stopped: slot reached */
	struct loam_span *next; /* lock: partial list, or spare list */
};

/* struct loam_thread's real contents. */
struct loam_cache {
	uint64_t magic;
	const void *stack_base;
	uint32_t inside;	 /* atomic: in the allocator, not to be stopped */
	uint32_t stop_request;	 /* atomic: park when leaving */
	struct loam_cache *next; /* lock */
	uint64_t mallocs, alloc_bytes, frees, free_bytes; /* owner; stopped */
	uint64_t unlive; /* owner: freed bytes not yet taken off heap.live */
	struct loam_span *span[LOAM_SPAN_CLASSES]; /* owner; stopped */
};
_Static_assert(sizeof(struct loam_cache) <= sizeof(struct loam_thread), "the opaque part holds it");

/* One of the tables beside the heap: reserved whole, backed as the heap grows. */
struct loam_table {
	uintptr_t base; /* init */
	uint64_t ready; /* lock: bytes backed */
	uint64_t size;	/* init: bytes reserved */
};

struct loam_heap {
	struct loam_gc_lock lock;
	struct loam_gc_lock
		collecting; /* one collection at a time; never held with `lock` wanted */
	bool initialised;
	uintptr_t base;		 /* init: start of the heap's range, 64 MiB aligned */
	uint64_t reserved_bytes; /* init */
	uint64_t mapped_bytes;	 /* lock; stopped: [base, base + mapped) is Prepared or Ready */
	/* tables beside the heap */
	struct loam_table spans;		 /* struct loam_span *, one a heap page */
	struct loam_table page_used;		 /* bit a heap page: in a span */
	struct loam_table page_ready;		 /* bit a heap page: Ready, else Prepared */
	struct loam_table alloc_bits, mark_bits; /* bit a granule; dense from a span's start */
	struct loam_table pointer_bits;		 /* bit a word: typed objects only */
	/* pages */
	uint64_t first_free;		  /* lock: no free page below this index */
	uint64_t pages_used, pages_ready; /* lock */
	/* spans */
	struct loam_span *partial[LOAM_SPAN_CLASSES]; /* lock: have free slots, nobody's cache */
	struct loam_span *spare, *batches;	      /* lock */
	uint64_t spans_used;			      /* lock */
	struct loam_cache *threads;		      /* lock; stopped */
	/* pacing; all lock or stopped */
	int percent;
	uint64_t limit;
	uint64_t live;	  /* estimate: marked last time, and handed to caches since */
	uint64_t marked;  /* bytes that survived the last collection */
	uint64_t next_gc; /* collect when live gets here */
	uint64_t cycles, forced_cycles;
	uint64_t pause_total_ns, pause_last_ns;
	/* counters of detached threads, large objects and frees */
	uint64_t mallocs, frees, alloc_bytes, free_bytes;
	uint64_t stress, stress_count; /* tests: collect at every stress-th allocation */
	bool trace;
	uint64_t start_ns, gc_ns;
	uint64_t goal_last, procs; /* of the last collection: its goal, threads attached */
};

extern struct loam_heap loam_heap;

/* ---- table.c ---- */
LOAM_MUST_USE enum loam_err loam_table_reserve(struct loam_table *table, uint64_t bytes);
/* Back the first `bytes`, zeroed. Fails: NOMEM, LIMIT. */
LOAM_MUST_USE enum loam_err loam_table_grow(struct loam_table *table, uint64_t bytes);
void loam_table_free(struct loam_table *table);

/* ---- pageheap.c: all with heap.lock held ---- */
/* Take `pages` heap pages, all Ready. *zeroed: known to be zero. Grows the heap if it must; 0 if
 * that fails. `align` in pages. */
uintptr_t loam_pages_alloc_locked(uint64_t pages, bool *zeroed);
void loam_pages_free_locked(uintptr_t base, uint64_t pages);
/* Give free Ready pages back until at most `keep` of them are left, highest first; at most `most`
 * pages. Returns how many went. */
uint64_t loam_pages_release_locked(uint64_t keep, uint64_t most);

static inline uint64_t loam_page_index(uintptr_t addr)
{
	return (addr - loam_heap.base) >> LOAM_HEAP_PAGE_SHIFT;
}

/* ---- span.c ---- */
struct loam_span *loam_span_alloc_locked(unsigned size_class, uint64_t pages, enum loam_scan scan);
void loam_span_free_locked(struct loam_span *span);
/* The in-use span around `addr`, or NULL. Context: inside the allocator, or stopped. */
struct loam_span *loam_span_of(uintptr_t addr);
uint32_t loam_span_used_slots(const struct loam_span *span);
void loam_span_records_free(void);
/* The in-use span behind `span` by address; the first for NULL. Stopped, or with the lock. */
struct loam_span *loam_span_next(struct loam_span *span);

/* Slot that an address in the span falls into; may be span->slots for the tail. */
static inline uint64_t loam_span_slot(const struct loam_span *span, uintptr_t addr)
{
	return span->magic == 0 ? 0 : (uint64_t)(uint32_t)(addr - span->base) * span->magic >> 32;
}

/* acquire: pairs with the release that clears a bit in loam_free, after needzero was set */
static inline uint64_t loam_span_alloc_word(const struct loam_span *span, uint64_t word)
{
	return __atomic_load_n(&span->alloc_bits[word], __ATOMIC_ACQUIRE);
}

static inline bool loam_span_slot_used(const struct loam_span *span, uint64_t slot)
{
	return (loam_span_alloc_word(span, slot / 64) >> (slot % 64) & 1) != 0;
}

/* ---- central.c ---- */
/* Give the cache a span of the class with a free slot; false: out of memory. May collect. Called
 * inside; leaves and re-enters. */
bool loam_cache_refill(struct loam_cache *cache, unsigned span_class);
/* Every cached span goes back. */
void loam_cache_flush_locked(struct loam_cache *cache);
/* With the world stopped or the lock held: the span has room again and nobody has it. */
void loam_central_list_locked(struct loam_span *span);

/* ---- free.c ---- */
enum loam_err loam_free_inside(struct loam_cache *cache, void *p);

/* ---- thread.c ---- */
struct loam_cache *loam_cache_self(void);
static inline void loam_cache_enter(struct loam_cache *cache)
{
	/* relaxed: only this thread's own signal or interrupt handler must see it in order */
	__atomic_store_n(&cache->inside, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}
void loam_cache_park(struct loam_cache *cache);
static inline void loam_cache_leave(struct loam_cache *cache)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* release: partner of loam_thread_may_stop's acquire, when another CPU asks */
	__atomic_store_n(&cache->inside, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_load_n(&cache->stop_request, __ATOMIC_RELAXED) != 0, 0))
		loam_cache_park(cache);
}

/* ---- root.c, mark.c, sweep.c: world stopped ---- */
void loam_roots_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg);
uint64_t loam_roots_bytes(void);
void loam_roots_reset(void);
LOAM_MUST_USE enum loam_err loam_mark_init(void);
void loam_mark_reset(void);
/* Use at most `entries` of the mark stack: for tests of its overflow. 0: all. */
void loam_mark_limit(uint64_t entries);
/* Mark everything that can be reached; returns marked bytes. `sp`: of the spilled own stack. */
uint64_t loam_mark_all(const void *sp, uint64_t *stack_bytes);
/* LOAM_DEBUG 3: a second, simple pass over all marked objects: [MARK-1] or panic. */
void loam_mark_check(void);
/* Free what is not marked. */
void loam_sweep_all(void);

/* ---- collect.c ---- */
/* Collect. `seen` is heap.cycles as the caller saw it when it decided: if somebody else has
 * collected since, nothing is done, unless `forced`. Called outside. */
void loam_collect(uint64_t seen, bool forced);
void loam_pace(void);

/* ---- trace.c ---- */
void loam_gctrace(uint64_t begun, uint64_t stopped, uint64_t marked, uint64_t done,
		  uint64_t live_before, uint64_t live_after, uint64_t stack_bytes, bool forced);

/* Tests: collect at every n-th allocation; 0: off. */
void loam_gc_set_stress(uint64_t n);

/* ---- the rest ---- */
/* Give everything back and forget loam_gc_init. No other thread may be attached. */
void loam_gc_shutdown(void);
void loam_heap_verify(void);
void loam_heap_verify_locked(void);

#endif
