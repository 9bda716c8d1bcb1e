/* SPDX-License-Identifier: MIT */
/* Memory that changes its address: bytes, frames, rights and what is noted come along, leaves of all sizes
 * whole where that is possible, with one invalidation, and nobody reaches a frame by two addresses (the fake
 * panics: [MOVE-1]). Tags: [MOVE-1] [SPACE-1] [SPACE-2] [PTAB-5] [EPOCH-4]. */
#include "mm/contig.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#include <loam/cpu.h>

#define P   ((size_t)LOAM_PAGE_SIZE)
#define MIB ((size_t)1 << 20)
#define RUN (16 * P)

/* One whole GiB, and 64 MiB on either side of it; and so much that 32 MiB are aligned in it. */
static const struct fake_range giant_ram = {UINT64_C(0x3c000000), LOAM_GIANT_SIZE + 128 * MIB};
static const struct fake_range large_ram = {UINT64_C(0x3c000000), 192 * MIB};

static void up(const struct fake_mode *mode, const struct fake_range *range)
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
	loam_frame_verify();
}

static void down(void)
{
	settled();
	loam_mm_reset();
	fake_down();
}

static uintptr_t prepared(size_t size, size_t align, bool huge)
{
	uintptr_t base;

	assert_int_equal(loam_sys_reserve(0, size, align, &base), LOAM_OK);
	assert_int_equal(loam_sys_map(base, size, LOAM_OWNER_HEAP), LOAM_OK);
	if (huge)
		assert_int_equal(loam_sys_hugepage(base, size), LOAM_OK);
	return base;
}

static uintptr_t ready(size_t size, size_t align, bool huge)
{
	uintptr_t base = prepared(size, align, huge);

	assert_int_equal(loam_sys_used(base, size, NULL), LOAM_OK);
	return base;
}

static struct loam_sys_info info_of(uintptr_t va)
{
	struct loam_sys_info info;

	assert_int_equal(loam_sys_query(va, &info), LOAM_OK);
	return info;
}

static bool in_run(uintptr_t va)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(loam_space_ptab(), va, LOAM_LEVEL_PAGE, &slot);
	return loam_contig_is(loam_space_ptab(), &slot);
}

