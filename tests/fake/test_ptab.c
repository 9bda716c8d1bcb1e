/* SPDX-License-Identifier: MIT */
/*
 * The walker against a flat model, in every mode of this ISA, on a machine whose TLBs forget
 * nothing by themselves. [PTAB-1] to [PTAB-4] are verified after each operation.
 */
#include "mm/ptab.h"
#include "mm/tlb.h"
#include "tests/fake/fake_test.h"

#define BLOCKS 4u
#define PAGES  (BLOCKS * LOAM_PT_ENTRIES)
#define EVENTS UINT64_C(1100000) /* that the fake has checked, over all modes */

/* What a page must look like. */
struct page {
	bool mapped;
	uint64_t pa;
	uint32_t attr; /* but for accessed and dirty, which hardware sets */
	unsigned tag;
};

#define NOTED ((uint32_t)(LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY | LOAM_ATTR_CONTIG))

static struct page model[PAGES];
static struct loam_ptab pt;
static uint64_t base; /* of the model: one block below a 1 GiB boundary */

static void up(const struct fake_mode *mode, uint64_t seed)
{
	fake_frames_up(mode, seed);
	pt.mmu = fake_mmu();
	pt.root = fake_root();
	base = pt.mmu->va_min + 5 * LOAM_GIANT_SIZE - LOAM_HUGE_SIZE;
	memset(model, 0, sizeof(model));
}

static void pool_fill(struct loam_ptab_pool *pool, size_t count)
{
	struct loam_pfn pfn;

	while (pool->count < count) {
		assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TABLE, &pfn),
				 LOAM_OK);
		loam_ptab_pool_push(pool, loam_pfn_to_paddr(pfn));
	}
}

static void pool_drain(struct loam_ptab_pool *pool)
{
	while (pool->count > 0)
		assert_int_equal(loam_frame_free(loam_paddr_to_pfn(loam_ptab_pool_pop(pool)), 0),
				 LOAM_OK);
}

/* After an upgrade a CPU may fault on what it cached: it forgets that and tries again. */
static bool write_retried(const struct loam_ptab_slot *slot, uint64_t va)
{
	if (fake_touch(0, va, LOAM_ACCESS_WRITE, NULL))
		return true;
	loam_tlb_local(pt.mmu, slot->va, 1, slot->level, false);
	return fake_touch(0, va, LOAM_ACCESS_WRITE, NULL);
}

static void check_page(unsigned i)
{
	uint64_t va = base + i * LOAM_PAGE_SIZE;
	struct loam_ptab_slot slot;
	struct loam_paddr pa;

	loam_ptab_walk(&pt, va, LOAM_LEVEL_PAGE, &slot);
	assert_int_equal(slot.kind == LOAM_PTE_LEAF, model[i].mapped);
	if (!model[i].mapped) {
		assert_int_equal(slot.level == 0 ? loam_pte_tag(slot.pte) : 0, model[i].tag);
		for (unsigned c = 0; c < fake_cpu_count(); c++)
			assert_false(fake_touch(c, va, LOAM_ACCESS_READ, NULL));
		return;
	}
	assert_int_equal(loam_pte_pa(pt.mmu, slot.pte, slot.level).raw + (va - slot.va),
			 model[i].pa);
	assert_int_equal(loam_pte_attr(pt.mmu, slot.pte, slot.level) & ~NOTED,
			 model[i].attr & ~NOTED);
	for (unsigned c = 0; c < fake_cpu_count(); c++) {
		assert_true(fake_touch(c, va, LOAM_ACCESS_READ, &pa));
		assert_int_equal(pa.raw, model[i].pa);
	}
	assert_int_equal(write_retried(&slot, va),
			 (model[i].attr & LOAM_ATTR_WRITE) != 0 &&
				 (pt.mmu->hw_dirty || (model[i].attr & LOAM_ATTR_DIRTY) != 0));
}

static void check_all(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		check_page(i);
}

/* After any operation: no stale entry, no unpublished store, sound tables. */
static void settled(void)
{
	fake_settled();
	loam_ptab_verify(&pt, pt.mmu->va_min, pt.mmu->va_max);
}

