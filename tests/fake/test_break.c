/* SPDX-License-Identifier: MIT */
/*
 * Break-before-make, and a CPU that must not wait for the lock that another one does it under: it holds, or spins for, a lock of
 * mm's itself, and touches its stack or a result in just that memory. Tag: [PTAB-6].
 */
#include "mm/lockrank.h"
#include "tests/fake/dirty_test.h"

#include <loam/vm.h>

static uintptr_t victim;
static unsigned tried, mended;
static uint64_t amid; /* what loam_ptab_breaks said then */

static bool handle(unsigned cpu, enum loam_access access)
{
	struct loam_fault fault = {.addr = victim, .access = access};
	unsigned was = fake_running();
	bool done;

	fake_run_on(cpu);
	done = loam_fault_handle(&fault);
	fake_run_on(was);
	return done;
}

/* All have forgotten, or some: CPU 2 touches `victim` under a lock. */
static void touch_under_a_lock(void)
{
	for (unsigned access = LOAM_ACCESS_READ; access <= LOAM_ACCESS_WRITE; access++) {
		if (fake_touch(2, victim, (enum loam_access)access, NULL))
			continue;
		loam_lockrank[2].held = 1u << LOAM_RANK_CACHE;
		tried++;
		amid = loam_ptab_breaks();
		mended += handle(2, (enum loam_access)access);
		loam_lockrank[2].held = 0;
		/* who has broken it waits for nobody: the report is better */
		if (!fake_touch(0, victim, LOAM_ACCESS_READ, NULL) && loam_lockrank[0].held != 0)
			assert_false(handle(0, LOAM_ACCESS_READ));
	}
}

static void watch(uintptr_t at)
{
	victim = at;
	tried = mended = 0;
	assert_true(touch(2, at, LOAM_ACCESS_WRITE));
	fake_forgotten(touch_under_a_lock);
}

/* `broken`: CPU 2 must have found nothing there. */
static void watched(bool broken)
{
	uint64_t breaks = loam_ptab_breaks();

	fake_forgotten(NULL);
	assert_true(!broken || tried > 0);
	assert_int_equal(mended, tried);
	/* over while somebody looked */
	assert_true(tried == 0 || loam_ptab_broken_since(amid));
	assert_true(touch(2, victim, LOAM_ACCESS_WRITE));
	/* it is over: nothing there is a bug again */
	assert_false(loam_ptab_broken_since(breaks));
	fake_run_on(2);
	loam_lockrank_acquire(LOAM_RANK_CACHE);
	assert_true(handle(2, LOAM_ACCESS_READ) && handle(2, LOAM_ACCESS_WRITE));
	victim = window + 64 * MIB;
	assert_false(handle(2, LOAM_ACCESS_READ) || handle(2, LOAM_ACCESS_WRITE));
	loam_lockrank_release(LOAM_RANK_CACHE);
	fake_run_on(0);
}

static void collapse(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t breaks;
		uintptr_t base;

		up(mode);
		base = ready(4 * MIB, false);
		watch(base + 5 * P);
		breaks = loam_ptab_breaks();
		assert_int_equal(loam_sys_collapse(base, 2 * MIB), LOAM_OK);
		/* begun and over while somebody looked */
		assert_true(loam_ptab_broken_since(breaks));
		watched(true);
		down();
	}
}

static void part_of_a_leaf_goes(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base;

		up(mode);
		base = ready(4 * MIB, true);
		watch(base + 5 * P);
		assert_int_equal(loam_sys_unused(base + 9 * P, P), LOAM_OK);
		watched(true);
		/* by now it is one of a run, where there are runs */
		watch(base + 37 * P);
		assert_int_equal(loam_sys_unused(base + 39 * P, P), LOAM_OK);
		watched(mode->mmu.contig && !mode->mmu.bbm2);
		watch(base + 2 * MIB + 5 * P);
		assert_int_equal(loam_vm_protect(base + 2 * MIB + 8 * P, P, LOAM_VM_READ), LOAM_OK);
		watched(true);
		down();
	}
}

static void a_round_unmakes_runs(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		const size_t run = mode->mmu.contig ? 16 : 1;
		uintptr_t base;

		up(mode);
		base = ready(4 * MIB, false);
		assert_int_equal(loam_sys_hugepage(base, 4 * MIB), LOAM_OK);
		assert_int_equal(loam_sys_unused(base, 4 * MIB), LOAM_OK);
		assert_int_equal(loam_sys_used(base, MIB, NULL), LOAM_OK);
		watch(base + 5 * P);
		assert_int_equal(round_over(base, MIB, true), run);
		watched(mode->mmu.contig);
		assert_int_equal(round_over(base, MIB, true), 1);
		down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(collapse),
		cmocka_unit_test(part_of_a_leaf_goes),
		cmocka_unit_test(a_round_unmakes_runs),
	};
	return cmocka_run_group_tests_name("break", tests, NULL, NULL);
}
