/* SPDX-License-Identifier: MIT */
/* Batches: what is invalidated, when what is queued goes back, and that it is never too early
 * ([TLB-1]: the fake panics if a frame is freed while a CPU can reach it). */
#include "mm/ptab.h"
#include "mm/tlb.h"
#include "tests/fake/fake_test.h"

#include <loam/cpu.h>

static struct loam_ptab pt;
static uint64_t base;

static void up(const struct fake_mode *mode)
{
	fake_frames_up(mode, test_seed());
	pt.mmu = fake_mmu();
	pt.root = fake_root();
	base = pt.mmu->va_min + 3 * LOAM_GIANT_SIZE;
}

/* `n` pages of our own frames, known to all TLBs. */
static void map_own(uint64_t va, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct loam_ptab_pool pool = {0};
		struct loam_pfn pfn, table;
		uint64_t at = va + i * LOAM_PAGE_SIZE;
		size_t need;

		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
		need = loam_ptab_map_need(&pt, at, loam_pfn_to_paddr(pfn), LOAM_PAGE_SIZE, 0);
		while (pool.count < need) {
			assert_int_equal(
				loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TABLE, &table),
				LOAM_OK);
			loam_ptab_pool_push(&pool, loam_pfn_to_paddr(table));
		}
		assert_int_equal(loam_ptab_map(&pt, &pool, at, loam_pfn_to_paddr(pfn),
					       LOAM_PAGE_SIZE, LOAM_ATTR_DATA, 0),
				 LOAM_OK);
	}
	fake_spread(va, n * LOAM_PAGE_SIZE);
}

static void frames_go_back_after_the_flush(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_tlb_batch batch;
		uint64_t before;

		up(mode);
		before = free_frames();
		/* more than the queue holds: it flushes on the way */
		for (unsigned n = 1; n < 3 * LOAM_TLB_RELEASE; n += 29) {
			map_own(base, n);
			loam_tlb_batch_init(&batch, pt.mmu);
			assert_int_equal(loam_ptab_unmap(&pt, NULL, &batch, base,
							 n * LOAM_PAGE_SIZE, LOAM_TAG_NONE, true),
					 LOAM_OK);
			loam_tlb_batch_finish(&batch);
			fake_settled();
			assert_int_equal(fake_cached(base, n * LOAM_PAGE_SIZE), 0);
			/* all but the table that hangs at the root */
			assert_true(before - free_frames() <= 1);
		}
		fake_frames_down();
	}
}

static void nothing_goes_back_before_finish(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_tlb_batch batch;
		uint64_t mapped;

		up(mode);
		map_own(base, 4);
		mapped = free_frames();
		loam_tlb_batch_init(&batch, pt.mmu);
		assert_int_equal(loam_ptab_unmap(&pt, NULL, &batch, base, 4 * LOAM_PAGE_SIZE,
						 LOAM_TAG_PREPARED, true),
				 LOAM_OK);
		assert_int_equal(free_frames(), mapped);
		loam_tlb_batch_finish(&batch);
		assert_int_equal(free_frames(), mapped + 4);
		fake_frames_down();
	}
}

/* [TLB-2] One shootdown a batch, answered by every other CPU; a CPU that has left is not asked; one
 * that does not answer is named. Where the hardware broadcasts, none. */
static void others_are_asked_once(void **state)
{
	static struct loam_tlb_batch batch;
	static struct loam_cpu_stats before, after;
	static unsigned m;

	(void)state;
	for (m = 0; m < fake_mode_count; m++) {
		unsigned others = fake_modes[m].mmu.broadcast ? 0 : FAKE_CPUS - 1;

		up(&fake_modes[m]);
		map_own(base, 40);
		loam_cpu_stats(&before);
		loam_tlb_batch_init(&batch, pt.mmu);
		assert_int_equal(loam_ptab_unmap(&pt, NULL, &batch, base, 40 * LOAM_PAGE_SIZE,
						 LOAM_TAG_NONE, true),
				 LOAM_OK);
		loam_tlb_batch_finish(&batch);
		fake_settled();
		loam_cpu_stats(&after);
		assert_int_equal(after.shootdowns - before.shootdowns, 1);
		assert_int_equal(after.ipis - before.ipis, others);
		assert_int_equal(after.served - before.served, others);
		if (others > 0) {
			loam_tlb_batch_add(&batch, base, 1, 0, false);
			fake_deafen(2);
			EXPECT_PANIC(loam_tlb_batch_finish(&batch), "CPU 2 does not answer");
			loam_tlb_leave(2);
			loam_tlb_batch_add(&batch, base, 1, 0, false);
			loam_tlb_batch_finish(&batch);
			assert_false(loam_tlb_has(2));
		}
		fake_frames_down();
	}
}

