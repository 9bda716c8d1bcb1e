/* SPDX-License-Identifier: MIT */
/*
 * The page heap: heap pages with memory behind them.
 *
 * Which pages are free is pagealloc.c's affair; here the heap grows, and pages become Ready when
 * they are taken and were not. The heap is one reserved range that grows at its end in steps of
 * STEP_PAGES, so that a small machine does not pay for what it does not use; a big request takes as many
 * steps as it needs. Tables are backed first: a page is in the heap only with its metadata.
 *
 * Small requests are served from the thread's page cache, without a lock. The system calls that make
 * pages Ready or not run without the lock: the pages are marked used meanwhile, and free again if
 * there was no memory.
 *
 *   [PAGES-1] A page of a span is used and Ready.
 *   [PAGES-2] used, ready and fenced count pages; ready ones are the Ready bytes of owner heap.
 *
 *   [PAGES-3] Pages [fresh, fresh_end) are Ready and have never been in a span since.
 *
 * Zeroing: pages that become Ready come zeroed from loam_sys_used; pages that were free and
 * Ready hold old bytes, unless they are fresh.
 *
 * Huge leaves: the range asks for them. A large request gets them where it covers them. For small ones,
 * once the heap has HUGE_FROM pages in use, a page cache that takes the first pages of 2 MiB that nobody has touched
 * makes all of it Ready at once; the rest is fresh, and comes next, for allocation goes by address. Not for HUGE_REST_NS after one
 * that took longer than HUGE_SLOW_NS: a kernel below that has to gather 2 MiB first, or a host that has to find 512 pages for
 * them, takes as long for the next.
 *
 * Failure: no memory, no address space: 0, with nothing changed.
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "gc/pace.h"

#define STEP_PAGES   128u /* 1 MiB */
#define HUGE_FROM    512u /* pages: 4 MiB */
#define CACHE_MOST   16u  /* larger requests go past the cache */
#define RELEASE_RUN  512u /* pages that go back at once, when all shall go */
#define HUGE_SLOW_NS UINT64_C(2000000)
#define HUGE_REST_NS UINT64_C(60000000000)

static struct loam_pageheap *const ph = &loam_heap.pages;

static uintptr_t address(uint64_t page)
{
	return loam_heap.base + (page << LOAM_HEAP_PAGE_SHIFT);
}

static void count(uint64_t *counter, uint64_t pages)
{
	__atomic_add_fetch(counter, pages, __ATOMIC_RELAXED);
}

/* ---- growth ---- */

/* Make the heap `pages` long. heap.pages.lock is held. */
static bool grow_to(uint64_t pages)
{
	struct loam_heap *h = &loam_heap;
	uint64_t bytes = pages << LOAM_HEAP_PAGE_SHIFT;

	if (bytes > h->reserved_bytes || loam_table_grow(&h->spans, pages * 4) != LOAM_OK ||
	    loam_table_grow(&h->slot_bits, pages * 128) != LOAM_OK ||
	    loam_clean_grow(pages) != LOAM_OK || loam_pagealloc_back(&ph->pa, pages) != LOAM_OK)
		return false;
	if (loam_sys_map(h->base + h->mapped_bytes, bytes - h->mapped_bytes, LOAM_OWNER_HEAP) !=
	    LOAM_OK)
		return false;
	loam_pagealloc_grow(&ph->pa, pages);
	/* release: the tables are there; partner: the acquire in loam_heap_has */
	__atomic_store_n(&h->mapped_bytes, bytes, __ATOMIC_RELEASE);
	return true;
}

/* The same, with room for more. */
static bool grow_past(uint64_t pages)
{
	return grow_to(loam_align_up(pages, pages > HUGE_FROM ? LOAM_HUGE_HEAP_PAGES : STEP_PAGES));
}

/* These pages have been taken. Returns how many are fresh, from *from on; then they are not any more. */
static uint64_t take_fresh(uint64_t at, uint64_t pages, uint64_t *from)
{
	uint64_t end = at + pages < ph->fresh_end ? at + pages : ph->fresh_end;

	*from = at > ph->fresh ? at : ph->fresh;
	if (*from >= end)
		return 0;
	ph->fresh = end;
	return end - *from;
}

/* *scavenged: how many pages are not Ready. *zeroed: all will be zero as soon as they are. */
static uint64_t alloc_locked(uint64_t pages, uint64_t align, uint64_t *scavenged, bool *zeroed)
{
	uint64_t at = loam_pagealloc_alloc(&ph->pa, pages, align, scavenged), from;

	if (at == LOAM_PAGE_NONE && grow_past(loam_pagealloc_need(&ph->pa, pages, align)))
		at = loam_pagealloc_alloc(&ph->pa, pages, align, scavenged);
	if (at != LOAM_PAGE_NONE)
		*zeroed = *scavenged + take_fresh(at, pages, &from) == pages;
	return at;
}

