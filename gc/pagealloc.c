/* SPDX-License-Identifier: MIT */
/*
 * The page allocator: address-ordered first fit in logarithmic time.
 *
 * A bit a page tells which are used, in chunks of 512 pages (4 MiB). Above the bits stands a tree
 * of summaries, 8 bytes each: how many pages are free at the start of the stretch, in its longest
 * run, and at its end. A leaf summarises a chunk; each level above, eight entries of the one below,
 * which are one cache line. There are as many levels as the range needs, five at most; then the
 * root is a row of entries of 16 GiB each.
 *
 * Finding walks the tree in the order of addresses, carrying the free run that ends where it stands.
 * An entry whose start completes the run ends the search; one whose longest run is long enough is
 * entered; any other is stepped over, and after the last of eight the walk goes on one level up.
 * So it passes at most 7 entries a level on its way up, the root's, and 8 a level down.
 *
 * Changing a run recomputes the summaries of its chunks and walks up while something changes.
 *
 * A second bit a page, scavenged, tells that it is Prepared and not Ready. It says nothing about a
 * used page but one: from loam_pagealloc_alloc to loam_pagealloc_settle, the pages of the run that
 * need memory have it still.
 *
 *   [PALLOC-1] A leaf summarises its chunk's used bits.
 *   [PALLOC-2] Each other entry summarises the eight below it.
 *   [PALLOC-3] Pages behind the heap's end are used, as far as the last chunk goes, and not scavenged.
 *   [PALLOC-4] No free page lies below `search`.
 *   [PALLOC-5] A chunk's in_use counts its used bits, and a chunk that is not in the heap has none.
 *   [PALLOC-6] A chunk with a free Ready page is marked `ready`, and lies below high[forced].
 *
 * Concurrency: none here; the page heap's lock. Failure: no run: LOAM_PAGE_NONE, nothing changed.
 * References: Go's runtime/mpagealloc.go and its design document (issue 35112) for the structure.
 */
#include "gc/pagealloc.h"

#include "arch/check.h"

#define ROOT_FEW  8u  /* a root that is shorter needs no level above */
#define ALIGN_TRY 32u /* candidates looked at for an aligned run that fits exactly */

/* ---- tables ---- */

static void free_tables(struct loam_pagealloc *pa)
{
	loam_table_free(&pa->bits);
	loam_table_free(&pa->use);
	loam_table_free(&pa->leaf);
	loam_table_free(&pa->upper);
}

/* How many entries each level has; whole eights, so that the level above finds eight. */
static unsigned plan_levels(uint64_t chunks, uint64_t *count)
{
	unsigned levels = 1;

	for (uint64_t n = chunks; n > ROOT_FEW && levels < LOAM_SUMMARIES_MAX; n = (n + 7) / 8)
		levels++;
	for (unsigned l = levels; l-- > 0; chunks = (chunks + 7) / 8)
		count[l] = loam_align_up(chunks, 8);
	return levels;
}

enum loam_err loam_pagealloc_init(struct loam_pagealloc *pa, uint64_t origin, uint64_t limit)
{
	uint64_t chunks = loam_chunk_count_of(limit), count[LOAM_SUMMARIES_MAX] = {0}, upper = 0;
	enum loam_err err;

	*pa = (struct loam_pagealloc){.origin = origin, .limit = limit};
	pa->levels = plan_levels(chunks, count);
	for (unsigned l = 0; l + 1 < pa->levels; l++)
		upper += count[l] * sizeof(uint64_t);
	err = loam_table_reserve(&pa->bits, chunks * sizeof(struct loam_chunk_bits));
	if (err == LOAM_OK)
		err = loam_table_reserve(&pa->use, chunks * sizeof(struct loam_chunk_use));
	if (err == LOAM_OK)
		err = loam_table_reserve(&pa->leaf, count[pa->levels - 1] * sizeof(uint64_t));
	if (err == LOAM_OK && upper > 0)
		err = loam_table_reserve(&pa->upper, upper);
	if (err == LOAM_OK && upper > 0)
		err = loam_table_grow(&pa->upper, upper);
	if (err != LOAM_OK) {
		free_tables(pa);
		return err;
	}
	upper = 0;
	for (unsigned l = 0; l + 1 < pa->levels; l++) {
		pa->level[l] = (uint64_t *)pa->upper.base + upper;
		upper += count[l];
	}
	pa->level[pa->levels - 1] = (uint64_t *)pa->leaf.base;
	return LOAM_OK;
}

void loam_pagealloc_destroy(struct loam_pagealloc *pa)
{
	free_tables(pa);
	*pa = (struct loam_pagealloc){0};
}

