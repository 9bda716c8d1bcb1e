/* SPDX-License-Identifier: MIT */
/*
 * Page tables: one iterative walker for all paging modes of both ISAs.
 *
 * Structure. A table is a frame of 512 entries; an entry is none, leaf or table (arch/mmu.h). The
 * root is the caller's. A none of level 0 carries a tag for the address-space states of
 * mm/space.c. Everything is reached through the direct map, never through a recursive mapping.
 *
 * Prepare, then commit. fill() runs twice over a range: first without a pool, counting the
 * tables it would build and finding what is in the way, then with a pool that is known to
 * suffice. The second run cannot fail, so an operation is all or nothing. The same function
 * decides both times, so the count is exact.
 *
 * Changing entries. Only write_leaf paths in fill() store over a none; only replace, split,
 * unmap and protect store over a valid entry, and each asks loam_pte_change or goes through
 * none with the invalidation between (break-before-make). Accessed and dirty bits may be set by
 * hardware at any time, so a valid entry is always taken out with an atomic exchange.
 *
 * Invariants, checked by loam_ptab_verify:
 *   [PTAB-1] A leaf stands only at a level the CPU allows, with attributes it can express;
 *            never writable and executable at once.
 *   [PTAB-2] A leaf's address is aligned to its size and within the CPU's physical width.
 *   [PTAB-3] Tags stand at level 0 only; above it a none is all zero.
 *   [PTAB-4] No table but those hanging at the root is empty.
 *   [PTAB-5] in mm/contig.c: contiguous runs.
 *   [PTAB-6] (not the verifier's) While an entry that leads to memory in use is out, to be made again, `breaks`
 *            says so. A touch by another CPU traps then. Mostly its handler waits for the space lock, and finds the new entry;
 *            but a CPU that holds a cache or frame lock, or spins for any lock of mm's, may not, and asks `breaks`
 *            (mm/demand.c). So nothing between takes one of those locks.
 *
 * Concurrency: the caller serialises changes to one ptab (mm/space.c: the space lock). Walks by
 * the hardware run concurrently with everything. The fatal report may walk without the lock:
 * tables are type-stable for it in so far as a stale walk reads frames, never faults.
 *
 * Ends of ranges: `last` is the last byte, so the top of the address space does not wrap.
 */
#include "mm/ptab.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "mm/contig.h"

#include <loam/cpu.h>
#include <loam/host.h>

#define LEVEL_BIT(level) (1u << (level))

/* ---- the pool ---- */

void loam_ptab_pool_push(struct loam_ptab_pool *pool, struct loam_paddr frame)
{
	*(uint64_t *)loam_frame_ptr(frame) = pool->head.raw;
	pool->head = frame;
	pool->count++;
}

/* A frame that nothing leads to yet: plain stores, published with the entry that links it. */
static void table_fill(struct loam_paddr table, uint64_t pte, uint64_t step)
{
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++, pte += step)
		loam_pt_store(table, i, pte);
}

struct loam_paddr loam_ptab_pool_pop(struct loam_ptab_pool *pool)
{
	struct loam_paddr frame = pool->head;
	uint64_t *link;

	LOAM_CHECK(pool->count > 0, "page-table pool ran dry: prepare and commit disagree");
	link = loam_frame_ptr(frame);
	pool->head = loam_paddr(*link);
	pool->count--;
	*link = loam_pte_none(LOAM_TAG_NONE); /* which is 0 */
	return frame;
}

void loam_ptab_clear(struct loam_paddr table, unsigned tag)
{
	table_fill(table, loam_pte_none(tag), 0);
}

/* ---- the walk ---- */

static void slot_read(const struct loam_ptab *pt, struct loam_ptab_slot *slot)
{
	slot->pte = loam_pt_load(slot->table, slot->index);
	slot->kind = loam_pte_kind(pt->mmu, slot->pte, slot->level);
}

/* From an entry of kind table on down, to what decides `va` or to `stop_level`. */
static void slot_descend(const struct loam_ptab *pt, uint64_t va, unsigned stop_level,
			 struct loam_ptab_slot *slot)
{
	while (slot->kind == LOAM_PTE_TABLE && slot->level > stop_level) {
		slot->table = loam_pte_pa(pt->mmu, slot->pte, slot->level);
		slot->level--;
		slot->index = loam_pt_index(pt->mmu, va, slot->level);
		slot_read(pt, slot);
	}
	slot->va = loam_align_down(va, loam_level_size(slot->level));
}

