/* SPDX-License-Identifier: MIT */
/* The page allocator's invariants, recomputed from its bits. They are told in pagealloc.c. */
#include "gc/pagealloc.h"

#include "arch/check.h"

static void check_chunk(const struct loam_pagealloc *pa, uint64_t c, uint64_t *used,
			uint64_t *scavenged)
{
	const struct loam_chunk_bits *bits = loam_chunk_bits(pa, c);
	const struct loam_chunk_use *use = loam_chunk_use(pa, c);
	uint64_t rest = pa->end - (c << LOAM_CHUNK_SHIFT);
	unsigned in = rest < LOAM_CHUNK_PAGES ? (unsigned)rest : LOAM_CHUNK_PAGES;
	unsigned in_use = loam_chunk_count(bits->used, 0, in);

	LOAM_CHECK(pa->level[pa->levels - 1][c] == loam_chunk_summary(bits->used),
		   "[PALLOC-1] a leaf is not the summary of its bits");
	if (in < LOAM_CHUNK_PAGES)
		LOAM_CHECK(loam_chunk_count(bits->used, in, LOAM_CHUNK_PAGES - in) ==
					   LOAM_CHUNK_PAGES - in &&
				   loam_chunk_count(bits->scavenged, in, LOAM_CHUNK_PAGES - in) ==
					   0,
			   "[PALLOC-3] a page behind the heap's end is free or scavenged");
	LOAM_CHECK(use->in_use == in_use, "[PALLOC-5] a chunk's count of used pages is wrong");
	for (unsigned w = 0; w < LOAM_CHUNK_WORDS; w++) {
		if (~(bits->used[w] | bits->scavenged[w]) != 0)
			LOAM_CHECK(use->ready && c < pa->high[1],
				   "[PALLOC-6] a free Ready page would not be found");
	}
	*used += in_use;
	*scavenged += loam_chunk_count(bits->scavenged, 0, in);
}

void loam_pagealloc_verify(const struct loam_pagealloc *pa, uint64_t *used, uint64_t *scavenged)
{
	uint64_t chunks = loam_chunk_count_of(pa->end);

	*used = *scavenged = 0;
	for (uint64_t c = 0; c < chunks; c++)
		check_chunk(pa, c, used, scavenged);
	for (unsigned l = 0; l + 1 < pa->levels; l++) {
		unsigned below = loam_palloc_shift(pa, l + 1);
		uint64_t entries = (chunks + ((uint64_t)1 << (3 * (pa->levels - 1 - l))) - 1) >>
				   (3 * (pa->levels - 1 - l));

		for (uint64_t i = 0; i < entries; i++)
			LOAM_CHECK(pa->level[l][i] ==
					   loam_sum_of_eight(&pa->level[l + 1][i * 8], below),
				   "[PALLOC-2] an entry is not the summary of the eight below");
	}
	for (uint64_t i = 0; i < pa->search && i < pa->end; i++)
		LOAM_CHECK((loam_chunk_bits(pa, i >> LOAM_CHUNK_SHIFT)
					    ->used[i % LOAM_CHUNK_PAGES / 64] >>
				    (i % 64) &
			    1) != 0,
			   "[PALLOC-4] a free page lies below `search`");
}
