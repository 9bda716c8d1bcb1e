/* SPDX-License-Identifier: MIT */
/*
 * Address space on the MMU: the back end of the ten calls (contract: mm/space.h).
 *
 * States, page by page, as the tables show them:
 *
 *   Reserved (or None)   no table, or a none of level 0 with LOAM_TAG_NONE
 *   Prepared             a none of level 0 with LOAM_TAG_PREPARED
 *   Ready                inside a leaf of level 0 or 1
 *
 *   [SPACE-1] Every Prepared page has its level-0 entry: a later commit needs frames, no table.
 *   [SPACE-2] A leaf of level 0 owns one single frame, a leaf of level 1 a run of order 9.
 *   [SPACE-3] A leaf that the ten calls make is never executable; loam_vm_protect and loam_vm_map
 *             can make one that is, and is then not writable.
 *
 * Huge leaves and [SPACE-1]. A huge leaf takes the place of a table, which goes back. When part
 * of it is dropped, or all of it becomes Prepared, a table is needed again at a moment that must
 * not fail. It is found in the part that goes: the first dropped frame becomes the table. Nobody
 * may use its contents any more, and by the time loam_ptab_split writes the table there, no CPU
 * can reach it through the old leaf.
 *
 * Break-before-make makes memory vanish for a moment. On this CPU that must not hit the stack we
 * run on, which is why collapse refuses it and drop checks it.
 *
 * Concurrency: the caller (mm/sys.c) holds the space lock, so IRQs are off. loam_space_query and
 * the fatal report only read.
 * Failure: commit and prepare take all they need first, then cannot fail.
 * References: the states are those of Go's runtime/mem.go; the Arm ARM and the Intel SDM are
 * cited where arch/ acts on them.
 */
#include "mm/space.h"

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch/check.h"
#include "mm/epoch.h"
#include "mm/frame.h"
#include "mm/memmap.h"
#include "mm/ptab.h"
#include "mm/tlb.h"
#include "mm/vspace.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);

#define HUGE_PAGES LOAM_PT_ENTRIES

static struct loam_mmu mmu;	  /* boot only */
static struct loam_ptab ptab;	  /* boot only; the tables behind it: space lock */
static struct loam_memmap memmap; /* boot only; too big for a boot stack */

const struct loam_ptab *loam_space_ptab(void)
{
	return &ptab;
}

/* ---- set-up ---- */

static bool window_is_unmapped(uint64_t base, uint64_t last)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(&ptab, base, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		if (slot.kind == LOAM_PTE_LEAF)
			return false;
		if (slot.va + (loam_level_size(slot.level) - 1) >= last)
			return true;
		loam_ptab_next(&ptab, LOAM_LEVEL_PAGE, &slot);
	}
}

static void check_window(const struct loam_config *config)
{
	uint64_t base = config->window_base, last = base + (config->window_bytes - 1);
	uint64_t map_last = config->direct_map_offset + (memmap.highest - 1);

	LOAM_CHECK(
		loam_is_aligned(base | config->window_bytes, LOAM_PAGE_SIZE) &&
			loam_mmu_va_ok(&mmu, base, config->window_bytes),
		"loam_config.window must be page-aligned and in the kernel half of the addresses");
	LOAM_CHECK(last < config->direct_map_offset || base > map_last,
		   "loam_config.window overlaps the direct map: choose other addresses");
	LOAM_CHECK(window_is_unmapped(base, last),
		   "loam_config.window has mappings already: it must be loam's alone");
}

enum loam_err loam_space_init(const struct loam_config *config, uintptr_t *window_base,
			      size_t *window_bytes)
{
	enum loam_err err;

	loam_direct_map_set(config->direct_map_offset);
	loam_mmu_detect(&mmu);
	loam_mmu_cpu_init(&mmu);
	ptab.mmu = &mmu;
	ptab.root = config->root.raw != 0 ? config->root : loam_mmu_root_get();
	err = loam_memmap_sanitise(config->memmap, config->memmap_count, mmu.pa_bits, &memmap);
	if (err != LOAM_OK)
		return err;
	check_window(config);
	err = loam_frame_init(&memmap);
	if (err != LOAM_OK)
		return err;
	*window_base = config->window_base;
	*window_bytes = config->window_bytes;
	loam_tlb_join(&mmu, loam_host_cpu_id());
	return LOAM_OK;
}

