/* SPDX-License-Identifier: MIT */
/*
 * The page allocator: cases by hand, at the borders of words, chunks and levels, in the manner of Go's own
 * tests; then a random run against a plain array. [PALLOC-1] to [PALLOC-6] are verified throughout.
 * [PAGES-1] and [PAGES-2] are in the heap's tests.
 */
#include "arch/host/host.h"
#include "gc/pagealloc.h"
#include "mm/sys.h"
#include "tests/host/support.h"

#include <loam/loam.h>

static struct loam_pagealloc pa;

#define CHUNK LOAM_CHUNK_PAGES
#define LIMIT ((uint64_t)1 << 26) /* 512 GiB of pages: all five levels */

static void up(uint64_t pages)
{
	struct loam_config config = {0};

	assert_int_equal(loam_mm_init(&config), LOAM_OK);
	assert_int_equal(loam_pagealloc_init(&pa, 0, LIMIT), LOAM_OK);
	assert_int_equal(pa.levels, 5);
	assert_int_equal(loam_pagealloc_back(&pa, pages), LOAM_OK);
	loam_pagealloc_grow(&pa, pages);
}

static void verify(void)
{
	uint64_t used, scavenged;

	loam_pagealloc_verify(&pa, &used, &scavenged);
}

static void down(void)
{
	struct loam_sys_stats sys;

	verify();
	loam_pagealloc_destroy(&pa);
	loam_sys_stats(&sys);
	assert_int_equal(sys.region_count, 0);
	loam_mm_reset();
}

/* ---- cases ---- */

struct run {
	uint64_t at, pages;
};

/* What is used at first; then requests, and what they must get (LOAM_PAGE_NONE: nothing). */
struct alloc_case {
	const char *name;
	uint64_t pages; /* of the heap */
	struct run used[4];
	struct {
		uint64_t pages, align, want;
	} request[5];
};

static const struct alloc_case alloc_cases[] = {
	{"one page of an empty chunk", CHUNK, {{0}}, {{1, 0, 0}, {1, 0, 1}, {1, 0, 2}}},
	{"the whole chunk", CHUNK, {{0}}, {{CHUNK, 0, 0}, {1, 0, LOAM_PAGE_NONE}}},
	{"more than there is", CHUNK, {{0}}, {{CHUNK + 1, 0, LOAM_PAGE_NONE}, {CHUNK, 0, 0}}},
	{"the first hole that fits",
	 CHUNK,
	 {{0, 10}, {12, 20}, {40, 100}},
	 {{2, 0, 10}, {3, 0, 32}, {8, 0, 140}, {5, 0, 35}}},
	{"a hole across two words", CHUNK, {{0, 60}, {70, CHUNK - 70}}, {{10, 0, 60}}},
	{"a hole across many words", CHUNK, {{0, 60}, {400, CHUNK - 400}}, {{340, 0, 60}}},
	{"a hole across two chunks",
	 2 * CHUNK,
	 {{0, CHUNK - 3}, {CHUNK + 3, CHUNK - 3}},
	 {{7, 0, LOAM_PAGE_NONE}, {6, 0, CHUNK - 3}}},
	{"a hole across three chunks",
	 4 * CHUNK,
	 {{0, CHUNK - 1}, {2 * CHUNK + 1, 2 * CHUNK - 1}},
	 {{CHUNK + 2, 0, CHUNK - 1}}},
	{"the start of the second group of eight",
	 16 * CHUNK,
	 {{0, 8 * CHUNK}, {9 * CHUNK, 7 * CHUNK}},
	 {{CHUNK, 0, 8 * CHUNK}, {1, 0, LOAM_PAGE_NONE}}},
	{"across the border of two groups of eight",
	 16 * CHUNK,
	 {{0, 8 * CHUNK - 100}, {8 * CHUNK + 100, 8 * CHUNK - 100}},
	 {{201, 0, LOAM_PAGE_NONE}, {200, 0, 8 * CHUNK - 100}}},
	{"across the border of two entries a level up",
	 128 * CHUNK,
	 {{0, 64 * CHUNK - 5}, {64 * CHUNK + 700, 64 * CHUNK - 700}},
	 {{705, 0, 64 * CHUNK - 5}}},
	{"across the border two levels up",
	 1024 * CHUNK,
	 {{0, 512 * CHUNK - 513}, {512 * CHUNK + 513, 512 * CHUNK - 513}},
	 {{1026, 0, 512 * CHUNK - 513}}},
	{"across the border of two roots",
	 8192 * CHUNK,
	 {{0, 4096 * CHUNK - 1}, {4096 * CHUNK + 1, 4096 * CHUNK - 1}},
	 {{2, 0, 4096 * CHUNK - 1}}},
	{"all of a root's worth and more", 8192 * CHUNK, {{0}}, {{5000 * CHUNK, 0, 0}}},
	{"the heap ends in a chunk",
	 CHUNK + 100,
	 {{0, CHUNK}},
	 {{101, 0, LOAM_PAGE_NONE}, {100, 0, CHUNK}}},
	{"aligned, and what is before stays free",
	 4 * CHUNK,
	 {{0, 3}},
	 {{4, 64, 64}, {1, 0, 3}, {4, 512, 512}, {2, 2, 4}}},
	{"aligned, exactly the free run",
	 4 * CHUNK,
	 {{0, CHUNK}, {CHUNK + 64, 448}},
	 {{64, 512, CHUNK}}},
	{"aligned, but nowhere", CHUNK, {{0, 1}}, {{256, 512, LOAM_PAGE_NONE}, {256, 256, 256}}},
};

