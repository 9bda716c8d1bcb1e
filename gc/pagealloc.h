/* SPDX-License-Identifier: MIT */
/*
 * Which heap pages are free: bitmaps under a radix tree of summaries. Theory: pagealloc.c; what to
 * give back next: scavindex.c.
 *
 * Pages are numbers from 0, the start of the range. Context of all: any, one at a time (the page
 * heap's lock); only init, back and destroy make system calls.
 */
#ifndef LOAM_GC_PAGEALLOC_H
#define LOAM_GC_PAGEALLOC_H

#include "gc/pagebits.h"
#include "gc/sizeclass.h"
#include "gc/table.h"

#define LOAM_PAGE_NONE	      UINT64_MAX
#define LOAM_SUMMARIES_MAX    5u /* levels; the root's entries then stand for 2^21 pages, 16 GiB */
#define LOAM_PALLOC_ALIGN_MAX ((uint64_t)1 << 18) /* pages: 2 GiB */
#define LOAM_HUGE_HEAP_PAGES  ((unsigned)(LOAM_HUGE_SIZE >> LOAM_HEAP_PAGE_SHIFT))
#define LOAM_CACHE_PAGES      64u /* a page cache holds free pages of one aligned block of so many */

/* A chunk's bits. A page that is not in the heap yet is used and not scavenged. */
struct loam_chunk_bits {
	uint64_t used[LOAM_CHUNK_WORDS];
	uint64_t scavenged[LOAM_CHUNK_WORDS]; /* Prepared, not Ready: comes without memory */
};

/* How densely a chunk is used, for the scavenger. */
struct loam_chunk_use {
	uint16_t in_use;	  /* pages: in spans and in page caches */
	uint16_t last;		  /* the same when `generation` began */
	uint32_t generation : 31; /* of the last change */
	uint32_t ready : 1;	  /* may have free Ready pages */
};

struct loam_pagealloc {
	struct loam_table bits;	 /* struct loam_chunk_bits, one a chunk */
	struct loam_table use;	 /* struct loam_chunk_use, one a chunk */
	struct loam_table leaf;	 /* the lowest level's summaries, one a chunk */
	struct loam_table upper; /* all other levels, backed whole: an eighth of that at most */
	uint64_t *level[LOAM_SUMMARIES_MAX]; /* init: level[0] is the root */
	unsigned levels;		     /* init */
	uint64_t origin;		     /* init: address of page 0, in pages */
	uint64_t limit;			     /* init: pages of the range */
	uint64_t end;			     /* pages in the heap */
	uint64_t search;		     /* no page below is free */
	uint64_t high[2]; /* chunks from here on have nothing to give: background, forced */
	uint32_t generation;
};

/* Free pages that a thread owns: bit i of `free` is page base_page + i. All zero: empty. */
struct loam_pagecache {
	uint64_t base_page; /* multiple of LOAM_CACHE_PAGES */
	uint64_t free;
	uint64_t scavenged; /* of the free ones: not Ready */
	uint64_t zero;	    /* of the free ones: Ready, and never used; the page heap's */
};

/*
 * Reserve tables for a range of `limit` pages whose first is page number `origin` of the address
 * space. The heap is empty. Fails, with nothing left behind: NOVIRT, NOMEM, LIMIT.
 */
LOAM_MUST_USE enum loam_err loam_pagealloc_init(struct loam_pagealloc *pa, uint64_t origin,
						uint64_t limit);
void loam_pagealloc_destroy(struct loam_pagealloc *pa);

/* Back the tables for the first `pages` pages; the heap is as it was. Nobody else backs them
 * meanwhile. Fails: NOMEM, LIMIT. */
LOAM_MUST_USE enum loam_err loam_pagealloc_back(struct loam_pagealloc *pa, uint64_t pages);

/* The heap now ends at page `end`, which is not below the old end, and backed for. What is new is
 * free and scavenged. */
void loam_pagealloc_grow(struct loam_pagealloc *pa, uint64_t end);

/*
 * Take `pages` pages: the first run that is long enough, by address. `align` (in pages, a power of
 * two up to LOAM_PALLOC_ALIGN_MAX; 0 or 1: any) is of addresses; aligned runs that fit exactly are found
 * among the first few candidates only. LOAM_PAGE_NONE: no such run.
 * *scavenged tells how many of them are not Ready. Those bits stay as they are, so that a taker who
 * finds no memory for them frees the run and nothing has changed; else: loam_pagealloc_settle.
 */
uint64_t loam_pagealloc_alloc(struct loam_pagealloc *pa, uint64_t pages, uint64_t align,
			      uint64_t *scavenged);

/* The same for the run that begins at page `at`; false if it is not all free. */
bool loam_pagealloc_alloc_at(struct loam_pagealloc *pa, uint64_t at, uint64_t pages,
			     uint64_t *scavenged);

