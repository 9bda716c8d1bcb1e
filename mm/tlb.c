/* SPDX-License-Identifier: MIT */
/*
 * Invalidation batches.
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
 * A batch lives on the caller's stack and belongs to one CPU. The release queue is bounded: when it is
 * full the batch invalidates early and goes on. More than LOAM_TLB_RANGES ranges become one
 * whole flush, which costs less than that many singles anyway.
 */
#include "mm/tlb.h"

#include "arch/check.h"
#include "mm/frame.h"

void loam_tlb_batch_init(struct loam_tlb_batch *batch, const struct loam_mmu *mmu)
{
	batch->mmu = mmu;
	batch->range_count = 0;
	batch->release_count = 0;
	batch->all = false;
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

static void invalidate(struct loam_tlb_batch *batch)
{
	const struct loam_mmu *mmu = batch->mmu;
	uint64_t total = 0;

	for (uint32_t i = 0; i < batch->range_count; i++)
		total += batch->range[i].count;
	if (batch->all || total > LOAM_TLB_SINGLES) {
		loam_tlb_broadcast_all(mmu);
	} else {
		for (uint32_t i = 0; i < batch->range_count; i++) {
			const struct loam_tlb_range *r = &batch->range[i];

			loam_tlb_broadcast(mmu, r->va, r->count, r->level, r->tables);
		}
	}
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
}

void loam_tlb_batch_release(struct loam_tlb_batch *batch, struct loam_pfn pfn, unsigned order)
{
	if (batch->release_count == LOAM_TLB_RELEASE)
		loam_tlb_batch_finish(batch);
	batch->release[batch->release_count++] =
		(struct loam_tlb_release){.pfn = pfn, .order = order};
}
