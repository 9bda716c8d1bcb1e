/* SPDX-License-Identifier: MIT */
/*
 * Page-table entries of x86_64, 4-level and 5-level (LA57) paging: the pure half of arch/mmu.h.
 *
 * Layout from the Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging", tables "Format of
 * a Page-Table Entry ..." and "Format of a Page-Directory Entry that Maps a 2-MByte Page".
 * A not-present entry is free for software except for bit 0; its tag stands in bits 9 and 10
 * and its address bits are zero, so that a speculative read (L1TF) finds nothing of anybody's.
 *
 * Memory types index the PAT as loam_mmu_cpu_init programs it: entry 0 write-back, 1
 * write-combining, 2 uncached-minus, 3 uncacheable. Entries 4 to 7 repeat them, so the PAT bit
 * is never needed.
 */
#ifndef LOAM_ISA_PTE_H
#define LOAM_ISA_PTE_H

#include "arch/mmu.h"

#define LOAM_X86_P	   ((uint64_t)1 << 0)  /* present */
#define LOAM_X86_RW	   ((uint64_t)1 << 1)  /* writable */
#define LOAM_X86_US	   ((uint64_t)1 << 2)  /* user */
#define LOAM_X86_PWT	   ((uint64_t)1 << 3)  /* PAT index bit 0 */
#define LOAM_X86_PCD	   ((uint64_t)1 << 4)  /* PAT index bit 1 */
#define LOAM_X86_A	   ((uint64_t)1 << 5)  /* accessed */
#define LOAM_X86_D	   ((uint64_t)1 << 6)  /* dirty */
#define LOAM_X86_PS	   ((uint64_t)1 << 7)  /* page size: a leaf above level 0 */
#define LOAM_X86_G	   ((uint64_t)1 << 8)  /* global */
#define LOAM_X86_TAG_SHIFT 9		       /* software bits 9 and 10 of a not-present entry */
#define LOAM_X86_UNTOLD	   ((uint64_t)1 << 9)  /* software: of an entry that leads to a table */
#define LOAM_X86_XD	   ((uint64_t)1 << 63) /* execute disable */
#define LOAM_X86_ADDR	   UINT64_C(0x000ffffffffff000)
#define LOAM_X86_PAT_LARGE ((uint64_t)1 << 12) /* PAT bit of a large leaf; never set by us */

static inline uint64_t loam_pte_none(unsigned tag)
{
	return (uint64_t)(tag & 3) << LOAM_X86_TAG_SHIFT;
}

static inline unsigned loam_pte_tag(uint64_t pte)
{
	return (unsigned)(pte >> LOAM_X86_TAG_SHIFT) & 3;
}

/* W+X is refused everywhere; so is what this CPU cannot express. Only Arm has the contiguous hint. */
static inline bool loam_pte_attr_ok(const struct loam_mmu *mmu, uint32_t attr, unsigned level)
{
	if ((attr & ~LOAM_ATTR_ALL) != 0 || (attr & LOAM_ATTR_CONTIG) != 0)
		return false;
	if ((attr & LOAM_ATTR_WRITE) != 0 && (attr & LOAM_ATTR_EXEC) != 0)
		return false;
	return level < mmu->levels && ((mmu->leaf_mask >> level) & 1) != 0;
}

static inline uint64_t loam_pte_leaf(const struct loam_mmu *mmu, unsigned level,
				     struct loam_paddr pa, uint32_t attr)
{
	uint64_t pte = LOAM_X86_P | (pa.raw & LOAM_X86_ADDR);

	pte |= (attr & LOAM_ATTR_WRITE) != 0 ? LOAM_X86_RW : 0;
	pte |= (attr & LOAM_ATTR_USER) != 0 ? LOAM_X86_US : 0;
	pte |= (attr & LOAM_ATTR_ACCESSED) != 0 ? LOAM_X86_A : 0;
	pte |= (attr & LOAM_ATTR_DIRTY) != 0 ? LOAM_X86_D : 0;
	pte |= (attr & LOAM_ATTR_MEM_WC) != 0 ? LOAM_X86_PWT : 0;
	pte |= (attr & LOAM_ATTR_MEM_UC) != 0 ? LOAM_X86_PCD : 0;
	pte |= level > 0 ? LOAM_X86_PS : 0;
	pte |= mmu->global && (attr & LOAM_ATTR_USER) == 0 ? LOAM_X86_G : 0;
	pte |= mmu->nx && (attr & LOAM_ATTR_EXEC) == 0 ? LOAM_X86_XD : 0;
	return pte;
}