/* Used pages that have become Ready, all of them. */
void loam_pagealloc_settle(struct loam_pagealloc *pa, uint64_t at, uint64_t pages);

/* Free any run of used pages, in one piece or not as it was taken. */
void loam_pagealloc_free(struct loam_pagealloc *pa, uint64_t at, uint64_t pages);

/* Are they all free? */
bool loam_pagealloc_is_free(const struct loam_pagealloc *pa, uint64_t at, uint64_t pages);

/* Where the heap must end for a run of `pages` aligned to `align` to fit behind its last used
 * page. */
uint64_t loam_pagealloc_need(const struct loam_pagealloc *pa, uint64_t pages, uint64_t align);

/* ---- page caches ---- */

/* All free pages of the block that holds the first free run of `pages` (up to LOAM_CACHE_PAGES), or the end of
 * it if the run begins in one block and ends in the next; empty if there is none. */
struct loam_pagecache loam_pagealloc_cache_take(struct loam_pagealloc *pa, uint64_t pages);

/* Give what is left back; the cache is empty then. */
void loam_pagealloc_cache_flush(struct loam_pagealloc *pa, struct loam_pagecache *pc);

/* Take `pages` (1 to LOAM_CACHE_PAGES) from the cache; *scavenged: which of its bits they are that
 * are not Ready. LOAM_PAGE_NONE: not there. Context: the cache's owner, without a lock. */
static inline uint64_t loam_pagecache_alloc(struct loam_pagecache *pc, unsigned pages,
					    uint64_t *scavenged)
{
	uint64_t runs = loam_word_runs(pc->free, pages), mask;
	unsigned at;

	if (runs == 0)
		return LOAM_PAGE_NONE;
	at = (unsigned)__builtin_ctzll(runs);
	mask = loam_word_mask(at, pages);
	*scavenged = pc->scavenged & mask;
	pc->free &= ~mask;
	pc->scavenged &= ~mask;
	return pc->base_page + at;
}

/* ---- scavindex.c: what to give back ---- */

/*
 * Take the next run to give back, highest first: free and Ready, at most `most` pages, or more if
 * that spares a huge page from being cut. Chunks that are dense, in this generation or
 * the one before, are passed over unless `force`. False: there is none.
 * The run is used until loam_pagealloc_released, but counts nowhere.
 */
bool loam_pagealloc_candidate(struct loam_pagealloc *pa, uint64_t most, bool force, uint64_t *at,
			      uint64_t *pages);

/* It is scavenged now, and free again. */
void loam_pagealloc_released(struct loam_pagealloc *pa, uint64_t at, uint64_t pages);

/* The next generation begins: once a collection. */
void loam_pagealloc_tick(struct loam_pagealloc *pa);

/* A chunk's pages are taken (true) or free again. */
void loam_scavindex_note(struct loam_pagealloc *pa, uint64_t chunk, unsigned pages, bool taken);

/* ---- palloccheck.c ---- */

/* Recompute all that can be recomputed; panics on the first broken invariant [PALLOC-n]. *used and
 * *scavenged: bits of pages in the heap. Nothing is being released. */
void loam_pagealloc_verify(const struct loam_pagealloc *pa, uint64_t *used, uint64_t *scavenged);

/* ---- within pagealloc ---- */

static inline struct loam_chunk_bits *loam_chunk_bits(const struct loam_pagealloc *pa, uint64_t c)
{
	return &((struct loam_chunk_bits *)pa->bits.base)[c];
}

static inline struct loam_chunk_use *loam_chunk_use(const struct loam_pagealloc *pa, uint64_t c)
{
	return &((struct loam_chunk_use *)pa->use.base)[c];
}

/* log2 of the pages that an entry of the level stands for. */
static inline unsigned loam_palloc_shift(const struct loam_pagealloc *pa, unsigned level)
{
	return LOAM_CHUNK_SHIFT + 3 * (pa->levels - 1 - level);
}

static inline uint64_t loam_chunk_count_of(uint64_t pages)
{
	return (pages + LOAM_CHUNK_PAGES - 1) >> LOAM_CHUNK_SHIFT;
}

/* One summary for 8, each of 2^shift pages. */
uint64_t loam_sum_of_eight(const uint64_t *sums, unsigned shift);

/* Set or clear the used bits of a run and update the summaries above it. */
void loam_pagealloc_set_used(struct loam_pagealloc *pa, uint64_t at, uint64_t pages, bool used);

/* Set or clear the scavenged bits of a run. */
void loam_pagealloc_set_scavenged(struct loam_pagealloc *pa, uint64_t at, uint64_t pages,
				  bool scavenged);

#endif
