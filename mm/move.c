/* SPDX-License-Identifier: MIT */
/*
 * Memory that changes its address without being copied: the back end of loam_sys_move (contract:
 * mm/space.h).
 *
 * `from` is Ready everywhere and `to` is Prepared everywhere, so both have all their tables, and moving is
 * exchanging. Where both sides are aligned alike, one entry of level 1 or 2 stands for 2 MiB or 1 GiB: the
 * entry of `from` (a leaf, or a table of leaves) goes to `to`, and the table of `to`, in
 * which nothing but Prepared stands, goes to `from`, which wants just that [SPACE-1]. What a leaf of
 * 1 GiB keeps [SPACE-2] is kept with its frames and goes along. Elsewhere entries of level 0 move one by one.
 *
 * So frames are needed only for tables where leaves are cut, each counted beforehand (cuts_need): leaves that
 * stick out of the range, which are split first, and those in it that are not aligned alike on both sides: they
 * are taken out whole and put in as small ones. Then nothing can fail any more.
 *
 *   [MOVE-1] Nothing leads to a frame through `to` before every CPU has forgotten the way through
 *            `from`; and no table stands in one place before every CPU has forgotten it in the other.
 *
 * Hence three steps: entries are taken out on both sides; one round of invalidations; and they are put in
 * again. What is taken out waits in `in_flight`, as hardware left it: rights, memory type, accessed and
 * dirty bits come along. That holds 256 entries (1 MiB in the least, 512 MiB in huge leaves), and a longer
 * range goes in as many rounds.
 *
 * Contiguous runs (mm/contig.c) stay runs where both sides are aligned for them. Elsewhere the hint goes,
 * and what is noted in one entry is noted in all. A run is taken out in one round: half a run must not stay
 * in force while its other half is elsewhere.
 *
 * Concurrency: the space lock. Nobody uses the range meanwhile, the caller has promised; speculation may.
 * References: as mm/ptab.c for break-before-make; Linux moves page tables likewise (mremap).
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

#define IN_FLIGHT 256u

/* Entries that stand nowhere at the moment. Space lock. */
static struct {
	uint64_t from;
	uint64_t to; /* above level 0 */
} in_flight[IN_FLIGHT];

struct move {
	const struct loam_ptab *pt;
	uint64_t from, to;
	size_t size;
};

/* Of how large a leaf or table is one entry on both sides, `done` bytes into the range? */
static unsigned unit_level(const struct move *m, size_t done)
{
	unsigned level = LOAM_LEVEL_GIANT;

	while (level > LOAM_LEVEL_PAGE &&
	       (!loam_is_aligned((m->from + done) | (m->to + done), loam_level_size(level)) ||
		m->size - done < loam_level_size(level)))
		level--;
	return level;
}

/* ---- prepare ---- */

/* Blocks of `level` between `lo` and `last`, inside one leaf of that level or a larger one, that have to be
 * cut. */
static size_t blocks_cut(const struct move *m, uint64_t lo, uint64_t last, unsigned level)
{
	uint64_t size = loam_level_size(level), va = loam_align_down(lo, size);
	size_t count = 0;

	for (;; va += size) {
		if (va < m->from || unit_level(m, va - m->from) < level)
			count++;
		if (last - va < size)
			return count;
	}
}

/* Tables that it takes to cut all leaves that cannot move whole. */
static size_t cuts_need(const struct move *m)
{
	uint64_t last = m->from + (m->size - 1);
	struct loam_ptab_slot slot;
	size_t need = 0;

	loam_ptab_walk(m->pt, m->from, LOAM_LEVEL_HUGE, &slot);
	for (;;) {
		uint64_t lo = slot.va > m->from ? slot.va : m->from;
		uint64_t hi = loam_ptab_slot_last(&slot) < last ? loam_ptab_slot_last(&slot) : last;
		size_t cut = slot.kind == LOAM_PTE_LEAF ? 1 : 0;

		for (unsigned level = slot.level; cut > 0 && level > LOAM_LEVEL_PAGE; level--) {
			cut = blocks_cut(m, lo, hi, level);
			need += cut;
		}
		if (hi == last)
			return need;
		loam_ptab_next(m->pt, LOAM_LEVEL_HUGE, &slot);
	}
}

/* Would cutting at `va` break the leaf, or unmake the run, that the running stack lies on? */
static bool cuts_stack(const struct loam_ptab *pt, uint64_t va)
{
	struct loam_ptab_slot slot;
	uint64_t size;

	loam_ptab_walk(pt, va, LOAM_LEVEL_PAGE, &slot);
	if (slot.kind != LOAM_PTE_LEAF)
		return false;
	size = loam_level_size(slot.level) * (loam_contig_is(pt, &slot) ? LOAM_CONTIG_ENTRIES : 1);
	return !loam_is_aligned(va, size) && loam_cpu_sp() - loam_align_down(va, size) < size;
}

/* Is the byte behind `from` one that a leaf could span? */
static bool has_end(const struct move *m)
{
	return m->from + (m->size - 1) < m->pt->mmu->va_max;
}

