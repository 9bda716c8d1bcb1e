/* SPDX-License-Identifier: MIT */
/*
 * Each workload runs over the same 8 MiB as tests/bench/linux_init.c does on Linux, several times;
 * the best round counts, so that the first one warms up. The unit is 4 KiB, also for huge leaves.
 */
#include "boot/vmbench.h"

#include "arch/mmu.h"
#include "boot/smp.h"
#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"

#include <loam/loam.h>

#define BYTES  ((size_t)8 << 20)
#define PAGES  (BYTES / LOAM_PAGE_SIZE)
#define ROUNDS 7u

enum workload {
	DEMAND,
	POPULATE,
	UNMAP,
	GIVE_BACK,
	PROTECT,
	HUGE_FAULT,
	BATCH_MAP,
	WRITE_ENTRY,
	WORKLOADS,
};

static const char *const name[WORKLOADS] = {
	"demand-fault", "populate",   "unmap",	   "give-back",
	"protect",	"huge-fault", "batch-map", "write-entry",
};

static uint64_t best[WORKLOADS];

static void note(enum workload what, uint64_t ns)
{
	best[what] = best[what] == 0 || ns < best[what] ? ns : best[what];
}

static void touch_all(uintptr_t base, size_t step)
{
	for (size_t at = 0; at < BYTES; at += step)
		*(volatile char *)(base + at) = 1;
}

/* `ok` of the timed call, or the round is worthless. */
#define TIMED(what, call)                                              \
	do {                                                           \
		uint64_t start_ = loam_host_now_ns();                  \
		if ((call) != LOAM_OK)                                 \
			return "a call of the " #what " round failed"; \
		note(what, loam_host_now_ns() - start_);               \
	} while (0)

/* As an idle loop would between bursts of work: known-zero frames are made. */
static void idle(void)
{
	while (loam_frame_idle())
		;
}

/* The bare cost of a table entry: as many as the pages of the other workloads, in a frame that no walk
 * comes to. */
static const char *write_entries(void)
{
	const struct loam_mmu *mmu = loam_space_ptab()->mmu;
	struct loam_pfn pfn;
	uint64_t start;

	if (loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) != LOAM_OK)
		return "no frame for the benchmark";
	start = loam_host_now_ns();
	for (size_t i = 0; i < PAGES; i++)
		loam_pt_store(
			loam_pfn_to_paddr(pfn), i % LOAM_PT_ENTRIES,
			loam_pte_leaf(mmu, 0, loam_paddr(i << LOAM_PAGE_SHIFT), LOAM_ATTR_DATA));
	loam_pt_publish(mmu);
	note(WRITE_ENTRY, loam_host_now_ns() - start);
	return loam_frame_free(pfn, 0) == LOAM_OK ? NULL : "a frame could not be freed";
}

