/* SPDX-License-Identifier: MIT */
/*
 * Write tracking: which pages were written since the last round. <loam/sys.h>, loam_sys_dirty_*.
 *
 * The CPU notes a write in the leaf that it goes through (x86_64: D; aarch64 with FEAT_HAFDBS: AP[2] of
 * a leaf with DBM; without it the write traps, and mm/demand.c notes it there). A round collects and clears
 * those notes. So that a look need not read all leaves, a round also *closes* the table entry of level 1 above
 * them: it takes its right to write, which holds for all 2 MiB below it (x86_64: R/W; aarch64: APTable). The first
 * write there traps, and mm/demand.c *opens* the entry again. A huge leaf has its note in level 1 itself.
 *
 *   close      open table entries of level 1 become closed, with a note "untold"
 *   flush      every CPU forgets all
 *   tell       below each entry that is untold, or open again, notes of leaves are cleared and told;
 *              what is untold becomes closed
 *   flush      every CPU forgets all
 *
 * A look reads the entries of level 1, and leaves only below those that are open or untold.
 *
 *   [DIRTY-1] Below an entry that is closed and not untold no page has been written since it was told:
 *             so a look may pass it by.
 *   [DIRTY-2] An entry is closed on all CPUs before the leaves below it are told. A CPU that cached the
 *             entry (or a leaf, with the right combined into it) while it was open could write without a trap, and so
 *             note a write in a leaf that was told already, below an entry that says there is none. Hence the
 *             first flush, of tables too.
 *   [DIRTY-3] A note that was cleared is forgotten by all CPUs before the round returns, and only then may
 *             the caller look at the page. A CPU that remembers "written already" notes nothing: what it writes
 *             after the caller's look would be told to nobody. What it wrote before the flush is there for the caller
 *             to see, because a CPU that forgets has first finished its stores. Hence the second flush.
 *   [DIRTY-4] Only entries of level 1 are closed, and only where all 2 MiB are of one region that is
 *             tracked: another's pages beside it keep their rights. Who comes later, where such a region has lost a part, finds
 *             the entry open, and no CPU that remembers it closed: loam_dirty_admit. To know where that is needed, an
 *             entry that is opened keeps a note that it has been closed. ("Untold" of an entry that is open means nothing else.)
 *   [DIRTY-5] Whoever makes a table, links it, or puts written leaves into one leaves the entry open, or moves it
 *             with what it says: mm/ptab.c makes them open (first mapping, split), mm/move.c opens what it
 *             moves single pages into. Fresh leaves are not written, so they may stand below a closed entry. Notes of leaves
 *             travel with them; of many that become one (mm/commit.c, collapse), it is written if any was. Memory that moves
 *             between close and tell is still untold where it comes to: the next round or look finds it.
 *   [DIRTY-6] An entry is opened, and the note of a round is taken back, by compare-and-swap. So a CPU that holds another
 *             of mm's locks, and may not take the space lock, can mend its own fault: the table of level 1
 *             itself stays where it is while a page below it is in use, and whatever else happens to the entry makes the swap fail.
 *
 * Why a note rather than a list: the lock is dropped between any two blocks, so that interrupts are never off for
 * more than one of them, and meanwhile anything may move, split, collapse, go or come. What an entry
 * says is true wherever it stands then, and there is no bound on the range.
 *
 * A leaf or a run that sticks out of the range is told and keeps its note: who cares for the rest of it has still to
 * hear. Runs of 16 (mm/contig.c) are written as a whole, since hardware may note a write in any of their leaves.
 *
 * Where the CPU keeps no dirty bits a leaf usually begins with the bit set, or its first write would trap.
 * Memory of an owner that a round has looked at begins clear: there the trap is what is wanted. By owner, because
 * it is at hand where leaves are made, and stacks, which fill in the fault handler, should not trap twice.
 *
 * Stacks of loam's (owner STACK) are left out altogether: a first write that traps must not find the CPU without a
 * stack, or, on small stacks, amid mm.
 *
 * Concurrency: the space lock, for a block at a time; one round at a time. A look wants all other CPUs
 * stopped, or it may be told of a write too late, and wants each to have waited until what its MMU writes is seen
 * (loam_cpu_complete): it flushes nothing, and on aarch64 no release and no DMB orders a note behind the store.
 * Failure: none but bad input. A round that finds no frame for a table splits nothing.
 * References: Intel SDM volume 3A, "Accessed and Dirty Flags", "Caching Translation Information" (rights are
 * combined when cached; paging-structure caches hold them too); Arm ARM DDI 0487, "Hierarchical control of
 * data access permissions", "Hardware management of dirty state", "TLB maintenance" (access rights may change in
 * place: no break-before-make).
 */
