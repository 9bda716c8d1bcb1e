/* SPDX-License-Identifier: MIT */
/*
 * From Prepared to Ready: the half of the back end (mm/space.h) that gives memory to addresses.
 *
 * Which leaves. A region that asked for huge pages gets the largest block that fits at each place:
 * aligned, inside the region and the range, every page of it Prepared, and frames for it at hand.
 * `kind` lists them. aarch64 has two more than leaves: contiguous runs of 16 (mm/contig.c). Where a
 * kind has run out the next smaller one does; the last resort is single frames.
 *
 * Prepare, then commit. take_blocks walks the range and takes a run for each block; commit_pages walks
 * it again and uses them. Both ask kind_at, and runs of a kind are taken for the first places
 * that can have one and for no later place once one was refused, so the second walk comes to the same
 * answers by counting down.
 *
 * The tables below a huge leaf go back, but a leaf of 1 GiB keeps one of them [SPACE-2].
 *
 * Concurrency: the space lock. What a call zeroes, it zeroes with interrupts off: 1 GiB at most a
 * leaf, so callers that mind ask for less at a time. A fault fills 2 MiB at most.
 */
#include "mm/space.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "mm/contig.h"
#include "mm/dirty.h"
#include "mm/epoch.h"
#include "mm/frame.h"
#include "mm/ptab.h"
#include "mm/tlb.h"
#include "mm/vspace.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);

/* What can be filled at once, largest first. */
static const struct kind {
	uint8_t order; /* of its run */
	uint8_t level; /* of its leaf, or of the leaves of a contiguous run */
	bool contig;
} kind[] = {
	{LOAM_ORDER_GIANT, LOAM_LEVEL_GIANT, false},
	{LOAM_ORDER_HUGE + LOAM_CONTIG_SHIFT, LOAM_LEVEL_HUGE, true},
	{LOAM_ORDER_HUGE, LOAM_LEVEL_HUGE, false},
	{LOAM_CONTIG_SHIFT, LOAM_LEVEL_PAGE, true},
};
#define KINDS	  (sizeof(kind) / sizeof(kind[0]))
#define KIND_HUGE 2u

_Static_assert(LOAM_CONTIG_ENTRIES == 1u << LOAM_CONTIG_SHIFT, "a run is a power of two");

/* Zeroed runs by kind, linked through their first word as tables are. */
struct blocks {
	struct loam_ptab_pool of[KINDS];
};

static const struct loam_mmu *mmu_of(void)
{
	return loam_space_ptab()->mmu;
}

static uint64_t kind_bytes(unsigned k)
{
	return LOAM_PAGE_SIZE << kind[k].order;
}

/* Where hardware keeps the dirty bit it starts clear, so that it tells about writes; elsewhere
 * a clear one makes the first write fault, which is wanted only if somebody asks about writes. */
static uint32_t data_attr(unsigned owner)
{
	return mmu_of()->hw_dirty || loam_dirty_tracks(owner) ? LOAM_ATTR_DATA & ~LOAM_ATTR_DIRTY
							      : LOAM_ATTR_DATA;
}

/* Does region `r` ask for huge leaves, and can [va, last] hold a block of kind `k` at `va`: the CPU
 * has it, it is aligned and inside of both, and every page of it is Prepared? */
static bool kind_fits(unsigned k, const struct loam_region *r, uint64_t va, uint64_t last)
{
	struct loam_space_count count;
	uint64_t size = kind_bytes(k);

	if (!r->hugepage || !loam_is_aligned(va, size) || last - va < size - 1 || va < r->base ||
	    r->size - (va - r->base) < size || (mmu_of()->leaf_mask >> kind[k].level & 1) == 0 ||
	    (kind[k].contig && !mmu_of()->contig))
		return false;
	loam_space_count(va, size, &count);
	return count.prepared_bytes == size;
}

/* Take a block for `va` if there is any; returns the bytes that are seen to. */
static uint64_t take_block(const struct loam_region *r, uint64_t va, uint64_t last,
			   struct blocks *blocks, bool *refused)
{
	struct loam_pfn pfn;

