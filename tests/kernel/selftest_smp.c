/* SPDX-License-Identifier: MIT */
/* Several CPUs on one set of page tables: everybody sees every change at once. */
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "boot/smp.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/sys.h"
#include "tests/kernel/selftest.h"

#include <loam/cpu.h>

#define MIB ((size_t)1 << 20)

static void say_id(void *arg)
{
	*(volatile unsigned *)arg = loam_host_cpu_id();
}

static void every_cpu_answers(const struct loam_boot_info *info)
{
	static unsigned id[LOAM_BOOT_CPUS];

	(void)info;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, say_id, &id[cpu]);
	loam_smp_wait();
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		EXPECT(id[cpu] == cpu);
}

/* ---- one address, two frames ---- */

static struct {
	volatile uint64_t *at;
	uint64_t seen[LOAM_BOOT_CPUS];
	uint32_t stop; /* atomic */
} look;

static void look_once(void *arg)
{
	(void)arg;
	look.seen[loam_host_cpu_id()] = *look.at;
}

/* Read over and over, so that the TLB has it, until told to stop. */
static void keep_looking(void *arg)
{
	uint64_t sum = 0;

	(void)arg;
	while (__atomic_load_n(&look.stop, __ATOMIC_ACQUIRE) == 0)
		sum += look.at[1];
	look.seen[loam_host_cpu_id()] = sum;
}

static bool all_see(uint64_t value)
{
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, look_once, NULL);
	loam_smp_wait();
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++) {
		if (look.seen[cpu] != value)
			return false;
	}
	return *look.at == value;
}

/* The frame behind an address changes 200 times: no CPU ever sees the one before. */
static void remapping_is_seen_everywhere(const struct loam_boot_info *info)
{
	struct loam_pfn pfn[2];
	uintptr_t base = 0;

	(void)info;
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn[i]) == LOAM_OK);
		*(uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn[i])) = 1000 + i;
	}
	for (unsigned round = 0; round < 200; round++) {
		EXPECT(loam_vm_map(base, loam_pfn_to_paddr(pfn[round % 2]), LOAM_PAGE_SIZE,
				   LOAM_VM_READ, LOAM_VM_WRITE_BACK, &base) == LOAM_OK);
		look.at = (volatile uint64_t *)base;
		EXPECT(all_see(1000 + round % 2));
		EXPECT(loam_vm_unmap(base, LOAM_PAGE_SIZE) == LOAM_OK);
	}
	for (unsigned i = 0; i < 2; i++)
		EXPECT(loam_frame_free(pfn[i], 0) == LOAM_OK);
}

/* On a stack in the memory that changes: take locks of mm's and wait for them, and leave results there. */
static void keep_locking(void *arg)
{
	struct loam_frame_stats stats;
	struct loam_sys_info info;
	struct loam_pfn pfn;

	(void)arg;
	while (__atomic_load_n(&look.stop, __ATOMIC_ACQUIRE) == 0) {
		if (loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) == LOAM_OK &&
		    loam_frame_free(pfn, 0) != LOAM_OK)
			break;
		loam_frame_stats(&stats);
		if (loam_sys_query((uintptr_t)look.at, &info) == LOAM_OK)
			__atomic_add_fetch(&look.seen[loam_host_cpu_id()], 1, __ATOMIC_RELAXED);
	}
}

static void lock_on_stack(void *high)
{
	loam_boot_call_on((uintptr_t)high, keep_locking, NULL);
}

/* Leaves collapse and split while the other CPUs run: break-before-make may fault them for a moment, never lie. */
static void change_leaves_under(bool lockers)
{
	uintptr_t base;

	EXPECT(loam_sys_reserve(0, 2 * LOAM_HUGE_SIZE, LOAM_HUGE_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, 2 * LOAM_HUGE_SIZE, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_sys_used(base, 2 * LOAM_HUGE_SIZE, NULL) == LOAM_OK);
	look.at = (volatile uint64_t *)base;
	look.at[0] = 42;
	look.stop = 0;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++) {
		look.seen[cpu] = 0;
		loam_smp_post(cpu, lockers ? lock_on_stack : keep_looking,
			      (void *)(base + cpu * LOAM_HUGE_SIZE / LOAM_BOOT_CPUS));
	}
	for (unsigned cpu = 1; lockers && cpu < loam_smp_count(); cpu++) {
		while (__atomic_load_n(&look.seen[cpu], __ATOMIC_RELAXED) == 0)
			loam_cpu_relax(); /* until all have begun */
	}
	for (unsigned round = 0; round < (lockers ? 60 : 20); round++) {
		enum loam_err err = loam_sys_collapse(base, LOAM_HUGE_SIZE);

		if (err != LOAM_OK && err != LOAM_NOMEM && err != LOAM_NOTSUP)
			break;
		if (loam_sys_unused(base + LOAM_HUGE_SIZE - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE) !=
			    LOAM_OK ||
		    loam_sys_used(base + LOAM_HUGE_SIZE - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, NULL) !=
			    LOAM_OK)
			break;
	}
	__atomic_store_n(&look.stop, 1, __ATOMIC_RELEASE);
	loam_smp_wait();
	EXPECT(look.at[0] == 42);
	EXPECT(loam_sys_free(base, 2 * LOAM_HUGE_SIZE) == LOAM_OK);
}