static void requests_get_the_first_run(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNT_OF(alloc_cases); i++) {
		const struct alloc_case *c = &alloc_cases[i];
		uint64_t scavenged;

		up(c->pages);
		for (unsigned u = 0; u < 4 && c->used[u].pages != 0; u++)
			assert_true(loam_pagealloc_alloc_at(&pa, c->used[u].at, c->used[u].pages,
							    &scavenged));
		for (unsigned r = 0; r < 5 && c->request[r].pages != 0; r++) {
			uint64_t at = loam_pagealloc_alloc(&pa, c->request[r].pages,
							   c->request[r].align, &scavenged);

			if (at != c->request[r].want)
				print_error("%s, request %u\n", c->name, r);
			assert_int_equal(at, c->request[r].want);
			if (at != LOAM_PAGE_NONE)
				assert_int_equal(scavenged, c->request[r].pages);
			verify();
		}
		down();
	}
}

static void freed_runs_are_found_again(void **state)
{
	static const struct run part[] = {{0, 1},	  {1, 63},
					  {64, 448},	  {512, 1000},
					  {511, 2},	  {4096 * CHUNK - 7, 14},
					  {8 * CHUNK, 1}, {100 * CHUNK, 64 * CHUNK}};
	uint64_t scavenged;

	(void)state;
	up(8192 * CHUNK);
	assert_int_equal(loam_pagealloc_alloc(&pa, 8192 * CHUNK, 0, &scavenged), 0);
	loam_pagealloc_settle(&pa, 0, 8192 * CHUNK);
	assert_int_equal(loam_pagealloc_alloc(&pa, 1, 0, &scavenged), LOAM_PAGE_NONE);
	for (unsigned i = 0; i < COUNT_OF(part); i++) {
		loam_pagealloc_free(&pa, part[i].at, part[i].pages);
		verify();
		assert_int_equal(loam_pagealloc_alloc(&pa, part[i].pages + 1, 0, &scavenged),
				 LOAM_PAGE_NONE);
		assert_int_equal(loam_pagealloc_alloc(&pa, part[i].pages, 0, &scavenged),
				 part[i].at);
		assert_int_equal(scavenged, 0);
		verify();
	}
	down();
}

/* Until nothing is left, in steps of each size; then all is free again. */
static void the_heap_can_be_exhausted(void **state)
{
	static const uint64_t step[] = {1, 3, 64, 100, 512, 513, 5000};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(step); i++) {
		uint64_t pages = 20 * CHUNK + 77, n = 0, scavenged;

		up(pages);
		while (loam_pagealloc_alloc(&pa, step[i], 0, &scavenged) != LOAM_PAGE_NONE)
			n++;
		assert_int_equal(n, pages / step[i]);
		loam_pagealloc_free(&pa, 0, n * step[i]);
		verify();
		assert_int_equal(loam_pagealloc_alloc(&pa, pages, 0, &scavenged), 0);
		down();
	}
}

