/* SPDX-License-Identifier: MIT */
/*
 * The pacer's parts by numbers: ratios, goals, triggers, what is learnt, prices, sweeping; against an oracle
 * in floating point; and with numbers beyond all sense. [PACER-1] to [PACER-4], [RATIO-1], [RATIO-2].
 * A whole program: tests/host/test_pacer_sim.c.
 */
#include <math.h>
#include <pthread.h>

#include "gc/pacer.h"
#include "gc/ratio.h"
#include "tests/host/support.h"

#define KIB	 ((uint64_t)1 << 10)
#define MIB	 ((uint64_t)1 << 20)
#define GIB	 ((uint64_t)1 << 30)
#define TIB	 ((uint64_t)1 << 40)
#define NO_LIMIT UINT64_MAX
#define NEVER	 LOAM_PACER_NEVER
#define MS	 UINT64_C(1000000)

static const struct loam_pacer_memory no_memory;

/* A number of 0 to 64 bits, each length as likely. */
static uint64_t any_number(struct rng *rng)
{
	unsigned bits = (unsigned)rng_below(rng, 65);
	uint64_t n = bits == 0 ? 0 : rng_next(rng) >> (64 - bits);

	return rng_below(rng, 8) == 0 ? (uint64_t)0 - n : n;
}

static uint64_t up_to(struct rng *rng, uint64_t most)
{
	uint64_t n = any_number(rng);

	return n > most ? rng_below(rng, most + 1) : n;
}

/* A pacer that has collected once: `marked` live, the whole of it scanned. */
static struct loam_pacer collected(int percent, uint64_t limit, uint64_t marked)
{
	struct loam_pacer p;
	struct loam_pacer_work done = {.heap_bytes = marked};

	loam_pacer_init(&p, percent, limit);
	loam_pacer_commit(&p, marked, &done, &no_memory);
	return p;
}

/* ---- ratios ---- */

static void ratios_are_near_and_on_the_right_side(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (int i = 0; i < 2000000; i++) {
		uint64_t n = any_number(&rng), d = any_number(&rng), v = any_number(&rng);
		uint64_t down = loam_ratio(n, d), up = loam_ratio_up(n, d);
		unsigned __int128 product = (unsigned __int128)n * v, exact;

		if (d == 0) {
			assert_int_equal(down, n == 0 ? 0 : LOAM_RATIO_MAX);
			assert_int_equal(up, down);
			continue;
		}
		exact = ((unsigned __int128)n << 32) / d;
		/* [RATIO-1], [RATIO-2] */
		assert_true((down == LOAM_RATIO_MAX && exact >> 32 >= LOAM_RATIO_ONE) ||
			    (down <= exact && exact - down < 6));
		assert_true((up == LOAM_RATIO_MAX && exact >> 32 >= LOAM_RATIO_ONE - 1) ||
			    (up >= exact && up - exact < 11));
		assert_true((up == 0) == (n == 0));
		assert_true(up == LOAM_RATIO_MAX || (unsigned __int128)up * d >> 32 >= n);
		exact = product >> 32;
		assert_int_equal(loam_ratio_times(n, v),
				 exact > UINT64_MAX ? UINT64_MAX : (uint64_t)exact);
		exact = (product + UINT32_MAX) >> 32;
		assert_int_equal(loam_ratio_times_up(n, v),
				 exact > UINT64_MAX ? UINT64_MAX : (uint64_t)exact);
	}
	assert_int_equal(loam_ratio(3, 4), LOAM_RATIO_ONE / 4 * 3);
	assert_int_equal(loam_ratio_up(7 * TIB, TIB), 7 * LOAM_RATIO_ONE);
	assert_int_equal(loam_ratio(TIB, 1), LOAM_RATIO_MAX);
	assert_int_equal(loam_ratio(LOAM_RATIO_ONE, 1), LOAM_RATIO_MAX);
	assert_int_equal(loam_ratio_up(LOAM_RATIO_ONE * 3, 3), LOAM_RATIO_MAX);
	assert_int_equal(loam_ratio(UINT32_MAX, 1), LOAM_RATIO_MAX - UINT32_MAX);
	assert_int_equal(loam_ratio_up(UINT64_MAX, LOAM_RATIO_ONE), LOAM_RATIO_MAX);
	assert_true(loam_ratio(UINT64_MAX, LOAM_RATIO_ONE) > LOAM_RATIO_MAX - 6);
}

/* ---- goals ---- */