static uint32_t random_rights(struct rng *rng)
{
	static const uint32_t rights[] = {
		LOAM_ATTR_DATA,
		LOAM_ATTR_ACCESSED,
		LOAM_ATTR_ACCESSED | LOAM_ATTR_EXEC,
		LOAM_ATTR_DATA | LOAM_ATTR_USER,
		LOAM_ATTR_DATA | LOAM_ATTR_MEM_UC,
	};

	return rights[rng_below(rng, COUNT_OF(rights))];
}

static bool any(unsigned at, unsigned n, bool mapped)
{
	for (unsigned i = at; i < at + n; i++) {
		if (model[i].mapped == mapped)
			return true;
	}
	return false;
}

/* Does every page have its own entry of level 0? */
static bool all_level_0(unsigned at, unsigned n)
{
	for (unsigned i = at; i < at + n; i++) {
		struct loam_ptab_slot slot;

		loam_ptab_walk(&pt, base + i * LOAM_PAGE_SIZE, LOAM_LEVEL_PAGE, &slot);
		if (slot.level != 0)
			return false;
	}
	return true;
}

static void do_map(struct rng *rng, unsigned at, unsigned n)
{
	uint64_t va = base + at * LOAM_PAGE_SIZE, size = n * LOAM_PAGE_SIZE;
	/* often congruent to the virtual address, so that large leaves fit; never RAM */
	struct loam_paddr pa =
		loam_paddr(UINT64_C(0x1000000000) + rng_below(rng, 64) * LOAM_GIANT_SIZE +
			   (rng_below(rng, 3) != 0 ? va % LOAM_GIANT_SIZE
						   : rng_below(rng, 9999) * LOAM_PAGE_SIZE));
	unsigned max_level = (unsigned)rng_below(rng, 3);
	uint32_t attr = random_rights(rng);
	struct loam_ptab_pool pool = {0};
	size_t need = loam_ptab_map_need(&pt, va, pa, size, max_level);

	if (any(at, n, true)) {
		pool_fill(&pool, 8);
		assert_int_equal(loam_ptab_map(&pt, &pool, va, pa, size, attr, max_level),
				 LOAM_EXIST);
		assert_int_equal(pool.count, 8);
		pool_drain(&pool);
		return;
	}
	if (need > 0) {
		pool_fill(&pool, need - 1);
		assert_int_equal(loam_ptab_map(&pt, &pool, va, pa, size, attr, max_level),
				 LOAM_NOMEM);
		assert_int_equal(pool.count, need - 1);
		check_page(at);
	}
	pool_fill(&pool, need);
	assert_int_equal(loam_ptab_map(&pt, &pool, va, pa, size, attr, max_level), LOAM_OK);
	assert_int_equal(pool.count, 0);
	for (unsigned i = 0; i < n; i++)
		model[at + i] = (struct page){true, pa.raw + i * LOAM_PAGE_SIZE, attr, 0};
}

static void do_tag(unsigned at, unsigned n)
{
	uint64_t va = base + at * LOAM_PAGE_SIZE, size = n * LOAM_PAGE_SIZE;
	struct loam_ptab_pool pool = {0};
	size_t need = loam_ptab_tag_need(&pt, va, size);

	if (any(at, n, true)) {
		assert_int_equal(loam_ptab_tag(&pt, &pool, va, size, LOAM_TAG_PREPARED),
				 LOAM_EXIST);
		return;
	}
	if (need > 0) {
		pool_fill(&pool, need - 1);
		assert_int_equal(loam_ptab_tag(&pt, &pool, va, size, LOAM_TAG_PREPARED),
				 LOAM_NOMEM);
	}
	pool_fill(&pool, need);
	assert_int_equal(loam_ptab_tag(&pt, &pool, va, size, LOAM_TAG_PREPARED), LOAM_OK);
	assert_int_equal(pool.count, 0);
	for (unsigned i = 0; i < n; i++)
		model[at + i] = (struct page){.tag = LOAM_TAG_PREPARED};
}