#include "mm/dirty.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "mm/contig.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "mm/tlb.h"
#include "mm/vspace.h"

#define ALIASES 16u
#define STEP	512u /* entries of level 1 that are passed by with interrupts off */

/* A stretch of addresses that a round goes through; what is at `va` is told as `va - shift`. */
struct span {
	uint64_t va, last;
	uint64_t shift;
	bool alias;
};

struct pass {
	const struct loam_ptab *pt;
	bool clear; /* a round, not a look */
	bool split;
	void (*visit)(void *arg, uintptr_t base, size_t size);
	void *arg;
	uint64_t run, run_size; /* pages in a row that are told but not passed on yet */
	uint64_t entries;	/* read */
	bool closed, cleared;	/* anything? */
};

/* Space lock. */
static struct {
	uintptr_t base, alias;
	size_t size;
} aliases[ALIASES];
static unsigned alias_count;
static bool in_round;
static uint32_t owners; /* bit n: owner n is tracked */
static struct loam_dirty_stats stats;

/* Leaves of runs that are being made small leaves: mm/contig.c, but all runs of a table at once. 0: none. */
static uint64_t broken[LOAM_PT_ENTRIES];

_Static_assert(LOAM_PT_ENTRIES / LOAM_CONTIG_ENTRIES == 32, "a bit for each run of a table");

bool loam_dirty_tracks(unsigned owner)
{
	return (owners >> owner & 1) != 0;
}

void loam_dirty_stats(struct loam_dirty_stats *out)
{
	*out = stats;
}

void loam_dirty_reset(void)
{
	alias_count = 0;
	in_round = false;
	owners = 0;
	stats = (struct loam_dirty_stats){0};
}

void loam_dirty_open(const struct loam_ptab *pt, uint64_t va)
{
	struct loam_ptab_slot slot;
	uint64_t open;

	loam_ptab_walk(pt, va, LOAM_LEVEL_HUGE, &slot);
	if (slot.kind != LOAM_PTE_TABLE ||
	    (loam_pte_attr(pt->mmu, slot.pte, slot.level) & LOAM_ATTR_WRITE) != 0)
		return;
	/* the note: other CPUs may remember it closed [DIRTY-4] */
	open = loam_pte_table(pt->mmu, loam_pte_pa(pt->mmu, slot.pte, slot.level),
			      LOAM_ATTR_WRITE | LOAM_ATTR_DIRTY);
	/* [DIRTY-6]; if it fails another CPU was first, or the entry is another now: the write is tried again */
	if (loam_pt_cas(slot.table, slot.index, slot.pte, open))
		__atomic_add_fetch(&stats.opened, 1, __ATOMIC_RELAXED);
	loam_pt_publish(pt->mmu);
}

/* As if the table entry of level 1 for `va` had never been closed. The store needs no exchange: whoever opens it
 * meanwhile wants the same. */
static void reopen(const struct loam_ptab *pt, uint64_t va)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(pt, va, LOAM_LEVEL_HUGE, &slot);
	if (slot.kind != LOAM_PTE_TABLE ||
	    loam_pte_attr(pt->mmu, slot.pte, slot.level) == LOAM_ATTR_WRITE)
		return;
	loam_pt_store(slot.table, slot.index,
		      loam_pte_table(pt->mmu, loam_pte_pa(pt->mmu, slot.pte, slot.level),
				     LOAM_ATTR_WRITE));
	loam_pt_publish(pt->mmu);
	loam_tlb_everywhere(pt->mmu, va, 1, LOAM_LEVEL_PAGE, true);
}

