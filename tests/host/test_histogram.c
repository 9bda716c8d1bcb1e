/* SPDX-License-Identifier: MIT */
/*
 * Histograms of durations against a list of bounds made as Go makes its own (runtime/histogram.go,
 * timeHistogramMetricsBuckets) and a search along it: [HIST-1], [HIST-2].
 */
#include "gc/histogram.h"
#include "tests/host/support.h"

enum { BUCKETS = LOAM_HISTOGRAM_BUCKETS, MIN_BITS = 9, MAX_BITS = 48, SUB_BITS = 2 };

static uint64_t bound[BUCKETS + 1]; /* the last: where `over` begins */

static int make_bounds(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned j = 0; j < 1u << SUB_BITS; j++)
		bound[n++] = (uint64_t)j << (MIN_BITS - 1 - SUB_BITS);
	for (unsigned i = MIN_BITS; i < MAX_BITS; i++) {
		for (unsigned j = 0; j < 1u << SUB_BITS; j++)
			bound[n++] = (uint64_t)1 << (i - 1) | (uint64_t)j << (i - 1 - SUB_BITS);
	}
	bound[n++] = (uint64_t)1 << (MAX_BITS - 1);
	assert_int_equal(n, BUCKETS + 1);
	return 0;
}

/* Which bucket; -1: under; BUCKETS: over. */
static int where(int64_t ns)
{
	int i = 0;

	if (ns < 0)
		return -1;
	while (i < BUCKETS && (uint64_t)ns >= bound[i + 1])
		i++;
	return i;
}

static uint64_t *counter(struct loam_histogram *h, int at)
{
	return at < 0 ? &h->under : at == BUCKETS ? &h->over : &h->count[at];
}

static void counts_at(int64_t ns)
{
	struct loam_histogram h = {0}, want = {0};

	loam_histogram_add(&h, ns);
	*counter(&want, where(ns)) = 1;
	assert_memory_equal(&h, &want, sizeof(h));
	assert_int_equal(loam_histogram_total(&h), 1);
}

static void bounds_are_go_s(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= BUCKETS; i++)
		assert_int_equal(loam_histogram_bound(i), bound[i]);
	assert_true(loam_histogram_bound(BUCKETS + 1) == UINT64_MAX);
	assert_true(loam_histogram_bound(UINT32_MAX) == UINT64_MAX);
	for (unsigned i = 5; i <= BUCKETS; i++) /* [HIST-2] */
		assert_true(bound[i] - bound[i - 1] <= bound[i - 1] / 4);
}

static void every_boundary_is_on_its_side(void **state)
{
	static const int64_t edge[] = {INT64_MIN, INT64_MIN + 1, -1,	   0,
				       1,	  INT64_MAX - 1, INT64_MAX};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(edge); i++)
		counts_at(edge[i]);
	for (unsigned i = 0; i <= BUCKETS; i++) {
		for (int64_t d = -2; d <= 2; d++)
			counts_at((int64_t)bound[i] + d);
	}
	for (unsigned bit = 0; bit < 63; bit++) {
		for (int64_t d = -1; d <= 1; d++)
			counts_at(((int64_t)1 << bit) + d);
	}
}

/* A duration of any length in bits; now and then one that is none. */
static int64_t any(struct rng *rng)
{
	uint64_t ns = rng_next(rng) >> rng_below(rng, 64);

	return (int64_t)(rng_below(rng, 50) == 0 ? ns : ns >> 1);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of the sorted durations, the end of the bucket of the one that so many of a thousand are up to. */
static uint64_t quantile(const int64_t *sorted, uint64_t n, unsigned per_mille)
{
	uint64_t rank = (n * per_mille + 999) / 1000;
	int at = where(sorted[rank > 0 ? rank - 1 : 0]);

	return at < 0 ? 0 : at == BUCKETS ? UINT64_MAX : bound[at + 1];
}

static void quantiles(struct rng *rng, uint64_t n)
{
	struct loam_histogram h = {0}, copy;
	int64_t *all = malloc(n * sizeof(*all));

	for (uint64_t i = 0; i < n; i++) {
		all[i] = any(rng);
		loam_histogram_add(&h, all[i]);
	}
	qsort(all, n, sizeof(*all), compare);
	memset(&copy, 0x5a, sizeof(copy));
	loam_histogram_copy(&copy, &h);
	assert_memory_equal(&copy, &h, sizeof(h));
	assert_int_equal(loam_histogram_total(&h), n);
	for (unsigned p = 0; p <= 1000; p++)
		assert_true(loam_histogram_quantile(&h, p) == quantile(all, n, p));
	assert_true(loam_histogram_quantile(&h, 5000) == quantile(all, n, 1000));
	free(all);
}

static void quantiles_are_those_of_the_sorted(void **state)
{
	struct rng rng = {test_seed()};
	struct loam_histogram none = {0};

	(void)state;
	assert_int_equal(loam_histogram_quantile(&none, 500), 0);
	for (uint64_t n = 1; n < 40; n++)
		quantiles(&rng, n);
	quantiles(&rng, 1000);
	quantiles(&rng, 12345);
}

/* More than any thousandth fits. */
static void huge_counts_do_not_wrap(void **state)
{
	struct loam_histogram h = {0};

	(void)state;
	h.count[3] = (uint64_t)1 << 62;
	h.count[7] = (uint64_t)1 << 62;
	assert_int_equal(loam_histogram_quantile(&h, 500), bound[4]);
	assert_int_equal(loam_histogram_quantile(&h, 501), bound[8]);
	assert_int_equal(loam_histogram_quantile(&h, 1000), bound[8]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_are_go_s),
		cmocka_unit_test(every_boundary_is_on_its_side),
		cmocka_unit_test(quantiles_are_those_of_the_sorted),
		cmocka_unit_test(huge_counts_do_not_wrap),
	};
	return cmocka_run_group_tests_name("histogram", tests, make_bounds, NULL);
}