static void goal_by_percent(void **state)
{
	static const struct {
		int percent;
		uint64_t marked, stacks, globals, goal;
	} want[] = {
		{100, 0, 0, 0, 4 * MIB},
		{100, 3 * MIB, 0, 0, 6 * MIB},
		{100, MIB, 0, 0, 4 * MIB},
		{50, MIB, 0, 0, 2 * MIB},
		{50, 100 * MIB, 20 * MIB, 8 * MIB, 164 * MIB},
		{0, 10 * MIB, MIB, MIB, 10 * MIB},
		{0, 0, 0, 0, 0},
		{1500, MIB, 0, 0, 60 * MIB},
		{100000, MIB, 0, 0, 4000 * MIB},
		{100000, 10 * MIB, MIB, 0, 11010 * MIB},
		{INT32_MAX, 10 * MIB, MIB, 0, 11010 * MIB},
		{100, 999, 0, 0, 4 * MIB},
		{33, 99999999, 1, 99, 99999999 + 33000032},
		{-1, 10 * MIB, 0, 0, NEVER},
		{INT32_MIN, 0, 0, 0, NEVER},
		{100, TIB, GIB, 0, 2 * TIB + GIB},
		{100000, TIB, 0, 0, NEVER}, /* more than there are addresses */
		{200, 1000 * TIB, 0, 0, NEVER},
	};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(want); i++) {
		struct loam_pacer_work done = {want[i].marked, want[i].stacks, want[i].globals};
		struct loam_pacer p;

		loam_pacer_init(&p, want[i].percent, NO_LIMIT);
		loam_pacer_commit(&p, want[i].marked, &done, &no_memory);
		assert_int_equal(loam_pacer_goal(&p), want[i].goal);
		/* the same percent by another way */
		loam_pacer_set_percent(&p, want[i].percent + (want[i].percent < 0 ? 1000 : -1));
		loam_pacer_set_percent(&p, want[i].percent);
		assert_int_equal(loam_pacer_goal(&p), want[i].goal);
	}
}

static void goal_by_limit(void **state)
{
	static const struct {
		uint64_t limit, marked;
		struct loam_pacer_memory memory;
		uint64_t goal;
	} want[] = {
		/* 3 per cent of room, 1 MiB at least */
		{1000 * MIB, 0, {0, 0, 0}, 970 * MIB},
		{10 * MIB, 0, {0, 0, 0}, 9 * MIB},
		{100, 0, {0, 0, 0}, MIB},
		{3 * MIB / 2, 0, {0, 0, 0}, MIB},
		{2 * MIB, 0, {0, 0, 0}, MIB},
		/* what is not heap: stacks, tables, holes in spans */
		{1000 * MIB, 0, {300 * MIB, 60 * MIB, 40 * MIB}, 776 * MIB},
		/* counted at different moments: no more of the heap than there is */
		{1000 * MIB, 0, {300 * MIB, 260 * MIB, 140 * MIB}, 970 * MIB},
		/* over the limit: as much less */
		{1000 * MIB, 0, {1100 * MIB, 300 * MIB, 800 * MIB}, 873 * MIB},
		{1000 * MIB, 0, {1100 * MIB, 0, 800 * MIB}, 582 * MIB},
		/* never less than what is live */
		{1000 * MIB, 800 * MIB, {1100 * MIB, 0, 800 * MIB}, 800 * MIB},
		{1000 * MIB, 5 * MIB, {2000 * MIB, 0, 0}, 5 * MIB},
		{1000 * MIB, 990 * MIB, {0, 0, 0}, 990 * MIB},
		{1000 * MIB, 2 * TIB, {0, 0, 0}, 2 * TIB},
		{0, 7 * MIB, {0, 0, 0}, 7 * MIB},
		{NO_LIMIT, MIB, {TIB, 0, 0}, NEVER},
		{TIB, GIB, {GIB, 0, GIB}, TIB - TIB / 100 * 3},
	};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(want); i++) {
		struct loam_pacer_work done = {.heap_bytes = want[i].marked};
		struct loam_pacer p;

		loam_pacer_init(&p, -1, want[i].limit);
		loam_pacer_commit(&p, want[i].marked, &done, &want[i].memory);
		assert_int_equal(loam_pacer_goal(&p), want[i].goal);
		loam_pacer_set_memory(&p, &no_memory);
		loam_pacer_set_memory(&p, &want[i].memory);
		loam_pacer_set_limit(&p, 1);
		loam_pacer_set_limit(&p, want[i].limit);
		assert_int_equal(loam_pacer_goal(&p), want[i].goal);
	}
}

static void the_lower_goal_wins(void **state)
{
	struct loam_pacer p = collected(100, 1000 * MIB, 100 * MIB);

	(void)state;
	assert_int_equal(loam_pacer_goal(&p), 200 * MIB);
	loam_pacer_set_percent(&p, 5000);
	assert_int_equal(loam_pacer_goal(&p), 970 * MIB);
	loam_pacer_set_limit(&p, NO_LIMIT);
	assert_int_equal(loam_pacer_goal(&p), 5100 * MIB);
}

