/* SPDX-License-Identifier: MIT */
/*
 * The page heap: huge leaves, what is known to be zero, copying and moving, and what the scavenger keeps. [PAGES-1] to
 * [PAGES-3] are verified throughout; random runs look for old bytes where there should be none. The clock is ours: it goes on
 * by a step each time somebody looks.
 */
#include "tests/host/heap_setup.h"

#include <loam/stack.h>
#include <sys/mman.h>

#define MIB ((uint64_t)1 << 20)

static uint64_t now = 1000000000, step;

uint64_t __wrap_loam_host_now_ns(void);
uint64_t __wrap_loam_host_now_ns(void)
{
	return now += step;
}

static void *block[4096]; /* a root */

static int up_with(void **state, enum loam_barrier barrier)
{
	heap_up_with(state, barrier);
	step = 1000;
	loam_gc_set_percent(-1);
	memset(block, 0, sizeof(block));
	assert_int_equal(loam_root_add(block, block + COUNT_OF(block)), LOAM_OK);
	return 0;
}

static int up(void **state)
{
	return up_with(state, LOAM_BARRIER_DEFAULT);
}

static int up_software(void **state)
{
	return up_with(state, LOAM_BARRIER_SOFTWARE);
}

#define pageheap_test(f) cmocka_unit_test_setup_teardown(f, up, heap_down)

static uint64_t ready(void)
{
	struct loam_sys_stats sys;

	loam_sys_stats(&sys);
	return sys.ready_bytes[LOAM_OWNER_HEAP];
}

static uint64_t huge(void)
{
	struct loam_sys_stats sys;

	loam_sys_stats(&sys);
	return sys.huge_ready_bytes;
}

/* All of it must be zero, and is not afterwards. */
static void soil(void *p, size_t n)
{
	for (size_t i = 0; i < n / 8; i++)
		assert_int_equal(((uint64_t *)p)[i], 0);
	memset(p, 0xa5, n);
}

static void fill(unsigned count, size_t size)
{
	for (unsigned i = 0; i < count; i++) {
		block[i] = loam_alloc_noscan(size);
		assert_non_null(block[i]);
		soil(block[i], size);
	}
}

static void empty(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		assert_int_equal(loam_free(block[i]), LOAM_OK);
		block[i] = NULL;
	}
}

/* ---- huge leaves ---- */

static void a_heap_of_small_objects_comes_to_have_huge_leaves(void **state)
{
	(void)state;
	fill(700, 4096);
	assert_int_equal(huge(), 0); /* not worth it yet */
	for (unsigned i = 700; i < 4096; i++) {
		block[i] = loam_alloc_noscan(4096);
		soil(block[i], 4096);
		/* never more than 2 MiB ahead of the program, and a page cache */
		assert_true(ready() < (i + 1) * 4096 + 3 * MIB);
	}
	assert_true(huge() >= 10 * MIB);
	loam_heap_verify();
	empty(0, 4096);
	loam_release();
	assert_int_equal(ready(), 0);
	assert_int_equal(huge(), 0);
}

static void no_more_is_made_ready_than_a_goal_allows(void **state)
{
	(void)state;
	assert_int_equal(loam_gc_set_limit(12 * MIB), LOAM_OK);
	fill(2560, 4096);
	assert_true(loam_sys_ready_bytes() <= 12 * MIB);
	assert_true(huge() < 10 * MIB);
	empty(0, 2560);
	assert_int_equal(loam_gc_set_limit(UINT64_MAX), LOAM_OK);
}

/* The first of them, which tells that; and one a minute. */
static void huge_leaves_that_come_slowly_are_not_asked_for(void **state)
{
	uint64_t before;

	(void)state;
	step = 1999000;
	fill(4096, 4096);
	before = huge();
	assert_true(before >= 10 * MIB);
	step = 2001000;
	fill(1536, 4096);
	assert_int_equal(huge(), before + 2 * MIB);
	step = 1000;
	now += UINT64_C(59000000000);
	fill(1024, 4096);
	assert_int_equal(huge(), before + 2 * MIB);
	now += UINT64_C(1000000000);
	fill(1024, 4096);
	assert_true(huge() >= before + 4 * MIB);
}

static void huge_pages_can_be_switched_off(void **state)
{
	(void)state;
	assert_int_equal(loam_sys_nohugepage(0, 0), LOAM_OK);
	fill(4096, 4096);
	assert_int_equal(huge(), 0);
	assert_true(ready() < 4096 * 4096 + MIB);
	block[0] = loam_alloc_noscan(8 * MIB);
	assert_non_null(block[0]);
	assert_int_equal(huge(), 0);
}