static void leaves_change_under_readers(const struct loam_boot_info *info)
{
	(void)info;
	change_leaves_under(false);
}

/* [PTAB-6] */
static void leaves_change_under_locks(const struct loam_boot_info *info)
{
	(void)info;
	change_leaves_under(true);
}

/* ---- epochs ---- */

/* Read over and over, with a quiescent point after each time. */
static void look_and_pass(void *arg)
{
	struct loam_sys_info info;

	(void)arg;
	while (__atomic_load_n(&look.stop, __ATOMIC_ACQUIRE) == 0) {
		if (loam_sys_query((uintptr_t)look.at, &info) == LOAM_OK)
			look.seen[loam_host_cpu_id()]++;
		loam_cpu_quiescent();
	}
}

/* 32 times 16 pages go and come elsewhere: no CPU is interrupted, every frame is back. */
static void epochs_pass_without_a_shootdown(const struct loam_boot_info *info)
{
	const size_t piece = 16 * LOAM_PAGE_SIZE;
	struct loam_cpu_stats before, after;
	uint64_t start = loam_host_now_ns();
	uintptr_t base;

	(void)info;
	EXPECT(loam_sys_reserve(0, 32 * piece, LOAM_PAGE_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, 32 * piece, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_sys_used(base, 32 * piece, NULL) == LOAM_OK);
	look.at = (volatile uint64_t *)base;
	look.stop = 0;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, look_and_pass, NULL);
	loam_cpu_stats(&before);
	for (unsigned i = 0; i < 32; i++) {
		EXPECT(loam_sys_unused_later(base + i * piece, piece) == LOAM_OK);
		loam_cpu_quiescent();
	}
	do {
		loam_cpu_quiescent();
		loam_cpu_stats(&after);
	} while (after.waiting_frames > 0 && loam_host_now_ns() - start < UINT64_C(2000000000));
	__atomic_store_n(&look.stop, 1, __ATOMIC_RELEASE);
	loam_smp_wait();
	EXPECT(after.waiting_frames == 0);
	EXPECT(after.epoch_frames - before.epoch_frames == 32 * 16);
	EXPECT(after.shootdowns == before.shootdowns && after.ipis == before.ipis);
	EXPECT(loam_sys_free(base, 32 * piece) == LOAM_OK);
}

/* How often everybody is made to forget something, for 8 MiB: never when rights are given, once when
 * memory goes. */
static void few_invalidations_reach_others(const struct loam_boot_info *info)
{
	struct loam_cpu_stats s[4];
	uintptr_t base;

	(void)info;
	EXPECT(loam_sys_reserve(0, 8 * MIB, LOAM_HUGE_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, 8 * MIB, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_sys_used(base, 8 * MIB, NULL) == LOAM_OK);
	loam_cpu_stats(&s[0]);
	EXPECT(loam_vm_protect(base, 8 * MIB, LOAM_VM_READ) == LOAM_OK);
	loam_cpu_stats(&s[1]);
	EXPECT(loam_vm_protect(base, 8 * MIB, LOAM_VM_READ | LOAM_VM_WRITE) == LOAM_OK);
	loam_cpu_stats(&s[2]);
	EXPECT(loam_sys_unused(base, 8 * MIB) == LOAM_OK);
	loam_cpu_stats(&s[3]);
	EXPECT(s[1].shootdowns - s[0].shootdowns == (loam_smp_count() > 1));
	EXPECT(s[2].shootdowns == s[1].shootdowns);
	EXPECT(s[3].shootdowns - s[2].shootdowns == (loam_smp_count() > 1));
	EXPECT(loam_sys_free(base, 8 * MIB) == LOAM_OK);
}

const struct selftest loam_selftest_smp[] = {
	{"smp: every CPU answers", every_cpu_answers},
	{"smp: another frame behind an address is seen by all", remapping_is_seen_everywhere},
	{"smp: leaves change under readers", leaves_change_under_readers},
	{"smp: leaves change under stacks of those who hold locks", leaves_change_under_locks},
	{"smp: frames go back by epochs, and no CPU is interrupted",
	 epochs_pass_without_a_shootdown},
	{"smp: few invalidations reach the others", few_invalidations_reach_others},
	{NULL, NULL},
};
