/* SPDX-License-Identifier: MIT */
/* Write tracking on Linux. Skipped, and loudly, where the kernel cannot (before 6.7, or userfaultfd forbidden).
 * The last test is the one that counts: a copy of what rounds tell, while threads write, is whole. */
#include "tests/host/support.h"

#include "mm/sys.h"

#include <loam/stack.h>
#include <loam/sys.h>

#include <pthread.h>

#define P     ((size_t)LOAM_PAGE_SIZE)
#define MIB   ((size_t)1 << 20)
#define PAGES 8192u

static uintptr_t base;
static bool told[PAGES];
static size_t told_pages;

static void visit(void *arg, uintptr_t at, size_t size)
{
	assert_ptr_equal(arg, told);
	assert_true(size > 0 && loam_is_aligned(at | size, P));
	for (; size > 0; at += P, size -= P) {
		told_pages += !told[(at - base) / P];
		told[(at - base) / P] = true;
	}
}

static size_t round_over(uintptr_t at, size_t size)
{
	memset(told, 0, sizeof(told));
	told_pages = 0;
	assert_int_equal(loam_sys_dirty_round(at, size, true, visit, told), LOAM_OK);
	return told_pages;
}

static size_t look_over(uintptr_t at, size_t size)
{
	memset(told, 0, sizeof(told));
	told_pages = 0;
	assert_int_equal(loam_sys_dirty_look(at, size, visit, told), LOAM_OK);
	return told_pages;
}

static void poke(uintptr_t va)
{
	*(volatile uint64_t *)va += 1;
}

static int up(void **state)
{
	struct loam_config config = {0};

	(void)state;
	assert_int_equal(loam_mm_init(&config), LOAM_OK);
	return 0;
}

static int down(void **state)
{
	(void)state;
	loam_sys_verify();
	loam_mm_reset();
	return 0;
}

static void prepare(size_t size, bool huge)
{
	assert_int_equal(loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base), LOAM_OK);
	assert_int_equal(loam_sys_map(base, size, LOAM_OWNER_HEAP), LOAM_OK);
	if (huge)
		assert_int_equal(loam_sys_hugepage(base, size), LOAM_OK);
}

static void what_is_written_is_told(void **state)
{
	uint64_t sum = 0;

	(void)state;
	NEED_TRACKING();
	prepare(8 * MIB, false);
	assert_int_equal(round_over(base, 8 * MIB), 0);
	assert_int_equal(loam_sys_used(base + P, 6 * MIB, NULL), LOAM_OK);
	for (size_t at = P; at < MIB; at += P)
		sum += *(volatile uint64_t *)(base + at);
	assert_int_equal(sum, 0);
	assert_int_equal(look_over(base, 8 * MIB), 0); /* fresh, and only read */
	assert_int_equal(round_over(base, 8 * MIB), 0);
	poke(base + P);
	poke(base + 5 * P);
	poke(base + 6 * MIB);
	assert_int_equal(look_over(base, 8 * MIB), 3);
	assert_int_equal(round_over(base, 8 * MIB), 3);
	assert_true(told[1] && told[5] && told[6 * MIB / P]);
	assert_int_equal(look_over(base, 8 * MIB), 0);
	assert_int_equal(round_over(base, 8 * MIB), 0);
	poke(base + 5 * P);
	poke(base + 6 * P);
	assert_int_equal(look_over(base, 8 * MIB), 2);
	assert_int_equal(round_over(base, 6 * P), 1); /* a part of it */
	assert_int_equal(round_over(base, 8 * MIB), 1);
	/* it went and came again */
	poke(base + 7 * P);
	assert_int_equal(loam_sys_unused(base + P, MIB), LOAM_OK);
	assert_int_equal(loam_sys_used(base, 2 * MIB, NULL), LOAM_OK);
	assert_int_equal(look_over(base, 8 * MIB), 0);
	poke(base);
	assert_int_equal(round_over(base, 8 * MIB), 1);
	assert_int_equal(loam_sys_free(base, 8 * MIB), LOAM_OK);
}

/* What the kernel moves may be told once too often, and never not at all. */
static void memory_that_moves_is_told(void **state)
{
	(void)state;
	NEED_TRACKING();
	prepare(16 * MIB, false);
	assert_int_equal(loam_sys_used(base, 4 * MIB, NULL), LOAM_OK);
	for (size_t at = 0; at < 4 * MIB; at += P)
		poke(base + at);
	assert_int_equal(round_over(base, 16 * MIB), 4 * MIB / P);
	poke(base + 3 * P);
	assert_int_equal(loam_sys_move(base, base + 8 * MIB + P, 4 * MIB), LOAM_OK);
	look_over(base, 16 * MIB);
	assert_true(told[(8 * MIB + P) / P + 3]);
	round_over(base, 16 * MIB);
	assert_true(told[(8 * MIB + P) / P + 3]);
	assert_int_equal(round_over(base, 16 * MIB), 0);
	poke(base + 9 * MIB);
	assert_int_equal(look_over(base, 16 * MIB), 1);
	assert_int_equal(loam_sys_free(base, 16 * MIB), LOAM_OK);
}

