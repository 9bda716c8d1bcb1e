/* SPDX-License-Identifier: MIT */
/* Stacks on the fake machine, in every mode of this ISA: guards, growth, and those that are kept
 * when they are freed. Tags: [STACK-1], [STACK-2], [POOL-1] to [POOL-3]. */
#include "mm/lockrank.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#define KIB ((size_t)1 << 10)

static void up(const struct fake_mode *mode)
{
	fake_up_default(&mode->mmu, test_seed());
	(void)fake_mm_up(mode, false);
}

static void settled(void)
{
	const struct loam_ptab *pt = loam_space_ptab();

	fake_settled();
	loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max);
	loam_sys_verify();
}

static void down(void)
{
	settled();
	loam_frame_verify();
	loam_mm_reset();
	fake_down();
}

static char report[2000];

static void keep_report(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	if (strlen(report) + len < sizeof(report))
		strncat(report, buf, len);
}

static void tell(uintptr_t addr)
{
	struct loam_fault fault = {.addr = addr, .access = LOAM_ACCESS_WRITE};

	report[0] = '\0';
	loam_host_on_log(keep_report);
	loam_fault_report(&fault);
	loam_host_on_log(NULL);
}

static void stacks_grow_and_are_guarded(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_stack s, none = {0};
		struct loam_sys_info info;

		up(mode);
		assert_int_equal(loam_stack_alloc(0, &s), LOAM_INVAL);
		assert_int_equal(loam_stack_free(&none), LOAM_INVAL);
		assert_int_equal(loam_stack_alloc(256 << 10, &s), LOAM_OK);
		assert_int_equal(s.high - s.low, 256 << 10);
		assert_int_equal(loam_stack_committed(&s), LOAM_PAGE_SIZE);
		tell(s.low);
		assert_non_null(strstr(report, "touch of memory that fills itself"));
		/* [STACK-1] */
		assert_int_equal(loam_sys_query(s.low - 1, &info), LOAM_OK);
		assert_int_equal(info.state, LOAM_STATE_RESERVED);
		assert_int_equal(loam_sys_query(s.high, &info), LOAM_OK);
		assert_int_equal(info.state, LOAM_STATE_RESERVED);
		for (uintptr_t sp = s.high; sp > s.low; sp -= 1000)
			assert_true(touch(0, sp - 8, LOAM_ACCESS_WRITE));
		assert_int_equal(loam_stack_committed(&s), 256 << 10);
		assert_false(touch(0, s.low - 8, LOAM_ACCESS_WRITE));
		tell(s.low - 8);
		assert_non_null(strstr(report, "stack overflow: guard below the stack"));
		assert_false(touch(0, s.high, LOAM_ACCESS_WRITE));
		tell(s.high + 8);
		assert_non_null(strstr(report, "stack underflow: guard above the stack"));
		/* back to a few frames: what is below goes, but for a page of slack */
		assert_int_equal(loam_stack_trim(&s, s.high - 5000),
				 (256 << 10) - 3 * LOAM_PAGE_SIZE);
		assert_int_equal(loam_stack_committed(&s), 3 * LOAM_PAGE_SIZE);
		assert_int_equal(s.high_water, 256 << 10);
		settled();
		assert_true(touch(0, s.low, LOAM_ACCESS_WRITE)); /* and deep again */
		assert_int_equal(loam_stack_free(&s), LOAM_OK);
		assert_int_equal(loam_stack_free(&s), LOAM_INVAL);
		down();
	}
}