/* ---- zero ---- */

/* By a page cache, and in a run: what comes back is where it was before. */
static void what_was_used_is_not_fresh(void **state)
{
	static const size_t size[] = {12 * 8192, 20 * 8192};

	(void)state;
	fill(1700, 4096); /* the last 2 MiB are Ready, and not used up */
	assert_true(huge() > 0);
	for (unsigned i = 0; i < 8; i++) {
		block[2000] = loam_alloc_noscan(size[i % 2]);
		soil(block[2000], size[i % 2]);
		empty(2000, 2001);
	}
}

static void what_was_given_back_is_not_fresh(void **state)
{
	void *p;

	(void)state;
	fill(1700, 4096);
	assert_true(huge() > 0);
	block[2000] = loam_alloc_noscan(20 * 8192);
	soil(block[2000], 20 * 8192);
	p = block[2000];
	loam_release();				/* all behind it goes */
	block[2001] = loam_alloc_noscan(28672); /* a page cache has those before it */
	empty(2000, 2001);
	block[2000] = loam_alloc_noscan(40 * 8192);
	assert_ptr_equal(block[2000], p);
	soil(block[2000], 40 * 8192);
}

/* Sizes of all ways to get pages: the cache's, runs, growing in place, moving; and giving back. */
static void old_bytes_never_come_back(void **state)
{
	static size_t size[COUNT_OF(block)];
	struct rng rng = {test_seed()};

	(void)state;
	for (unsigned n = 0; n < 30000; n++) {
		unsigned i = (unsigned)rng_below(&rng, 1500);

		if (n % 1000 == 999) {
			loam_gc_work(1000000);
			if (rng_below(&rng, 3) == 0)
				loam_release();
		}
		if (block[i] == NULL) {
			size[i] = rng_below(&rng, 8) != 0 ? (size_t)4096 << rng_below(&rng, 4)
							  : (1 + rng_below(&rng, 60)) * 8192;
			block[i] = loam_alloc_noscan(size[i]);
			soil(block[i], size[i]);
		} else if (size[i] > 65536 && rng_below(&rng, 2) == 0) {
			void *p = loam_realloc(block[i], size[i] + 65536);

			assert_non_null(p);
			soil((char *)p + size[i], 65536);
			block[i] = p;
			size[i] += 65536;
		} else {
			empty(i, i + 1);
		}
	}
	loam_heap_verify();
}

/* ---- copying and moving ---- */

/* A block of 1 MiB with no room behind it, and 8 MiB of free Ready memory before it. */
static void hem_in(void)
{
	block[0] = loam_alloc_noscan(8 * MIB);
	block[1] = loam_alloc_noscan(MIB);
	block[2] = loam_alloc_noscan(64 << 10);
	assert_true(block[0] < block[1] && block[1] < block[2]);
	soil(block[1], MIB);
	empty(0, 1);
}

static void grow_it(void)
{
	unsigned char *p = loam_realloc(block[1], 2 * MIB);

	assert_non_null(p);
	assert_true((void *)p < block[1]);
	block[1] = p;
	for (size_t i = 0; i < 2 * MIB; i++)
		assert_int_equal(p[i], i < MIB ? 0xa5 : 0);
}

static void memory_that_is_there_is_copied_to(void **state)
{
	uint64_t before;

	(void)state;
	hem_in();
	before = ready();
	grow_it();
	assert_int_equal(ready(), before); /* nothing went, nothing came */
}

static void memory_that_is_not_there_is_moved_to(void **state)
{
	uint64_t before;

	(void)state;
	hem_in();
	loam_release();
	before = ready();
	grow_it();
	assert_int_equal(ready(), before + MIB); /* of two, one was there */
}

/* ---- frames ---- */

static bool has_frame(void *page)
{
	unsigned char there;

	assert_int_equal(mincore(page, LOAM_PAGE_SIZE, &there), 0);
	return there & 1;
}

/* On Linux memory comes as it is touched; what a heap makes Ready by small pieces is there at once, and the first of 2 MiB. */
static void what_small_objects_get_has_frames(void **state)
{
	char *large;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		block[i] = loam_alloc_noscan(8192);
		assert_true(has_frame(block[i]) && has_frame((char *)block[i] + LOAM_PAGE_SIZE));
	}
	large = loam_alloc_raw(16 * MIB);
	assert_false(has_frame(large + 8 * MIB));
	for (unsigned i = 100; i < 2048; i++) {
		block[i] = loam_alloc_noscan(8192);
		if (loam_is_aligned((uintptr_t)block[i], LOAM_HUGE_SIZE))
			assert_true(has_frame(block[i]));
	}
	assert_true(huge() >= 6 * MIB);
}