static uint64_t stamp(uintptr_t va)
{
	return va * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static struct loam_paddr frame_at[8192];

/* All CPUs know both ranges; then they move, and each page is what it was. */
static void move(uintptr_t from, uintptr_t to, size_t size)
{
	struct loam_sys_stats before, after;
	uint64_t value;

	assert_true(size / P <= sizeof(frame_at) / sizeof(frame_at[0]));
	for (size_t at = 0; at < size; at += P) {
		assert_true(
			fake_write((unsigned)(at / P) % FAKE_CPUS, from + at, stamp(from + at)));
		frame_at[at / P] = info_of(from + at).pa;
	}
	fake_spread(from, size < MIB ? size : MIB);
	fake_spread(to, size < MIB ? size : MIB);
	loam_sys_stats(&before);
	fake_run_on(2);
	assert_int_equal(loam_sys_move(from, to, size), LOAM_OK);
	fake_run_on(0);
	settled();
	loam_sys_stats(&after);
	assert_memory_equal(before.state_bytes, after.state_bytes, sizeof(after.state_bytes));
	assert_memory_equal(before.ready_bytes, after.ready_bytes, sizeof(after.ready_bytes));
	assert_memory_equal(before.prepared_bytes, after.prepared_bytes,
			    sizeof(after.prepared_bytes));
	for (size_t at = 0; at < size; at += P) {
		struct loam_sys_info info = info_of(to + at);
		unsigned cpu = (unsigned)(at / P + 1) % FAKE_CPUS;

		assert_int_equal(info.state, LOAM_STATE_READY);
		assert_int_equal(info.pa.raw, frame_at[at / P].raw);
		assert_int_equal(info_of(from + at).state, LOAM_STATE_PREPARED);
		assert_false(fake_read(cpu, from + at, &value));
		assert_true(fake_read(cpu, to + at, &value));
		assert_int_equal(value, stamp(from + at));
		assert_true(fake_write(cpu, to + at, stamp(to + at)));
	}
}

static uint64_t shootdowns(void)
{
	struct loam_cpu_stats stats;

	loam_cpu_stats(&stats);
	return stats.shootdowns;
}

/* 8 MiB in leaves of 2 MiB, to where they are aligned as before and back: an entry each, no frame, one
 * invalidation. */
static void huge_leaves_move_whole(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t from, to;
		uint64_t frames, told;

		up(mode, NULL);
		from = ready(8 * MIB, LOAM_HUGE_SIZE, true);
		to = prepared(10 * MIB, LOAM_HUGE_SIZE, false);
		frames = free_frames();
		told = shootdowns();
		move(from, to + 2 * MIB, 8 * MIB);
		assert_int_equal(shootdowns() - told, 1);
		assert_int_equal(free_frames(), frames);
		for (size_t at = 0; at < 8 * MIB; at += 2 * MIB)
			assert_int_equal(info_of(to + 2 * MIB + at).leaf_bytes, LOAM_HUGE_SIZE);
		move(to + 2 * MIB, from, 8 * MIB);
		assert_int_equal(info_of(from).leaf_bytes, LOAM_HUGE_SIZE);
		/* what they came back to is as usable as it was: tables go and come */
		assert_int_equal(loam_sys_unused(from, 8 * MIB), LOAM_OK);
		assert_int_equal(loam_sys_used(to, 10 * MIB, NULL), LOAM_OK);
		settled();
		assert_int_equal(loam_sys_free(from, 8 * MIB), LOAM_OK);
		assert_int_equal(loam_sys_free(to, 10 * MIB), LOAM_OK);
		down();
	}
}

/* Small leaves: tables are exchanged where both sides are aligned alike, entries elsewhere. */
static void small_leaves_move(void **state)
{
	static const size_t shift[] = {0, 1, 16, 37, 511};

	(void)state;
	for_each_mode(mode)
	{
		up(mode, NULL);
		for (unsigned i = 0; i < sizeof(shift) / sizeof(shift[0]); i++) {
			uintptr_t old = ready(8 * MIB, LOAM_HUGE_SIZE, false), from = old + 7 * P;
			uintptr_t new = prepared(10 * MIB, LOAM_HUGE_SIZE, false);
			uintptr_t to = new + (7 + shift[i]) * P;
			uint64_t frames = free_frames();

			move(from, to, 5 * MIB + 3 * P);
			move(from + 6 * MIB, to + 6 * MIB, 100 * P);
			move(to + 6 * MIB + 20 * P, from + MIB, 80 * P);
			assert_int_equal(free_frames(), frames);
			assert_int_equal(loam_sys_free(old, 8 * MIB), LOAM_OK);
			assert_int_equal(loam_sys_free(new, 10 * MIB), LOAM_OK);
		}
		down();
	}
}

