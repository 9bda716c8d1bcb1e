/* SPDX-License-Identifier: MIT */
/*
 * Threads that do nothing but allocate, faster than one thread can mark what they have written meanwhile: the heap
 * stays near its goal all the same, for past it they wait for who marks (pace.c). Each cycle that ends is looked at.
 * And threads that write faster than one thread can scan: a cycle ends all the same (clean.c).
 */
#include "tests/host/thread_setup.h"

#define TRIES	 3
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

#define LARGE	      ((size_t)8 << 20) /* an object */
#define LARGE_COUNT   48u		/* each allocates so many */
#define LARGE_THREADS 6
#define LARGE_MOST    ((size_t)768 << 20) /* live: some of each thread's, and what is made meanwhile */

static void *allocate_large(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	for (unsigned i = 0; i < LARGE_COUNT; i++)
		CHECK(loam_alloc(LARGE) != NULL);
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELAXED);
	return NULL;
}

static uint64_t most_live(uint64_t since_ns)
{
	static struct loam_gc_cycle cycles[LOAM_GC_CYCLES];
	size_t n = loam_gc_cycles_read(cycles, LOAM_GC_CYCLES);
	uint64_t most = 0;

	for (size_t i = 0; i < n; i++) {
		if (cycles[i].begin_ns >= since_ns && cycles[i].live_marked_bytes > most)
			most = cycles[i].live_marked_bytes;
	}
	return most;
}

/* What was live at most when a cycle ended. */
static uint64_t run(void *(*program)(void *), unsigned threads, bool collects)
{
	pthread_t thread[LARGE_THREADS];
	uint64_t most = 0, since = loam_host_now_ns();

	failures = 0;
	running = threads;
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, program, NULL);
	while (__atomic_load_n(&running, __ATOMIC_RELAXED) != 0) {
		uint64_t now = most_live(since);

		most = now > most ? now : most;
		if (collects)
			loam_gc();
		loam_gc_safepoint();
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(failures, 0);
	return most;
}

/* Once in TRIES: whoever marks may be off its CPU for as long as the others wait. */
static void expect_bound(void *(*program)(void *), unsigned threads, size_t bound, bool collects)
{
	uint64_t live = UINT64_MAX;

	for (unsigned i = 0; i < TRIES && live > bound; i++)
		live = run(program, threads, collects);
	if (live > bound)
		fail_msg("%zu KiB live", (size_t)live >> 10);
}

#define WRITERS	    2
#define CYCLES	    3			/* the first has huge leaves, which are told as one */
#define NODES	    ((size_t)1 << 20)	/* of 64 bytes: 16,384 pages */
#define STORES	    ((uint64_t)1 << 25) /* of each writer at most: then the cycle ends in any case */
#define ROUNDS_MOST 26u			/* clean.c has patience for 24 */

static void **nodes; /* a root */
static unsigned writing;

static void *write_about(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	__atomic_add_fetch(&writing, 1, __ATOMIC_RELAXED);
	for (uint64_t i = 0, x = 1; i < STORES && __atomic_load_n(&running, __ATOMIC_RELAXED) != 0;
	     i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		__atomic_store_n((void **)nodes[(x >> 20) % NODES], nodes[(x >> 40) % NODES],
				 __ATOMIC_RELAXED);
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void a_cycle_ends_while_others_write(void **state)
{
	pthread_t thread[WRITERS];
	struct loam_gc_cycle last;
	uint64_t most = 0;

	(void)state;
	failures = 0;
	assert_int_equal(loam_root_add(&nodes, &nodes + 1), LOAM_OK);
	loam_gc_set_percent(-1);
	nodes = loam_alloc(NODES * sizeof(*nodes));
	assert_non_null(nodes);
	for (size_t i = 0; i < NODES; i++) {
		nodes[i] = loam_alloc(64);
		assert_non_null(nodes[i]);
	}
	running = 1;
	writing = 0;
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_create(&thread[i], NULL, write_about, NULL);
	while (__atomic_load_n(&writing, __ATOMIC_RELAXED) < WRITERS)
		loam_gc_safepoint();
	for (unsigned i = 0; i < CYCLES; i++) {
		loam_gc();
		assert_int_equal(loam_gc_cycles_read(&last, 1), 1);
		most = last.rounds > most ? last.rounds : most;
	}
	__atomic_store_n(&running, 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(failures, 0);
	if (most > ROUNDS_MOST)
		fail_msg("%zu rounds", (size_t)most);
	nodes = NULL;
	assert_int_equal(loam_root_remove(&nodes, &nodes + 1), LOAM_OK);
	loam_gc_set_percent(100);
}

static void the_heap_stays_near_its_goal(void **state)
{
	(void)state;
	expect_bound(allocate, MUTATORS, MOST, false);
}

static void so_it_does_while_one_collects(void **state)
{
	(void)state;
	expect_bound(allocate, MUTATORS, MOST, true);
}

static void so_it_does_with_large_objects(void **state)
{
	(void)state;
	expect_bound(allocate_large, LARGE_THREADS, LARGE_MOST, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(the_heap_stays_near_its_goal),
		heap_test(so_it_does_while_one_collects),
		heap_test(so_it_does_with_large_objects),
		heap_test_software(so_it_does_with_large_objects),
		heap_test(a_cycle_ends_while_others_write),
	};
	return cmocka_run_group_tests_name("bound", tests, NULL, NULL);
}