static void cut_at(const struct move *m, uint64_t va, struct loam_ptab_pool *pool)
{
	loam_space_split_at(va, pool);
	loam_contig_cut(m->pt, va);
}

/* ---- commit ---- */

/* On to the entry of `level` at `va`: the next one of a row, or the first. */
static void go_to(const struct move *m, uint64_t va, unsigned level, bool first,
		  struct loam_ptab_slot *slot)
{
	if (first)
		loam_ptab_walk(m->pt, va, level, slot);
	else
		loam_ptab_next(m->pt, level, slot);
}

/* What stood in `from`, and in `to` if that is not NULL, was taken out: who remembers it must forget. */
static void forget(struct loam_tlb_batch *batch, const struct loam_ptab_slot *from,
		   const struct loam_ptab_slot *to)
{
	if (from->level == LOAM_LEVEL_GIANT)
		loam_tlb_batch_add_all(batch); /* leaves and tables of any level are below */
	else if (from->kind == LOAM_PTE_LEAF)
		loam_tlb_batch_add(batch, from->va, 1, from->level, false);
	else
		loam_tlb_batch_add(batch, from->va, LOAM_PT_ENTRIES, LOAM_LEVEL_PAGE, true);
	if (to != NULL && to->level == LOAM_LEVEL_HUGE)
		loam_tlb_batch_add(batch, to->va, 1, LOAM_LEVEL_PAGE, true);
}

/* Number `n` in flight: a leaf of 2 MiB, out of `from`, that will be leaves of 4 KiB; a table of Prepared pages
 * will take its place. */
static void take_leaf_apart(const struct move *m, const struct loam_ptab_slot *from, unsigned n,
			    struct loam_ptab_pool *pool)
{
	struct loam_paddr table = loam_ptab_pool_pop(pool);
	struct loam_paddr run = loam_pte_pa(m->pt->mmu, from->pte, LOAM_LEVEL_HUGE);

	loam_ptab_clear(table, LOAM_TAG_PREPARED);
	in_flight[n].from = loam_pt_swap(from->table, from->index, loam_pte_none(LOAM_TAG_NONE));
	in_flight[n].to = loam_pte_table(m->pt->mmu, table, LOAM_ATTR_WRITE);
	loam_frame_split(loam_paddr_to_pfn(run), LOAM_ORDER_HUGE, 0); /* [SPACE-2] */
}

/* Number `n` in flight: the entry `from` and, above level 0, its counterpart `to`. */
static void take_pair(const struct loam_ptab_slot *from, const struct loam_ptab_slot *to,
		      unsigned n)
{
	bool page = from->level == LOAM_LEVEL_PAGE;

	/* the exchange: hardware may note a write to the very last */
	in_flight[n].from = loam_pt_swap(from->table, from->index,
					 loam_pte_none(page ? LOAM_TAG_PREPARED : LOAM_TAG_NONE));
	in_flight[n].to = loam_pte_none(LOAM_TAG_NONE);
	if (page)
		return;
	LOAM_CHECK(to->kind == LOAM_PTE_TABLE, "[SPACE-1] Prepared memory without its table");
	in_flight[n].to = to->pte;
	loam_pt_store(to->table, to->index, loam_pte_none(LOAM_TAG_NONE));
}

/* From `done` on, as much as fits in flight is taken out. Returns where it ends. */
static size_t take_out(const struct move *m, size_t done, struct loam_ptab_pool *pool,
		       struct loam_tlb_batch *batch)
{
	struct loam_ptab_slot from, to;

	for (unsigned n = 0; n < IN_FLIGHT && done < m->size; n++) {
		unsigned level = unit_level(m, done);

		go_to(m, m->from + done, level, n == 0, &from);
		if (from.index % LOAM_CONTIG_ENTRIES == 0 && n > IN_FLIGHT - LOAM_CONTIG_ENTRIES)
			break; /* this might be a run */
		if (from.kind == LOAM_PTE_LEAF && from.level == LOAM_LEVEL_GIANT &&
		    level < LOAM_LEVEL_GIANT) {
			loam_space_split_leaf(&from, pool);
			loam_ptab_walk(m->pt, m->from + done, level, &from);
		}
		if (from.level > level) {
			take_leaf_apart(m, &from, n, pool);
			forget(batch, &from, NULL);
		} else {
			LOAM_ASSERT(from.kind != LOAM_PTE_NONE);
			if (level > LOAM_LEVEL_PAGE)
				loam_ptab_walk(m->pt, m->to + done, level, &to);
			take_pair(&from, &to, n);
			forget(batch, &from, level > LOAM_LEVEL_PAGE ? &to : NULL);
		}
		done += loam_level_size(from.level);
	}
	return done;
}

/* The leaf of `level` that is number `n` in flight, for a place where its run cannot be one. It is number
 * `index` of its table, and the other leaves of its run are beside it. */
