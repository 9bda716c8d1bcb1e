/* SPDX-License-Identifier: MIT */
/*
 * Address space on the MMU: the back end of the ten calls (contract: mm/space.h).
 *
 * States, page by page, as the tables show them:
 *
 *   Reserved (or None)   no table, or a none of level 0 with LOAM_TAG_NONE
 *   Prepared             a none of level 0 with LOAM_TAG_PREPARED
 *   Ready                inside a leaf of level 0, 1 or 2
 *
 * From Prepared to Ready is mm/commit.c; the way there and back is here.
 *
 *   [SPACE-1] Every Prepared page has its level-0 entry: a later commit needs frames, no table.
 *   [SPACE-2] A leaf of the ten calls owns a run of its own size: of level 0 one single frame, of
 *             level 1 a run of order 9, of level 2 one of order 18 and a frame deposited with it.
 *   [SPACE-3] A leaf that the ten calls make is never executable; loam_vm_protect and loam_vm_map
 *             can make one that is, and is then not writable.
 *
 * Huge leaves and [SPACE-1]. A huge leaf takes the place of a table, which goes back. When part
 * of it is dropped, or all of it becomes Prepared, a table is needed again at a moment that must
 * not fail. Where all of the leaf becomes Prepared and there is a frame elsewhere that is taken, so
 * that the run stays whole. Else it is found in the part that goes: the first dropped frame becomes the table. Nobody
 * may use its contents any more, and by the time loam_ptab_split writes the table there, no CPU
 * can reach it through the old leaf. A leaf of 1 GiB may have to be cut for a single page, which
 * takes two tables: the other one is a table that it took the place of, and that it kept.
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
#include "mm/contig.h"
#include "mm/dirty.h"
#include "mm/epoch.h"
#include "mm/frame.h"
#include "mm/memmap.h"
#include "mm/numa.h"
#include "mm/ptab.h"
#include "mm/tlb.h"
#include "mm/vspace.h"

static struct loam_mmu mmu; /* boot only */

struct loam_ptab loam_space_table;
static struct loam_frame_list records; /* space lock: the region records' pages */
static uintptr_t window_base;	       /* boot only */
static size_t window_size;	       /* boot only */
static struct loam_memmap memmap;      /* boot only; too big for a boot stack */

/* ---- set-up ---- */

static bool window_is_unmapped(uint64_t base, uint64_t last)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(&loam_space_table, base, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		if (slot.kind == LOAM_PTE_LEAF)
			return false;
		if (slot.va + (loam_level_size(slot.level) - 1) >= last)
			return true;
		loam_ptab_next(&loam_space_table, LOAM_LEVEL_PAGE, &slot);
	}
}

