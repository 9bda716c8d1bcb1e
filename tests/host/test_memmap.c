/* SPDX-License-Identifier: MIT */
/* Firmware memory maps against a flat model, and the early allocator. Tags: [MEMMAP-1], [MEMMAP-2],
 * [EARLY-1]. */
#include "mm/early.h"
#include "mm/memmap.h"
#include "tests/host/support.h"

static struct loam_memmap map;

/* [MEMMAP-1] sorted, aligned, not empty, neither overlapping nor touching; sums right. */
static void well_formed(const struct loam_memmap *m)
{
	uint64_t sum = 0;

	assert_true(m->count <= LOAM_MEMMAP_MAX);
	for (size_t i = 0; i < m->count; i++) {
		assert_true(loam_is_aligned(m->range[i].base | m->range[i].end, LOAM_PAGE_SIZE));
		assert_true(m->range[i].base < m->range[i].end);
		assert_true(i == 0 || m->range[i - 1].end < m->range[i].base);
		assert_true(m->range[i].base >= LOAM_PAGE_SIZE);
		sum += m->range[i].end - m->range[i].base;
	}
	assert_int_equal(sum, m->usable_bytes);
	assert_int_equal(m->highest, m->count > 0 ? m->range[m->count - 1].end : 0);
}

static void one(uint64_t base, uint64_t size, uint64_t want_base, uint64_t want_end)
{
	struct loam_mem_entry e = {base, size, LOAM_MEM_USABLE, NULL};
	enum loam_err err = loam_memmap_sanitise(&e, 1, 48, &map);

	if (want_base == want_end) {
		assert_int_equal(err, LOAM_INVAL);
		return;
	}
	assert_int_equal(err, LOAM_OK);
	assert_int_equal(map.count, 1);
	assert_int_equal(map.range[0].base, want_base);
	assert_int_equal(map.range[0].end, want_end);
	well_formed(&map);
}

static void single_entries(void **state)
{
	(void)state;
	one(0x100000, 0x100000, 0x100000, 0x200000);
	one(0, 0x100000, 0x1000, 0x100000);	     /* never frame 0 */
	one(0x100001, 0x100000, 0x101000, 0x200000); /* inward */
	one(0x1ff001, 0xffe, 0, 0);		     /* less than a frame */
	one(0x1000, 0, 0, 0);			     /* empty */
	one(UINT64_MAX - 0xfff, 0x2000, 0, 0);	     /* wraps: nobody knows what was meant */
	one(0x100000, UINT64_MAX, 0, 0);	     /* wraps */
	one(UINT64_MAX, 1, 0, 0);
	one((UINT64_C(1) << 48) - 0x1000, 0x10000, (UINT64_C(1) << 48) - 0x1000, UINT64_C(1) << 48);
	one(UINT64_C(1) << 48, 0x10000, 0, 0); /* beyond the CPU */
	assert_int_equal(loam_memmap_sanitise(NULL, 1, 48, &map), LOAM_INVAL);
	assert_int_equal(loam_memmap_sanitise(NULL, 0, 48, &map), LOAM_INVAL);
}

static void reserved_wins(void **state)
{
	struct loam_mem_entry e[] = {
		{0x200000, 0x200000, LOAM_MEM_USABLE, NULL},
		{0x100000, 0x180000, LOAM_MEM_USABLE, NULL},	/* overlaps, unsorted */
		{0x250800, 0x1, LOAM_MEM_RESERVED, "one byte"}, /* outward: its frame */
		{0x3ff000, 0x100000, LOAM_MEM_RESERVED, "the end"},
		{0, 0x101000, 77, "a type nobody knows"},
	};

	(void)state;
	assert_int_equal(loam_memmap_sanitise(e, COUNT_OF(e), 48, &map), LOAM_OK);
	well_formed(&map);
	assert_int_equal(map.count, 2);
	assert_int_equal(map.range[0].base, 0x101000);
	assert_int_equal(map.range[0].end, 0x250000);
	assert_int_equal(map.range[1].base, 0x251000);
	assert_int_equal(map.range[1].end, 0x3ff000);
	/* a reserved range that wraps reaches to the top: better too much */
	e[4] = (struct loam_mem_entry){0x251000, UINT64_MAX, LOAM_MEM_RESERVED, "wraps"};
	assert_int_equal(loam_memmap_sanitise(e, COUNT_OF(e), 48, &map), LOAM_OK);
	assert_int_equal(map.highest, 0x250000);
	/* all reserved */
	e[4] = (struct loam_mem_entry){0, UINT64_MAX, LOAM_MEM_RESERVED, "all"};
	assert_int_equal(loam_memmap_sanitise(e, COUNT_OF(e), 48, &map), LOAM_INVAL);
}

#define FRAMES 4096u

/* Random entries within 16 MiB at byte granularity, against one flag a frame, which is usable
 * if one usable entry alone covers all of it, and no reserved byte is in it. [MEMMAP-2] */
