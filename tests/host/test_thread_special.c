/* SPDX-License-Identifier: MIT */
/*
 * Threads that read weak pointers and ephemerons, set and run finalizers, and free, while others collect. What is read
 * is whole, whoever finds its object dead, and each thing that dies is told of once. [SPECIAL-4], [SPECIAL-6], [SPECIAL-7];
 * [SPECIAL-1] to [SPECIAL-3] are verified at each collection.
 */
#include "tests/host/thread_setup.h"

#include <sched.h>

#define READERS 3
#define SHARED	64
#define OPS	6000

struct thing {
	struct thing *inner;
	uint64_t id, check; /* ~id */
};

/* Ids of weak pointers and ephemerons, put by one thread and taken by another: 0 none. */
static uint64_t weak_id[SHARED], ephemeron_id[SHARED];
static struct thing *shared[SHARED]; /* registered: what keeps things alive */
static unsigned running;
static uint64_t set, ran;
static bool over;

static void check(const struct thing *t)
{
	CHECK(t->check == ~t->id && t->inner->check == ~t->inner->id);
}

static void count_run(void)
{
	CHECK(__atomic_add_fetch(&running, 1, __ATOMIC_RELAXED) == 1);
	__atomic_add_fetch(&ran, 1, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELAXED);
}

static void on_final(void *obj, void *arg)
{
	check(obj);
	CHECK(*(uint64_t *)arg == ((struct thing *)obj)->id);
	count_run();
}

static void on_clean(void *arg)
{
	CHECK(*(uint64_t *)arg == 77);
	count_run();
}

static struct thing *make(struct rng *rng)
{
	struct thing *t = loam_alloc(sizeof(*t) + rng_below(rng, 3) * 20000);
	uint64_t *arg = loam_alloc_noscan(16);

	t->id = rng_next(rng);
	t->check = ~t->id;
	loam_store(&t->inner, loam_alloc(sizeof(*t)));
	t->inner->check = ~(uint64_t)0;
	if (rng_below(rng, 2) == 0) {
		*arg = t->id;
		CHECK(loam_finalizer_set(t, on_final, arg) == LOAM_OK);
		__atomic_add_fetch(&set, 1, __ATOMIC_RELAXED);
	} else if (rng_below(rng, 2) == 0) {
		*arg = 77;
		CHECK(loam_cleanup_add(t, on_clean, arg, NULL) == LOAM_OK);
		__atomic_add_fetch(&set, 1, __ATOMIC_RELAXED);
	}
	return t;
}

/* A new thing, weakly known to all. */
__attribute__((noinline)) static void put(struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, SHARED);
	struct thing *t = make(rng), *value = make(rng);
	struct loam_ephemeron e = {0};
	struct loam_weak w = {0};
	uint64_t old;

	CHECK(loam_weak_make(t, &w) == LOAM_OK);
	CHECK(loam_ephemeron_make(t, value, &e) == LOAM_OK);
	if (rng_below(rng, 2) == 0)
		loam_store_exchange(&shared[rng_below(rng, SHARED)], t);
	old = __atomic_exchange_n(&weak_id[i], w.id, __ATOMIC_ACQ_REL);
	if (old != 0)
		CHECK(loam_weak_free((struct loam_weak){old}) == LOAM_OK);
	old = __atomic_exchange_n(&ephemeron_id[i], e.id, __ATOMIC_ACQ_REL);
	if (old != 0)
		CHECK(loam_ephemeron_free((struct loam_ephemeron){old}) == LOAM_OK);
}

/* Taken, so that nobody frees the handle meanwhile. */
__attribute__((noinline)) static void get(struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, SHARED);
	uint64_t w = __atomic_exchange_n(&weak_id[i], 0, __ATOMIC_ACQ_REL);
	uint64_t e = __atomic_exchange_n(&ephemeron_id[i], 0, __ATOMIC_ACQ_REL);
	struct thing *t = loam_weak_get((struct loam_weak){w});
	struct thing *value = loam_ephemeron_get((struct loam_ephemeron){e});

	for (unsigned k = 0; k < 20; k++) {
		if (t != NULL)
			check(t);
		if (value != NULL)
			check(value);
		loam_alloc_noscan(64);
	}
	if (t != NULL) /* it has been held, so it has not died */
		CHECK(loam_weak_get((struct loam_weak){w}) == t);
	if (w != 0)
		CHECK(loam_weak_free((struct loam_weak){w}) == LOAM_OK);
	if (e != 0)
		CHECK(loam_ephemeron_free((struct loam_ephemeron){e}) == LOAM_OK);
}

/* What nobody knows is freed explicitly, and told of to nobody. */
__attribute__((noinline)) static void give(struct rng *rng)
{
	uint64_t *arg = loam_alloc_noscan(16);
	struct thing *t = loam_alloc(sizeof(*t) + rng_below(rng, 2) * 20000);
	struct loam_weak w = {0};

	CHECK(loam_weak_make(t, &w) == LOAM_OK);
	CHECK(loam_cleanup_add(t, on_clean, arg, NULL) == LOAM_OK); /* 0 is not 77 */
	CHECK(loam_free(t) == LOAM_OK);
	CHECK(loam_weak_get(w) == NULL);
	CHECK(loam_weak_free(w) == LOAM_OK);
}

static void *use(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct rng rng = {*(uint64_t *)arg};

	attach(thread);
	for (unsigned i = 0; i < OPS; i++) {
		switch (rng_below(&rng, 8)) {
		case 0:
			give(&rng);
			break;
		case 1:
			loam_finalizers_run(4);
			break;
		case 2:
		case 3:
		case 4:
			put(&rng);
			break;
		default:
			get(&rng);
		}
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void *work(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	for (unsigned i = 0; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++) {
		if (i % 200 == 100)
			loam_gc();
		else if (!loam_gc_work(50000))
			sched_yield();
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void readers_and_collectors(void **state)
{
	uint64_t seed[READERS];
	pthread_t reader[READERS], worker;
	struct loam_stats s;

	(void)state;
	failures = running = 0;
	set = ran = 0;
	over = false;
	memset(weak_id, 0, sizeof(weak_id));
	memset(ephemeron_id, 0, sizeof(ephemeron_id));
	memset(shared, 0, sizeof(shared));
	assert_int_equal(loam_root_add(shared, shared + SHARED), LOAM_OK);
	loam_gc_set_percent(20);
	assert_int_equal(pthread_create(&worker, NULL, work, NULL), 0);
	for (unsigned i = 0; i < READERS; i++) {
		seed[i] = test_seed() + i;
		assert_int_equal(pthread_create(&reader[i], NULL, use, &seed[i]), 0);
	}
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(worker, NULL);
	assert_int_equal(failures, 0);
	memset(shared, 0, sizeof(shared));
	for (unsigned i = 0; i < 4; i++) {
		clear_stack();
		loam_gc();
		loam_finalizers_run(UINT64_MAX);
	}
	assert_int_equal(failures, 0);
	loam_stats_read(&s);
	assert_int_equal(s.finalizers_executed + s.cleanups_executed, ran);
	assert_int_equal(s.finalizers_queued + s.cleanups_queued, ran);
	/* a word on the stack may look like an address now and then */
	assert_true(ran <= set && ran + 8 >= set);
	assert_int_equal(loam_root_remove(shared, shared + SHARED), LOAM_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(readers_and_collectors),
		heap_test_software(readers_and_collectors),
		heap_test_stop(readers_and_collectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
