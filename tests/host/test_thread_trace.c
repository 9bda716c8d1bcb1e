/* SPDX-License-Identifier: MIT */
/*
 * Records, histograms and figures are read by threads that are never stopped, while others allocate, donate time, ask for
 * collections and print lines. A record that is of two cycles, or is not whole, does not add up with the one
 * before it, or with what was read of it earlier: [RECORD-1] to [RECORD-3]. [HIST-1] with many that add.
 */
#include "tests/host/thread_setup.h"

#include "gc/histogram.h"

#include <sched.h>

#define MUTATORS 3
#define DONORS	 2
#define READERS	 2
#define ADDERS	 4
#define OPS	 6000
#define SLOTS	 32

static void *slots[MUTATORS][SLOTS]; /* registered */
static bool over;
static uint64_t lines, seed;

static void count_lines(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	CHECK(len > 0 && buf[len - 1] == '\n' && memchr(buf, '\n', len - 1) == NULL);
	CHECK(memcmp(buf, "gc", 2) == 0 || memcmp(buf, "pacer: ", 7) == 0 ||
	      memcmp(buf, "scav ", 5) == 0 || buf[0] == ' ' || memcmp(buf, "heap", 4) == 0 ||
	      memcmp(buf, "sys:", 4) == 0);
	__atomic_add_fetch(&lines, memcmp(buf, "gc ", 3) == 0, __ATOMIC_RELAXED);
}