/* Neighbours become one range; few pages are invalidated one by one, many by one flush. */
static void singles_or_one_flush(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_tlb_batch batch;
		/* each CPU for itself, where the hardware does not broadcast */
		unsigned each = mode->mmu.broadcast ? 1 : FAKE_CPUS;
		uint64_t singles, flushes;

		up(mode);
		loam_tlb_batch_init(&batch, pt.mmu);
		singles = fake_invalidated();
		flushes = fake_flushed();
		for (unsigned i = 0; i < 4; i++)
			loam_tlb_batch_add(&batch, base + i * LOAM_PAGE_SIZE, 1, 0, false);
		assert_int_equal(batch.range_count, 1);
		loam_tlb_batch_finish(&batch);
		assert_int_equal(fake_invalidated() - singles, 4 * each);
		assert_int_equal(fake_flushed(), flushes);
		loam_tlb_batch_add(&batch, base, LOAM_TLB_SINGLES + 1, 0, false);
		loam_tlb_batch_finish(&batch);
		assert_int_equal(fake_invalidated() - singles, 4 * each);
		assert_int_equal(fake_flushed(), flushes + each);
		/* more ranges than there is room for */
		for (unsigned i = 0; i < LOAM_TLB_RANGES + 1; i++)
			loam_tlb_batch_add(&batch, base + 2 * i * LOAM_PAGE_SIZE, 1, 0, false);
		assert_true(batch.all);
		loam_tlb_batch_finish(&batch);
		assert_int_equal(fake_flushed(), flushes + 2 * each);
		loam_tlb_batch_finish(&batch); /* an empty one costs nothing */
		assert_int_equal(fake_flushed(), flushes + 2 * each);
		fake_frames_down();
	}
}

/* Ranges of different levels, or with a gap between, stay apart. */
static void ranges_are_not_confused(void **state)
{
	struct loam_tlb_batch batch;

	(void)state;
	up(&fake_modes[0]);
	loam_tlb_batch_init(&batch, pt.mmu);
	loam_tlb_batch_add(&batch, base, 1, 0, false);
	loam_tlb_batch_add(&batch, base + 2 * LOAM_PAGE_SIZE, 1, 0, false);
	loam_tlb_batch_add(&batch, base + 3 * LOAM_PAGE_SIZE, 1, 1, false);
	assert_int_equal(batch.range_count, 3);
	loam_tlb_batch_add(&batch, base + 3 * LOAM_PAGE_SIZE + LOAM_HUGE_SIZE, 1, 1, true);
	assert_int_equal(batch.range_count, 3);
	assert_int_equal(batch.range[2].count, 2);
	assert_true(batch.range[2].tables);
	loam_tlb_batch_finish(&batch);
	fake_frames_down();
}

/* Out of line, because the test below comes out of panics by longjmp. */
__attribute__((noinline)) static struct loam_paddr pa_at(unsigned level,
							 struct loam_ptab_slot *slot)
{
	loam_ptab_walk(&pt, base, level, slot);
	return loam_pte_pa(pt.mmu, slot->pte, level);
}

/* The fake itself: what it must not let pass, done by hand. */
static void the_fake_sees_stale_entries(void **state)
{
	static struct loam_ptab_slot slot;
	static struct loam_paddr pa;

	(void)state;
	up(&fake_modes[0]);
	map_own(base, 1);
	pa = pa_at(0, &slot);
	assert_true(fake_touch(0, base, LOAM_ACCESS_READ, NULL));
	EXPECT_PANIC(loam_frame_free(loam_paddr_to_pfn(pa), 0), "freed while it is mapped");
	loam_pt_store(slot.table, slot.index, 0);
	EXPECT_PANIC(fake_settled(), "never published");
	loam_pt_publish(pt.mmu);
	EXPECT_PANIC(fake_settled(), "which is unmapped");
	EXPECT_PANIC(loam_frame_free(loam_paddr_to_pfn(pa), 0), "can reach it");
	EXPECT_PANIC(loam_pt_store(slot.table, slot.index, slot.pte), "caches the old one");
	assert_true(fake_touch(0, base, LOAM_ACCESS_READ, NULL)); /* stale: the very bug */
	loam_tlb_everywhere(pt.mmu, base, 1, 1, true);		  /* the wrong level */
	EXPECT_PANIC(fake_settled(), "which is unmapped");
	loam_tlb_everywhere(pt.mmu, base, 1, 0, false);
	fake_settled();
	assert_int_equal(loam_frame_free(loam_paddr_to_pfn(pa), 0), LOAM_OK);
	EXPECT_PANIC(loam_frame_free(loam_paddr_to_pfn(slot.table), 0), "while it is linked");
	pa = pa_at(1, &slot);
	EXPECT_PANIC(loam_pt_store(slot.table, slot.index,
				   loam_pte_leaf(pt.mmu, 1, loam_paddr(0), LOAM_ATTR_DATA)),
		     "without break-before-make");
	loam_pt_store(slot.table, slot.index, 0);
	loam_tlb_everywhere(pt.mmu, base, 1, 0, false); /* leaves, not tables */
	EXPECT_PANIC(loam_frame_free(loam_paddr_to_pfn(pa), 0), "caches the way to it");
	loam_tlb_everywhere(pt.mmu, base, 1, 0, true);
	assert_int_equal(loam_frame_free(loam_paddr_to_pfn(pa), 0), LOAM_OK);
	EXPECT_PANIC(loam_frame_ptr(loam_paddr(0x1000)), "is not RAM");
	fake_frames_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_back_after_the_flush),
		cmocka_unit_test(nothing_goes_back_before_finish),
		cmocka_unit_test(others_are_asked_once),
		cmocka_unit_test(singles_or_one_flush),
		cmocka_unit_test(ranges_are_not_confused),
		cmocka_unit_test(the_fake_sees_stale_entries),
	};
	return cmocka_run_group_tests_name("tlb", tests, NULL, NULL);
}