	for (unsigned k = 0; k < KINDS; k++) {
		if (refused[k] || !kind_fits(k, r, va, last))
			continue;
		if (loam_frame_alloc(kind[k].order, LOAM_FRAME_ZERO, (enum loam_owner)r->owner,
				     &pfn) == LOAM_OK) {
			loam_ptab_pool_push(&blocks->of[k], loam_pfn_to_paddr(pfn));
			return kind_bytes(k);
		}
		refused[k] = true;
	}
	return LOAM_PAGE_SIZE;
}

/* Running out is no failure: smaller leaves will do. Returns the bytes that were taken. */
static uint64_t take_blocks(uint64_t base, uint64_t last, struct blocks *blocks)
{
	struct loam_region *r = loam_vspace_find(base);
	bool refused[KINDS] = {false};
	uint64_t taken = 0;

	for (; r != NULL && (r->base <= base || r->base - base <= last - base);
	     r = loam_vspace_next(r)) {
		uint64_t va = r->base > base ? r->base : base, r_last = r->base + (r->size - 1);

		while (r->hugepage && va <= r_last && va <= last) {
			uint64_t n = take_block(r, va, last, blocks, refused);

			taken += n > LOAM_PAGE_SIZE ? n : 0;
			if (va > UINT64_MAX - n)
				break; /* the top of the address space */
			va += n;
		}
	}
	return taken;
}

static void give_back(struct blocks *blocks)
{
	for (unsigned k = 0; k < KINDS; k++) {
		while (blocks->of[k].count > 0) {
			enum loam_err err = loam_frame_free(
				loam_paddr_to_pfn(loam_ptab_pool_pop(&blocks->of[k])),
				kind[k].order);

			LOAM_CHECK(err == LOAM_OK, "a block just taken was not ours to free");
		}
	}
}

/* Take the tables of 2 MiB, all Prepared, out of a table of level 1. */
static void gather_tables(struct loam_paddr table, struct loam_frame_list *tables)
{
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		uint64_t pte = loam_pt_load(table, i);

		LOAM_CHECK(loam_pte_kind(mmu_of(), pte, LOAM_LEVEL_HUGE) == LOAM_PTE_TABLE,
			   "[SPACE-1] Prepared memory without its table");
		loam_pt_store(table, i, loam_pte_none(LOAM_TAG_NONE));
		loam_frame_list_push(
			tables, loam_paddr_to_pfn(loam_pte_pa(mmu_of(), pte, LOAM_LEVEL_HUGE)));
	}
}

/* One leaf, all of whose pages are Prepared; above level 0 it takes the place of its tables. */
static void commit_leaf(uint64_t va, unsigned level, struct loam_pfn run, uint32_t attr)
{
	const struct loam_ptab *pt = loam_space_ptab();
	uint64_t pte = loam_pte_leaf(pt->mmu, level, loam_pfn_to_paddr(run), attr);
	struct loam_frame_list tables = {0};
	struct loam_ptab_slot slot;
	struct loam_paddr table;

	loam_ptab_walk(pt, va, level, &slot);
	if (level == LOAM_LEVEL_PAGE) {
		/* none to valid: nothing cached, nothing to invalidate; published by the caller */
		loam_pt_store(slot.table, slot.index, pte);
		return;
	}
	LOAM_CHECK(slot.kind == LOAM_PTE_TABLE, "[SPACE-1] Prepared memory without its table");
	table = loam_pte_pa(pt->mmu, slot.pte, level);
	if (level == LOAM_LEVEL_GIANT) {
		gather_tables(table, &tables);
		loam_frame_deposit(run, loam_paddr_to_pfn(table)); /* [SPACE-2] */
	} else {
		loam_frame_list_push(&tables, loam_paddr_to_pfn(table));
	}
	loam_ptab_replace(pt, &slot, pte);
	/* no CPU knows the tables any more: replace has seen to that */
	loam_frame_list_free(&tables);
}

static void commit_block(uint64_t va, unsigned k, struct loam_pfn run, enum loam_owner owner)
{
	unsigned level = kind[k].level, order = LOAM_PT_SHIFT * level;
	unsigned leaves = kind[k].contig ? LOAM_CONTIG_ENTRIES : 1;
	uint32_t attr = data_attr(owner) | (kind[k].contig ? LOAM_ATTR_CONTIG : 0);

	loam_frame_set_owner(run, kind[k].order, owner);
	if (kind[k].contig)
		loam_frame_split(run, kind[k].order, order);
	for (unsigned i = 0; i < leaves; i++)
		commit_leaf(va + i * loam_level_size(level), level,
			    loam_pfn(run.raw + ((uint64_t)i << order)), attr);
}

