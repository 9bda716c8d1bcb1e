/* SPDX-License-Identifier: MIT */
/* gc's own two allocators on Linux: fixed-size objects, [FIX-1] to [FIX-3], and memory that
 * persists, [PERSIST-1] and [PERSIST-2]. */
#include "gc/fixalloc.h"

#include "arch/host/host.h"
#include "gc/persistent.h"
#include "mm/sys.h"
#include "tests/host/support.h"

#define KIB ((size_t)1024)

static int up(void **state)
{
	struct loam_config config = {0};

	(void)state;
	assert_int_equal(loam_mm_init(&config), LOAM_OK);
	return 0;
}

static uint64_t bytes_of(enum loam_owner owner)
{
	struct loam_sys_stats s;

	loam_sys_stats(&s);
	return s.ready_bytes[owner] + s.prepared_bytes[owner];
}

/* Nothing is left, no address either. */
static int down(void **state)
{
	struct loam_sys_stats s;

	(void)state;
	loam_host_fail_at(0);
	loam_sys_verify();
	loam_sys_stats(&s);
	assert_int_equal(s.region_count, 0);
	assert_int_equal(s.state_bytes[LOAM_STATE_READY] + s.state_bytes[LOAM_STATE_PREPARED], 0);
	loam_mm_reset();
	return 0;
}

static bool all_are(const void *p, size_t n, unsigned char byte)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++) {
		if (b[i] != byte)
			return false;
	}
	return true;
}

/* ---- objects of a fixed size ---- */

static void bad_allocators_are_refused(void **state)
{
	struct loam_fixalloc f;

	(void)state;
	assert_int_equal(loam_fixalloc_init(&f, 0, 10, LOAM_OWNER_GC), LOAM_INVAL);
	assert_int_equal(loam_fixalloc_init(&f, 8, 0, LOAM_OWNER_GC), LOAM_INVAL);
	assert_int_equal(loam_fixalloc_init(&f, SIZE_MAX, 10, LOAM_OWNER_GC), LOAM_INVAL);
	assert_int_equal(loam_fixalloc_init(&f, 8, UINT32_MAX, LOAM_OWNER_GC), LOAM_INVAL);
	assert_int_equal(loam_fixalloc_init(&f, 8, 10, LOAM_OWNER_NONE), LOAM_INVAL);
	assert_int_equal(loam_fixalloc_init(&f, 8, 10, LOAM_OWNER_COUNT), LOAM_INVAL);
	assert_int_equal(loam_fixalloc_init(&f, 1 << 20, 1 << 30, LOAM_OWNER_GC), LOAM_NOVIRT);
	assert_int_equal(loam_fixalloc_init(&f, (size_t)1 << 31, (uint32_t)1 << 31, LOAM_OWNER_GC),
			 LOAM_NOVIRT);
}

/* It begins with a page, grows in small steps, and gives out what it said and no more. */
static void grows_by_small_steps(void **state)
{
	enum { ITEMS = 10000, BYTES = 56 };
	struct loam_fixalloc f;
	uint64_t before = 0;

	(void)state;
	assert_int_equal(loam_fixalloc_init(&f, BYTES - 3, ITEMS, LOAM_OWNER_GC), LOAM_OK);
	assert_int_equal(f.item_bytes, BYTES);
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 0);
	for (uint32_t i = 0; i < ITEMS; i++) {
		char *p = loam_fixalloc_alloc(&f);
		uint64_t bytes = bytes_of(LOAM_OWNER_GC);

		assert_non_null(p);
		assert_true(all_are(p, BYTES, 0));
		assert_int_equal(loam_fixalloc_index(&f, p), i);
		assert_ptr_equal(loam_fixalloc_at(&f, i), p);
		assert_true(loam_fixalloc_owns(&f, p));
		assert_false(loam_fixalloc_owns(&f, p + 8));
		assert_false(loam_fixalloc_owns(&f, p + BYTES));
		memset(p, 0xa5, BYTES);
		if (i == 0)
			assert_int_equal(bytes, LOAM_PAGE_SIZE);
		assert_true(bytes - before <= 64 * KIB &&
			    bytes <= 2 * (uint64_t)(i + 1) * BYTES + 4096);
		before = bytes;
	}
	assert_null(loam_fixalloc_alloc(&f));
	assert_true(before <= ITEMS * BYTES + LOAM_PAGE_SIZE);
	assert_int_equal(f.used, ITEMS);
	loam_fixalloc_verify(&f);
	loam_fixalloc_reset(&f);
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 0);
}

