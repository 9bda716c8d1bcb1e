/* SPDX-License-Identifier: MIT */
/*
 * Objects freed by threads that did not make them: [REMOTE-1], [REMOTE-2], [CENTRAL-2]. Every object
 * carries its own pattern; the heap is verified at the end, and nothing is lost: what all freed is
 * free. Run under TSan as well.
 */
#include "tests/host/thread_setup.h"

#include <sched.h>

/* Run `body` in a thread of its own that is attached; the record is on its heap. */
struct attached {
	pthread_t thread;
	void (*body)(void *arg);
	void *arg;
};

static void *attached_main(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct attached *a = arg;

	attach(thread);
	a->body(a->arg);
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	memset(thread, 0xee, sizeof(*thread)); /* nobody may touch it any more */
	free(thread);
	return NULL;
}

static void start(struct attached *a, void (*body)(void *), void *arg)
{
	a->body = body;
	a->arg = arg;
	pthread_create(&a->thread, NULL, attached_main, a);
}

/* A queue of objects from one thread to the others, which is a root. */
#define QUEUE 1024u
static uint64_t *queue[QUEUE];

static void put(unsigned at, uint64_t *p)
{
	while (!__sync_bool_compare_and_swap(&queue[at % QUEUE], NULL, p)) {
		loam_gc_safepoint();
		sched_yield();
	}
}

static uint64_t *make(struct rng *rng, uint64_t tag)
{
	uint64_t words = 2 + rng_below(rng, 100), *p = loam_alloc(words * 8);

	CHECK(p != NULL);
	for (uint64_t i = 0; i < words; i++)
		CHECK(p[i] == 0);
	p[0] = words;
	for (uint64_t i = 1; i < words; i++)
		p[i] = tag;
	return p;
}

static void check_and_free(uint64_t *p)
{
	for (uint64_t i = 2; i < p[0]; i++)
		CHECK(p[i] == p[1]);
	CHECK(loam_free(p) == LOAM_OK);
}

#define OBJECTS 60000u

static void producer(void *arg)
{
	struct rng rng = {test_seed() + *(unsigned *)arg};

	for (unsigned i = 0; i < OBJECTS; i++)
		put(i, make(&rng, i + 1));
}

static unsigned taken;

static void consumer(void *arg)
{
	(void)arg;
	for (unsigned i = 0; __atomic_load_n(&taken, __ATOMIC_RELAXED) < OBJECTS; i++) {
		uint64_t *p = __atomic_exchange_n(&queue[i % QUEUE], NULL, __ATOMIC_ACQ_REL);

		loam_gc_safepoint();
		if (p == NULL)
			continue;
		__atomic_add_fetch(&taken, 1, __ATOMIC_RELAXED);
		check_and_free(p);
	}
}

static void expect_few_objects(uint64_t most)
{
	struct loam_stats s;

	loam_gc();
	loam_stats_read(&s);
	if (s.heap_objects > most)
		fail_msg("%zu objects, at most %zu expected", (size_t)s.heap_objects, (size_t)most);
	check_identities();
}

static void one_makes_and_others_free(void **state)
{
	struct attached a[3];
	unsigned seed = 1;

	(void)state;
	failures = taken = 0;
	memset(queue, 0, sizeof(queue));
	loam_gc_set_percent(-1); /* only frees give memory back */
	assert_int_equal(loam_root_add(queue, queue + QUEUE), LOAM_OK);
	start(&a[0], producer, &seed);
	start(&a[1], consumer, NULL);
	start(&a[2], consumer, NULL);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(a[i].thread, NULL);
	assert_int_equal(failures, 0);
	loam_heap_verify();
	{
		struct loam_stats s;

		loam_stats_read(&s);
		/* 24 MB went through; what is in use is what was in flight */
		assert_true(s.total_alloc > (size_t)20 << 20 && s.heap_inuse < (size_t)6 << 20);
	}
	assert_int_equal(loam_root_remove(queue, queue + QUEUE), LOAM_OK);
	expect_few_objects(50);
}

/* ---- threads that come and go ---- */

static uint64_t *left[4096];

static void make_and_leave(void *arg)
{
	struct rng rng = {test_seed() * 7 + *(unsigned *)arg};

	for (unsigned i = 0; i < 64; i++) {
		unsigned at = (unsigned)rng_below(&rng, COUNT_OF(left));
		uint64_t *p = make(&rng, at + 1), *old;

		old = __atomic_exchange_n(&left[at], p, __ATOMIC_ACQ_REL);
		if (old != NULL)
			check_and_free(old);
	}
}