/* The part [`first`, `first` + `n`) of 8 MiB in huge leaves moves to page `to` of 12 MiB, and takes `tables`. */
static void cut_and_move(size_t first, size_t to, size_t n, unsigned tables)
{
	uintptr_t old = ready(8 * MIB, LOAM_HUGE_SIZE, true);
	uintptr_t new = prepared(12 * MIB, LOAM_HUGE_SIZE, true);
	uint64_t frames, value, told;

	for (size_t at = 0; at < 8 * MIB; at += P)
		assert_true(fake_write(3, old + at, at + 1));
	frames = free_frames();
	if (tables > 0) {
		/* one too few: nothing changes */
		loam_frame_fail_at(tables);
		assert_int_equal(loam_sys_move(old + first * P, new + P *to, n * P), LOAM_NOMEM);
		loam_frame_fail_at(0);
		settled();
		assert_int_equal(free_frames(), frames);
		for (size_t at = 0; at < 8 * MIB; at += P) {
			assert_int_equal(info_of(old + at).leaf_bytes, LOAM_HUGE_SIZE);
			assert_true(fake_read(1, old + at, &value));
			assert_int_equal(value, at + 1);
		}
	}
	told = shootdowns();
	move(old + first * P, new + P *to, n * P);
	assert_int_equal(frames - free_frames(), tables);
	if (first % 512 == 0 && n % 512 == 0) /* nothing sticks out */
		assert_int_equal(shootdowns() - told, 1);
	/* what is beside it is as it was */
	for (size_t at = 0; at < 8 * MIB; at += P) {
		if (at / P - first < n)
			continue;
		assert_true(fake_read(1, old + at, &value));
		assert_int_equal(value, at + 1);
	}
	assert_int_equal(loam_sys_free(old, 8 * MIB), LOAM_OK);
	assert_int_equal(loam_sys_free(new, 12 * MIB), LOAM_OK);
}

/* Leaves that stick out, or are not aligned alike, are cut: so many tables as that takes, and no more. */
static void huge_leaves_are_cut(void **state)
{
	static const struct {
		size_t from, to, size; /* pages */
		unsigned tables;
	} cut[] = {
		{0, 0, 512, 0},	    {0, 0, 511, 1},    {1, 1, 511, 1},	  {5, 5, 3, 1},
		{0, 1, 512, 1},	    {0, 1, 1024, 2},   {0, 512, 1024, 0}, {511, 511, 2, 2},
		{511, 511, 514, 2}, {511, 0, 514, 3},  {1, 2, 1535, 3},	  {300, 300, 1300, 2},
		{256, 256, 512, 2}, {0, 256, 2047, 4},
	};

	(void)state;
	for_each_mode(mode)
	{
		up(mode, NULL);
		for (unsigned i = 0; i < sizeof(cut) / sizeof(cut[0]); i++)
			cut_and_move(cut[i].from, cut[i].to, cut[i].size, cut[i].tables);
		down();
	}
}

/* ---- contiguous runs ---- */

static void runs_stay_runs_where_aligned(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		bool contig = mode->mmu.contig;
		struct loam_pfn hog;
		uintptr_t from, to;

		up(mode, NULL);
		from = prepared(2 * MIB, LOAM_HUGE_SIZE, true);
		to = prepared(4 * MIB, LOAM_HUGE_SIZE, false);
		/* no 2 MiB, so that the region gets runs of 64 KiB */
		while (loam_frame_alloc(LOAM_ORDER_HUGE, 0, LOAM_OWNER_TEST, &hog) == LOAM_OK)
			;
		assert_int_equal(loam_sys_used(from, 2 * MIB, NULL), LOAM_OK);
		assert_int_equal(in_run(from), contig);
		/* aligned for runs, not for a table */
		move(from + RUN, to + 3 * RUN, 4 * RUN);
		assert_int_equal(in_run(to + 3 * RUN), contig);
		assert_int_equal(in_run(to + 7 * RUN - P), contig);
		assert_int_equal(in_run(from), contig);
		/* a run that an end cuts is one no more, on either side of it; the next one is */
		move(from + 6 * RUN + 3 * P, to + 12 * RUN + 3 * P, 2 * RUN);
		assert_false(in_run(from + 6 * RUN));
		assert_false(in_run(to + 12 * RUN + 3 * P));
		assert_int_equal(in_run(to + 13 * RUN), contig);
		assert_false(in_run(to + 14 * RUN));
		assert_false(in_run(from + 8 * RUN + 5 * P));
		assert_int_equal(in_run(from + 9 * RUN), contig);
		/* not aligned for runs: more than fits in flight at once, beginning in the middle */
		move(from + 9 * RUN + 5 * P, to + 16 * RUN + 6 * P, 20 * RUN);
		for (size_t at = 0; at < 20 * RUN; at += P)
			assert_false(in_run(to + 16 * RUN + 6 * P + at));
		down();
	}
}

