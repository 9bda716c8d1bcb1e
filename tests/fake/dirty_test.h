/* SPDX-License-Identifier: MIT */
/* What both tests of write tracking share: memory at the beginning of the window, and what was told of it. */
#ifndef LOAM_TESTS_DIRTY_TEST_H
#define LOAM_TESTS_DIRTY_TEST_H

#include "mm/contig.h"
#include "mm/dirty.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#define P     ((size_t)LOAM_PAGE_SIZE)
#define MIB   ((size_t)1 << 20)
#define PAGES ((size_t)LOAM_GIANT_SIZE / P)

/* What a round or a look has told, by page of the window's first GiB. */
static uintptr_t window;
static bool told[PAGES];
static size_t told_pages;

static inline void visit(void *arg, uintptr_t base, size_t size)
{
	assert_ptr_equal(arg, told);
	assert_true(size > 0 && loam_is_aligned(base | size, P));
	for (uintptr_t at = base; at < base + size; at += P) {
		told_pages += !told[(at - window) / P];
		told[(at - window) / P] = true;
	}
}

static inline size_t round_over(uintptr_t base, size_t size, bool split)
{
	memset(told, 0, sizeof(told));
	told_pages = 0;
	assert_int_equal(loam_sys_dirty_round(base, size, split, visit, told), LOAM_OK);
	fake_settled(); /* [DIRTY-2] [DIRTY-3] */
	return told_pages;
}

static inline size_t look_over(uintptr_t base, size_t size)
{
	memset(told, 0, sizeof(told));
	told_pages = 0;
	assert_int_equal(loam_sys_dirty_look(base, size, visit, told), LOAM_OK);
	return told_pages;
}

static inline bool is_told(uintptr_t va)
{
	return told[(va - window) / P];
}

static inline void up(const struct fake_mode *mode)
{
	fake_up_default(&mode->mmu, test_seed());
	fake_calm(true);
	window = fake_mm_up(mode, false);
	assert_true(loam_sys_dirty_can());
}

static inline void down(void)
{
	const struct loam_ptab *pt = loam_space_ptab();

	fake_settled();
	loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max);
	loam_sys_verify();
	loam_mm_reset();
	fake_down();
}

/* Memory at the beginning of the window, and asked about once already: so it is clean on every CPU. */
static inline uintptr_t ready(size_t size, bool huge)
{
	uintptr_t base;

	assert_int_equal(loam_sys_reserve(window, size, 0, &base), LOAM_OK);
	assert_int_equal(base, window);
	assert_int_equal(loam_sys_map(base, size, LOAM_OWNER_HEAP), LOAM_OK);
	if (huge)
		assert_int_equal(loam_sys_hugepage(base, size), LOAM_OK);
	assert_int_equal(round_over(base, size, false), 0);
	assert_int_equal(loam_sys_used(base, size, NULL), LOAM_OK);
	return base;
}

static inline struct loam_ptab_slot slot_of(uintptr_t va, unsigned level)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(loam_space_ptab(), va, level, &slot);
	return slot;
}

#endif
