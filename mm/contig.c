/* SPDX-License-Identifier: MIT */
/*
 * Contiguous runs of aarch64: 16 leaves of level 0 (64 KiB) or level 1 (32 MiB) that carry the
 * contiguous hint, so that a TLB may hold all of them in one entry (Arm ARM DDI 0487, "The
 * Contiguous bit"). On x86_64 mmu->contig is false and nothing here does anything.
 *
 *   [PTAB-5] All 16 leaves of a run carry the hint, map memory that is as contiguous and as
 *            aligned as the run, and agree in everything but the accessed and dirty bits.
 *
 * Runs are made where 16 empty entries are filled at once (mm/ptab.c, mm/commit.c): none to valid
 * needs no break. They are unmade before a part of one changes. A walk may note an access or a write
 * in any entry of a run, so what is known of one is known of all, and unfolding gives it to all.
 *
 * Unfolding changes the hint of a live entry, which is break-before-make, unless the CPU has FEAT_BBM
 * level 2: there it may change in place. A TLB entry for the run stays right in all but one thing: once it
 * says "written", writes to any of its pages are noted nowhere. So it is invalidated after the
 * change, and what was noted in one leaf until then is given to all. What
 * level 2 allows besides is a TLB conflict abort, which loam_fault_handle mends.
 */
#include "mm/contig.h"

#include "arch/check.h"
#include "arch/cpu.h"

#define NOTED (LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY)

/* Index of the first entry of the run that entry `index` would be in. */
static unsigned first_of(unsigned index)
{
	return index & ~(LOAM_CONTIG_ENTRIES - 1);
}

bool loam_contig_fits(const struct loam_ptab *pt, const struct loam_ptab_slot *slot,
		      struct loam_paddr pa, uint32_t attr)
{
	if (!pt->mmu->contig || first_of(slot->index) != slot->index ||
	    !loam_pte_attr_ok(pt->mmu, attr | LOAM_ATTR_CONTIG, slot->level) ||
	    !loam_is_aligned(pa.raw, LOAM_CONTIG_ENTRIES * loam_level_size(slot->level)))
		return false;
	for (unsigned i = 0; i < LOAM_CONTIG_ENTRIES; i++) {
		uint64_t pte = loam_pt_load(slot->table, slot->index + i);

		if (loam_pte_kind(pt->mmu, pte, slot->level) != LOAM_PTE_NONE)
			return false;
	}
	return true;
}

bool loam_contig_is(const struct loam_ptab *pt, const struct loam_ptab_slot *slot)
{
	return pt->mmu->contig && slot->kind == LOAM_PTE_LEAF &&
	       (loam_pte_attr(pt->mmu, slot->pte, slot->level) & LOAM_ATTR_CONTIG) != 0;
}

uint32_t loam_contig_noted(const struct loam_ptab *pt, const struct loam_ptab_slot *slot)
{
	uint32_t attr = loam_pte_attr(pt->mmu, slot->pte, slot->level);

	for (unsigned i = 0; loam_contig_is(pt, slot) && i < LOAM_CONTIG_ENTRIES; i++)
		attr |= loam_pte_attr(pt->mmu, loam_pt_load(slot->table, first_of(slot->index) + i),
				      slot->level);
	return attr & NOTED;
}

/* What is `noted`, or in one of 16 leaves, is in all of them. Nobody clears anything meanwhile. */
static void note_all(const struct loam_ptab *pt, struct loam_paddr table, unsigned first,
		     unsigned level, uint32_t noted)
{
	for (unsigned i = first; i < first + LOAM_CONTIG_ENTRIES; i++)
		noted |= loam_pte_attr(pt->mmu, loam_pt_load(table, i), level) & NOTED;
	for (unsigned i = first; i < first + LOAM_CONTIG_ENTRIES;) {
		uint64_t pte = loam_pt_load(table, i);
		uint32_t attr = loam_pte_attr(pt->mmu, pte, level);
		uint64_t all = loam_pte_leaf(pt->mmu, level, loam_pte_pa(pt->mmu, pte, level),
					     attr | noted);

		/* hardware may be noting more */
		if (pte == all || loam_pt_cas(table, i, pte, all))
			i++;
	}
	loam_pt_publish(pt->mmu);
}