static void *mutate(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	unsigned number = (unsigned)(uintptr_t)arg;
	struct rng rng = {seed + number};

	attach(thread);
	for (unsigned i = 0; i < OPS; i++) {
		void **p = loam_alloc(16 + rng_below(&rng, 2000));
		void **at = &slots[number][rng_below(&rng, SLOTS)];

		CHECK(p != NULL);
		loam_store(&p[0], rng_below(&rng, 8) != 0 ? *at : NULL);
		loam_store(at, p);
		if (i % 50 == 25) /* the ring goes round */
			loam_gc();
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void *donate(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct loam_stats stats;
	uint64_t pauses = 0;

	(void)unused;
	attach(thread);
	for (unsigned i = 0; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++) {
		if (!loam_gc_work(50000))
			sched_yield();
		loam_stats_read(&stats);
		CHECK(stats.pause_total_ns >= pauses && stats.gc_cpu_ppm <= 1000000);
		CHECK(stats.pause_max_ns <= stats.pause_total_ns);
		pauses = stats.pause_total_ns;
		if (i % 256 == 0)
			loam_dump_stats();
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

/* ---- readers ---- */

static uint64_t end_ns(const struct loam_gc_cycle *c)
{
	return c->begin_ns + c->begin_stop_ns + c->mark_ns + c->end_stop_ns;
}

/* The records of a cycle and of the one before. */
static void check_pair(const struct loam_gc_cycle *c, const struct loam_gc_cycle *before)
{
	CHECK(c->number == before->number + 1); /* [RECORD-2] */
	CHECK(c->busy_ns - before->busy_ns ==
	      c->assist_ns + c->donated_ns + c->stopped_ns * c->procs);
	CHECK(c->total_ns - before->total_ns == (end_ns(c) - end_ns(before)) * c->procs);
	/* who swept last looks at the clock when others may ask for the stop already; but it is inside */
	CHECK(before->swept && end_ns(before) + before->sweep_ns <= c->begin_ns + c->begin_stop_ns);
	CHECK(c->stopped_ns >= c->begin_stop_ns + c->end_stop_ns); /* [RECORD-3] */
	CHECK(c->stopped_ns <= end_ns(c) - c->begin_ns);
}

static void check_same(struct loam_gc_cycle now, struct loam_gc_cycle then)
{
	CHECK(now.swept || !then.swept);
	if (!then.swept)
		now.swept = false, now.sweep_ns = 0;
	CHECK(memcmp(&now, &then, sizeof(now)) == 0);
}

static void *watch(void *unused)
{
	static __thread struct loam_gc_cycle c[LOAM_GC_CYCLES], old[LOAM_GC_CYCLES];
	static __thread struct loam_histogram pauses, stopping;
	size_t n, old_n = 0;

	(void)unused;
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		n = loam_gc_cycles_read(c, LOAM_GC_CYCLES);
		for (size_t i = 0; i + 1 < n; i++)
			check_pair(&c[i], &c[i + 1]);
		for (size_t i = 0; n > 0 && i < old_n; i++) {
			size_t at = c[0].number - old[i].number;

			CHECK(c[0].number >= old[0].number);
			if (at < n)
				check_same(c[at], old[i]);
		}
		memcpy(old, c, n * sizeof(c[0]));
		old_n = n;
		loam_gc_histogram_read(LOAM_GC_PAUSES, &pauses);
		loam_gc_histogram_read(LOAM_GC_STOPPING, &stopping);
		CHECK(loam_histogram_total(&pauses) <= loam_histogram_total(&stopping));
		sched_yield();
	}
	return NULL;
}

static void start(pthread_t *thread, unsigned count, void *(*run)(void *arg))
{
	for (uintptr_t i = 0; i < count; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run, (void *)i), 0);
}

static void join(const pthread_t *thread, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
}

/* All is quiet: sums are exact. */
static void check_sums(void)
{
	static struct loam_gc_cycle c[LOAM_GC_CYCLES];
	struct loam_histogram pauses;
	struct loam_stats stats;
	uint64_t stops = 0, stopped = 0;
	size_t n = loam_gc_cycles_read(c, LOAM_GC_CYCLES);

	loam_stats_read(&stats);
	loam_gc_histogram_read(LOAM_GC_PAUSES, &pauses);
	for (size_t i = 0; i < n; i++) {
		stops += c[i].stops;
		stopped += c[i].stopped_ns;
	}
	assert_int_equal(c[0].number, stats.num_gc);
	assert_int_equal(n, stats.num_gc < LOAM_GC_CYCLES ? stats.num_gc : LOAM_GC_CYCLES);
	if (n == stats.num_gc) {
		assert_int_equal(stops, loam_histogram_total(&pauses));
		assert_int_equal(stopped, stats.pause_total_ns);
	}
	assert_int_equal(lines, stats.num_gc);
}

static void records_add_up_while_cycles_run(void **state)
{
	pthread_t mutator[MUTATORS], donor[DONORS], reader[READERS];

	(void)state;
	seed = test_seed();
	failures = 0;
	over = false;
	lines = 0;
	memset(slots, 0, sizeof(slots));
	assert_int_equal(loam_root_add(slots, slots + MUTATORS), LOAM_OK);
	loam_gc_set_percent(2); /* many cycles */
	loam_heap.trace = 3;
	loam_host_on_log(count_lines);
	start(reader, READERS, watch);
	start(donor, DONORS, donate);
	start(mutator, MUTATORS, mutate);
	join(mutator, MUTATORS);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	join(donor, DONORS);
	join(reader, READERS);
	loam_gc();
	loam_heap.trace = 0;
	loam_host_on_log(quiet_log);
	assert_int_equal(failures, 0);
	check_sums();
	memset(slots, 0, sizeof(slots));
	assert_int_equal(loam_root_remove(slots, slots + MUTATORS), LOAM_OK);
}

/* ---- histograms ---- */

static struct loam_histogram sum;

static void *add_many(void *arg)
{
	struct rng rng = {(uintptr_t)arg};

	for (unsigned i = 0; i < 20000; i++)
		loam_histogram_add(&sum, (int64_t)(rng_next(&rng) >> rng_below(&rng, 64)));
	return NULL;
}

static void many_add_to_one(void **state)
{
	static struct loam_histogram want;
	pthread_t adder[ADDERS];

	(void)state;
	start(adder, ADDERS, add_many);
	join(adder, ADDERS);
	loam_histogram_copy(&want, &sum);
	memset(&sum, 0, sizeof(sum));
	for (uintptr_t i = 0; i < ADDERS; i++)
		add_many((void *)i);
	assert_memory_equal(&want, &sum, sizeof(sum));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(records_add_up_while_cycles_run),
		heap_test_software(records_add_up_while_cycles_run),
		heap_test_stop(records_add_up_while_cycles_run),
		cmocka_unit_test(many_add_to_one),
	};

	return cmocka_run_group_tests_name("thread_trace", tests, NULL, NULL);
}
