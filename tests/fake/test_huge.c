/* SPDX-License-Identifier: MIT */
/* Leaves above 4 KiB: 1 GiB leaves of the ten calls, and contiguous runs. Tags: [SPACE-2], [PTAB-5]. */
#include "mm/contig.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#define MIB    ((size_t)1 << 20)
#define RUN    (16 * LOAM_PAGE_SIZE)
#define DEVICE UINT64_C(0x2000000000) /* no RAM there */

static void up_with(const struct fake_mode *mode, const struct fake_range *range)
{
	if (range != NULL)
		fake_up(&mode->mmu, range, 1, test_seed());
	else
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

/* ---- 1 GiB ---- */

/* One whole GiB, and 64 MiB on either side of it. */
static const struct fake_range giant_ram = {UINT64_C(0x3c000000), LOAM_GIANT_SIZE + 128 * MIB};

static uint64_t leaf_bytes(uintptr_t va)
{
	struct loam_sys_info info;

	assert_int_equal(loam_sys_query(va, &info), LOAM_OK);
	return info.leaf_bytes;
}

/* Frames that are nobody's, or mm's for good: records, and tables at the root. */
static uint64_t spare_frames(void)
{
	struct loam_frame_stats s;

	loam_frame_stats(&s);
	return s.free + s.owner_frames[LOAM_OWNER_META];
}

static uintptr_t giant_up(const struct fake_mode *mode)
{
	uintptr_t base;

	up_with(mode, &giant_ram);
	assert_int_equal(loam_sys_reserve(0, 2 * LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, &base), LOAM_OK);
	assert_int_equal(loam_sys_map(base, LOAM_GIANT_SIZE, LOAM_OWNER_TEST), LOAM_OK);
	assert_int_equal(loam_sys_hugepage(base, LOAM_GIANT_SIZE), LOAM_OK);
	return base;
}

/* 1 GiB becomes one leaf; one page of it goes and the rest stays as it was; then all goes. */
static void a_page_goes_out_of_a_giant_leaf(void **state)
{
	const struct fake_mode *mode = &fake_modes[0];
	uintptr_t base = giant_up(mode), hole = base + 300 * MIB + 5 * LOAM_PAGE_SIZE;
	uint64_t tables = spare_frames(), value;
	bool zeroed = false;

	(void)state;
	assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, &zeroed), LOAM_OK);
	assert_true(zeroed);
	assert_int_equal(leaf_bytes(base + 12345), LOAM_GIANT_SIZE);
	/* 513 tables went, one of them stays with the leaf */
	assert_int_equal(spare_frames(), tables - (LOAM_GIANT_SIZE >> 12) + 512);
	settled();
	for (uintptr_t at = 0; at < LOAM_GIANT_SIZE; at += 31 * MIB) {
		assert_true(fake_read((unsigned)(at / MIB) % FAKE_CPUS, base + at, &value));
		assert_int_equal(value, 0);
		assert_true(fake_write(1, base + at, at + 1));
	}
	assert_int_equal(loam_sys_unused(hole, LOAM_PAGE_SIZE), LOAM_OK);
	settled();
	assert_int_equal(leaf_bytes(base), LOAM_HUGE_SIZE);
	assert_int_equal(leaf_bytes(hole + LOAM_PAGE_SIZE), LOAM_PAGE_SIZE);
	assert_int_equal(leaf_bytes(hole), 0);
	for (uintptr_t at = 0; at < LOAM_GIANT_SIZE; at += 31 * MIB) {
		assert_true(fake_read(2, base + at, &value));
		assert_int_equal(value, at + 1);
	}
	/* two frames were needed for tables: one was kept, one is the page that went */
	assert_int_equal(spare_frames(), tables - (LOAM_GIANT_SIZE >> 12) + 512);
	assert_int_equal(loam_sys_used(hole, LOAM_PAGE_SIZE, NULL), LOAM_OK);
	assert_int_equal(loam_sys_unused(base, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	assert_int_equal(spare_frames(), tables);
	down();
}

/* Whole leaves go in one piece, to Prepared and to nothing. */
static void a_giant_leaf_goes_whole(void **state)
{
	const struct fake_mode *mode = &fake_modes[0];
	uintptr_t base = giant_up(mode);
	uint64_t tables = spare_frames(), value;

	(void)state;
	assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, NULL), LOAM_OK);
	assert_int_equal(leaf_bytes(base), LOAM_GIANT_SIZE);
	fake_spread(base, 64 * LOAM_PAGE_SIZE);
	assert_int_equal(loam_sys_unused(base, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	assert_int_equal(spare_frames(), tables);
	assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, NULL), LOAM_OK);
	assert_int_equal(leaf_bytes(base), LOAM_GIANT_SIZE);
	assert_true(fake_read(3, base + 7 * MIB, &value));
	assert_int_equal(value, 0);
	assert_int_equal(loam_sys_fault(base, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	assert_int_equal(spare_frames(), tables + 513); /* the tables too, and the one kept */
	down();
}

/* Rights of a part: the leaf is cut with tables that are taken, and the kept one goes back. */
static void a_part_of_a_giant_leaf_is_protected(void **state)
{
	const struct fake_mode *mode = &fake_modes[0];
	uintptr_t base = giant_up(mode), part = base + 5 * MIB - LOAM_PAGE_SIZE;
	uint64_t tables;

	(void)state;
	assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, NULL), LOAM_OK);
	assert_true(fake_write(0, part, 77));
	tables = spare_frames();
	assert_int_equal(loam_vm_protect(part, 4 * MIB, LOAM_VM_READ), LOAM_OK);
	settled();
	/* one table of 2 MiB leaves, and one at each end; the kept one went */
	assert_int_equal(spare_frames(), tables - 3 + 1);
	assert_false(fake_touch(1, part, LOAM_ACCESS_WRITE, NULL));
	assert_true(fake_touch(1, part, LOAM_ACCESS_READ, NULL));
	assert_true(fake_touch(1, part - LOAM_PAGE_SIZE, LOAM_ACCESS_WRITE, NULL));
	assert_true(fake_touch(1, part + 4 * MIB, LOAM_ACCESS_WRITE, NULL));
	assert_int_equal(leaf_bytes(base + 500 * MIB), LOAM_HUGE_SIZE);
	assert_int_equal(loam_sys_free(base, 2 * LOAM_GIANT_SIZE), LOAM_OK);
	down();
}