void loam_dirty_admit(const struct loam_ptab *pt, uint64_t va, uint64_t size)
{
	/* a table that is all in the range is empty, so it does not exist [PTAB-4] */
	reopen(pt, va);
	reopen(pt, va + (size - 1));
}

/* ---- spans ---- */

/* Number 0 is the range, the others show it by other addresses. False: not a byte of it. */
static bool span_get(unsigned n, uintptr_t base, size_t size, struct span *s)
{
	uint64_t last = base + (size - 1), lo, hi;

	*s = (struct span){.va = base, .last = last, .alias = n > 0};
	if (n == 0)
		return true;
	lo = aliases[n - 1].base;
	hi = lo + (aliases[n - 1].size - 1);
	if (lo > last || hi < base)
		return false;
	lo = lo > base ? lo : base;
	hi = hi < last ? hi : last;
	s->shift = aliases[n - 1].alias - aliases[n - 1].base;
	s->va = lo + s->shift;
	s->last = hi + s->shift;
	return true;
}

/* Is the region around `va` tracked in this span? `*stop` becomes the last byte of both. */
static bool tracked(const struct span *s, uint64_t va, uint64_t *stop)
{
	const struct loam_region *r = loam_vspace_find(va);
	uint64_t last = r->base + (r->size - 1);

	*stop = last < s->last ? last : s->last;
	if (r->reservation == 0 || r->owner == LOAM_OWNER_STACK || (r->mapped && !s->alias))
		return false;
	owners |= r->mapped ? 0 : 1u << r->owner;
	return true;
}

static bool inside(const struct span *s, uint64_t va, uint64_t size)
{
	return va >= s->va && va <= s->last && size - 1 <= s->last - va;
}

/* ---- telling ---- */

static void pass_on(struct pass *p)
{
	if (p->run_size > 0)
		p->visit(p->arg, p->run, p->run_size);
	p->run_size = 0;
}

/* What of [va, va + size) is in the span was written. */
static void tell(struct pass *p, const struct span *s, uint64_t va, uint64_t size)
{
	uint64_t lo = va > s->va ? va : s->va, hi = va + (size - 1);
	uint64_t at = lo - s->shift, n;

	hi = hi < s->last ? hi : s->last;
	n = hi - lo + 1;
	if (p->run_size == 0 || p->run + p->run_size != at) {
		pass_on(p);
		p->run = at;
	}
	p->run_size += n;
}

static uint32_t attr_of(const struct pass *p, uint64_t pte, unsigned level)
{
	return loam_pte_attr(p->pt->mmu, pte, level);
}

static uint64_t without_note(const struct pass *p, uint64_t pte, unsigned level)
{
	const struct loam_mmu *mmu = p->pt->mmu;

	return loam_pte_leaf(mmu, level, loam_pte_pa(mmu, pte, level),
			     attr_of(p, pte, level) & ~LOAM_ATTR_DIRTY);
}

/* The exchange: hardware may note a write to the very last, and it is told. Every CPU may go on believing in the
 * note until the second flush [DIRTY-3]. */
static void clear(struct pass *p, struct loam_paddr table, unsigned index, unsigned level,
		  uint64_t pte)
{
	(void)loam_pt_swap(table, index, without_note(p, pte, level));
	p->cleared = true;
}

/* Does any leaf of the run that begins with entry `first` say that it was written? */
static bool run_written(struct pass *p, struct loam_paddr table, unsigned first, unsigned level)
{
	uint32_t noted = 0;

	for (unsigned i = first; i < first + LOAM_CONTIG_ENTRIES; i++)
		noted |= attr_of(p, loam_pt_load(table, i), level);
	return (noted & LOAM_ATTR_DIRTY) != 0;
}

static void run_clear(struct pass *p, struct loam_paddr table, unsigned first, unsigned level)
{
	for (unsigned i = first; i < first + LOAM_CONTIG_ENTRIES; i++) {
		uint64_t pte = loam_pt_load(table, i);

		if ((attr_of(p, pte, level) & LOAM_ATTR_DIRTY) != 0)
			clear(p, table, i, level, pte);
	}
}

