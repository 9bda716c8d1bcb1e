/* SPDX-License-Identifier: MIT */
/*
 * Invalidation batches: entries are cleared first, invalidated together, and only then do the
 * frames and tables behind them go back. The theory stands in tlb.c.
 */
#ifndef LOAM_MM_TLB_H
#define LOAM_MM_TLB_H

#include "arch/mmu.h"
#include "mm/frame.h"

#define LOAM_TLB_RANGES	 16u
#define LOAM_TLB_RELEASE 64u

struct loam_tlb_range {
	uint64_t va;
	uint64_t count; /* entries of `level` */
	uint8_t level;
	bool tables; /* cached tables above the entries are stale too */
};

struct loam_tlb_release {
	struct loam_pfn pfn;
	unsigned order;
};

struct loam_tlb_batch {
	const struct loam_mmu *mmu;
	uint32_t range_count;
	uint32_t release_count;
	bool all; /* too many ranges: invalidate everything */
	struct loam_tlb_range range[LOAM_TLB_RANGES];
	struct loam_tlb_release release[LOAM_TLB_RELEASE]; /* runs of several frames */
	struct loam_frame_list singles;			   /* single frames, any number */
};

/*
 * Every CPU that is online forgets `count` entries of `level` from `va` on (or everything), before
 * this returns: in hardware where that can be, else by interrupting the others. Context: space
 * lock held.
 */
void loam_tlb_everywhere(const struct loam_mmu *mmu, uint64_t va, uint64_t count, unsigned level,
			 bool tables);
void loam_tlb_everywhere_all(const struct loam_mmu *mmu);

/* CPU `cpu`, which runs this, takes part from now on, or no more. Context: space lock held. */
void loam_tlb_join(const struct loam_mmu *mmu, unsigned cpu);
void loam_tlb_leave(unsigned cpu);
bool loam_tlb_has(unsigned cpu);
/* Nobody is online: for tests that init again. */
void loam_tlb_reset(void);

void loam_tlb_batch_init(struct loam_tlb_batch *batch, const struct loam_mmu *mmu);

/* `count` entries of `level` from `va` on were cleared or lost rights. */
void loam_tlb_batch_add(struct loam_tlb_batch *batch, uint64_t va, uint64_t count, unsigned level,
			bool tables);

/* More than ranges can tell. */
void loam_tlb_batch_add_all(struct loam_tlb_batch *batch);

/* These 2^order frames (a leaf's, or a table) go back once the batch is through; flushes when the
 * queue is full, so all invalidations for them must have been added before. */
void loam_tlb_batch_release(struct loam_tlb_batch *batch, struct loam_pfn pfn, unsigned order);

/* Invalidate on every CPU that may hold a stale entry, then release what is queued. */
void loam_tlb_batch_finish(struct loam_tlb_batch *batch);

#endif
