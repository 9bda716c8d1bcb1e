/* SPDX-License-Identifier: MIT */
/* loam_mm_shutdown on the fake machine, in every mode of this ISA: each frame comes back, and the fake
 * sees to it that no CPU can reach it. Tags: [SHUT-1], [SHUT-2]. */
#include "mm/numa.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#define MIB    ((size_t)1 << 20)
#define PAGES  1024u
#define DEVICE UINT64_C(0x2000000000) /* no RAM there */

static char text[4000];

static void keep_text(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	if (strlen(text) + len < sizeof(text))
		strncat(text, buf, len);
}

/* What the buddies hold when the memory map was read and nobody has asked for anything. */
static void read_map(const struct fake_mode *mode, struct loam_frame_stats *stats)
{
	struct loam_mem_entry entry[FAKE_RANGES + 1];
	static struct loam_memmap map;

	assert_int_equal(loam_memmap_sanitise(entry, fake_memmap(entry), mode->mmu.pa_bits, &map),
			 LOAM_OK);
	assert_int_equal(loam_frame_init(&map), LOAM_OK);
	loam_frame_shutdown();
	loam_frame_stats(stats);
	assert_true(stats->free > 10000);
	assert_int_equal(stats->free, stats->intake);
	assert_int_equal(stats->free + stats->owner_frames[LOAM_OWNER_META], stats->total);
}

static void assert_same_frames(const struct loam_frame_stats *a, const struct loam_frame_stats *b)
{
	assert_int_equal(a->free, b->free);
	assert_int_equal(a->known_zero, 0);
	assert_memory_equal(a->owner_frames, b->owner_frames, sizeof(a->owner_frames));
	/* in blocks as large as can be: none is split any more */
	assert_memory_equal(a->free_blocks, b->free_blocks, sizeof(a->free_blocks));
}

static void others_go(void)
{
	for (unsigned cpu = 1; cpu < fake_cpu_count(); cpu++) {
		fake_run_on(cpu);
		fake_sleep(cpu, true);
		loam_cpu_offline();
	}
	fake_run_on(0);
}

static void others_wake(void)
{
	for (unsigned cpu = 1; cpu < fake_cpu_count(); cpu++)
		fake_sleep(cpu, false);
}

/* Stacks, frames, explicit mappings: taken, used, given back. */
static void use_and_return(struct rng *rng)
{
	struct loam_stack s[12];
	struct loam_pfn pfn[10];
	uintptr_t va;

	for (unsigned i = 0; i < COUNT_OF(s); i++) {
		assert_int_equal(loam_stack_alloc((size_t)16384 << i % 6, &s[i]), LOAM_OK);
		assert_true(touch((unsigned)rng_below(rng, 4), s[i].low + 8, LOAM_ACCESS_WRITE));
	}
	for (unsigned i = 0; i < COUNT_OF(s); i++)
		assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
	for (unsigned i = 0; i < COUNT_OF(pfn); i++)
		assert_int_equal(loam_frame_alloc(i, rng_below(rng, 2) ? LOAM_FRAME_ZERO : 0,
						  i % 2 ? LOAM_OWNER_HOST : LOAM_OWNER_TEST,
						  &pfn[i]),
				 LOAM_OK);
	assert_int_equal(loam_vm_map(0, loam_pfn_to_paddr(pfn[9]), 2 * MIB,
				     LOAM_VM_READ | LOAM_VM_WRITE, LOAM_VM_WRITE_BACK, &va),
			 LOAM_OK);
	assert_true(touch(1, va + MIB, LOAM_ACCESS_WRITE));
	assert_int_equal(loam_vm_unmap(va + LOAM_PAGE_SIZE, LOAM_PAGE_SIZE), LOAM_OK);
	assert_int_equal(loam_vm_unmap(va, LOAM_PAGE_SIZE), LOAM_OK);
	assert_int_equal(loam_vm_unmap(va + 2 * LOAM_PAGE_SIZE, 2 * MIB - 2 * LOAM_PAGE_SIZE),
			 LOAM_OK);
	for (unsigned i = 0; i < COUNT_OF(pfn); i++) {
		fake_run_on((unsigned)rng_below(rng, fake_cpu_count())); /* each cache gets some */
		assert_int_equal(loam_frame_free(pfn[i], i), LOAM_OK);
	}
	fake_run_on(0);
}