static void growth_joins_what_is_free(void **state)
{
	uint64_t scavenged;

	(void)state;
	up(100);
	assert_int_equal(loam_pagealloc_alloc(&pa, 60, 0, &scavenged), 0);
	assert_int_equal(loam_pagealloc_need(&pa, 1000, 0), 1060);
	assert_int_equal(loam_pagealloc_need(&pa, 10, 512), 522);
	assert_int_equal(loam_pagealloc_back(&pa, 1100), LOAM_OK);
	loam_pagealloc_grow(&pa, 1100);
	assert_int_equal(loam_pagealloc_alloc(&pa, 1040, 0, &scavenged), 60);
	assert_int_equal(scavenged, 1040);
	assert_false(loam_pagealloc_alloc_at(&pa, 59, 1, &scavenged));
	assert_false(loam_pagealloc_alloc_at(&pa, 1099, 2, &scavenged));
	down();
}

/* ---- page caches ---- */

static void caches_take_a_block_and_give_it_back(void **state)
{
	struct loam_pagecache pc = {0};
	uint64_t scavenged, got = 0, n = 0;

	(void)state;
	up(CHUNK);
	/* pages 0 to 9 used, 10 to 19 free and Ready, 20 to 29 used, the rest scavenged */
	assert_true(loam_pagealloc_alloc_at(&pa, 0, 30, &scavenged));
	loam_pagealloc_settle(&pa, 0, 30);
	loam_pagealloc_free(&pa, 10, 10);
	pc = loam_pagealloc_cache_take(&pa, 1);
	verify();
	assert_int_equal(pc.base_page, 0);
	assert_int_equal(pc.free, ~(uint64_t)0 & ~0x3ffull & ~(0x3ffull << 20));
	assert_int_equal(pc.scavenged, ~(uint64_t)0 << 30);
	/* meanwhile nobody else gets them */
	assert_int_equal(loam_pagealloc_alloc(&pa, 1, 0, &scavenged), 64);
	assert_int_equal(loam_pagecache_alloc(&pc, 11, &scavenged), 30);
	assert_int_equal(scavenged, 0x7ffull << 30);
	assert_int_equal(loam_pagecache_alloc(&pc, 10, &scavenged), 10);
	assert_int_equal(scavenged, 0);
	assert_int_equal(loam_pagecache_alloc(&pc, 24, &scavenged), LOAM_PAGE_NONE);
	while ((got = loam_pagecache_alloc(&pc, 2, &scavenged)) != LOAM_PAGE_NONE)
		n++;
	assert_int_equal(n, 11); /* 41 to 62 */
	loam_pagealloc_cache_flush(&pa, &pc);
	assert_int_equal(pc.free | pc.scavenged | pc.base_page, 0);
	verify();
	assert_int_equal(loam_pagealloc_alloc(&pa, 1, 0, &scavenged), 63);
	assert_int_equal(scavenged, 1);
	assert_int_equal(loam_pagealloc_alloc(&pa, CHUNK - 65, 0, &scavenged), 65);
	pc = loam_pagealloc_cache_take(&pa, 1);
	assert_int_equal(pc.free, 0);
	loam_pagealloc_cache_flush(&pa, &pc);
	down();
}

static void caches_take_a_block_with_a_run(void **state)
{
	struct loam_pagecache pc;
	uint64_t scavenged;

	(void)state;
	up(2 * CHUNK);
	/* free: 60 to 63, which are too few; from 126 on, across a border */
	assert_true(loam_pagealloc_alloc_at(&pa, 0, 60, &scavenged));
	assert_true(loam_pagealloc_alloc_at(&pa, 64, 62, &scavenged));
	pc = loam_pagealloc_cache_take(&pa, 8);
	verify();
	assert_int_equal(pc.base_page, 128);
	assert_int_equal(pc.free, ~(uint64_t)0);
	/* what was passed over is found still */
	assert_int_equal(loam_pagealloc_alloc(&pa, 1, 0, &scavenged), 60);
	loam_pagealloc_cache_flush(&pa, &pc);
	/* the block where the run ends may be in use behind it */
	assert_true(loam_pagealloc_alloc_at(&pa, 140, 2 * CHUNK - 140, &scavenged));
	pc = loam_pagealloc_cache_take(&pa, 8);
	assert_int_equal(pc.base_page, 128);
	assert_int_equal(pc.free, 0xfff);
	loam_pagealloc_cache_flush(&pa, &pc);
	assert_int_equal(loam_pagealloc_cache_take(&pa, 15).free, 0);
	down();
}

/* ---- what goes back ---- */

