/* SPDX-License-Identifier: MIT */
/*
 * A subject of the collector's benchmark, tests/bench/gc.c. To what subject/loam.h says of its
 * allocator, these headers add:
 *
 *   heap_gc_begin     in place of heap_begin: so many CPUs, and GOGC's percentage
 *   heap_gc_end       last; the time after it does not count
 *   heap_collecting   false: not until it is true again, however much is allocated
 *   heap_store        any store of a pointer into an object or a root
 *   heap_stop_ns      the longest time that the world stood still
 *
 * loam, with the software barrier. Where there are two CPUs a helper thread donates time, as a kernel's
 * idle loop would; on one the allocating threads do all the work. The stop is measured around the
 * host's calls (the linker wraps them), and is what loam itself tells if that is longer.
 */
#ifndef HEAP_NAME
#define HEAP_NAME	 "loam"
#define LOAM_NO_HUGEPAGE false
#endif
#define HEAP_COLLECTED 1
#include "tests/bench/subject/loam.h"
#include "tests/bench/subject/loam_gc.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define HELPER_BUDGET_NS 100000u
#define HELPER_SLEEP_US	 200u

static struct {
	struct heap_thread heap;
	pthread_t thread;
	bool wanted; /* written by the main thread, read by the helper; atomic, relaxed: a flag */
} loam_helper;
static int loam_percent;

/* One stop at a time: written by the thread that stops the others. */
static uint64_t loam_stop_begun, loam_stop_longest;

static inline uint64_t loam_bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void __real_loam_host_world_stop(void);
void __real_loam_host_world_start(void);

void __wrap_loam_host_world_stop(void)
{
	loam_stop_begun = loam_bench_now();
	__real_loam_host_world_stop();
}

void __wrap_loam_host_world_start(void)
{
	uint64_t begun = loam_stop_begun, stopped;

	__real_loam_host_world_start();
	stopped = loam_bench_now() - begun;
	if (stopped > loam_stop_longest)
		loam_stop_longest = stopped;
}

static inline uint64_t heap_stop_ns(void)
{
	uint64_t told = loam_bench_pause_max_ns();

	return told > loam_stop_longest ? told : loam_stop_longest;
}

static void *loam_help(void *arg)
{
	heap_thread_begin(&loam_helper.heap, __builtin_frame_address(0));
	while (__atomic_load_n(&loam_helper.wanted, __ATOMIC_RELAXED)) {
		if (!loam_gc_work(HELPER_BUDGET_NS))
			usleep(HELPER_SLEEP_US);
	}
	heap_thread_end(&loam_helper.heap);
	return NULL;
}

static inline void heap_gc_begin(struct heap_thread *t, void *base, unsigned cpus, unsigned percent)
{
	struct loam_config config = {.gc_percent = (int)percent, .no_hugepage = LOAM_NO_HUGEPAGE};

	loam_bench_barrier(&config);
	loam_percent = (int)percent;
	if (loam_init(&config) != LOAM_OK)
		abort();
	heap_thread_begin(t, base);
	loam_helper.wanted = cpus > 1;
	if (cpus > 1 && pthread_create(&loam_helper.thread, NULL, loam_help, NULL) != 0)
		abort();
}

static inline void heap_gc_end(void)
{
	if (__atomic_exchange_n(&loam_helper.wanted, false, __ATOMIC_RELAXED))
		pthread_join(loam_helper.thread, NULL);
}

static inline void heap_collecting(bool on)
{
	if (loam_gc_set_percent(on ? loam_percent : -1) != LOAM_OK)
		abort();
}

static inline void heap_store(void *slot, void *value)
{
	loam_store(slot, value);
}
