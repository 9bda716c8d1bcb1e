/* SPDX-License-Identifier: MIT */
/* The page heap: heap pages with memory behind them. Theory: pageheap.c. */
#ifndef LOAM_GC_PAGEHEAP_H
#define LOAM_GC_PAGEHEAP_H

#include "gc/lock.h"
#include "gc/pagealloc.h"
#include "gc/sizeclass.h"

struct loam_pageheap {
	struct loam_gc_lock lock;
	struct loam_pagealloc pa;  /* lock */
	uint64_t fresh, fresh_end; /* lock: free, Ready, and zero: [PAGES-3] */
	uint64_t huge_again_ns;	   /* lock: 2 MiB ahead not before then */
	/* atomic; pages */
	uint64_t used;	  /* in spans: not those that wait in a thread's cache */
	uint64_t ready;	  /* Ready: the Ready bytes of owner heap */
	uint64_t leaving; /* whose memory is just given back */
	uint64_t fenced;  /* never used again: loam_pages_fence */
	uint64_t goal;	  /* Ready pages to keep when not in use: scavenge.c */
};

/* Context of all: inside the allocator, or stopped. `pc`: of the running thread, or NULL. */

/*
 * `pages` heap pages, all Ready, aligned to `align_pages` (a power of two; 0 or 1: any). *zeroed: known
 * to be zero. 0: no memory or no address space, nothing changed.
 */
uintptr_t loam_pages_alloc(struct loam_pagecache *pc, uint64_t pages, uint64_t align_pages,
			   bool *zeroed);
/* Give pages back, all that were taken together or some. */
void loam_pages_free(struct loam_pagecache *pc, uintptr_t base, uint64_t pages);
/* Take `more` pages from just `end` on; false: not all are free, or there is no memory. */
bool loam_pages_extend(uintptr_t end, uint64_t more, bool *zeroed);
/*
 * `pages` pages elsewhere, all Ready: the first `old` of them with the memory of [from, from + old), which
 * are free now; the rest is zero. 0: no memory or no address space, or copying is better, for there are
 * Ready pages to copy to; nothing changed.
 */
uintptr_t loam_pages_move(uintptr_t from, uint64_t old, uint64_t pages);
void loam_pagecache_flush(struct loam_pagecache *pc);
/* Used pages that nobody shall touch again: every touch traps, and no span ever gets them. */
void loam_pages_fence(uintptr_t base, uint64_t pages);
/* Give free Ready pages back, at most `most`, highest first; `force`: also of densely used chunks.
 * Returns how many went. */
uint64_t loam_pages_release(uint64_t most, bool force);
/* Wait for what others give back just now. Inside. */
void loam_pages_released(void);
/* Both with no page in a thread's cache: check everything [PAGES-1], [PAGES-2], [PALLOC-*]. */
void loam_pageheap_verify(void);

LOAM_MUST_USE enum loam_err loam_pageheap_init(void);
void loam_pageheap_reset(void);

#endif