/* Is the root of the tables that are in force kept out of the map? Who forgot it forgot more. */
static void check_root(void)
{
	uint64_t root = loam_space_table.root.raw;

	for (size_t i = 0; i < memmap.count; i++)
		LOAM_CHECK(root < memmap.range[i].base || root >= memmap.range[i].end,
			   "loam_config.memmap has the page tables in usable memory: add RESERVED "
			   "entries for them, the kernel's image, its stacks and boot modules");
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

enum loam_err loam_space_init(const struct loam_config *config, uintptr_t *base, size_t *bytes)
{
	enum loam_err err;

	loam_direct_map_set(config->direct_map_offset);
	loam_mmu_detect(&mmu);
	if (config->no_gigapage)
		mmu.leaf_mask &= (uint8_t) ~(1u << LOAM_LEVEL_GIANT);
	loam_mmu_cpu_init(&mmu);
	loam_space_table.mmu = &mmu;
	loam_space_table.root = config->root.raw != 0 ? config->root : loam_mmu_root_get();
	err = loam_memmap_sanitise(config->memmap, config->memmap_count, mmu.pa_bits, &memmap);
	if (err != LOAM_OK)
		return err;
	check_root();
	check_window(config);
	err = loam_numa_init(config->nodes, config->node_count);
	if (err != LOAM_OK)
		return err;
	err = loam_frame_init(&memmap);
	if (err != LOAM_OK)
		return err;
	window_base = *base = config->window_base;
	window_size = *bytes = config->window_bytes;
	loam_tlb_join(&mmu, loam_host_cpu_id());
	return LOAM_OK;
}

void loam_space_cpu_init(void)
{
	loam_mmu_cpu_init(&mmu);
	loam_tlb_join(&mmu, loam_host_cpu_id());
}

uint64_t loam_space_memory(void)
{
	struct loam_frame_stats stats;

	loam_frame_stats(&stats);
	return stats.total << LOAM_PAGE_SHIFT;
}

void loam_space_reset(void)
{
	(void)loam_epoch_settle_all();
	loam_epoch_reset();
	loam_dirty_reset();
	loam_tlb_reset();
	loam_ptab_break_end(); /* out of an expected panic */
	records = (struct loam_frame_list){0};
	loam_frame_reset();
	loam_numa_reset();
	loam_space_table = (struct loam_ptab){0};
}

uint64_t loam_space_huge_sizes(void)
{
	return ((mmu.leaf_mask >> LOAM_LEVEL_HUGE & 1) != 0 ? LOAM_HUGE_SIZE : 0) |
	       ((mmu.leaf_mask >> LOAM_LEVEL_GIANT & 1) != 0 ? LOAM_GIANT_SIZE : 0);
}

void *loam_space_record_page(void)
{
	struct loam_pfn pfn;

	while (loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_META, &pfn) != LOAM_OK) {
		if (!loam_epoch_settle_all())
			return NULL;
	}
	loam_frame_list_push(&records, pfn);
	return loam_frame_ptr(loam_pfn_to_paddr(pfn));
}

/* ---- shutdown ---- */

/* Is the entry in `slot`, of a root table, one that leads to a table of loam's? */
static bool leads_to_ours(const struct loam_ptab_slot *slot, struct loam_paddr *table)
{
	enum loam_owner owner;
	unsigned order;

	if (slot->kind != LOAM_PTE_TABLE)
		return false;
	*table = loam_pte_pa(&mmu, slot->pte, slot->level);
	return loam_frame_query(loam_paddr_to_pfn(*table), &owner, &order) == LOAM_OK &&
	       owner == LOAM_OWNER_TABLE;
}

/* Has somebody mapped something beside the window, below the entry in `slot`, which covers a part of it? */
static bool is_shared(const struct loam_ptab_slot *slot)
{
	uint64_t end = window_base + window_size, last = loam_ptab_slot_last(slot);
	struct loam_ptab_tally below = {0}, above = {0};

	if (slot->va < window_base)
		loam_ptab_tally(&loam_space_table, slot->va, window_base - slot->va, &below);
	if (end - 1 < last)
		loam_ptab_tally(&loam_space_table, end, last - end + 1, &above);
	return below.leaf_bytes + above.leaf_bytes != 0;
}

/* The tables of loam's that hang at the root: how many are shared; with `drop`, those that are
 * empty go. Nobody may use a copy of the root's entries any more. */
static uint64_t root_tables(bool drop)
{
	unsigned top = mmu.levels - 1u;
	struct loam_ptab_slot slot;
	struct loam_paddr table;
	uint64_t shared = 0;

	loam_ptab_walk(&loam_space_table, window_base, top, &slot);
	for (;;) {
		if (leads_to_ours(&slot, &table)) {
			shared += is_shared(&slot);
			if (drop && loam_ptab_is_empty(table)) {
				enum loam_err err;

				loam_ptab_replace(&loam_space_table, &slot,
						  loam_pte_none(LOAM_TAG_NONE));
				err = loam_frame_free(loam_paddr_to_pfn(table), 0);
				LOAM_CHECK(err == LOAM_OK,
					   "a table at the root was not ours to free");
			}
		}
		if (loam_ptab_slot_last(&slot) >= window_base + (window_size - 1))
			return shared;
		loam_ptab_next(&loam_space_table, top, &slot);
	}
}