/* No GiB in one piece, or none on this CPU: smaller leaves do. */
static void no_giant_block(void **state)
{
	struct loam_pfn hog;
	uintptr_t base;

	(void)state;
	base = giant_up(&fake_modes[0]);
	assert_int_equal(loam_frame_alloc(LOAM_ORDER_GIANT - 1, 0, LOAM_OWNER_TEST, &hog), LOAM_OK);
	assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, NULL), LOAM_NOMEM);
	assert_int_equal(loam_frame_free(hog, LOAM_ORDER_GIANT - 1), LOAM_OK);
	/* 2 MiB of it are somebody's: the rest of RAM will do */
	assert_int_equal(loam_frame_alloc(LOAM_ORDER_GIANT, 0, LOAM_OWNER_TEST, &hog), LOAM_OK);
	loam_frame_split(hog, LOAM_ORDER_GIANT, LOAM_ORDER_HUGE);
	for (unsigned i = 1; i < LOAM_PT_ENTRIES; i++)
		assert_int_equal(
			loam_frame_free(loam_pfn(hog.raw + i * LOAM_PT_ENTRIES), LOAM_ORDER_HUGE),
			LOAM_OK);
	assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, NULL), LOAM_OK);
	assert_int_equal(leaf_bytes(base), LOAM_HUGE_SIZE);
	settled();
	assert_int_equal(loam_sys_free(base, 2 * LOAM_GIANT_SIZE), LOAM_OK);
	assert_int_equal(loam_frame_free(hog, LOAM_ORDER_HUGE), LOAM_OK);
	down();
}

/* ---- contiguous runs ---- */

static bool in_run(uintptr_t va)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(loam_space_ptab(), va, LOAM_LEVEL_PAGE, &slot);
	return loam_contig_is(loam_space_ptab(), &slot);
}