/* By percent the goal gives way to sweeping and to a cycle that has begun; by the limit it does not. */
static void goal_gives_way(void **state)
{
	struct loam_pacer p = collected(10, NO_LIMIT, MIB);
	struct loam_pacer_work most = {.heap_bytes = MIB};

	(void)state;
	assert_int_equal(loam_pacer_goal(&p), MIB + MIB / 10);
	loam_pacer_sweep_start(&p, 10, MIB + 5);
	assert_int_equal(loam_pacer_goal(&p), 2 * MIB + 5);
	assert_int_equal(loam_pacer_trigger(&p), 2 * MIB + 5);
	loam_pacer_set_limit(&p, MIB / 2);
	assert_int_equal(loam_pacer_goal(&p), MIB);
	loam_pacer_set_limit(&p, NO_LIMIT);
	assert_int_equal(loam_pacer_goal(&p), 2 * MIB + 5);
	loam_pacer_sweep_start(&p, 0, MIB + 5);
	assert_int_equal(loam_pacer_goal(&p), MIB + MIB / 10);
	/* asked for by hand, far beyond */
	loam_pacer_start(&p, 3 * MIB, &most, 0);
	assert_int_equal(loam_pacer_goal(&p), 3 * MIB + 64 * KIB);
	loam_pacer_set_limit(&p, MIB / 2);
	assert_int_equal(loam_pacer_goal(&p), MIB);
	loam_pacer_set_limit(&p, NO_LIMIT);
	loam_pacer_commit(&p, MIB, &most, &no_memory);
	assert_int_equal(loam_pacer_goal(&p), MIB + MIB / 10);
}

/* ---- triggers, and what is learnt ---- */

/* A cycle of 10 ms on 8 threads that scans `scanned` while `made` is allocated, `busy` of 1000 parts. */
static void cycle(struct loam_pacer *p, uint64_t made, uint64_t scanned, uint64_t busy,
		  uint64_t marked)
{
	struct loam_pacer_work work = {.heap_bytes = scanned};
	uint64_t at = loam_pacer_trigger(p);

	loam_pacer_start(p, at, &work, 1000 * MS);
	loam_pacer_end(p, at + made, scanned, busy * 8 * MS / 100, 1010 * MS, 8);
	loam_pacer_commit(p, marked, &work, &no_memory);
}

static void near(uint64_t value, uint64_t want, uint64_t within)
{
	if (value + within < want || value > want + within)
		fail_msg("%llu is not near %llu", (unsigned long long)value,
			 (unsigned long long)want);
}

static void trigger_and_its_bounds(void **state)
{
	struct loam_pacer_work work = {.heap_bytes = 200 * MIB};
	struct loam_pacer p = collected(100, NO_LIMIT, 640 * MIB);
	static const uint64_t busy[] = {250, 500, 100, 999};

	(void)state;
	/* nothing is known: as early as may be; known to be slow: as late, 4 MiB before the goal or 3/64 of the way */
	assert_int_equal(loam_pacer_trigger(&p), 1090 * MIB);
	cycle(&p, 1 * MIB, 200 * MIB, 1, 640 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 1276 * MIB);
	p = collected(100, NO_LIMIT, 64 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 109 * MIB);
	cycle(&p, 1 * KIB, 2 * MIB, 1, 64 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 125 * MIB);
	p = collected(-1, NO_LIMIT, 64 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), NEVER);
	p = collected(0, NO_LIMIT, 64 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 64 * MIB);
	/* runway: 3 * made * busy / (1 - busy), scanned as much again */
	for (unsigned i = 0; i < COUNT_OF(busy); i++) {
		uint64_t made = MIB * 30 * (1000 - busy[i]) / busy[i];

		p = collected(100, NO_LIMIT, 640 * MIB);
		cycle(&p, made, 200 * MIB, busy[i], 640 * MIB);
		near(loam_pacer_trigger(&p), 1190 * MIB, 4 * KIB);
	}
	/* as early as may be: 45/64 of the way, if it is more than all there is too */
	p = collected(100, NO_LIMIT, 640 * MIB);
	cycle(&p, 60 * MIB, 200 * MIB, 600, 640 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 1090 * MIB);
	cycle(&p, TIB, 200 * MIB, 1000, 640 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 1090 * MIB);
	/* years, and more threads than there can be: 2^47 ns of 2^14 threads, of which a half */
	p = collected(100, NO_LIMIT, 640 * MIB);
	loam_pacer_start(&p, 1000 * MIB, &work, 0);
	loam_pacer_end(&p, 1030 * MIB, 200 * MIB, (uint64_t)1 << 60, (uint64_t)1 << 50, 1 << 14);
	loam_pacer_commit(&p, 640 * MIB, &work, &no_memory);
	near(loam_pacer_trigger(&p), 1190 * MIB, 16);
}

/* A sixth of the machine is to do: five times as much is allocated meanwhile, and all but 6/64 of the way may be needed for
 * that, but only half of it while nothing is known. */