static uint64_t without_hint(const struct move *m, unsigned n, unsigned level, unsigned index)
{
	const uint32_t noted = LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY;
	const struct loam_mmu *mmu = m->pt->mmu;
	unsigned first = n - index % LOAM_CONTIG_ENTRIES;
	uint32_t attr = loam_pte_attr(mmu, in_flight[n].from, level) & ~LOAM_ATTR_CONTIG;

	for (unsigned i = first; i < first + LOAM_CONTIG_ENTRIES; i++)
		attr |= loam_pte_attr(mmu, in_flight[i].from, level) & noted;
	return loam_pte_leaf(mmu, level, loam_pte_pa(mmu, in_flight[n].from, level), attr);
}

/* May the leaf that is number `n` in flight not keep its contiguous hint? */
static bool loses_hint(const struct move *m, unsigned n, unsigned level)
{
	const struct loam_mmu *mmu = m->pt->mmu;

	return mmu->contig && loam_pte_kind(mmu, in_flight[n].from, level) == LOAM_PTE_LEAF &&
	       (loam_pte_attr(mmu, in_flight[n].from, level) & LOAM_ATTR_CONTIG) != 0 &&
	       !loam_is_aligned(m->from ^ m->to, LOAM_CONTIG_ENTRIES * loam_level_size(level));
}

/* `leaf`, of 2 MiB, becomes 512 leaves from `to` on; `to` becomes the last one. */
static void put_apart(const struct move *m, uint64_t leaf, struct loam_ptab_slot *to)
{
	const struct loam_mmu *mmu = m->pt->mmu;
	uint32_t attr = loam_pte_attr(mmu, leaf, LOAM_LEVEL_HUGE) & ~LOAM_ATTR_CONTIG;
	uint64_t pte;

	/* [PTAB-5]: it is all in one piece, so where one run is aligned for it, all are */
	if (mmu->contig && loam_is_aligned(to->va, LOAM_CONTIG_ENTRIES * LOAM_PAGE_SIZE))
		attr |= LOAM_ATTR_CONTIG;
	/* they differ by their address alone, and by a constant, inside what was one leaf: ptab.c */
	pte = loam_pte_leaf(mmu, LOAM_LEVEL_PAGE, loam_pte_pa(mmu, leaf, LOAM_LEVEL_HUGE), attr);
	for (unsigned i = 0;; i++, pte += LOAM_PAGE_SIZE) {
		if (i == 0 || to->index == 0)
			loam_dirty_open(m->pt, to->va); /* [DIRTY-5] */
		loam_pt_store(to->table, to->index, pte);
		if (i + 1 == LOAM_PT_ENTRIES)
			return;
		loam_ptab_next(m->pt, LOAM_LEVEL_PAGE, to);
	}
}

/* What was taken out from `done` to `end` is put in. None to valid, and nobody remembers what was there
 * before: nothing to invalidate. */
static void put_in(const struct move *m, size_t done, size_t end)
{
	struct loam_ptab_slot from, to;

	for (unsigned n = 0; done < end; n++) {
		unsigned level = unit_level(m, done);
		/* of level 0 have no table, but what was a leaf of 2 MiB */
		bool apart = level == LOAM_LEVEL_PAGE && in_flight[n].to != 0;
		unsigned was = apart ? LOAM_LEVEL_HUGE : level;
		uint64_t pte = in_flight[n].from;

		if (loses_hint(m, n, was))
			pte = without_hint(m, n, was,
					   loam_pt_index(m->pt->mmu, m->from + done, was));
		go_to(m, m->to + done, level, n == 0, &to);
		LOAM_ASSERT(to.level == level && to.kind == LOAM_PTE_NONE);
		if (level == LOAM_LEVEL_PAGE && (n == 0 || to.index == 0))
			loam_dirty_open(m->pt, to.va); /* [DIRTY-5] */
		if (apart)
			put_apart(m, pte, &to);
		else
			loam_pt_store(to.table, to.index, pte);
		if (was > LOAM_LEVEL_PAGE) {
			loam_ptab_walk(m->pt, m->from + done, was, &from);
			loam_pt_store(from.table, from.index, in_flight[n].to);
		}
		done += loam_level_size(was);
	}
	loam_pt_publish(m->pt->mmu);
}

enum loam_err loam_space_move(uintptr_t from, uintptr_t to, size_t size)
{
	struct move m = {.pt = loam_space_ptab(), .from = from, .to = to, .size = size};
	struct loam_ptab_pool pool = {0};
	struct loam_tlb_batch batch;
	enum loam_err err;

	if (cuts_stack(m.pt, from) || (has_end(&m) && cuts_stack(m.pt, from + size)))
		return LOAM_BUSY;
	err = loam_space_take_tables(&pool, cuts_need(&m));
	if (err != LOAM_OK)
		return err;
	/* [EPOCH-4]: frames of `to` may wait; a table must not change its place while any do */
	loam_epoch_settle(to, size);
	cut_at(&m, from, &pool);
	if (has_end(&m))
		cut_at(&m, from + size, &pool);
	for (size_t done = 0, end; done < size; done = end) {
		loam_tlb_batch_init(&batch, m.pt->mmu);
		end = take_out(&m, done, &pool, &batch);
		loam_tlb_batch_finish(&batch); /* [MOVE-1] */
		put_in(&m, done, end);
	}
	LOAM_CHECK(pool.count == 0, "move counted its tables wrongly");
	return LOAM_OK;
}