/* Most objects are freed when the thread that made them is gone: their spans are nobody's, or have been
 * adopted, and the frees of one thread race with the leaving of another. */
static void makers_leave_before_their_objects(void **state)
{
	static struct attached a[4];
	static unsigned seed[4];

	(void)state;
	failures = 0;
	loam_gc_set_percent(-1);
	assert_int_equal(loam_root_add(left, left + COUNT_OF(left)), LOAM_OK);
	for (unsigned round = 0; round < 150; round++) {
		for (unsigned i = 0; i < 4; i++) {
			seed[i] = round * 4 + i;
			start(&a[i], make_and_leave, &seed[i]);
		}
		for (unsigned i = 0; i < 4; i++)
			pthread_join(a[i].thread, NULL);
		if (round % 50 == 0)
			loam_gc();
	}
	assert_int_equal(failures, 0);
	for (unsigned i = 0; i < COUNT_OF(left); i++) {
		if (left[i] != NULL)
			check_and_free(left[i]);
		left[i] = NULL;
	}
	assert_int_equal(failures, 0);
	loam_heap_verify();
	assert_int_equal(loam_root_remove(left, left + COUNT_OF(left)), LOAM_OK);
	expect_few_objects(50);
}

/* ---- double frees across threads ---- */

static void *victim;
static enum loam_err first, second;

static void free_twice(void *arg)
{
	(void)arg;
	first = loam_free(victim);
	second = loam_free(victim);
}

static void free_once(void *arg)
{
	(void)arg;
	first = loam_free(victim);
}

static void double_frees_are_told(void **state)
{
	struct attached a;
	char *other;

	(void)state;
	victim = loam_alloc(40);
	start(&a, free_twice, NULL); /* both there: told at the second */
	pthread_join(a.thread, NULL);
	assert_int_equal(first, LOAM_OK);
	assert_int_equal(second, LOAM_NOENT);
	assert_int_equal(loam_free(victim),
			 LOAM_NOENT); /* not yet taken in, and told all the same */
	loam_heap_verify();

	victim = loam_alloc(72);
	other = loam_alloc(72);
	assert_int_equal(loam_free(victim), LOAM_OK);
	start(&a, free_once, NULL); /* freed here, again there */
	pthread_join(a.thread, NULL);
	assert_int_equal(first, LOAM_NOENT);

	victim = loam_alloc(100000);
	start(&a, free_once, NULL);
	pthread_join(a.thread, NULL);
	assert_int_equal(first, LOAM_OK);
	assert_int_equal(loam_free(victim), LOAM_INVAL); /* its span is gone */
	assert_int_equal(loam_free(other), LOAM_OK);
	loam_heap_verify();
}

/* ---- the fast path, stopped anywhere ---- */

#define CHAIN 60u

static bool stop;

/* Objects that are only in this thread's registers and on its stack, while others collect. */
static void chains(void *arg)
{
	struct rng rng = {test_seed() + 99 + *(unsigned *)arg};

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t **chain = NULL;
		unsigned n = 1 + (unsigned)rng_below(&rng, CHAIN);

		for (unsigned i = 0; i < n; i++) {
			uint64_t **link = loam_alloc(16 + 16 * (i % 6));

			CHECK(link != NULL && link[0] == NULL && link[1] == NULL);
			link[0] = (uint64_t *)chain;
			link[1] = (uint64_t *)(uintptr_t)(n * 1000 + i);
			chain = link;
		}
		for (unsigned i = n; i-- > 0; chain = (uint64_t **)chain[0])
			CHECK((uintptr_t)chain[1] == n * 1000 + i);
	}
}

static void the_world_stops_amid_allocations(void **state)
{
	static struct attached a[3];
	static unsigned seed[3] = {1, 2, 3};

	(void)state;
	failures = 0;
	stop = false;
	for (unsigned i = 0; i < 3; i++)
		start(&a[i], chains, &seed[i]);
	for (unsigned i = 0; i < 300; i++)
		loam_gc();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(a[i].thread, NULL);
	assert_int_equal(failures, 0);
	loam_heap_verify();
	expect_few_objects(
		10 * CHAIN); /* a stale word on this stack keeps a whole chain, of some 100,000 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(one_makes_and_others_free),
		heap_test(makers_leave_before_their_objects),
		heap_test(double_frees_are_told),
		heap_test(the_world_stops_amid_allocations),
	};
	return cmocka_run_group_tests_name("thread_remote", tests, NULL, NULL);
}