static void early_triggers(void **state)
{
	struct loam_pacer p = collected(100, NO_LIMIT, 640 * MIB);

	(void)state;
	assert_false(loam_pacer_on_time(&p)); /* nothing is under way */
	loam_pacer_set_early(&p);
	assert_int_equal(loam_pacer_trigger(&p), 960 * MIB);
	cycle(&p, 30 * MIB, 200 * MIB, 500, 640 * MIB);
	near(loam_pacer_trigger(&p), 1130 * MIB, 4 * KIB);
	cycle(&p, 90 * MIB, 200 * MIB, 500, 640 * MIB);
	near(loam_pacer_trigger(&p), 830 * MIB, 4 * KIB);
	cycle(&p, 150 * MIB, 200 * MIB, 500, 640 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 700 * MIB);
	assert_false(loam_pacer_on_time(&p));
}

/* The highest cons/mark of five counts, and the sixth last no more. */
static void five_collections_are_remembered(void **state)
{
	struct loam_pacer p = collected(100, NO_LIMIT, 640 * MIB);

	(void)state;
	cycle(&p, 10 * MIB, 200 * MIB, 250, 640 * MIB);
	near(loam_pacer_trigger(&p), 1270 * MIB, 4 * KIB);
	cycle(&p, 100 * MIB, 200 * MIB, 250, 640 * MIB);
	for (int i = 0; i < 4; i++) {
		near(loam_pacer_trigger(&p), 1180 * MIB, 4 * KIB);
		cycle(&p, 20 * MIB, 200 * MIB, 250, 640 * MIB);
	}
	near(loam_pacer_trigger(&p), 1180 * MIB, 4 * KIB);
	cycle(&p, 20 * MIB, 200 * MIB, 250, 640 * MIB);
	near(loam_pacer_trigger(&p), 1260 * MIB, 4 * KIB);
}

/* No speed to be seen: nothing is learnt. No time to be seen: a quarter is taken for busy. */
static void what_teaches_nothing(void **state)
{
	struct loam_pacer_work work = {.heap_bytes = 200 * MIB};
	struct loam_pacer p = collected(100, NO_LIMIT, 640 * MIB), one;

	(void)state;
	cycle(&p, 100 * MIB, 200 * MIB, 250, 640 * MIB);
	for (int i = 0; i < 10; i++) {
		uint64_t at = loam_pacer_trigger(&p);

		near(at, 1180 * MIB, 16);
		loam_pacer_start(&p, at, &work, 1000);
		if (i % 2 == 0)
			loam_pacer_end(&p, at, 200 * MIB, 500, 2000, 1);
		else
			loam_pacer_end(&p, at + 700 * MIB, 999, 500, 2000, 1);
		loam_pacer_commit(&p, 640 * MIB, &work, &no_memory);
	}
	for (int i = 0; i < 4; i++) {
		static const struct {
			uint64_t busy, now, threads;
		} at[] = {{0, 2000, 1}, {50, 1000, 1}, {50, 900, 1}, {50, 2000, 0}};

		one = collected(100, NO_LIMIT, 640 * MIB);
		loam_pacer_start(&one, 1000 * MIB, &work, 1000);
		loam_pacer_end(&one, 1030 * MIB, 200 * MIB, at[i].busy, at[i].now, at[i].threads);
		loam_pacer_commit(&one, 640 * MIB, &work, &no_memory);
		near(loam_pacer_trigger(&one), 1250 * MIB, 16);
	}
}

/* ---- prices ---- */

/* Marking, from 100 to 200 MiB of heap: 90 MiB expected, 150 MiB at most. */
static struct loam_pacer marking(int percent)
{
	struct loam_pacer_work done = {60 * MIB, 20 * MIB, 7 * MIB};
	struct loam_pacer_work most = {100 * MIB, 40 * MIB, 10 * MIB};
	struct loam_pacer p;

	loam_pacer_init(&p, percent, NO_LIMIT);
	loam_pacer_commit(&p, 10 * MIB, &done, &no_memory);
	assert_int_equal(loam_pacer_assist_work(&p, MIB), 0);
	assert_int_equal(loam_pacer_assist_bytes(&p, MIB), 0);
	loam_pacer_set_limit(&p, 216201237); /* less 3 per cent: 200 MiB */
	assert_int_equal(loam_pacer_goal(&p) / 64, 200 * MIB / 64);
	loam_pacer_start(&p, 100 * MIB, &most, 0);
	return p;
}

static void price(struct loam_pacer *p, double work, double room)
{
	double is = (double)loam_pacer_assist_work(p, GIB) / (double)GIB, want = work / room;
	double inverse = (double)loam_pacer_assist_bytes(p, GIB) / (double)GIB;

	if (fabs(is - want) > want * 1e-6 || fabs(inverse * want - 1) > 1e-6)
		fail_msg("%f and %f, not %f", is, inverse, want);
}

