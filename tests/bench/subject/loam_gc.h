/* SPDX-License-Identifier: MIT */
/*
 * What tests/bench/gc.c wants of loam's collector, also of a loam that marks with the world stopped and
 * has no write barrier: then a store is a store. The Makefile finds out what include/loam declares:
 *
 *   LOAM_BENCH_BARRIER    struct loam_config has `barrier`
 *   LOAM_BENCH_STORE      there is loam_store
 *   LOAM_BENCH_PAUSE_MAX  struct loam_stats has `pause_max_ns`
 */
#ifndef TESTS_BENCH_SUBJECT_LOAM_GC_H
#define TESTS_BENCH_SUBJECT_LOAM_GC_H

#include <loam/loam.h>

#if LOAM_BENCH_BARRIER
static inline void loam_bench_barrier(struct loam_config *config)
{
	config->barrier = LOAM_BARRIER_SOFTWARE;
}
#else
static inline void loam_bench_barrier(struct loam_config *config)
{
}
#endif

#if !LOAM_BENCH_STORE
static inline void loam_store(void *slot, void *value)
{
	*(void **)slot = value;
}
#endif

#if LOAM_BENCH_PAUSE_MAX
static inline uint64_t loam_bench_pause_max_ns(void)
{
	struct loam_stats stats;

	loam_stats_read(&stats);
	return stats.pause_max_ns;
}
#else
static inline uint64_t loam_bench_pause_max_ns(void)
{
	return 0;
}
#endif

#endif