void loam_ptab_walk(const struct loam_ptab *pt, uint64_t va, unsigned stop_level,
		    struct loam_ptab_slot *slot)
{
	slot->table = pt->root;
	slot->level = pt->mmu->levels - 1u;
	slot->index = loam_pt_index(pt->mmu, va, slot->level);
	slot_read(pt, slot);
	slot_descend(pt, va, stop_level, slot);
}

void loam_ptab_next(const struct loam_ptab *pt, unsigned stop_level, struct loam_ptab_slot *slot)
{
	uint64_t va;

	if (slot->level == LOAM_LEVEL_PAGE && slot->index + 1 < LOAM_PT_ENTRIES) {
		/* by far the most common step: the next entry of a lowest table */
		slot->index++;
		slot->va += LOAM_PAGE_SIZE;
		slot_read(pt, slot);
		return;
	}
	va = slot->va + loam_level_size(slot->level);
	if (slot->index + 1 == LOAM_PT_ENTRIES) {
		loam_ptab_walk(pt, va, stop_level, slot);
		return;
	}
	slot->index++;
	slot_read(pt, slot);
	slot_descend(pt, va, stop_level, slot);
}

static bool slot_covers(const struct loam_ptab_slot *slot, uint64_t va)
{
	return va >= slot->va && va <= loam_ptab_slot_last(slot);
}

static bool range_ok(const struct loam_ptab *pt, uint64_t va, uint64_t size)
{
	return loam_is_aligned(va | size, LOAM_PAGE_SIZE) && loam_mmu_va_ok(pt->mmu, va, size);
}

void loam_ptab_tally(const struct loam_ptab *pt, uint64_t va, uint64_t size,
		     struct loam_ptab_tally *tally)
{
	uint64_t last = va + (size - 1);
	struct loam_ptab_slot slot;

	*tally = (struct loam_ptab_tally){0};
	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		uint64_t lo = slot.va > va ? slot.va : va;

		if (slot.level == LOAM_LEVEL_PAGE) {
			/* what is left of this table in one go */
			uint64_t n = LOAM_PT_ENTRIES - slot.index;
			uint64_t rest = (last - slot.va) / LOAM_PAGE_SIZE + 1;

			n = n < rest ? n : rest;
			for (uint64_t i = 0; i < n; i++) {
				uint64_t pte = loam_pt_load(slot.table, slot.index + (unsigned)i);

				if (loam_pte_kind(pt->mmu, pte, LOAM_LEVEL_PAGE) == LOAM_PTE_LEAF)
					tally->leaf_bytes += LOAM_PAGE_SIZE;
				else if (loam_pte_tag(pte) != LOAM_TAG_NONE)
					tally->tagged_bytes += LOAM_PAGE_SIZE;
			}
			slot.index += (unsigned)(n - 1);
			slot.va += (n - 1) * LOAM_PAGE_SIZE;
		} else if (slot.kind == LOAM_PTE_LEAF) {
			uint64_t hi = loam_ptab_slot_last(&slot) < last ? loam_ptab_slot_last(&slot)
									: last;

			tally->leaf_bytes += hi - lo + 1;
			tally->large_bytes += hi - lo + 1;
		}
		if (loam_ptab_slot_last(&slot) >= last)
			return;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
}

/* ---- filling empty entries: map and tag ---- */

struct fill {
	uint64_t va, pa, size;
	unsigned level_mask; /* levels where an entry may be written */
	bool tag_only;
	unsigned tag;
	uint32_t attr;
};

/* Highest allowed level below `below` whose entry fits: aligned on both sides, inside the rest. */
static unsigned fit_level(const struct fill *f, uint64_t done, unsigned below)
{
	unsigned level = below;

	while (level-- > 1) {
		if ((f->level_mask & LEVEL_BIT(level)) != 0 &&
		    loam_is_aligned((f->va + done) | (f->pa + done), loam_level_size(level)) &&
		    f->size - done >= loam_level_size(level))
			return level;
	}
	return LOAM_LEVEL_PAGE;
}

/* Find where the entry at f->va + done goes: its level, and in `slot` what stands there or above.
 * An existing table is used, never replaced by a leaf. `slot` is the last one, or unset. */