static void do_unmap(struct rng *rng, unsigned at, unsigned n)
{
	uint64_t va = base + at * LOAM_PAGE_SIZE, size = n * LOAM_PAGE_SIZE;
	unsigned tag =
		rng_below(rng, 3) == 0 && all_level_0(at, n) ? LOAM_TAG_PREPARED : LOAM_TAG_NONE;
	size_t need = loam_ptab_split_need(&pt, va, size);
	struct loam_ptab_pool pool = {0};
	struct loam_tlb_batch batch;

	assert_true(need <= 2u * (pt.mmu->levels - 1u));
	loam_tlb_batch_init(&batch, pt.mmu);
	if (need > 0) {
		pool_fill(&pool, need - 1);
		assert_int_equal(loam_ptab_unmap(&pt, &pool, &batch, va, size, tag, false),
				 LOAM_NOMEM);
		assert_int_equal(loam_ptab_unmap(&pt, &pool, &batch, va, size, tag, true),
				 LOAM_INVAL);
		check_page(at);
	}
	pool_fill(&pool, need);
	assert_int_equal(loam_ptab_unmap(&pt, &pool, &batch, va, size, tag, false), LOAM_OK);
	assert_int_equal(pool.count, 0);
	loam_tlb_batch_finish(&batch);
	for (unsigned i = 0; i < n; i++)
		model[at + i] = (struct page){.tag = tag};
}

static void do_protect(struct rng *rng, unsigned at, unsigned n)
{
	uint64_t va = base + at * LOAM_PAGE_SIZE, size = n * LOAM_PAGE_SIZE;
	size_t need = any(at, n, false) ? 0 : loam_ptab_split_need(&pt, va, size);
	uint32_t attr = random_rights(rng);
	struct loam_ptab_pool pool = {0};
	struct loam_tlb_batch batch;

	loam_tlb_batch_init(&batch, pt.mmu);
	if (any(at, n, false)) {
		assert_int_equal(loam_ptab_protect(&pt, &pool, &batch, va, size, attr), LOAM_NOENT);
		return;
	}
	if (need > 0) {
		pool_fill(&pool, need - 1);
		assert_int_equal(loam_ptab_protect(&pt, &pool, &batch, va, size, attr), LOAM_NOMEM);
	}
	pool_fill(&pool, need);
	assert_int_equal(loam_ptab_protect(&pt, &pool, &batch, va, size, attr), LOAM_OK);
	assert_int_equal(pool.count, 0);
	loam_tlb_batch_finish(&batch);
	for (unsigned i = 0; i < n; i++)
		model[at + i].attr = attr;
}

static void random_operations(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct rng rng = {test_seed()};
		uint64_t before, roots;

		up(mode, test_seed());
		before = free_frames();
		for (uint64_t end = fake_events() + EVENTS / fake_mode_count;
		     fake_events() < end;) {
			unsigned at = (unsigned)rng_below(&rng, PAGES);
			unsigned n = 1 + (unsigned)rng_below(&rng, PAGES - at);

			if (rng_below(&rng, 3) != 0)
				n = 1 + (unsigned)rng_below(&rng, n < 24 ? n : 24);
			if (rng_below(&rng, 2) == 0)
				fake_spread(base + rng_below(&rng, PAGES) * LOAM_PAGE_SIZE,
					    64 * LOAM_PAGE_SIZE);
			fake_spread(base + at * LOAM_PAGE_SIZE, (n < 32 ? n : 32) * LOAM_PAGE_SIZE);
			switch (rng_below(&rng, 6)) {
			case 0:
			case 1:
				do_map(&rng, at, n);
				break;
			case 2:
				do_tag(at, n);
				break;
			case 3:
				do_protect(&rng, at, n);
				break;
			default:
				do_unmap(&rng, at, n);
				break;
			}
			settled();
			for (unsigned i = 0; i < 16; i++)
				check_page((unsigned)rng_below(&rng, PAGES));
			check_page(at);
			check_page(at + n - 1);
		}
		check_all();
		do_unmap(&rng, 0, PAGES); /* with a tag, at times: once more for good */
		do_unmap(&(struct rng){1}, 0, PAGES);
		while (model[0].tag != LOAM_TAG_NONE)
			do_unmap(&rng, 0, PAGES);
		check_all();
		/* only what hangs at the root is left */
		roots = loam_ptab_table_count(&pt, pt.mmu->va_min, pt.mmu->va_max);
		assert_int_equal(before - free_frames(), roots);
		assert_true(roots <= 2);
		fake_frames_down();
	}
}

