/* SPDX-License-Identifier: MIT */
/* What must hold on the fake machine when an operation has returned, or frees a frame. Theory: fake.c. */
#include "tests/fake/machine.h"

#include "mm/frame.h"

/* The leaf that the tables hold for `va`, or a none; `*attr`: with what is noted of all its run. */
static uint64_t true_leaf(uint64_t va, unsigned *level, uint32_t *attr, bool *closed)
{
	uint64_t table = fake_root().raw, pte;
	unsigned index;

	*closed = false;
	for (*level = fake_mmu()->levels - 1u;; --*level) {
		index = loam_pt_index(fake_mmu(), va, *level);
		pte = *fake_entry(table + index * 8);
		if (loam_pte_kind(fake_mmu(), pte, *level) != LOAM_PTE_TABLE)
			break;
		*closed |= (loam_pte_attr(fake_mmu(), pte, *level) & LOAM_ATTR_WRITE) == 0;
		table = loam_pte_pa(fake_mmu(), pte, *level).raw;
	}
	*attr = loam_pte_attr(fake_mmu(), pte, *level);
	if (fake_mmu()->contig && (*attr & LOAM_ATTR_CONTIG) != 0) {
		for (unsigned i = index & ~15u; i < (index | 15u) + 1; i++)
			*attr |= loam_pte_attr(fake_mmu(), *fake_entry(table + i * 8), *level);
	}
	return pte;
}

static void check_tlb_entry(unsigned cpu, const struct fake_tlb *e)
{
	const uint32_t rights = LOAM_ATTR_WRITE | LOAM_ATTR_EXEC | LOAM_ATTR_USER | LOAM_ATTR_DIRTY;

	for (uint64_t at = 0; at < e->size; at += loam_level_size(e->level)) {
		uint32_t attr;
		unsigned level;
		bool closed;
		uint64_t pte = true_leaf(e->va + at, &level, &attr, &closed);

		if (loam_pte_kind(fake_mmu(), pte, level) != LOAM_PTE_LEAF)
			fake_violation("CPU %u still maps %#llx, which is unmapped", cpu,
				       (unsigned long long)(e->va + at));
		if (level != e->level || loam_pte_pa(fake_mmu(), pte, level).raw != e->pa + at)
			fake_violation("CPU %u maps %#llx to where it was", cpu,
				       (unsigned long long)(e->va + at));
		if ((e->attr & ~attr & rights) != 0 ||
		    (closed && !e->closed && (e->attr & LOAM_ATTR_WRITE) != 0))
			fake_violation("CPU %u has rights to %#llx that are gone", cpu,
				       (unsigned long long)(e->va + at));
	}
}

/* Does the table entry of `level` for `va`, or one above it, forbid writing? */
static bool is_closed(uint64_t va, unsigned level)
{
	uint64_t table = fake_root().raw, pte;
	bool closed = false;

	for (unsigned l = fake_mmu()->levels - 1u; l >= level; l--) {
		pte = *fake_entry(table + loam_pt_index(fake_mmu(), va, l) * 8);
		closed |= (loam_pte_attr(fake_mmu(), pte, l) & LOAM_ATTR_WRITE) == 0;
		table = loam_pte_pa(fake_mmu(), pte, l).raw;
	}
	return closed;
}

void fake_settled(void)
{
	uint64_t pa;

	if (fake_unpublished(&pa))
		fake_violation("a store to the entry at %#llx was never published",
			       (unsigned long long)pa);
	for (unsigned c = 0; c < fake_cpu_count(); c++) {
		for (unsigned i = 0; i < fake_cpu[c].tlb_count; i++)
			check_tlb_entry(c, &fake_cpu[c].tlb[i]);
		for (unsigned i = 0; i < fake_cpu[c].walk_count; i++) {
			const struct fake_walk *w = &fake_cpu[c].walk[i];
			const struct fake_frame *info = fake_info_of(w->table);

			if (!info->table || info->level + 1u != w->level ||
			    fake_canonical(info->va) != w->va)
				fake_violation("CPU %u caches a table for %#llx that is gone", c,
					       (unsigned long long)w->va);
			if (!w->closed && is_closed(w->va, w->level))
				fake_violation(
					"CPU %u may write below a table for %#llx that is closed",
					c, (unsigned long long)w->va);
		}
	}
}

void fake_check_free(struct loam_pfn pfn, unsigned order)
{
	uint64_t base = loam_pfn_to_paddr(pfn).raw, size = LOAM_PAGE_SIZE << order;

	for (uint64_t at = base; at < base + size; at += LOAM_PAGE_SIZE) {
		if (fake_info_of(at)->table)
			fake_violation("table %#llx freed while it is linked",
				       (unsigned long long)at);
		if (fake_info_of(at)->leaves != 0)
			fake_violation("frame %#llx freed while it is mapped",
				       (unsigned long long)at);
	}
	for (unsigned c = 0; c < fake_cpu_count(); c++) {
		for (unsigned i = 0; i < fake_cpu[c].tlb_count; i++) {
			if (fake_overlap(fake_cpu[c].tlb[i].pa, fake_cpu[c].tlb[i].size, base,
					 size))
				fake_violation("frame %#llx freed while CPU %u can reach it",
					       (unsigned long long)base, c);
		}
		for (unsigned i = 0; i < fake_cpu[c].walk_count; i++) {
			if (fake_cpu[c].walk[i].table - base < size)
				fake_violation(
					"table %#llx freed while CPU %u caches the way to it",
					(unsigned long long)base, c);
		}
	}
}

unsigned fake_cached(uint64_t va, uint64_t size)
{
	unsigned count = 0;

	for (unsigned c = 0; c < fake_cpu_count(); c++) {
		for (unsigned i = 0; i < fake_cpu[c].tlb_count; i++)
			count += fake_overlap(fake_cpu[c].tlb[i].va, fake_cpu[c].tlb[i].size, va,
					      size);
	}
	return count;
}