/* 32 MiB are a run of 2 MiB leaves. */
static void runs_of_large_leaves(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		bool contig = mode->mmu.contig;
		uintptr_t from, to;

		up(mode, &large_ram);
		from = ready(32 * MIB, 32 * MIB, true);
		to = prepared(96 * MIB, 32 * MIB, false);
		assert_int_equal(in_run(from), contig);
		move(from, to + 32 * MIB, 32 * MIB);
		assert_int_equal(in_run(to + 64 * MIB - P), contig);
		/* aligned for leaves only: all of the run is known to be written */
		move(to + 32 * MIB, to + 2 * MIB, 30 * MIB);
		assert_false(in_run(to + 2 * MIB));
		assert_false(in_run(to + 62 * MIB));
		assert_int_equal(info_of(to + 30 * MIB).leaf_bytes, LOAM_HUGE_SIZE);
		/* not even for those: small leaves, in runs where those are aligned */
		assert_int_equal(loam_sys_free(to, 96 * MIB), LOAM_OK);
		assert_int_equal(loam_sys_used(from, 32 * MIB, NULL), LOAM_OK);
		assert_int_equal(in_run(from), contig);
		to = prepared(34 * MIB, 32 * MIB, false);
		move(from, to + MIB, 16 * MIB);
		assert_int_equal(in_run(to + MIB), contig);
		assert_false(in_run(from + 16 * MIB));
		move(from + 16 * MIB, to + 17 * MIB + P, 16 * MIB);
		assert_false(in_run(to + 17 * MIB + P));
		assert_int_equal(info_of(to + 17 * MIB + P).leaf_bytes, LOAM_PAGE_SIZE);
		down();
	}
}

/* ---- what is noted, and rights ---- */

/* (What is clean may be written to the very last, and the fake sees to it that it is.) */
static void what_is_noted_comes_along(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t from, to, huge;
		struct loam_pfn hog;

		up(mode, NULL);
		huge = ready(4 * MIB, LOAM_HUGE_SIZE, true);
		from = prepared(2 * MIB, LOAM_HUGE_SIZE, true);
		to = prepared(8 * MIB, LOAM_HUGE_SIZE, false);
		while (loam_frame_alloc(LOAM_ORDER_HUGE, 0, LOAM_OWNER_TEST, &hog) == LOAM_OK)
			;
		assert_int_equal(loam_sys_used(from, 2 * RUN, NULL), LOAM_OK);
		assert_true(fake_write(1, huge + 2 * MIB, 5));
		assert_int_equal(loam_sys_move(huge, to, 4 * MIB), LOAM_OK);
		settled();
		assert_true(info_of(to + 2 * MIB).dirty);
		/* one page of the second run, or a page alone */
		assert_true(fake_write(2, from + RUN + 3 * P, 5));
		assert_int_equal(loam_sys_move(from, to + 4 * MIB + P, 2 * RUN), LOAM_OK);
		settled();
		assert_true(info_of(to + 4 * MIB + P + RUN + 3 * P).dirty);
		for (size_t at = 0; mode->mmu.contig && at < RUN; at += P)
			assert_true(info_of(to + 4 * MIB + P + RUN + at).dirty);
		down();
	}
}

