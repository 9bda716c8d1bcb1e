/* SPDX-License-Identifier: MIT */
/*
 * [SHORT-1]: threads under a limit that is tight for all of them and enough for each: none is told that there is no memory, for what one
 * collects is its own. And all of them where everything lives: each is told so, after a few cycles.
 * And what they do one after the other, by holding them up.
 */
#include "tests/host/other_thread.h"

#define THREADS 4
#define LIMIT	((uint64_t)18 << 20)
#define BLOCK	((size_t)2 << 20)
#define BYTES	((size_t)96 << 20) /* each allocates so many */

static unsigned running; /* atomic */

/* Blocks, and short lists between them; all is dropped. */
static void churn(void)
{
	for (size_t bytes = 0; bytes < BYTES; bytes += BLOCK) {
		void **list = NULL;

		CHECK(loam_alloc_noscan(BLOCK) != NULL);
		for (unsigned i = 0; i < 512; i++) {
			void **link = loam_alloc(16 + 16 * (i % 20));

			CHECK(link != NULL);
			if (link == NULL)
				return;
			*link = (void *)list;
			list = link;
		}
	}
}

static void *be_short(void *job)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	attach(thread);
	((void (*)(void))job)();
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void run_all(void (*job)(void))
{
	pthread_t thread[THREADS];

	failures = 0;
	running = THREADS;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, be_short, (void *)job);
	while (__atomic_load_n(&running, __ATOMIC_RELAXED) != 0) {
		usleep(500); /* others need the CPU */
		loam_gc_safepoint();
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(failures, 0);
}

static void what_is_garbage_is_found_by_all(void **state)
{
	(void)state;
	loam_sys_set_limit(LIMIT);
	run_all(churn);
}

#define ASKED 4u /* times, by each */

static void *live; /* a root */

static void ask_for_more(void)
{
	for (unsigned i = 0; i < ASKED; i++)
		CHECK(loam_alloc_noscan(LIMIT / 2) == NULL);
}

/* A chain that lives, until there is no memory. */
static void fill_up(void)
{
	void **list = NULL, **link;

	for (size_t i = 0; (link = loam_alloc(256 + 16 * (i % 20))) != NULL; i++) {
		*link = (void *)list;
		list = link;
	}
}

/* Each learns that there is none, and that costs it two cycles at most, whoever has them. */
static void where_all_lives_all_learn_it(void **state)
{
	uint64_t cycles;

	(void)state;
	assert_int_equal(loam_root_add(&live, &live + 1), LOAM_OK);
	loam_sys_set_limit(LIMIT);
	live = loam_alloc_noscan(LIMIT / 2);
	assert_non_null(live);
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK); /* none are due besides */
	cycles = loam_heap.cycles;
	run_all(ask_for_more);
	cycles = loam_heap.cycles - cycles;
	assert_true(cycles > 0 && cycles <= 2 * THREADS * ASKED);
	printf("# %u refusals, %u cycles\n", THREADS * ASKED, (unsigned)cycles);
	run_all(fill_up);
	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
	live = NULL;
	clear_stack();
	assert_non_null(loam_alloc_noscan(LIMIT / 2));
	assert_int_equal(loam_root_remove(&live, &live + 1), LOAM_OK);
}

/* ---- one by one ---- */

#define LARGE ((size_t)8 << 20)

static void *block; /* a root */
static char *grown;

static __attribute__((noinline)) void make_block(void)
{
	block = loam_alloc_noscan(LARGE);
	assert_non_null(block);
}

/* There is room for one block, and what has it is garbage. */
static void fill_with_garbage(void)
{
	assert_int_equal(loam_root_add(&block, &block + 1), LOAM_OK);
	make_block();
	loam_sys_set_limit(loam_sys_ready_bytes() + LARGE / 2);
	block = NULL;
	clear_stack();
}

static void no_more_room(void)
{
	assert_int_equal(loam_heap.queue.turn, loam_heap.queue.next);
	assert_false(loam_heap.queue.shut);
	loam_sys_set_limit(UINT64_MAX);
	loam_root_remove(&block, &block + 1);
}

