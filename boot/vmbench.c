/* SPDX-License-Identifier: MIT */
/*
 * Each workload runs over the same 8 MiB as tests/bench/linux_init.c does on Linux, several times;
 * the best round counts, so that the first one warms up. The unit is 4 KiB, also for huge leaves.
 */
#include "boot/vmbench.h"

#include "mm/print.h"

#include <loam/loam.h>

#define BYTES  ((size_t)8 << 20)
#define PAGES  (BYTES / LOAM_PAGE_SIZE)
#define ROUNDS 7u

enum workload { DEMAND, POPULATE, UNMAP, GIVE_BACK, PROTECT, HUGE_FAULT, BATCH_MAP, WORKLOADS };

static const char *const name[WORKLOADS] = {
	"demand-fault", "populate", "unmap", "give-back", "protect", "huge-fault", "batch-map",
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
	/* 4 KiB leaves to somewhere: misaligned by a page against each other */
	if (loam_sys_reserve(0, 2 * BYTES, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_free(base, 2 * BYTES) != LOAM_OK)
		return "no address space for the benchmark";
	TIMED(BATCH_MAP, loam_vm_map(base + LOAM_PAGE_SIZE, loam_paddr(UINT64_C(0x800000000)),
				     BYTES, LOAM_VM_READ, LOAM_VM_DEVICE, &mapped));
	if (loam_vm_unmap(mapped, BYTES) != LOAM_OK)
		return "unmap failed";
	return NULL;
}

const char *loam_vmbench_run(void)
{
	const char *bad = NULL;

	for (unsigned round = 0; bad == NULL && round < ROUNDS; round++) {
		while (loam_frame_idle()) /* as an idle loop would between bursts of work */
			;
		bad = one_round();
	}
	for (unsigned w = 0; bad == NULL && w < WORKLOADS; w++)
		loam_log(LOAM_LOG_INFO, "bench %s %llu ns/page\n", name[w],
			 (unsigned long long)(best[w] / PAGES));
	return bad;
}