bool loam_space_held(const uint64_t *ready_bytes, uint64_t *frame_bytes)
{
	struct loam_frame_stats frames;
	bool others = false;

	(void)loam_epoch_settle_all(); /* what waits is behind no page, and nobody's */
	loam_frame_stats(&frames);
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		if (o != LOAM_OWNER_NONE && o != LOAM_OWNER_TABLE && o != LOAM_OWNER_META)
			frame_bytes[o] += frames.owner_frames[o] * LOAM_PAGE_SIZE - ready_bytes[o];
	}
	frame_bytes[LOAM_OWNER_TABLE] += root_tables(false) * LOAM_PAGE_SIZE;
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++)
		others |= cpu != loam_host_cpu_id() && loam_tlb_has(cpu);
	return others;
}

void loam_space_shutdown(void)
{
	(void)loam_epoch_settle_all();
	(void)root_tables(true);
	loam_epoch_reset();
	loam_dirty_reset();
	loam_tlb_reset();
	loam_frame_list_free(&records);
	loam_frame_shutdown();
	loam_numa_reset();
	loam_space_table = (struct loam_ptab){0};
}

/* ---- looking ---- */

void loam_space_count(uintptr_t base, size_t size, struct loam_space_count *count)
{
	struct loam_ptab_tally tally;

	loam_ptab_tally(&loam_space_table, base, size, &tally);
	count->ready_bytes = tally.leaf_bytes;
	count->huge_bytes = tally.large_bytes;
	count->prepared_bytes = tally.tagged_bytes;
	count->reserved_bytes = size - tally.leaf_bytes - tally.tagged_bytes;
}

void loam_space_query(uintptr_t addr, struct loam_sys_info *info)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(&loam_space_table, addr, LOAM_LEVEL_PAGE, &slot);
	info->leaf_bytes = 0;
	info->dirty = false;
	info->pa = loam_paddr(0);
	if (slot.kind == LOAM_PTE_LEAF) {
		info->state = LOAM_STATE_READY;
		info->leaf_bytes = loam_level_size(slot.level);
		info->dirty = (loam_contig_noted(&loam_space_table, &slot) & LOAM_ATTR_DIRTY) != 0;
		info->pa =
			loam_paddr(loam_pte_pa(&mmu, slot.pte, slot.level).raw + (addr - slot.va));
	} else if (loam_pte_tag(slot.pte) == LOAM_TAG_PREPARED) {
		info->state = LOAM_STATE_PREPARED;
	} else {
		info->state = LOAM_STATE_RESERVED;
	}
}

void *loam_space_plain(uintptr_t addr)
{
	const uint32_t rights = LOAM_ATTR_WRITE | LOAM_ATTR_EXEC | LOAM_ATTR_USER;
	struct loam_ptab_slot slot;

	loam_ptab_walk(&loam_space_table, addr, LOAM_LEVEL_PAGE, &slot);
	if (slot.kind != LOAM_PTE_LEAF || slot.level != LOAM_LEVEL_PAGE ||
	    (loam_pte_attr(&mmu, slot.pte, slot.level) & rights) != LOAM_ATTR_WRITE)
		return NULL;
	return loam_frame_ptr(loam_pte_pa(&mmu, slot.pte, slot.level));
}

/* ---- prepare ---- */

static enum loam_err fill_pool(struct loam_ptab_pool *pool, size_t count)
{
	struct loam_frame_list list = {0};
	enum loam_err err = loam_frame_list_alloc(&list, count, LOAM_FRAME_ZERO, LOAM_OWNER_TABLE);

	while (err == LOAM_OK && list.count > 0)
		loam_ptab_pool_push(pool, loam_pfn_to_paddr(loam_frame_list_pop(&list)));
	return err;
}