/* The largest leaf that fits is used, at each level the mode has, and no larger one. */
static void large_leaves(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		unsigned top = (mode->mmu.leaf_mask & 4) != 0 ? 2 : 1;
		uint64_t va, size = 2 * LOAM_GIANT_SIZE + LOAM_HUGE_SIZE + LOAM_PAGE_SIZE;
		struct loam_ptab_pool pool = {0};
		struct loam_ptab_slot slot;
		struct loam_paddr pa = loam_paddr(UINT64_C(0x1000000000));

		up(mode, 1);
		va = pt.mmu->va_min + 8 * LOAM_GIANT_SIZE;
		pool_fill(&pool, loam_ptab_map_need(&pt, va, pa, size, LOAM_LEVEL_GIANT));
		assert_int_equal(
			loam_ptab_map(&pt, &pool, va, pa, size, LOAM_ATTR_DATA, LOAM_LEVEL_GIANT),
			LOAM_OK);
		assert_int_equal(pool.count, 0);
		loam_ptab_walk(&pt, va + LOAM_GIANT_SIZE, LOAM_LEVEL_PAGE, &slot);
		assert_int_equal(slot.level, top);
		loam_ptab_walk(&pt, va + 2 * LOAM_GIANT_SIZE, LOAM_LEVEL_PAGE, &slot);
		assert_int_equal(slot.level, 1);
		loam_ptab_walk(&pt, va + 2 * LOAM_GIANT_SIZE + LOAM_HUGE_SIZE, LOAM_LEVEL_PAGE,
			       &slot);
		assert_int_equal(slot.level, 0);
		settled();
		fake_frames_down();
	}
}

/* One large leaf, known to all TLBs, goes: by itself it is too little for a whole flush. */
static void one_large_leaf_goes(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		for (unsigned level = 1; level <= 2; level++) {
			uint64_t size = loam_level_size(level), va;
			struct loam_ptab_pool pool = {0};
			struct loam_tlb_batch batch;
			struct loam_paddr pa = loam_paddr(UINT64_C(0x1000000000));

			if ((mode->mmu.leaf_mask >> level & 1) == 0)
				continue;
			up(mode, 1);
			va = pt.mmu->va_min + 8 * LOAM_GIANT_SIZE;
			/* a neighbour keeps the table */
			pool_fill(&pool, loam_ptab_map_need(&pt, va, pa, 2 * size, level));
			assert_int_equal(
				loam_ptab_map(&pt, &pool, va, pa, 2 * size, LOAM_ATTR_DATA, level),
				LOAM_OK);
			fake_spread(va + 7 * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE);
			loam_tlb_batch_init(&batch, pt.mmu);
			assert_int_equal(
				loam_ptab_unmap(&pt, &pool, &batch, va, size, LOAM_TAG_NONE, false),
				LOAM_OK);
			loam_tlb_batch_finish(&batch);
			settled();
			assert_int_equal(fake_cached(va, size), 0);
			fake_frames_down();
		}
	}
}

/* A write that hardware notes just when an entry is taken out or changed is not lost. */
static void dirty_bits_survive(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_ptab_pool pool = {0};
		struct loam_tlb_batch batch;
		uint64_t va;
		unsigned wrote = 0;

		if (!mode->mmu.hw_dirty)
			continue;
		up(mode, test_seed());
		va = base;
		for (unsigned round = 0; round < 200; round++) {
			struct loam_ptab_slot slot;
			struct loam_paddr pa;

			pool_fill(&pool, loam_ptab_map_need(&pt, va, loam_paddr(0x1000000000),
							    LOAM_PAGE_SIZE, 0));
			assert_int_equal(loam_ptab_map(&pt, &pool, va, loam_paddr(0x1000000000),
						       LOAM_PAGE_SIZE,
						       LOAM_ATTR_WRITE | LOAM_ATTR_ACCESSED, 0),
					 LOAM_OK);
			if (round % 2 == 0)
				assert_true(fake_touch(0, va, LOAM_ACCESS_WRITE, &pa));
			loam_tlb_batch_init(&batch, pt.mmu);
			/* the fake writes, half of the time, just before the exchange */
			assert_int_equal(loam_ptab_protect(&pt, &pool, &batch, va, LOAM_PAGE_SIZE,
							   LOAM_ATTR_WRITE | LOAM_ATTR_ACCESSED |
								   LOAM_ATTR_USER),
					 LOAM_OK);
			loam_tlb_batch_finish(&batch);
			fake_settled(); /* a TLB that knows of a write the tables do not: violation */
			loam_ptab_walk(&pt, va, LOAM_LEVEL_PAGE, &slot);
			wrote += (loam_pte_attr(pt.mmu, slot.pte, 0) & LOAM_ATTR_DIRTY) != 0;
			if (round % 2 == 0)
				assert_true((loam_pte_attr(pt.mmu, slot.pte, 0) &
					     LOAM_ATTR_DIRTY) != 0);
			assert_int_equal(loam_ptab_unmap(&pt, &pool, &batch, va, LOAM_PAGE_SIZE,
							 LOAM_TAG_NONE, false),
					 LOAM_OK);
			loam_tlb_batch_finish(&batch);
		}
		assert_true(wrote > 100);
		fake_frames_down();
	}
}

