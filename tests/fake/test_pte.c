/* SPDX-License-Identifier: MIT */
/* The codec of this ISA, in all its modes: properties over random entries, and golden values. */
#include "tests/fake/fake.h"
#include "tests/host/support.h"

static uint32_t random_attr(struct rng *rng)
{
	return (uint32_t)rng_below(rng, LOAM_ATTR_ALL + 1u);
}

static struct loam_paddr random_pa(struct rng *rng, const struct loam_mmu *mmu, unsigned level)
{
	uint64_t pa = rng_next(rng) & ((UINT64_C(1) << mmu->pa_bits) - 1);

	/* often at the ends, where bits get lost */
	if (rng_below(rng, 8) == 0)
		pa = (UINT64_C(1) << mmu->pa_bits) - 1;
	return loam_paddr(loam_align_down(pa, loam_level_size(level)));
}

static void goldens(void **state)
{
	(void)state;
	for (unsigned i = 0; i < fake_golden_count; i++) {
		const struct fake_golden *g = &fake_goldens[i];
		const struct loam_mmu *mmu = &fake_modes[g->mode].mmu;

		assert_true(loam_pte_attr_ok(mmu, g->attr, g->level));
		if (loam_pte_leaf(mmu, g->level, loam_paddr(g->pa), g->attr) != g->pte)
			fail_msg("golden %u: %#llx, want %#llx", i,
				 (unsigned long long)loam_pte_leaf(mmu, g->level, loam_paddr(g->pa),
								   g->attr),
				 (unsigned long long)g->pte);
	}
}

/* What goes in comes out, for everything that is allowed; all levels, all modes. */
static void leaves_round_trip(void **state)
{
	struct rng rng = {test_seed()};
	unsigned seen = 0;

	(void)state;
	for (unsigned n = 0; n < 300000; n++) {
		const struct loam_mmu *mmu = &fake_modes[n % fake_mode_count].mmu;
		unsigned level = (unsigned)rng_below(&rng, 3);
		uint32_t attr = random_attr(&rng);
		struct loam_paddr pa = random_pa(&rng, mmu, level);
		uint64_t pte;

		if (!loam_pte_attr_ok(mmu, attr, level))
			continue;
		seen++;
		pte = loam_pte_leaf(mmu, level, pa, attr);
		assert_int_equal(loam_pte_kind(mmu, pte, level), LOAM_PTE_LEAF);
		assert_int_equal(loam_pte_pa(mmu, pte, level).raw, pa.raw);
		assert_int_equal(loam_pte_attr(mmu, pte, level), attr);
	}
	assert_true(seen > 10000);
}

static void tables_and_nones(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (unsigned n = 0; n < 30000; n++) {
		const struct loam_mmu *mmu = &fake_modes[n % fake_mode_count].mmu;
		struct loam_paddr pa = random_pa(&rng, mmu, 0);
		uint64_t pte = loam_pte_table(mmu, pa, LOAM_ATTR_WRITE);

		for (unsigned level = 1; level < mmu->levels; level++) {
			assert_int_equal(loam_pte_kind(mmu, pte, level), LOAM_PTE_TABLE);
			assert_int_equal(loam_pte_pa(mmu, pte, level).raw, pa.raw);
		}
	}
	for (unsigned tag = 0; tag < 4; tag++) {
		for (unsigned level = 0; level < LOAM_LEVEL_COUNT; level++)
			assert_int_equal(
				loam_pte_kind(&fake_modes[0].mmu, loam_pte_none(tag), level),
				LOAM_PTE_NONE);
		assert_int_equal(loam_pte_tag(loam_pte_none(tag)), tag);
	}
	assert_int_equal(loam_pte_none(LOAM_TAG_NONE), 0); /* a zeroed table is an empty one */
}

/* Writable and executable at once is refused, always; so is what the CPU cannot do. */
static void attributes_are_vetted(void **state)
{
	(void)state;
	for (unsigned m = 0; m < fake_mode_count; m++) {
		const struct loam_mmu *mmu = &fake_modes[m].mmu;

		for (uint32_t attr = 0; attr <= LOAM_ATTR_ALL; attr++) {
			for (unsigned level = 0; level < LOAM_LEVEL_COUNT; level++) {
				bool ok = loam_pte_attr_ok(mmu, attr, level);

				if ((attr & LOAM_ATTR_WRITE) != 0 && (attr & LOAM_ATTR_EXEC) != 0)
					assert_false(ok);
				if (level >= mmu->levels || (mmu->leaf_mask >> level & 1) == 0)
					assert_false(ok);
				if ((attr & LOAM_ATTR_CONTIG) != 0 && !mmu->contig)
					assert_false(ok);
			}
			assert_false(loam_pte_attr_ok(mmu, attr | 0x100u, 0));
		}
		assert_true(loam_pte_attr_ok(mmu, LOAM_ATTR_DATA, 0));
		assert_true(loam_pte_attr_ok(mmu, LOAM_ATTR_EXEC | LOAM_ATTR_ACCESSED, 0));
	}
}

/* The rules of change, from the manuals: sizes, addresses and memory types break first; rights do
 * not; from and to none anything goes. */