static void rights_come_along(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_vm_info info;
		uintptr_t from, to;

		up(mode, NULL);
		from = ready(2 * MIB, LOAM_HUGE_SIZE, false);
		to = prepared(4 * MIB, LOAM_HUGE_SIZE, false);
		assert_true(fake_write(0, from + P, 8));
		assert_int_equal(loam_vm_protect(from + P, P, LOAM_VM_READ), LOAM_OK);
		assert_int_equal(loam_vm_protect(from + 2 * P, P, LOAM_VM_READ | LOAM_VM_EXEC),
				 LOAM_OK);
		for (unsigned i = 0; i < 2; i++) {
			/* by entries, then by tables */
			uintptr_t at = i == 0 ? to + 7 * P : from;

			assert_int_equal(i == 0 ? loam_sys_move(from, at, 4 * P)
						: loam_sys_move(to + 7 * P, at, 4 * P),
					 LOAM_OK);
			settled();
			assert_true(fake_touch(1, at, LOAM_ACCESS_WRITE, NULL));
			assert_false(fake_touch(1, at + P, LOAM_ACCESS_WRITE, NULL));
			assert_true(fake_touch(1, at + 2 * P, LOAM_ACCESS_EXEC, NULL));
			assert_int_equal(loam_vm_query(at + 2 * P, &info), LOAM_OK);
			assert_int_equal(info.rights, LOAM_VM_READ | LOAM_VM_EXEC);
		}
		assert_int_equal(loam_sys_move(from, to, 2 * MIB), LOAM_OK);
		settled();
		assert_false(fake_touch(1, to + P, LOAM_ACCESS_WRITE, NULL));
		assert_true(fake_touch(1, to + 2 * P, LOAM_ACCESS_EXEC, NULL));
		down();
	}
}

/* [EPOCH-4] Old frames of `to` wait for quiescent points: they are settled first. */
static void old_frames_are_settled(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t small, huge, to;

		up(mode, NULL);
		small = ready(2 * MIB, LOAM_HUGE_SIZE, false);
		huge = ready(2 * MIB, LOAM_HUGE_SIZE, true);
		to = ready(4 * MIB, LOAM_HUGE_SIZE, false);
		/* so little that no whole flush comes with moving it */
		fake_spread(to, 4 * P);
		assert_int_equal(loam_sys_unused_later(to, 4 * P), LOAM_OK);
		move(small, to, 4 * P);
		fake_spread(to + 2 * MIB, 64 * P);
		assert_int_equal(loam_sys_unused_later(to + 2 * MIB, 2 * MIB), LOAM_OK);
		move(huge, to + 2 * MIB, 2 * MIB);
		down();
	}
}

/* ---- 1 GiB ---- */

static void check_giant(uintptr_t va, uint64_t leaf)
{
	uint64_t value;

	for (uintptr_t at = 0; at < LOAM_GIANT_SIZE; at += 31 * MIB + P) {
		assert_true(fake_read((unsigned)(at / MIB) % FAKE_CPUS, va + at, &value));
		assert_int_equal(value, at + 1);
		assert_int_equal(info_of(va + at).leaf_bytes, leaf);
	}
}

static uintptr_t giant(const struct fake_mode *mode, bool huge)
{
	uintptr_t base;

	up(mode, &giant_ram);
	base = ready(LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, huge);
	for (uintptr_t at = 0; at < LOAM_GIANT_SIZE; at += 31 * MIB + P)
		assert_true(fake_write(1, base + at, at + 1));
	check_giant(base, huge ? LOAM_GIANT_SIZE : LOAM_PAGE_SIZE);
	return base;
}

