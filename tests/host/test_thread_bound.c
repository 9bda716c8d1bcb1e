/* SPDX-License-Identifier: MIT */
/*
 * Threads that do nothing but allocate, faster than one thread can mark what they have written meanwhile: the heap
 * stays near its goal all the same, for past it they wait for who marks (pace.c). Each cycle that ends is looked at.
 */
#include "tests/host/thread_setup.h"

#define MUTATORS 3
#define BYTES	 ((size_t)64 << 20) /* each allocates so many */
/* Live when marking ends. Next to nothing is reachable, and the goal is 4 MiB. */
#define MOST ((size_t)40 << 20)

static unsigned running;

/* Short lists, which are dropped. */
static void *allocate(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	for (size_t bytes = 0; bytes < BYTES;) {
		void **list = NULL;

		for (unsigned i = 0; i < 32; i++) {
			size_t size = 16 + 16 * (i % 6);
			void **link = loam_alloc(size);

			CHECK(link != NULL);
			*link = (void *)list;
			list = link;
			bytes += size;
		}
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELAXED);
	return NULL;
}

static uint64_t most_live(void)
{
	static struct loam_gc_cycle cycles[LOAM_GC_CYCLES];
	size_t n = loam_gc_cycles_read(cycles, LOAM_GC_CYCLES);
	uint64_t most = 0;

	for (size_t i = 0; i < n; i++) {
		if (cycles[i].live_marked_bytes > most)
			most = cycles[i].live_marked_bytes;
	}
	return most;
}

static void expect_bound(bool collects)
{
	pthread_t thread[MUTATORS];
	uint64_t most = 0;

	failures = 0;
	running = MUTATORS;
	for (unsigned i = 0; i < MUTATORS; i++)
		pthread_create(&thread[i], NULL, allocate, NULL);
	while (__atomic_load_n(&running, __ATOMIC_RELAXED) != 0) {
		uint64_t now = most_live();

		most = now > most ? now : most;
		if (collects)
			loam_gc();
		loam_gc_safepoint();
	}
	for (unsigned i = 0; i < MUTATORS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(failures, 0);
	if (most > MOST)
		fail_msg("%zu KiB live", (size_t)most >> 10);
}

static void the_heap_stays_near_its_goal(void **state)
{
	(void)state;
	expect_bound(false);
}

static void so_it_does_while_one_collects(void **state)
{
	(void)state;
	expect_bound(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(the_heap_stays_near_its_goal),
		heap_test(so_it_does_while_one_collects),
		heap_test_software(the_heap_stays_near_its_goal),
		heap_test_software(so_it_does_while_one_collects),
	};
	return cmocka_run_group_tests_name("thread_bound", tests, NULL, NULL);
}
