/* SPDX-License-Identifier: MIT */
/* A fresh heap for each test, on Linux, and a stack without stray pointers. */
#ifndef LOAM_TESTS_HEAP_SETUP_H
#define LOAM_TESTS_HEAP_SETUP_H

#include "arch/host/host.h"
#include "gc/heap.h"
#include "gc/work.h"
#include "mm/sys.h"
#include "tests/host/support.h"

static struct loam_thread test_thread;
static struct loam_config heap_config; /* of the next heap_up */

static inline void quiet_log(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	(void)buf;
	(void)len;
}

/* cmocka set-up: `*state` is unused. The stack base is above every frame of the test. */
static inline int heap_up(void **state)
{
	uintptr_t base;

	(void)state;
	loam_host_on_log(quiet_log);
	assert_int_equal(loam_init(&heap_config), LOAM_OK);
	/* a page above this frame: cmocka's runner calls the test from near here */
	base = loam_align_up((uintptr_t)__builtin_frame_address(0) + 4096, 16);
	assert_int_equal(loam_thread_attach(&test_thread, (void *)base), LOAM_OK);
	return 0;
}

/* [HEAP-1] to [HEAP-6], at a quiet point. */
static inline void check_identities(void)
{
	uint64_t mallocs = 0, frees = 0, bytes = 0, owners = 0;
	struct loam_sys_stats sys;
	struct loam_stats s;

	loam_stats_read(&s);
	loam_sys_stats(&sys);
	assert_int_equal(s.heap_sys, s.heap_inuse + s.heap_idle);
	assert_true(s.heap_idle >= s.heap_released);
	assert_int_equal(s.heap_sys - s.heap_released, sys.ready_bytes[LOAM_OWNER_HEAP]);
	assert_int_equal(s.heap_objects, s.mallocs - s.frees);
	assert_int_equal(s.alloc, s.heap_alloc);
	assert_true(s.heap_alloc <= s.heap_inuse && s.alloc <= s.total_alloc);
	assert_int_equal(s.sys, s.heap_sys + s.stack_sys + s.mspan_sys + s.mcache_sys +
					s.buck_hash_sys + s.gc_sys + s.other_sys);
	for (unsigned i = 0; i < LOAM_STATS_CLASSES; i++) {
		assert_true(s.by_size[i].mallocs >= s.by_size[i].frees);
		mallocs += s.by_size[i].mallocs;
		frees += s.by_size[i].frees;
		bytes += (s.by_size[i].mallocs - s.by_size[i].frees) * s.by_size[i].size;
	}
	assert_int_equal(s.mallocs, mallocs + s.tiny_allocs);
	assert_int_equal(s.frees, frees + s.tiny_allocs);
	assert_true(bytes <= s.alloc);
	for (unsigned i = 0; i < LOAM_OWNER_COUNT; i++)
		owners += s.owner_bytes[i];
	assert_int_equal(owners, sys.state_bytes[LOAM_STATE_READY]);
}

static inline int heap_down(void **state)
{
	struct loam_sys_stats sys;

	(void)state;
	loam_host_fail_at(0);
	loam_sys_set_limit(UINT64_MAX);
	loam_gc_set_stress(0);
	loam_gc_set_steps(0, 0);
	loam_work_limit(0);
	loam_heap_verify();
	loam_sys_verify();
	check_identities();
	assert_int_equal(loam_thread_detach(&test_thread), LOAM_OK);
	loam_gc_shutdown();
	/* everything is given back: not one byte of the heap's or the collector's is left */
	loam_sys_stats(&sys);
	assert_int_equal(sys.ready_bytes[LOAM_OWNER_HEAP] + sys.prepared_bytes[LOAM_OWNER_HEAP], 0);
	assert_int_equal(sys.ready_bytes[LOAM_OWNER_GC] + sys.prepared_bytes[LOAM_OWNER_GC], 0);
	assert_int_equal(sys.region_count, 0);
	loam_mm_reset();
	loam_host_on_log(NULL);
	return 0;
}

/* Overwrite dead stack below us, so that no stale pointer keeps an object alive. */
__attribute__((noinline, unused, no_sanitize("address"))) static void clear_stack(void)
{
	volatile char junk[16384];

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = 0;
}

static inline int heap_up_with(void **state, enum loam_barrier barrier)
{
	int result;

	heap_config.barrier = barrier;
	result = heap_up(state);
	heap_config.barrier = LOAM_BARRIER_DEFAULT;
	return result;
}

static inline int heap_up_software(void **state)
{
	return heap_up_with(state, LOAM_BARRIER_SOFTWARE);
}

static inline int heap_up_stop(void **state)
{
	return heap_up_with(state, LOAM_BARRIER_STOP);
}

#define heap_test(f) cmocka_unit_test_setup_teardown(f, heap_up, heap_down)
/* The same while a collector marks that relies on loam_store. */
#define heap_test_software(f)                                                         \
	{                                                                             \
#f " with the software barrier", f, heap_up_software, heap_down, NULL \
	}
/* The same with a collector that marks while the world stands still, also where pages tell who wrote to them. */
#define heap_test_stop(f)                                           \
	{                                                           \
#f " in one stop", f, heap_up_stop, heap_down, NULL \
	}

/* A cycle begins now, though none is due; what comes before it may take several calls. */
static inline void begin_cycle(void)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t seen = loam_heap.cycles;

	while (!loam_marking() && loam_heap.cycles == seen) {
		loam_cache_enter(cache);
		loam_collect_goal(cache, seen);
		loam_cache_leave(cache);
	}
}

#endif