/* Adding rights costs no invalidation; taking them does. */
static void upgrades_do_not_broadcast(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_ptab_pool pool = {0};
		struct loam_tlb_batch batch;
		uint64_t before;

		up(mode, 1);
		pool_fill(&pool, loam_ptab_map_need(&pt, base, loam_paddr(0x1000000000), 4096, 0));
		assert_int_equal(loam_ptab_map(&pt, &pool, base, loam_paddr(0x1000000000), 4096,
					       LOAM_ATTR_ACCESSED, 0),
				 LOAM_OK);
		fake_spread(base, 4096);
		before = fake_invalidated() + fake_flushed();
		loam_tlb_batch_init(&batch, pt.mmu);
		assert_int_equal(loam_ptab_protect(&pt, &pool, &batch, base, 4096, LOAM_ATTR_DATA),
				 LOAM_OK);
		loam_tlb_batch_finish(&batch);
		assert_int_equal(fake_invalidated() + fake_flushed(), before);
		assert_int_equal(
			loam_ptab_protect(&pt, &pool, &batch, base, 4096, LOAM_ATTR_ACCESSED),
			LOAM_OK);
		loam_tlb_batch_finish(&batch);
		assert_true(fake_invalidated() + fake_flushed() > before);
		settled();
		fake_frames_down();
	}
}

