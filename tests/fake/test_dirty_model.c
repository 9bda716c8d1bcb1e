/* SPDX-License-Identifier: MIT */
/*
 * A model of which pages were written, against everything at once: four CPUs that write, also while a round
 * is under way, with the lock and without; memory that comes, goes, moves, splits and collapses, and loses rights. No page
 * that was written is ever passed by, and none is told that was not, but what one note stands for.
 * Tags: [DIRTY-1] [DIRTY-2] [DIRTY-3] [DIRTY-5].
 */
#include "tests/fake/dirty_test.h"

#include <loam/vm.h>

#define MODEL_BYTES (16 * MIB)
#define MODEL_PAGES (MODEL_BYTES / P)

/*
 * What is known of each page. `must`: it was written, and is to be told. `may`: it was, or another that one note
 * stands for. `during`: written, or come from elsewhere, since the round began, so that this round
 * need not tell it. `just`: told by the round that is under way, so that its caller will see what is
 * written before it ends.
 */
struct page {
	bool ready, must, may, during, just;
};
struct asked {
	uintptr_t base;
	size_t size;
};
static struct page model[MODEL_PAGES];
static struct rng rng;
static bool in_round;
static unsigned wrote, noted_late;

/* The pages that are noted together with the one at `va`. */
static uintptr_t extent(uintptr_t va, size_t *size)
{
	struct loam_ptab_slot slot = slot_of(va, 0);

	*size = slot.kind == LOAM_PTE_LEAF ? loam_level_size(slot.level) : P;
	if (loam_contig_is(loam_space_ptab(), &slot))
		*size *= LOAM_CONTIG_ENTRIES;
	return loam_align_down(va, *size);
}

static struct page *page_of(uintptr_t va)
{
	return &model[(va - window) / P];
}

static void may_be_told(uintptr_t base, size_t size)
{
	for (uintptr_t at = base; at < base + size; at += P) {
		if (at - window < MODEL_BYTES)
			page_of(at)->may = true;
	}
}

static void on_write(uint64_t va, uint64_t cached, uint64_t cached_size)
{
	size_t size;
	uintptr_t base;

	if (va - window >= MODEL_BYTES)
		return;
	wrote++;
	base = extent(va, &size);
	may_be_told(base, size);
	may_be_told(cached, cached_size);
	if (in_round && page_of(va)->just)
		noted_late++;
	else
		page_of(va)->must = true;
	page_of(va)->during |= in_round;
}

/* [DIRTY-1]: and nothing that was not written. */
static void model_visit(void *arg, uintptr_t base, size_t size)
{
	const struct asked *of = arg; /* a look has none */
	uintptr_t leaf;
	size_t n;

	for (uintptr_t at = base; at < base + size; at += P) {
		struct page *m = page_of(at);

		if (!m->may)
			fail_msg("page %zu was not written, and is told", (at - window) / P);
		told[(at - window) / P] = true;
		if (of == NULL)
			continue;
		leaf = extent(at, &n);
		m->must = false;
		m->just = true;
		/* what sticks out of the range is told again */
		m->may = leaf < of->base || n > of->size || leaf - of->base > of->size - n;
	}
}

static void write_anything(void)
{
	for (unsigned n = 0; n < 3; n++)
		(void)fake_touch((unsigned)rng_below(&rng, FAKE_CPUS),
				 window + rng_below(&rng, MODEL_BYTES), LOAM_ACCESS_WRITE, NULL);
	fake_meanwhile(write_anything);
}

static void random_range(size_t most, uintptr_t *base, size_t *size)
{
	size_t at = rng_below(&rng, MODEL_PAGES), n = 1 + rng_below(&rng, most / P);

	if (rng_below(&rng, 3) == 0) {
		at &= ~(size_t)511;
		n = (n + 511) & ~(size_t)511;
	}
	*base = window + at * P;
	*size = (n < MODEL_PAGES - at ? n : MODEL_PAGES - at) * P;
}

static void touch_some(void)
{
	uintptr_t at = window + rng_below(&rng, MODEL_BYTES);

	for (unsigned n = 0; n < 8; n++) {
		if (rng_below(&rng, 4) == 0)
			at = window + rng_below(&rng, MODEL_BYTES);
		if (page_of(at)->ready)
			(void)touch((unsigned)rng_below(&rng, FAKE_CPUS), at,
				    rng_below(&rng, 3) == 0 ? LOAM_ACCESS_WRITE : LOAM_ACCESS_READ);
		at = window + (at - window + P) % MODEL_BYTES;
	}
}

static void use_some(void)
{
	uintptr_t base;
	size_t size;

	random_range(4 * MIB, &base, &size);
	if (loam_sys_used(base, size, NULL) != LOAM_OK)
		return;
	/* others may have written there before it returned */
	for (uintptr_t at = base; at < base + size; at += P)
		page_of(at)->ready = true;
}