static unsigned fill_place(const struct loam_ptab *pt, const struct fill *f, uint64_t done,
			   struct loam_ptab_slot *slot, bool first)
{
	uint64_t va = f->va + done;
	unsigned level = fit_level(f, done, LOAM_LEVEL_COUNT);

	if (!first && slot_covers(slot, va))
		return level; /* still in the same none or leaf above `level` */
	if (!first && slot->level == level && va == loam_ptab_slot_last(slot) + 1)
		loam_ptab_next(pt, level, slot);
	else
		loam_ptab_walk(pt, va, level, slot);
	while (slot->kind == LOAM_PTE_TABLE) {
		level = fit_level(f, done, level);
		loam_ptab_walk(pt, va, level, slot);
	}
	return level;
}

/* Build the tables between `slot` (a none) and `level`; every entry of theirs is none. */
static void fill_tables(const struct loam_ptab *pt, struct loam_ptab_pool *pool, uint64_t va,
			unsigned level, struct loam_ptab_slot *slot)
{
	LOAM_ASSERT(slot->level == LOAM_LEVEL_PAGE || slot->pte == 0); /* [PTAB-3] */
	while (slot->level > level) {
		struct loam_paddr table = loam_ptab_pool_pop(pool);

		slot->pte = loam_pte_table(pt->mmu, table, LOAM_ATTR_WRITE);
		slot->kind = LOAM_PTE_TABLE;
		loam_pt_store(slot->table, slot->index, slot->pte);
		slot_descend(pt, va, slot->level - 1, slot);
	}
}

/* Where the contiguous run ends that begins with the entry in `slot`, or 0 if none does. */
static uint64_t fill_run_end(const struct loam_ptab *pt, const struct fill *f, uint64_t done,
			     const struct loam_ptab_slot *slot)
{
	uint64_t size = LOAM_CONTIG_ENTRIES * loam_level_size(slot->level);

	if (f->tag_only || f->size - done < size ||
	    !loam_contig_fits(pt, slot, loam_paddr(f->pa + done), f->attr))
		return 0;
	return done + size;
}

static uint64_t fill_pte(const struct loam_ptab *pt, const struct fill *f, uint64_t done,
			 unsigned level, bool contig)
{
	if (f->tag_only)
		return loam_pte_none(f->tag);
	return loam_pte_leaf(pt->mmu, level, loam_paddr(f->pa + done),
			     f->attr | (contig ? LOAM_ATTR_CONTIG : 0));
}

#define LPA2_TOP (UINT64_C(1) << 50) /* from here on, address bits stand elsewhere */

/* Entries of level 0 that the range has from here to the end of their table, or to where LPA2's top
 * address bits change. No larger leaf can begin among them. */
static unsigned row_length(const struct fill *f, uint64_t done)
{
	uint64_t to_end = LOAM_HUGE_SIZE - ((f->va + done) & (LOAM_HUGE_SIZE - 1));
	uint64_t to_top = LPA2_TOP - ((f->pa + done) & (LPA2_TOP - 1));
	uint64_t n = f->size - done;

	n = n < to_end ? n : to_end;
	return (unsigned)((n < to_top ? n : to_top) / LOAM_PAGE_SIZE);
}

static bool row_is_free(const struct loam_ptab *pt, const struct loam_ptab_slot *slot, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t pte = loam_pt_load(slot->table, slot->index + i);

		if (loam_pte_kind(pt->mmu, pte, LOAM_LEVEL_PAGE) == LOAM_PTE_LEAF)
			return false;
	}
	return true;
}

/* Write `n` entries of level 0, in one table from `slot` on. They differ by their address alone, and by a
 * constant: but for LPA2, whose top two bits stand elsewhere; the row must not cross a change of those. */
