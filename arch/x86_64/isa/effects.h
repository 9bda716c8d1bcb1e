/* SPDX-License-Identifier: MIT */
/*
 * What touches the MMU of x86_64. Contract: arch/mmu.h.
 *
 * Ordering: stores are seen in program order by other CPUs and by page walks, and a walk that
 * finds an entry not present caches nothing of it, so publishing needs no instruction (SDM
 * volume 3A, "Details of TLB Use": only present translations are cached; "Propagation of
 * Paging-Structure Changes": no invalidation after a change from not present).
 */
#ifndef LOAM_ISA_EFFECTS_H
#define LOAM_ISA_EFFECTS_H

#include "arch/mmu.h"

extern uintptr_t loam_direct_map_offset; /* boot only */

/* Beyond this many single invalidations a whole flush is cheaper (measured under emulation). */
#define LOAM_TLB_SINGLES 10u

#define LOAM_X86_CR4_PCIDE ((uint64_t)1 << 17)

static inline void *loam_frame_ptr(struct loam_paddr pa)
{
	return (void *)(uintptr_t)(pa.raw + loam_direct_map_offset);
}

static inline uint64_t *loam_pt_slot(struct loam_paddr table, unsigned index)
{
	return (uint64_t *)loam_frame_ptr(table) + index;
}

/* relaxed: single-copy atomic; order comes from loam_pt_publish and from invalidations */
static inline uint64_t loam_pt_load(struct loam_paddr table, unsigned index)
{
	return __atomic_load_n(loam_pt_slot(table, index), __ATOMIC_RELAXED);
}

/* release: the contents of a new table or frame are visible before the entry that leads there;
 * partner: the page walk */
static inline void loam_pt_store(struct loam_paddr table, unsigned index, uint64_t pte)
{
	__atomic_store_n(loam_pt_slot(table, index), pte, __ATOMIC_RELEASE);
}

/* acq_rel: a locked exchange, so no A or D bit that a walk sets meanwhile is lost */
static inline uint64_t loam_pt_swap(struct loam_paddr table, unsigned index, uint64_t pte)
{
	return __atomic_exchange_n(loam_pt_slot(table, index), pte, __ATOMIC_ACQ_REL);
}

/* acq_rel as the exchange; on failure nothing was read that anything hangs on */
static inline bool loam_pt_cas(struct loam_paddr table, unsigned index, uint64_t old, uint64_t pte)
{
	return __atomic_compare_exchange_n(loam_pt_slot(table, index), &old, pte, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline void loam_pt_publish(const struct loam_mmu *mmu)
{
	(void)mmu;
	__asm__ volatile("" : : : "memory");
}

static inline void loam_tlb_invlpg(uint64_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

/*
 * A write to CR3 flushes everything but global entries; toggling CR4.PGE flushes those too
 * (SDM volume 3A, "Operations that Invalidate TLBs and Paging-Structure Caches").
 */
static inline void loam_tlb_local_all(const struct loam_mmu *mmu)
{
	uint64_t cr;

	if (mmu->global) {
		__asm__ volatile("movq %%cr4, %0" : "=r"(cr));
		__asm__ volatile("movq %0, %%cr4" : : "r"(cr & ~UINT64_C(0x80)) : "memory");
		__asm__ volatile("movq %0, %%cr4" : : "r"(cr) : "memory");
	} else {
		__asm__ volatile("movq %%cr3, %0" : "=r"(cr));
		__asm__ volatile("movq %0, %%cr3" : : "r"(cr) : "memory");
	}
}

/*
 * INVLPG drops the leaf for its address, whatever its size, and all paging-structure-cache
 * entries, so `tables` costs nothing extra (same section). But with CR4.PCIDE the latter are only those of the
 * current PCID, and the table may be reached by another: then all goes. (Leaves are global, and so go anyway.) The
 * host may set PCIDE at any time, so the register itself is asked.
 */
static inline void loam_tlb_local(const struct loam_mmu *mmu, uint64_t va, uint64_t count,
				  unsigned level, bool tables)
{
	uint64_t cr4 = 0;

	if (tables)
		__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	if (count > LOAM_TLB_SINGLES || (cr4 & LOAM_X86_CR4_PCIDE) != 0) {
		loam_tlb_local_all(mmu);
		return;
	}
	for (; count > 0; count--, va += loam_level_size(level))
		loam_tlb_invlpg(va);
}

/* No broadcast in hardware: mmu->broadcast is false, and the caller sends IPIs. */
static inline void loam_tlb_broadcast(const struct loam_mmu *mmu, uint64_t va, uint64_t count,
				      unsigned level, bool tables)
{
	loam_tlb_local(mmu, va, count, level, tables);
}

static inline void loam_tlb_broadcast_all(const struct loam_mmu *mmu)
{
	loam_tlb_local_all(mmu);
}

#endif