static void take_block(void)
{
	void *p;

	clear_stack(); /* where blocks of earlier tests were, at the same address */
	p = loam_alloc_noscan(LARGE);
	CHECK(p != NULL);
	if (p != NULL)
		CHECK(loam_free(p) == LOAM_OK);
}

static void make_grown(void)
{
	grown = loam_alloc_noscan(LARGE / 4);
	CHECK(grown != NULL);
}

static void grow(void)
{
	char *p = loam_realloc(grown, LARGE / 4 * 5);

	CHECK(p != NULL);
	CHECK(loam_free(p != NULL ? p : grown) == LOAM_OK);
}

static const char *hold_at;
static void (*meanwhile)(void);
static bool before_us; /* somebody whose turn was before ours found none */
static bool waits;     /* atomic: the other has taken a number */

/* Before we look at what we have freed the other has taken that, or a number. Then it is held up until we make `waits` false again. */
static void hold_for_block(const char *place)
{
	if (is_other && strcmp(place, "a number is taken") == 0) {
		__atomic_store_n(&waits, true, __ATOMIC_RELEASE);
		for (int i = 0; i < PATIENCE && __atomic_load_n(&waits, __ATOMIC_ACQUIRE); i++)
			usleep(100);
	} else if (!is_other && before_us && strcmp(place, "memory was freed") == 0) {
		loam_heap.queue.lacked = loam_heap.cycles;
	} else if (!is_other && meanwhile != NULL && strcmp(place, hold_at) == 0) {
		tell_other(meanwhile);
		meanwhile = NULL;
		while (!__atomic_load_n(&waits, __ATOMIC_ACQUIRE) &&
		       __atomic_load_n(&other.job, __ATOMIC_ACQUIRE) != NULL)
			usleep(100);
	}
}

static void hold_until_other_waits(const char *place, void (*job)(void))
{
	waits = false;
	meanwhile = job;
	hold_at = place;
	loam_at_place = hold_for_block;
}

static void let_other_go(void)
{
	__atomic_store_n(&waits, false, __ATOMIC_RELEASE);
	wait_for_other();
}

/* [SHORT-1]: we collect, for we have found no memory, and nobody takes what that frees before us. */
static void expect_block_is_ours(void (*job)(void))
{
	fill_with_garbage();
	hold_until_other_waits("memory was freed", job);
	make_block();
	assert_null(meanwhile);
	assert_true(waits);
	assert_int_equal(loam_free(block), LOAM_OK);
	block = NULL;
	let_other_go();
	no_more_room();
}

static void what_is_freed_for_us_is_ours(void **state)
{
	(void)state;
	expect_block_is_ours(take_block);
}

static void try_block(void)
{
	void *p = loam_alloc_noscan(LARGE);

	CHECK(p == NULL || loam_free(p) == LOAM_OK); /* we may have it still */
}

static void hold_in_turn(const char *place)
{
	if (is_other || strcmp(place, "memory was freed") != 0)
		return;
	loam_at_place = NULL;
	tell_other(try_block);
	for (int i = 0; i < PATIENCE / 5 && __atomic_load_n(&other.job, __ATOMIC_ACQUIRE) != NULL;
	     i++)
		usleep(100);
	assert_non_null(other.job);
}

/* While it is our turn it is nobody else's. */
static void turns_come_one_by_one(void **state)
{
	(void)state;
	fill_with_garbage();
	loam_at_place = hold_in_turn;
	make_block();
	assert_null(loam_at_place);
	wait_for_other();
	block = NULL;
	no_more_room();
}

static void take_small(void)
{
	void *p = loam_alloc_noscan(LOAM_SMALL_MAX);

	CHECK(p != NULL && loam_free(p) == LOAM_OK);
}

static void what_is_freed_for_us_is_no_small_object(void **state)
{
	(void)state;
	expect_block_is_ours(take_small);
}

/* We get what we have freed and drop it. Who waited meanwhile has to collect again; though one before us may have found none. */
static void who_waited_collects_again(void **state)
{
	(void)state;
	assert_non_null(loam_alloc_noscan(16));
	fill_with_garbage();
	hold_until_other_waits("a number is taken", take_block);
	before_us = true;
	make_block();
	before_us = false;
	assert_null(meanwhile);
	block = NULL;
	clear_stack();
	assert_non_null(loam_alloc_noscan(16)); /* a signal puts all registers on the stack */
	let_other_go();
	no_more_room();
}