/* A leaf above level 0 that was written, or one of a run that was. Returns the last byte that is seen to. */
static uint64_t tell_leaf(struct pass *p, const struct span *s, const struct loam_ptab_slot *slot)
{
	bool run = loam_contig_is(p->pt, slot);
	unsigned first = slot->index & ~(LOAM_CONTIG_ENTRIES - 1);
	uint64_t size = loam_level_size(slot->level), va = slot->va;

	if (run) {
		va -= (slot->index - first) * size;
		size *= LOAM_CONTIG_ENTRIES;
	}
	tell(p, s, va, size);
	if (p->clear && inside(s, va, size)) {
		if (run)
			run_clear(p, slot->table, first, slot->level);
		else
			clear(p, slot->table, slot->index, slot->level, slot->pte);
	}
	if (p->clear)
		pass_on(p);
	return va + (size - 1);
}

/* May the run or leaf at `va` be taken out for a moment? Not with our own stack on it. */
static bool may_break(uint64_t va, uint64_t size)
{
	return loam_cpu_sp() - va >= size;
}

/* The run of level 0 from entry `first` on, at `va`, was written: told, and from the next round on each of its
 * leaves for itself if that is wanted. Returns whether it is to be unmade. */
static bool tell_run(struct pass *p, const struct span *s, struct loam_paddr table, unsigned first,
		     uint64_t va)
{
	const uint64_t size = LOAM_CONTIG_ENTRIES * LOAM_PAGE_SIZE;

	tell(p, s, va, size);
	if (!p->clear || !inside(s, va, size))
		return false;
	if (!p->split || !may_break(va, size)) {
		run_clear(p, table, first, LOAM_LEVEL_PAGE);
		return false;
	}
	stats.split++;
	return true;
}

/* `runs` (bit n: the run from entry 16 n on), all told, are taken out and come back as small leaves, not written:
 * break-before-make, once for all of a table. Nobody is called meanwhile [PTAB-6]. */
static void unmake_runs(struct pass *p, struct loam_paddr table, uint32_t runs)
{
	const uint32_t gone = LOAM_ATTR_CONTIG | LOAM_ATTR_DIRTY;
	const struct loam_mmu *mmu = p->pt->mmu;

	loam_ptab_break_begin();
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		if ((runs >> i / LOAM_CONTIG_ENTRIES & 1) != 0)
			broken[i] = loam_pt_swap(table, i, loam_pte_none(LOAM_TAG_NONE));
	}
	loam_tlb_everywhere_all(mmu);
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		if (broken[i] == 0)
			continue;
		loam_pt_store(table, i,
			      loam_pte_leaf(mmu, LOAM_LEVEL_PAGE,
					    loam_pte_pa(mmu, broken[i], LOAM_LEVEL_PAGE),
					    attr_of(p, broken[i], LOAM_LEVEL_PAGE) & ~gone));
		broken[i] = 0;
	}
	loam_pt_publish(mmu);
	loam_ptab_break_end();
}

/* How many of the leaves from entry `i` on, up to `end`, are small, and were written. They are cleared in a round; what
 * the note looks like depends on the other attributes alone, and is found out when those change. */
static unsigned count_written(struct pass *p, struct loam_paddr table, unsigned i, unsigned end)
{
	const struct loam_mmu *mmu = p->pt->mmu;
	uint32_t known = 0;
	uint64_t note = 0;
	unsigned n = 0;

	for (; i + n < end; n++) {
		uint64_t pte = loam_pt_load(table, i + n);
		uint32_t attr = loam_pte_attr(mmu, pte, LOAM_LEVEL_PAGE);

		if (loam_pte_kind(mmu, pte, LOAM_LEVEL_PAGE) != LOAM_PTE_LEAF ||
		    (attr & (LOAM_ATTR_DIRTY | LOAM_ATTR_CONTIG)) != LOAM_ATTR_DIRTY)
			break;
		if (!p->clear)
			continue;
		if (attr != known)
			note = pte ^ without_note(p, pte, LOAM_LEVEL_PAGE);
		known = attr;
		/* as clear() */
		(void)loam_pt_swap(table, i + n, pte ^ note);
	}
	p->cleared |= p->clear && n > 0;
	return n;
}

