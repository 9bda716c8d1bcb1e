/* SPDX-License-Identifier: MIT */
/* Many threads on one heap: allocate, share, free across threads, collect. [THREAD-1], [THREAD-2],
 * [WORLD-1] hold or these tests hang or panic; run under TSan as well. */
#include "mm/sys.h"
#include "tests/host/thread_setup.h"

#include <sched.h>
#include <time.h>

#define THREADS 4
#define SHARED	256

/* Mailboxes between threads: registered roots, exchanged atomically. */
static uint64_t *mailbox[SHARED];

struct job {
	pthread_t thread;
	uint64_t seed;
	bool frees;
};

/* A block knows its size and is filled with its own mark. */
static uint64_t *make_block(struct rng *rng)
{
	uint64_t words = 2 + rng_below(rng, 60), *p = loam_alloc(words * 8);

	if (p == NULL)
		return NULL;
	for (uint64_t i = 1; i < words; i++)
		CHECK(p[i] == 0);
	p[0] = words;
	for (uint64_t i = 1; i < words; i++)
		p[i] = words * 1000 + i;
	return p;
}

static void check_block(const uint64_t *p)
{
	for (uint64_t i = 1; i < p[0]; i++)
		CHECK(p[i] == p[0] * 1000 + i);
}

static void *worker(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct job *job = arg;
	struct rng rng = {job->seed};

	attach(thread);
	for (int i = 0; i < 6000; i++) {
		uint64_t *p = make_block(&rng), *old;

		if (p == NULL)
			continue;
		old = loam_store_exchange(&mailbox[rng_below(&rng, SHARED)], p);
		if (old != NULL) {
			check_block(old);
			if (job->frees)
				CHECK(loam_free(old) == LOAM_OK);
		}
		if (i % 1500 == 700)
			loam_gc();
		loam_gc_safepoint();
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void run(bool frees)
{
	struct job job[THREADS];

	failures = 0;
	memset(mailbox, 0, sizeof(mailbox));
	assert_int_equal(loam_root_add(mailbox, mailbox + SHARED), LOAM_OK);
	for (unsigned i = 0; i < THREADS; i++) {
		job[i].seed = test_seed() + i;
		job[i].frees = frees;
		pthread_create(&job[i].thread, NULL, worker, &job[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(job[i].thread, NULL);
	assert_int_equal(failures, 0);
	loam_heap_verify();
	assert_int_equal(loam_root_remove(mailbox, mailbox + SHARED), LOAM_OK);
	memset(mailbox, 0, sizeof(mailbox));
}

static void threads_drop_references(void **state)
{
	(void)state;
	run(false);
}

static void threads_free_across(void **state)
{
	(void)state;
	run(true);
}

/* ---- who masks interrupts is waited for ---- */

static bool masked, unmasked;

static void *hold_space_lock(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct timespec left = {.tv_nsec = 50000000};
	uintptr_t irq;

	(void)arg;
	attach(thread);
	irq = loam_sys_enter();
	__atomic_store_n(&masked, true, __ATOMIC_RELEASE);
	while (nanosleep(&left, &left) != 0)
		; /* the stop's signal comes */
	__atomic_store_n(&unmasked, true, __ATOMIC_RELEASE);
	CHECK(loam_sys_leave(irq, LOAM_OK) == LOAM_OK);
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void a_holder_of_mm_s_lock_is_not_stopped(void **state)
{
	pthread_t thread;
	bool waited;

	(void)state;
	masked = unmasked = false;
	assert_int_equal(pthread_create(&thread, NULL, hold_space_lock, NULL), 0);
	while (!__atomic_load_n(&masked, __ATOMIC_ACQUIRE))
		sched_yield();
	loam_host_world_stop();
	waited = __atomic_load_n(&unmasked, __ATOMIC_ACQUIRE);
	loam_host_world_start();
	pthread_join(thread, NULL);
	assert_true(waited);
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(a_holder_of_mm_s_lock_is_not_stopped),
		heap_test(threads_drop_references),
		heap_test(threads_free_across),
		heap_test_software(threads_drop_references),
		heap_test_software(threads_free_across),
	};
	return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