static void fill_row(const struct loam_ptab *pt, const struct fill *f, uint64_t done,
		     const struct loam_ptab_slot *slot, unsigned n)
{
	const uint64_t step = f->tag_only ? 0 : LOAM_PAGE_SIZE;
	/* a run needs memory that is aligned as its addresses are */
	const bool contig = pt->mmu->contig &&
			    loam_is_aligned(f->va ^ f->pa, LOAM_CONTIG_ENTRIES * LOAM_PAGE_SIZE);
	uint64_t pte = fill_pte(pt, f, done, LOAM_LEVEL_PAGE, false);
	uint64_t hint = fill_pte(pt, f, done, LOAM_LEVEL_PAGE, true) ^ pte, run = 0;
	struct loam_ptab_slot at = *slot;

	for (unsigned i = slot->index; i < slot->index + n; i++, pte += step) {
		if (contig && i % LOAM_CONTIG_ENTRIES == 0) {
			at.index = i;
			run = fill_run_end(pt, f, done + (i - slot->index) * LOAM_PAGE_SIZE, &at) !=
					      0
				      ? hint
				      : 0;
		}
		loam_pt_store(slot->table, i, pte | run);
	}
}

/* One entry above level 0. */
static void fill_large(const struct loam_ptab *pt, const struct fill *f, uint64_t done,
		       struct loam_ptab_slot *slot, uint64_t *run_end)
{
	if (done >= *run_end)
		*run_end = fill_run_end(pt, f, done, slot);
	slot->pte = fill_pte(pt, f, done, slot->level, done < *run_end);
	loam_pt_store(slot->table, slot->index, slot->pte);
}

/* One pass: without a pool it counts into *tables and looks for obstacles; with one it writes. */
static enum loam_err fill_pass(const struct loam_ptab *pt, const struct fill *f,
			       struct loam_ptab_pool *pool, size_t *tables)
{
	struct loam_ptab_slot slot = {0};
	uint64_t done = 0, run_end = 0; /* contiguous up to there */

	while (done < f->size) {
		uint64_t va = f->va + done;
		unsigned level = fill_place(pt, f, done, &slot, done == 0);
		unsigned n = level == LOAM_LEVEL_PAGE ? row_length(f, done) : 1;

		if (slot.kind == LOAM_PTE_LEAF ||
		    (pool == NULL && slot.level == LOAM_LEVEL_PAGE && !row_is_free(pt, &slot, n)))
			return LOAM_EXIST;
		if (pool == NULL) {
			/* a table is counted at the first page of it that this range touches */
			for (unsigned k = level; k < slot.level; k++) {
				if (done == 0 || loam_is_aligned(va, loam_level_size(k + 1)))
					(*tables)++;
			}
		} else {
			fill_tables(pt, pool, va, level, &slot);
			if (level == LOAM_LEVEL_PAGE)
				fill_row(pt, f, done, &slot, n);
			else
				fill_large(pt, f, done, &slot, &run_end);
		}
		if (slot.level == LOAM_LEVEL_PAGE) {
			/* on to the last entry of the row */
			slot.index += n - 1;
			slot.va += (n - 1) * LOAM_PAGE_SIZE;
		}
		done += n * loam_level_size(level);
	}
	return LOAM_OK;
}

static enum loam_err fill_range(const struct loam_ptab *pt, const struct fill *f,
				struct loam_ptab_pool *pool)
{
	size_t tables = 0;
	enum loam_err err = fill_pass(pt, f, NULL, &tables);

	if (err != LOAM_OK)
		return err;
	if (tables > pool->count)
		return LOAM_NOMEM;
	err = fill_pass(pt, f, pool, NULL);
	LOAM_CHECK(err == LOAM_OK, "page tables changed between prepare and commit");
	/* aarch64 wants this also for none-to-valid; one barrier serves the whole range */
	loam_pt_publish(pt->mmu);
	return LOAM_OK;
}

static struct fill fill_map(const struct loam_ptab *pt, uint64_t va, struct loam_paddr pa,
			    uint64_t size, uint32_t attr, unsigned max_level)
{
	return (struct fill){
		.va = va,
		.pa = pa.raw,
		.size = size,
		.level_mask = pt->mmu->leaf_mask & (LEVEL_BIT(max_level + 1) - 1),
		.attr = attr,
	};
}

enum loam_err loam_ptab_map(const struct loam_ptab *pt, struct loam_ptab_pool *pool, uint64_t va,
			    struct loam_paddr pa, uint64_t size, uint32_t attr, unsigned max_level)
{
	struct fill f = fill_map(pt, va, pa, size, attr, max_level);

	if (!range_ok(pt, va, size) || !loam_is_aligned(pa.raw, LOAM_PAGE_SIZE) ||
	    !loam_mmu_pa_ok(pt->mmu, pa.raw, size) || (attr & LOAM_ATTR_CONTIG) != 0 ||
	    !loam_pte_attr_ok(pt->mmu, attr, LOAM_LEVEL_PAGE))
		return LOAM_INVAL;
	return fill_range(pt, &f, pool);
}

