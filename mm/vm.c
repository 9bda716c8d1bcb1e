/* SPDX-License-Identifier: MIT */
/*
 * Explicit mappings, rights, and demand paging: <loam/vm.h>.
 *
 * A mapping is a region like any other, in the state Mapped: its frames belong to the caller, so
 * none of the ten calls touches it, and taking it down gives back tables and address space
 * alone. Lock and books are those of mm/sys.c, page tables those of mm/space.c.
 *
 * What may be mapped: anything that is not RAM of loam's, and RAM that the caller took with
 * loam_frame_alloc for HOST or TEST. RAM only as write-back: the direct map names it too, and two
 * memory types for one frame are a bug on both ISAs (Arm ARM, "Mismatched memory attributes"; Intel
 * SDM volume 3A, "Programming the PAT").
 */
#include <loam/vm.h>

#include "arch/mmu.h"
#include "mm/contig.h"
#include "mm/frame.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "mm/zone.h"

static bool rights_ok(unsigned rights)
{
	const unsigned both = LOAM_VM_WRITE | LOAM_VM_EXEC;

	return (rights & LOAM_VM_READ) != 0 && (rights & both) != both &&
	       (rights & ~(LOAM_VM_READ | both)) == 0;
}

static uint32_t attr_of(unsigned rights)
{
	return ((rights & LOAM_VM_WRITE) != 0 ? LOAM_ATTR_WRITE : 0) |
	       ((rights & LOAM_VM_EXEC) != 0 ? LOAM_ATTR_EXEC : 0);
}

static uint32_t memory_attr(enum loam_vm_memory memory)
{
	static const uint32_t attr[LOAM_VM_MEMORY_COUNT] = {
		[LOAM_VM_WRITE_BACK] = LOAM_ATTR_MEM_WB,
		[LOAM_VM_WRITE_COMBINING] = LOAM_ATTR_MEM_WC,
		[LOAM_VM_UNCACHED] = LOAM_ATTR_MEM_UC,
		[LOAM_VM_DEVICE] = LOAM_ATTR_MEM_DEV,
	};

	return attr[memory];
}

/* Is the range free of RAM that loam uses itself? */
static bool frames_ok(struct loam_paddr pa, size_t size, enum loam_vm_memory memory)
{
	uint64_t first = loam_paddr_to_pfn(pa).raw, end = first + size / LOAM_PAGE_SIZE;

	for (uint64_t at = loam_zone_next(first); at < end; at = loam_zone_next(at + 1)) {
		enum loam_owner owner;
		unsigned order;

		if (loam_frame_query(loam_pfn(at), &owner, &order) != LOAM_OK)
			continue;
		if ((owner != LOAM_OWNER_HOST && owner != LOAM_OWNER_TEST) ||
		    memory != LOAM_VM_WRITE_BACK)
			return false;
	}
	return true;
}

/* The largest leaf that the physical range allows, so that a virtual range can be chosen for it. */
static size_t best_align(const struct loam_mmu *mmu, struct loam_paddr pa, size_t size)
{
	for (unsigned level = LOAM_LEVEL_GIANT; level > 0; level--) {
		if ((mmu->leaf_mask >> level & 1) != 0 && size >= loam_level_size(level) &&
		    loam_is_aligned(pa.raw, loam_level_size(level)))
			return loam_level_size(level);
	}
	return LOAM_PAGE_SIZE;
}

static enum loam_err map_locked(uintptr_t at, struct loam_paddr pa, size_t size, uint32_t attr,
				uintptr_t *base)
{
	const struct loam_mmu *mmu = loam_space_ptab()->mmu;
	size_t align = at != 0 ? LOAM_PAGE_SIZE : best_align(mmu, pa, size);
	struct loam_region *r = at != 0 ? loam_vspace_find(at) : NULL;
	enum loam_err err;

	if (at != 0 && r == NULL)
		return LOAM_INVAL;
	if (r != NULL && (r->reservation != 0 || r->size - (at - r->base) < size))
		return LOAM_EXIST;
	err = loam_sys_reserve_locked(at, size, align, LOAM_CALL_VM_MAP, &r);
	if (err != LOAM_OK)
		return err;
	err = loam_space_map(r->base, pa, size, attr);
	if (err != LOAM_OK) {
		loam_sys_release(r->base, size, LOAM_CALL_FREE); /* a whole region: no record */
		return err;
	}
	*base = r->base;
	r->mapped = true;
	r->owner = LOAM_OWNER_HOST;
	loam_sys_mapped(size, +1);
	return LOAM_OK;
}

enum loam_err loam_vm_map(uintptr_t at, struct loam_paddr pa, size_t size, unsigned rights,
			  enum loam_vm_memory memory, uintptr_t *base)
{
	const struct loam_mmu *mmu = loam_space_ptab()->mmu;
	uintptr_t irq, where = 0;
	enum loam_err err;
	uint32_t attr;