enum loam_err loam_space_take_tables(struct loam_ptab_pool *pool, size_t count)
{
	enum loam_err err = fill_pool(pool, count);

	return err == LOAM_NOMEM && loam_epoch_settle_all() ? fill_pool(pool, count) : err;
}

enum loam_err loam_space_prepare(uintptr_t base, size_t size)
{
	size_t need = loam_ptab_tag_need(&loam_space_table, base, size);
	struct loam_ptab_pool pool = {0};
	enum loam_err err = loam_space_take_tables(&pool, need);

	if (err != LOAM_OK)
		return err;
	loam_dirty_admit(&loam_space_table, base, size);
	err = loam_ptab_tag(&loam_space_table, &pool, base, size, LOAM_TAG_PREPARED);
	LOAM_CHECK(err == LOAM_OK && pool.count == 0, "prepare counted its tables wrongly");
	return LOAM_OK;
}

/* ---- drop ---- */

/* Break-before-make on the memory we run on would be the end. */
static void check_stack(const struct loam_ptab_slot *slot)
{
	LOAM_CHECK(loam_cpu_sp() - slot->va >= loam_level_size(slot->level),
		   "the running stack lies on a huge leaf that must be split");
}

/* The leaf of 1 GiB in `slot` becomes 512 leaves of 2 MiB, with the frame it kept as their table. */
static void split_giant(struct loam_ptab_slot *slot)
{
	struct loam_pfn run = loam_paddr_to_pfn(loam_pte_pa(&mmu, slot->pte, slot->level));
	struct loam_pfn table = loam_frame_withdraw(run);

	check_stack(slot);
	loam_frame_split(run, LOAM_ORDER_GIANT, LOAM_ORDER_HUGE);
	loam_ptab_split(&loam_space_table, slot, loam_pfn_to_paddr(table), LOAM_PT_ENTRIES,
			LOAM_TAG_NONE);
}

/* The leaf of 1 GiB in `slot` will not be split any more. */
static void free_deposit(const struct loam_ptab_slot *slot)
{
	struct loam_pfn run = loam_paddr_to_pfn(loam_pte_pa(&mmu, slot->pte, slot->level));
	enum loam_err err = loam_frame_free(loam_frame_withdraw(run), 0);

	LOAM_CHECK(err == LOAM_OK, "the table kept with a leaf of 1 GiB was not ours to free");
}

/* Turn the huge leaf in `slot` into a table that stands in the frame of its page `va`, which is
 * one of those that go; that page itself is unmapped with `tag`. */
static void split_into_own_frame(struct loam_ptab_slot *slot, uint64_t va, unsigned tag)
{
	uint64_t head = loam_pte_pa(&mmu, slot->pte, slot->level).raw;
	struct loam_pfn first = loam_paddr_to_pfn(loam_paddr(head));
	struct loam_paddr frame = loam_paddr(head + (va - slot->va));

	check_stack(slot);
	loam_frame_split(first, LOAM_ORDER_HUGE, 0);
	loam_frame_set_owner(loam_paddr_to_pfn(frame), 0, LOAM_OWNER_TABLE);
	loam_ptab_split(&loam_space_table, slot, frame, loam_pt_index(&mmu, va, LOAM_LEVEL_PAGE),
			tag);
}

/*
 * All of the huge leaf in `slot` becomes Prepared, under tables from elsewhere, so that its run goes back
 * in one piece. False, and nothing changed: no frames for them.
 */