size_t loam_ptab_map_need(const struct loam_ptab *pt, uint64_t va, struct loam_paddr pa,
			  uint64_t size, unsigned max_level)
{
	struct fill f = fill_map(pt, va, pa, size, 0, max_level);
	size_t tables = 0;

	return fill_pass(pt, &f, NULL, &tables) == LOAM_OK ? tables : 0;
}

enum loam_err loam_ptab_tag(const struct loam_ptab *pt, struct loam_ptab_pool *pool, uint64_t va,
			    uint64_t size, unsigned tag)
{
	struct fill f = {.va = va, .pa = va, .size = size, .tag_only = true, .tag = tag};

	if (!range_ok(pt, va, size))
		return LOAM_INVAL;
	return fill_range(pt, &f, pool);
}

size_t loam_ptab_tag_need(const struct loam_ptab *pt, uint64_t va, uint64_t size)
{
	struct fill f = {.va = va, .pa = va, .size = size, .tag_only = true};
	size_t tables = 0;

	return fill_pass(pt, &f, NULL, &tables) == LOAM_OK ? tables : 0;
}

/* ---- break-before-make ---- */

#define BREAKER UINT64_C(0xff) /* which CPU has something out, and 1; 0: none */

/* Changed under the space lock; atomic: who asks may not take it. Above BREAKER: how often. */
static uint64_t breaks;

_Static_assert(LOAM_CPU_MAX < BREAKER, "a CPU's number and 1 fit");

void loam_ptab_break_begin(void)
{
	uint64_t was = __atomic_load_n(&breaks, __ATOMIC_RELAXED);

	LOAM_ASSERT((was & BREAKER) == 0);
	/* relaxed: every store to an entry is a release, so none is seen to go before this is */
	__atomic_store_n(&breaks, was + BREAKER + 1 + loam_host_cpu_id() + 1, __ATOMIC_RELAXED);
}

void loam_ptab_break_end(void)
{
	/* release: the new entry is seen first; partner: the load in loam_ptab_breaks */
	__atomic_store_n(&breaks, __atomic_load_n(&breaks, __ATOMIC_RELAXED) & ~BREAKER,
			 __ATOMIC_RELEASE);
}

uint64_t loam_ptab_breaks(void)
{
	return __atomic_load_n(&breaks, __ATOMIC_ACQUIRE);
}

bool loam_ptab_broken_since(uint64_t before)
{
	uint64_t now, who;

	loam_cpu_complete(); /* what was looked at was looked at before this */
	now = loam_ptab_breaks();
	who = now & BREAKER;
	/* what this CPU has out itself does not come back for waiting */
	return now != before || (who != 0 && who != loam_host_cpu_id() + 1);
}

/* ---- replacing valid entries ---- */

/* Everything below `slot`, whose entry was taken out, is forgotten by every CPU. */
static void invalidate_slot(const struct loam_ptab *pt, const struct loam_ptab_slot *slot,
			    enum loam_pte_kind kind)
{
	if (kind == LOAM_PTE_TABLE)
		loam_tlb_everywhere_all(pt->mmu);
	else if (kind == LOAM_PTE_LEAF)
		loam_tlb_everywhere(pt->mmu, slot->va, 1, slot->level, false);
}

/* Take the entry out, everywhere: on return no CPU knows it any more. Returns it as hardware left
 * it; once it is out, hardware notes nothing in it. make_slot follows. */
static uint64_t break_slot(const struct loam_ptab *pt, const struct loam_ptab_slot *slot)
{
	uint64_t old;

	loam_ptab_break_begin();
	old = loam_pt_swap(slot->table, slot->index, loam_pte_none(LOAM_TAG_NONE));
	invalidate_slot(pt, slot, slot->kind);
	return old;
}

static void make_slot(const struct loam_ptab *pt, struct loam_ptab_slot *slot, uint64_t pte)
{
	loam_pt_store(slot->table, slot->index, pte);
	loam_pt_publish(pt->mmu);
	loam_ptab_break_end();
	slot->pte = pte;
	slot->kind = loam_pte_kind(pt->mmu, pte, slot->level);
}

