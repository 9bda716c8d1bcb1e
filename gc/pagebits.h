/* SPDX-License-Identifier: MIT */
/* The 512 bits of a chunk, and the summary of their runs. Theory: pagebits.c. */
#ifndef LOAM_GC_PAGEBITS_H
#define LOAM_GC_PAGEBITS_H

#include <loam/types.h>

#define LOAM_CHUNK_SHIFT 9u
#define LOAM_CHUNK_PAGES (1u << LOAM_CHUNK_SHIFT) /* 4 MiB of heap pages */
#define LOAM_CHUNK_WORDS (LOAM_CHUNK_PAGES / 64)
#define LOAM_CHUNK_BYTES (LOAM_CHUNK_PAGES / 8)

/* ---- words; Context of all in this file: any ---- */

/* `count` ones (1 to 64) from bit `from` on. */
static inline uint64_t loam_word_mask(unsigned from, unsigned count)
{
	return (~(uint64_t)0 >> (64 - count)) << from;
}

/* How many ones. By arithmetic: the compiler would call a library. */
static inline unsigned loam_popcount(uint64_t w)
{
	w -= w >> 1 & UINT64_C(0x5555555555555555);
	w = (w & UINT64_C(0x3333333333333333)) + (w >> 2 & UINT64_C(0x3333333333333333));
	w = (w + (w >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(w * UINT64_C(0x0101010101010101) >> 56);
}

/* Where runs of at least `n` ones (1 to 64) begin, within the word. */
static inline uint64_t loam_word_runs(uint64_t w, unsigned n)
{
	unsigned have = 1;

	while (have < n && w != 0) {
		unsigned step = have < n - have ? have : n - have;

		w &= w >> step;
		have += step;
	}
	return w;
}

/* ---- summaries ---- */

/*
 * Free runs of a stretch of pages: how many are free at its start, in its longest run, at its
 * end. 21 bits each; a whole stretch of 2^21, for which those are too few, is bit 63 alone.
 */
#define LOAM_SUM_SHIFT 21u
#define LOAM_SUM_MAX   ((uint64_t)1 << LOAM_SUM_SHIFT)
#define LOAM_SUM_WHOLE ((uint64_t)1 << 63)

static inline uint64_t loam_sum(uint64_t start, uint64_t max, uint64_t end)
{
	return max == LOAM_SUM_MAX ? LOAM_SUM_WHOLE
				   : start | max << LOAM_SUM_SHIFT | end << (2 * LOAM_SUM_SHIFT);
}

static inline uint64_t loam_sum_part(uint64_t sum, unsigned part)
{
	return sum == LOAM_SUM_WHOLE ? LOAM_SUM_MAX
				     : sum >> (part * LOAM_SUM_SHIFT) & (LOAM_SUM_MAX - 1);
}

static inline uint64_t loam_sum_start(uint64_t sum)
{
	return loam_sum_part(sum, 0);
}

static inline uint64_t loam_sum_max(uint64_t sum)
{
	return loam_sum_part(sum, 1);
}

static inline uint64_t loam_sum_end(uint64_t sum)
{
	return loam_sum_part(sum, 2);
}

/* ---- chunks: `bits` are LOAM_CHUNK_WORDS words; a one is no free page ---- */

/* Set or clear [from, from + count), which lies in the chunk. */
void loam_chunk_fill(uint64_t *bits, unsigned from, unsigned count, bool value);

/* Ones in [from, from + count). */
unsigned loam_chunk_count(const uint64_t *bits, unsigned from, unsigned count);

/* First page of the first run of `pages` (1 to LOAM_CHUNK_PAGES) zeros that begins at `from` or
 * behind it; LOAM_CHUNK_PAGES if there is none. */
unsigned loam_chunk_find(const uint64_t *bits, unsigned from, unsigned pages);

/* The first one in [from, from + count), or from + count. */
unsigned loam_chunk_next_used(const uint64_t *bits, unsigned from, unsigned count);

uint64_t loam_chunk_summary(const uint64_t *bits);

#endif