/* 10,000 stacks of 64 KiB, one page used in each: at most 8 KiB each, tables and records too. */
static void ten_thousand_stacks(void **state)
{
	static struct loam_stack s[10000];
	struct loam_frame_stats before, after;

	(void)state;
	up(&fake_modes[0]);
	loam_frame_stats(&before);
	for (unsigned i = 0; i < 10000; i++) {
		assert_int_equal(loam_stack_alloc(64 << 10, &s[i]), LOAM_OK);
		assert_true(touch(0, s[i].high - 8, LOAM_ACCESS_WRITE));
	}
	loam_frame_stats(&after);
	assert_true((before.free - after.free) * LOAM_PAGE_SIZE <= UINT64_C(10000) * 8192);
	printf("# %llu bytes a stack\n",
	       (unsigned long long)((before.free - after.free) * LOAM_PAGE_SIZE / 10000));
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
	assert_int_equal(loam_stack_pool_release(), 64 * LOAM_PAGE_SIZE);
	loam_frame_stats(&after);
	/* region records stay with mm, and tables at the root */
	assert_true(before.free + before.owner_frames[LOAM_OWNER_META] -
			    (after.free + after.owner_frames[LOAM_OWNER_META]) <=
		    2);
	down();
}

/* ---- kept stacks ---- */

static struct loam_stack_stats kept(void)
{
	struct loam_stack_stats stats;

	loam_stack_stats(&stats);
	return stats;
}

