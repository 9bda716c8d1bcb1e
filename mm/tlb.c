/* SPDX-License-Identifier: MIT */
/*
 * Invalidation: batches, and reaching the other CPUs.
 *
 * An operation clears entries, notes what was cleared in a batch, and finishes the batch: one
 * round of invalidations for all of it, then the frames and tables behind the entries go back.
 * The order is the point: a frame that goes back while some CPU can still reach it through a stale
 * translation belongs to two owners; a table that goes back while a CPU caches the way to it
 * lets that CPU walk whatever the next owner writes there.
 *
 *   [TLB-1] Nothing is released before the invalidation that covers it has completed on
 *           every CPU.
 *
 * Shootdown. Where invalidations are not broadcast in hardware, the CPU that changes the tables
 * writes down what to forget, moves `generation` on, interrupts every other CPU that is online
 * and waits until each has `seen` that generation. There is one request at a time, because all
 * changes are made under the space lock. A CPU that waits for that lock with interrupts off could
 * never take the interrupt, so it looks for requests while it spins (mm/lock.h).
 *
 *   [TLB-2] A CPU says that it has seen a generation only after it has forgotten what the
 *           request names; and the request is not written again before every CPU has said so.
 *
 * A CPU that does not answer within WATCHDOG_NS is named in a panic.
 *
 * A batch lives on the caller's stack and belongs to one CPU. Single frames wait in a list that is
 * linked through their records; the queue for longer runs is bounded: when it is full the batch
 * invalidates early and goes on. More than LOAM_TLB_RANGES ranges become one
 * whole flush, which costs less than that many singles anyway.
 */
#include "mm/tlb.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "mm/epoch.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/sys.h"

#include <loam/cpu.h>

#define WATCHDOG_NS UINT64_C(10000000000)

/* What the other CPUs are to forget; written under the space lock while all have seen the last. */
static struct {
	const struct loam_mmu *mmu;
	bool all;
	uint32_t count;
	struct loam_tlb_range range[LOAM_TLB_RANGES];
} request;
static uint64_t generation; /* atomic: release by the initiator, acquire by those that serve */
static uint64_t online;	    /* atomic: bit n: CPU n */
static struct {
	uint64_t generation; /* atomic: release by the CPU itself, acquire by the initiator */
	uint64_t served;     /* by the CPU itself */
	uint64_t pad[6];
} seen[LOAM_CPU_MAX];
static uint64_t shootdowns, ipis; /* space lock */

/* ---- other CPUs ---- */

static void forget(const struct loam_mmu *mmu, bool all, const struct loam_tlb_range *range,
		   uint32_t count)
{
	if (all) {
		loam_tlb_local_all(mmu);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		loam_tlb_local(mmu, range[i].va, range[i].count, range[i].level, range[i].tables);
}

void loam_cpu_poll(void)
{
	uintptr_t irq =
		loam_irq_save(); /* first: a thread that moves would answer for another CPU */
	unsigned cpu = loam_host_cpu_id();
	uint64_t wanted = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);

	/* relaxed: only this CPU writes it */
	if (cpu < LOAM_CPU_MAX &&
	    __atomic_load_n(&seen[cpu].generation, __ATOMIC_RELAXED) != wanted &&
	    (__atomic_load_n(&online, __ATOMIC_RELAXED) >> cpu & 1) != 0) {
		forget(request.mmu, request.all, request.range, request.count);
		seen[cpu].served++;
		__atomic_store_n(&seen[cpu].generation, wanted, __ATOMIC_RELEASE); /* [TLB-2] */
	}
	loam_irq_restore(irq);
}

static void no_answer(unsigned cpu)
{
	char text[80];

	loam_snprintf(text, sizeof(text), "CPU %u does not answer a TLB shootdown: interrupts off?",
		      cpu);
	loam_host_panic(__FILE__, __LINE__, text);
}

static void wait_for(unsigned cpu, uint64_t wanted)
{
	uint64_t start = 0;

	for (uint32_t spins = 1;
	     __atomic_load_n(&seen[cpu].generation, __ATOMIC_ACQUIRE) != wanted &&
	     (__atomic_load_n(&online, __ATOMIC_ACQUIRE) >> cpu & 1) != 0;
	     spins++) {
		loam_cpu_relax();
		if (spins % 4096 != 0)
			continue;
		if (start == 0)
			start = loam_host_now_ns();
		else if (loam_host_now_ns() - start > WATCHDOG_NS)
			no_answer(cpu);
	}
}

static void everywhere(const struct loam_mmu *mmu, bool all, const struct loam_tlb_range *range,
		       uint32_t count)
{
	uint64_t others =
		__atomic_load_n(&online, __ATOMIC_ACQUIRE) & ~((uint64_t)1 << loam_host_cpu_id());
	uint64_t wanted;

	shootdowns += others != 0;
	if (mmu->broadcast) {
		if (all)
			loam_tlb_broadcast_all(mmu);
		for (uint32_t i = 0; !all && i < count; i++)
			loam_tlb_broadcast(mmu, range[i].va, range[i].count, range[i].level,
					   range[i].tables);
		return;
	}
	if (others != 0) {
		request.mmu = mmu;
		request.all = all;
		request.count = count;
		for (uint32_t i = 0; i < count; i++)
			request.range[i] = range[i];
		wanted = __atomic_add_fetch(&generation, 1, __ATOMIC_RELEASE);
		for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++) {
			if ((others >> cpu & 1) == 0)
				continue;
			ipis++;
			loam_host_ipi(cpu);
		}
		__atomic_store_n(&seen[loam_host_cpu_id()].generation, wanted, __ATOMIC_RELAXED);
	}
	forget(mmu, all, range, count); /* while the others do the same */
	for (unsigned cpu = 0; others != 0 && cpu < LOAM_CPU_MAX; cpu++) {
		if ((others >> cpu & 1) != 0)
			wait_for(cpu, wanted);
	}
}