/* ---- memory for pages that were taken ---- */

static bool make_ready(uint64_t at, uint64_t pages)
{
	return loam_sys_used(address(at), pages << LOAM_HEAP_PAGE_SHIFT, NULL) == LOAM_OK;
}

/* A run that the page allocator marked used gets its memory, or is free again. */
static bool settle(uint64_t at, uint64_t pages, uint64_t scavenged)
{
	bool ok = true;

	if (scavenged > 0) {
		loam_scavenge_before(scavenged);
		ok = make_ready(at, pages);
		loam_gc_lock(&ph->lock);
		if (ok)
			loam_pagealloc_settle(&ph->pa, at, pages);
		else
			loam_pagealloc_free(&ph->pa, at, pages);
		loam_gc_unlock(&ph->lock);
	}
	if (ok) {
		count(&ph->used, pages);
		count(&ph->ready, scavenged);
	}
	return ok;
}

/* ---- the cache of a thread ---- */

/* Take the rest of the 2 MiB whose first pages the cache has just got, if all of it shall become Ready. */
static bool take_rest_locked(const struct loam_pagecache *pc)
{
	uint64_t at = pc->base_page + LOAM_CACHE_PAGES,
		 pages = LOAM_HUGE_HEAP_PAGES - LOAM_CACHE_PAGES, missing;

	if (pc->scavenged != ~(uint64_t)0 ||
	    !loam_is_aligned(pc->base_page, LOAM_HUGE_HEAP_PAGES) ||
	    __atomic_load_n(&ph->used, __ATOMIC_RELAXED) < HUGE_FROM ||
	    (loam_sys_huge_sizes() & LOAM_HUGE_SIZE) == 0 ||
	    loam_host_now_ns() < ph->huge_again_ns || !loam_scavenge_room(LOAM_HUGE_HEAP_PAGES) ||
	    !loam_pagealloc_alloc_at(&ph->pa, at, pages, &missing))
		return false;
	if (missing < pages)
		loam_pagealloc_free(&ph->pa, at, pages);
	return missing == pages;
}

/*
 * Sets *ns to how long it took. Linux gives the memory at the first touch: that is now, when the time is told and others wait
 * for no lock.
 */
static bool make_ready_huge(uint64_t at, uint64_t *ns)
{
	uint64_t start = loam_host_now_ns();
	bool ok = make_ready(at, LOAM_HUGE_HEAP_PAGES);

	if (ok)
		*(volatile unsigned char *)address(at) = 0;
	*ns = loam_host_now_ns() - start;
	return ok;
}

/* Make the cache's 2 MiB Ready, and what is not the cache's free and fresh. */
static void settle_huge(struct loam_pagecache *pc)
{
	uint64_t at = pc->base_page + LOAM_CACHE_PAGES,
		 pages = LOAM_HUGE_HEAP_PAGES - LOAM_CACHE_PAGES;
	uint64_t ns;
	bool ok = make_ready_huge(pc->base_page, &ns);

	if (loam_marking()) /* as much to zero as helping for a while: that waits for it */
		loam_pace_kept(loam_cache_mine(), ns);
	loam_gc_lock(&ph->lock);
	if (ns > HUGE_SLOW_NS)
		ph->huge_again_ns = loam_host_now_ns() + HUGE_REST_NS;
	if (ok) {
		count(&ph->ready, LOAM_HUGE_HEAP_PAGES);
		pc->scavenged = 0;
		pc->zero = ~(uint64_t)0;
		loam_pagealloc_settle(&ph->pa, at, pages);
		ph->fresh = at;
		ph->fresh_end = at + pages;
	}
	loam_pagealloc_free(&ph->pa, at, pages);
	loam_gc_unlock(&ph->lock);
}

static void refill_cache(struct loam_pagecache *pc, unsigned pages)
{
	uint64_t from = 0, fresh;
	bool huge;

	loam_gc_lock(&ph->lock);
	loam_pagealloc_cache_flush(&ph->pa, pc);
	*pc = loam_pagealloc_cache_take(&ph->pa, pages);
	if (pc->free == 0 && grow_past(ph->pa.end + pages))
		*pc = loam_pagealloc_cache_take(&ph->pa, pages);
	fresh = take_fresh(pc->base_page, LOAM_CACHE_PAGES, &from);
	if (fresh > 0)
		pc->zero = loam_word_mask((unsigned)(from - pc->base_page), (unsigned)fresh);
	huge = take_rest_locked(pc);
	loam_gc_unlock(&ph->lock);
	if (huge)
		settle_huge(pc);
}

