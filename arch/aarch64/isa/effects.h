/* SPDX-License-Identifier: MIT */
/*
 * What touches the MMU of aarch64 (EL1, TTBR1). Contract: arch/mmu.h.
 *
 * Ordering (Arm ARM, "TLB maintenance" and "Ordering of translation table walks"): a store to
 * a descriptor is seen by a later walk only after a DSB, and by this CPU's own instruction
 * stream only after an ISB behind it, also when the entry was invalid before. An invalidation
 * is TLBI, then DSB to wait until every CPU has done it, then ISB; a DSB before it makes sure
 * that the cleared entry is what any later walk reads.
 *
 * Operands: VA[55:12] in bits 43:0 whatever the granule; bits 63:48 are the ASID and bits 47:44
 * the level hint, both 0: any ASID (the VAA forms), no hint.
 */
#ifndef LOAM_ISA_EFFECTS_H
#define LOAM_ISA_EFFECTS_H

#include "arch/mmu.h"

extern uintptr_t loam_direct_map_offset; /* boot only */

/* Beyond this many single invalidations a whole flush is cheaper (measured under emulation). */
#define LOAM_TLB_SINGLES 7u

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
 * partner: the page walk, which is ordered by its address dependency */
static inline void loam_pt_store(struct loam_paddr table, unsigned index, uint64_t pte)
{
	__atomic_store_n(loam_pt_slot(table, index), pte, __ATOMIC_RELEASE);
}

/* acq_rel: an exclusive exchange, so no AF or dirty state that a walk sets meanwhile is lost */
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
	__asm__ volatile("dsb ishst; isb" : : : "memory");
}

static inline uint64_t loam_tlbi_operand(uint64_t va)
{
	return (va >> LOAM_PAGE_SHIFT) & ((UINT64_C(1) << 44) - 1);
}

static inline void loam_tlb_local_all(const struct loam_mmu *mmu)
{
	(void)mmu;
	__asm__ volatile("dsb nshst; tlbi vmalle1; dsb nsh; isb" : : : "memory");
}

static inline void loam_tlb_broadcast_all(const struct loam_mmu *mmu)
{
	(void)mmu;
	__asm__ volatile("dsb ishst; tlbi vmalle1is; dsb ish; isb" : : : "memory");
}

/* VAALE1: leaves only; VAAE1: cached tables on the way to the address too. */
static inline void loam_tlb_local(const struct loam_mmu *mmu, uint64_t va, uint64_t count,
				  unsigned level, bool tables)
{
	if (count > LOAM_TLB_SINGLES) {
		loam_tlb_local_all(mmu);
		return;
	}
	__asm__ volatile("dsb nshst" : : : "memory");
	for (; count > 0; count--, va += loam_level_size(level)) {
		if (tables)
			__asm__ volatile("tlbi vaae1, %0" : : "r"(loam_tlbi_operand(va)));
		else
			__asm__ volatile("tlbi vaale1, %0" : : "r"(loam_tlbi_operand(va)));
	}
	__asm__ volatile("dsb nsh; isb" : : : "memory");
}

static inline void loam_tlb_broadcast(const struct loam_mmu *mmu, uint64_t va, uint64_t count,
				      unsigned level, bool tables)
{
	if (count > LOAM_TLB_SINGLES) {
		loam_tlb_broadcast_all(mmu);
		return;
	}
	__asm__ volatile("dsb ishst" : : : "memory");
	for (; count > 0; count--, va += loam_level_size(level)) {
		if (tables)
			__asm__ volatile("tlbi vaae1is, %0" : : "r"(loam_tlbi_operand(va)));
		else
			__asm__ volatile("tlbi vaale1is, %0" : : "r"(loam_tlbi_operand(va)));
	}
	__asm__ volatile("dsb ish; isb" : : : "memory");
}

#endif
