/* SPDX-License-Identifier: MIT */
/*
 * The limiter with a clock of our own: [LIMIT-1] to [LIMIT-3]. The course of the first test is that of Go's
 * TestGCCPULimiter (runtime/mgclimit_test.go).
 */
#include <pthread.h>

#include "gc/limiter.h"
#include "tests/host/support.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum { THREADS = 14 };

static struct loam_limiter l;
static uint64_t now;

/* `ns` go by, in which collecting takes `percent` of all threads. */
static void pass(uint64_t ns, uint64_t percent)
{
	now += ns;
	loam_limiter_add_work(&l, ns * l.threads / 100 * percent);
	loam_limiter_update(&l, now);
}

static void level(uint64_t fill, bool limiting, uint64_t overflow)
{
	assert_int_equal(l.fill_ns, fill);
	assert_int_equal(loam_limiter_limiting(&l), limiting);
	assert_int_equal(l.overflow_ns, overflow);
	assert_true(limiting == (l.fill_ns == l.capacity_ns)); /* [LIMIT-1] */
}

static void the_bucket(uint64_t overflow)
{
	const uint64_t full = THREADS * S;

	assert_int_equal(l.capacity_ns, full);
	level(0, false, overflow);
	/* the program's time: below empty there is nothing */
	pass(10 * MS, 0);
	pass(S, 0);
	pass(3600 * S, 0);
	level(0, false, overflow);
	/* when to update */
	assert_false(loam_limiter_need_update(&l, now - 1));
	assert_false(loam_limiter_need_update(&l, now + 5 * MS));
	assert_false(loam_limiter_need_update(&l, now + LOAM_LIMITER_PERIOD_NS));
	assert_true(loam_limiter_need_update(&l, now + 15 * MS));
	pass(15 * MS, 0);
	assert_false(loam_limiter_need_update(&l, now));
	/* a stop counts in full */
	loam_limiter_world_stopped(&l, now += 109 * MS);
	loam_limiter_world_started(&l, now += 2 * MS + US);
	level((2 * MS + US) * THREADS, false, overflow);
	/* a quarter drains half as fast as nothing */
	pass(2 * (2 * MS + US) - 2 * US, 25);
	level(THREADS * US, false, overflow);
	pass(28 * S, 25);
	level(0, false, overflow);
	/* half does nothing, all fills */
	pass(10 * MS, 50);
	level(0, false, overflow);
	pass(MS, 100);
	level(MS * THREADS, false, overflow);
	pass(S - 2 * MS, 100);
	level(full - MS * THREADS, false, overflow);
	/* full to the brim, and kept there by a half */
	pass(MS, 100);
	level(full, true, overflow);
	pass(S, 50);
	level(full, true, overflow);
	/* a drop is enough to end it */
	pass(US, 0);
	level(full - US * THREADS, false, overflow);
	pass(S / 2 - US, 0);
	level(full / 2, false, overflow);
	/* more than it holds */
	pass(S, 100);
	overflow += full / 2;
	level(full, true, overflow);
	/* the end of a cycle, with assists not counted yet: then the stop */
	loam_limiter_add_work(&l, MS * THREADS);
	loam_limiter_world_stopped(&l, now += MS);
	overflow += MS * THREADS;
	level(full, true, overflow);
	loam_limiter_world_started(&l, now += 5 * MS);
	overflow += 5 * MS * THREADS;
	level(full, true, overflow);
	/* more threads, fewer threads */
	loam_limiter_set_threads(&l, now, THREADS + 10);
	level(full, false, overflow);
	loam_limiter_set_threads(&l, now, THREADS - 10);
	level((THREADS - 10) * S, true, overflow);
	/* empty again; the time until then is of the old threads */
	loam_limiter_set_threads(&l, now += S / 2, THREADS);
	level((THREADS - 10) * S / 2, false, overflow);
	loam_limiter_set_threads(&l, now += S, THREADS);
}

static void fills_and_drains(void **state)
{
	(void)state;
	now = 12345;
	loam_limiter_init(&l, now, THREADS);
	the_bucket(0);
	assert_int_equal(l.limited_count, 3);
	/* nothing is left of the first time */
	the_bucket(l.overflow_ns);
	assert_int_equal(l.limited_count, 6);
}

/* Idle time neither fills nor drains, and never looks like collecting. */
static void idle_time(void **state)
{
	(void)state;
	now = 0;
	loam_limiter_init(&l, now, 4);
	pass(100 * MS, 100);
	level(400 * MS, false, 0);
	loam_limiter_add_idle(&l, 300 * MS); /* three of four idle, one is the program's */
	pass(100 * MS, 0);
	level(300 * MS, false, 0);
	loam_limiter_add_idle(&l, 300 * MS); /* three idle, one collects: more and more */
	pass(100 * MS, 25);
	level(400 * MS, false, 0);
	loam_limiter_add_idle(&l, 400 * MS);
	pass(100 * MS, 0);
	level(400 * MS, false, 0);
	/* an hour of it, told late */
	loam_limiter_add_idle(&l, 3600 * S);
	pass(100 * MS, 0);
	level(400 * MS, false, 0);
	loam_limiter_add_idle(&l, 3600 * S);
	loam_limiter_update(&l, now);
	level(400 * MS, false, 0);
}

