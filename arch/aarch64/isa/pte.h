/* SPDX-License-Identifier: MIT */
/*
 * Translation table descriptors of aarch64, 4 KiB granule, 48-bit and LPA2 52-bit: the pure half
 * of arch/mmu.h.
 *
 * Layout from the Arm ARM (DDI 0487), "VMSAv8-64 translation table format descriptors": stage 1.
 *
 *   bit 0      valid            bits 4:2  AttrIndx into MAIR_EL1
 *   bit 1      1: table above the last level, page at the last level; 0: block
 *   bit 6      AP[1]: EL0 may   bit 7     AP[2]: read-only
 *   bits 9:8   SH; with LPA2 (TCR_EL1.DS): output address bits 51:50, shareability from TCR
 *   bit 10     AF               bit 11    nG
 *   bit 51     DBM              bit 52    Contiguous
 *   bit 53     PXN              bit 54    UXN        bits 58:55  for software
 *
 * and of one that leads to a table: bit 62, APTable[1]: nothing below may be written. It counts unless
 * TCR_EL1.HPD1 says that it does not, which mmu->table_write knows.
 *
 * Output addresses: bits 47:12 as they are; with LPA2 bits 49:12 as they are, and 51:50 in SH.
 * DBM with AP[2] set means "writable, not dirty yet": FEAT_HAFDBS clears AP[2] on the first
 * write, and without it the write faults and software does; the encoding is the same.
 * Software bit 55 says of a read-only leaf that it was written before, and of a table entry what
 * mm/dirty.c notes there.
 * An invalid descriptor is free for software except for bit 0; its tag stands in bits 55 and 56.
 *
 * MAIR_EL1 as loam_mmu_cpu_init programs it: index 0 normal write-back, 1 normal non-cacheable
 * (write-combining), 2 normal non-cacheable again (uncached; Arm has no stronger normal type), 3
 * device nGnRnE.
 */
#ifndef LOAM_ISA_PTE_H
#define LOAM_ISA_PTE_H

#include "arch/mmu.h"

#define LOAM_ARM_VALID	    ((uint64_t)1 << 0)
#define LOAM_ARM_TABLE	    ((uint64_t)1 << 1) /* table, or page at level 0 */
#define LOAM_ARM_ATTR_SHIFT 2
#define LOAM_ARM_AP_EL0	    ((uint64_t)1 << 6)
#define LOAM_ARM_AP_RO	    ((uint64_t)1 << 7)
#define LOAM_ARM_SH_SHIFT   8
#define LOAM_ARM_SH_INNER   ((uint64_t)3 << LOAM_ARM_SH_SHIFT)
#define LOAM_ARM_AF	    ((uint64_t)1 << 10)
#define LOAM_ARM_NG	    ((uint64_t)1 << 11)
#define LOAM_ARM_DBM	    ((uint64_t)1 << 51)
#define LOAM_ARM_CONTIG	    ((uint64_t)1 << 52)
#define LOAM_ARM_PXN	    ((uint64_t)1 << 53)
#define LOAM_ARM_UXN	    ((uint64_t)1 << 54)
#define LOAM_ARM_NOTE	    ((uint64_t)1 << 55)
#define LOAM_ARM_TABLE_RO   ((uint64_t)1 << 62)
#define LOAM_ARM_TAG_SHIFT  55
#define LOAM_ARM_ADDR_48    UINT64_C(0x0000fffffffff000)
#define LOAM_ARM_ADDR_LPA2  UINT64_C(0x0003fffffffff000)

static inline uint64_t loam_arm_encode_pa(const struct loam_mmu *mmu, uint64_t pa)
{
	if (!mmu->lpa2)
		return pa & LOAM_ARM_ADDR_48;
	return (pa & LOAM_ARM_ADDR_LPA2) | ((pa >> 50) & 3) << LOAM_ARM_SH_SHIFT;
}

static inline uint64_t loam_pte_none(unsigned tag)
{
	return (uint64_t)(tag & 3) << LOAM_ARM_TAG_SHIFT;
}