static void prices(void **state)
{
	struct loam_pacer p = marking(3000);
	const double mib = (double)MIB;

	(void)state;
	price(&p, 90, 100);
	assert_true(loam_pacer_on_time(&p));
	loam_pacer_revise(&p, 150 * MIB, 30 * MIB);
	price(&p, 60, 50);
	assert_true(loam_pacer_on_time(&p));
	loam_pacer_revise(&p, 150 * MIB, 90 * MIB); /* almost nothing left */
	price(&p, 1000 / mib, 50);
	/* more than was expected: 150 MiB of work by 100 + 100 * 150/90 MiB of heap */
	loam_pacer_revise(&p, 150 * MIB, 100 * MIB);
	price(&p, 50, 350.0 / 3);
	/* past that: a tenth more of heap, and all the work there can be */
	loam_pacer_revise(&p, 280 * MIB, 100 * MIB);
	price(&p, 50, 880.0 / 3 - 280);
	loam_pacer_revise(&p, 205 * MIB, 60 * MIB);
	price(&p, 90, 15);
	assert_false(loam_pacer_on_time(&p));
	/* past that too: every byte costs all of the rest */
	loam_pacer_revise(&p, 294 * MIB, 150 * MIB - 5000);
	assert_int_equal(loam_pacer_assist_work(&p, 1), 5000);
	loam_pacer_revise(&p, TIB, 150 * MIB - 5000);
	assert_int_equal(loam_pacer_assist_work(&p, 1), 5000);
	loam_pacer_revise(&p, TIB, TIB);
	assert_int_equal(loam_pacer_assist_work(&p, 1), 1000);
	loam_pacer_set_limit(&p, 1); /* a goal below the trigger does not move */
	loam_pacer_revise(&p, 150 * MIB, 100 * MIB);
	assert_int_equal(loam_pacer_assist_work(&p, 1), 50 * MIB);
}

/* Near the goal little work is dear. It is on time all the same if it is done, at the pace so far, before the heap is a sixteenth past the goal; but
 * not where a limit sets that. */
static void the_pace_so_far_may_do(void **state)
{
	struct loam_pacer p, limited = marking(3000);

	(void)state;
	p = limited;
	loam_pacer_set_limit(&p, NO_LIMIT);
	loam_pacer_set_percent(&p, 500);
	assert_int_equal(loam_pacer_goal(&p), 195 * MIB);
	/* 93 have been allocated while 80 were scanned; 10 are left: 11.6 more */
	loam_pacer_revise(&p, 193 * MIB, 80 * MIB);
	price(&p, 10, 2);
	assert_true(loam_pacer_on_time(&p));
	loam_pacer_revise(&p, 195 * MIB, 80 * MIB); /* 11.9, of 12.2 */
	assert_true(loam_pacer_on_time(&p));
	loam_pacer_revise(&p, 195 * MIB, 79 * MIB); /* 13.2 */
	assert_false(loam_pacer_on_time(&p));
	loam_pacer_revise(&p, 194 * MIB, 100); /* nothing to go by */
	assert_false(loam_pacer_on_time(&p));
	loam_pacer_revise(&limited, 198 * MIB, 80 * MIB);
	price(&limited, 10, 2);
	assert_false(loam_pacer_on_time(&limited));
}

/* Written pages, late in the cycle: the room grows as the work does, and the price is not less than the first. */
static void what_is_scanned_again_gets_room(void **state)
{
	struct loam_pacer p = marking(3000);

	(void)state;
	loam_pacer_more(&p, 85 * MIB, 14 * MIB); /* 99 for 90: 110 for 100 */
	loam_pacer_revise(&p, 195 * MIB, 85 * MIB);
	price(&p, 14, 15);
	assert_true(loam_pacer_on_time(&p));
	loam_pacer_revise(&p, 150 * MIB, 85 * MIB);
	price(&p, 90, 100);
	/* twice as much in all, but a tenth more of heap */
	loam_pacer_more(&p, 85 * MIB, 95 * MIB);
	loam_pacer_revise(&p, 195 * MIB, 85 * MIB);
	price(&p, 95, 25);
	assert_false(loam_pacer_on_time(&p));
	/* fewer pages, later: that is what is left, also past the goal, but not cheaper than in the beginning */
	loam_pacer_more(&p, 85 * MIB, 5 * MIB);
	loam_pacer_revise(&p, 195 * MIB, 85 * MIB);
	price(&p, 5, 5);
	loam_pacer_revise(&p, 210 * MIB, 85 * MIB);
	price(&p, 90, 100);
}