enum loam_err loam_pagealloc_back(struct loam_pagealloc *pa, uint64_t pages)
{
	uint64_t chunks = loam_chunk_count_of(pages);
	enum loam_err err;

	LOAM_ASSERT(pages <= pa->limit);
	err = loam_table_grow(&pa->bits, chunks * sizeof(struct loam_chunk_bits));
	if (err == LOAM_OK)
		err = loam_table_grow(&pa->use, chunks * sizeof(struct loam_chunk_use));
	if (err == LOAM_OK)
		err = loam_table_grow(&pa->leaf, chunks * sizeof(uint64_t));
	return err;
}

/* ---- summaries ---- */

uint64_t loam_sum_of_eight(const uint64_t *sums, unsigned shift)
{
	uint64_t size = (uint64_t)1 << shift, start = 0, max = 0, run = 0;
	bool whole = true;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t first = loam_sum_start(sums[i]), longest = loam_sum_max(sums[i]);

		if (whole)
			start += first;
		whole = whole && first == size;
		longest = run + first > longest ? run + first : longest;
		max = longest > max ? longest : max;
		run = first == size ? run + size : loam_sum_end(sums[i]);
	}
	return loam_sum(start, max, run);
}

/* The used bits of the run's chunks have changed. */
static void update(struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	uint64_t lo = at >> LOAM_CHUNK_SHIFT, hi = (at + pages - 1) >> LOAM_CHUNK_SHIFT;
	unsigned level = pa->levels - 1;
	bool changed = false;

	for (uint64_t c = lo; c <= hi; c++) {
		uint64_t sum = loam_chunk_summary(loam_chunk_bits(pa, c)->used);

		changed = changed || pa->level[level][c] != sum;
		pa->level[level][c] = sum;
	}
	for (; level > 0 && changed; level--) {
		unsigned shift = loam_palloc_shift(pa, level);

		lo /= 8;
		hi /= 8;
		changed = false;
		for (uint64_t i = lo; i <= hi; i++) {
			uint64_t sum = loam_sum_of_eight(&pa->level[level][i * 8], shift);

			changed = changed || pa->level[level - 1][i] != sum;
			pa->level[level - 1][i] = sum;
		}
	}
}

/* ---- runs, chunk by chunk ---- */

struct piece {
	uint64_t chunk;
	unsigned from, count;
};

/* The part of [at, end) in the chunk of `at`. */
static struct piece piece(uint64_t at, uint64_t end)
{
	unsigned from = (unsigned)(at % LOAM_CHUNK_PAGES);
	uint64_t room = LOAM_CHUNK_PAGES - from;

	return (struct piece){.chunk = at >> LOAM_CHUNK_SHIFT,
			      .from = from,
			      .count = (unsigned)(end - at < room ? end - at : room)};
}

void loam_pagealloc_set_used(struct loam_pagealloc *pa, uint64_t at, uint64_t pages, bool used)
{
	uint64_t end = at + pages;

	for (uint64_t i = at; i < end;) {
		struct piece p = piece(i, end);

		loam_chunk_fill(loam_chunk_bits(pa, p.chunk)->used, p.from, p.count, used);
		i += p.count;
	}
	update(pa, at, pages);
}

void loam_pagealloc_set_scavenged(struct loam_pagealloc *pa, uint64_t at, uint64_t pages,
				  bool scavenged)
{
	uint64_t end = at + pages;

	while (at < end) {
		struct piece p = piece(at, end);

		loam_chunk_fill(loam_chunk_bits(pa, p.chunk)->scavenged, p.from, p.count,
				scavenged);
		at += p.count;
	}
}

/* The first used page of [at, at + pages), or at + pages. */
static uint64_t next_used(const struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	uint64_t end = at + pages;

	while (at < end) {
		struct piece p = piece(at, end);
		unsigned used;

		used = loam_chunk_next_used(loam_chunk_bits(pa, p.chunk)->used, p.from, p.count);
		at += used - p.from;
		if (used < p.from + p.count)
			break;
	}
	return at;
}

bool loam_pagealloc_is_free(const struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	return at <= pa->end && pages <= pa->end - at && next_used(pa, at, pages) == at + pages;
}

/* Mark a free run used; returns how many of its pages are scavenged. */
static uint64_t take(struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	uint64_t end = at + pages, scavenged = 0;

	for (uint64_t i = at; i < end;) {
		struct piece p = piece(i, end);

		scavenged +=
			loam_chunk_count(loam_chunk_bits(pa, p.chunk)->scavenged, p.from, p.count);
		loam_scavindex_note(pa, p.chunk, p.count, true);
		i += p.count;
	}
	loam_pagealloc_set_used(pa, at, pages, true);
	return scavenged;
}