	if (mmu == NULL || size == 0 || !loam_is_aligned(at | pa.raw | size, LOAM_PAGE_SIZE) ||
	    at + (size - 1) < at || !rights_ok(rights) ||
	    (unsigned)memory >= LOAM_VM_MEMORY_COUNT || !loam_mmu_pa_ok(mmu, pa.raw, size) ||
	    !frames_ok(pa, size, memory))
		return LOAM_INVAL;
	attr = attr_of(rights) | memory_attr(memory) | LOAM_ATTR_ACCESSED;
	attr |= (rights & LOAM_VM_WRITE) != 0 ? LOAM_ATTR_DIRTY : 0;
	irq = loam_sys_enter();
	do
		err = map_locked(at, pa, size, attr, &where);
	while (loam_sys_short(err));
	if (err == LOAM_OK && base != NULL)
		*base = where;
	return loam_sys_leave(irq, err);
}

static enum loam_err unmap_locked(uintptr_t base, size_t size)
{
	enum loam_err err;

	if (!loam_sys_range_is(base, size, true))
		return LOAM_INVAL;
	err = loam_sys_stock_for(base, size);
	if (err == LOAM_OK)
		err = loam_space_unmap(base, size);
	if (err != LOAM_OK)
		return err;
	loam_sys_mapped(size, -1);
	loam_sys_release(base, size, LOAM_CALL_VM_UNMAP);
	return LOAM_OK;
}

enum loam_err loam_vm_unmap(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_sys_enter();

	return loam_sys_leave(irq, unmap_locked(base, size));
}

static enum loam_err protect_locked(uintptr_t base, size_t size, unsigned rights)
{
	bool mapped = loam_sys_range_is(base, size, true);
	enum loam_err err;

	if (!mapped && !loam_sys_range_is(base, size, false))
		return LOAM_NOENT;
	err = loam_space_protect(base, size, attr_of(rights), !mapped);
	if (err == LOAM_OK)
		loam_sys_note(base, size, LOAM_CALL_VM_PROTECT);
	return err;
}

enum loam_err loam_vm_protect(uintptr_t base, size_t size, unsigned rights)
{
	uintptr_t irq;

	if (!rights_ok(rights) || size == 0 || !loam_is_aligned(base | size, LOAM_PAGE_SIZE))
		return LOAM_INVAL;
	irq = loam_sys_enter();
	return loam_sys_leave(irq, protect_locked(base, size, rights));
}

static enum loam_err query_locked(uintptr_t addr, struct loam_vm_info *info)
{
	const struct loam_ptab *pt = loam_space_ptab();
	struct loam_ptab_slot slot;
	uint32_t attr, noted;

	if (pt->mmu == NULL || addr < pt->mmu->va_min)
		return LOAM_NOENT;
	loam_ptab_walk(pt, addr, LOAM_LEVEL_PAGE, &slot);
	if (slot.kind != LOAM_PTE_LEAF)
		return LOAM_NOENT;
	attr = loam_pte_attr(pt->mmu, slot.pte, slot.level);
	info->pa = loam_paddr(loam_pte_pa(pt->mmu, slot.pte, slot.level).raw + (addr - slot.va));
	info->rights = LOAM_VM_READ | ((attr & LOAM_ATTR_WRITE) != 0 ? LOAM_VM_WRITE : 0) |
		       ((attr & LOAM_ATTR_EXEC) != 0 ? LOAM_VM_EXEC : 0);
	info->memory = (enum loam_vm_memory)((attr & LOAM_ATTR_MEM_MASK) / LOAM_ATTR_MEM_WC);
	info->leaf_bytes = loam_level_size(slot.level);
	noted = loam_contig_noted(pt, &slot);
	info->accessed = (noted & LOAM_ATTR_ACCESSED) != 0;
	info->dirty = (noted & LOAM_ATTR_DIRTY) != 0;
	return LOAM_OK;
}

enum loam_err loam_vm_query(uintptr_t addr, struct loam_vm_info *info)
{
	uintptr_t irq = loam_sys_enter();

	return loam_sys_leave(irq, query_locked(addr, info));
}

void loam_dump_walk(uintptr_t addr)
{
	if (loam_space_ptab()->mmu != NULL)
		loam_ptab_dump_walk(loam_space_ptab(), addr);
}

static enum loam_err lazy_locked(uintptr_t base, size_t size, bool lazy)
{
	enum loam_err err;

	if (!loam_sys_range_is(base, size, false))
		return LOAM_INVAL;
	err = loam_vspace_stock(2);
	if (err != LOAM_OK)
		return err;
	loam_sys_cut_ends(base, size);
	for (struct loam_region *r = loam_vspace_find(base); r != NULL && r->base - base < size;
	     r = loam_vspace_next(r)) {
		r->lazy = lazy;
		loam_region_note(r, LOAM_CALL_VM_LAZY);
	}
	loam_sys_merge(base, size);
	return LOAM_OK;
}

enum loam_err loam_vm_lazy(uintptr_t base, size_t size, bool lazy)
{
	uintptr_t irq = loam_sys_enter();
	enum loam_err err;

	do
		err = lazy_locked(base, size, lazy);
	while (loam_sys_short(err));
	return loam_sys_leave(irq, err);
}
