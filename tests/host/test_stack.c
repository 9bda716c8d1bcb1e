/* SPDX-License-Identifier: MIT */
/* Stacks on Linux: Ready as a whole, and kept as a whole. [POOL-2], [POOL-3]; the rest is in
 * tests/fake/test_stack.c. */
#include "mm/sys.h"
#include "tests/host/support.h"

#include <pthread.h>

#define KIB ((size_t)1 << 10)

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

static uint64_t ready(void)
{
	struct loam_sys_stats s;

	loam_sys_stats(&s);
	return s.ready_bytes[LOAM_OWNER_STACK];
}

static void kept_as_they_are(void **state)
{
	struct loam_stack s, t, copy;
	struct loam_stack_stats stats;

	(void)state;
	assert_int_equal(loam_stack_alloc(64 * KIB, &s), LOAM_OK);
	memset((void *)s.low, 1, 64 * KIB);
	copy = s;
	assert_int_equal(loam_stack_free(&s), LOAM_OK);
	assert_int_equal(loam_stack_free(&copy), LOAM_INVAL);
	loam_stack_stats(&stats);
	assert_int_equal(stats.pooled, 1);
	assert_int_equal(stats.pooled_bytes, 64 * KIB);
	assert_int_equal(ready(), 64 * KIB);
	assert_int_equal(loam_stack_alloc(64 * KIB, &t), LOAM_OK);
	assert_int_equal(t.low, copy.low);
	memset((void *)t.low, 2, 64 * KIB);
	/* a part was given back: not what a new one is */
	assert_int_equal(loam_sys_unused(t.low, LOAM_PAGE_SIZE), LOAM_OK);
	assert_int_equal(loam_stack_free(&t), LOAM_OK);
	assert_int_equal(ready(), 0);
	assert_int_equal(loam_stack_alloc(1024 * KIB, &s), LOAM_OK);
	assert_int_equal(loam_stack_free(&s), LOAM_OK); /* just what may be kept */
	assert_int_equal(loam_stack_alloc(16 * KIB, &s), LOAM_OK);
	assert_int_equal(loam_stack_free(&s), LOAM_OK);
	assert_int_equal(ready(), 1024 * KIB);
	assert_int_equal(loam_stack_pool_release(), 1024 * KIB);
	assert_int_equal(ready(), 0);
	assert_int_equal(loam_stack_pool_release(), 0);
}

static void write_after_free(void)
{
	struct loam_stack s;
	uintptr_t low;

	assert_int_equal(loam_stack_alloc(16 * KIB, &s), LOAM_OK);
	low = s.low;
	assert_int_equal(loam_stack_free(&s), LOAM_OK);
	*(volatile char *)(low + 5000) = 1;
	EXPECT_PANIC(loam_stack_alloc(16 * KIB, &s), "written to after it was freed");
}

/* All of it, not the highest page alone. */
static void a_write_after_the_free_is_noticed(void **state)
{
	(void)state;
	write_after_free();
	loam_mm_reset();
	assert_int_equal(up(NULL), 0);
}

static void *take_and_free(void *seed)
{
	struct rng rng = {(uintptr_t)seed};
	struct loam_stack s[8] = {{0}};

	for (unsigned i = 0; i < 4000; i++) {
		struct loam_stack *one = &s[rng_below(&rng, 8)];

		if (one->high != 0) {
			assert_int_equal(*(volatile uintptr_t *)one->low, (uintptr_t)one);
			assert_int_equal(loam_stack_free(one), LOAM_OK);
			continue;
		}
		assert_int_equal(loam_stack_alloc(16 * KIB << rng_below(&rng, 3), one), LOAM_OK);
		*(volatile uintptr_t *)one->low = (uintptr_t)one;
	}
	for (unsigned i = 0; i < 8; i++) {
		if (s[i].high != 0)
			assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
	}
	return NULL;
}

/* No stack has two owners. */
static void two_threads(void **state)
{
	pthread_t other;

	(void)state;
	assert_int_equal(pthread_create(&other, NULL, take_and_free, (void *)7), 0);
	take_and_free((void *)8);
	pthread_join(other, NULL);
	(void)loam_stack_pool_release();
	assert_int_equal(ready(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept_as_they_are, up, down),
		cmocka_unit_test_setup_teardown(a_write_after_the_free_is_noticed, up, down),
		cmocka_unit_test_setup_teardown(two_threads, up, down),
	};
	return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