static void release(uint64_t want_at, uint64_t want_pages, uint64_t most, bool force)
{
	uint64_t at, pages;

	if (want_pages == 0) {
		assert_false(loam_pagealloc_candidate(&pa, most, force, &at, &pages));
		return;
	}
	assert_true(loam_pagealloc_candidate(&pa, most, force, &at, &pages));
	assert_int_equal(at, want_at);
	assert_int_equal(pages, want_pages);
	loam_pagealloc_released(&pa, at, pages);
	verify();
}

static void ready_run(uint64_t at, uint64_t pages)
{
	uint64_t scavenged;

	assert_true(loam_pagealloc_alloc_at(&pa, at, pages, &scavenged));
	loam_pagealloc_settle(&pa, at, pages);
}

static void the_highest_free_memory_goes_first(void **state)
{
	(void)state;
	up(4 * CHUNK);
	ready_run(0, 4 * CHUNK);
	release(0, 0, 8, false); /* nothing is free */
	loam_pagealloc_free(&pa, 10, 5);
	loam_pagealloc_free(&pa, 3 * CHUNK + 100, 20);
	loam_pagealloc_free(&pa, 3 * CHUNK + 200, 4);
	loam_pagealloc_free(&pa, CHUNK, CHUNK);
	loam_pagealloc_tick(&pa); /* what was dense a moment ago is not spared for ever */
	loam_pagealloc_tick(&pa);
	/* the top chunk has 488 of 512 in use: not dense */
	release(3 * CHUNK + 200, 4, 8, false);
	release(3 * CHUNK + 112, 8, 8, false);
	release(3 * CHUNK + 104, 8, 8, false);
	release(3 * CHUNK + 100, 4, 8, false);
	/* a whole huge page (256 pages) is not cut in two */
	release(CHUNK + 256, 256, 8, false);
	release(CHUNK, 256, 8, false);
	/* the lowest chunk is dense: 507 in use; only by force */
	release(0, 0, 8, false);
	release(10, 5, 8, true);
	release(0, 0, 8, true);
	down();
}

/* ---- random ---- */

#define MODEL (24u * CHUNK)
static unsigned char model[MODEL]; /* 0 free, else used */

static uint64_t model_find(uint64_t pages)
{
	uint64_t run = 0;

	for (uint64_t i = 0; i < MODEL; i++) {
		run = model[i] == 0 ? run + 1 : 0;
		if (run == pages)
			return i + 1 - pages;
	}
	return LOAM_PAGE_NONE;
}

static void random_runs_match_a_plain_array(void **state)
{
	struct rng rng = {test_seed()};
	static struct run run[4096];
	unsigned count = 0;

	(void)state;
	memset(model, 0, sizeof(model));
	up(MODEL);
	for (unsigned op = 0; op < 20000; op++) {
		bool free_it = count > 0 && (count == 4096 || rng_below(&rng, 100) < 48);
		uint64_t scavenged, pages, at;

		if (free_it) {
			unsigned i = (unsigned)rng_below(&rng, count);
			uint64_t part = 1 + rng_below(&rng, run[i].pages);

			/* the end of the run, or all of it */
			at = run[i].at + run[i].pages - part;
			loam_pagealloc_free(&pa, at, part);
			memset(model + at, 0, part);
			run[i].pages -= part;
			if (run[i].pages == 0)
				run[i] = run[--count];
			continue;
		}
		pages = rng_below(&rng, 4) ? 1 + rng_below(&rng, 20) : 1 + rng_below(&rng, 900);
		at = loam_pagealloc_alloc(&pa, pages, 0, &scavenged);
		assert_int_equal(at, model_find(pages));
		if (at == LOAM_PAGE_NONE)
			continue;
		loam_pagealloc_settle(&pa, at, pages);
		memset(model + at, 1, pages);
		run[count++] = (struct run){at, pages};
		if (op % 500 == 0)
			verify();
	}
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_get_the_first_run),
		cmocka_unit_test(freed_runs_are_found_again),
		cmocka_unit_test(the_heap_can_be_exhausted),
		cmocka_unit_test(growth_joins_what_is_free),
		cmocka_unit_test(caches_take_a_block_and_give_it_back),
		cmocka_unit_test(caches_take_a_block_with_a_run),
		cmocka_unit_test(the_highest_free_memory_goes_first),
		cmocka_unit_test(random_runs_match_a_plain_array),
	};
	return cmocka_run_group_tests_name("pagealloc", tests, NULL, NULL);
}