static void the_goal_moves_within_percent(void **state)
{
	struct loam_pacer_work done = {.heap_bytes = 10 * MIB}, most = {.heap_bytes = 200 * MIB};
	struct loam_pacer p;

	(void)state;
	loam_pacer_init(&p, 50, NO_LIMIT);
	loam_pacer_commit(&p, 100 * MIB, &done, &no_memory);
	assert_int_equal(loam_pacer_goal(&p), 150 * MIB);
	loam_pacer_start(&p, 140 * MIB, &most, 0);
	price(&p, 10, 10);
	/* 140 + 10 * 20 would be 340 MiB; 150 and half of it are 225 */
	loam_pacer_revise(&p, 140 * MIB, 20 * MIB);
	price(&p, 180, 85);
	/* no percent: 1001 times as much */
	loam_pacer_set_percent(&p, -1);
	loam_pacer_set_limit(&p, 162150928);
	assert_int_equal(loam_pacer_goal(&p) / 64, 150 * MIB / 64);
	loam_pacer_revise(&p, 140 * MIB, 20 * MIB);
	price(&p, 180, 200);
}

/* [PACER-2]: pay for each piece what it costs, and the work is done when the room is used up. */
static void who_pays_is_done_in_time(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (int i = 0; i < 3000; i++) {
		uint64_t marked = MIB + up_to(&rng, GIB), room, paid = 0;
		struct loam_pacer p = collected(100, NO_LIMIT, marked);
		struct loam_pacer_work most = {.heap_bytes = marked};
		uint64_t live = loam_pacer_trigger(&p);

		loam_pacer_start(&p, live, &most, 0);
		room = loam_pacer_goal(&p) - live;
		if (room == 0)
			continue;
		for (uint64_t n; room > 0; room -= n) {
			n = 1 + rng_below(&rng, room / 8 + 1);
			n = n > room ? room : n;
			paid += loam_pacer_assist_work(&p, n);
		}
		assert_true(paid >= marked);
		assert_true(paid < marked + marked / 1000 + 2000);
		/* no work is for nothing, and no byte */
		assert_true(loam_pacer_assist_work(&p, 1) >= 1);
		assert_true(loam_pacer_assist_bytes(&p, 1) >= 1);
		assert_int_equal(loam_pacer_assist_work(&p, 0), 0);
		loam_pacer_commit(&p, marked, &most, &no_memory);
		assert_int_equal(loam_pacer_assist_work(&p, UINT64_MAX), 0);
		assert_int_equal(loam_pacer_assist_bytes(&p, UINT64_MAX), 0);
	}
}

/* ---- sweeping ---- */

/* [PACER-3] */
static void sweeping_ends_before_the_trigger(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t marked = up_to(&rng, 4 * TIB), pages = up_to(&rng, marked / 8192 + 1);
		struct loam_pacer p = collected((int)rng_below(&rng, 500), NO_LIMIT, marked);
		uint64_t live = marked + up_to(&rng, marked / 2), end, before = 0;

		if (i % 3 == 0)
			loam_pacer_set_limit(&p, 1 + up_to(&rng, 4 * TIB));
		loam_pacer_sweep_start(&p, pages, live);
		end = loam_pacer_trigger(&p);
		end = end >= live + MIB + 8192 ? end - MIB : live + 8192;
		assert_int_equal(loam_pacer_sweep_pages(&p, end), pages);
		assert_int_equal(loam_pacer_sweep_pages(&p, live), 0);
		assert_int_equal(loam_pacer_sweep_pages(&p, 0), 0);
		assert_int_equal(loam_pacer_sweep_pages(&p, UINT64_MAX), pages);
		/* not all at once: half of the way, half of the pages */
		near(loam_pacer_sweep_pages(&p, live + (end - live) / 2), pages / 2,
		     16 + ((end - live) >> 28));
		for (uint64_t at = live; at < end; at += (end - live) / 7 + 1) {
			uint64_t n = loam_pacer_sweep_pages(&p, at);

			assert_true(n >= before);
			before = n;
		}
		loam_pacer_sweep_start(&p, 0, live);
		assert_int_equal(loam_pacer_sweep_pages(&p, end), 0);
	}
}

static void sweeping_has_a_mebibyte(void **state)
{
	struct loam_pacer p = collected(0, NO_LIMIT, 100 * MIB);

	(void)state;
	/* no room at all by percent: the trigger moves */
	loam_pacer_sweep_start(&p, 1000, 100 * MIB);
	assert_int_equal(loam_pacer_trigger(&p), 101 * MIB);
	assert_int_equal(loam_pacer_sweep_pages(&p, 100 * MIB + 8192), 1000);
	/* with room: by a MiB before the trigger */
	p = collected(100, NO_LIMIT, 100 * MIB);
	loam_pacer_sweep_start(&p, 1000, 100 * MIB);
	assert_in_range(loam_pacer_trigger(&p), 170 * MIB, 171 * MIB); /* nothing is known yet */
	assert_true(loam_pacer_sweep_pages(&p, 168 * MIB) < 1000);
	assert_int_equal(loam_pacer_sweep_pages(&p, 170 * MIB), 1000);
	/* a commit ends it */
	loam_pacer_commit(&p, MIB, &(struct loam_pacer_work){0}, &no_memory);
	assert_int_equal(loam_pacer_sweep_pages(&p, TIB), 0);
	assert_int_equal(loam_pacer_goal(&p), 4 * MIB);
}