static bool prepare_whole(struct loam_ptab_slot *slot)
{
	bool giant = slot->level == LOAM_LEVEL_GIANT;
	struct loam_ptab_pool pool = {0};
	struct loam_paddr table;
	struct loam_pfn run;
	enum loam_err err;

	if (fill_pool(&pool, giant ? LOAM_PT_ENTRIES : 1) != LOAM_OK)
		return false;
	check_stack(slot);
	loam_contig_unfold(&loam_space_table, slot);
	run = loam_paddr_to_pfn(loam_pte_pa(&mmu, slot->pte, slot->level));
	if (giant) {
		table = loam_pfn_to_paddr(loam_frame_withdraw(run));
		for (unsigned i = 0; i < LOAM_PT_ENTRIES; i++) {
			struct loam_paddr low = loam_ptab_pool_pop(&pool);

			loam_ptab_clear(low, LOAM_TAG_PREPARED);
			loam_pt_store(table, i, loam_pte_table(&mmu, low, LOAM_ATTR_WRITE));
		}
	} else {
		table = loam_ptab_pool_pop(&pool);
		loam_ptab_clear(table, LOAM_TAG_PREPARED);
	}
	loam_ptab_replace(&loam_space_table, slot, loam_pte_table(&mmu, table, LOAM_ATTR_WRITE));
	/* no CPU knows the leaf any more: replace has seen to that */
	err = loam_frame_free(run, LOAM_PT_SHIFT * (giant ? LOAM_LEVEL_GIANT : LOAM_LEVEL_HUGE));
	LOAM_CHECK(err == LOAM_OK, "the run of a huge leaf was not ours to free");
	return true;
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
	loam_ptab_walk(&loam_space_table, base, LOAM_LEVEL_HUGE, &slot);
	for (;;) {
		uint64_t slot_last = slot.va + (loam_level_size(slot.level) - 1);
		uint64_t from = slot.va > base ? slot.va : base;
		bool sticks_out = slot.va < base || slot_last > last;
		bool split = sticks_out || to == LOAM_STATE_PREPARED;

		if (slot.kind == LOAM_PTE_LEAF && split && !sticks_out && prepare_whole(&slot))
			split = false;
		if (slot.kind == LOAM_PTE_LEAF && slot.level == LOAM_LEVEL_GIANT && split) {
			split_giant(&slot);
			loam_ptab_walk(&loam_space_table, from, LOAM_LEVEL_HUGE, &slot);
			continue;
		}
		if (slot.kind == LOAM_PTE_LEAF && split)
			split_into_own_frame(&slot, from, tag);
		else if (slot.kind == LOAM_PTE_LEAF && slot.level == LOAM_LEVEL_GIANT)
			free_deposit(&slot);
		if (slot_last >= last)
			break;
		loam_ptab_next(&loam_space_table, LOAM_LEVEL_HUGE, &slot);
	}
	err = loam_ptab_unmap(&loam_space_table, NULL, &batch, base, size, tag, true);
	LOAM_CHECK(err == LOAM_OK, "drop left a leaf that sticks out");
	loam_tlb_batch_finish(&batch);
}

/* Not inlined: one batch on the stack will do. */
static __attribute__((noinline)) void drop_singles_later(uintptr_t base, size_t size)
{
	struct loam_tlb_batch batch;
	enum loam_err err;

	loam_tlb_batch_init(&batch, &mmu);
	err = loam_ptab_unmap(&loam_space_table, NULL, &batch, base, size, LOAM_TAG_PREPARED, true);
	LOAM_CHECK(err == LOAM_OK, "drop left a leaf that sticks out");
	loam_pt_publish(&mmu);
	loam_epoch_defer(&mmu, base, size, &batch.singles);
}

/* Single frames only: a huge leaf that goes is broken with everybody looking, and takes its table
 * from its own memory. */
void loam_space_drop_later(uintptr_t base, size_t size)
{
	struct loam_space_count count;

	loam_space_count(base, size, &count);
	if (count.huge_bytes > 0)
		loam_space_drop(base, size, LOAM_STATE_PREPARED);
	else
		drop_singles_later(base, size);
}

/* ---- explicit mappings, rights, demand ---- */