/* ---- what is kept ---- */

static void the_scavenger_keeps_a_tenth_more_than_is_used(void **state)
{
	uint64_t used;

	(void)state;
	loam_gc_set_percent(100);
	fill(4096, 4096);
	empty(1024, 4096);
	used = 1024 * 4096;
	assert_true(ready() > 15 * MIB);
	loam_gc(); /* the goal is what may be live until the next one, and a tenth, and 2 MiB */
	for (unsigned i = 0; i < 1000; i++)
		loam_gc_work(1000000);
	assert_true(ready() <= 2 * used + 2 * used / 10 + 3 * MIB);
	assert_true(ready() >= 2 * used);
	/* the lowest addresses are kept: allocation comes back to them */
	for (unsigned i = 0; i < 1024; i++)
		assert_non_null(loam_object_base(block[i]));
	empty(0, 1024);
	loam_release();
	assert_int_equal(ready(), 0);
}

/* One object holds a page: what is marked is an eighth of what is in use. */
static void what_is_in_use_is_never_too_much(void **state)
{
	(void)state;
	fill(4096, 1024);
	for (unsigned i = 0; i < 4096; i++) {
		if (i % 8 != 0)
			empty(i, i + 1);
	}
	loam_gc();
	assert_true(loam_heap.marked < 600 << 10);
	assert_true(loam_heap.pages.used >= 500);
	assert_true(loam_heap.pages.goal >= loam_heap.pages.used);
}

/* Pages that marking finds in use, full of holes, and those that the program takes meanwhile: when so much is live again, so many
 * are needed again. */
static void what_was_taken_while_it_marked_is_kept(void **state)
{
	uint64_t last, used;

	(void)state;
	fill(4096, 2048);
	for (unsigned i = 0; i < 4096; i++) {
		if (i % 4 != 0)
			empty(i, i + 1);
	}
	loam_gc_set_percent(100);
	loam_gc();
	last = loam_pacer_goal(&loam_heap.pacer);
	begin_cycle();
	loam_heap.busy = false; /* nobody helps */
	for (unsigned i = 0; i < 256; i++)
		assert_non_null(loam_alloc_noscan(8192));
	assert_true(loam_marking());
	used = loam_heap.pages.used;
	while (loam_gc_work(1000000))
		;
	/* up to a page or two that the sum is rounded by */
	assert_true(loam_heap.pages.goal + 2 >=
		    used * loam_pacer_goal(&loam_heap.pacer) / last / 10 * 11);
}

static void a_limit_sends_free_memory_back_first(void **state)
{
	(void)state;
	fill(4096, 4096);
	empty(0, 4096);
	assert_true(ready() > 15 * MIB);
	assert_int_equal(loam_gc_set_limit(8 * MIB), LOAM_OK);
	for (unsigned i = 0; i < 1000; i++)
		loam_gc_work(1000000);
	assert_true(loam_sys_ready_bytes() <= 8 * MIB / 100 * 95);
	assert_int_equal(loam_gc_set_limit(UINT64_MAX), LOAM_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pageheap_test(a_heap_of_small_objects_comes_to_have_huge_leaves),
		pageheap_test(no_more_is_made_ready_than_a_goal_allows),
		pageheap_test(huge_leaves_that_come_slowly_are_not_asked_for),
		pageheap_test(huge_pages_can_be_switched_off),
		pageheap_test(what_was_used_is_not_fresh),
		pageheap_test(what_was_given_back_is_not_fresh),
		pageheap_test(old_bytes_never_come_back),
		pageheap_test(memory_that_is_there_is_copied_to),
		pageheap_test(memory_that_is_not_there_is_moved_to),
		pageheap_test(what_small_objects_get_has_frames),
		pageheap_test(the_scavenger_keeps_a_tenth_more_than_is_used),
		pageheap_test(what_is_in_use_is_never_too_much),
		cmocka_unit_test_setup_teardown(what_was_taken_while_it_marked_is_kept, up_software,
						heap_down),
		pageheap_test(a_limit_sends_free_memory_back_first),
	};

	return cmocka_run_group_tests_name("pageheap", tests, NULL, NULL);
}