void loam_space_cpu_init(void)
{
	loam_mmu_cpu_init(&mmu);
	loam_tlb_join(&mmu, loam_host_cpu_id());
}

void loam_space_reset(void)
{
	(void)loam_epoch_settle_all();
	loam_epoch_reset();
	loam_tlb_reset();
	loam_frame_reset();
	ptab = (struct loam_ptab){0};
}

uint64_t loam_space_huge_sizes(void)
{
	return (mmu.leaf_mask >> LOAM_LEVEL_HUGE & 1) != 0 ? LOAM_HUGE_SIZE : 0;
}

void *loam_space_record_page(void)
{
	struct loam_pfn pfn;

	while (loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_META, &pfn) != LOAM_OK) {
		if (!loam_epoch_settle_all())
			return NULL;
	}
	return loam_frame_ptr(loam_pfn_to_paddr(pfn));
}

/* ---- looking ---- */

void loam_space_count(uintptr_t base, size_t size, struct loam_space_count *count)
{
	struct loam_ptab_tally tally;

	loam_ptab_tally(&ptab, base, size, &tally);
	count->ready_bytes = tally.leaf_bytes;
	count->huge_bytes = tally.large_bytes;
	count->prepared_bytes = tally.tagged_bytes;
	count->reserved_bytes = size - tally.leaf_bytes - tally.tagged_bytes;
}

void loam_space_query(uintptr_t addr, struct loam_sys_info *info)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(&ptab, addr, LOAM_LEVEL_PAGE, &slot);
	info->leaf_bytes = 0;
	info->dirty = false;
	info->pa = loam_paddr(0);
	if (slot.kind == LOAM_PTE_LEAF) {
		info->state = LOAM_STATE_READY;
		info->leaf_bytes = loam_level_size(slot.level);
		info->dirty = (loam_pte_attr(&mmu, slot.pte, slot.level) & LOAM_ATTR_DIRTY) != 0;
		info->pa =
			loam_paddr(loam_pte_pa(&mmu, slot.pte, slot.level).raw + (addr - slot.va));
	} else if (loam_pte_tag(slot.pte) == LOAM_TAG_PREPARED) {
		info->state = LOAM_STATE_PREPARED;
	} else {
		info->state = LOAM_STATE_RESERVED;
	}
}

/* ---- prepare ---- */

static enum loam_err take_tables(struct loam_ptab_pool *pool, size_t count)
{
	struct loam_frame_list list = {0};
	enum loam_err err = loam_frame_list_alloc(&list, count, 0, LOAM_OWNER_TABLE);

	if (err == LOAM_NOMEM && loam_epoch_settle_all())
		err = loam_frame_list_alloc(&list, count, 0, LOAM_OWNER_TABLE);
	while (err == LOAM_OK && list.count > 0)
		loam_ptab_pool_push(pool, loam_pfn_to_paddr(loam_frame_list_pop(&list)));
	return err;
}

enum loam_err loam_space_prepare(uintptr_t base, size_t size)
{
	size_t need = loam_ptab_tag_need(&ptab, base, size);
	struct loam_ptab_pool pool = {0};
	enum loam_err err = take_tables(&pool, need);

	if (err != LOAM_OK)
		return err;
	err = loam_ptab_tag(&ptab, &pool, base, size, LOAM_TAG_PREPARED);
	LOAM_CHECK(err == LOAM_OK && pool.count == 0, "prepare counted its tables wrongly");
	return LOAM_OK;
}

/* ---- commit ---- */

/* Where hardware keeps the dirty bit it starts clear, so that it tells about writes; elsewhere
 * a clear one would make the first write fault. */
static uint32_t data_attr(void)
{
	return mmu.hw_dirty ? LOAM_ATTR_DATA & ~LOAM_ATTR_DIRTY : LOAM_ATTR_DATA;
}

/* Does the region ask for a huge leaf at `va`, and hold all of it? */
static bool wants_huge(const struct loam_region *r, uint64_t va)
{
	return r->hugepage && r->size - (va - r->base) >= LOAM_HUGE_SIZE;
}

/* Is [va, va + 2 MiB) an aligned block inside the range, every page of it Prepared? */
static bool huge_fits(uint64_t va, uint64_t last)
{
	struct loam_space_count count;

	if (!loam_is_aligned(va, LOAM_HUGE_SIZE) || last - va < LOAM_HUGE_SIZE - 1)
		return false;
	loam_space_count(va, LOAM_HUGE_SIZE, &count);
	return count.prepared_bytes == LOAM_HUGE_SIZE;
}

