/* SPDX-License-Identifier: MIT */
/* The ten calls on Linux: the shared model of tests/host/sys_model.h. [SYS-1], [SYS-2] and
 * [HOST-1] are verified throughout: what is not Ready traps. */
#include "tests/host/sys_model.h"

#include "arch/host/host.h"
#include "mm/sys.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static int pipes[2];

/* The kernel looks before it copies: EFAULT instead of a signal. */
static bool host_read(uintptr_t va, uint64_t *value)
{
	if (write(pipes[1], (const void *)va, sizeof(*value)) != sizeof(*value))
		return false;
	return read(pipes[0], value, sizeof(*value)) == sizeof(*value);
}

static bool host_write(uintptr_t va, uint64_t value)
{
	uint64_t drain;

	if (write(pipes[1], &value, sizeof(value)) != sizeof(value))
		return false;
	if (read(pipes[0], (void *)va, sizeof(value)) == sizeof(value))
		return true;
	(void)!read(pipes[0], &drain, sizeof(drain));
	return false;
}

static void host_fail_at(uint64_t n)
{
	loam_host_fail_at(n);
}

static struct sys_env env = {
	.window_bytes = 16 << 20,
	.read = host_read,
	.write = host_write,
	.fail_at = host_fail_at,
};

static int up(void **state)
{
	struct loam_config config = {0};

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(loam_mm_init(&config), LOAM_OK);
	assert_int_equal(loam_mm_init(&config), LOAM_EXIST);
	assert_int_equal(loam_sys_reserve(0, LOAM_PAGE_SIZE, 0, &env.window), LOAM_OK);
	assert_int_equal(loam_sys_free(env.window, LOAM_PAGE_SIZE), LOAM_OK);
	return 0;
}

static int down(void **state)
{
	(void)state;
	close(pipes[0]);
	close(pipes[1]);
	loam_mm_reset();
	return 0;
}

static void random_calls(void **state)
{
	(void)state;
	sys_model_run(&env, test_seed(), 20000);
}

static void nth_failure(void **state)
{
	(void)state;
	sys_model_nth_failure(&env);
}

static void bad_input(void **state)
{
	(void)state;
	assert_true(sys_model_bad_input(&env) >= 40);
}

/* A size of the window that is not even reached: nothing before init. */
static void calls_before_init(void **state)
{
	struct loam_sys_info info;
	uintptr_t base = 1;
	void *p = NULL;

	(void)state;
	assert_int_equal(loam_sys_reserve(0, 4096, 0, &base), LOAM_INVAL);
	assert_int_equal(loam_sys_alloc(4096, LOAM_OWNER_TEST, &p), LOAM_INVAL);
	assert_int_equal(loam_sys_map(4096, 4096, LOAM_OWNER_TEST), LOAM_INVAL);
	assert_int_equal(loam_sys_free(4096, 4096), LOAM_INVAL);
	assert_int_equal(loam_sys_nohugepage(0, 0), LOAM_INVAL);
	assert_int_equal(loam_sys_query(4096, &info), LOAM_NOENT);
}

/* [HOST-2]: Linux puts what is mapped next just below what was mapped last. Here nothing has room. */
static void nothing_adjoins_from_below(void **state)
{
	void *below = (void *)(env.window - LOAM_PAGE_SIZE), *p;

	(void)state;
	p = mmap(below, LOAM_PAGE_SIZE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_int_equal(errno, EEXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_before_init),
		cmocka_unit_test_setup_teardown(random_calls, up, down),
		cmocka_unit_test_setup_teardown(nth_failure, up, down),
		cmocka_unit_test_setup_teardown(bad_input, up, down),
		cmocka_unit_test_setup_teardown(nothing_adjoins_from_below, up, down),
	};
	return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