static const char *one_round(void)
{
	uintptr_t base, mapped = 0;
	uint64_t start;

	if (loam_sys_reserve(0, BYTES, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_map(base, BYTES, LOAM_OWNER_TEST) != LOAM_OK ||
	    loam_vm_lazy(base, BYTES, true) != LOAM_OK)
		return "no memory for the benchmark";
	start = loam_host_now_ns();
	touch_all(base, LOAM_PAGE_SIZE);
	note(DEMAND, loam_host_now_ns() - start);
	/* rights away and back: two calls, as on Linux */
	start = loam_host_now_ns();
	if (loam_vm_protect(base, BYTES, LOAM_VM_READ) != LOAM_OK ||
	    loam_vm_protect(base, BYTES, LOAM_VM_READ | LOAM_VM_WRITE) != LOAM_OK)
		return "protect failed";
	note(PROTECT, (loam_host_now_ns() - start) / 2);
	TIMED(GIVE_BACK, loam_sys_unused(base, BYTES));
	if (loam_sys_hugepage(base, BYTES) == LOAM_OK) {
		start = loam_host_now_ns();
		touch_all(base, LOAM_HUGE_SIZE);
		note(HUGE_FAULT, loam_host_now_ns() - start);
	}
	if (loam_sys_free(base, BYTES) != LOAM_OK)
		return "free failed";
	/* populate and unmap as Linux does them: address space, tables and frames at once */
	start = loam_host_now_ns();
	if (loam_sys_reserve(0, BYTES, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_map(base, BYTES, LOAM_OWNER_TEST) != LOAM_OK ||
	    loam_sys_used(base, BYTES, NULL) != LOAM_OK)
		return "populate failed";
	note(POPULATE, loam_host_now_ns() - start);
	touch_all(base, LOAM_PAGE_SIZE);
	TIMED(UNMAP, loam_sys_free(base, BYTES));
	idle();
	/* 4 KiB leaves to somewhere: misaligned by a page against each other */
	if (loam_sys_reserve(0, 2 * BYTES, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_free(base, 2 * BYTES) != LOAM_OK)
		return "no address space for the benchmark";
	TIMED(BATCH_MAP, loam_vm_map(base + LOAM_PAGE_SIZE, loam_paddr(UINT64_C(0x800000000)),
				     BYTES, LOAM_VM_READ, LOAM_VM_DEVICE, &mapped));
	if (loam_vm_unmap(mapped, BYTES) != LOAM_OK)
		return "unmap failed";
	return write_entries();
}

/* ---- with several CPUs: how often all of them are made to forget something ---- */

static uint64_t shootdowns(void)
{
	struct loam_cpu_stats stats;

	loam_cpu_stats(&stats);
	return stats.shootdowns;
}

static void say_remote(const char *what, uint64_t before)
{
	loam_log(LOAM_LOG_INFO, "bench %s %llu invalidations\n", what,
		 (unsigned long long)(shootdowns() - before));
}

static const char *count_remote(void)
{
	struct loam_cpu_stats stats;
	uint64_t before, start;
	uintptr_t base;

	if (loam_sys_reserve(0, BYTES, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_map(base, BYTES, LOAM_OWNER_TEST) != LOAM_OK ||
	    loam_sys_used(base, BYTES, NULL) != LOAM_OK ||
	    loam_vm_protect(base, BYTES, LOAM_VM_READ) != LOAM_OK)
		return "no memory to count with";
	before = shootdowns();
	if (loam_vm_protect(base, BYTES, LOAM_VM_READ | LOAM_VM_WRITE) != LOAM_OK)
		return "protect failed";
	say_remote("remote-by-upgrade", before);
	before = shootdowns();
	if (loam_sys_unused(base, BYTES) != LOAM_OK)
		return "unused failed";
	say_remote("remote-by-unmap", before);
	if (loam_sys_used(base, BYTES, NULL) != LOAM_OK)
		return "used failed";
	before = shootdowns();
	start = loam_host_now_ns();
	if (loam_sys_unused_later(base, BYTES) != LOAM_OK)
		return "unused_later failed";
	do {
		loam_cpu_quiescent();
		loam_cpu_stats(&stats);
	} while (stats.waiting_frames > 0 && loam_host_now_ns() - start < UINT64_C(5000000000));
	say_remote("remote-by-epoch", before);
	return loam_sys_free(base, BYTES) == LOAM_OK ? NULL : "free failed";
}

const char *loam_vmbench_run(void)
{
	const char *bad = NULL;

	for (unsigned round = 0; bad == NULL && round < ROUNDS; round++) {
		idle();
		bad = one_round();
	}
	for (unsigned w = 0; bad == NULL && w < WORKLOADS; w++)
		loam_log(LOAM_LOG_INFO, "bench %s %llu.%llu ns/page\n", name[w],
			 (unsigned long long)(best[w] / PAGES),
			 (unsigned long long)(best[w] * 10 / PAGES % 10));
	return bad != NULL || loam_smp_count() == 1 ? bad : count_remote();
}
