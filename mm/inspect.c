/* SPDX-License-Identifier: MIT */
/* Looking at page tables, for verifiers, tests and the fatal report: mm/ptab.h. Nothing here changes them. */
#include "arch/check.h"
#include "mm/contig.h"
#include "mm/print.h"
#include "mm/ptab.h"

static void verify_slot(const struct loam_ptab *pt, const struct loam_ptab_slot *slot)
{
	if (slot->kind == LOAM_PTE_LEAF) {
		uint64_t pa = loam_pte_pa(pt->mmu, slot->pte, slot->level).raw;
		uint64_t size = loam_level_size(slot->level);

		LOAM_CHECK(loam_pte_attr_ok(pt->mmu, loam_pte_attr(pt->mmu, slot->pte, slot->level),
					    slot->level),
			   "[PTAB-1] leaf with attributes or at a level the CPU cannot do");
		LOAM_CHECK(loam_is_aligned(pa, size) && loam_mmu_pa_ok(pt->mmu, pa, size),
			   "[PTAB-2] leaf address misaligned or beyond the CPU");
		loam_contig_verify(pt, slot);
	} else if (slot->level > 0) {
		LOAM_CHECK(slot->pte == 0, "[PTAB-3] none above level 0 is not zero");
	} else {
		LOAM_CHECK(slot->pte == loam_pte_none(loam_pte_tag(slot->pte)),
			   "[PTAB-3] none carries more than a tag");
	}
}

void loam_ptab_verify(const struct loam_ptab *pt, uint64_t va_min, uint64_t va_max)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(pt, va_min, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		verify_slot(pt, &slot);
		/* only a table below those at the root must hold something */
		if (slot.index == 0 && slot.level + 2u < pt->mmu->levels)
			LOAM_CHECK(!loam_ptab_is_empty(slot.table), "[PTAB-4] empty table");
		if (loam_ptab_slot_last(&slot) >= va_max)
			break;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
}

size_t loam_ptab_table_count(const struct loam_ptab *pt, uint64_t va_min, uint64_t va_max)
{
	struct loam_ptab_slot slot;
	size_t count = 0;

	for (unsigned level = 1; level < pt->mmu->levels; level++) {
		loam_ptab_walk(pt, va_min, level, &slot);
		for (;;) {
			count += slot.kind == LOAM_PTE_TABLE;
			if (loam_ptab_slot_last(&slot) >= va_max)
				break;
			loam_ptab_next(pt, level, &slot);
		}
	}
	return count;
}

void loam_ptab_dump_walk(const struct loam_ptab *pt, uint64_t va)
{
	static const char *const size_name[] = {"4 KiB", "2 MiB", "1 GiB", "512 GiB", "256 TiB"};
	struct loam_ptab_slot slot;

	if (va < pt->mmu->va_min)
		loam_log(LOAM_LOG_ERROR, "  the address is not in the kernel half\n");
	for (unsigned level = pt->mmu->levels; va >= pt->mmu->va_min && level-- > 0;) {
		loam_ptab_walk(pt, va, level, &slot);
		if (slot.level != level)
			return;
		loam_log(LOAM_LOG_ERROR, "  level %u  table %#012llx[%3u] = %#018llx  ", level,
			 (unsigned long long)slot.table.raw, slot.index,
			 (unsigned long long)slot.pte);
		if (slot.kind == LOAM_PTE_TABLE) {
			loam_log(LOAM_LOG_ERROR, "table\n");
		} else if (slot.kind == LOAM_PTE_NONE) {
			loam_log(LOAM_LOG_ERROR, "not present%s\n",
				 level == 0 && loam_pte_tag(slot.pte) == LOAM_TAG_PREPARED
					 ? ", Prepared"
					 : "");
		} else {
			uint32_t attr = loam_pte_attr(pt->mmu, slot.pte, level);

			loam_log(LOAM_LOG_ERROR, "%s leaf at %#llx r%c%c%s%s%s\n", size_name[level],
				 (unsigned long long)loam_pte_pa(pt->mmu, slot.pte, level).raw,
				 (attr & LOAM_ATTR_WRITE) != 0 ? 'w' : '-',
				 (attr & LOAM_ATTR_EXEC) != 0 ? 'x' : '-',
				 (attr & LOAM_ATTR_USER) != 0 ? " user" : "",
				 (attr & LOAM_ATTR_DIRTY) != 0 ? " dirty" : "",
				 (attr & LOAM_ATTR_CONTIG) != 0 ? " contiguous" : "");
		}
	}
}