/* The one freed last comes first, as it was but for what it had used, and no entry of a table changes. */
static void freed_stacks_come_back(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_stack a, b, first, second;
		struct loam_sys_info info;
		uint64_t events, frames;

		up(mode);
		assert_int_equal(loam_stack_alloc(64 * KIB, &a), LOAM_OK);
		assert_int_equal(loam_stack_alloc(64 * KIB, &b), LOAM_OK);
		first = a;
		second = b;
		frames = free_frames();
		for (unsigned k = 1; k <= 5; k++)
			assert_true(touch(k % 4, b.high - k * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		assert_int_equal(free_frames(), frames - 4);
		assert_int_equal(loam_stack_free(&b), LOAM_OK);
		assert_int_equal(free_frames(), frames); /* [POOL-2] */
		settled();
		events = fake_events();
		assert_int_equal(loam_stack_free(&a), LOAM_OK);
		assert_int_equal(a.low + a.high, 0);
		assert_int_equal(kept().pooled, 2);
		assert_int_equal(kept().pooled_bytes, 2 * LOAM_PAGE_SIZE);
		assert_int_equal(loam_stack_alloc(32 * KIB, &b), LOAM_OK); /* of another size */
		assert_true(b.low != first.low && b.low != second.low);
		assert_int_not_equal(fake_events(), events);
		events = fake_events();
		assert_int_equal(loam_stack_alloc(64 * KIB, &a), LOAM_OK);
		assert_true(a.low == first.low && a.high == first.high);
		assert_int_equal(a.high_water, LOAM_PAGE_SIZE);
		assert_int_equal(loam_stack_alloc(64 * KIB - 100, &a), LOAM_OK);
		assert_true(a.low == second.low && a.high == second.high);
		assert_int_equal(fake_events(), events);
		assert_int_equal(kept().pooled + kept().pooled_bytes, 0);
		assert_int_equal(kept().reused, 2);
		assert_int_equal(loam_stack_committed(&a), LOAM_PAGE_SIZE);
		assert_int_equal(loam_sys_query(a.low - 1, &info), LOAM_OK); /* [STACK-1] */
		assert_int_equal(info.state, LOAM_STATE_RESERVED);
		assert_int_equal(loam_sys_query(a.high, &info), LOAM_OK);
		assert_int_equal(info.state, LOAM_STATE_RESERVED);
		for (unsigned k = 1; k <= 16; k++)
			assert_true(touch(k % 4, a.high - k * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		assert_false(touch(0, a.low - 8, LOAM_ACCESS_WRITE));
		down();
	}
}

/* [POOL-1]: not twice, and nobody touches it. */
static void kept_stacks_are_nobodys(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_stack s, copy, part;

		up(mode);
		assert_int_equal(loam_stack_alloc(64 * KIB, &s), LOAM_OK);
		for (unsigned end = 0; end < 4; end++) { /* one page more or less at either end */
			part = s;
			part.low += end < 2 ? (end % 2 ? LOAM_PAGE_SIZE : -LOAM_PAGE_SIZE) : 0;
			part.high += end < 2 ? 0 : (end % 2 ? LOAM_PAGE_SIZE : -LOAM_PAGE_SIZE);
			assert_int_equal(loam_stack_free(&part), LOAM_INVAL);
		}
		copy = s;
		assert_int_equal(loam_stack_free(&s), LOAM_OK);
		s = copy;
		assert_int_equal(loam_stack_free(&copy), LOAM_INVAL);
		assert_int_equal(kept().pooled, 1);
		assert_false(touch(0, s.high - 2 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		tell(s.high - 2 * LOAM_PAGE_SIZE);
		assert_non_null(strstr(report, "touch of a stack after loam_stack_free"));
		settled();
		assert_int_equal(loam_stack_alloc(64 * KIB, &copy), LOAM_OK);
		assert_int_equal(copy.low, s.low);
		assert_true(touch(0, s.high - 2 * LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE));
		down();
	}
}

/* [POOL-3] */
static void write_after_free(uintptr_t at)
{
	struct loam_stack s, copy;
	uint64_t value = 0;

	assert_int_equal(loam_stack_alloc(16 * KIB, &s), LOAM_OK);
	assert_true(touch(0, s.high - 8, LOAM_ACCESS_WRITE));
	copy = s;
	assert_int_equal(loam_stack_free(&s), LOAM_OK);
	assert_true(fake_read(0, copy.high - 8, &value));
	assert_int_equal(value, UINT64_C(0x5afe57ac5afe57ac));
	assert_true(fake_write(0, (copy.high - at) & ~(uintptr_t)7, 1));
	EXPECT_PANIC(loam_stack_alloc(16 * KIB, &s), "written to after it was freed");
}

static void a_write_after_the_free_is_noticed(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		for (unsigned at = 8; at <= LOAM_PAGE_SIZE; at += 1019) {
			up(mode);
			write_after_free(at);
			loam_mm_reset();
			fake_down();
		}
	}
}

/* Sizes that are unusual, what is over the bound, and what is not as it should be, goes. */
static void what_is_not_kept(void **state)
{
	static const size_t size[] = {8 * KIB, 12 * KIB, 20 * KIB, 96 * KIB, 2048 * KIB};
	static struct loam_stack s[100];

	(void)state;
	for_each_mode(mode)
	{
		uint64_t regions;
		struct loam_sys_stats sys;

		up(mode);
		for (unsigned i = 0; i < COUNT_OF(size); i++) {
			assert_int_equal(loam_stack_alloc(size[i], &s[0]), LOAM_OK);
			assert_int_equal(loam_stack_free(&s[0]), LOAM_OK);
		}
		assert_int_equal(kept().pooled, 0);
		loam_sys_stats(&sys);
		regions = sys.region_count;
		/* 64 of a size */
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(loam_stack_alloc(16 * KIB, &s[i]), LOAM_OK);
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
		assert_int_equal(kept().pooled, 64);
		assert_int_equal(kept().limit_bytes, LOAM_STACK_POOL_BYTES);
		/* a bound in bytes, over all sizes */
		loam_stack_pool_limit(5 * LOAM_PAGE_SIZE);
		assert_int_equal(kept().pooled, 0);
		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(loam_stack_alloc(16 * KIB << i, &s[i]), LOAM_OK);
		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
		assert_int_equal(kept().pooled_bytes, 5 * LOAM_PAGE_SIZE);
		loam_stack_pool_limit(0);
		assert_int_equal(kept().pooled, 0);
		assert_int_equal(loam_stack_alloc(16 * KIB, &s[0]), LOAM_OK);
		assert_int_equal(loam_stack_free(&s[0]), LOAM_OK);
		assert_int_equal(kept().pooled, 0);
		loam_stack_pool_limit(LOAM_STACK_POOL_BYTES);
		/* rights that are not loam's own, a highest page that is gone, a part that is revoked */
		assert_int_equal(loam_stack_alloc(16 * KIB, &s[0]), LOAM_OK);
		assert_int_equal(
			loam_vm_protect(s[0].high - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, LOAM_VM_READ),
			LOAM_OK);
		assert_int_equal(loam_stack_free(&s[0]), LOAM_OK);
		assert_int_equal(loam_stack_alloc(16 * KIB, &s[0]), LOAM_OK);
		assert_int_equal(loam_sys_unused(s[0].high - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE),
				 LOAM_OK);
		assert_int_equal(loam_stack_free(&s[0]), LOAM_OK);
		assert_int_equal(loam_stack_alloc(16 * KIB, &s[0]), LOAM_OK);
		assert_int_equal(loam_sys_fault(s[0].low, LOAM_PAGE_SIZE), LOAM_OK);
		assert_int_equal(loam_stack_free(&s[0]), LOAM_OK);
		assert_int_equal(kept().pooled, 0);
		loam_sys_stats(&sys);
		assert_int_equal(sys.region_count, regions);
		assert_int_equal(sys.ready_bytes[LOAM_OWNER_STACK] +
					 sys.prepared_bytes[LOAM_OWNER_STACK],
				 0);
		down();
	}
}

static void keep_some(unsigned n)
{
	static struct loam_stack s[64];

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(loam_stack_alloc(16 * KIB, &s[i]), LOAM_OK);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
	assert_int_equal(kept().pooled, n);
}

static void take_every_frame(void)
{
	struct loam_pfn pfn;

	while (loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) == LOAM_OK)
		;
}

/* Before a call fails for want of anything, what is kept goes. */
static void shortage_frees_what_is_kept(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_sys_stats sys;
		struct loam_stack s;
		uintptr_t base, rest;
		void *p;

		up(mode);
		keep_some(8); /* the limit */
		loam_sys_stats(&sys);
		loam_sys_set_limit(sys.state_bytes[LOAM_STATE_READY]);
		assert_int_equal(loam_sys_alloc(8 * LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &p), LOAM_OK);
		assert_int_equal(kept().pooled, 0);
		assert_int_equal(loam_sys_alloc(LOAM_PAGE_SIZE, LOAM_OWNER_TEST, &p), LOAM_LIMIT);
		loam_sys_set_limit(UINT64_MAX);

		keep_some(8); /* addresses: what is left is in one piece */
		loam_sys_stats(&sys);
		assert_int_equal(loam_sys_reserve(0, sys.state_bytes[LOAM_STATE_NONE], 0, &rest),
				 LOAM_OK);
		assert_int_equal(loam_sys_reserve(0, LOAM_PAGE_SIZE, 0, &base), LOAM_OK);
		assert_int_equal(kept().pooled, 0);
		assert_int_equal(loam_sys_free(base, LOAM_PAGE_SIZE), LOAM_OK);
		assert_int_equal(loam_sys_free(rest, sys.state_bytes[LOAM_STATE_NONE]), LOAM_OK);

		assert_int_equal(loam_stack_alloc(256 * KIB, &s), LOAM_OK); /* frames */
		keep_some(8);
		take_every_frame();
		assert_int_equal(loam_sys_reserve(0, LOAM_PAGE_SIZE, 0, &base), LOAM_OK);
		assert_int_equal(loam_sys_map(base, LOAM_PAGE_SIZE, LOAM_OWNER_TEST), LOAM_OK);
		assert_int_equal(loam_sys_used(base, LOAM_PAGE_SIZE, NULL), LOAM_OK);
		assert_int_equal(kept().pooled, 0);
		settled();

		take_every_frame(); /* nothing is kept, nothing is left */
		assert_int_equal(loam_sys_used(s.low, LOAM_PAGE_SIZE, NULL), LOAM_NOMEM);
		assert_false(touch(0, s.low, LOAM_ACCESS_WRITE));
		down();
	}
}

/* A fault finds no frame, and gets one of a kept stack. */
static void a_fault_frees_what_is_kept(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_stack s;

		up(mode);
		assert_int_equal(loam_stack_alloc(256 * KIB, &s), LOAM_OK);
		keep_some(1);
		take_every_frame();
		assert_true(touch(0, s.low, LOAM_ACCESS_WRITE));
		assert_int_equal(kept().pooled, 0);
		down();
	}
}