/* Zeroed runs of order 9, linked through their first word like tables: at most one for each
 * block of the range that wants and can take one. Running out is no failure, small leaves will
 * do. */
static void take_huge(uint64_t base, uint64_t last, struct loam_ptab_pool *blocks)
{
	uint64_t va = loam_align_up(base, LOAM_HUGE_SIZE);
	struct loam_pfn pfn;

	for (; va >= base && va <= last; va += LOAM_HUGE_SIZE) {
		const struct loam_region *r = loam_vspace_find(va);

		if (!wants_huge(r, va) || !huge_fits(va, last))
			continue;
		if (loam_frame_alloc(LOAM_ORDER_HUGE, LOAM_FRAME_ZERO, (enum loam_owner)r->owner,
				     &pfn) != LOAM_OK)
			return;
		loam_ptab_pool_push(blocks, loam_pfn_to_paddr(pfn));
	}
}

static struct loam_paddr block_pop(struct loam_ptab_pool *blocks)
{
	struct loam_paddr pa = blocks->head;
	uint64_t *link = loam_frame_ptr(pa);

	blocks->head = loam_paddr(*link);
	blocks->count--;
	*link = 0; /* zeroed again, all of it */
	return pa;
}

/* A block of 2 MiB, all Prepared: the leaf takes the place of its table. */
static void commit_huge(uint64_t va, struct loam_paddr pa, enum loam_owner owner)
{
	struct loam_ptab_slot slot;
	struct loam_pfn table;
	enum loam_err err;

	loam_frame_set_owner(loam_paddr_to_pfn(pa), LOAM_ORDER_HUGE, owner);
	loam_ptab_walk(&ptab, va, LOAM_LEVEL_HUGE, &slot);
	LOAM_CHECK(slot.kind == LOAM_PTE_TABLE, "[SPACE-1] Prepared memory without its table");
	table = loam_paddr_to_pfn(loam_pte_pa(&mmu, slot.pte, slot.level));
	loam_ptab_replace(&ptab, &slot, loam_pte_leaf(&mmu, LOAM_LEVEL_HUGE, pa, data_attr()));
	err = loam_frame_free(table, 0); /* no CPU knows it any more: replace has seen to that */
	LOAM_CHECK(err == LOAM_OK, "a page table was not ours to free");
}

static void give_back(struct loam_ptab_pool *blocks)
{
	while (blocks->count > 0) {
		struct loam_pfn pfn = loam_paddr_to_pfn(block_pop(blocks));
		enum loam_err err = loam_frame_free(pfn, LOAM_ORDER_HUGE);

		LOAM_CHECK(err == LOAM_OK, "a block just taken was not ours to free");
	}
}

/* With all frames at hand: fill every Prepared page of [base, last]. */
static void commit_pages(uint64_t base, uint64_t last, struct loam_ptab_pool *blocks,
			 struct loam_frame_list *singles, enum loam_owner taken_for)
{
	struct loam_region *region = loam_vspace_find(base);
	struct loam_ptab_slot slot;

	loam_ptab_walk(&ptab, base, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		while (slot.va > base && slot.va - region->base >= region->size)
			region = loam_vspace_next(region);
		if (blocks->count > 0 && wants_huge(region, slot.va) && huge_fits(slot.va, last)) {
			commit_huge(slot.va, block_pop(blocks), (enum loam_owner)region->owner);
			loam_ptab_walk(&ptab, slot.va, LOAM_LEVEL_PAGE, &slot);
		}
		if (slot.kind == LOAM_PTE_NONE) {
			struct loam_pfn pfn = loam_frame_list_pop(singles);

			if (region->owner != taken_for)
				loam_frame_set_owner(pfn, 0, (enum loam_owner)region->owner);
			/* none to valid: nothing cached, nothing to invalidate */
			loam_pt_store(slot.table, slot.index,
				      loam_pte_leaf(&mmu, LOAM_LEVEL_PAGE, loam_pfn_to_paddr(pfn),
						    data_attr()));
		}
		if (slot.va + (loam_level_size(slot.level) - 1) >= last)
			break;
		loam_ptab_next(&ptab, LOAM_LEVEL_PAGE, &slot);
	}
	loam_pt_publish(&mmu);
}