/* ---- against the formulas in floating point ---- */

struct oracle {
	double marked, heap, stacks, globals, percent;
	double history[LOAM_PACER_HISTORY], units[LOAM_PACER_HISTORY];
};

/* *within: how far off a trigger from ratios of 2^-32 may be. */
static double oracle_trigger(const struct oracle *o, double *to, double *within)
{
	double cons_mark = 0, units = 0, run, low, high;

	*to = o->marked + (o->marked + o->stacks + o->globals) * o->percent / 100;
	*to = fmax(*to, (double)(4 * MIB) * o->percent / 100);
	for (int i = 0; i < LOAM_PACER_HISTORY; i++)
		cons_mark = fmax(cons_mark, o->history[i]);
	for (int i = 0; i < LOAM_PACER_HISTORY; i++)
		units = fmax(units, o->units[i]);
	*within = 64 + *to * 1e-12 +
		  3 * (o->heap + o->stacks + o->globals) * units / (double)LOAM_RATIO_ONE;
	run = cons_mark * 0.75 / 0.25 * (o->heap + o->stacks + o->globals);
	low = o->marked + (*to - o->marked) * 45 / 64;
	high = fmax(o->marked + (*to - o->marked) * 61 / 64, *to - (double)(4 * MIB));
	if (units == 0) /* nothing is known */
		return low;
	return fmin(fmax(*to - run, low), high);
}

static void formulas(void **state)
{
	struct rng rng = {test_seed()};
	struct loam_pacer p;
	struct oracle o;
	double to, at, within;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		uint64_t live, made, busy, ns, threads, scanned;
		struct loam_pacer_work done, most = {TIB, 0, 0};

		if (i % 20 == 0) {
			memset(&o, 0, sizeof(o));
			o.percent = (double)rng_below(&rng, 1000);
			loam_pacer_init(&p, (int)o.percent, NO_LIMIT);
		}
		live = loam_pacer_trigger(&p);
		made = 1 + up_to(&rng, TIB);
		threads = 1 + rng_below(&rng, 256);
		ns = 1000 + up_to(&rng, 3600 * 1000 * MS);
		busy = 1 + rng_below(&rng, ns * threads / 1000 * 999);
		done = (struct loam_pacer_work){up_to(&rng, TIB), up_to(&rng, 10 * GIB),
						up_to(&rng, GIB)};
		scanned = done.heap_bytes + done.stack_bytes + done.global_bytes;
		loam_pacer_start(&p, live, &most, 77);
		loam_pacer_end(&p, live + made, scanned, busy, 77 + ns, threads);
		o.marked = (double)(done.heap_bytes + up_to(&rng, GIB));
		loam_pacer_commit(&p, (uint64_t)o.marked, &done, &no_memory);
		o.heap = (double)done.heap_bytes;
		o.stacks = (double)done.stack_bytes;
		o.globals = (double)done.global_bytes;
		if (scanned >= 1000) {
			double all = (double)(ns * threads), speed = (double)made / (double)scanned;
			double share = (double)busy / (all - (double)busy);

			memmove(&o.history[1], &o.history[0], 4 * sizeof(double));
			memmove(&o.units[1], &o.units[0], 4 * sizeof(double));
			o.history[0] = speed * share;
			o.units[0] = 6 * speed + 6 * share + 1;
		}
		at = oracle_trigger(&o, &to, &within);
		if (fabs((double)loam_pacer_goal(&p) - to) > to * 1e-12 + 2 ||
		    fabs((double)loam_pacer_trigger(&p) - at) > within)
			fail_msg("%d: %llu, %llu, not %f, %f", i,
				 (unsigned long long)loam_pacer_trigger(&p),
				 (unsigned long long)loam_pacer_goal(&p), at, to);
	}
}

/* ---- beyond all sense ---- */

static void check_order(const struct loam_pacer *p)
{
	uint64_t to = loam_pacer_goal(p), at = loam_pacer_trigger(p);

	assert_true(at <= to); /* [PACER-1] */
	assert_true(p->marked_bytes <= at);
	assert_true(to != NEVER || at == NEVER);
}