/* ---- finding ---- */

/*
 * The first run of `pages` free pages from the start of `chunk` on, where `run` pages before
 * that are free as well. *first: a page such that no free one lies between the start and it;
 * LOAM_PAGE_NONE if none was seen at all.
 */
static uint64_t walk(const struct loam_pagealloc *pa, uint64_t chunk, uint64_t run, uint64_t pages,
		     uint64_t *first)
{
	unsigned leaf = pa->levels - 1, level = leaf;
	uint64_t at = chunk << LOAM_CHUNK_SHIFT;

	*first = LOAM_PAGE_NONE;
	while (at < pa->end) {
		unsigned shift = loam_palloc_shift(pa, level);
		uint64_t sum = pa->level[level][at >> shift], size = (uint64_t)1 << shift;

		if (sum != 0 && *first == LOAM_PAGE_NONE)
			*first = at;
		if (run + loam_sum_start(sum) >= pages)
			return at - run;
		if (loam_sum_max(sum) >= pages && level == leaf)
			return at + loam_chunk_find(loam_chunk_bits(pa, at >> shift)->used, 0,
						    (unsigned)pages);
		if (loam_sum_max(sum) >= pages) {
			/* below, the first free page is known better */
			*first = *first == at ? LOAM_PAGE_NONE : *first;
			level++;
			continue;
		}
		run = loam_sum_start(sum) == size ? run + size : loam_sum_end(sum);
		at += size;
		while (level > 0 && (at >> loam_palloc_shift(pa, level)) % 8 == 0)
			level--;
	}
	return LOAM_PAGE_NONE;
}

/* The same from any page on; nothing is learnt about the first free one. */
static uint64_t walk_from(const struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	uint64_t chunk = at >> LOAM_CHUNK_SHIFT, run, first;
	unsigned in = (unsigned)(at % LOAM_CHUNK_PAGES), found;

	if (at >= pa->end)
		return LOAM_PAGE_NONE;
	if (in == 0)
		return walk(pa, chunk, 0, pages, &first);
	if (pages <= LOAM_CHUNK_PAGES - in) {
		found = loam_chunk_find(loam_chunk_bits(pa, chunk)->used, in, (unsigned)pages);
		if (found < LOAM_CHUNK_PAGES)
			return (chunk << LOAM_CHUNK_SHIFT) + found;
	}
	run = loam_sum_end(pa->level[pa->levels - 1][chunk]);
	run = run < LOAM_CHUNK_PAGES - in ? run : LOAM_CHUNK_PAGES - in;
	return walk(pa, chunk + 1, run, pages, &first);
}

/* From the first free page on; on the way, `search` learns where that is. */
static uint64_t find(struct loam_pagealloc *pa, uint64_t pages)
{
	uint64_t first, at = walk(pa, pa->search >> LOAM_CHUNK_SHIFT, 0, pages, &first);

	if (first == LOAM_PAGE_NONE)
		pa->search = pa->end;
	else if (first > pa->search)
		pa->search = first;
	return at;
}

/* `at` or behind it, aligned as an address. */
static uint64_t align_page(const struct loam_pagealloc *pa, uint64_t at, uint64_t align)
{
	return loam_align_up(at + pa->origin, align) - pa->origin;
}

static uint64_t find_aligned(struct loam_pagealloc *pa, uint64_t pages, uint64_t align)
{
	uint64_t at = find(pa, pages);

	for (unsigned tries = 0; at != LOAM_PAGE_NONE && tries < ALIGN_TRY; tries++) {
		uint64_t aligned = align_page(pa, at, align);

		if (loam_pagealloc_is_free(pa, aligned, pages))
			return aligned;
		/* no run in front of the next used page begins aligned and fits */
		at = walk_from(pa, next_used(pa, at, pa->end - at) + 1, pages);
	}
	if (at != LOAM_PAGE_NONE)
		at = find(pa, pages + align - 1);
	return at != LOAM_PAGE_NONE ? align_page(pa, at, align) : at;
}

/* ---- taking and freeing ---- */

uint64_t loam_pagealloc_alloc(struct loam_pagealloc *pa, uint64_t pages, uint64_t align,
			      uint64_t *scavenged)
{
	uint64_t at;

	LOAM_ASSERT(pages > 0 && align <= LOAM_PALLOC_ALIGN_MAX &&
		    (align == 0 || loam_is_pow2(align)));
	at = align <= 1 ? find(pa, pages) : find_aligned(pa, pages, align);
	if (at == LOAM_PAGE_NONE)
		return at;
	*scavenged = take(pa, at, pages);
	if (at == pa->search)
		pa->search = at + pages;
	return at;
}