static inline unsigned loam_pte_tag(uint64_t pte)
{
	return (unsigned)(pte >> LOAM_ARM_TAG_SHIFT) & 3;
}

static inline bool loam_pte_attr_ok(const struct loam_mmu *mmu, uint32_t attr, unsigned level)
{
	if ((attr & ~LOAM_ATTR_ALL) != 0)
		return false;
	if ((attr & LOAM_ATTR_WRITE) != 0 && (attr & LOAM_ATTR_EXEC) != 0)
		return false;
	/* runs of 16 exist at the two lowest levels of this granule */
	if ((attr & LOAM_ATTR_CONTIG) != 0 && (!mmu->contig || level > LOAM_LEVEL_HUGE))
		return false;
	return level < mmu->levels && ((mmu->leaf_mask >> level) & 1) != 0;
}

static inline uint64_t loam_pte_leaf(const struct loam_mmu *mmu, unsigned level,
				     struct loam_paddr pa, uint32_t attr)
{
	uint64_t pte = LOAM_ARM_VALID | loam_arm_encode_pa(mmu, pa.raw);
	uint64_t mem = (attr & LOAM_ATTR_MEM_MASK) / LOAM_ATTR_MEM_WC;

	pte |= mem << LOAM_ARM_ATTR_SHIFT;
	pte |= level == 0 ? LOAM_ARM_TABLE : 0;
	pte |= mmu->lpa2 ? 0 : LOAM_ARM_SH_INNER;
	pte |= (attr & LOAM_ATTR_USER) != 0 ? LOAM_ARM_AP_EL0 : 0;
	if ((attr & LOAM_ATTR_WRITE) != 0)
		pte |= LOAM_ARM_DBM | ((attr & LOAM_ATTR_DIRTY) == 0 ? LOAM_ARM_AP_RO : 0);
	else
		pte |= LOAM_ARM_AP_RO | ((attr & LOAM_ATTR_DIRTY) != 0 ? LOAM_ARM_NOTE : 0);
	pte |= (attr & LOAM_ATTR_ACCESSED) != 0 ? LOAM_ARM_AF : 0;
	pte |= mmu->global && (attr & LOAM_ATTR_USER) == 0 ? 0 : LOAM_ARM_NG;
	pte |= (attr & LOAM_ATTR_CONTIG) != 0 ? LOAM_ARM_CONTIG : 0;
	/* execute: the kernel its own memory, EL0 its own; nobody the other's */
	if ((attr & LOAM_ATTR_EXEC) == 0)
		pte |= LOAM_ARM_PXN | LOAM_ARM_UXN;
	else
		pte |= (attr & LOAM_ATTR_USER) != 0 ? LOAM_ARM_PXN : LOAM_ARM_UXN;
	return pte;
}

static inline uint64_t loam_pte_table(const struct loam_mmu *mmu, struct loam_paddr pa,
				      uint32_t attr)
{
	uint64_t pte = LOAM_ARM_VALID | LOAM_ARM_TABLE | loam_arm_encode_pa(mmu, pa.raw);

	pte |= (attr & LOAM_ATTR_WRITE) == 0 ? LOAM_ARM_TABLE_RO : 0;
	pte |= (attr & LOAM_ATTR_DIRTY) != 0 ? LOAM_ARM_NOTE : 0;
	return pte;
}

/* At level 0 "valid without bit 1" is a reserved encoding that the MMU treats as invalid; it is
 * no leaf, and we never write it. */
static inline enum loam_pte_kind loam_pte_kind(const struct loam_mmu *mmu, uint64_t pte,
					       unsigned level)
{
	(void)mmu;
	if ((pte & LOAM_ARM_VALID) == 0)
		return LOAM_PTE_NONE;
	if ((pte & LOAM_ARM_TABLE) != 0)
		return level == 0 ? LOAM_PTE_LEAF : LOAM_PTE_TABLE;
	return level == 0 ? LOAM_PTE_NONE : LOAM_PTE_LEAF;
}