/* Stacks come and go at random, with frames short now and then; at the end nothing is lost. */
static void random_stacks(void **state)
{
	enum { N = 40 };
	static struct loam_stack s[N];
	struct rng rng = {test_seed()};

	(void)state;
	for_each_mode(mode)
	{
		struct loam_frame_stats before, after;

		up(mode);
		memset(s, 0, sizeof(s));
		loam_frame_stats(&before);
		for (unsigned step = 0; step < 4000; step++) {
			struct loam_stack *one = &s[rng_below(&rng, N)];

			if (rng_below(&rng, 50) == 0)
				loam_frame_fail_at(1 + rng_below(&rng, 4));
			if (one->high == 0)
				(void)loam_stack_alloc(8 * KIB << rng_below(&rng, 9), one);
			else if (rng_below(&rng, 2) == 0)
				assert_int_equal(loam_stack_free(one), LOAM_OK);
			loam_frame_fail_at(0);
			if (one->high != 0)
				assert_true(touch(
					(unsigned)rng_below(&rng, 4),
					one->low + (rng_below(&rng, one->high - one->low) & ~7ull),
					LOAM_ACCESS_WRITE));
			if (step % 500 == 0)
				settled();
		}
		for (unsigned i = 0; i < N; i++) {
			if (s[i].high != 0)
				assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
		}
		assert_true(kept().reused > 100);
		(void)loam_stack_pool_release();
		loam_frame_stats(&after);
		assert_int_equal(after.owner_frames[LOAM_OWNER_STACK], 0);
		assert_true(before.free + before.owner_frames[LOAM_OWNER_META] -
				    (after.free + after.owner_frames[LOAM_OWNER_META]) <=
			    2);
		down();
	}
}