/* Memory of the heap's, left as it is: in every state, in leaves of every size. */
static void use_and_leave(struct rng *rng)
{
	size_t bytes = PAGES * LOAM_PAGE_SIZE;
	uintptr_t base, bare, lazy;

	assert_int_equal(loam_sys_reserve(0, bytes, LOAM_HUGE_SIZE, &base), LOAM_OK);
	if (loam_sys_huge_sizes() != 0)
		assert_int_equal(loam_sys_hugepage(base, 2 * LOAM_HUGE_SIZE), LOAM_OK);
	assert_int_equal(loam_sys_map(base, bytes, LOAM_OWNER_HEAP), LOAM_OK);
	assert_int_equal(loam_sys_used(base, bytes, NULL), LOAM_OK);
	for (unsigned i = 0; i < 40; i++) {
		uintptr_t at = base + rng_below(rng, PAGES) * LOAM_PAGE_SIZE;

		assert_int_equal(loam_sys_unused(at, LOAM_PAGE_SIZE), LOAM_OK);
	}
	fake_spread(base, bytes);
	assert_int_equal(loam_sys_unused_later(base + 3 * MIB, MIB), LOAM_OK); /* waits */
	assert_int_equal(loam_sys_fault(base + 2 * MIB, MIB / 2), LOAM_OK);
	assert_int_equal(loam_sys_reserve(0, 100 * MIB, 0, &bare), LOAM_OK);
	assert_int_equal(loam_sys_free(bare + MIB, MIB), LOAM_OK);
	assert_int_equal(loam_sys_reserve(0, 3 * LOAM_GIANT_SIZE, 0, &lazy), LOAM_OK);
	assert_int_equal(loam_sys_map(lazy + LOAM_GIANT_SIZE, MIB, LOAM_OWNER_GC), LOAM_OK);
	assert_int_equal(loam_vm_lazy(lazy + LOAM_GIANT_SIZE, MIB, true), LOAM_OK);
	assert_true(touch(2, lazy + LOAM_GIANT_SIZE, LOAM_ACCESS_WRITE));
	/* as a collector frees what is its own */
	assert_int_equal(loam_mm_shutdown(), LOAM_BUSY);
	assert_int_equal(loam_sys_free(base, bytes), LOAM_OK);
	assert_int_equal(loam_sys_free(lazy + LOAM_GIANT_SIZE, LOAM_GIANT_SIZE), LOAM_OK);
}

static void every_frame_comes_back(void **state)
{
	(void)state;
	loam_host_on_log(keep_text);
	for_each_mode(mode)
	{
		struct rng rng = {test_seed()};
		struct loam_frame_stats first, left;

		fake_up_default(&mode->mmu, test_seed());
		read_map(mode, &first);
		for (unsigned round = 0; round < 100; round++) {
			struct loam_pfn pfn;

			others_wake(); /* with what their TLBs held */
			(void)fake_mm_up(mode, round % 3 == 0);
			for (unsigned i = rng_below(&rng, 20); i > 0; i--)
				(void)loam_frame_idle();
			if (round > 0) /* the first one does nothing at all */
				use_and_return(&rng);
			if (round % 4 == 1)
				use_and_leave(&rng);
			others_go();
			assert_int_equal(loam_mm_shutdown(), LOAM_OK);
			fake_settled();
			loam_frame_stats(&left);
			assert_same_frames(&left, &first);
			/* it is over: nobody gets a frame, and nothing is loam's */
			assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_HOST, &pfn), LOAM_NOMEM);
			assert_int_equal(loam_mm_shutdown(), LOAM_NOENT);
			assert_int_equal(loam_mm_idle(), LOAM_NOENT);
		}
		fake_down();
	}
	loam_host_on_log(NULL);
}