static void runs_are_made_and_unmade(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t at = mode->mmu.va_min + 8 * LOAM_GIANT_SIZE + RUN, base;
		bool contig = mode->mmu.contig;
		unsigned cached;

		up_with(mode, NULL);
		/* two runs and a page, then the same a page further: not aligned alike, no run */
		assert_int_equal(loam_vm_map(at, loam_paddr(DEVICE + RUN), 2 * RUN + LOAM_PAGE_SIZE,
					     LOAM_VM_READ | LOAM_VM_WRITE, LOAM_VM_DEVICE, &base),
				 LOAM_OK);
		assert_int_equal(in_run(at), contig);
		assert_int_equal(in_run(at + 2 * RUN - LOAM_PAGE_SIZE), contig);
		assert_false(in_run(at + 2 * RUN));
		assert_int_equal(loam_vm_map(at + 16 * RUN, loam_paddr(DEVICE + LOAM_PAGE_SIZE),
					     2 * RUN, LOAM_VM_READ, LOAM_VM_DEVICE, &base),
				 LOAM_OK);
		assert_false(in_run(at + 16 * RUN));
		settled();
		/* one TLB entry serves a run */
		fake_spread(at, 2 * RUN);
		cached = fake_cached(at, 2 * RUN);
		assert_int_equal(cached, FAKE_CPUS * (contig ? 2 : 32));
		/* rights of a whole run: it stays one; of a part: it is one no more */
		assert_int_equal(loam_vm_protect(at, RUN, LOAM_VM_READ), LOAM_OK);
		settled();
		assert_int_equal(in_run(at), contig);
		assert_false(fake_touch(2, at, LOAM_ACCESS_WRITE, NULL));
		fake_spread(at, 2 * RUN);
		assert_int_equal(loam_vm_protect(at + RUN + 3 * LOAM_PAGE_SIZE, 2 * LOAM_PAGE_SIZE,
						 LOAM_VM_READ),
				 LOAM_OK);
		settled();
		assert_false(in_run(at + RUN));
		assert_false(in_run(at + 2 * RUN - LOAM_PAGE_SIZE));
		assert_int_equal(in_run(at), contig);
		/* a page out of the other */
		fake_spread(at, 2 * RUN);
		assert_int_equal(loam_vm_unmap(at + 15 * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE), LOAM_OK);
		settled();
		assert_false(in_run(at));
		assert_true(fake_touch(1, at, LOAM_ACCESS_READ, NULL));
		assert_false(fake_touch(1, at + 15 * LOAM_PAGE_SIZE, LOAM_ACCESS_READ, NULL));
		down();
	}
}

/* 32 MiB are a run of 2 MiB leaves; a page out of it leaves 15 of those and a table. */
static void runs_of_large_leaves(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t at = mode->mmu.va_min + 8 * LOAM_GIANT_SIZE, base;

		up_with(mode, NULL);
		assert_int_equal(loam_vm_map(at, loam_paddr(DEVICE), 64 * MIB,
					     LOAM_VM_READ | LOAM_VM_WRITE, LOAM_VM_DEVICE, &base),
				 LOAM_OK);
		assert_int_equal(in_run(at), mode->mmu.contig);
		fake_spread(at, 4 * LOAM_PAGE_SIZE);
		assert_int_equal(loam_vm_unmap(at + 9 * MIB, LOAM_PAGE_SIZE), LOAM_OK);
		settled();
		assert_false(in_run(at));
		assert_int_equal(in_run(at + 32 * MIB), mode->mmu.contig);
		/* the small leaves around the page are runs again, but for its own */
		assert_false(in_run(at + 9 * MIB + LOAM_PAGE_SIZE));
		assert_int_equal(in_run(at + 9 * MIB + RUN), mode->mmu.contig);
		/* aligned for 2 MiB leaves, but not for runs of them */
		at += 128 * MIB;
		assert_int_equal(loam_vm_map(at, loam_paddr(DEVICE + 2 * MIB), 64 * MIB,
					     LOAM_VM_READ, LOAM_VM_DEVICE, &base),
				 LOAM_OK);
		assert_false(in_run(at));
		down();
	}
}

