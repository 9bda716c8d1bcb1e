/* SPDX-License-Identifier: MIT */
/*
 * Ratios without floating point: Q32, 32 bits before the point and 32 behind it, in a uint64_t.
 *
 * Nothing here wraps: what does not fit becomes LOAM_RATIO_MAX or UINT64_MAX, for every argument. No
 * division is wider than 64 bits by 64, no product wider than 64: no call into libgcc.
 *
 *   [RATIO-1] loam_ratio and loam_ratio_times are never above the true value, the _up functions never
 *             below it (as far as it fits).
 *   [RATIO-2] A product is off by less than 1, a quotient by less than 6 units of 2^-32 (_up: 11).
 *
 * Context: any, of all functions.
 */
#ifndef LOAM_GC_RATIO_H
#define LOAM_GC_RATIO_H

#include <loam/types.h>

#define LOAM_RATIO_ONE ((uint64_t)1 << 32)
#define LOAM_RATIO_MAX UINT64_MAX

/* How far `d` must be shifted down to have at most `bits` bits. */
static inline unsigned loam_ratio_shift(uint64_t d, unsigned bits)
{
	unsigned have = 64 - (unsigned)__builtin_clzll(d | 1);

	return have > bits ? have - bits : 0;
}

/* n / d. Nothing by nothing is nothing; something by nothing LOAM_RATIO_MAX. */
static inline uint64_t loam_ratio(uint64_t n, uint64_t d)
{
	uint64_t whole, rest;
	unsigned shift;

	if (d == 0)
		return n == 0 ? 0 : LOAM_RATIO_MAX;
	whole = n / d;
	rest = n % d;
	if (whole >= LOAM_RATIO_ONE)
		return LOAM_RATIO_MAX;
	/* rest < d: both get 32 bits at most, and the quotient is below 1 */
	shift = loam_ratio_shift(d, 32);
	d = (d >> shift) + (shift != 0);
	return (whole << 32) + ((rest >> shift) << 32) / d;
}

/* n / d, and a little more if it has no end; never 0 but for n = 0. */
static inline uint64_t loam_ratio_up(uint64_t n, uint64_t d)
{
	uint64_t whole, rest;
	unsigned shift;

	if (n == 0 || d == 0)
		return n == 0 ? 0 : LOAM_RATIO_MAX;
	whole = n / d;
	rest = n % d;
	if (whole >= LOAM_RATIO_ONE - 1) /* the quotient may come to a little more than 1 */
		return LOAM_RATIO_MAX;
	if (rest == 0)
		return whole << 32;
	/* 31 bits: one is added to the rest before it is shifted up by 32 */
	shift = loam_ratio_shift(d, 31);
	rest = (rest >> shift) + (shift != 0);
	return (whole << 32) + (rest << 32) / (d >> shift) + 1;
}

/* ratio * value, shifted down by 32; *odd: something was shifted out. */
static inline uint64_t loam_ratio_product(uint64_t ratio, uint64_t value, bool *odd)
{
	uint64_t rh = ratio >> 32, rl = ratio & UINT32_MAX;
	uint64_t vh = value >> 32, vl = value & UINT32_MAX;
	uint64_t low = rl * vl, sum = rh * vh;
	bool over = sum >> 32 != 0;

	*odd = (low & UINT32_MAX) != 0;
	sum <<= 32;
	over |= __builtin_add_overflow(sum, rh * vl, &sum);
	over |= __builtin_add_overflow(sum, rl * vh, &sum);
	over |= __builtin_add_overflow(sum, low >> 32, &sum);
	return over ? UINT64_MAX : sum;
}

/* `value` times the ratio; a ratio for `value` gives the product of two ratios. */
static inline uint64_t loam_ratio_times(uint64_t ratio, uint64_t value)
{
	bool odd;

	return loam_ratio_product(ratio, value, &odd);
}

static inline uint64_t loam_ratio_times_up(uint64_t ratio, uint64_t value)
{
	bool odd;
	uint64_t product = loam_ratio_product(ratio, value, &odd);

	return product + (odd && product != UINT64_MAX);
}

#endif