/* What was freed last comes first, and keeps all but four bytes; with `zero` it comes zeroed. */
static void freed_objects_keep_their_contents(void **state)
{
	struct loam_fixalloc f;
	char *a, *b;

	(void)state;
	for (int zero = 0; zero < 2; zero++) {
		assert_int_equal(loam_fixalloc_init(&f, 40, 100, LOAM_OWNER_GC), LOAM_OK);
		f.zero = zero != 0;
		a = loam_fixalloc_alloc(&f);
		b = loam_fixalloc_alloc(&f);
		memset(a, 0x11, 40);
		memset(b, 0x22, 40);
		loam_fixalloc_free(&f, a);
		loam_fixalloc_free(&f, b);
		loam_fixalloc_verify(&f);
		assert_int_equal(f.used, 0);
		assert_true(all_are(a + 4, 36, 0x11) && all_are(b + 4, 36, 0x22));
		assert_ptr_equal(loam_fixalloc_alloc(&f), b);
		assert_ptr_equal(loam_fixalloc_alloc(&f), a);
		assert_true(all_are(a + 4, 36, zero ? 0 : 0x11));
		assert_true(!zero || all_are(b, 40, 0));
		assert_int_equal(loam_fixalloc_begun(&f), 2);
		loam_fixalloc_reset(&f);
	}
}

static void count_first(void *arg, void *item)
{
	uint64_t *word = item;

	assert_true(all_are(item, 24, 0));
	word[1] = ++*(uint64_t *)arg;
}

/* Each object is prepared once, however often it is used. */
static void first_use_is_once(void **state)
{
	struct loam_fixalloc f;
	uint64_t calls = 0, *item[300];

	(void)state;
	assert_int_equal(loam_fixalloc_init(&f, 24, 300, LOAM_OWNER_GC), LOAM_OK);
	f.first = count_first;
	f.first_arg = &calls;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 300; i++) {
			item[i] = loam_fixalloc_alloc(&f);
			assert_int_equal(item[i][1], loam_fixalloc_index(&f, item[i]) + 1);
		}
		assert_int_equal(calls, 300);
		for (unsigned i = 0; i < 300; i++)
			loam_fixalloc_free(&f, item[i]);
		loam_fixalloc_verify(&f);
	}
	loam_fixalloc_reset(&f);
}

/* Objects larger than a page, and wrong frees. */
static void large_objects_and_wrong_frees(void **state)
{
	struct loam_fixalloc f;
	char *p, *q;

	(void)state;
	assert_int_equal(loam_fixalloc_init(&f, 5000, 30, LOAM_OWNER_META), LOAM_OK);
	p = loam_fixalloc_alloc(&f);
	assert_int_equal(bytes_of(LOAM_OWNER_META), 2 * LOAM_PAGE_SIZE);
	q = loam_fixalloc_alloc(&f);
	assert_ptr_equal(q, p + 5000);
	memset(p, 1, 5000);
	memset(q, 2, 5000);
	assert_true(all_are(p, 5000, 1));
	EXPECT_PANIC(loam_fixalloc_free(&f, p + 8), "not of");
	EXPECT_PANIC(loam_fixalloc_free(&f, p + 10000), "not of");
	EXPECT_PANIC(loam_fixalloc_free(&f, &f), "not of");
	loam_fixalloc_free(&f, q);
	loam_fixalloc_free(&f, p);
	EXPECT_PANIC(loam_fixalloc_free(&f, p), "not of"); /* none is in use */
	*(uint32_t *)p = 1;				   /* [FIX-1]: a circle */
	EXPECT_PANIC(loam_fixalloc_verify(&f), "[FIX-1]");
	*(uint32_t *)p = 77;
	EXPECT_PANIC(loam_fixalloc_verify(&f), "[FIX-1]");
	loam_fixalloc_reset(&f);
	loam_fixalloc_reset(&f); /* of none: nothing */
}