/* Any numbers in any order that the header allows; the sanitizers watch. [PACER-4] */
static void any_numbers(void **state)
{
	struct rng rng = {test_seed()};
	struct loam_pacer p;

	(void)state;
	loam_pacer_init(&p, 100, NO_LIMIT);
	for (int i = 0; i < 1000000; i++) {
		struct loam_pacer_work w = {any_number(&rng), any_number(&rng), any_number(&rng)};
		struct loam_pacer_memory m = {any_number(&rng), any_number(&rng), any_number(&rng)};
		bool started = p.triggered_bytes != NEVER;
		uint64_t a = any_number(&rng), b = any_number(&rng);

		switch (rng_below(&rng, 10)) {
		case 0:
			loam_pacer_init(&p, (int)(uint32_t)a, b);
			break;
		case 1:
			loam_pacer_set_percent(&p, (int)(uint32_t)a);
			break;
		case 2:
			loam_pacer_set_limit(&p, a);
			break;
		case 3:
			loam_pacer_set_memory(&p, &m);
			break;
		case 4:
			loam_pacer_sweep_start(&p, a, b);
			assert_true(loam_pacer_sweep_pages(&p, any_number(&rng)) <= a);
			break;
		case 5:
			if (started)
				loam_pacer_end(&p, a, b, any_number(&rng), any_number(&rng),
					       any_number(&rng));
			loam_pacer_commit(&p, any_number(&rng), &w, &m);
			assert_int_equal(loam_pacer_assist_work(&p, a), 0);
			break;
		default:
			if (!started)
				loam_pacer_start(&p, a, &w, b);
			loam_pacer_revise(&p, a, b);
			assert_true(loam_pacer_assist_work(&p, 1) >= 1);
			assert_true(loam_pacer_assist_bytes(&p, 1) >= 1);
			assert_true(loam_pacer_assist_work(&p, a) >=
				    loam_pacer_assist_work(&p, a / 2));
			break;
		}
		check_order(&p);
	}
}

/* ---- many threads ---- */

static struct loam_pacer shared;
static uint32_t shared_done;

static void *reader(void *arg)
{
	uint64_t n = 0;

	(void)arg;
	while (!__atomic_load_n(&shared_done, __ATOMIC_RELAXED)) {
		n += loam_pacer_assist_work(&shared, 4096) != 0;
		n += loam_pacer_assist_bytes(&shared, 4096) != 0;
		n += loam_pacer_trigger(&shared) <= loam_pacer_goal(&shared);
		n += loam_pacer_sweep_pages(&shared, 150 * MIB) <= 1000;
	}
	return (void *)(uintptr_t)n;
}

static void *reviser(void *arg)
{
	uint64_t from = *(const uint64_t *)arg;

	for (uint64_t i = 0; i < 20000; i++)
		loam_pacer_revise(&shared, 140 * MIB + from + i * 100, i * 300);
	return NULL;
}

/* Under TSan: readers and revisers need no lock, while percent and limit change. */
static void readers_and_revisers(void **state)
{
	struct loam_pacer_work most = {.heap_bytes = 100 * MIB};
	uint64_t from[2] = {0, 50};
	pthread_t thread[4];

	(void)state;
	shared = collected(100, NO_LIMIT, 100 * MIB);
	loam_pacer_sweep_start(&shared, 1000, 100 * MIB);
	loam_pacer_start(&shared, 140 * MIB, &most, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&thread[i], NULL, reader, NULL), 0);
		assert_int_equal(pthread_create(&thread[2 + i], NULL, reviser, &from[i]), 0);
	}
	for (int i = 0; i < 2000; i++) {
		loam_pacer_set_percent(&shared, 50 + i % 100);
		loam_pacer_set_limit(&shared, i % 2 == 0 ? NO_LIMIT : 300 * MIB);
		loam_pacer_sweep_start(&shared, (uint64_t)(i % 1000), 100 * MIB);
	}
	pthread_join(thread[2], NULL);
	pthread_join(thread[3], NULL);
	__atomic_store_n(&shared_done, 1, __ATOMIC_RELAXED);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	loam_pacer_revise(&shared, 140 * MIB, 0);
	assert_true(loam_pacer_assist_work(&shared, MIB) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ratios_are_near_and_on_the_right_side),
		cmocka_unit_test(goal_by_percent),
		cmocka_unit_test(goal_by_limit),
		cmocka_unit_test(the_lower_goal_wins),
		cmocka_unit_test(goal_gives_way),
		cmocka_unit_test(trigger_and_its_bounds),
		cmocka_unit_test(early_triggers),
		cmocka_unit_test(five_collections_are_remembered),
		cmocka_unit_test(what_teaches_nothing),
		cmocka_unit_test(prices),
		cmocka_unit_test(the_pace_so_far_may_do),
		cmocka_unit_test(what_is_scanned_again_gets_room),
		cmocka_unit_test(the_goal_moves_within_percent),
		cmocka_unit_test(who_pays_is_done_in_time),
		cmocka_unit_test(sweeping_ends_before_the_trigger),
		cmocka_unit_test(sweeping_has_a_mebibyte),
		cmocka_unit_test(formulas),
		cmocka_unit_test(any_numbers),
		cmocka_unit_test(readers_and_revisers),
	};
	return cmocka_run_group_tests_name("pacer", tests, NULL, NULL);
}