void loam_tlb_everywhere(const struct loam_mmu *mmu, uint64_t va, uint64_t count, unsigned level,
			 bool tables)
{
	struct loam_tlb_range range = {
		.va = va, .count = count, .level = (uint8_t)level, .tables = tables};

	everywhere(mmu, false, &range, 1);
}

void loam_tlb_everywhere_all(const struct loam_mmu *mmu)
{
	everywhere(mmu, true, NULL, 0);
}

void loam_tlb_join(const struct loam_mmu *mmu, unsigned cpu)
{
	/* Online first, then forget: an invalidation from here on waits for this CPU or is made
	 * before the flush. The space lock is held, so none is under way. */
	__atomic_store_n(&seen[cpu].generation, __atomic_load_n(&generation, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
	loam_epoch_join(
		cpu); /* before it counts, or others would wait for what it has not passed */
	__atomic_or_fetch(&online, (uint64_t)1 << cpu, __ATOMIC_ACQ_REL);
	loam_tlb_local_all(mmu);
}

void loam_tlb_leave(unsigned cpu)
{
	__atomic_and_fetch(&online, ~((uint64_t)1 << cpu), __ATOMIC_SEQ_CST);
	loam_epoch_leave();
}

bool loam_tlb_has(unsigned cpu)
{
	/* seq_cst: [EPOCH-5] */
	return (__atomic_load_n(&online, __ATOMIC_SEQ_CST) >> cpu & 1) != 0;
}

void loam_tlb_reset(void)
{
	online = 0;
	generation = 0;
	shootdowns = 0;
	ipis = 0;
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++) {
		seen[cpu].generation = 0;
		seen[cpu].served = 0;
	}
}

void loam_cpu_stats(struct loam_cpu_stats *stats)
{
	/* what waits and what went back belong together, and both change under the lock */
	uintptr_t irq = loam_sys_enter();

	stats->shootdowns = shootdowns;
	stats->ipis = ipis;
	stats->served = 0;
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++)
		stats->served += seen[cpu].served;
	loam_epoch_stats(stats);
	(void)loam_sys_leave(irq, LOAM_OK);
}

/* ---- batches ---- */

void loam_tlb_batch_init(struct loam_tlb_batch *batch, const struct loam_mmu *mmu)
{
	batch->mmu = mmu;
	batch->range_count = 0;
	batch->release_count = 0;
	batch->all = false;
	batch->singles = (struct loam_frame_list){0};
}

/* Does [va, ...) of `level` continue the range? Then count grows and the range is one. */
static bool range_extend(struct loam_tlb_range *range, uint64_t va, uint64_t count, unsigned level,
			 bool tables)
{
	if (range->level != level || range->va + range->count * loam_level_size(level) != va)
		return false;
	range->count += count;
	range->tables |= tables;
	return true;
}

void loam_tlb_batch_add(struct loam_tlb_batch *batch, uint64_t va, uint64_t count, unsigned level,
			bool tables)
{
	uint32_t n = batch->range_count;

	if (batch->all || (n > 0 && range_extend(&batch->range[n - 1], va, count, level, tables)))
		return;
	if (n == LOAM_TLB_RANGES) {
		batch->all = true;
		return;
	}
	batch->range[n] = (struct loam_tlb_range){
		.va = va, .count = count, .level = (uint8_t)level, .tables = tables};
	batch->range_count = n + 1;
}

void loam_tlb_batch_add_all(struct loam_tlb_batch *batch)
{
	batch->all = true;
}

static void invalidate(struct loam_tlb_batch *batch)
{
	const struct loam_mmu *mmu = batch->mmu;
	uint64_t total = 0;

	for (uint32_t i = 0; i < batch->range_count; i++)
		total += batch->range[i].count;
	if (batch->all || total > 0)
		everywhere(mmu, batch->all || total > LOAM_TLB_SINGLES, batch->range,
			   batch->range_count);
	batch->range_count = 0;
	batch->all = false;
}

void loam_tlb_batch_finish(struct loam_tlb_batch *batch)
{
	invalidate(batch);
	for (uint32_t i = 0; i < batch->release_count; i++) {
		const struct loam_tlb_release *r = &batch->release[i];
		enum loam_err err = loam_frame_free(r->pfn, r->order);

		LOAM_CHECK(err == LOAM_OK, "a mapped frame or table was not ours to free");
	}
	batch->release_count = 0;
	loam_frame_list_free(&batch->singles);
}

void loam_tlb_batch_release(struct loam_tlb_batch *batch, struct loam_pfn pfn, unsigned order)
{
	if (order == 0) {
		loam_frame_list_push(&batch->singles, pfn);
		return;
	}
	if (batch->release_count == LOAM_TLB_RELEASE)
		loam_tlb_batch_finish(batch);
	batch->release[batch->release_count++] =
		(struct loam_tlb_release){.pfn = pfn, .order = order};
}
