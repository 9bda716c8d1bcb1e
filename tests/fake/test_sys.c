/* SPDX-License-Identifier: MIT */
/* The ten calls over the fake machine, in every mode of this ISA: the shared model of
 * tests/host/sys_model.h. [SYS-1], [SYS-2], [SPACE-1] to [SPACE-3] are verified throughout. */
#include "mm/frame.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"
#include "tests/host/sys_model.h"

static struct rng cpu_rng;

static unsigned some_cpu(void)
{
	return (unsigned)rng_below(&cpu_rng, fake_cpu_count());
}

static bool read_somewhere(uintptr_t va, uint64_t *value)
{
	return fake_read(some_cpu(), va, value);
}

/* Without dirty bits in hardware the first write would fault if a leaf were made clean. */
static bool write_somewhere(uintptr_t va, uint64_t value)
{
	return fake_write(some_cpu(), va, value);
}

static void settled(void)
{
	const struct loam_ptab *pt = loam_space_ptab();

	fake_settled();
	loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max);
}

static void fail_at(uint64_t n)
{
	loam_frame_fail_at(n);
}

static uint64_t frames(void)
{
	struct loam_frame_stats s;

	loam_frame_stats(&s);
	return s.free + s.owner_frames[LOAM_OWNER_META];
}

static struct sys_env env = {
	.window_bytes = 16 << 20,
	.exact = true,
	.memory_may_run_out = false,
	.read = read_somewhere,
	.write = write_somewhere,
	.settled = settled,
	.fail_at = fail_at,
	.frames = frames,
};

static void up(const struct fake_mode *mode, size_t window_bytes)
{
	static struct loam_mem_entry entry[FAKE_RANGES + 1];
	struct loam_config config = {0};

	cpu_rng.state = test_seed();
	fake_up_default(&mode->mmu, test_seed());
	config.memmap = entry;
	config.memmap_count = fake_memmap(entry);
	/* no direct map: any place far from the window will do for the check of overlap */
	config.direct_map_offset = mode->mmu.va_min + ((uintptr_t)1 << 46);
	/* across a 1 GiB boundary, not 2 MiB aligned */
	config.window_base =
		mode->mmu.va_min + 7 * LOAM_GIANT_SIZE - (5 << 20) - 3 * LOAM_PAGE_SIZE;
	config.window_bytes = window_bytes;
	assert_int_equal(loam_mm_init(&config), LOAM_OK);
	assert_int_equal(loam_mm_init(&config), LOAM_EXIST);
	fake_online();
	env.window = config.window_base;
	env.window_bytes = window_bytes;
}

static void down(void)
{
	loam_frame_verify();
	loam_mm_reset();
	fake_down();
}

static void random_calls(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t before;

		up(mode, 16 << 20);
		before = frames();
		sys_model_run(&env, test_seed(), 3000);
		/* tables that hang at the root may stay */
		assert_true(before - frames() <= 2);
		down();
	}
}

/* The same with a quarter of the frames: NOMEM happens by itself. */
static void random_calls_with_little_memory(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_frame_list hog = {0};
		uint64_t all;

		up(mode, 16 << 20);
		all = free_frames();
		assert_int_equal(loam_frame_list_alloc(&hog, all - 900, 0, LOAM_OWNER_HOST),
				 LOAM_OK);
		env.memory_may_run_out = true;
		sys_model_run(&env, test_seed() + 1, 3000);
		env.memory_may_run_out = false;
		loam_frame_list_free(&hog);
		down();
	}
}

static void nth_failure(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		up(mode, 64 << 20);
		sys_model_nth_failure(&env);
		down();
	}
}

static void bad_input(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		up(mode, 64 << 20);
		assert_true(sys_model_bad_input(&env) >= 40);
		down();
	}
}