void loam_ptab_replace(const struct loam_ptab *pt, struct loam_ptab_slot *slot, uint64_t pte)
{
	enum loam_pte_kind old_kind = slot->kind;
	enum loam_pte_change change = loam_pte_change(pt->mmu, slot->pte, pte, slot->level);

	LOAM_CHECK(change != LOAM_PTE_FORBIDDEN, "illegal page-table entry");
	if (change == LOAM_PTE_BREAK) {
		(void)break_slot(pt, slot);
		make_slot(pt, slot, pte);
		return;
	}
	loam_pt_store(slot->table, slot->index, pte);
	loam_pt_publish(pt->mmu);
	invalidate_slot(pt, slot, old_kind);
	slot->pte = pte;
	slot->kind = loam_pte_kind(pt->mmu, pte, slot->level);
}

/* In a table that nothing leads to yet: entry `hole` becomes a none, its neighbours no run. */
static void make_hole(const struct loam_ptab *pt, struct loam_paddr table, unsigned level,
		      unsigned hole, unsigned tag)
{
	unsigned first = hole & ~(LOAM_CONTIG_ENTRIES - 1);

	for (unsigned i = first; i < first + LOAM_CONTIG_ENTRIES; i++) {
		uint64_t pte = loam_pt_load(table, i);

		loam_pt_store(
			table, i,
			loam_pte_leaf(pt->mmu, level, loam_pte_pa(pt->mmu, pte, level),
				      loam_pte_attr(pt->mmu, pte, level) & ~LOAM_ATTR_CONTIG));
	}
	loam_pt_store(table, hole, loam_pte_none(tag));
}

void loam_ptab_split(const struct loam_ptab *pt, struct loam_ptab_slot *slot,
		     struct loam_paddr table, unsigned hole, unsigned tag)
{
	unsigned below = slot->level - 1;
	struct loam_paddr pa;
	uint32_t attr;
	uint64_t old;

	LOAM_ASSERT(slot->kind == LOAM_PTE_LEAF && slot->level > 0);
	loam_contig_unfold(pt, slot);
	/* Break first: `table` may be a frame of the very leaf, and only after the invalidation
	 * can nobody write to it any more. */
	old = break_slot(pt, slot);
	/* consecutive leaves differ by their address alone, and by a constant: but for LPA2,
	 * whose top two bits stand elsewhere and cannot change inside one leaf */
	pa = loam_pte_pa(pt->mmu, old, slot->level);
	attr = loam_pte_attr(pt->mmu, old, slot->level);
	if (pt->mmu->contig && below <= LOAM_LEVEL_HUGE)
		attr |= LOAM_ATTR_CONTIG; /* [PTAB-5]: all of it is one piece */
	table_fill(table, loam_pte_leaf(pt->mmu, below, pa, attr), loam_level_size(below));
	/* before the table is linked: a table must never be mapped by its own entry */
	if (hole < LOAM_PT_ENTRIES)
		make_hole(pt, table, below, hole, tag);
	make_slot(pt, slot, loam_pte_table(pt->mmu, table, LOAM_ATTR_WRITE)); /* [DIRTY-5] */
}

/* Level of the leaf that `va` cuts in two, or 0. */
static unsigned cut_level(const struct loam_ptab *pt, uint64_t va, struct loam_ptab_slot *slot)
{
	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, slot);
	return slot->kind == LOAM_PTE_LEAF && va != slot->va ? slot->level : 0;
}

/* Is the byte behind the range an address that a leaf could span? */
static bool has_end(const struct loam_ptab *pt, uint64_t va, uint64_t size)
{
	return va + (size - 1) < pt->mmu->va_max;
}

size_t loam_ptab_split_need(const struct loam_ptab *pt, uint64_t va, uint64_t size)
{
	struct loam_ptab_slot slot;
	uint64_t end = va + size;
	unsigned first = cut_level(pt, va, &slot), last;
	size_t need = 0;

	for (unsigned l = first; l > 0 && !loam_is_aligned(va, loam_level_size(l)); l--)
		need++;
	last = has_end(pt, va, size) ? cut_level(pt, end, &slot) : 0;
	for (unsigned l = last; l > 0 && !loam_is_aligned(end, loam_level_size(l)); l--) {
		/* the cut at the start has split this one already */
		if (l <= first && !loam_is_aligned(va, loam_level_size(l)) &&
		    loam_align_down(va, loam_level_size(l)) ==
			    loam_align_down(end, loam_level_size(l)))
			continue;
		need++;
	}
	return need;
}