/* [SHUT-2] */
static void refused(const char *why)
{
	struct loam_frame_stats f, f_after;
	struct loam_sys_stats s, s_after;

	(void)loam_stack_pool_release();
	text[0] = '\0';
	loam_frame_stats(&f);
	loam_sys_stats(&s);
	assert_int_equal(loam_mm_idle(), LOAM_BUSY);
	assert_int_equal(loam_mm_shutdown(), LOAM_BUSY);
	if (strstr(text, why) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", text, why);
	loam_frame_stats(&f_after);
	loam_sys_stats(&s_after);
	assert_memory_equal(&f, &f_after, sizeof(f));
	assert_memory_equal(&s, &s_after, sizeof(s));
	fake_settled();
	loam_sys_verify();
	loam_frame_verify();
}

static void what_is_held_is_named(void **state)
{
	(void)state;
	loam_host_on_log(keep_text);
	for_each_mode(mode)
	{
		struct loam_stack s;
		struct loam_pfn pfn;
		uintptr_t base;
		void *p;

		fake_up_default(&mode->mmu, test_seed());
		(void)fake_mm_up(mode, false);
		refused("other CPUs are online");
		others_go();
		assert_int_equal(loam_frame_alloc(3, 0, LOAM_OWNER_HOST, &pfn), LOAM_OK);
		refused("owner host: 0 B Ready, 0 B Prepared, 32 KiB of frames");
		assert_int_equal(loam_frame_free(pfn, 3), LOAM_OK);
		assert_int_equal(loam_vm_map(0, loam_paddr(DEVICE), 8 * LOAM_PAGE_SIZE,
					     LOAM_VM_READ, LOAM_VM_DEVICE, &base),
				 LOAM_OK);
		refused("still mapped by loam_vm_map: 32 KiB");
		assert_null(strstr(text, "owner"));
		assert_int_equal(loam_vm_unmap(base, 8 * LOAM_PAGE_SIZE), LOAM_OK);
		assert_int_equal(loam_stack_alloc(16384, &s), LOAM_OK);
		refused("owner stack: 4 KiB Ready, 12 KiB Prepared, 0 B of frames");
		assert_int_equal(loam_stack_free(&s), LOAM_OK);
		assert_int_equal(loam_sys_alloc(8192, LOAM_OWNER_TEST, &p), LOAM_OK);
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
		refused("owner test: 8 KiB Ready, 0 B Prepared, 4 KiB of frames");
		assert_int_equal(loam_sys_unused_later((uintptr_t)p, 4096), LOAM_OK);
		(void)loam_mm_idle(); /* what waits goes */
		refused("owner test: 4 KiB Ready, 4 KiB Prepared, 4 KiB of frames");
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
		assert_int_equal(loam_sys_free((uintptr_t)p, 8192), LOAM_OK);
		/* a frame under the heap's name that no page has */
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_HEAP, &pfn), LOAM_OK);
		refused("owner heap: 0 B Ready, 0 B Prepared, 4 KiB of frames");
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
		assert_int_equal(loam_mm_idle(), LOAM_OK);
		assert_int_equal(loam_mm_shutdown(), LOAM_OK);
		fake_down();
	}
	loam_host_on_log(NULL);
}

/* The host puts a mapping of its own beside the window, into a table of loam's. */
static void a_table_with_others_entries_is_held(void **state)
{
	(void)state;
	loam_host_on_log(keep_text);
	for_each_mode(mode)
	{
		uintptr_t window, beside;
		struct loam_ptab_pool pool = {0};
		struct loam_tlb_batch batch;
		struct loam_pfn pfn;
		void *p;

		fake_up_default(&mode->mmu, test_seed());
		window = fake_mm_up(mode, false);
		others_go();
		/* the table at the root is there from now on */
		assert_int_equal(loam_sys_alloc(4096, LOAM_OWNER_TEST, &p), LOAM_OK);
		assert_int_equal(loam_sys_free((uintptr_t)p, 4096), LOAM_OK);
		beside = window - 2 * LOAM_GIANT_SIZE;
		while (pool.count <
		       loam_ptab_map_need(loam_space_ptab(), beside, loam_paddr(MIB), 4096, 0)) {
			assert_int_equal(
				loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TABLE, &pfn),
				LOAM_OK);
			loam_ptab_pool_push(&pool, loam_pfn_to_paddr(pfn));
		}
		assert_int_equal(loam_ptab_map(loam_space_ptab(), &pool, beside, loam_paddr(DEVICE),
					       4096, LOAM_ATTR_DATA, 0),
				 LOAM_OK);
		refused("owner table: 0 B Ready, 0 B Prepared, 4 KiB of frames");
		loam_tlb_batch_init(&batch, &mode->mmu);
		assert_int_equal(loam_ptab_unmap(loam_space_ptab(), &pool, &batch, beside, 4096,
						 LOAM_TAG_NONE, false),
				 LOAM_OK);
		loam_tlb_batch_finish(&batch);
		assert_int_equal(loam_mm_shutdown(), LOAM_OK);
		fake_down();
	}
	loam_host_on_log(NULL);
}

/* A frame that was taken under a name of loam's own cannot be told from loam's, before it is missing. */
static void a_missing_frame_is_noticed(void **state)
{
	struct loam_pfn pfn;

	(void)state;
	fake_up_default(&fake_modes[0].mmu, test_seed());
	(void)fake_mm_up(&fake_modes[0], false);
	others_go();
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_META, &pfn), LOAM_OK);
	EXPECT_PANIC((void)loam_mm_shutdown(), "[SHUT-1]");
	loam_mm_reset();
	fake_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_frame_comes_back),
		cmocka_unit_test(what_is_held_is_named),
		cmocka_unit_test(a_table_with_others_entries_is_held),
		cmocka_unit_test(a_missing_frame_is_noticed),
	};
	return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