static void find_none(void)
{
	CHECK(loam_alloc_noscan(LARGE) == NULL);
}

/* All is live. Who waits for us learns that from the cycle that we had, which began when it waited already. */
static void who_finds_none_tells_who_waits(void **state)
{
	uint64_t cycles = loam_heap.cycles;

	(void)state;
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK);
	loam_sys_set_limit(loam_sys_ready_bytes() + LARGE / 2);
	hold_until_other_waits("a number is taken", find_none);
	assert_null(loam_alloc_noscan(LARGE));
	assert_null(meanwhile);
	let_other_go();
	assert_int_equal(loam_heap.cycles, cycles + 1);
	assert_false(loam_heap.queue.shut);
	loam_sys_set_limit(UINT64_MAX);
	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
}

static bool goes; /* atomic: the other gives back a half of what we need */

static void give_back(void)
{
	struct loam_cache *cache = loam_cache_self();

	loam_cache_enter(cache);
	(void)loam_scavenge_all();
	loam_cache_leave(cache);
}

/* The other is about to give back what we need, and takes its time. */
static void hold_what_goes_back(const char *place)
{
	uint64_t pages = __atomic_load_n(&loam_heap.pages.leaving, __ATOMIC_RELAXED);

	if (is_other && strcmp(place, "pages go back") == 0 && pages > LARGE / 4 / LOAM_HEAP_PAGE) {
		__atomic_store_n(&goes, true, __ATOMIC_RELEASE);
		usleep(20000);
	} else if (!is_other && strcmp(place, "memory was freed") == 0 && !goes) {
		tell_other(give_back);
		while (!__atomic_load_n(&goes, __ATOMIC_ACQUIRE))
			usleep(100);
	}
}

/* There is room for a block only when both halves of the garbage have gone back. */
static __attribute__((noinline)) void fill_with_halves(void)
{
	(void)loam_alloc_noscan(LARGE / 2);
	grown = loam_alloc_noscan(LARGE / 64);
	(void)loam_alloc_noscan(LARGE / 2);
	loam_sys_set_limit(loam_sys_ready_bytes() + LARGE / 4);
}

/* What others give back just then is waited for. */
static void what_goes_back_is_waited_for(void **state)
{
	(void)state;
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK);
	assert_int_equal(loam_root_add(&grown, &grown + 1), LOAM_OK);
	assert_int_equal(loam_root_add(&block, &block + 1), LOAM_OK);
	fill_with_halves();
	clear_stack();
	goes = false;
	loam_at_place = hold_what_goes_back;
	make_block();
	assert_true(goes);
	wait_for_other();
	no_more_room();
	assert_int_equal(loam_root_remove(&grown, &grown + 1), LOAM_OK);
	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
}

static void nobody_grows_into_it(void **state)
{
	(void)state;
	assert_int_equal(loam_root_add(&grown, &grown + 1), LOAM_OK);
	tell_other(make_grown);
	wait_for_other();
	expect_block_is_ours(grow);
	assert_int_equal(loam_root_remove(&grown, &grown + 1), LOAM_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		order_test(what_is_freed_for_us_is_ours, order_up_software),
		order_test(what_is_freed_for_us_is_ours, order_up_mmu),
		order_test(turns_come_one_by_one, order_up_software),
		order_test(what_is_freed_for_us_is_no_small_object, order_up_software),
		order_test(nobody_grows_into_it, order_up_software),
		order_test(who_waited_collects_again, order_up_software),
		order_test(who_finds_none_tells_who_waits, order_up_software),
		order_test(what_goes_back_is_waited_for, order_up_software),
		heap_test(what_is_garbage_is_found_by_all),
		heap_test_software(what_is_garbage_is_found_by_all),
		heap_test_stop(what_is_garbage_is_found_by_all),
		heap_test(where_all_lives_all_learn_it),
		heap_test_software(where_all_lives_all_learn_it),
		heap_test_stop(where_all_lives_all_learn_it),
	};
	return cmocka_run_group_tests_name("short of memory", tests, NULL, NULL);
}
