/* SPDX-License-Identifier: MIT */
/* For tests of orders of events: a thread that does what it is told, while the main thread is held up at a place (LOAM_PLACE). */
#ifndef LOAM_TESTS_OTHER_THREAD_H
#define LOAM_TESTS_OTHER_THREAD_H

#include "gc/check.h"
#include "tests/host/thread_setup.h"

#include <unistd.h>

#define PATIENCE 1000 /* of 100 us: who has not gone by then waits for us */

static struct {
	void (*job)(void); /* atomic: what the other thread is to do now; NULL: it is done */
	bool over;	   /* atomic */
	pthread_t thread;
	bool running, held_at_pages; /* the latter: atomic */
} other;
static __thread bool is_other;

static inline void *be_other(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	void (*job)(void);

	attach(thread);
	is_other = true;
	__atomic_store_n(&other.running, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&other.over, __ATOMIC_ACQUIRE)) {
		job = __atomic_load_n(&other.job, __ATOMIC_ACQUIRE);
		if (job == NULL) {
			usleep(50);
			loam_gc_safepoint(); /* under a thread sanitizer signals may come late */
			continue;
		}
		job();
		__atomic_store_n(&other.job, NULL, __ATOMIC_RELEASE);
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return unused;
}

static inline void tell_other(void (*job)(void))
{
	__atomic_store_n(&other.job, job, __ATOMIC_RELEASE);
}

/* Wait for the other thread; with an end. */
static inline void wait_a_while(void)
{
	for (int i = 0; i < PATIENCE && __atomic_load_n(&other.job, __ATOMIC_ACQUIRE) != NULL; i++)
		usleep(100);
}

static inline void wait_for_other(void)
{
	while (__atomic_load_n(&other.job, __ATOMIC_ACQUIRE) != NULL) {
		usleep(100);
		loam_gc_safepoint();
	}
}

static inline void start_other(void)
{
	memset(&other, 0, sizeof(other));
	assert_int_equal(pthread_create(&other.thread, NULL, be_other, NULL), 0);
}

static inline void wait_until_it_runs(void)
{
	while (!__atomic_load_n(&other.running, __ATOMIC_ACQUIRE))
		usleep(50);
}

static inline int order_up(void **state, enum loam_barrier barrier)
{
	(void)heap_up_with(state, barrier);
	start_other();
	wait_until_it_runs();
	return 0;
}

__attribute__((unused)) static int order_up_software(void **state)
{
	return order_up(state, LOAM_BARRIER_SOFTWARE);
}

__attribute__((unused)) static int order_up_mmu(void **state)
{
	return order_up(state, LOAM_BARRIER_DEFAULT);
}

__attribute__((unused)) static int order_down(void **state)
{
	loam_at_place = NULL;
	__atomic_store_n(&other.over, true, __ATOMIC_RELEASE);
	pthread_join(other.thread, NULL);
	assert_int_equal(failures, 0);
	return heap_down(state);
}

#define order_test(f, up) cmocka_unit_test_setup_teardown(f, up, order_down)

#endif