bool loam_pagealloc_alloc_at(struct loam_pagealloc *pa, uint64_t at, uint64_t pages,
			     uint64_t *scavenged)
{
	if (!loam_pagealloc_is_free(pa, at, pages))
		return false;
	*scavenged = take(pa, at, pages);
	return true;
}

void loam_pagealloc_settle(struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	loam_pagealloc_set_scavenged(pa, at, pages, false);
}

void loam_pagealloc_free(struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	uint64_t end = at + pages;

	LOAM_ASSERT(pages > 0 && end <= pa->end);
	for (uint64_t i = at; i < end;) {
		struct piece p = piece(i, end);

		LOAM_ASSERT(loam_chunk_count(loam_chunk_bits(pa, p.chunk)->used, p.from, p.count) ==
			    p.count);
		loam_scavindex_note(pa, p.chunk, p.count, false);
		i += p.count;
	}
	loam_pagealloc_set_used(pa, at, pages, false);
	pa->search = at < pa->search ? at : pa->search;
}

/* ---- growth ---- */

void loam_pagealloc_grow(struct loam_pagealloc *pa, uint64_t end)
{
	uint64_t old = pa->end;

	LOAM_ASSERT(end > old && end <= pa->limit);
	for (uint64_t c = loam_chunk_count_of(old); c < loam_chunk_count_of(end); c++)
		loam_chunk_fill(loam_chunk_bits(pa, c)->used, 0, LOAM_CHUNK_PAGES, true);
	loam_pagealloc_set_scavenged(pa, old, end - old, true);
	pa->end = end;
	loam_pagealloc_set_used(pa, old, end - old, false);
	pa->search = old < pa->search ? old : pa->search;
}

uint64_t loam_pagealloc_need(const struct loam_pagealloc *pa, uint64_t pages, uint64_t align)
{
	uint64_t at = pa->end;

	/* free pages at the end count towards it */
	while (at > 0) {
		uint64_t c = (at - 1) >> LOAM_CHUNK_SHIFT, start = c << LOAM_CHUNK_SHIFT;
		const uint64_t *used = loam_chunk_bits(pa, c)->used;
		unsigned in = (unsigned)(at - start);

		while (in > 0 && (used[(in - 1) / 64] >> ((in - 1) % 64) & 1) == 0)
			in--;
		at = start + in;
		if (in > 0)
			break;
	}
	return (align > 1 ? align_page(pa, at, align) : at) + pages;
}

/* ---- page caches ---- */

struct loam_pagecache loam_pagealloc_cache_take(struct loam_pagealloc *pa, uint64_t pages)
{
	uint64_t at = find(pa, pages), chunk;
	struct loam_pagecache pc = {0};
	struct loam_chunk_bits *bits;
	unsigned word;

	if (at == LOAM_PAGE_NONE)
		return pc;
	pc.base_page = loam_align_down(at + pages - 1, LOAM_CACHE_PAGES);
	chunk = pc.base_page >> LOAM_CHUNK_SHIFT;
	bits = loam_chunk_bits(pa, chunk);
	word = (unsigned)(pc.base_page % LOAM_CHUNK_PAGES / 64);
	pc.free = ~bits->used[word];
	pc.scavenged = bits->scavenged[word] & pc.free;
	bits->used[word] = ~(uint64_t)0;
	bits->scavenged[word] &= ~pc.free;
	loam_scavindex_note(pa, chunk, loam_popcount(pc.free), true);
	update(pa, pc.base_page, 1);
	if (pa->search >= pc.base_page && pa->search < pc.base_page + LOAM_CACHE_PAGES)
		pa->search = pc.base_page + LOAM_CACHE_PAGES;
	return pc;
}

void loam_pagealloc_cache_flush(struct loam_pagealloc *pa, struct loam_pagecache *pc)
{
	uint64_t chunk = pc->base_page >> LOAM_CHUNK_SHIFT;
	unsigned word = (unsigned)(pc->base_page % LOAM_CHUNK_PAGES / 64);

	if (pc->free != 0) {
		struct loam_chunk_bits *bits = loam_chunk_bits(pa, chunk);

		LOAM_ASSERT((bits->used[word] & pc->free) == pc->free);
		bits->used[word] &= ~pc->free;
		bits->scavenged[word] |= pc->scavenged;
		loam_scavindex_note(pa, chunk, loam_popcount(pc->free), false);
		update(pa, pc->base_page, 1);
		pa->search = pc->base_page < pa->search ? pc->base_page : pa->search;
	}
	*pc = (struct loam_pagecache){0};
}
