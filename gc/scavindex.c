/* SPDX-License-Identifier: MIT */
/*
 * What to give back next: an index over the chunks, highest first.
 *
 * Allocation is address-ordered, so the high end is where free pages stay free. A chunk that is
 * densely used is likely to be filled up again soon: giving its holes back would cut huge leaves and
 * cost a fault each, for little. So for each chunk the index knows how many pages are in use, and how
 * many were when the generation (one a collection) began; a chunk with DENSE or more in either is
 * passed over, unless memory must be had.
 *
 * In the chunk the highest free Ready run is taken from its top. If what is taken would reach down
 * into a huge page that is free and Ready as a whole, all of that goes: half a huge page is worth less
 * to both sides.
 *
 * The search goes down from high[], and remembers where it was; a free raises it again. In a new
 * generation other chunks may be dense, so the background's search begins at the top then.
 *
 * References: Go's runtime/mgcscavenge.go. One departure: pages freed in this generation
 * are candidates at once; the retention goals keep what is likely to be used again.
 */
#include "gc/pagealloc.h"

#include "arch/check.h"

#define DENSE 496u /* of 512 pages: 31/32 */

static uint32_t now(const struct loam_pagealloc *pa)
{
	return pa->generation & INT32_MAX;
}

void loam_scavindex_note(struct loam_pagealloc *pa, uint64_t chunk, unsigned pages, bool taken)
{
	struct loam_chunk_use *use = loam_chunk_use(pa, chunk);

	if (use->generation != now(pa)) {
		use->last = use->in_use;
		use->generation = now(pa) & INT32_MAX;
	}
	if (taken) {
		use->in_use = (uint16_t)(use->in_use + pages);
		return;
	}
	use->in_use = (uint16_t)(use->in_use - pages);
	use->ready = 1;
	for (unsigned i = 0; i < 2; i++)
		pa->high[i] = chunk >= pa->high[i] ? chunk + 1 : pa->high[i];
}

void loam_pagealloc_tick(struct loam_pagealloc *pa)
{
	pa->generation++;
	pa->high[0] = loam_chunk_count_of(pa->end);
}

static bool eligible(const struct loam_pagealloc *pa, const struct loam_chunk_use *use, bool force)
{
	if (!use->ready || force)
		return use->ready;
	return use->in_use < DENSE && (use->generation != now(pa) || use->last < DENSE);
}

/* Free and Ready pages of one word. */
static uint64_t candidates(const struct loam_chunk_bits *bits, unsigned word)
{
	return ~(bits->used[word] | bits->scavenged[word]);
}

/* The chunk's highest run of candidates: its end, and its length; 0: none. */
static unsigned highest_run(const struct loam_chunk_bits *bits, unsigned *end)
{
	unsigned run = 0;

	for (unsigned i = LOAM_CHUNK_WORDS; i-- > 0;) {
		uint64_t w = candidates(bits, i);
		unsigned ones;

		if (run == 0 && w == 0)
			continue;
		if (run == 0) {
			unsigned skip = (unsigned)__builtin_clzll(w);

			*end = (i + 1) * 64 - skip;
			w = skip == 0 ? w : w << skip | loam_word_mask(0, skip);
			ones = w == ~(uint64_t)0 ? 64 : (unsigned)__builtin_clzll(~w);
			run = ones - (ones == 64 ? skip : 0);
			if (ones == 64)
				continue;
			return run;
		}
		ones = w == ~(uint64_t)0 ? 64 : (unsigned)__builtin_clzll(~w);
		run += ones;
		if (ones < 64)
			return run;
	}
	return run;
}

/* What to take of the chunk: *from and a count; 0: nothing there. */
static unsigned choose(const struct loam_chunk_bits *bits, uint64_t most, unsigned *from)
{
	unsigned end = 0, run = highest_run(bits, &end), take = run < most ? run : (unsigned)most;
	unsigned below = (unsigned)loam_align_down(end - take, LOAM_HUGE_HEAP_PAGES);

	*from = end - take;
	/* the huge page around the start, if it is all ours */
	if (take > 0 && below >= end - run && below + LOAM_HUGE_HEAP_PAGES <= end)
		*from = below;
	return end - *from;
}

bool loam_pagealloc_candidate(struct loam_pagealloc *pa, uint64_t most, bool force, uint64_t *at,
			      uint64_t *pages)
{
	uint64_t *high = &pa->high[force];

	if (most == 0)
		return false;
	for (; *high > 0; --*high) {
		uint64_t chunk = *high - 1;
		struct loam_chunk_use *use = loam_chunk_use(pa, chunk);
		unsigned from, count;

		if (!eligible(pa, use, force))
			continue;
		count = choose(loam_chunk_bits(pa, chunk), most, &from);
		if (count == 0) {
			use->ready = 0;
			continue;
		}
		*at = (chunk << LOAM_CHUNK_SHIFT) + from;
		*pages = count;
		loam_pagealloc_set_used(pa, *at, count, true);
		return true;
	}
	return false;
}

void loam_pagealloc_released(struct loam_pagealloc *pa, uint64_t at, uint64_t pages)
{
	loam_pagealloc_set_scavenged(pa, at, pages, true);
	loam_pagealloc_set_used(pa, at, pages, false);
	pa->search = at < pa->search ? at : pa->search;
}