static void changes_follow_the_manual(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (unsigned n = 0; n < 100000; n++) {
		const struct loam_mmu *mmu = &fake_modes[n % fake_mode_count].mmu;
		unsigned level = (unsigned)rng_below(&rng, 2);
		uint32_t a = random_attr(&rng) & ~LOAM_ATTR_CONTIG;
		uint32_t b = random_attr(&rng) & ~LOAM_ATTR_CONTIG;
		struct loam_paddr pa = random_pa(&rng, mmu, 2), other = random_pa(&rng, mmu, 2);
		uint64_t one, two, table = loam_pte_table(mmu, pa, LOAM_ATTR_WRITE);

		if (!loam_pte_attr_ok(mmu, a, level) || !loam_pte_attr_ok(mmu, b, level) ||
		    pa.raw == other.raw)
			continue;
		one = loam_pte_leaf(mmu, level, pa, a);
		two = loam_pte_leaf(mmu, level, other, a);
		assert_int_equal(loam_pte_change(mmu, 0, one, level), LOAM_PTE_IN_PLACE);
		assert_int_equal(loam_pte_change(mmu, one, 0, level), LOAM_PTE_IN_PLACE);
		assert_int_equal(loam_pte_change(mmu, one, one, level), LOAM_PTE_IN_PLACE);
		assert_int_equal(loam_pte_change(mmu, one, two, level), LOAM_PTE_BREAK);
		if (level > 0) {
			assert_int_equal(loam_pte_change(mmu, one, table, level), LOAM_PTE_BREAK);
			assert_int_equal(loam_pte_change(mmu, table, one, level), LOAM_PTE_BREAK);
			assert_int_equal(loam_pte_change(mmu, 0, table, level), LOAM_PTE_IN_PLACE);
		} else {
			assert_int_not_equal(loam_pte_change(mmu, 0, table, 0), LOAM_PTE_BREAK);
		}
		two = loam_pte_leaf(mmu, level, pa, b);
		if (((a ^ b) & LOAM_ATTR_MEM_MASK) != 0)
			assert_int_equal(loam_pte_change(mmu, one, two, level), LOAM_PTE_BREAK);
		else if (((a ^ b) & LOAM_ATTR_USER) == 0)
			assert_int_equal(loam_pte_change(mmu, one, two, level), LOAM_PTE_IN_PLACE);
	}
}

/* A leaf above the highest level that this CPU can have is refused. */
static void forbidden_entries(void **state)
{
	(void)state;
	for (unsigned m = 0; m < fake_mode_count; m++) {
		const struct loam_mmu *mmu = &fake_modes[m].mmu;
		uint64_t leaf = loam_pte_leaf(mmu, 3, loam_paddr(0), LOAM_ATTR_DATA);

		assert_int_equal(loam_pte_change(mmu, 0, leaf, 3), LOAM_PTE_FORBIDDEN);
	}
}

/* Every address has one index a level, and they spell the address. */
static void indices_spell_the_address(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (unsigned n = 0; n < 30000; n++) {
		const struct loam_mmu *mmu = &fake_modes[n % fake_mode_count].mmu;
		uint64_t mask = (UINT64_C(1) << mmu->va_bits) - 1, va = rng_next(&rng),
			 back = va & 0xfff;

		for (unsigned level = 0; level < mmu->levels; level++)
			back |= (uint64_t)loam_pt_index(mmu, va, level) << loam_level_shift(level);
		assert_int_equal(back & mask, va & mask);
	}
}

static void ranges_are_checked(void **state)
{
	(void)state;
	for (unsigned m = 0; m < fake_mode_count; m++) {
		const struct loam_mmu *mmu = &fake_modes[m].mmu;
		uint64_t top = UINT64_C(1) << mmu->pa_bits;

		assert_true(loam_mmu_va_ok(mmu, mmu->va_min, LOAM_PAGE_SIZE));
		assert_true(loam_mmu_va_ok(mmu, mmu->va_max - 4095, LOAM_PAGE_SIZE));
		assert_false(loam_mmu_va_ok(mmu, mmu->va_min - 4096, LOAM_PAGE_SIZE));
		assert_false(loam_mmu_va_ok(mmu, mmu->va_max - 4095, 2 * LOAM_PAGE_SIZE));
		assert_false(loam_mmu_va_ok(mmu, mmu->va_min, 0));
		assert_true(loam_mmu_pa_ok(mmu, top - 4096, 4096));
		assert_false(loam_mmu_pa_ok(mmu, top - 4096, 8192));
		assert_false(loam_mmu_pa_ok(mmu, top, 4096));
		assert_false(loam_mmu_pa_ok(mmu, 4096, UINT64_MAX));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goldens),
		cmocka_unit_test(leaves_round_trip),
		cmocka_unit_test(tables_and_nones),
		cmocka_unit_test(attributes_are_vetted),
		cmocka_unit_test(changes_follow_the_manual),
		cmocka_unit_test(forbidden_entries),
		cmocka_unit_test(indices_spell_the_address),
		cmocka_unit_test(ranges_are_checked),
	};
	return cmocka_run_group_tests_name("pte", tests, NULL, NULL);
}