/* [PTAB-5] A run with a page that is not like the others is found. */
static void a_broken_run_is_found(void **state)
{
	static volatile unsigned m;

	(void)state;
	for (m = 0; m < fake_mode_count; m++) {
		const struct fake_mode *mode = &fake_modes[m];
		uintptr_t at = mode->mmu.va_min + 8 * LOAM_GIANT_SIZE, base;
		struct loam_ptab_slot slot;
		uint64_t *entry, was;

		if (!mode->mmu.contig)
			continue;
		up_with(mode, NULL);
		assert_int_equal(loam_vm_map(at, loam_paddr(DEVICE), RUN, LOAM_VM_READ,
					     LOAM_VM_DEVICE, &base),
				 LOAM_OK);
		loam_ptab_walk(loam_space_ptab(), at + 5 * LOAM_PAGE_SIZE, 0, &slot);
		entry = (uint64_t *)loam_frame_ptr(slot.table) + slot.index;
		was = *entry;
		*entry = loam_pte_leaf(&mode->mmu, 0, loam_paddr(DEVICE), LOAM_ATTR_CONTIG);
		EXPECT_PANIC(
			loam_ptab_verify(loam_space_ptab(), mode->mmu.va_min, mode->mmu.va_max),
			"[PTAB-5]");
		*entry = was;
		down();
	}
}

/* A write through any page of a run may be noted in any entry: all count as written, also after. */
static void a_write_is_known_of_all_the_run(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_sys_info info;
		struct loam_pfn hog;
		uintptr_t base;

		if (!mode->mmu.contig || !mode->mmu.hw_dirty)
			continue;
		up_with(mode, NULL);
		/* no 2 MiB, so that the region gets runs of 64 KiB */
		while (loam_frame_alloc(LOAM_ORDER_HUGE, 0, LOAM_OWNER_TEST, &hog) == LOAM_OK)
			;
		assert_int_equal(loam_sys_reserve(0, LOAM_HUGE_SIZE, LOAM_HUGE_SIZE, &base),
				 LOAM_OK);
		assert_int_equal(loam_sys_map(base, LOAM_HUGE_SIZE, LOAM_OWNER_HEAP), LOAM_OK);
		assert_int_equal(loam_sys_hugepage(base, LOAM_HUGE_SIZE), LOAM_OK);
		assert_int_equal(loam_sys_used(base, 20 * LOAM_PAGE_SIZE, NULL), LOAM_OK);
		settled();
		assert_true(in_run(base + 15 * LOAM_PAGE_SIZE));
		assert_false(in_run(base + RUN)); /* four pages are none */
		assert_int_equal(loam_sys_query(base, &info), LOAM_OK);
		assert_false(info.dirty);
		assert_true(fake_write(3, base + 3 * LOAM_PAGE_SIZE, 1));
		assert_true(
			fake_write(3, base + 9 * LOAM_PAGE_SIZE, 2)); /* its entry may stay clean */
		assert_int_equal(loam_sys_query(base + 9 * LOAM_PAGE_SIZE, &info), LOAM_OK);
		assert_true(info.dirty);
		assert_int_equal(loam_sys_unused(base, LOAM_PAGE_SIZE), LOAM_OK);
		settled();
		assert_false(in_run(base + 9 * LOAM_PAGE_SIZE));
		assert_int_equal(loam_sys_query(base + 9 * LOAM_PAGE_SIZE, &info), LOAM_OK);
		assert_true(info.dirty);
		assert_int_equal(loam_sys_query(base + 17 * LOAM_PAGE_SIZE, &info), LOAM_OK);
		assert_false(info.dirty);
		down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_goes_out_of_a_giant_leaf),
		cmocka_unit_test(a_giant_leaf_goes_whole),
		cmocka_unit_test(a_part_of_a_giant_leaf_is_protected),
		cmocka_unit_test(no_giant_block),
		cmocka_unit_test(runs_are_made_and_unmade),
		cmocka_unit_test(runs_of_large_leaves),
		cmocka_unit_test(a_broken_run_is_found),
		cmocka_unit_test(a_write_is_known_of_all_the_run),
	};

	return cmocka_run_group_tests_name("huge", tests, NULL, NULL);
}