/* 2 MiB leaves where asked for and possible, small ones elsewhere, and what became of them. */
static void huge_leaves(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		const size_t size = 3 * LOAM_HUGE_SIZE;
		struct loam_sys_info info;
		struct loam_sys_stats s;
		uintptr_t base;

		up(mode, 64 << 20);
		assert_int_equal(loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base), LOAM_OK);
		assert_int_equal(loam_sys_map(base, size, LOAM_OWNER_TEST), LOAM_OK);
		assert_int_equal(loam_sys_hugepage(base + LOAM_HUGE_SIZE, 2 * LOAM_HUGE_SIZE),
				 LOAM_OK);
		assert_int_equal(loam_sys_used(base, size, NULL), LOAM_OK);
		assert_int_equal(loam_sys_query(base, &info), LOAM_OK);
		assert_int_equal(info.leaf_bytes, LOAM_PAGE_SIZE);
		assert_int_equal(loam_sys_query(base + size - 1, &info), LOAM_OK);
		assert_int_equal(info.leaf_bytes, LOAM_HUGE_SIZE);
		loam_sys_stats(&s);
		assert_int_equal(s.huge_ready_bytes, 2 * LOAM_HUGE_SIZE);
		for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE)
			assert_true(write_somewhere(base + at, at + 1));
		/* the middle of a huge leaf goes, for good */
		fake_spread(base + LOAM_HUGE_SIZE, 64 * LOAM_PAGE_SIZE);
		assert_int_equal(
			loam_sys_free(base + LOAM_HUGE_SIZE + 7 * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE),
			LOAM_OK);
		settled();
		for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE) {
			uint64_t value;
			bool gone = at == LOAM_HUGE_SIZE + 7 * LOAM_PAGE_SIZE;

			assert_int_equal(read_somewhere(base + at, &value), !gone);
			if (!gone)
				assert_int_equal(value, at + 1);
		}
		assert_int_equal(loam_sys_collapse(base, LOAM_HUGE_SIZE), LOAM_OK);
		settled();
		assert_int_equal(loam_sys_query(base, &info), LOAM_OK);
		assert_int_equal(info.leaf_bytes, LOAM_HUGE_SIZE);
		for (size_t at = 0; at < LOAM_HUGE_SIZE; at += LOAM_PAGE_SIZE) {
			uint64_t value;

			assert_true(read_somewhere(base + at, &value));
			assert_int_equal(value, at + 1);
		}
		loam_sys_verify();
		down();
	}
}

/* A clean page is clean until it is written: query tells. */
static void dirty_is_told(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_sys_info info;
		void *p;

		up(mode, 64 << 20);
		assert_int_equal(loam_sys_alloc(2 * LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &p), LOAM_OK);
		assert_true(write_somewhere((uintptr_t)p, 1));
		assert_int_equal(loam_sys_query((uintptr_t)p, &info), LOAM_OK);
		assert_true(info.dirty);
		assert_int_equal(loam_sys_query((uintptr_t)p + LOAM_PAGE_SIZE, &info), LOAM_OK);
		assert_int_equal(info.dirty, !mode->mmu.hw_dirty);
		assert_int_not_equal(info.pa.raw, 0);
		down();
	}
}

static void try_init(const struct fake_mode *mode, uintptr_t base, size_t size, uintptr_t offset)
{
	static struct loam_mem_entry entry[FAKE_RANGES + 1];
	struct loam_config config = {.memmap = entry,
				     .window_base = base,
				     .window_bytes = size,
				     .direct_map_offset = offset};

	config.memmap_count = fake_memmap(entry);
	(void)loam_mm_init(&config);
}

/* A wrong integration stops at once and names the fix. */
static void wrong_windows_are_named(void **state)
{
	static const struct fake_mode *mode;
	static uintptr_t min;

	(void)state;
	mode = &fake_modes[0];
	min = mode->mmu.va_min;
	fake_up_default(&mode->mmu, 1);
	EXPECT_PANIC(try_init(mode, min + 1, 16 << 20, min), "must be page-aligned");
	EXPECT_PANIC(try_init(mode, 0x400000, 16 << 20, min), "in the kernel half");
	EXPECT_PANIC(try_init(mode, UINT64_MAX - 4095, 8192, min), "in the kernel half");
	EXPECT_PANIC(try_init(mode, min + 0x40100000, 16 << 20, min), "overlaps the direct map");
	fake_down();
}

static void try_init_without_root(const struct fake_mode *mode)
{
	static struct loam_mem_entry entry[FAKE_RANGES + 1];
	struct loam_config config = {
		.memmap = entry, .window_base = mode->mmu.va_min, .window_bytes = 16 << 20};

	config.memmap_count = fake_memmap(entry) - 1; /* the last one is the root */
	(void)loam_mm_init(&config);
}

static void usable_page_tables_are_named(void **state)
{
	static const struct fake_mode *mode;

	(void)state;
	mode = &fake_modes[0];
	fake_up_default(&mode->mmu, 1);
	EXPECT_PANIC(try_init_without_root(mode), "has the page tables in usable memory");
	fake_down();
}

/* Broken books are found. */
static void verify_finds_breakage(void **state)
{
	static struct loam_ptab_slot slot;
	static void *p;

	(void)state;
	up(&fake_modes[0], 16 << 20);
	assert_int_equal(loam_sys_alloc(LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &p), LOAM_OK);
	loam_ptab_walk(loam_space_ptab(), (uintptr_t)p, 0, &slot);
	loam_pt_store(slot.table, slot.index, loam_pte_none(LOAM_TAG_PREPARED));
	EXPECT_PANIC(loam_sys_verify(), "[SYS-1]");
	loam_mm_reset();
	fake_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls),
		cmocka_unit_test(random_calls_with_little_memory),
		cmocka_unit_test(nth_failure),
		cmocka_unit_test(bad_input),
		cmocka_unit_test(huge_leaves),
		cmocka_unit_test(dirty_is_told),
		cmocka_unit_test(wrong_windows_are_named),
		cmocka_unit_test(usable_page_tables_are_named),
		cmocka_unit_test(verify_finds_breakage),
	};
	return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