static void split_at(const struct loam_ptab *pt, struct loam_ptab_pool *pool, uint64_t va)
{
	struct loam_ptab_slot slot;

	while (cut_level(pt, va, &slot) > 0)
		loam_ptab_split(pt, &slot, loam_ptab_pool_pop(pool), LOAM_PT_ENTRIES,
				LOAM_TAG_NONE);
}

static void split_ends(const struct loam_ptab *pt, struct loam_ptab_pool *pool, uint64_t va,
		       uint64_t size)
{
	split_at(pt, pool, va);
	loam_contig_cut(pt, va);
	if (has_end(pt, va, size)) {
		split_at(pt, pool, va + size);
		loam_contig_cut(pt, va + size);
	}
}

/* ---- unmap ---- */

bool loam_ptab_is_empty(struct loam_paddr table)
{
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		if (loam_pt_load(table, i) != loam_pte_none(LOAM_TAG_NONE))
			return false;
	}
	return true;
}

/* Unlink the tables on the way to `va` that are empty, lowest first. Returns the address where
 * the next table that can be empty begins, or 0 past the top. */
static uint64_t prune_at(const struct loam_ptab *pt, struct loam_tlb_batch *batch, uint64_t va)
{
	unsigned top = pt->mmu->levels - 1u;
	struct loam_ptab_slot slot;

	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, &slot);
	while (slot.level < top - 1 && loam_ptab_is_empty(slot.table)) {
		struct loam_paddr empty = slot.table;

		loam_ptab_walk(pt, va, slot.level + 1, &slot);
		loam_pt_store(slot.table, slot.index, loam_pte_none(LOAM_TAG_NONE));
		loam_tlb_batch_add(batch, va, 1, slot.level - 1, true);
		loam_tlb_batch_release(batch, loam_paddr_to_pfn(empty), 0);
	}
	/* the next entry of the table that stays; one of level 0 has no tables to go */
	if (slot.level == LOAM_LEVEL_PAGE)
		slot.level++;
	return loam_align_down(va, loam_level_size(slot.level)) + loam_level_size(slot.level);
}

static void prune(const struct loam_ptab *pt, struct loam_tlb_batch *batch, uint64_t va,
		  uint64_t last)
{
	uint64_t next = va;

	do {
		va = next;
		next = prune_at(pt, batch, va);
	} while (next > va && next <= last);
}

enum loam_err loam_ptab_unmap(const struct loam_ptab *pt, struct loam_ptab_pool *pool,
			      struct loam_tlb_batch *batch, uint64_t va, uint64_t size,
			      unsigned tag, bool give_back)
{
	uint64_t last = va + (size - 1), none = loam_pte_none(tag);
	struct loam_ptab_slot slot;
	uint64_t pages = 0; /* unmapped since the last range was added */
	size_t cuts;
	bool at_end;

	if (!range_ok(pt, va, size))
		return LOAM_INVAL;
	cuts = loam_ptab_split_need(pt, va, size);
	if (cuts > 0 && give_back)
		return LOAM_INVAL;
	if (cuts > 0 && (pool == NULL || cuts > pool->count))
		return LOAM_NOMEM;
	split_ends(pt, pool, va, size);
	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		if (slot.kind == LOAM_PTE_LEAF) {
			uint64_t old = loam_pt_swap(slot.table, slot.index, none);
			struct loam_paddr pa = loam_pte_pa(pt->mmu, old, slot.level);

			/* pages in a row are one range; a large leaf is added before its run may
			 * flush the batch */
			if (slot.level == LOAM_LEVEL_PAGE)
				pages++;
			else
				loam_tlb_batch_add(batch, slot.va, 1, slot.level, false);
			if (give_back)
				loam_tlb_batch_release(batch, loam_paddr_to_pfn(pa),
						       LOAM_PT_SHIFT * slot.level);
		} else if (slot.level == LOAM_LEVEL_PAGE && slot.pte != none) {
			/* not present before or after: no CPU can have cached it */
			loam_pt_store(slot.table, slot.index, none);
		}
		at_end = loam_ptab_slot_last(&slot) >= last;
		if (pages > 0 &&
		    (at_end || slot.kind != LOAM_PTE_LEAF || slot.index + 1 == LOAM_PT_ENTRIES)) {
			uint64_t end =
				slot.kind == LOAM_PTE_LEAF ? slot.va + LOAM_PAGE_SIZE : slot.va;

			loam_tlb_batch_add(batch, end - pages * LOAM_PAGE_SIZE, pages,
					   LOAM_LEVEL_PAGE, false);
			pages = 0;
		}
		if (at_end)
			break;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
	if (tag == LOAM_TAG_NONE)
		prune(pt, batch, va, last);
	return LOAM_OK;
}

