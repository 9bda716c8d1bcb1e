/* SPDX-License-Identifier: MIT */
/* [CLASS-1] to [CLASS-3]: the generated table against the published one, and its properties. */
#include "gc/sizeclass.h"
#include "tests/host/support.h"

static const uint32_t published_size[LOAM_CLASS_COUNT] = {
	0,     8,     16,    24,    32,	   48,	  64,	 80,	96,    112,   128,   144,
	160,   176,   192,   208,   224,   240,	  256,	 288,	320,   352,   384,   416,
	448,   480,   512,   576,   640,   704,	  768,	 896,	1024,  1152,  1280,  1408,
	1536,  1792,  2048,  2304,  2688,  3072,  3200,	 3456,	4096,  4864,  5376,  6144,
	6528,  6784,  6912,  8192,  9472,  9728,  10240, 10880, 12288, 13568, 14336, 16384,
	18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
};
static const uint8_t published_pages_tail[] = {2, 1, 2, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 4,  5, 6, 1,
					       7, 6, 5, 4, 3, 5, 7, 2, 9, 7, 5, 8, 3, 10, 7, 4};

static void table_is_go_s(void **state)
{
	(void)state;
	loam_sizeclass_init();
	for (unsigned i = 0; i < LOAM_CLASS_COUNT; i++) {
		assert_int_equal(loam_size_class[i].size, published_size[i]);
		if (i >= 1 && i <= 34)
			assert_int_equal(loam_size_class[i].pages, 1);
		else if (i > 34)
			assert_int_equal(loam_size_class[i].pages, published_pages_tail[i - 35]);
	}
}

static void magic_divides_exactly(void **state)
{
	(void)state;
	for (unsigned i = 1; i < LOAM_CLASS_COUNT; i++) {
		const struct loam_size_class *c = &loam_size_class[i];

		/* spans of a busy class are longer than the table says */
		for (uint64_t off = 0; off < 10 * LOAM_HEAP_PAGE; off++) {
			assert_int_equal(off * c->magic >> 32, off / c->size);
			assert_int_equal((uint32_t)(off * c->magic) < c->magic, off % c->size == 0);
		}
	}
}

static void every_size_finds_the_smallest_class(void **state)
{
	(void)state;
	for (size_t size = 1; size <= LOAM_SMALL_MAX; size++) {
		unsigned want = 1, got = loam_class_of(size);

		while (loam_size_class[want].size < size ||
		       loam_size_class[want].size % LOAM_GRANULE != 0)
			want++;
		assert_int_equal(got, want);
	}
}

static void waste_is_bounded(void **state)
{
	(void)state;
	for (unsigned i = 1; i < LOAM_CLASS_COUNT; i++) {
		uint64_t bytes = loam_size_class[i].pages * LOAM_HEAP_PAGE;

		assert_true(bytes % loam_size_class[i].size <= bytes / 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_go_s),
		cmocka_unit_test(magic_divides_exactly),
		cmocka_unit_test(every_size_finds_the_smallest_class),
		cmocka_unit_test(waste_is_bounded),
	};
	return cmocka_run_group_tests_name("sizeclass", tests, NULL, NULL);
}