static enum loam_err commit(uintptr_t base, size_t size, uint64_t prepared_bytes)
{
	enum loam_owner owner = (enum loam_owner)loam_vspace_find(base)->owner;
	uint64_t last = base + (size - 1);
	struct loam_ptab_pool blocks = {0};
	struct loam_frame_list singles = {0};
	enum loam_err err;

	take_huge(base, last, &blocks);
	err = loam_frame_list_alloc(&singles,
				    prepared_bytes / LOAM_PAGE_SIZE - blocks.count * HUGE_PAGES,
				    LOAM_FRAME_ZERO, owner);
	if (err != LOAM_OK) {
		give_back(&blocks);
		return err;
	}
	commit_pages(base, last, &blocks, &singles, owner);
	LOAM_CHECK(singles.count == 0 && blocks.count == 0, "commit counted its frames wrongly");
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

/* ---- drop ---- */

/* Turn the huge leaf in `slot` into a table that stands in the frame of its page `va`, which is
 * one of those that go; that page itself is unmapped with `tag`. */
static void split_into_own_frame(struct loam_ptab_slot *slot, uint64_t va, unsigned tag)
{
	uint64_t head = loam_pte_pa(&mmu, slot->pte, slot->level).raw;
	struct loam_pfn first = loam_paddr_to_pfn(loam_paddr(head));
	struct loam_paddr frame = loam_paddr(head + (va - slot->va));
	uint64_t sp = loam_cpu_sp();

	LOAM_CHECK(sp < slot->va || sp - slot->va >= LOAM_HUGE_SIZE,
		   "the running stack lies on a huge leaf that must be split");
	loam_frame_split(first, LOAM_ORDER_HUGE);
	loam_frame_set_owner(loam_paddr_to_pfn(frame), 0, LOAM_OWNER_TABLE);
	loam_ptab_split(&ptab, slot, frame, loam_pt_index(&mmu, va, LOAM_LEVEL_PAGE), tag);
}

void loam_space_drop(uintptr_t base, size_t size, enum loam_state to)
{
	unsigned tag = to == LOAM_STATE_PREPARED ? LOAM_TAG_PREPARED : LOAM_TAG_NONE;
	uint64_t last = base + (size - 1);
	struct loam_tlb_batch batch;
	struct loam_ptab_slot slot;
	enum loam_err err;

	loam_epoch_settle(base, size);
	loam_tlb_batch_init(&batch, &mmu);
	/* huge leaves first: 2 MiB at a time, whatever is below */
	loam_ptab_walk(&ptab, base, LOAM_LEVEL_HUGE, &slot);
	for (;;) {
		uint64_t slot_last = slot.va + (loam_level_size(slot.level) - 1);
		bool sticks_out = slot.va < base || slot_last > last;

		if (slot.kind == LOAM_PTE_LEAF && slot.level > 0 &&
		    (sticks_out || to == LOAM_STATE_PREPARED))
			split_into_own_frame(&slot, slot.va > base ? slot.va : base, tag);
		if (slot_last >= last)
			break;
		loam_ptab_next(&ptab, LOAM_LEVEL_HUGE, &slot);
	}
	err = loam_ptab_unmap(&ptab, NULL, &batch, base, size, tag, true);
	LOAM_CHECK(err == LOAM_OK, "drop left a leaf that sticks out");
	loam_tlb_batch_finish(&batch);
}

/* Single frames only: a huge leaf that goes is broken with everybody looking, and takes its table
 * from its own memory. */
void loam_space_drop_later(uintptr_t base, size_t size)
{
	struct loam_space_count count;
	struct loam_tlb_batch batch;
	enum loam_err err;

	loam_space_count(base, size, &count);
	if (count.huge_bytes > 0) {
		loam_space_drop(base, size, LOAM_STATE_PREPARED);
		return;
	}
	loam_tlb_batch_init(&batch, &mmu);
	err = loam_ptab_unmap(&ptab, NULL, &batch, base, size, LOAM_TAG_PREPARED, true);
	LOAM_CHECK(err == LOAM_OK, "drop left a leaf that sticks out");
	loam_pt_publish(&mmu);
	loam_epoch_defer(&mmu, base, size, &batch.singles);
}

/* ---- explicit mappings, rights, demand ---- */

enum loam_err loam_space_map(uintptr_t base, struct loam_paddr pa, size_t size, uint32_t attr)
{
	size_t need = loam_ptab_map_need(&ptab, base, pa, size, LOAM_LEVEL_GIANT);
	struct loam_ptab_pool pool = {0};
	enum loam_err err = take_tables(&pool, need);

