/* SPDX-License-Identifier: MIT */
/*
 * Faults that can be repaired: <loam/vm.h>, loam_fault_handle.
 *
 * Five kinds: a Prepared page of a lazy region is touched and gets its frame; an accessed or
 * dirty bit that this CPU's hardware does not keep is set; the first write below a table entry that write
 * tracking has closed opens it (mm/dirty.c); a fault that the tables do not
 * bear out (another CPU mended it, or this one remembered old rights) is told to this CPU's TLB; and
 * a TLB conflict, which an entry changed in place may cause for a moment (mm/contig.c), is flushed.
 * Anything else is the program's fault.
 *
 * A context that faults here mostly holds no lock of mm's, and spins for none. If this CPU does, it may still
 * touch the caller's stack or result, and these may be in memory that is tracked, or that another CPU takes out of the tables
 * for a moment (break-before-make). So what can be mended without the space lock is: a leaf that is there is noted
 * and opened [DIRTY-6], and while another CPU breaks something the touch is tried again, until that is over [PTAB-6].
 * But no page is filled: loam's stacks have grown before the lock was asked for [STACK-2], and nothing else of that kind is
 * touched. So that no page is there is a bug, and the report is printed instead of a deadlock.
 * No heap, no hook; a walk, one frame, two entries.
 */
#include "arch/mmu.h"
#include "mm/dirty.h"
#include "mm/lock.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"

#include <loam/vm.h>

static bool grants(uint32_t attr, enum loam_access access)
{
	if (access == LOAM_ACCESS_EXEC)
		return (attr & LOAM_ATTR_EXEC) != 0;
	return access == LOAM_ACCESS_READ || (attr & LOAM_ATTR_WRITE) != 0;
}

/*
 * A leaf is there now. Note what hardware does not, and forget what this CPU remembers, of tables too. All
 * that changes is given, not taken: other CPUs need not hear of it. Where the exchange fails somebody else has
 * changed the leaf, and the touch is tried again. (Without the lock the table may have just gone, if a collapse is
 * under way: what fits to the bit is a leaf of a frame that is free, and writable or not makes no difference there.)
 */
static bool mend_leaf(const struct loam_ptab *pt, struct loam_ptab_slot *slot,
		      enum loam_access access)
{
	uint32_t attr = loam_pte_attr(pt->mmu, slot->pte, slot->level);
	uint32_t noted = attr | LOAM_ATTR_ACCESSED;

	if (!grants(attr, access))
		return false;
	if (access == LOAM_ACCESS_WRITE) {
		noted |= LOAM_ATTR_DIRTY;
		loam_dirty_open(pt, slot->va); /* first: [DIRTY-1] */
	}
	if (noted != attr)
		(void)loam_pt_cas(slot->table, slot->index, slot->pte,
				  loam_pte_leaf(pt->mmu, slot->level,
						loam_pte_pa(pt->mmu, slot->pte, slot->level),
						noted));
	loam_pt_publish(pt->mmu);
	loam_tlb_local(pt->mmu, slot->va, 1, slot->level, access == LOAM_ACCESS_WRITE);
	return true;
}

static enum loam_err fill_once(const struct loam_region *r, const struct loam_ptab_slot *slot,
			       uint64_t *bytes)
{
	if (!loam_sys_may_fill(LOAM_PAGE_SIZE))
		return LOAM_LIMIT;
	return loam_space_fill(r, slot, r->hugepage && loam_sys_may_fill(LOAM_HUGE_SIZE), bytes);
}

static bool fill(const struct loam_region *r, const struct loam_ptab_slot *slot)
{
	enum loam_err err;
	uint64_t bytes;

	if (!r->lazy || r->mapped || r->pooled)
		return false;
	do /* kept stacks that are freed meanwhile are neither this region nor under this table's slot */
		err = fill_once(r, slot, &bytes);
	while (loam_sys_short(err));
	if (err != LOAM_OK)
		return false;
	loam_sys_filled((enum loam_owner)r->owner, bytes);
	return true;
}

/* With the space lock. */
static bool mend(const struct loam_fault *f)
{
	const struct loam_ptab *pt = loam_space_ptab();
	const struct loam_region *r = loam_vspace_find(f->addr);
	struct loam_ptab_slot slot;

	if (r == NULL || r->reservation == 0)
		return false;
	loam_ptab_walk(pt, f->addr, LOAM_LEVEL_PAGE, &slot);
	if (slot.kind == LOAM_PTE_LEAF)
		return mend_leaf(pt, &slot, f->access);
	if (f->access == LOAM_ACCESS_EXEC || loam_pte_tag(slot.pte) != LOAM_TAG_PREPARED)
		return false;
	return fill(r, &slot);
}

/*
 * Without it: the regions may be changing, so they are not asked. A leaf in the window is in use, and tells enough. While
 * another CPU has an entry out, which may be the reason, the touch is tried again; that CPU may be waiting for this one to
 * forget.
 */
static bool mend_unlocked(const struct loam_fault *f)
{
	const struct loam_ptab *pt = loam_space_ptab();
	uint64_t breaks = loam_ptab_breaks();
	struct loam_ptab_slot slot;

	if (!loam_vspace_covers(f->addr))
		return false;
	loam_ptab_walk(pt, f->addr, LOAM_LEVEL_PAGE, &slot);
	if (loam_ptab_broken_since(breaks)) {
		loam_cpu_poll_or_relax();
		return true;
	}
	return slot.kind == LOAM_PTE_LEAF && mend_leaf(pt, &slot, f->access);
}

bool loam_fault_handle(const struct loam_fault *fault)
{
	uintptr_t irq;
	bool mended;

	if (fault->tlb_conflict) {
		/* Arm ARM, "TLB conflict aborts": whatever is remembered of the address goes */
		loam_tlb_local_all(loam_space_ptab()->mmu);
		return true;
	}
	if (fault->external)
		return false;
	if (loam_lockrank_held())
		return mend_unlocked(fault);
	irq = loam_sys_enter();
	mended = mend(fault);
	(void)loam_sys_leave(irq, LOAM_OK);
	return mended;
}