/* One entry, with the table that it kept; then a page goes, which takes that. */
static void a_giant_leaf_moves_whole(void **state)
{
	uintptr_t from = giant(&fake_modes[0], true), to;
	uint64_t frames, told;

	(void)state;
	to = prepared(LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, false);
	fake_spread(to, 64 * P);
	frames = free_frames();
	told = shootdowns();
	assert_int_equal(loam_sys_move(from, to, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	assert_int_equal(shootdowns() - told, 1);
	assert_int_equal(free_frames(), frames);
	check_giant(to, LOAM_GIANT_SIZE);
	assert_false(fake_touch(1, from, LOAM_ACCESS_READ, NULL));
	assert_int_equal(loam_sys_unused(to + 2 * P, P), LOAM_OK);
	assert_int_equal(info_of(to + 500 * MIB).leaf_bytes, LOAM_HUGE_SIZE);
	assert_int_equal(loam_sys_used(from + 3 * MIB, 8 * P, NULL), LOAM_OK);
	down();
}

/* A table of tables of small leaves: one entry likewise, and back. */
static void a_gib_of_small_leaves_moves(void **state)
{
	uintptr_t from = giant(&fake_modes[0], false), to;
	uint64_t frames;

	(void)state;
	to = prepared(LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, false);
	fake_spread(to, 64 * P);
	frames = free_frames();
	assert_int_equal(loam_sys_move(from, to, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	check_giant(to, LOAM_PAGE_SIZE);
	fake_spread(from, 64 * P);
	assert_int_equal(loam_sys_move(to, from, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	check_giant(from, LOAM_PAGE_SIZE);
	assert_int_equal(free_frames(), frames);
	down();
}

/* To where only 2 MiB are aligned: the leaf is cut, and the pieces move whole. */
static void a_giant_leaf_moves_in_pieces(void **state)
{
	uintptr_t from = giant(&fake_modes[0], true), to;
	uint64_t frames;

	(void)state;
	to = prepared(2 * LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, false) + 6 * MIB;
	frames = free_frames();
	assert_int_equal(loam_sys_move(from, to, LOAM_GIANT_SIZE), LOAM_OK);
	settled();
	/* the table of the pieces is the one that was kept, or in its stead */
	assert_int_equal(free_frames(), frames);
	check_giant(to, LOAM_HUGE_SIZE);
	down();
}

/* A part of one: tables for either end, and nothing changes while there are too few. */
static void a_part_of_a_giant_leaf_moves(void **state)
{
	uintptr_t from = giant(&fake_modes[0], true), to;
	const size_t at = 5 * MIB - P, size = 62 * MIB;
	uint64_t frames;

	(void)state;
	to = prepared(128 * MIB, LOAM_GIANT_SIZE, false);
	frames = free_frames();
	for (unsigned n = 1;; n++) {
		enum loam_err err;

		loam_frame_fail_at(n);
		err = loam_sys_move(from + at, to + at, size);
		loam_frame_fail_at(0);
		settled();
		if (err == LOAM_OK) {
			assert_int_equal(n, 4);
			break;
		}
		assert_int_equal(err, LOAM_NOMEM);
		assert_int_equal(free_frames(), frames);
		check_giant(from, LOAM_GIANT_SIZE);
	}
	/* one for the leaves of 2 MiB and one at each end, less the one that the leaf kept */
	assert_int_equal(frames - free_frames(), 2);
	assert_int_equal(info_of(from + 4 * MIB).leaf_bytes, LOAM_PAGE_SIZE);
	assert_int_equal(info_of(from + 500 * MIB).leaf_bytes, LOAM_HUGE_SIZE);
	assert_int_equal(info_of(to + 6 * MIB).leaf_bytes, LOAM_HUGE_SIZE);
	for (uintptr_t i = 0; i < LOAM_GIANT_SIZE; i += 31 * MIB + P) {
		uint64_t value;

		assert_true(fake_read(3, (i - at < size ? to : from) + i, &value));
		assert_int_equal(value, i + 1);
		assert_int_equal(fake_read(3, from + i, &value), i - at >= size);
	}
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(huge_leaves_move_whole),
		cmocka_unit_test(small_leaves_move),
		cmocka_unit_test(huge_leaves_are_cut),
		cmocka_unit_test(runs_stay_runs_where_aligned),
		cmocka_unit_test(runs_of_large_leaves),
		cmocka_unit_test(what_is_noted_comes_along),
		cmocka_unit_test(rights_come_along),
		cmocka_unit_test(old_frames_are_settled),
		cmocka_unit_test(a_giant_leaf_moves_whole),
		cmocka_unit_test(a_gib_of_small_leaves_moves),
		cmocka_unit_test(a_giant_leaf_moves_in_pieces),
		cmocka_unit_test(a_part_of_a_giant_leaf_moves),
	};

	return cmocka_run_group_tests_name("move", tests, NULL, NULL);
}