/* The bits of an entry, a small leaf or a table's, that say where it leads. Entries that differ in nothing else have the same to
 * tell: seldom is one taken apart. */
static uint64_t address_bits(const struct loam_mmu *mmu)
{
	return loam_pte_table(mmu, loam_paddr(~(LOAM_PAGE_SIZE - 1)), 0) ^
	       loam_pte_table(mmu, loam_paddr(0), 0);
}

#define TOGETHER 8u /* entries between two looks at how many are left */

/* From entry `i` on, and before `end`: the first that is of neither kind, in what matters. */
static inline unsigned pass_by(struct loam_paddr table, unsigned i, unsigned end, uint64_t matters,
			       uint64_t one, uint64_t other)
{
	uint64_t kind;

	for (; end - i >= TOGETHER; i += TOGETHER) {
		/* so a loop has one address that moves */
		struct loam_paddr at = loam_paddr(table.raw + i * sizeof(kind));

#pragma GCC unroll 8
		for (unsigned n = 0; n < TOGETHER; n++) {
			kind = loam_pt_load(at, n) & matters;
			if (kind != one && kind != other)
				return i + n;
		}
	}
	for (; i < end; i++) {
		kind = loam_pt_load(table, i) & matters;
		if (kind != one && kind != other)
			break;
	}
	return i;
}

/* What was written of [va, last], all in one table of level 0. */
static void tell_pages(struct pass *p, const struct span *s, struct loam_paddr table, uint64_t va,
		       uint64_t last)
{
	const struct loam_mmu *mmu = p->pt->mmu;
	unsigned i = loam_pt_index(mmu, va, LOAM_LEVEL_PAGE), n;
	unsigned end = i + (unsigned)((last - va) >> LOAM_PAGE_SHIFT) + 1;
	uint32_t runs = 0; /* to be unmade */
	uint64_t base = va - i * LOAM_PAGE_SIZE;
	uint64_t matters = ~address_bits(mmu), known = loam_pte_none(LOAM_TAG_NONE) & matters;

	p->entries += end - i;
	while ((i = pass_by(table, i, end, matters, known, known)) < end) {
		uint64_t pte = loam_pt_load(table, i);
		uint32_t attr;

		if (loam_pte_kind(mmu, pte, LOAM_LEVEL_PAGE) != LOAM_PTE_LEAF) {
			known = pte & matters;
			i++;
			continue;
		}
		attr = loam_pte_attr(mmu, pte, LOAM_LEVEL_PAGE) &
		       (LOAM_ATTR_DIRTY | LOAM_ATTR_CONTIG);
		if ((attr & LOAM_ATTR_CONTIG) != 0) {
			i &= ~(LOAM_CONTIG_ENTRIES - 1);
			if (run_written(p, table, i, LOAM_LEVEL_PAGE) &&
			    tell_run(p, s, table, i, base + i * LOAM_PAGE_SIZE))
				runs |= UINT32_C(1) << i / LOAM_CONTIG_ENTRIES;
			i += LOAM_CONTIG_ENTRIES;
		} else if (attr == 0) {
			known = pte & matters;
			i++;
		} else {
			n = count_written(p, table, i, end);
			tell(p, s, base + i * LOAM_PAGE_SIZE, n * LOAM_PAGE_SIZE);
			i += n;
		}
	}
	if (p->clear)
		pass_on(p);
	if (runs != 0)
		unmake_runs(p, table, runs);
}

/* The table entry in `slot` is open or untold: its leaves in [va, last]. */
static void tell_table(struct pass *p, const struct span *s, const struct loam_ptab_slot *slot,
		       uint64_t va, uint64_t last)
{
	const struct loam_mmu *mmu = p->pt->mmu;
	struct loam_paddr table = loam_pte_pa(mmu, slot->pte, slot->level);

	tell_pages(p, s, table, va, last);
	/* [DIRTY-1]: all of it is told; [DIRTY-6]: if a write has opened it meanwhile it stays open */
	if (p->clear && (attr_of(p, slot->pte, slot->level) & LOAM_ATTR_WRITE) == 0 &&
	    va == slot->va && last == loam_ptab_slot_last(slot))
		(void)loam_pt_cas(slot->table, slot->index, slot->pte,
				  loam_pte_table(mmu, table, 0));
	loam_pt_publish(mmu);
}

