/* SPDX-License-Identifier: MIT */
/*
 * Page tables: one iterative walker for both ISAs. The theory stands in ptab.c.
 *
 * A mapping operation is prepared, then committed: the caller asks how many tables it needs,
 * fills a pool, and calls; with enough tables in the pool it cannot fail half-way. ptab takes no
 * frame and frees none: tables come from a pool and emptied tables go into a tlb batch.
 * The caller serialises all changes to one ptab.
 */
#ifndef LOAM_MM_PTAB_H
#define LOAM_MM_PTAB_H

#include <loam/err.h>

#include "arch/mmu.h"
#include "mm/tlb.h"

struct loam_ptab {
	const struct loam_mmu *mmu;
	struct loam_paddr root;
};

/* Zeroed frames to make tables of, linked through their first word. Zero-initialised is empty. */
struct loam_ptab_pool {
	struct loam_paddr head;
	size_t count;
};

/* Put one zeroed frame in, or take one out, zeroed: a table of 512 nones. */
void loam_ptab_pool_push(struct loam_ptab_pool *pool, struct loam_paddr frame);
struct loam_paddr loam_ptab_pool_pop(struct loam_ptab_pool *pool);

/* Every entry of a table that nothing leads to becomes a none with `tag`. */
void loam_ptab_clear(struct loam_paddr table, unsigned tag);

/* One entry, found by a walk: where it stands, what it says, and what it covers. */
struct loam_ptab_slot {
	uint64_t va; /* start of what the entry maps */
	uint64_t pte;
	struct loam_paddr table;
	unsigned index;
	unsigned level;
	enum loam_pte_kind kind; /* of `pte`; TABLE only if the walk was told to stop above it */
};

/* The last byte that it covers: the top of the address space does not wrap. */
static inline uint64_t loam_ptab_slot_last(const struct loam_ptab_slot *slot)
{
	return slot->va + (loam_level_size(slot->level) - 1);
}

/* Walk to the entry that decides `va`: a leaf, a none, or the entry at `stop_level`. */
void loam_ptab_walk(const struct loam_ptab *pt, uint64_t va, unsigned stop_level,
		    struct loam_ptab_slot *slot);

/* On to the entry behind this one (va + size of its level), down to `stop_level` again.
 * Cheap inside one table. */
void loam_ptab_next(const struct loam_ptab *pt, unsigned stop_level, struct loam_ptab_slot *slot);

/* What the entries of a range say, in bytes of it; the rest is none without a tag. */
struct loam_ptab_tally {
	uint64_t leaf_bytes;
	uint64_t large_bytes; /* part of leaf_bytes, under leaves above level 0 */
	uint64_t tagged_bytes;
};

/* Count [va, va + size), page-aligned. */
void loam_ptab_tally(const struct loam_ptab *pt, uint64_t va, uint64_t size,
		     struct loam_ptab_tally *tally);

/*
 * Map [va, va + size) to [pa, pa + size) with `attr`, using leaves up to `max_level` where
 * alignment allows. Every page must be unmapped before (tagged entries count as unmapped).
 * Fails, with nothing changed: EXIST; INVAL (unaligned, out of range, attributes refused);
 * NOMEM pool too small (loam_ptab_map_need tells).
 */
LOAM_MUST_USE enum loam_err loam_ptab_map(const struct loam_ptab *pt, struct loam_ptab_pool *pool,
					  uint64_t va, struct loam_paddr pa, uint64_t size,
					  uint32_t attr, unsigned max_level);
size_t loam_ptab_map_need(const struct loam_ptab *pt, uint64_t va, struct loam_paddr pa,
			  uint64_t size, unsigned max_level);

/*
 * Mark [va, va + size) with `tag`, page by page, in not-present entries of level 0, building
 * every table on the way. Every page must be unmapped before. Fails, with nothing changed:
 * EXIST; INVAL; NOMEM pool too small (loam_ptab_tag_need tells, exactly).
 */
LOAM_MUST_USE enum loam_err loam_ptab_tag(const struct loam_ptab *pt, struct loam_ptab_pool *pool,
					  uint64_t va, uint64_t size, unsigned tag);
