/* SPDX-License-Identifier: MIT */
/* Regions against a flat array: cut, merge, reserve, release. [VSPACE-1] to [VSPACE-4] are
 * verified after each step. */
#include "mm/vspace.h"

#include "mm/space.h"
#include "mm/sys.h"
#include "tests/host/support.h"

#define PAGES 2048u

static uintptr_t window;
static size_t window_bytes;
static uint64_t serial[PAGES]; /* which reservation, 0 free */
static uint8_t owner[PAGES];

static int up(void **state)
{
	struct loam_config config = {0};

	(void)state;
	assert_int_equal(loam_space_init(&config, &window, &window_bytes), LOAM_OK);
	window_bytes = PAGES * LOAM_PAGE_SIZE;
	assert_int_equal(loam_vspace_init(window, window_bytes), LOAM_OK);
	memset(serial, 0, sizeof(serial));
	memset(owner, 0, sizeof(owner));
	return 0;
}

static int down(void **state)
{
	(void)state;
	loam_vspace_reset();
	loam_space_reset();
	return 0;
}

static uintptr_t addr(unsigned i)
{
	return window + i * LOAM_PAGE_SIZE;
}

static unsigned gap(unsigned n, unsigned align)
{
	for (unsigned i = 0; i + n <= PAGES; i++) {
		unsigned k = 0;

		if (!loam_is_aligned(addr(i), align * LOAM_PAGE_SIZE))
			continue;
		while (k < n && serial[i + k] == 0)
			k++;
		if (k == n)
			return i;
	}
	return PAGES;
}

static void check(void)
{
	loam_vspace_verify();
	for (unsigned i = 0; i < PAGES; i++) {
		const struct loam_region *r = loam_vspace_find(addr(i) + 5);

		assert_non_null(r);
		assert_true(addr(i) - r->base < r->size);
		assert_int_equal(r->reservation, serial[i]);
		assert_int_equal(r->owner, owner[i]);
	}
}

static void merge_all(unsigned at, unsigned n)
{
	struct loam_region *r = loam_vspace_merge(loam_vspace_find(addr(at)));

	while (r != NULL && r->base + r->size < addr(at + n))
		r = loam_vspace_merge(loam_vspace_next(r));
}

static void random_operations(void **state)
{
	struct rng rng = {test_seed()};
	uint64_t serials = 0;

	(void)state;
	for (unsigned step = 0; step < 4000; step++) {
		unsigned at = (unsigned)rng_below(&rng, PAGES),
			 n = 1 + (unsigned)rng_below(&rng, 60);
		struct loam_region *r;

		n = at + n > PAGES ? PAGES - at : n;
		assert_int_equal(loam_vspace_stock(2), LOAM_OK);
		if (rng_below(&rng, 2) == 0) {
			unsigned align = 1u << rng_below(&rng, 7), want = gap(n, align);
			enum loam_err err = loam_vspace_reserve(0, n * LOAM_PAGE_SIZE,
								align * LOAM_PAGE_SIZE, &r);

			assert_int_equal(err, want == PAGES ? LOAM_NOVIRT : LOAM_OK);
			serials++;
			for (unsigned i = want; want < PAGES && i < want + n; i++) {
				serial[i] = r->reservation;
				owner[i] = LOAM_OWNER_NONE;
			}
			if (want < PAGES)
				assert_int_equal(r->base, addr(want));
		} else {
			/* the reserved pages of the range get an owner, or are freed */
			bool release = rng_below(&rng, 2) == 0;
			uint8_t who = (uint8_t)(1 + rng_below(&rng, 3));

			loam_vspace_cut(addr(at));
			if (at + n < PAGES)
				loam_vspace_cut(addr(at + n));
			for (r = loam_vspace_find(addr(at)); r != NULL && r->base < addr(at + n);
			     r = loam_vspace_next(r)) {
				if (r->reservation == 0)
					continue;
				if (release)
					loam_vspace_release(r);
				else
					r->owner = who;
			}
			for (unsigned i = at; i < at + n; i++) {
				if (serial[i] == 0)
					continue;
				serial[i] = release ? 0 : serial[i];
				owner[i] = release ? 0 : who;
			}
			merge_all(at, n);
		}
		if (step % 8 == 0)
			check();
	}
	check();
	assert_true(serials > 1000);
	assert_int_equal(loam_vspace_find(window - 1), NULL);
	assert_int_equal(loam_vspace_find(window + window_bytes), NULL);
}

/* Several pieces that become alike in one go are one region afterwards. */
static void rows_of_pieces_merge(void **state)
{
	struct loam_region *r;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(loam_vspace_stock(2), LOAM_OK);
		assert_int_equal(loam_vspace_reserve(0, LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, &r),
				 LOAM_OK);
	}
	assert_int_equal(loam_vspace_count(), 6);
	for (unsigned i = 1; i < 6; i++)
		loam_vspace_release(loam_vspace_find(addr(i)));
	merge_all(1, 5);
	loam_vspace_verify();
	assert_int_equal(loam_vspace_find(addr(1))->size, window_bytes - LOAM_PAGE_SIZE);
	assert_int_equal(loam_vspace_count(), 1);
}

static void history_is_kept(void **state)
{
	struct loam_region *r;

	(void)state;
	assert_int_equal(loam_vspace_stock(2), LOAM_OK);
	assert_int_equal(loam_vspace_reserve(0, 8 * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, &r), LOAM_OK);
	loam_region_note(r, LOAM_CALL_RESERVE);
	loam_region_note(r, LOAM_CALL_MAP);
	for (unsigned i = 0; i < 100; i++)
		loam_region_note(r, LOAM_CALL_USED); /* a loop is one event */
	assert_int_equal(r->history[0], LOAM_CALL_USED);
	assert_int_equal(r->history[1], LOAM_CALL_MAP);
	assert_int_equal(r->history[2], LOAM_CALL_RESERVE);
	assert_string_equal(loam_call_name((enum loam_call)r->history[1]), "map");
	assert_string_equal(loam_call_name(LOAM_CALL_COUNT), "?");
	assert_int_equal(loam_vspace_stock(1), LOAM_OK);
	loam_vspace_cut(addr(3)); /* both halves have lived through it */
	assert_int_equal(loam_vspace_find(addr(3))->history[1], LOAM_CALL_MAP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_operations, up, down),
		cmocka_unit_test_setup_teardown(rows_of_pieces_merge, up, down),
		cmocka_unit_test_setup_teardown(history_is_kept, up, down),
	};
	return cmocka_run_group_tests_name("vspace", tests, NULL, NULL);
}