/* Fill the block at `va` that take_blocks took a run for; false if it took none. */
static bool use_block(const struct loam_region *r, uint64_t va, uint64_t last,
		      struct blocks *blocks)
{
	for (unsigned k = 0; k < KINDS; k++) {
		if (blocks->of[k].count > 0 && kind_fits(k, r, va, last)) {
			commit_block(va, k, loam_paddr_to_pfn(loam_ptab_pool_pop(&blocks->of[k])),
				     (enum loam_owner)r->owner);
			return true;
		}
	}
	return false;
}

/* With all frames at hand: fill every Prepared page of [base, last]. */
static void commit_pages(uint64_t base, uint64_t last, struct blocks *blocks,
			 struct loam_frame_list *singles, enum loam_owner taken_for)
{
	const struct loam_ptab *pt = loam_space_ptab();
	struct loam_region *region = loam_vspace_find(base);
	const struct loam_mmu *mmu = pt->mmu;
	struct loam_ptab_slot slot;

	loam_ptab_walk(pt, base, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		while (slot.va > base && slot.va - region->base >= region->size)
			region = loam_vspace_next(region);
		if (slot.kind == LOAM_PTE_NONE && region->hugepage &&
		    use_block(region, slot.va, last, blocks))
			loam_ptab_walk(pt, slot.va, LOAM_LEVEL_PAGE, &slot);
		if (slot.kind == LOAM_PTE_NONE) {
			struct loam_pfn pfn = loam_frame_list_pop(singles);

			if (region->owner != taken_for)
				loam_frame_set_owner(pfn, 0, (enum loam_owner)region->owner);
			/* none to valid: nothing cached, nothing to invalidate */
			loam_pt_store(slot.table, slot.index,
				      loam_pte_leaf(mmu, LOAM_LEVEL_PAGE, loam_pfn_to_paddr(pfn),
						    data_attr(region->owner)));
		}
		if (slot.va + (loam_level_size(slot.level) - 1) >= last)
			break;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
	loam_pt_publish(mmu);
}

static enum loam_err commit(uintptr_t base, size_t size, uint64_t prepared_bytes)
{
	enum loam_owner owner = (enum loam_owner)loam_vspace_find(base)->owner;
	uint64_t last = base + (size - 1);
	struct loam_frame_list singles = {0};
	struct blocks blocks = {0};
	uint64_t taken = take_blocks(base, last, &blocks);
	enum loam_err err = loam_frame_list_alloc(
		&singles, (prepared_bytes - taken) / LOAM_PAGE_SIZE, LOAM_FRAME_ZERO, owner);

	if (err != LOAM_OK) {
		give_back(&blocks);
		return err;
	}
	commit_pages(base, last, &blocks, &singles, owner);
	LOAM_CHECK(singles.count == 0, "commit counted its frames wrongly");
	for (unsigned k = 0; k < KINDS; k++)
		LOAM_CHECK(blocks.of[k].count == 0, "commit counted its blocks wrongly");
	return LOAM_OK;
}

enum loam_err loam_space_commit(uintptr_t base, size_t size, uint64_t prepared_bytes)
{
	enum loam_err err;