static void unuse_some(void)
{
	uintptr_t base;
	size_t size;

	random_range(2 * MIB, &base, &size);
	assert_int_equal(loam_sys_unused(base, size), LOAM_OK);
	memset(page_of(base), 0, size / P * sizeof(struct page));
}

static void move_some(void)
{
	uintptr_t from, to;
	size_t size, other;

	random_range(3 * MIB, &from, &size);
	random_range(3 * MIB, &to, &other);
	size = size < other ? size : other;
	/* notes of a run become those of each of its pages */
	if (loam_sys_move(from, to, size) != LOAM_OK)
		return;
	for (size_t at = 0; at < size; at += P) {
		struct page *now = page_of(to + at), *was = page_of(from + at);

		/* others may have written there before it returned */
		now->ready = true;
		now->must |= was->must;
		now->may |= was->may;
		now->just |= was->just;
		now->during |= was->during | in_round;
		*was = (struct page){0};
	}
}

static void collapse_some(void)
{
	uintptr_t base = window + rng_below(&rng, MODEL_BYTES / (2 * MIB)) * 2 * MIB;
	bool any = false;

	if (loam_sys_collapse(base, 2 * MIB) != LOAM_OK)
		return;
	for (size_t at = 0; at < 2 * MIB; at += P)
		any |= page_of(base + at)->may;
	for (size_t at = 0; at < 2 * MIB; at += P)
		page_of(base + at)->may = any;
}

static void protect_some(void)
{
	uintptr_t base;
	size_t size;

	random_range(MIB, &base, &size);
	(void)loam_vm_protect(base, size,
			      LOAM_VM_READ | (rng_below(&rng, 4) > 0 ? LOAM_VM_WRITE : 0));
}

static void policy(void)
{
	uintptr_t base;
	size_t size;

	random_range(8 * MIB, &base, &size);
	(void)(rng_below(&rng, 2) == 0 ? loam_sys_hugepage(base, size)
				       : loam_sys_nohugepage(base, size));
}

static void step(void)
{
	switch (rng_below(&rng, 16)) {
	case 0:
	case 1:
		use_some();
		break;
	case 2:
		unuse_some();
		break;
	case 3:
		move_some();
		break;
	case 4:
		collapse_some();
		break;
	case 5:
		protect_some();
		break;
	case 6:
		policy();
		break;
	default:
		touch_some();
	}
}

/* While a round lets go of the lock, the others go on. */
static void step_between(void)
{
	if (in_round && rng_below(&rng, 2) == 0)
		step();
}

static void model_look(uintptr_t base, size_t size)
{
	memset(told, 0, MODEL_PAGES);
	assert_int_equal(loam_sys_dirty_look(base, size, model_visit, NULL), LOAM_OK);
	for (uintptr_t at = base; at < base + size; at += P) {
		if (page_of(at)->must && !told[(at - window) / P])
			fail_msg("page %zu was written, and a look passes it by",
				 (at - window) / P);
	}
}

static void model_round(uintptr_t base, size_t size)
{
	struct asked of = {base, size};

	for (size_t i = 0; i < MODEL_PAGES; i++) {
		model[i].during = false;
		model[i].just = false;
	}
	in_round = true;
	fake_between(step_between);
	assert_int_equal(
		loam_sys_dirty_round(base, size, rng_below(&rng, 2) == 0, model_visit, &of),
		LOAM_OK);
	fake_between(NULL);
	in_round = false;
	fake_settled(); /* [DIRTY-2] [DIRTY-3] */
	for (uintptr_t at = base; at < base + size; at += P) {
		if (page_of(at)->must && !page_of(at)->during)
			fail_msg("page %zu was written, and a round passes it by",
				 (at - window) / P);
	}
}

static void everything_at_once(void **state)
{
	const struct loam_ptab *pt;

	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base;
		size_t size;

		up(mode);
		rng.state = test_seed();
		memset(model, 0, sizeof(model));
		assert_int_equal(ready(MODEL_BYTES, false), window);
		assert_int_equal(loam_sys_unused(window, MODEL_BYTES), LOAM_OK);
		fake_calm(false);
		fake_on_write(on_write);
		pt = loam_space_ptab();
		for (unsigned n = 0; n < 600; n++) {
			fake_meanwhile(write_anything);
			for (unsigned i = rng_below(&rng, 12); i > 0; i--)
				step();
			random_range(MODEL_BYTES, &base, &size);
			if (rng_below(&rng, 2) == 0)
				base = window, size = MODEL_BYTES;
			model_look(base, size);
			model_round(base, size);
			if (n % 16 == 0) {
				loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max);
				loam_sys_verify();
			}
			model_look(window, MODEL_BYTES);
		}
		fake_meanwhile(NULL);
		fake_on_write(NULL);
		assert_true(wrote > 1000 && noted_late > 10);
		down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_at_once),
	};
	return cmocka_run_group_tests_name("dirty_model", tests, NULL, NULL);
}
