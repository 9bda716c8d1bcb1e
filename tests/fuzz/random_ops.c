/* SPDX-License-Identifier: MIT */
/*
 * Random programs for the heap, one after the other, until so many operations are done.
 *
 *   random_ops OPERATIONS [SEED [FILE]]     a program that fails is written to FILE
 *   random_ops run FILE                     run one again
 */
#include "tests/fuzz/heap_ops.h"

#define PROGRAM_OPS UINT64_C(200000)

static uint64_t wanted, seed;
static unsigned char program[16 << 20];

static void run_random(void **state)
{
	uint64_t done = 0, programs = 0, told = 0;

	(void)state;
	while (done < wanted) {
		done += heap_ops_random(seed + programs,
					wanted - done < PROGRAM_OPS ? wanted - done : PROGRAM_OPS);
		programs++;
		if (done - told >= 50 * PROGRAM_OPS || done >= wanted) {
			printf("# %llu operations, last seed %llu\n", (unsigned long long)done,
			       (unsigned long long)(seed + programs - 1));
			fflush(stdout);
			told = done;
		}
	}
	heap_ops_print(stdout);
}

static void run_file(void **state)
{
	FILE *f = fopen(*state, "rb");
	size_t size;

	assert_non_null(f);
	size = fread(program, 1, sizeof(program), f);
	fclose(f);
	printf("# %llu operations\n", (unsigned long long)heap_ops_run(program, size));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest many[] = {cmocka_unit_test(run_random)};
	const struct CMUnitTest one[] = {cmocka_unit_test_prestate(run_file, argv[argc - 1])};

	if (argc == 3 && strcmp(argv[1], "run") == 0)
		return cmocka_run_group_tests_name("program", one, NULL, NULL);
	if (argc < 2) {
		fprintf(stderr, "usage: random_ops OPERATIONS [SEED [FILE]] | run FILE\n");
		return 2;
	}
	wanted = strtoull(argv[1], NULL, 0);
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : test_seed();
	heap_ops_dump = argc > 3 ? argv[3] : NULL;
	return cmocka_run_group_tests_name("operations", many, NULL, NULL);
}