/* Has this entry of level 1 nothing to tell? */
static bool is_quiet(const struct pass *p, uint64_t pte)
{
	enum loam_pte_kind kind = loam_pte_kind(p->pt->mmu, pte, LOAM_LEVEL_HUGE);

	return kind == LOAM_PTE_NONE ||
	       (attr_of(p, pte, LOAM_LEVEL_HUGE) &
		(kind == LOAM_PTE_TABLE ? ~0u : LOAM_ATTR_DIRTY | LOAM_ATTR_CONTIG)) == 0;
}

/*
 * How many entries of level 1, from the one in `slot` on and in its table, have nothing to tell; at most `most`. A
 * stop waits for this, so it seldom takes an entry apart: mostly the next one differs from one of the last two
 * kinds, tables and huge leaves, in nothing but where it leads.
 */
static unsigned quiet(struct pass *p, const struct loam_ptab_slot *slot, uint64_t most)
{
	uint64_t matters = ~address_bits(p->pt->mmu);
	uint64_t one = loam_pte_none(LOAM_TAG_NONE) & matters, other = one;
	unsigned i = slot->index, end = LOAM_PT_ENTRIES;

	if (most < end - i)
		end = i + (unsigned)most;
	while ((i = pass_by(slot->table, i, end, matters, one, other)) < end) {
		uint64_t pte = loam_pt_load(slot->table, i);

		if (!is_quiet(p, pte))
			break;
		other = one;
		one = pte & matters;
		i++;
	}
	p->entries += i - slot->index;
	return i - slot->index;
}

/* From `va` on: one entry of level 1 (or a leaf of 1 GiB) that has something to tell, or STEP that have not; a
 * look goes on to the end. Returns where to go on, 0 or beyond the span: nowhere. */
static uint64_t tell_some(struct pass *p, const struct span *s, uint64_t va)
{
	struct loam_ptab_slot slot;
	uint64_t stop;

	if (!tracked(s, va, &stop))
		return stop + 1;
	loam_ptab_walk(p->pt, va, LOAM_LEVEL_HUGE, &slot);
	for (unsigned n = 0; n < STEP || !p->clear; n++) {
		uint64_t at = slot.va > va ? slot.va : va, last = loam_ptab_slot_last(&slot);

		if (slot.level == LOAM_LEVEL_HUGE) {
			uint64_t size = loam_level_size(LOAM_LEVEL_HUGE);
			unsigned by = quiet(p, &slot, (stop - slot.va) / size + 1);

			if (by > 0 && stop - slot.va < by * size)
				return stop + 1;
			if (by > 0) {
				n += by;
				loam_ptab_walk(p->pt, slot.va + by * size, LOAM_LEVEL_HUGE, &slot);
				continue;
			}
		}
		last = last < stop ? last : stop;
		p->entries++;
		if (slot.kind == LOAM_PTE_TABLE && attr_of(p, slot.pte, slot.level) != 0) {
			tell_table(p, s, &slot, at, last);
			if (p->clear)
				return last + 1;
		} else if (slot.kind == LOAM_PTE_LEAF &&
			   (loam_contig_noted(p->pt, &slot) & LOAM_ATTR_DIRTY) != 0) {
			return tell_leaf(p, s, &slot) + 1;
		}
		if (last == stop)
			return stop + 1;
		loam_ptab_next(p->pt, LOAM_LEVEL_HUGE, &slot);
	}
	return slot.va;
}

/* ---- closing ---- */