size_t loam_ptab_tag_need(const struct loam_ptab *pt, uint64_t va, uint64_t size);

/*
 * How many tables does it take to split the leaves that stick out at either end of the range?
 * Exact; at most 2 * (levels - 1).
 */
size_t loam_ptab_split_need(const struct loam_ptab *pt, uint64_t va, uint64_t size);

/*
 * Unmap: every leaf of the range becomes a none with `tag`, and so does every none of level 0
 * (with LOAM_TAG_PREPARED each page must have its level-0 entry). Each leaf's invalidation goes
 * into `batch`, and with `give_back` its frames are queued there for release too: a run of the
 * leaf's own order. With LOAM_TAG_NONE tables that become empty are unlinked and queued, but
 * never one that hangs at the root: kernels copy root entries. The caller finishes the batch.
 * Leaves that stick out are split first from the pool; with `give_back` there must be none,
 * because their frames need splitting too. Fails, with nothing changed: INVAL; NOMEM pool too
 * small (loam_ptab_split_need).
 */
LOAM_MUST_USE enum loam_err loam_ptab_unmap(const struct loam_ptab *pt, struct loam_ptab_pool *pool,
					    struct loam_tlb_batch *batch, uint64_t va,
					    uint64_t size, unsigned tag, bool give_back);

/*
 * Change the attributes of every leaf in the range to `attr`; all of it must be mapped. Leaves
 * that stick out are split. What hardware noted in the accessed and dirty bits is kept.
 * Invalidation goes into `batch` unless the change only adds rights.
 * Fails, with nothing changed: NOENT something is unmapped; INVAL; NOMEM pool too small
 * (loam_ptab_split_need).
 */
LOAM_MUST_USE enum loam_err loam_ptab_protect(const struct loam_ptab *pt,
					      struct loam_ptab_pool *pool,
					      struct loam_tlb_batch *batch, uint64_t va,
					      uint64_t size, uint32_t attr);

/*
 * The leaf in `slot` (level 1 or higher) becomes a table of leaves one level down that map the
 * same memory with the same attributes; all but entry `hole`, which becomes a none with `tag`
 * (LOAM_PT_ENTRIES: no hole). Breaks before it makes: another CPU may see a spurious fault, which
 * loam_fault_handle mends also while that CPU holds, or spins for, a lock of mm's [PTAB-6].
 * `table` is a frame whose contents may be anything; it may be the one that the hole mapped. */
void loam_ptab_split(const struct loam_ptab *pt, struct loam_ptab_slot *slot,
		     struct loam_paddr table, unsigned hole, unsigned tag);

/* Replace whatever stands in `slot` by `pte`, breaking first where the ISA demands it; the old
 * entry's invalidation, and that of all below it, is complete on return. */
void loam_ptab_replace(const struct loam_ptab *pt, struct loam_ptab_slot *slot, uint64_t pte);

/*
 * Break-before-make takes memory that is in use away for a moment. Whoever does it says when, before the entry goes
 * and when it is back and published [PTAB-6]; no lock is taken between, and no hook called but those that reach other CPUs.
 * Context: as all changes.
 */
void loam_ptab_break_begin(void);
void loam_ptab_break_end(void);

/* For a CPU that may not wait for the space lock, and found memory gone. Has another CPU an entry out now, or had it one
 * out since `before`, which is what loam_ptab_breaks said before the look? Context: IRQs off. */
uint64_t loam_ptab_breaks(void);
bool loam_ptab_broken_since(uint64_t before);

/* Are all entries of a table none, without a tag? */
bool loam_ptab_is_empty(struct loam_paddr table);

/* Walk every table under [va_min, va_max] and panic on the first broken invariant. */
void loam_ptab_verify(const struct loam_ptab *pt, uint64_t va_min, uint64_t va_max);

/* Count the tables in use below the root (the root not counted). */
size_t loam_ptab_table_count(const struct loam_ptab *pt, uint64_t va_min, uint64_t va_max);

/* Print the walk for `va`, an entry a line, through loam_log. Context: any. */
void loam_ptab_dump_walk(const struct loam_ptab *pt, uint64_t va);

#endif