	if (err != LOAM_OK)
		return err;
	err = loam_ptab_map(&ptab, &pool, base, pa, size, attr, LOAM_LEVEL_GIANT);
	LOAM_CHECK(err == LOAM_OK && pool.count == 0, "map counted its tables wrongly");
	return LOAM_OK;
}

enum loam_err loam_space_unmap(uintptr_t base, size_t size)
{
	struct loam_ptab_pool pool = {0};
	struct loam_tlb_batch batch;
	enum loam_err err = take_tables(&pool, loam_ptab_split_need(&ptab, base, size));

	if (err != LOAM_OK)
		return err;
	loam_tlb_batch_init(&batch, &mmu);
	err = loam_ptab_unmap(&ptab, &pool, &batch, base, size, LOAM_TAG_NONE, false);
	LOAM_CHECK(err == LOAM_OK && pool.count == 0, "unmap counted its tables wrongly");
	loam_tlb_batch_finish(&batch);
	return LOAM_OK;
}

/* A huge leaf of the ten calls that `addr` cuts becomes single frames under small leaves
 * [SPACE-2]. */
static void split_owned(uintptr_t addr, struct loam_ptab_pool *pool)
{
	uint64_t sp = loam_cpu_sp();
	struct loam_ptab_slot slot;

	loam_ptab_walk(&ptab, addr, LOAM_LEVEL_PAGE, &slot);
	if (slot.kind != LOAM_PTE_LEAF || slot.level == LOAM_LEVEL_PAGE || slot.va == addr)
		return;
	LOAM_CHECK(sp < slot.va || sp - slot.va >= LOAM_HUGE_SIZE,
		   "the running stack lies on a huge leaf that must be split");
	loam_frame_split(loam_paddr_to_pfn(loam_pte_pa(&mmu, slot.pte, slot.level)),
			 LOAM_ORDER_HUGE);
	loam_ptab_split(&ptab, &slot, loam_ptab_pool_pop(pool), LOAM_PT_ENTRIES, LOAM_TAG_NONE);
}

static bool all_leaves(uintptr_t base, size_t size)
{
	struct loam_space_count count;

	loam_space_count(base, size, &count);
	return count.ready_bytes == size;
}

static void give_tables(struct loam_ptab_pool *pool)
{
	while (pool->count > 0) {
		enum loam_err err = loam_frame_free(loam_paddr_to_pfn(loam_ptab_pool_pop(pool)), 0);

		LOAM_CHECK(err == LOAM_OK, "a table just taken was not ours to free");
	}
}

enum loam_err loam_space_protect(uintptr_t base, size_t size, uint32_t rights, bool owned)
{
	const uint32_t keep = LOAM_ATTR_MEM_MASK | LOAM_ATTR_USER;
	struct loam_ptab_pool pool = {0};
	struct loam_tlb_batch batch;
	struct loam_ptab_slot slot;
	uint32_t attr;
	enum loam_err err = take_tables(&pool, loam_ptab_split_need(&ptab, base, size));

