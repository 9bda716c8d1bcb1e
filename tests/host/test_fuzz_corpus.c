/* SPDX-License-Identifier: MIT */
/*
 * The heap's driver of operations (tests/fuzz/heap_ops.h): every program of the corpus, and random
 * ones. [SPAN-1], [SPAN-2], [PAGES-1] to [PAGES-3], [HEAP-1] to [HEAP-3], [MARK-1], [SWEEP-1].
 */
#include "tests/fuzz/heap_ops.h"

#include <dirent.h>

#define CORPUS "tests/fuzz/corpus/heap"

static void run_file(const char *path)
{
	static unsigned char program[1 << 16];
	FILE *f = fopen(path, "rb");
	size_t size;

	assert_non_null(f);
	size = fread(program, 1, sizeof(program), f);
	fclose(f);
	assert_true(size < sizeof(program));
	print_message("# %s\n", path); /* seen if it fails */
	heap_ops_run(program, size);
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void corpus(void **state)
{
	struct dirent **entry;
	int files = scandir(CORPUS, &entry, visible, alphasort);
	char path[512];

	(void)state;
	assert_true(files > 20);
	for (int i = 0; i < files; i++) {
		snprintf(path, sizeof(path), CORPUS "/%s", entry[i]->d_name);
		run_file(path);
		free(entry[i]);
	}
	free(entry);
}

static void random_programs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++)
		heap_ops_random(test_seed() * 1000 + i, 5000);
}

/* A string may end anywhere, and be nothing. */
static void short_programs(void **state)
{
	unsigned char program[64];
	struct rng rng = {test_seed()};

	(void)state;
	heap_ops_run(program, 0);
	for (unsigned i = 0; i < 200; i++) {
		size_t size = rng_below(&rng, sizeof(program) + 1);

		for (size_t b = 0; b < size; b++)
			program[b] = (unsigned char)rng_next(&rng);
		heap_ops_run(program, size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(corpus),
		cmocka_unit_test(random_programs),
		cmocka_unit_test(short_programs),
	};
	return cmocka_run_group_tests_name("heap operations", tests, NULL, NULL);
}