static uint64_t alloc_cached(struct loam_pagecache *pc, unsigned pages, bool *zeroed)
{
	uint64_t scavenged = 0, at = loam_pagecache_alloc(pc, pages, &scavenged), mask;
	unsigned missing;

	if (at == LOAM_PAGE_NONE) {
		refill_cache(pc, pages);
		at = loam_pagecache_alloc(pc, pages, &scavenged);
		if (at == LOAM_PAGE_NONE)
			return at;
	}
	mask = loam_word_mask((unsigned)(at - pc->base_page), pages);
	missing = loam_popcount(scavenged);
	if (missing > 0) {
		loam_scavenge_before(missing);
		if (!make_ready(at, pages)) {
			pc->free |= mask;
			pc->scavenged |= scavenged;
			return LOAM_PAGE_NONE;
		}
	}
	*zeroed = ((scavenged | pc->zero) & mask) == mask;
	count(&ph->used, pages);
	count(&ph->ready, missing);
	return at;
}

/* ---- the interface ---- */

uintptr_t loam_pages_alloc(struct loam_pagecache *pc, uint64_t pages, uint64_t align_pages,
			   bool *zeroed)
{
	uint64_t at, scavenged;

	/* what can never be met must not grow the tables */
	if (pages == 0 || align_pages > LOAM_PALLOC_ALIGN_MAX ||
	    pages > loam_sys_most_bytes() >> LOAM_HEAP_PAGE_SHIFT)
		return 0;
	if (pc != NULL && pages < CACHE_MOST && align_pages <= 1) {
		at = alloc_cached(pc, (unsigned)pages, zeroed);
		if (at != LOAM_PAGE_NONE)
			return address(at);
	}
	loam_gc_lock(&ph->lock);
	at = alloc_locked(pages, align_pages, &scavenged, zeroed);
	loam_gc_unlock(&ph->lock);
	return at != LOAM_PAGE_NONE && settle(at, pages, scavenged) ? address(at) : 0;
}

void loam_pages_free(struct loam_pagecache *pc, uintptr_t base, uint64_t pages)
{
	uint64_t at = loam_page_index(base);

	count(&ph->used, -pages);
	/* back into the thread's own block without a lock, if that is where they came from */
	if (pc != NULL && pc->free != 0 && pc->base_page == loam_align_down(at, LOAM_CACHE_PAGES) &&
	    at + pages <= pc->base_page + LOAM_CACHE_PAGES) {
		uint64_t mask = loam_word_mask((unsigned)(at - pc->base_page), (unsigned)pages);

		pc->free |= mask;
		pc->zero &= ~mask;
		return;
	}
	loam_gc_lock(&ph->lock);
	loam_pagealloc_free(&ph->pa, at, pages);
	loam_gc_unlock(&ph->lock);
}

bool loam_pages_extend(uintptr_t end, uint64_t more, bool *zeroed)
{
	uint64_t at = loam_page_index(end), scavenged, from;
	bool ok;

	loam_gc_lock(&ph->lock);
	ok = loam_pagealloc_alloc_at(&ph->pa, at, more, &scavenged);
	if (!ok && loam_pagealloc_is_free(&ph->pa, at, ph->pa.end - at) && grow_past(at + more))
		ok = loam_pagealloc_alloc_at(&ph->pa, at, more, &scavenged);
	if (ok)
		*zeroed = scavenged + take_fresh(at, more, &from) == more;
	loam_gc_unlock(&ph->lock);
	return ok && settle(at, more, scavenged);
}

/* Pages [at, at + old) get the memory of those at `from`, and those behind, up to `pages`, new memory. All
 * are Prepared. All or nothing. */
static bool move_memory(uint64_t from, uint64_t at, uint64_t old, uint64_t pages)
{
	enum loam_err err;

	if (!make_ready(at + old, pages - old))
		return false;
	if (loam_sys_move(address(from), address(at), old << LOAM_HEAP_PAGE_SHIFT) == LOAM_OK)
		return true;
	err = loam_sys_unused(address(at + old), (pages - old) << LOAM_HEAP_PAGE_SHIFT);
	LOAM_CHECK(err == LOAM_OK, "heap pages just made Ready could not be given back");
	return false;
}