/* Against a shadow: who is in use, and what is in it. */
static void random_allocs_and_frees(void **state)
{
	enum { ITEMS = 700, BYTES = 48 };
	static char *at[ITEMS];
	struct rng rng = {test_seed()};
	struct loam_fixalloc f;
	unsigned used = 0;

	(void)state;
	memset(at, 0, sizeof(at));
	assert_int_equal(loam_fixalloc_init(&f, BYTES, ITEMS, LOAM_OWNER_GC), LOAM_OK);
	for (int step = 0; step < 100000; step++) {
		unsigned i = (unsigned)rng_below(&rng, ITEMS);

		if (at[i] == NULL) {
			at[i] = loam_fixalloc_alloc(&f);
			assert_non_null(at[i]);
			memset(at[i], (int)(i & 0xff), BYTES);
			used++;
		} else {
			assert_true(all_are(at[i], BYTES, (unsigned char)i));
			loam_fixalloc_free(&f, at[i]);
			at[i] = NULL;
			used--;
		}
		assert_int_equal(f.used, used);
		if (step % 1000 == 0)
			loam_fixalloc_verify(&f);
	}
	loam_fixalloc_reset(&f);
}

/* The n-th request for memory fails: NULL, nothing has changed, and the next one works. [FIX-3] */
static void fixalloc_nth_failure(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (uint64_t n = 1; n < 40; n++) {
		struct loam_fixalloc f = {0};
		enum loam_err err;

		loam_host_fail_at(n);
		err = loam_fixalloc_init(&f, 512, 4000, LOAM_OWNER_GC);
		for (unsigned i = 0; err == LOAM_OK && i < 1000; i++) {
			struct loam_fixalloc was = f;
			uint64_t bytes = bytes_of(LOAM_OWNER_GC);
			char *p = loam_fixalloc_alloc(&f);

			if (p != NULL)
				continue;
			failures++;
			assert_memory_equal(&f, &was, sizeof(f));
			assert_int_equal(bytes_of(LOAM_OWNER_GC), bytes);
			loam_host_fail_at(0);
			p = loam_fixalloc_alloc(&f);
			assert_int_equal(loam_fixalloc_index(&f, p), i);
			loam_host_fail_at(1);
		}
		loam_host_fail_at(0);
		if (err == LOAM_OK)
			loam_fixalloc_verify(&f);
		loam_fixalloc_reset(&f);
		assert_int_equal(bytes_of(LOAM_OWNER_GC), 0);
		loam_sys_verify();
	}
	assert_true(failures > 20);
}

/* ---- memory that persists ---- */

static void persistent_is_aligned_and_zero(void **state)
{
	enum { N = 3000 };
	static struct {
		char *p;
		size_t bytes;
	} got[N];
	struct rng rng = {test_seed()};
	uint64_t sum = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		size_t align = rng_below(&rng, 13) != 0 ? (size_t)1 << rng_below(&rng, 13) : 0;
		size_t bytes = 1 + rng_below(&rng, rng_below(&rng, 50) == 0 ? 200 * KIB : 600);

		got[i].bytes = bytes;
		got[i].p = loam_persistent_alloc(bytes, align, LOAM_OWNER_GC);
		assert_non_null(got[i].p);
		assert_true(loam_is_aligned((uintptr_t)got[i].p, align != 0 ? align : 8));
		assert_true(all_are(got[i].p, bytes, 0));
		assert_true(loam_persistent_owns(got[i].p));
		assert_true(loam_persistent_owns(got[i].p + bytes - 1));
		memset(got[i].p, (int)(i % 255) + 1, bytes);
		sum += bytes;
	}
	for (unsigned i = 0; i < N; i++) /* [PERSIST-1] */
		assert_true(all_are(got[i].p, got[i].bytes, (unsigned char)(i % 255 + 1)));
	assert_false(loam_persistent_owns(&rng));
	assert_false(loam_persistent_owns(NULL));
	assert_int_equal(loam_persistent_bytes(LOAM_OWNER_GC), bytes_of(LOAM_OWNER_GC));
	assert_true(loam_persistent_bytes(LOAM_OWNER_GC) >= sum);
	loam_persistent_reset();
	assert_false(loam_persistent_owns(got[0].p));
	assert_int_equal(loam_persistent_bytes(LOAM_OWNER_GC), 0);
}