/* ---- protect ---- */

/* True: it has lost rights, and TLBs must hear of it. */
static bool protect_slot(const struct loam_ptab *pt, struct loam_ptab_slot *slot, uint32_t attr)
{
	const uint32_t noted = LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY;
	const uint32_t rights = LOAM_ATTR_WRITE | LOAM_ATTR_EXEC;
	uint32_t old = loam_pte_attr(pt->mmu, slot->pte, slot->level);
	struct loam_paddr pa = loam_pte_pa(pt->mmu, slot->pte, slot->level);
	uint64_t pte, was;

	/* a run that is broken entry by entry must not be one */
	if (((old ^ attr) & LOAM_ATTR_MEM_MASK) != 0) {
		loam_contig_unfold(pt, slot);
		old = loam_pte_attr(pt->mmu, slot->pte, slot->level);
	}
	attr |= old & LOAM_ATTR_CONTIG; /* the ends were cut: all of the run is in the range */
	pte = loam_pte_leaf(pt->mmu, slot->level, pa, attr | (old & noted));
	/* rights and what hardware notes may change in place on every ISA: ask about the rest */
	if (((old ^ attr) & ~(rights | noted)) != 0 &&
	    loam_pte_change(pt->mmu, slot->pte, pte, slot->level) == LOAM_PTE_BREAK) {
		old = loam_pte_attr(pt->mmu, break_slot(pt, slot), slot->level);
		make_slot(pt, slot, loam_pte_leaf(pt->mmu, slot->level, pa, attr | (old & noted)));
		return false; /* broken: no CPU knows what it was */
	}
	was = loam_pt_swap(slot->table, slot->index, pte);
	if (was != slot->pte) {
		/* hardware has noted something since slot->pte was read: put it back */
		old |= loam_pte_attr(pt->mmu, was, slot->level);
		loam_pt_store(slot->table, slot->index,
			      loam_pte_leaf(pt->mmu, slot->level, pa, attr | (old & noted)));
	}
	/* an upgrade costs at most a spurious fault elsewhere: never a broadcast */
	return (old & ~attr & (LOAM_ATTR_WRITE | LOAM_ATTR_EXEC | LOAM_ATTR_USER)) != 0;
}

enum loam_err loam_ptab_protect(const struct loam_ptab *pt, struct loam_ptab_pool *pool,
				struct loam_tlb_batch *batch, uint64_t va, uint64_t size,
				uint32_t attr)
{
	uint64_t last = va + (size - 1), first = 0, count = 0; /* have lost rights */
	unsigned level = 0;
	struct loam_ptab_tally tally;
	struct loam_ptab_slot slot;

	if (!range_ok(pt, va, size) || (attr & LOAM_ATTR_CONTIG) != 0 ||
	    !loam_pte_attr_ok(pt->mmu, attr, LOAM_LEVEL_PAGE))
		return LOAM_INVAL;
	loam_ptab_tally(pt, va, size, &tally);
	if (tally.leaf_bytes != size)
		return LOAM_NOENT;
	if (loam_ptab_split_need(pt, va, size) > pool->count)
		return LOAM_NOMEM;
	split_ends(pt, pool, va, size);
	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		bool lost = protect_slot(pt, &slot, attr);

		/* entries in a row are one range */
		if (count > 0 && (!lost || slot.level != level || slot.index == 0)) {
			loam_tlb_batch_add(batch, first, count, level, false);
			count = 0;
		}
		if (lost && count == 0) {
			first = slot.va;
			level = slot.level;
		}
		count += lost;
		if (loam_ptab_slot_last(&slot) >= last)
			break;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
	if (count > 0)
		loam_tlb_batch_add(batch, first, count, level, false);
	loam_pt_publish(pt->mmu);
	return LOAM_OK;
}
