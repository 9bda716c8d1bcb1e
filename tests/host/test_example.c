/* SPDX-License-Identifier: MIT */
/* The Linux program of the top README: tests/build.mk takes it from there. */
#define main example_main
#include "example.inc"
#undef main
#include "tests/host/support.h"

static void runs_and_collects(void **state)
{
	struct loam_gc_cycle last = {0};

	(void)state;
	assert_int_equal(example_main(), 0);
	assert_int_equal(loam_gc_cycles_read(&last, 1), 1);
	assert_true(last.live_after_bytes < last.live_marked_bytes);
	assert_null(loam_host_thread());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_and_collects),
	};
	return cmocka_run_group_tests_name("example", tests, NULL, NULL);
}