/* The huge leaf in `slot`, which was written, becomes smaller ones, with what was noted since. False: it stays. */
static bool split(struct pass *p, struct loam_ptab_slot *slot)
{
	bool run = loam_contig_is(p->pt, slot), mapped = loam_vspace_find(slot->va)->mapped;
	uint64_t size = loam_level_size(slot->level) * (run ? LOAM_CONTIG_ENTRIES : 1);
	struct loam_ptab_pool pool = {0};

	if (!may_break(loam_align_down(slot->va, size), size) ||
	    loam_space_take_tables(&pool, 1) != LOAM_OK)
		return false;
	if (mapped) /* the frames are somebody else's */
		loam_ptab_split(p->pt, slot, loam_ptab_pool_pop(&pool), LOAM_PT_ENTRIES,
				LOAM_TAG_NONE);
	else
		loam_space_split_leaf(slot, &pool);
	stats.split++;
	return true;
}

/* Close the open table entry in `slot`, of which [va, last] is tracked. Rights may change in place. */
static void close_table(struct pass *p, const struct loam_ptab_slot *slot, uint64_t va,
			uint64_t last)
{
	const struct loam_mmu *mmu = p->pt->mmu;

	if ((attr_of(p, slot->pte, slot->level) & LOAM_ATTR_WRITE) == 0 || slot->va < va ||
	    loam_ptab_slot_last(slot) > last)
		return; /* [DIRTY-4] */
	loam_pt_store(
		slot->table, slot->index,
		loam_pte_table(mmu, loam_pte_pa(mmu, slot->pte, slot->level), LOAM_ATTR_DIRTY));
	p->closed = true;
	stats.closed++;
}

/* From `va` on, STEP entries of level 1, or until something was split. Returns as tell_some. */
static uint64_t close_some(struct pass *p, const struct span *s, uint64_t va)
{
	const struct loam_region *r = loam_vspace_find(va);
	uint64_t lo = r->base > s->va ? r->base : s->va, stop;
	struct loam_ptab_slot slot;

	if (!tracked(s, va, &stop))
		return stop + 1;
	loam_ptab_walk(p->pt, va, LOAM_LEVEL_HUGE, &slot);
	for (unsigned n = 0; n < STEP; n++) {
		uint64_t at = slot.va > va ? slot.va : va, last = loam_ptab_slot_last(&slot);

		p->entries++;
		if (slot.kind == LOAM_PTE_TABLE) {
			close_table(p, &slot, lo, stop);
		} else if (slot.kind == LOAM_PTE_LEAF && p->split &&
			   (loam_contig_noted(p->pt, &slot) & LOAM_ATTR_DIRTY) != 0) {
			bool huge = slot.level == LOAM_LEVEL_HUGE;

			/* told as the one leaf that it is; what is written from here on is told of the
			 * smaller ones, whose table is closed next. What was 1 GiB is 2 MiB
			 * now, and that will do for this round. */
			(void)tell_leaf(p, s, &slot);
			if (split(p, &slot))
				return huge ? at : last + 1;
		}
		if (last >= stop)
			return stop + 1;
		loam_ptab_next(p->pt, LOAM_LEVEL_HUGE, &slot);
	}
	return slot.va;
}

/* ---- rounds and looks ---- */

static void go_through(struct pass *p, uintptr_t base, size_t size,
		       uint64_t (*some)(struct pass *p, const struct span *s, uint64_t va))
{
	struct span s;

	for (unsigned n = 0; n <= alias_count; n++) {
		uint64_t va = 0;

		if (span_get(n, base, size, &s))
			va = s.va;
		while (va != 0 && va <= s.last) {
			uintptr_t irq = loam_sys_enter();

			va = some(p, &s, va);
			(void)loam_sys_leave(irq, LOAM_OK);
		}
	}
}

/* Every CPU forgets everything, tables too, and has finished what it wrote before. */
static void flush(const struct pass *p)
{
	uintptr_t irq = loam_sys_enter();

	loam_tlb_everywhere_all(p->pt->mmu);
	(void)loam_sys_leave(irq, LOAM_OK);
}

static bool range_ok(uintptr_t base, size_t size)
{
	return loam_sys_is_up() && size != 0 && loam_is_aligned(base | size, LOAM_PAGE_SIZE) &&
	       base + (size - 1) >= base && loam_vspace_find(base) != NULL &&
	       loam_vspace_find(base + (size - 1)) != NULL;
}