	loam_epoch_settle(base, size);
	err = commit(base, size, prepared_bytes);
	if (err == LOAM_NOMEM && loam_epoch_settle_all())
		err = commit(base, size, prepared_bytes);
	return err;
}

enum loam_err loam_space_fill(const struct loam_region *r, const struct loam_ptab_slot *slot,
			      bool huge, uint64_t *bytes)
{
	uintptr_t block = loam_align_down(slot->va, LOAM_HUGE_SIZE);
	struct loam_pfn pfn;

	if (r->hugepage)
		loam_epoch_settle(block, LOAM_HUGE_SIZE);
	else
		loam_epoch_settle(slot->va, LOAM_PAGE_SIZE);
	if (huge && r->hugepage && kind_fits(KIND_HUGE, r, block, block + (LOAM_HUGE_SIZE - 1)) &&
	    loam_frame_alloc(LOAM_ORDER_HUGE, LOAM_FRAME_ZERO, (enum loam_owner)r->owner, &pfn) ==
		    LOAM_OK) {
		commit_leaf(block, LOAM_LEVEL_HUGE, pfn, data_attr(r->owner));
		*bytes = LOAM_HUGE_SIZE;
		return LOAM_OK;
	}
	while (loam_frame_alloc(0, LOAM_FRAME_ZERO, (enum loam_owner)r->owner, &pfn) != LOAM_OK) {
		if (!loam_epoch_settle_all())
			return LOAM_NOMEM;
	}
	/* none to valid: nothing cached, nothing to invalidate */
	loam_pt_store(slot->table, slot->index,
		      loam_pte_leaf(mmu_of(), LOAM_LEVEL_PAGE, loam_pfn_to_paddr(pfn),
				    data_attr(r->owner)));
	loam_pt_publish(mmu_of());
	*bytes = LOAM_PAGE_SIZE;
	return LOAM_OK;
}

/* ---- collapse ---- */

/* One leaf has one set of rights: all pages must be plain data. */
static bool all_plain(struct loam_paddr table)
{
	const uint32_t may_differ = LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY | LOAM_ATTR_CONTIG;

	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		uint32_t attr = loam_pte_attr(mmu_of(), loam_pt_load(table, i), LOAM_LEVEL_PAGE);

		if ((attr & ~may_differ) != LOAM_ATTR_WRITE)
			return false;
	}
	return true;
}

/* Copy what the table maps into the block; the frames and the table go into the batch. Returns what was noted
 * in any of its leaves: no CPU knows them any more. */
static uint32_t gather_pages(struct loam_paddr table, struct loam_paddr block,
			     struct loam_tlb_batch *batch)
{
	uint32_t noted = 0;

	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		uint64_t pte = loam_pt_load(table, i);
		struct loam_paddr pa = loam_pte_pa(mmu_of(), pte, LOAM_LEVEL_PAGE);

		noted |= loam_pte_attr(mmu_of(), pte, LOAM_LEVEL_PAGE);
		memcpy(loam_frame_ptr(loam_paddr(block.raw + i * LOAM_PAGE_SIZE)),
		       loam_frame_ptr(pa), LOAM_PAGE_SIZE);
		loam_tlb_batch_release(batch, loam_paddr_to_pfn(pa), 0);
	}
	loam_tlb_batch_release(batch, loam_paddr_to_pfn(table), 0);
	return noted & LOAM_ATTR_DIRTY;
}

enum loam_err loam_space_collapse(uintptr_t base, enum loam_owner owner)
{
	const struct loam_ptab *pt = loam_space_ptab();
	struct loam_tlb_batch batch;
	struct loam_ptab_slot slot;
	struct loam_paddr table, block;
	struct loam_pfn pfn;
	enum loam_err err;
	uint32_t dirty;

	if (loam_space_huge_sizes() == 0)
		return LOAM_NOTSUP;
	loam_ptab_walk(pt, base, LOAM_LEVEL_HUGE, &slot);
	if (slot.kind == LOAM_PTE_LEAF)
		return LOAM_OK;
	table = loam_pte_pa(pt->mmu, slot.pte, slot.level);
	if (loam_cpu_sp() - base < LOAM_HUGE_SIZE || !all_plain(table))
		return LOAM_BUSY;
	err = loam_frame_alloc(LOAM_ORDER_HUGE, 0, owner, &pfn);
	if (err != LOAM_OK)
		return err;
	block = loam_pfn_to_paddr(pfn);
	/* Break: from here to the new leaf a touch by another CPU faults, and waits for this lock; or, if that CPU holds or
	 * wants one of mm's, is tried again until the leaf is there [PTAB-6]. */
	loam_ptab_break_begin();
	loam_pt_store(slot.table, slot.index, loam_pte_none(LOAM_TAG_NONE));
	loam_tlb_everywhere_all(pt->mmu);
	loam_tlb_batch_init(&batch, pt->mmu);	    /* releases only: all is invalidated already */
	dirty = gather_pages(table, block, &batch); /* [DIRTY-5] */
	loam_pt_store(slot.table, slot.index,
		      loam_pte_leaf(pt->mmu, LOAM_LEVEL_HUGE, block, data_attr(owner) | dirty));
	loam_pt_publish(pt->mmu);
	loam_ptab_break_end();
	loam_tlb_batch_finish(&batch);
	return LOAM_OK;
}