static void bad_ranges_are_refused(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_ptab_pool pool = {0};
		struct loam_tlb_batch batch;
		uint64_t va, top = UINT64_C(1) << mode->mmu.pa_bits;

		up(mode, 1);
		va = base;
		loam_tlb_batch_init(&batch, pt.mmu);
		pool_fill(&pool, 8);
#define MAP(v, p, s, a) loam_ptab_map(&pt, &pool, v, loam_paddr(p), s, a, 2)
		assert_int_equal(MAP(va + 1, 0x1000, 4096, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(va, 0x1001, 4096, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(va, 0x1000, 4097, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(va, 0x1000, 0, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(0x1000, 0x1000, 4096, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(pt.mmu->va_min - 4096, 0x1000, 4096, LOAM_ATTR_DATA),
				 LOAM_INVAL);
		assert_int_equal(MAP(UINT64_MAX - 4095, 0x1000, 8192, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(va, top, 4096, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(va, top - 4096, 8192, LOAM_ATTR_DATA), LOAM_INVAL);
		assert_int_equal(MAP(va, 0x1000, 4096, LOAM_ATTR_WRITE | LOAM_ATTR_EXEC),
				 LOAM_INVAL);
#undef MAP
		assert_int_equal(loam_ptab_tag(&pt, &pool, va + 1, 4096, LOAM_TAG_PREPARED),
				 LOAM_INVAL);
		assert_int_equal(loam_ptab_unmap(&pt, &pool, &batch, va, 0, 0, false), LOAM_INVAL);
		assert_int_equal(loam_ptab_protect(&pt, &pool, &batch, va, 4096,
						   LOAM_ATTR_WRITE | LOAM_ATTR_EXEC),
				 LOAM_INVAL);
		assert_int_equal(pool.count, 8);
		pool_drain(&pool);
		fake_frames_down();
	}
}

/* The last page of the address space: ranges there end without wrapping. */
static void top_of_the_address_space(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_ptab_pool pool = {0};
		struct loam_tlb_batch batch;
		uint64_t va = UINT64_MAX - 2 * LOAM_HUGE_SIZE + 1;

		up(mode, 1);
		pool_fill(&pool, loam_ptab_map_need(&pt, va, loam_paddr(0x1000000000),
						    2 * LOAM_HUGE_SIZE, 1));
		assert_int_equal(loam_ptab_map(&pt, &pool, va, loam_paddr(0x1000000000),
					       2 * LOAM_HUGE_SIZE, LOAM_ATTR_DATA, 1),
				 LOAM_OK);
		fake_spread(UINT64_MAX - 65535, 65536);
		loam_tlb_batch_init(&batch, pt.mmu);
		pool_fill(&pool, 4);
		assert_int_equal(
			loam_ptab_unmap(&pt, &pool, &batch, UINT64_MAX - 4095, 4096, 0, false),
			LOAM_OK);
		loam_tlb_batch_finish(&batch);
		settled();
		assert_false(fake_touch(0, UINT64_MAX - 8, LOAM_ACCESS_READ, NULL));
		assert_true(fake_touch(0, UINT64_MAX - 4096, LOAM_ACCESS_READ, NULL));
		assert_int_equal(
			loam_ptab_unmap(&pt, &pool, &batch, va, 2 * LOAM_HUGE_SIZE, 0, false),
			LOAM_OK);
		loam_tlb_batch_finish(&batch);
		settled();
		pool_drain(&pool);
		fake_frames_down();
	}
}

enum breakage { WRITE_AND_EXEC, BEYOND_THE_CPU, TAG_ABOVE_LEVEL_0, EMPTY_TABLE, BREAKAGES };

static void break_tables(const struct fake_mode *mode, enum breakage how)
{
	struct loam_ptab_pool pool = {0};
	struct loam_ptab_slot slot;
	uint64_t *p;

	up(mode, 1);
	pool_fill(&pool, loam_ptab_map_need(&pt, base, loam_paddr(0x1000000000), 4096, 0));
	assert_int_equal(
		loam_ptab_map(&pt, &pool, base, loam_paddr(0x1000000000), 4096, LOAM_ATTR_DATA, 0),
		LOAM_OK);
	loam_ptab_walk(&pt, base, how == TAG_ABOVE_LEVEL_0 ? 1 : 0, &slot);
	p = (uint64_t *)loam_frame_ptr(slot.table) + slot.index;
	switch (how) {
	case WRITE_AND_EXEC:
		*p = loam_pte_leaf(pt.mmu, 0, loam_paddr(0x1000), LOAM_ATTR_DATA | LOAM_ATTR_EXEC);
		break;
	case BEYOND_THE_CPU:
		*p = loam_pte_leaf(pt.mmu, 0, loam_paddr(UINT64_C(1) << pt.mmu->pa_bits),
				   LOAM_ATTR_DATA);
		break;
	case TAG_ABOVE_LEVEL_0:
		p[-1] = loam_pte_none(1); /* `base` has the last entry of its table */
		break;
	default:
		*p = 0;
		break;
	}
}

static void down_broken(void)
{
	loam_frame_reset();
	fake_down();
}

static void broken_tables_are_found(void **state)
{
	static const char *const tag[BREAKAGES] = {"[PTAB-1]", "[PTAB-2]", "[PTAB-3]", "[PTAB-4]"};
	static volatile unsigned m, how;

	(void)state;
	for (m = 0; m < fake_mode_count; m++) {
		for (how = 0; how < BREAKAGES; how++) {
			if (how == BEYOND_THE_CPU && fake_modes[m].mmu.pa_bits == 52)
				continue; /* no entry can say so */
			break_tables(&fake_modes[m], how);
			EXPECT_PANIC(loam_ptab_verify(&pt, pt.mmu->va_min, pt.mmu->va_max),
				     tag[how]);
			down_broken();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
		cmocka_unit_test(large_leaves),
		cmocka_unit_test(one_large_leaf_goes),
		cmocka_unit_test(dirty_bits_survive),
		cmocka_unit_test(upgrades_do_not_broadcast),
		cmocka_unit_test(bad_ranges_are_refused),
		cmocka_unit_test(top_of_the_address_space),
		cmocka_unit_test(broken_tables_are_found),
	};
	int failed = cmocka_run_group_tests_name("ptab", tests, NULL, NULL);

	printf("# %llu events checked\n", (unsigned long long)fake_events());
	return failed;
}
