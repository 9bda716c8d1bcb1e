/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs on one set of page tables: everybody sees every change at once. With soak=SECONDS
 * on the command line the last test runs that long.
 */
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "boot/smp.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/sys.h"
#include "tests/kernel/selftest.h"

#include <loam/cpu.h>

#define MIB	   ((size_t)1 << 20)
#define READ_WRITE (LOAM_VM_READ | LOAM_VM_WRITE)

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

/* Collapse and split under readers: break-before-make may fault them for a moment, never lie. */
static void leaves_change_under_readers(const struct loam_boot_info *info)
{
	uintptr_t base;

	(void)info;
	EXPECT(loam_sys_reserve(0, 2 * LOAM_HUGE_SIZE, LOAM_HUGE_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, 2 * LOAM_HUGE_SIZE, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_sys_used(base, 2 * LOAM_HUGE_SIZE, NULL) == LOAM_OK);
	look.at = (volatile uint64_t *)base;
	look.at[0] = 42;
	look.stop = 0;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, keep_looking, NULL);
	for (unsigned round = 0; round < 20; round++) {
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

/* ---- soak ---- */

static struct {
	uint64_t until_ns, steps;
	uint64_t ran[LOAM_BOOT_CPUS];
	const char *bad[LOAM_BOOT_CPUS];
} soak;

static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ (z >> 27);
}

#define SOAK_PAGES 768u /* one aligned 2 MiB and a half */

static void soak_step(uintptr_t base, uint64_t *rng, const char **bad)
{
	unsigned at = (unsigned)(next(rng) % SOAK_PAGES);
	unsigned n = 1 + (unsigned)(next(rng) % 16);
	uintptr_t va = base + at * LOAM_PAGE_SIZE;
	volatile uint64_t *word = (volatile uint64_t *)va;
	struct loam_stack stack;
	struct loam_pfn pfn;
	enum loam_err err;
	uint64_t stamp = next(rng);

	n = at + n > SOAK_PAGES ? SOAK_PAGES - at : n;
	switch (next(rng) % 6) {
	case 0:
		err = stamp % 2 ? loam_sys_unused(va, n * LOAM_PAGE_SIZE)
				: loam_sys_unused_later(va, n * LOAM_PAGE_SIZE);
		if (err != LOAM_OK)
			*bad = "unused failed";
		break;
	case 1:
		err = loam_sys_used(va, n * LOAM_PAGE_SIZE, NULL);
		if (err == LOAM_NOMEM)
			break;
		if (err != LOAM_OK)
			*bad = "used failed";
		*word = stamp;
		if (*word != stamp)
			*bad = "a page lost what was written";
		break;
	case 2:
		if (loam_sys_used(va, LOAM_PAGE_SIZE, NULL) != LOAM_OK)
			break;
		*word = stamp;
		if (loam_vm_protect(va, LOAM_PAGE_SIZE, LOAM_VM_READ) == LOAM_OK) {
			if (*word != stamp)
				*bad = "protect lost a page";
			if (loam_vm_protect(va, LOAM_PAGE_SIZE, READ_WRITE) != LOAM_OK)
				*bad = "protect back failed";
			*word = stamp + 1; /* may fault once: a right was only just given */
		}
		break;
	case 3:
		if (next(rng) % 8 == 0)
			(void)loam_sys_collapse(base, LOAM_HUGE_SIZE);
		break;
	case 4:
		if (loam_stack_alloc(64 << 10, &stack) != LOAM_OK)
			break;
		*(volatile uint64_t *)(stack.high - 8) = stamp;
		*(volatile uint64_t *)(stack.high - 20000) = stamp; /* demand */
		if (loam_stack_free(&stack) != LOAM_OK)
			*bad = "a stack could not be freed";
		break;
	default:
		n = (unsigned)(next(rng) % 5);
		if (loam_frame_alloc(n, 0, LOAM_OWNER_TEST, &pfn) != LOAM_OK)
			break;
		*(volatile uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)) = stamp;
		if (*(volatile uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)) != stamp)
			*bad = "a frame has two owners";
		if (loam_frame_free(pfn, n) != LOAM_OK)
			*bad = "a frame could not be freed";
		break;
	}
}

static void soak_cpu(void *arg)
{
	unsigned cpu = loam_host_cpu_id();
	uint64_t rng = 4711 + cpu;
	uintptr_t base;

	(void)arg;
	if (loam_sys_reserve(0, SOAK_PAGES * LOAM_PAGE_SIZE, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_map(base, SOAK_PAGES * LOAM_PAGE_SIZE, LOAM_OWNER_TEST) != LOAM_OK) {
		soak.bad[cpu] = "no memory to begin with";
		return;
	}
	while (soak.bad[cpu] == NULL &&
	       (soak.ran[cpu] < soak.steps || loam_host_now_ns() < soak.until_ns)) {
		soak_step(base, &rng, &soak.bad[cpu]);
		soak.ran[cpu]++;
		if (next(&rng) % 4 == 0)
			loam_cpu_quiescent();
	}
	if (loam_sys_free(base, SOAK_PAGES * LOAM_PAGE_SIZE) != LOAM_OK)
		soak.bad[cpu] = "the range could not be freed";
}

static void everybody_at_once(const struct loam_boot_info *info)
{
	uint64_t seconds = loam_cmdline_number(info->cmdline, "soak", 0), steps = 0;
	struct loam_frame_stats before, after;
	struct loam_cpu_stats cpus;

	loam_frame_stats(&before);
	soak.steps = 300;
	soak.until_ns = seconds > 0 ? loam_host_now_ns() + seconds * 1000000000 : 0;
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		soak.ran[cpu] = 0;
		soak.bad[cpu] = NULL;
	}
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, soak_cpu, NULL);
	soak_cpu(NULL);
	loam_smp_wait();
	loam_cpu_quiescent(); /* the others have, when they had done */
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		EXPECT(soak.bad[cpu] == NULL);
		steps += soak.ran[cpu];
	}
	loam_frame_stats(&after);
	loam_sys_verify();
	loam_frame_verify();
	loam_cpu_stats(&cpus);
	EXPECT(cpus.waiting_frames == 0);
	/* every frame is accounted for: records stay with mm, tables at the root */
	EXPECT(before.owner_frames[LOAM_OWNER_TEST] == after.owner_frames[LOAM_OWNER_TEST]);
	EXPECT(before.owner_frames[LOAM_OWNER_STACK] == after.owner_frames[LOAM_OWNER_STACK]);
	EXPECT(before.free + before.owner_frames[LOAM_OWNER_META] <=
	       after.free + after.owner_frames[LOAM_OWNER_META] + 4);
	loam_log(LOAM_LOG_INFO,
		 "# %u CPUs, %llu steps, %llu shootdowns, %llu interrupts for them; "
		 "%llu of %llu deferred frames went back with no shootdown\n",
		 loam_smp_count(), (unsigned long long)steps, (unsigned long long)cpus.shootdowns,
		 (unsigned long long)cpus.ipis, (unsigned long long)cpus.epoch_frames,
		 (unsigned long long)cpus.deferred_frames);
}

const struct selftest loam_selftest_smp[] = {
	{"smp: every CPU answers", every_cpu_answers},
	{"smp: another frame behind an address is seen by all", remapping_is_seen_everywhere},
	{"smp: leaves change under readers", leaves_change_under_readers},
	{"smp: frames go back by epochs, and no CPU is interrupted",
	 epochs_pass_without_a_shootdown},
	{"smp: everybody maps, frees, protects and collapses at once", everybody_at_once},
	{NULL, NULL},
};