enum loam_err loam_space_map(uintptr_t base, struct loam_paddr pa, size_t size, uint32_t attr)
{
	size_t need = loam_ptab_map_need(&loam_space_table, base, pa, size, LOAM_LEVEL_GIANT);
	struct loam_ptab_pool pool = {0};
	enum loam_err err = loam_space_take_tables(&pool, need);

	if (err != LOAM_OK)
		return err;
	loam_dirty_admit(&loam_space_table, base, size);
	err = loam_ptab_map(&loam_space_table, &pool, base, pa, size, attr, LOAM_LEVEL_GIANT);
	LOAM_CHECK(err == LOAM_OK && pool.count == 0, "map counted its tables wrongly");
	return LOAM_OK;
}

enum loam_err loam_space_unmap(uintptr_t base, size_t size)
{
	struct loam_ptab_pool pool = {0};
	struct loam_tlb_batch batch;
	enum loam_err err =
		loam_space_take_tables(&pool, loam_ptab_split_need(&loam_space_table, base, size));

	if (err != LOAM_OK)
		return err;
	loam_tlb_batch_init(&batch, &mmu);
	err = loam_ptab_unmap(&loam_space_table, &pool, &batch, base, size, LOAM_TAG_NONE, false);
	LOAM_CHECK(err == LOAM_OK && pool.count == 0, "unmap counted its tables wrongly");
	loam_tlb_batch_finish(&batch);
	return LOAM_OK;
}

void loam_space_split_leaf(struct loam_ptab_slot *slot, struct loam_ptab_pool *pool)
{
	unsigned order = LOAM_PT_SHIFT * slot->level;

	check_stack(slot);
	if (slot->level == LOAM_LEVEL_GIANT)
		free_deposit(slot);
	loam_frame_split(loam_paddr_to_pfn(loam_pte_pa(&mmu, slot->pte, slot->level)), order,
			 order - LOAM_PT_SHIFT);
	loam_ptab_split(&loam_space_table, slot, loam_ptab_pool_pop(pool), LOAM_PT_ENTRIES,
			LOAM_TAG_NONE);
}

void loam_space_split_at(uintptr_t addr, struct loam_ptab_pool *pool)
{
	struct loam_ptab_slot slot;

	for (;;) {
		loam_ptab_walk(&loam_space_table, addr, LOAM_LEVEL_PAGE, &slot);
		if (slot.kind != LOAM_PTE_LEAF || slot.level == LOAM_LEVEL_PAGE || slot.va == addr)
			return;
		loam_space_split_leaf(&slot, pool);
	}
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
	enum loam_err err =
		loam_space_take_tables(&pool, loam_ptab_split_need(&loam_space_table, base, size));

	if (err != LOAM_OK)
		return err;
	if (pool.count > 0 && !all_leaves(base, size)) {
		give_tables(&pool);
		return LOAM_NOENT;
	}
	if (owned) {
		loam_space_split_at(base, &pool);
		if (base + size - 1 < mmu.va_max)
			loam_space_split_at(base + size, &pool);
	}
	/* the memory type is one and the same in a mapping, and write-back elsewhere */
	loam_ptab_walk(&loam_space_table, base, LOAM_LEVEL_PAGE, &slot);
	attr = (loam_pte_attr(&mmu, slot.pte, slot.level) & keep) | rights | LOAM_ATTR_ACCESSED;
	/* without dirty bits in hardware a clean page would fault on its first write: mm/commit.c */
	if ((rights & LOAM_ATTR_WRITE) != 0 && !mmu.hw_dirty &&
	    !(owned && loam_dirty_tracks(loam_vspace_find(base)->owner)))
		attr |= LOAM_ATTR_DIRTY;
	loam_tlb_batch_init(&batch, &mmu);
	err = loam_ptab_protect(&loam_space_table, &pool, &batch, base, size, attr);
	LOAM_CHECK(pool.count == 0, "protect counted its tables wrongly");
	loam_tlb_batch_finish(&batch);
	return err;
}