/* [STACK-2] Before the first lock, and not under it: there a trap finds nobody who fills the page. */
static void stacks_are_touched_before_a_lock(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_pfn pfn;
		unsigned touches;

		up(mode);
		touches = fake_stack_touches;
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
		assert_true(fake_stack_touches >= touches + 2);
		touches = fake_stack_touches;
		loam_lockrank_acquire(LOAM_RANK_SPACE);
		assert_int_equal(fake_stack_touches, touches + 1);
		loam_lockrank_acquire(LOAM_RANK_CACHE);
		loam_lockrank_acquire(LOAM_RANK_FRAME);
		assert_int_equal(fake_stack_touches, touches + 1);
		loam_lockrank_release(LOAM_RANK_FRAME);
		loam_lockrank_release(LOAM_RANK_CACHE);
		loam_lockrank_release(LOAM_RANK_SPACE);
		down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stacks_grow_and_are_guarded),
		cmocka_unit_test(ten_thousand_stacks),
		cmocka_unit_test(freed_stacks_come_back),
		cmocka_unit_test(kept_stacks_are_nobodys),
		cmocka_unit_test(a_write_after_the_free_is_noticed),
		cmocka_unit_test(what_is_not_kept),
		cmocka_unit_test(shortage_frees_what_is_kept),
		cmocka_unit_test(a_fault_frees_what_is_kept),
		cmocka_unit_test(stacks_are_touched_before_a_lock),
		cmocka_unit_test(random_stacks),
	};
	return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