/* A kernel from 6.17 on moves the first part, and then fails at the one that is tracked. */
static void memory_that_is_tracked_in_part_moves_whole(void **state)
{
	(void)state;
	NEED_TRACKING();
	prepare(16 * MIB, false);
	assert_int_equal(loam_sys_used(base, 4 * MIB, NULL), LOAM_OK);
	assert_int_equal(round_over(base + 2 * MIB, MIB), 0);
	for (size_t at = 0; at < 4 * MIB; at += P)
		*(uint64_t *)(base + at) = at + 1;
	assert_int_equal(loam_sys_move(base, base + 8 * MIB, 4 * MIB), LOAM_OK);
	for (size_t at = 0; at < 4 * MIB; at += P)
		assert_int_equal(*(uint64_t *)(base + 8 * MIB + at), at + 1);
	assert_int_equal(round_over(base, 16 * MIB), 4 * MIB / P);
	assert_int_equal(round_over(base, 16 * MIB), 0);
	assert_int_equal(loam_sys_free(base, 16 * MIB), LOAM_OK);
}

static void huge_pages_are_told(void **state)
{
	(void)state;
	NEED_TRACKING();
	prepare(8 * MIB, true);
	assert_int_equal(loam_sys_used(base, 8 * MIB, NULL), LOAM_OK);
	for (size_t at = 0; at < 8 * MIB; at += P)
		poke(base + at);
	assert_int_equal(round_over(base, 8 * MIB), 8 * MIB / P);
	assert_int_equal(round_over(base, 8 * MIB), 0);
	poke(base + 3 * MIB);
	assert_true(look_over(base, 8 * MIB) >= 1 && told[3 * MIB / P]);
	assert_true(round_over(base, 8 * MIB) >= 1 && told[3 * MIB / P]);
	poke(base + 3 * MIB);
	(void)loam_sys_collapse(base, 8 * MIB);
	look_over(base, 8 * MIB);
	assert_true(told[3 * MIB / P]);
	assert_int_equal(loam_sys_free(base, 8 * MIB), LOAM_OK);
}

static void bad_input(void **state)
{
	struct loam_stack stack;

	(void)state;
	assert_int_equal(loam_sys_dirty_alias(base, P, base + P), LOAM_NOTSUP);
	assert_int_equal(loam_sys_dirty_alias_remove(base), LOAM_NOTSUP);
	if (!loam_sys_dirty_can()) {
		assert_int_equal(loam_sys_dirty_round(base, P, true, visit, told), LOAM_NOTSUP);
		assert_int_equal(loam_sys_dirty_look(base, P, visit, told), LOAM_NOTSUP);
	}
	NEED_TRACKING();
	prepare(2 * MIB, false);
	assert_int_equal(loam_sys_dirty_round(base + 1, P, true, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_round(base, 0, true, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_round(base, P, true, NULL, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_look(P, P, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_look(base, (size_t)0 - P, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_free(base, 2 * MIB), LOAM_OK);
	/* stacks are passed by */
	assert_int_equal(loam_stack_alloc(64 * 1024, &stack), LOAM_OK);
	poke(stack.high - 8);
	base = stack.low;
	assert_int_equal(round_over(stack.low, stack.high - stack.low), 0);
	assert_int_equal(loam_stack_free(&stack), LOAM_OK);
}

/* ---- the copy ---- */

#define COPY_PAGES 2048u

static char copy[COPY_PAGES * LOAM_PAGE_SIZE];
static bool stop; /* atomic */

static void *keep_writing(void *seed)
{
	struct rng rng = {(uintptr_t)seed};

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		size_t page = rng_below(&rng, COPY_PAGES);

		for (unsigned i = 0; i < 20; i++) {
			uint64_t *word = (uint64_t *)(base + (page + i % 3) % COPY_PAGES * P) +
					 rng_below(&rng, 512);

			__atomic_store_n(word, rng_next(&rng), __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static void copy_told(void)
{
	for (size_t i = 0; i < COPY_PAGES; i++) {
		const uint64_t *from = (const uint64_t *)(base + i * P);
		uint64_t *to = (uint64_t *)(void *)(copy + i * P);

		/* relaxed: a page that changes meanwhile is told again */
		for (size_t w = 0; told[i] && w < P / 8; w++)
			to[w] = __atomic_load_n(&from[w], __ATOMIC_RELAXED);
	}
}

static void a_copy_is_whole(void **state)
{
	pthread_t writer[3];

	(void)state;
	NEED_TRACKING();
	prepare(sizeof(copy), false);
	assert_int_equal(loam_sys_used(base, sizeof(copy), NULL), LOAM_OK);
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(
			pthread_create(&writer[i], NULL, keep_writing, (void *)(test_seed() + i)),
			0);
	for (unsigned n = 0; n < 100; n++) {
		round_over(base, sizeof(copy));
		copy_told();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(writer[i], NULL);
	look_over(base, sizeof(copy));
	copy_told();
	assert_memory_equal(copy, (void *)base, sizeof(copy));
	assert_int_equal(loam_sys_free(base, sizeof(copy)), LOAM_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_told, up, down),
		cmocka_unit_test_setup_teardown(memory_that_moves_is_told, up, down),
		cmocka_unit_test_setup_teardown(memory_that_is_tracked_in_part_moves_whole, up,
						down),
		cmocka_unit_test_setup_teardown(huge_pages_are_told, up, down),
		cmocka_unit_test_setup_teardown(bad_input, up, down),
		cmocka_unit_test_setup_teardown(a_copy_is_whole, up, down),
	};
	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