void loam_contig_unfold(const struct loam_ptab *pt, struct loam_ptab_slot *slot)
{
	unsigned first = first_of(slot->index), level = slot->level;
	uint64_t size = loam_level_size(level), va = slot->va - (slot->index - first) * size;
	uint64_t old[LOAM_CONTIG_ENTRIES];
	uint32_t noted = 0;

	if (!loam_contig_is(pt, slot))
		return;
	/* break-before-make on the memory we run on would be the end */
	LOAM_CHECK(pt->mmu->bbm2 || loam_cpu_sp() - va >= LOAM_CONTIG_ENTRIES * size,
		   "the running stack lies on a contiguous run that must be unfolded");
	if (!pt->mmu->bbm2)
		loam_ptab_break_begin();
	for (unsigned i = 0; i < LOAM_CONTIG_ENTRIES; i++) {
		old[i] = pt->mmu->bbm2 ? loam_pt_load(slot->table, first + i)
				       : loam_pt_swap(slot->table, first + i,
						      loam_pte_none(LOAM_TAG_NONE));
		noted |= loam_pte_attr(pt->mmu, old[i], level) & NOTED;
	}
	if (!pt->mmu->bbm2)
		loam_tlb_everywhere(pt->mmu, va, LOAM_CONTIG_ENTRIES, level, false);
	for (unsigned i = 0; i < LOAM_CONTIG_ENTRIES; i++) {
		uint32_t attr = loam_pte_attr(pt->mmu, old[i], level) & ~LOAM_ATTR_CONTIG;
		struct loam_paddr pa = loam_pte_pa(pt->mmu, old[i], level);
		uint64_t pte = loam_pte_leaf(pt->mmu, level, pa, attr | noted);

		if (pt->mmu->bbm2)
			noted |= loam_pte_attr(pt->mmu, loam_pt_swap(slot->table, first + i, pte),
					       level) &
				 NOTED;
		else
			loam_pt_store(slot->table, first + i, pte);
	}
	loam_pt_publish(pt->mmu);
	if (pt->mmu->bbm2) {
		loam_tlb_everywhere(pt->mmu, va, LOAM_CONTIG_ENTRIES, level, false);
		note_all(pt, slot->table, first, level, noted);
	} else {
		loam_ptab_break_end();
	}
	slot->pte = loam_pt_load(slot->table, slot->index);
}

void loam_contig_cut(const struct loam_ptab *pt, uint64_t va)
{
	struct loam_ptab_slot slot;

	if (!pt->mmu->contig)
		return;
	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, &slot);
	if (va != slot.va || first_of(slot.index) != slot.index)
		loam_contig_unfold(pt, &slot);
}

void loam_contig_verify(const struct loam_ptab *pt, const struct loam_ptab_slot *slot)
{
	unsigned first = first_of(slot->index), level = slot->level;
	uint64_t size = loam_level_size(level), pa;
	uint32_t attr;

	if (!loam_contig_is(pt, slot))
		return;
	attr = loam_pte_attr(pt->mmu, slot->pte, level) & ~NOTED;
	pa = loam_pte_pa(pt->mmu, slot->pte, level).raw - (slot->index - first) * size;
	LOAM_CHECK(loam_is_aligned(pa, LOAM_CONTIG_ENTRIES * size), "[PTAB-5] run misaligned");
	for (unsigned i = 0; i < LOAM_CONTIG_ENTRIES; i++) {
		uint64_t pte = loam_pt_load(slot->table, first + i);

		LOAM_CHECK(loam_pte_kind(pt->mmu, pte, level) == LOAM_PTE_LEAF &&
				   (loam_pte_attr(pt->mmu, pte, level) & ~NOTED) == attr &&
				   loam_pte_pa(pt->mmu, pte, level).raw == pa + i * size,
			   "[PTAB-5] leaves of a contiguous run differ");
	}
}