bool loam_sys_dirty_can(void)
{
	return loam_sys_is_up() && loam_space_ptab()->mmu->table_write;
}

/* Begin a round or a look, or say why not. */
static enum loam_err begin(uintptr_t base, size_t size, const struct pass *p)
{
	if (!loam_sys_dirty_can())
		return LOAM_NOTSUP;
	if (p->visit == NULL || !range_ok(base, size))
		return LOAM_INVAL;
	if (in_round)
		return LOAM_BUSY;
	in_round = p->clear;
	return LOAM_OK;
}

static void end_round(const struct pass *p)
{
	uintptr_t irq = loam_sys_enter();

	in_round = false;
	stats.rounds++;
	stats.round_entries += p->entries;
	(void)loam_sys_leave(irq, LOAM_OK);
}

enum loam_err loam_sys_dirty_round(uintptr_t base, size_t size, bool split_written,
				   void (*visit)(void *arg, uintptr_t base, size_t size), void *arg)
{
	struct pass p = {.pt = loam_space_ptab(),
			 .clear = true,
			 .split = split_written,
			 .visit = visit,
			 .arg = arg};
	uintptr_t irq = loam_sys_enter();
	enum loam_err err = loam_sys_leave(irq, begin(base, size, &p));

	if (err != LOAM_OK)
		return err;
	go_through(&p, base, size, close_some);
	if (p.closed)
		flush(&p); /* [DIRTY-2] */
	go_through(&p, base, size, tell_some);
	if (p.cleared)
		flush(&p); /* [DIRTY-3] */
	end_round(&p);
	return LOAM_OK;
}

enum loam_err loam_sys_dirty_look(uintptr_t base, size_t size,
				  void (*visit)(void *arg, uintptr_t base, size_t size), void *arg)
{
	struct pass p = {.pt = loam_space_ptab(), .visit = visit, .arg = arg};
	uintptr_t irq = loam_sys_enter();
	enum loam_err err = begin(base, size, &p);
	struct span s;

	loam_cpu_complete(); /* what this CPU wrote; the others did as they stopped */
	for (unsigned n = 0; err == LOAM_OK && n <= alias_count; n++) {
		uint64_t va = 0;

		if (span_get(n, base, size, &s))
			va = s.va;
		while (va != 0 && va <= s.last)
			va = tell_some(&p, &s, va);
	}
	pass_on(&p);
	stats.looks += err == LOAM_OK;
	stats.look_entries += p.entries;
	return loam_sys_leave(irq, err);
}

/* ---- aliases ---- */

static enum loam_err alias_add(uintptr_t base, size_t size, uintptr_t alias)
{
	if (!range_ok(base, size) || !range_ok(alias, size) || base == alias)
		return LOAM_INVAL;
	if (in_round)
		return LOAM_BUSY;
	for (unsigned n = 0; n < alias_count; n++) {
		if (aliases[n].alias - alias < size || alias - aliases[n].alias < aliases[n].size)
			return LOAM_EXIST;
	}
	if (alias_count == ALIASES)
		return LOAM_LIMIT;
	aliases[alias_count].base = base;
	aliases[alias_count].size = size;
	aliases[alias_count++].alias = alias;
	return LOAM_OK;
}

static enum loam_err alias_remove(uintptr_t alias)
{
	if (in_round)
		return LOAM_BUSY;
	for (unsigned n = 0; n < alias_count; n++) {
		if (aliases[n].alias == alias) {
			aliases[n] = aliases[--alias_count];
			return LOAM_OK;
		}
	}
	return LOAM_NOENT;
}

enum loam_err loam_sys_dirty_alias(uintptr_t base, size_t size, uintptr_t alias)
{
	uintptr_t irq = loam_sys_enter();

	return loam_sys_leave(irq,
			      loam_sys_dirty_can() ? alias_add(base, size, alias) : LOAM_NOTSUP);
}

enum loam_err loam_sys_dirty_alias_remove(uintptr_t alias)
{
	uintptr_t irq = loam_sys_enter();

	return loam_sys_leave(irq, loam_sys_dirty_can() ? alias_remove(alias) : LOAM_NOTSUP);
}
