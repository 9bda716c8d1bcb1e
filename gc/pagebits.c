/* SPDX-License-Identifier: MIT */
/*
 * Runs in the 512 bits of a chunk: eight words, one cache line.
 *
 * A run may cross words: it is carried from word to word as the number of zeros up to here. Runs
 * inside a word are found without a loop over bits: w & w >> 1 leaves the places where two ones
 * begin, and so on, doubling (Warren, "Hacker's Delight", on runs of ones).
 */
#include "gc/pagebits.h"

/* Zeros from the start of the word, and up to its end; 64 for an empty one. */
static unsigned zeros_low(uint64_t w)
{
	return w == 0 ? 64 : (unsigned)__builtin_ctzll(w);
}

static unsigned zeros_high(uint64_t w)
{
	return w == 0 ? 64 : (unsigned)__builtin_clzll(w);
}

void loam_chunk_fill(uint64_t *bits, unsigned from, unsigned count, bool value)
{
	while (count > 0) {
		unsigned in = from % 64, n = count < 64 - in ? count : 64 - in;
		uint64_t mask = loam_word_mask(in, n), *w = &bits[from / 64];

		*w = value ? *w | mask : *w & ~mask;
		from += n;
		count -= n;
	}
}

unsigned loam_chunk_count(const uint64_t *bits, unsigned from, unsigned count)
{
	unsigned sum = 0;

	while (count > 0) {
		unsigned in = from % 64, n = count < 64 - in ? count : 64 - in;

		sum += loam_popcount(bits[from / 64] & loam_word_mask(in, n));
		from += n;
		count -= n;
	}
	return sum;
}

unsigned loam_chunk_next_used(const uint64_t *bits, unsigned from, unsigned count)
{
	unsigned end = from + count;

	while (from < end) {
		uint64_t w = bits[from / 64] >> (from % 64);

		if (w != 0) {
			from += (unsigned)__builtin_ctzll(w);
			break;
		}
		from = (from / 64 + 1) * 64;
	}
	return from < end ? from : end;
}

unsigned loam_chunk_find(const uint64_t *bits, unsigned from, unsigned pages)
{
	unsigned run = 0;

	for (unsigned i = from / 64; i < LOAM_CHUNK_WORDS; i++) {
		uint64_t w = bits[i], inside;

		if (i == from / 64 && from % 64 != 0)
			w |= loam_word_mask(0, from % 64); /* as if used: not asked for */
		if (run + zeros_low(w) >= pages)
			return i * 64 - run;
		if (w == 0) {
			run += 64;
			continue;
		}
		inside = pages <= 64 ? loam_word_runs(~w, pages) : 0;
		if (inside != 0)
			return i * 64 + (unsigned)__builtin_ctzll(inside);
		run = zeros_high(w);
	}
	return LOAM_CHUNK_PAGES;
}

uint64_t loam_chunk_summary(const uint64_t *bits)
{
	unsigned start = LOAM_CHUNK_PAGES, max = 0, run = 0;

	for (unsigned i = 0; i < LOAM_CHUNK_WORDS; i++) {
		uint64_t w = bits[i], longer;

		if (w == 0) {
			run += 64;
			continue;
		}
		run += zeros_low(w);
		if (start == LOAM_CHUNK_PAGES)
			start = run;
		max = run > max ? run : max;
		/* runs inside the word, but only if they are longer than what we have */
		longer = max < 62 ? loam_word_runs(~w, max + 1) : 0;
		for (unsigned n = max + 1; longer != 0; n++) {
			max = n;
			longer &= longer >> 1;
		}
		run = zeros_high(w);
	}
	max = run > max ? run : max;
	return loam_sum(start, max, run);
}