static inline struct loam_paddr loam_pte_pa(const struct loam_mmu *mmu, uint64_t pte,
					    unsigned level)
{
	uint64_t addr;

	if (mmu->lpa2)
		addr = (pte & LOAM_ARM_ADDR_LPA2) | ((pte >> LOAM_ARM_SH_SHIFT) & 3) << 50;
	else
		addr = pte & LOAM_ARM_ADDR_48;
	if (loam_pte_kind(mmu, pte, level) == LOAM_PTE_LEAF)
		addr &= ~(loam_level_size(level) - 1);
	return loam_paddr(addr);
}

static inline uint32_t loam_pte_attr(const struct loam_mmu *mmu, uint64_t pte, unsigned level)
{
	uint32_t attr = (uint32_t)((pte >> LOAM_ARM_ATTR_SHIFT) & 3) * LOAM_ATTR_MEM_WC;
	uint64_t xn = (pte & LOAM_ARM_AP_EL0) != 0 ? LOAM_ARM_UXN : LOAM_ARM_PXN;

	(void)mmu;
	if (level > 0 && (pte & LOAM_ARM_TABLE) != 0)
		return ((pte & LOAM_ARM_TABLE_RO) == 0 ? LOAM_ATTR_WRITE : 0) |
		       ((pte & LOAM_ARM_NOTE) != 0 ? LOAM_ATTR_DIRTY : 0);
	attr |= (pte & LOAM_ARM_NOTE) != 0 ? LOAM_ATTR_DIRTY : 0;
	attr |= (pte & LOAM_ARM_DBM) != 0 ? LOAM_ATTR_WRITE : 0;
	attr |= (pte & LOAM_ARM_AP_RO) == 0 ? LOAM_ATTR_WRITE | LOAM_ATTR_DIRTY : 0;
	attr |= (pte & LOAM_ARM_AP_EL0) != 0 ? LOAM_ATTR_USER : 0;
	attr |= (pte & LOAM_ARM_AF) != 0 ? LOAM_ATTR_ACCESSED : 0;
	attr |= (pte & LOAM_ARM_CONTIG) != 0 ? LOAM_ATTR_CONTIG : 0;
	attr |= (pte & xn) == 0 ? LOAM_ATTR_EXEC : 0;
	return attr;
}

/*
 * Arm ARM, "Using break-before-make when updating translation table entries": a valid entry is
 * broken first when the size of what it maps, its output address, its memory type or its global
 * bit changes, and when the contiguous bit does (FEAT_BBM level 2 lifts the rule for sizes and
 * the contiguous bit). Access rights, AF and DBM may change in place.
 */
static inline enum loam_pte_change loam_pte_change(const struct loam_mmu *mmu, uint64_t old,
						   uint64_t pte, unsigned level)
{
	enum loam_pte_kind from = loam_pte_kind(mmu, old, level);
	enum loam_pte_kind to = loam_pte_kind(mmu, pte, level);
	uint64_t differs = old ^ pte;

	if ((pte & LOAM_ARM_VALID) != 0 && to == LOAM_PTE_NONE)
		return LOAM_PTE_FORBIDDEN;
	if (to == LOAM_PTE_LEAF && !loam_pte_attr_ok(mmu, loam_pte_attr(mmu, pte, level), level))
		return LOAM_PTE_FORBIDDEN;
	if (from == LOAM_PTE_NONE || to == LOAM_PTE_NONE || old == pte)
		return LOAM_PTE_IN_PLACE;
	if (from != to || loam_pte_pa(mmu, old, level).raw != loam_pte_pa(mmu, pte, level).raw)
		return LOAM_PTE_BREAK;
	if (to == LOAM_PTE_LEAF &&
	    (differs & (((uint64_t)7 << LOAM_ARM_ATTR_SHIFT) | LOAM_ARM_NG)) != 0)
		return LOAM_PTE_BREAK;
	if (to == LOAM_PTE_LEAF && (differs & LOAM_ARM_CONTIG) != 0 && !mmu->bbm2)
		return LOAM_PTE_BREAK;
	return LOAM_PTE_IN_PLACE;
}

#endif
