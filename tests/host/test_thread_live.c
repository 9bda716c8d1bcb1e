/* SPDX-License-Identifier: MIT */
/*
 * What counts as live, by which a cycle is due: what threads use, and no more for each that comes and goes; and slots that are used
 * again count again.
 */
#include "tests/host/thread_setup.h"

#define VISITORS 50u
#define BYTES	 64u /* an object */
#define OBJECTS	 200000u
/* What a thread has used of its current span does not count yet. */
#define SPAN_BYTES ((int64_t)64 << 10)

static int64_t live(void)
{
	return __atomic_load_n(&loam_heap.live, __ATOMIC_RELAXED);
}

/* Attached for as long as it takes to allocate once, and to have a whole cycle, if so. */
static void *visit(void *collects)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	attach(thread);
	CHECK(loam_alloc_noscan(BYTES) != NULL);
	if (collects != NULL)
		loam_gc();
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void receive(unsigned visitors, bool collects)
{
	static char yes;
	pthread_t thread;

	failures = 0;
	for (unsigned i = 0; i < visitors; i++) {
		assert_int_equal(pthread_create(&thread, NULL, visit, collects ? &yes : NULL), 0);
		pthread_join(thread, NULL);
	}
	assert_int_equal(failures, 0);
}

static void who_goes_leaves_what_it_has_used(void **state)
{
	int64_t before = live();

	(void)state;
	receive(VISITORS, false);
	assert_int_equal(live() - before, VISITORS * BYTES);
}

/* What was marked is what is live, and among it what a thread has claimed, of which it gives back what it has not used. */
static void not_once_more_what_a_cycle_has_counted(void **state)
{
	int64_t marked;

	(void)state;
	receive(VISITORS, true);
	marked = (int64_t)loam_heap.marked;
	assert_true(live() <= marked && live() >= marked - 64 * (int64_t)BYTES);
}

/* Of any two objects one is freed, and its slot used again. */
static void slots_that_are_used_again_count_again(void **state)
{
	static void *kept[OBJECTS];
	int64_t before, used = (int64_t)OBJECTS * BYTES;

	(void)state;
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK);
	before = live();
	for (unsigned i = 0; i < OBJECTS; i++) {
		void *p = loam_alloc_noscan(BYTES);

		kept[i] = loam_alloc_noscan(BYTES);
		assert_non_null(p);
		assert_non_null(kept[i]);
		assert_int_equal(loam_free(p), LOAM_OK);
	}
	assert_in_range(live() - before, used - SPAN_BYTES, used + SPAN_BYTES);
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(loam_free(kept[i]), LOAM_OK);
	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
}

/* What is freed amid a cycle takes its place until the sweep. */
static void what_is_freed_while_marking_counts_until_the_sweep(void **state)
{
	static void *kept[4096];
	static const uint32_t never;
	struct loam_worker *w;
	int64_t before;

	(void)state;
	for (unsigned i = 0; i < 4096; i++)
		kept[i] = loam_alloc_noscan(BYTES);
	begin_cycle();
	w = loam_worker_take(1, &never, false); /* so that it does not end */
	before = live();
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(loam_free(kept[i]), LOAM_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_non_null(loam_alloc_noscan(BYTES));
	assert_true(loam_marking());
	assert_true(live() >= before + 4096 * (int64_t)BYTES - 2 * SPAN_BYTES);
	loam_worker_give(w);
	loam_gc();
}

/* ---- handing over ---- */

#define HANDED 20000u
#define ROUNDS 20u

static void *handed[HANDED]; /* registered */
static unsigned turn;	     /* atomic: odd: the other thread's */

static void *free_what_is_handed(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	attach(thread);
	for (unsigned round = 0; round < ROUNDS; round++) {
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * round + 1)
			loam_gc_safepoint();
		for (unsigned i = 0; i < HANDED; i++) {
			CHECK(loam_free(handed[i]) == LOAM_OK);
			handed[i] = NULL;
		}
		__atomic_store_n(&turn, 2 * round + 2, __ATOMIC_RELEASE);
	}
	/* it is the owner of none of that, and has nothing to give back */
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return unused;
}

/* What one thread makes and another frees comes off when the first takes it in, whatever the other does. */
static void what_others_free_is_given_back_once(void **state)
{
	int64_t before, used = (int64_t)HANDED * BYTES;
	pthread_t thread;

	(void)state;
	failures = turn = 0;
	assert_int_equal(loam_root_add(handed, handed + HANDED), LOAM_OK);
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK);
	before = live();
	assert_int_equal(pthread_create(&thread, NULL, free_what_is_handed, NULL), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < HANDED + round * HANDED / ROUNDS; i++) {
			void *p = loam_alloc_noscan(BYTES);

			if (i < HANDED)
				handed[i] = p;
			else
				CHECK(loam_free(p) == LOAM_OK);
		}
		CHECK(live() - before >= used - SPAN_BYTES);
		CHECK(live() - before <= used + SPAN_BYTES);
		__atomic_store_n(&turn, 2 * round + 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * round + 2)
			loam_gc_safepoint();
	}
	pthread_join(thread, NULL);
	assert_int_equal(failures, 0);
	assert_in_range(live() - before, used - SPAN_BYTES, used + SPAN_BYTES);
	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
	assert_int_equal(loam_root_remove(handed, handed + HANDED), LOAM_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(who_goes_leaves_what_it_has_used),
		heap_test(not_once_more_what_a_cycle_has_counted),
		heap_test(slots_that_are_used_again_count_again),
		heap_test_software(what_is_freed_while_marking_counts_until_the_sweep),
		heap_test(what_others_free_is_given_back_once),
		heap_test_software(slots_that_are_used_again_count_again),
	};
	return cmocka_run_group_tests_name("live", tests, NULL, NULL);
}