uintptr_t loam_pages_move(uintptr_t base, uint64_t old, uint64_t pages)
{
	uint64_t from = loam_page_index(base), at, scavenged = 0;
	enum loam_err err = LOAM_OK;
	bool ok, zeroed;

	LOAM_ASSERT(pages > old);
	loam_gc_lock(&ph->lock);
	at = alloc_locked(pages, 1, &scavenged, &zeroed);
	/* memory that is there would have to go, and cost more when it is wanted again than copying does */
	if (at != LOAM_PAGE_NONE && pages - scavenged > old / 2) {
		loam_pagealloc_free(&ph->pa, at, pages);
		at = LOAM_PAGE_NONE;
	}
	loam_gc_unlock(&ph->lock);
	if (at == LOAM_PAGE_NONE)
		return 0;
	if (scavenged < pages) /* what has memory already must not: the other comes in its place */
		err = loam_sys_unused(address(at), pages << LOAM_HEAP_PAGE_SHIFT);
	LOAM_CHECK(err == LOAM_OK, "free heap pages could not be given back");
	count(&ph->ready, scavenged - pages);
	loam_scavenge_before(pages - old);
	ok = move_memory(from, at, old, pages);
	loam_gc_lock(&ph->lock);
	/* one of the two has no memory, and is free */
	loam_pagealloc_settle(&ph->pa, at, pages);
	loam_pagealloc_set_scavenged(&ph->pa, ok ? from : at, ok ? old : pages, true);
	loam_pagealloc_free(&ph->pa, ok ? from : at, ok ? old : pages);
	loam_gc_unlock(&ph->lock);
	if (!ok)
		return 0;
	count(&ph->used, pages - old);
	count(&ph->ready, pages - old);
	return address(at);
}

void loam_pagecache_flush(struct loam_pagecache *pc)
{
	loam_gc_lock(&ph->lock);
	loam_pagealloc_cache_flush(&ph->pa, pc);
	loam_gc_unlock(&ph->lock);
}

void loam_pages_fence(uintptr_t base, uint64_t pages)
{
	enum loam_err err = loam_sys_fault(base, pages << LOAM_HEAP_PAGE_SHIFT);

	LOAM_CHECK(err == LOAM_OK, "heap pages could not be fenced");
	count(&ph->used, -pages);
	count(&ph->ready, -pages);
	count(&ph->fenced, pages);
}

uint64_t loam_pages_release(uint64_t most, bool force)
{
	uint64_t gone = 0;

	while (gone < most) {
		uint64_t at, pages, want = most - gone < RELEASE_RUN ? most - gone : RELEASE_RUN;
		enum loam_err err;
		bool some;

		loam_gc_lock(&ph->lock);
		some = loam_pagealloc_candidate(&ph->pa, want, force, &at, &pages);
		if (some && at + pages > ph->fresh && at < ph->fresh_end)
			ph->fresh_end = ph->fresh; /* [PAGES-3] */
		if (some)
			count(&ph->leaving, pages);
		loam_gc_unlock(&ph->lock);
		if (!some)
			break;
		LOAM_PLACE("pages go back");
		err = loam_sys_unused(address(at), pages << LOAM_HEAP_PAGE_SHIFT);
		LOAM_CHECK(err == LOAM_OK, "free heap pages could not be given back");
		count(&ph->ready, -pages);
		loam_gc_lock(&ph->lock);
		loam_pagealloc_released(&ph->pa, at, pages);
		count(&ph->leaving, -pages);
		loam_gc_unlock(&ph->lock);
		gone += pages;
	}
	return gone;
}

void loam_pages_released(void)
{
	/* who gives them back is inside, and waits for nobody */
	while (__atomic_load_n(&ph->leaving, __ATOMIC_RELAXED) != 0)
		loam_cpu_relax();
}

/* ---- start, end, and what must hold ---- */

enum loam_err loam_pageheap_init(void)
{
	*ph = (struct loam_pageheap){0};
	return loam_pagealloc_init(&ph->pa, loam_heap.base >> LOAM_HEAP_PAGE_SHIFT,
				   loam_heap.reserved_bytes >> LOAM_HEAP_PAGE_SHIFT);
}

void loam_pageheap_reset(void)
{
	loam_pagealloc_destroy(&ph->pa);
	*ph = (struct loam_pageheap){0};
}

void loam_pageheap_verify(void)
{
	uint64_t pages = loam_heap.mapped_bytes >> LOAM_HEAP_PAGE_SHIFT, used, scavenged;
	struct loam_sys_stats sys;

	loam_sys_stats(&sys);
	loam_pagealloc_verify(&ph->pa, &used, &scavenged);
	LOAM_CHECK(ph->pa.end == pages,
		   "[PAGES-2] the page allocator has other pages than the heap");
	LOAM_CHECK(used == ph->used + ph->fenced, "[PAGES-2] count of used pages is wrong");
	LOAM_CHECK(pages - scavenged == ph->ready + ph->fenced,
		   "[PAGES-2] count of Ready pages is wrong");
	LOAM_CHECK(sys.ready_bytes[LOAM_OWNER_HEAP] == ph->ready << LOAM_HEAP_PAGE_SHIFT,
		   "[PAGES-2] Ready heap bytes disagree with the address space");
}