	if (err != LOAM_OK)
		return err;
	if (pool.count > 0 && !all_leaves(base, size)) {
		give_tables(&pool);
		return LOAM_NOENT;
	}
	if (owned) {
		split_owned(base, &pool);
		split_owned(base + size, &pool);
	}
	/* the memory type is one and the same in a mapping, and write-back elsewhere */
	loam_ptab_walk(&ptab, base, LOAM_LEVEL_PAGE, &slot);
	attr = (loam_pte_attr(&mmu, slot.pte, slot.level) & keep) | rights | LOAM_ATTR_ACCESSED;
	/* without dirty bits in hardware a clean page would fault on its first write */
	if ((rights & LOAM_ATTR_WRITE) != 0 && !mmu.hw_dirty)
		attr |= LOAM_ATTR_DIRTY;
	loam_tlb_batch_init(&batch, &mmu);
	err = loam_ptab_protect(&ptab, &pool, &batch, base, size, attr);
	LOAM_CHECK(pool.count == 0, "protect counted its tables wrongly");
	loam_tlb_batch_finish(&batch);
	return err;
}

enum loam_err loam_space_fill(const struct loam_region *r, const struct loam_ptab_slot *slot,
			      uint64_t *bytes)
{
	uintptr_t block = loam_align_down(slot->va, LOAM_HUGE_SIZE);
	struct loam_pfn pfn;

	if (r->hugepage)
		loam_epoch_settle(block, LOAM_HUGE_SIZE);
	else
		loam_epoch_settle(slot->va, LOAM_PAGE_SIZE);
	if (r->hugepage && block >= r->base && wants_huge(r, block) &&
	    huge_fits(block, block + (LOAM_HUGE_SIZE - 1)) &&
	    loam_frame_alloc(LOAM_ORDER_HUGE, LOAM_FRAME_ZERO, (enum loam_owner)r->owner, &pfn) ==
		    LOAM_OK) {
		commit_huge(block, loam_pfn_to_paddr(pfn), (enum loam_owner)r->owner);
		*bytes = LOAM_HUGE_SIZE;
		return LOAM_OK;
	}
	while (loam_frame_alloc(0, LOAM_FRAME_ZERO, (enum loam_owner)r->owner, &pfn) != LOAM_OK) {
		if (!loam_epoch_settle_all())
			return LOAM_NOMEM;
	}
	/* none to valid: nothing cached, nothing to invalidate */
	loam_pt_store(slot->table, slot->index,
		      loam_pte_leaf(&mmu, LOAM_LEVEL_PAGE, loam_pfn_to_paddr(pfn), data_attr()));
	loam_pt_publish(&mmu);
	*bytes = LOAM_PAGE_SIZE;
	return LOAM_OK;
}

/* ---- collapse ---- */

/* One leaf has one set of rights: all pages must be plain data. */
static bool all_plain(struct loam_paddr table)
{
	const uint32_t noted = LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY;

	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		uint32_t attr = loam_pte_attr(&mmu, loam_pt_load(table, i), LOAM_LEVEL_PAGE);

		if ((attr & ~noted) != LOAM_ATTR_WRITE)
			return false;
	}
	return true;
}

enum loam_err loam_space_collapse(uintptr_t base, enum loam_owner owner)
{
	uint64_t sp = loam_cpu_sp();
	struct loam_tlb_batch batch;
	struct loam_ptab_slot slot;
	struct loam_paddr table, block;
	struct loam_pfn pfn;
	enum loam_err err;

	if (loam_space_huge_sizes() == 0)
		return LOAM_NOTSUP;
	loam_ptab_walk(&ptab, base, LOAM_LEVEL_HUGE, &slot);
	if (slot.kind == LOAM_PTE_LEAF)
		return LOAM_OK;
	if (sp >= base && sp - base < LOAM_HUGE_SIZE)
		return LOAM_BUSY;
	if (!all_plain(loam_pte_pa(&mmu, slot.pte, slot.level)))
		return LOAM_BUSY;
	err = loam_frame_alloc(LOAM_ORDER_HUGE, 0, owner, &pfn);
	if (err != LOAM_OK)
		return err;
	block = loam_pfn_to_paddr(pfn);
	table = loam_pte_pa(&mmu, slot.pte, slot.level);
	/* Break: from here to the new leaf a touch by another CPU faults, and none is lost. */
	loam_pt_store(slot.table, slot.index, loam_pte_none(LOAM_TAG_NONE));
	loam_tlb_everywhere_all(&mmu);
	loam_tlb_batch_init(&batch, &mmu); /* releases only: all is invalidated already */
	for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
		struct loam_paddr pa = loam_pte_pa(&mmu, loam_pt_load(table, i), LOAM_LEVEL_PAGE);

		memcpy(loam_frame_ptr(loam_paddr(block.raw + i * LOAM_PAGE_SIZE)),
		       loam_frame_ptr(pa), LOAM_PAGE_SIZE);
		loam_tlb_batch_release(&batch, loam_paddr_to_pfn(pa), 0);
	}
	loam_tlb_batch_release(&batch, loam_paddr_to_pfn(table), 0);
	/* dirty is preset: some page of it was written, and nobody would be told again */
	loam_pt_store(slot.table, slot.index,
		      loam_pte_leaf(&mmu, LOAM_LEVEL_HUGE, block, LOAM_ATTR_DATA));
	loam_pt_publish(&mmu);
	loam_tlb_batch_finish(&batch);
	return LOAM_OK;
}