static void random_maps(void **state)
{
	struct rng rng = {test_seed()};
	static struct loam_mem_entry e[24];

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		size_t n = 1 + rng_below(&rng, COUNT_OF(e));
		static bool usable[FRAMES], got[FRAMES];
		bool any = false;
		enum loam_err err;

		memset(usable, 0, sizeof(usable));
		memset(got, 0, sizeof(got));
		for (size_t i = 0; i < n; i++) {
			uint64_t unit = rng_below(&rng, 2) ? LOAM_PAGE_SIZE : 1;

			e[i].base = rng_below(&rng, FRAMES * LOAM_PAGE_SIZE / unit) * unit;
			e[i].size = rng_below(&rng, (rng_below(&rng, 4) == 0 ? 4096 : 64) *
							    LOAM_PAGE_SIZE / unit) *
				    unit;
			e[i].type = rng_below(&rng, 3) == 0 ? LOAM_MEM_RESERVED : LOAM_MEM_USABLE;
			e[i].what = NULL;
		}
		for (unsigned pass = 0; pass < 2; pass++) {
			for (size_t i = 0; i < n; i++) {
				uint64_t last = e[i].base + e[i].size - 1;

				if (e[i].size == 0 || (e[i].type == LOAM_MEM_USABLE) != (pass == 0))
					continue;
				for (unsigned f = 0; f < FRAMES; f++) {
					uint64_t lo = f * LOAM_PAGE_SIZE,
						 hi = lo + LOAM_PAGE_SIZE - 1;

					if (pass == 0 && f > 0 && e[i].base <= lo && last >= hi)
						usable[f] = true;
					if (pass == 1 && e[i].base <= hi && last >= lo)
						usable[f] = false;
				}
			}
		}
		for (unsigned f = 0; f < FRAMES; f++)
			any |= usable[f];
		err = loam_memmap_sanitise(e, n, 24, &map);
		assert_int_equal(err, any ? LOAM_OK : LOAM_INVAL);
		if (!any)
			continue;
		well_formed(&map);
		for (size_t i = 0; i < map.count; i++) {
			for (uint64_t a = map.range[i].base; a < map.range[i].end;
			     a += LOAM_PAGE_SIZE)
				got[a / LOAM_PAGE_SIZE] = true;
		}
		assert_memory_equal(usable, got, sizeof(got));
	}
}

/* More ranges than there is room for: the smallest are given up, and counted. */
static void too_many_ranges(void **state)
{
	static struct loam_mem_entry e[LOAM_MEMMAP_MAX + 40];
	uint64_t total = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(e); i++) {
		e[i] = (struct loam_mem_entry){(i + 1) * 0x100000, (1 + i % 7) * LOAM_PAGE_SIZE,
					       LOAM_MEM_USABLE, NULL};
		total += e[i].size;
	}
	assert_int_equal(loam_memmap_sanitise(e, COUNT_OF(e), 48, &map), LOAM_OK);
	well_formed(&map);
	assert_int_equal(map.count, LOAM_MEMMAP_MAX);
	assert_int_equal(map.usable_bytes + map.dropped_bytes, total);
	for (size_t i = 0; i < map.count; i++)
		assert_true(map.range[i].end - map.range[i].base >= 1 * LOAM_PAGE_SIZE);
	assert_true(map.dropped_bytes <= 40 * LOAM_PAGE_SIZE);
}

/* [EARLY-1] What is handed out leaves the map; from the top, below the limit, aligned. */
static void early_memory(void **state)
{
	struct loam_mem_entry e[] = {
		{0x100000, 0x800000, LOAM_MEM_USABLE, NULL},
		{0x40000000, 0x300000, LOAM_MEM_USABLE, NULL},
	};
	struct rng rng = {test_seed()};
	struct loam_paddr pa;
	static bool taken[0x40300000 >> 12];

	(void)state;
	assert_int_equal(loam_memmap_sanitise(e, 2, 48, &map), LOAM_OK);
	assert_int_equal(loam_early_alloc(&map, 1, LOAM_PAGE_SIZE, 0, &pa), LOAM_OK);
	assert_int_equal(pa.raw, 0x402ff000);
	assert_int_equal(loam_early_alloc(&map, 0x1000, LOAM_PAGE_SIZE, 0x40000000, &pa), LOAM_OK);
	assert_int_equal(pa.raw, 0x8ff000);
	assert_int_equal(loam_early_alloc(&map, 0x1000, 0x200000, 0, &pa), LOAM_OK);
	assert_int_equal(pa.raw, 0x40200000);
	assert_int_equal(loam_early_alloc(&map, 0, LOAM_PAGE_SIZE, 0, &pa), LOAM_INVAL);
	assert_int_equal(loam_early_alloc(&map, 1, 0x800, 0, &pa), LOAM_INVAL);
	assert_int_equal(loam_early_alloc(&map, 1, 0x3000, 0, &pa), LOAM_INVAL);
	assert_int_equal(loam_early_alloc(&map, UINT64_MAX, LOAM_PAGE_SIZE, 0, &pa), LOAM_INVAL);
	assert_int_equal(loam_early_alloc(&map, 0x10000000, LOAM_PAGE_SIZE, 0, &pa), LOAM_NOMEM);
	assert_int_equal(pa.raw, 0x40200000); /* untouched */
	for (;;) {
		uint64_t size = (1 + rng_below(&rng, 40)) * LOAM_PAGE_SIZE;
		uint64_t left = map.usable_bytes;

		if (loam_early_alloc(&map, size, LOAM_PAGE_SIZE << rng_below(&rng, 5), 0, &pa) !=
		    LOAM_OK)
			break;
		assert_int_equal(map.usable_bytes, left - size);
		for (uint64_t a = pa.raw; a < pa.raw + size; a += LOAM_PAGE_SIZE) {
			assert_false(taken[a >> 12]);
			taken[a >> 12] = true;
		}
		well_formed(&map);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_entries), cmocka_unit_test(reserved_wins),
		cmocka_unit_test(random_maps),	  cmocka_unit_test(too_many_ranges),
		cmocka_unit_test(early_memory),
	};
	return cmocka_run_group_tests_name("memmap", tests, NULL, NULL);
}
