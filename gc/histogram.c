/* SPDX-License-Identifier: MIT */
/*
 * Histograms of durations, as Go's runtime has them: log-linear. A row is the durations of one length in bits, four
 * buckets a row; a bucket is never wider than a quarter of where it begins. The first row is all below 256 ns, by 64 ns.
 *
 *   row 0         0     64    128    192
 *   row 1       256    320    384    448
 *   row 2       512    640    768    896
 *   ...
 *   row 39     2^46   ...                   and from 2^47 on, 39 hours: over
 *
 *   [HIST-1] Each duration is counted once: in the one bucket i with bound(i) <= ns < bound(i + 1), or as under or over.
 *   [HIST-2] A quantile is the end of the bucket that holds it: never less than the duration itself, and from 256 ns on
 *            never more than five quarters of it.
 *
 * Concurrency: counts are relaxed atomics, each a number by itself. Who reads while others add may see one duration
 * and not an earlier one.
 *
 * References: Go's runtime/histogram.go. Departure: bounds are whole nanoseconds instead of seconds in floating point.
 */
#include "gc/histogram.h"

#define ROW_BUCKETS  4u
#define ROW_0_BITS   8u /* lengths of durations in row 0, at most */
#define BUCKET_SHIFT 6u /* in rows 0 and 1: 64 ns */
#define ROWS	     (LOAM_HISTOGRAM_BUCKETS / ROW_BUCKETS)
_Static_assert(LOAM_HISTOGRAM_BUCKETS % ROW_BUCKETS == 0, "whole rows");

uint64_t loam_histogram_bound(unsigned bucket)
{
	unsigned row = bucket / ROW_BUCKETS;

	if (bucket > LOAM_HISTOGRAM_BUCKETS)
		return UINT64_MAX;
	if (row == 0)
		return (uint64_t)bucket << BUCKET_SHIFT;
	return (uint64_t)(ROW_BUCKETS + bucket % ROW_BUCKETS) << (row - 1 + BUCKET_SHIFT);
}

static uint64_t *counter_of(struct loam_histogram *h, int64_t ns)
{
	unsigned bits, row, in_row;

	if (ns < 0)
		return &h->under;
	bits = 64 - (unsigned)__builtin_clzll((uint64_t)ns | 1);
	row = bits > ROW_0_BITS ? bits - ROW_0_BITS : 0;
	if (row >= ROWS)
		return &h->over;
	in_row = (unsigned)(ns >> ((row > 0 ? row - 1 : 0) + BUCKET_SHIFT)) % ROW_BUCKETS;
	return &h->count[row * ROW_BUCKETS + in_row];
}

void loam_histogram_add(struct loam_histogram *h, int64_t ns)
{
	__atomic_add_fetch(counter_of(h, ns), 1, __ATOMIC_RELAXED);
}

static uint64_t load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void loam_histogram_copy(struct loam_histogram *to, const struct loam_histogram *from)
{
	to->under = load(&from->under);
	to->over = load(&from->over);
	for (unsigned i = 0; i < LOAM_HISTOGRAM_BUCKETS; i++)
		to->count[i] = load(&from->count[i]);
}

uint64_t loam_histogram_total(const struct loam_histogram *h)
{
	uint64_t total = load(&h->under) + load(&h->over);

	for (unsigned i = 0; i < LOAM_HISTOGRAM_BUCKETS; i++)
		total += load(&h->count[i]);
	return total;
}

uint64_t loam_histogram_quantile(const struct loam_histogram *h, unsigned per_mille)
{
	uint64_t total = loam_histogram_total(h), part, rank, seen = load(&h->under);

	if (total == 0)
		return 0;
	part = per_mille < 1000 ? per_mille : 1000;
	/* of so many the longest; nothing wraps, whatever the total */
	rank = total / 1000 * part + (total % 1000 * part + 999) / 1000;
	rank = rank > 0 ? rank : 1;
	if (seen >= rank)
		return 0;
	for (unsigned i = 0; i < LOAM_HISTOGRAM_BUCKETS; i++) {
		seen += load(&h->count[i]);
		if (seen >= rank)
			return loam_histogram_bound(i + 1);
	}
	return UINT64_MAX;
}