/*
 * A table entry grants everything but, perhaps, writing: with R/W clear nothing below may be written,
 * whatever the leaves say, by the kernel too because CR0.WP is set (SDM volume 3A, "Determination of
 * Access Rights"). A note is kept in bit 9, which the CPU ignores.
 */
static inline uint64_t loam_pte_table(const struct loam_mmu *mmu, struct loam_paddr pa,
				      uint32_t attr)
{
	uint64_t pte = LOAM_X86_P | LOAM_X86_US | LOAM_X86_A | (pa.raw & LOAM_X86_ADDR);

	(void)mmu;
	pte |= (attr & LOAM_ATTR_WRITE) != 0 ? LOAM_X86_RW : 0;
	pte |= (attr & LOAM_ATTR_DIRTY) != 0 ? LOAM_X86_UNTOLD : 0;
	return pte;
}

static inline enum loam_pte_kind loam_pte_kind(const struct loam_mmu *mmu, uint64_t pte,
					       unsigned level)
{
	(void)mmu;
	if ((pte & LOAM_X86_P) == 0)
		return LOAM_PTE_NONE;
	return level == 0 || (pte & LOAM_X86_PS) != 0 ? LOAM_PTE_LEAF : LOAM_PTE_TABLE;
}

static inline struct loam_paddr loam_pte_pa(const struct loam_mmu *mmu, uint64_t pte,
					    unsigned level)
{
	uint64_t addr = pte & LOAM_X86_ADDR;

	if (loam_pte_kind(mmu, pte, level) == LOAM_PTE_LEAF)
		addr &= ~(loam_level_size(level) - 1); /* drops the PAT bit of a large leaf */
	return loam_paddr(addr);
}

static inline uint32_t loam_pte_attr(const struct loam_mmu *mmu, uint64_t pte, unsigned level)
{
	uint32_t attr = (pte & LOAM_X86_RW) != 0 ? LOAM_ATTR_WRITE : 0;

	if (level > 0 && (pte & LOAM_X86_PS) == 0)
		return attr | ((pte & LOAM_X86_UNTOLD) != 0 ? LOAM_ATTR_DIRTY : 0);
	attr |= (pte & LOAM_X86_US) != 0 ? LOAM_ATTR_USER : 0;
	attr |= (pte & LOAM_X86_A) != 0 ? LOAM_ATTR_ACCESSED : 0;
	attr |= (pte & LOAM_X86_D) != 0 ? LOAM_ATTR_DIRTY : 0;
	attr |= (pte & LOAM_X86_PWT) != 0 ? LOAM_ATTR_MEM_WC : 0;
	attr |= (pte & LOAM_X86_PCD) != 0 ? LOAM_ATTR_MEM_UC : 0;
	attr |= mmu->nx && (pte & LOAM_X86_XD) == 0 ? LOAM_ATTR_EXEC : 0;
	return attr;
}

/*
 * x86_64 lets software change a present entry in place and invalidate afterwards. Two changes
 * are broken first all the same: table to leaf and back, because a CPU may otherwise hold two
 * sizes for one address at once (a machine check on some: the "page size change" errata; SDM
 * volume 3A, "Propagation of Paging-Structure Changes"); and a changed address, because a
 * write through the stale entry would be lost with nobody to blame.
 */
static inline enum loam_pte_change loam_pte_change(const struct loam_mmu *mmu, uint64_t old,
						   uint64_t pte, unsigned level)
{
	enum loam_pte_kind from = loam_pte_kind(mmu, old, level);
	enum loam_pte_kind to = loam_pte_kind(mmu, pte, level);

	if (to == LOAM_PTE_LEAF && !loam_pte_attr_ok(mmu, loam_pte_attr(mmu, pte, level), level))
		return LOAM_PTE_FORBIDDEN;
	if (to == LOAM_PTE_TABLE && level == 0)
		return LOAM_PTE_FORBIDDEN;
	if (from == LOAM_PTE_NONE || to == LOAM_PTE_NONE || old == pte)
		return LOAM_PTE_IN_PLACE;
	if (from != to || loam_pte_pa(mmu, old, level).raw != loam_pte_pa(mmu, pte, level).raw)
		return LOAM_PTE_BREAK;
	if (to == LOAM_PTE_LEAF &&
	    ((loam_pte_attr(mmu, old, level) ^ loam_pte_attr(mmu, pte, level)) &
	     LOAM_ATTR_MEM_MASK) != 0)
		return LOAM_PTE_BREAK;
	return LOAM_PTE_IN_PLACE;
}

#endif