/* A thread alone that collects all the time is stopped after a second, and may go on at half of the time. */
static void half_of_the_time(void **state)
{
	uint64_t collected = 0, first = 0;

	(void)state;
	now = 0;
	loam_limiter_init(&l, now, 1);
	for (int i = 0; i < 10000; i++) {
		bool collects = !loam_limiter_limiting(&l);

		pass(10 * MS, collects ? 100 : 0);
		collected += collects;
		if (!collects && first == 0)
			first = now;
	}
	assert_int_equal(first, S + 10 * MS);
	assert_true(collected >= 5000 && collected < 5100);
}

/* However often it is updated, the level is the same. [LIMIT-2] */
static void updates_do_not_matter(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (int round = 0; round < 1000; round++) {
		struct loam_limiter once, often;
		uint64_t t = rng_next(&rng) >> 2, ns, n;

		loam_limiter_init(&once, t, 8);
		once.fill_ns = once.capacity_ns / 2;
		often = once;
		for (int i = 0; i < 50; i++) {
			ns = rng_below(&rng, 10 * MS);
			n = rng_below(&rng, ns * 8 + 1);
			t += ns;
			loam_limiter_add_work(&once, n);
			loam_limiter_add_work(&often, n);
			n = rng_below(&rng, ns * 8 - n + 1);
			loam_limiter_add_idle(&once, n);
			loam_limiter_add_idle(&often, n);
			loam_limiter_update(&often, t);
			loam_limiter_update(&often, t - rng_below(&rng, 5)); /* late: ignored */
		}
		loam_limiter_update(&once, t);
		assert_int_equal(once.fill_ns, often.fill_ns);
		assert_int_equal(often.last_ns, t);
	}
}

static uint64_t any_number(struct rng *rng)
{
	unsigned bits = (unsigned)rng_below(rng, 65);

	return bits == 0 ? 0 : rng_next(rng) >> (64 - bits);
}

/* [LIMIT-3] */
static void any_numbers(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	loam_limiter_init(&l, 0, 1);
	for (int i = 0; i < 1000000; i++) {
		uint64_t n = any_number(&rng), t = any_number(&rng);

		switch (rng_below(&rng, 6)) {
		case 0:
			loam_limiter_add_work(&l, n);
			break;
		case 1:
			loam_limiter_add_idle(&l, n);
			break;
		case 2:
			if (l.stopped)
				loam_limiter_world_started(&l, t);
			else
				loam_limiter_world_stopped(&l, t);
			break;
		case 3:
			if (!l.stopped)
				loam_limiter_set_threads(&l, t, n);
			break;
		case 4:
			if (rng_below(&rng, 50) == 0)
				loam_limiter_init(&l, t, n);
			break;
		default:
			if (!l.stopped)
				loam_limiter_update(&l, t);
			break;
		}
		assert_true(l.fill_ns <= l.capacity_ns); /* [LIMIT-1] */
		assert_true(loam_limiter_limiting(&l) == (l.fill_ns == l.capacity_ns));
		assert_true(l.threads >= 1 && l.threads <= 65536);
	}
}

static void wrong_order(void **state)
{
	(void)state;
	loam_limiter_init(&l, 0, 1);
	EXPECT_PANIC(loam_limiter_world_started(&l, 1), "stopped");
	loam_limiter_world_stopped(&l, 1);
	EXPECT_PANIC(loam_limiter_world_stopped(&l, 2), "stopped");
	EXPECT_PANIC(loam_limiter_update(&l, 2), "stopped");
	EXPECT_PANIC(loam_limiter_set_threads(&l, 2, 3), "stopped");
	loam_limiter_world_started(&l, 3);
}

static void *worker(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100000; i++) {
		loam_limiter_add_work(&l, 3);
		loam_limiter_add_idle(&l, loam_limiter_limiting(&l));
		loam_limiter_add_work(&l, loam_limiter_need_update(&l, 5));
	}
	return NULL;
}

/* Under TSan: workers need no lock, and nothing of theirs is lost. */
static void workers(void **state)
{
	pthread_t thread[3];

	(void)state;
	now = S;
	loam_limiter_init(&l, now, 4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, worker, NULL), 0);
	for (int i = 0; i < 1000; i++)
		loam_limiter_update(&l, now);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	loam_limiter_update(&l, now);
	level(2 * 3 * 3 * 100000, false, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_and_drains), cmocka_unit_test(idle_time),
		cmocka_unit_test(half_of_the_time), cmocka_unit_test(updates_do_not_matter),
		cmocka_unit_test(any_numbers),	    cmocka_unit_test(wrong_order),
		cmocka_unit_test(workers),
	};
	return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