/* Small ones share a chunk, each owner has its own, and large ones leave the open chunk alone. */
static void persistent_chunks(void **state)
{
	char *a, *b, *c, *large;

	(void)state;
	a = loam_persistent_alloc(100, 0, LOAM_OWNER_GC);
	b = loam_persistent_alloc(100, 0, LOAM_OWNER_GC);
	assert_ptr_equal(b, a + 104);
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 64 * KIB);
	c = loam_persistent_alloc(100, 0, LOAM_OWNER_HEAP);
	assert_non_null(c);
	assert_int_equal(bytes_of(LOAM_OWNER_HEAP), 64 * KIB);
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 64 * KIB);
	/* just too large for a chunk: a range of its own, and no chunk is opened */
	large = loam_persistent_alloc(64 * KIB, 0, LOAM_OWNER_GC);
	assert_true(loam_is_aligned((uintptr_t)large, LOAM_PAGE_SIZE));
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 128 * KIB);
	/* does not fit into the rest: a chunk for it, and the emptier one stays open */
	assert_non_null(loam_persistent_alloc(64 * KIB - 64, 0, LOAM_OWNER_GC));
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 192 * KIB);
	c = loam_persistent_alloc(100, 0, LOAM_OWNER_GC);
	assert_true(c > b && c < b + 64 * KIB);
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 192 * KIB);
	/* the whole of a chunk at every alignment */
	for (size_t align = 8; align <= LOAM_PAGE_SIZE; align *= 2) {
		size_t head = align > 24 ? align : 24;

		assert_non_null(loam_persistent_alloc(64 * KIB - head, align, LOAM_OWNER_META));
	}
	assert_int_equal(bytes_of(LOAM_OWNER_META), 10 * 64 * KIB);
	loam_persistent_reset();
}

static void persistent_refuses_nonsense(void **state)
{
	(void)state;
	assert_null(loam_persistent_alloc(0, 8, LOAM_OWNER_GC));
	assert_null(loam_persistent_alloc(8, 3, LOAM_OWNER_GC));
	assert_null(loam_persistent_alloc(8, 8192, LOAM_OWNER_GC));
	assert_null(loam_persistent_alloc(8, 8, LOAM_OWNER_NONE));
	assert_null(loam_persistent_alloc(8, 8, LOAM_OWNER_COUNT));
	assert_null(loam_persistent_alloc(SIZE_MAX, 8, LOAM_OWNER_GC));
	assert_null(loam_persistent_alloc((size_t)1 << 50, 8, LOAM_OWNER_GC));
	assert_int_equal(bytes_of(LOAM_OWNER_GC), 0);
}

/* [PERSIST-2] */
static void persistent_nth_failure(void **state)
{
	static const size_t size[] = {70 * KIB, 100, 60 * KIB, 5000, 300 * KIB, 64 * KIB, 8};
	unsigned failures = 0;

	(void)state;
	for (uint64_t n = 1; n < 16; n++) {
		loam_host_fail_at(n);
		for (unsigned i = 0; i < COUNT_OF(size); i++) {
			uint64_t bytes = bytes_of(LOAM_OWNER_GC);
			bool failed = loam_persistent_alloc(size[i], 0, LOAM_OWNER_GC) == NULL;

			assert_int_equal(bytes_of(LOAM_OWNER_GC),
					 loam_persistent_bytes(LOAM_OWNER_GC));
			if (!failed)
				continue;
			failures++;
			assert_int_equal(bytes_of(LOAM_OWNER_GC), bytes);
			loam_host_fail_at(0);
			assert_non_null(loam_persistent_alloc(size[i], 0, LOAM_OWNER_GC));
		}
		loam_host_fail_at(0);
		loam_persistent_reset();
		assert_int_equal(bytes_of(LOAM_OWNER_GC), 0);
	}
	assert_true(failures >= 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bad_allocators_are_refused, up, down),
		cmocka_unit_test_setup_teardown(grows_by_small_steps, up, down),
		cmocka_unit_test_setup_teardown(freed_objects_keep_their_contents, up, down),
		cmocka_unit_test_setup_teardown(first_use_is_once, up, down),
		cmocka_unit_test_setup_teardown(large_objects_and_wrong_frees, up, down),
		cmocka_unit_test_setup_teardown(random_allocs_and_frees, up, down),
		cmocka_unit_test_setup_teardown(fixalloc_nth_failure, up, down),
		cmocka_unit_test_setup_teardown(persistent_is_aligned_and_zero, up, down),
		cmocka_unit_test_setup_teardown(persistent_chunks, up, down),
		cmocka_unit_test_setup_teardown(persistent_refuses_nonsense, up, down),
		cmocka_unit_test_setup_teardown(persistent_nth_failure, up, down),
	};
	return cmocka_run_group_tests_name("fixalloc", tests, NULL, NULL);
}
