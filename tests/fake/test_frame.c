/* SPDX-License-Identifier: MIT */
/* Frames over RAM with holes, on the fake machine. [FRAME-1] and [FRAME-2] are verified after each
 * group of operations. */
#include "arch/mmu.h"
#include "mm/framecache.h"
#include "mm/lockrank.h"
#include "mm/numa.h"
#include "tests/fake/fake_test.h"

#define RUNS 400u

static struct {
	struct loam_pfn pfn;
	unsigned order;
	enum loam_owner owner;
} run[RUNS];

/* One byte a frame of the fake's RAM: who has it by our own books. */
static uint8_t owned[2][16384];
static const uint64_t range_base[2] = {UINT64_C(0x40013000), UINT64_C(0x4211d000)};
static const uint64_t range_size[2] = {24 << 20, 40 << 20};

static uint8_t *book(uint64_t pa)
{
	for (unsigned i = 0; i < 2; i++) {
		if (pa - range_base[i] < range_size[i])
			return &owned[i][(pa - range_base[i]) / LOAM_PAGE_SIZE];
	}
	fail_msg("frame %#llx is not RAM", (unsigned long long)pa);
	return NULL;
}

static void sums_agree(void)
{
	struct loam_frame_stats s;
	uint64_t sum = 0, blocks = 0;

	(void)loam_framecache_drain(true);
	loam_frame_stats(&s);
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++)
		sum += s.owner_frames[o];
	for (unsigned k = 0; k < LOAM_ORDER_COUNT; k++)
		blocks += s.free_blocks[k] << k;
	assert_int_equal(sum, s.total);
	assert_int_equal(s.owner_frames[LOAM_OWNER_NONE], s.free);
	assert_int_equal(blocks, s.free);
}

/* Random runs, each with a pattern of its own: nothing is given twice, lost, or from a hole. */
static void random_runs(void **state)
{
	struct rng rng = {test_seed()};
	unsigned count = 0;
	uint64_t before;

	(void)state;
	fake_frames_up(&fake_modes[0], test_seed());
	before = free_frames();
	memset(owned, 0, sizeof(owned));
	for (unsigned n = 0; n < 200000; n++) {
		if (count < RUNS && rng_below(&rng, 2) == 0) {
			unsigned order = (unsigned)rng_below(&rng, 8);
			enum loam_owner owner =
				1 + (enum loam_owner)rng_below(&rng, LOAM_OWNER_COUNT - 1);
			struct loam_pfn pfn;

			if (loam_frame_alloc(order, 0, owner, &pfn) != LOAM_OK)
				continue;
			assert_true(loam_is_aligned(pfn.raw, UINT64_C(1) << order));
			for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
				uint8_t *b = book((pfn.raw + i) << LOAM_PAGE_SHIFT);

				assert_int_equal(*b, 0);
				*b = 1;
			}
			*(uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)) = pfn.raw;
			run[count].pfn = pfn;
			run[count].order = order;
			run[count++].owner = owner;
		} else if (count > 0) {
			unsigned at = (unsigned)rng_below(&rng, count), order;
			enum loam_owner owner;
			struct loam_pfn pfn = run[at].pfn;

			assert_int_equal(*(uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)),
					 pfn.raw);
			assert_int_equal(
				loam_frame_query(
					loam_pfn(pfn.raw + ((UINT64_C(1) << run[at].order) - 1)),
					&owner, &order),
				LOAM_OK);
			assert_int_equal(owner, run[at].owner);
			assert_int_equal(order, run[at].order);
			for (uint64_t i = 0; i < UINT64_C(1) << run[at].order; i++)
				*book((pfn.raw + i) << LOAM_PAGE_SHIFT) = 0;
			assert_int_equal(loam_frame_free(pfn, run[at].order), LOAM_OK);
			run[at] = run[--count];
		}
		if (n % 20000 == 0) {
			loam_frame_verify();
			sums_agree();
		}
	}
	while (count-- > 0)
		assert_int_equal(loam_frame_free(run[count].pfn, run[count].order), LOAM_OK);
	assert_int_equal(free_frames(), before);
	fake_frames_down();
}

static void wrong_frees_change_nothing(void **state)
{
	struct loam_frame_stats s;
	struct loam_pfn pfn;
	uint64_t before;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	assert_int_equal(loam_frame_alloc(4, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	before = free_frames();
	for (unsigned order = 0; order <= LOAM_ORDER_MAX + 1; order++) {
		if (order != 4)
			assert_int_equal(loam_frame_free(pfn, order), LOAM_INVAL);
	}
	assert_int_equal(loam_frame_free(loam_pfn(pfn.raw + 1), 0), LOAM_INVAL);
	assert_int_equal(loam_frame_free(loam_pfn(pfn.raw + 16), 0), LOAM_INVAL);
	assert_int_equal(loam_frame_free(loam_pfn(0), 0), LOAM_INVAL);
	assert_int_equal(loam_frame_free(loam_pfn(0x41900), 0), LOAM_INVAL); /* in the hole */
	assert_int_equal(loam_frame_free(loam_pfn(UINT64_MAX), 0), LOAM_INVAL);
	assert_int_equal(loam_frame_free(loam_paddr_to_pfn(fake_root()), 0), LOAM_INVAL);
	assert_int_equal(free_frames(), before);
	assert_int_equal(loam_frame_free(pfn, 4), LOAM_OK);
	assert_int_equal(loam_frame_free(pfn, 4), LOAM_INVAL); /* twice */
	pfn = loam_pfn(77);
	assert_int_equal(loam_frame_alloc(LOAM_ORDER_MAX + 1, 0, LOAM_OWNER_TEST, &pfn),
			 LOAM_INVAL);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_NONE, &pfn), LOAM_INVAL);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_COUNT, &pfn), LOAM_INVAL);
	assert_int_equal(loam_frame_alloc(0, 0x80, LOAM_OWNER_TEST, &pfn), LOAM_INVAL);
	assert_int_equal(loam_frame_alloc(LOAM_ORDER_MAX, 0, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
	assert_int_equal(pfn.raw, 77); /* untouched on failure */
	loam_frame_stats(&s);
	assert_int_equal(s.zone_count, 1); /* a hole of 16 MiB is not worth a zone */
	fake_frames_down();
}

static void writes_after_free_are_found(void **state)
{
	static struct loam_pfn pfn;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	*(uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)) = 4711;
	/* the lowest frame is given first, so this takes it again */
	EXPECT_PANIC((void)loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn),
		     "written to after it was freed");
	loam_lockrank_reset();
	loam_frame_reset();
	fake_down();
}

static void zeroed_means_zero(void **state)
{
	struct loam_frame_list list = {0};
	struct loam_frame_stats s;
	struct loam_pfn pfn;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	for (unsigned order = 0; order < 6; order++) {
		const uint64_t *p;

		assert_int_equal(loam_frame_alloc(order, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn),
				 LOAM_OK);
		p = loam_frame_ptr(loam_pfn_to_paddr(pfn));
		for (uint64_t i = 0; i < (LOAM_PAGE_SIZE << order) / 8; i++)
			assert_int_equal(p[i], 0);
		assert_int_equal(loam_frame_free(pfn, order), LOAM_OK);
	}
	assert_int_equal(loam_frame_list_alloc(&list, 10, LOAM_FRAME_ZERO, LOAM_OWNER_TEST),
			 LOAM_OK);
	loam_frame_stats(&s);
	assert_int_equal(s.zeroed, 63 + 10);
	while (list.count > 0) {
		pfn = loam_frame_list_pop(&list);
		for (unsigned i = 0; i < 512; i++)
			assert_int_equal(
				((const uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)))[i], 0);
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	}
	fake_frames_down();
}

/* A list is all or nothing, whichever request fails. */
static void lists_are_all_or_nothing(void **state)
{
	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	for (uint64_t n = 1; n <= 12; n++) {
		struct loam_frame_list list = {0};
		uint64_t before = free_frames();
		enum loam_err err;

		loam_frame_fail_at(n);
		err = loam_frame_list_alloc(&list, 10, 0, LOAM_OWNER_TEST);
		loam_frame_fail_at(0);
		assert_int_equal(err, n <= 10 ? LOAM_NOMEM : LOAM_OK);
		assert_int_equal(list.count, n <= 10 ? 0 : 10);
		loam_frame_list_free(&list);
		assert_int_equal(free_frames(), before);
		sums_agree();
	}
	fake_frames_down();
}

static void a_run_splits_into_frames(void **state)
{
	struct loam_frame_stats s;
	enum loam_owner owner;
	struct loam_pfn pfn;
	unsigned order;
	uint64_t before;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	before = free_frames();
	assert_int_equal(loam_frame_alloc(5, 0, LOAM_OWNER_HEAP, &pfn), LOAM_OK);
	loam_frame_split(pfn, 5, 0);
	loam_frame_set_owner(loam_pfn(pfn.raw + 3), 0, LOAM_OWNER_TABLE);
	loam_frame_stats(&s);
	assert_int_equal(s.owner_frames[LOAM_OWNER_HEAP], 31);
	assert_int_equal(s.owner_frames[LOAM_OWNER_TABLE], 1);
	assert_int_equal(loam_frame_query(loam_pfn(pfn.raw + 3), &owner, &order), LOAM_OK);
	assert_int_equal(owner, LOAM_OWNER_TABLE);
	assert_int_equal(order, 0);
	assert_int_equal(loam_frame_free(pfn, 5), LOAM_INVAL);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(loam_frame_free(loam_pfn(pfn.raw + i), 0), LOAM_OK);
	assert_int_equal(free_frames(), before);
	assert_int_equal(loam_frame_query(loam_pfn(0x41900), &owner, &order), LOAM_NOENT);
	fake_frames_down();
}

/* All of RAM can be had, to the last frame, and given back. */
static void exhaustion(void **state)
{
	struct loam_frame_list list = {0};
	struct loam_pfn pfn;
	uint64_t all;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	all = free_frames();
	assert_int_equal(loam_frame_list_alloc(&list, all + 1, 0, LOAM_OWNER_TEST), LOAM_NOMEM);
	assert_int_equal(free_frames(), all);
	assert_int_equal(loam_frame_list_alloc(&list, all - LOAM_FRAME_RESERVE, 0, LOAM_OWNER_TEST),
			 LOAM_OK);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
	loam_frame_list_free(&list);
	assert_int_equal(free_frames(), all);
	fake_frames_down();
}

static void zones_follow_the_holes(void **state)
{
	static const struct fake_range range[] = {
		{UINT64_C(0x100000), 2 << 20},
		{UINT64_C(0x80000000), 8 << 20},
		{UINT64_C(0x4080000000), 4 << 20},
	};
	struct loam_mem_entry entry[FAKE_RANGES + 1];
	static struct loam_memmap map;
	struct loam_frame_stats s;
	struct loam_pfn pfn;

	(void)state;
	fake_up(&fake_modes[0].mmu, range, 3, 1);
	assert_int_equal(loam_memmap_sanitise(entry, fake_memmap(entry), 46, &map), LOAM_OK);
	assert_int_equal(loam_frame_init(&map), LOAM_OK);
	loam_frame_stats(&s);
	assert_int_equal(s.zone_count, 3);
	assert_int_equal(s.total, (14 << 20) / 4096 - 1);
	/* the highest zone first: low memory is for those who need it */
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_true(pfn.raw >= 0x4080000);
	assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	fake_frames_down();
}

/* When everything else is gone an interrupt handler still gets a few; what is freed fills them up
 * again before anybody else gets any. */
static void a_reserve_for_interrupts(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_pfn pfn, last = {0};
		unsigned count = 0;

		fake_frames_up(mode, test_seed());
		while (loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) == LOAM_OK)
			last = pfn;
		assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn),
				 LOAM_NOMEM);
		while (loam_frame_alloc(0, LOAM_FRAME_IRQ | LOAM_FRAME_ZERO, LOAM_OWNER_TEST,
					&pfn) == LOAM_OK) {
			const uint64_t *word = loam_frame_ptr(loam_pfn_to_paddr(pfn));

			for (unsigned i = 0; i < LOAM_PAGE_SIZE / 8; i++)
				assert_int_equal(word[i], 0);
			count++;
		}
		assert_int_equal(count, LOAM_FRAME_RESERVE);
		assert_int_equal(free_frames(), 0);
		assert_int_equal(loam_frame_free(last, 0), LOAM_OK);
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
		assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_IRQ, LOAM_OWNER_TEST, &pfn),
				 LOAM_OK);
		/* runs never come from it */
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
		assert_int_equal(loam_frame_alloc(1, LOAM_FRAME_IRQ, LOAM_OWNER_TEST, &pfn),
				 LOAM_NOMEM);
		fake_frames_down();
	}
}

/* ---- nodes ---- */

/* Two nodes in one piece of RAM, the border inside of it, and a lying range behind the true one. */
static void nodes_up(void)
{
	static const struct fake_range range[] = {{UINT64_C(0x40000000), 32 << 20}};
	static const struct loam_node_range node[] = {
		{UINT64_C(0x40000000), 12 << 20, 0},
		{UINT64_C(0x40c00000), 20 << 20, 1},
		{UINT64_C(0x40100000), 1 << 20, 1}, /* overlaps: the first counts */
		{UINT64_C(0xfffffffffff00000), UINT64_C(0x200000), 1}, /* wraps */
	};
	struct loam_mem_entry entry[FAKE_RANGES + 1];
	static struct loam_memmap map;

	fake_up(&fake_modes[0].mmu, range, 1, 1);
	assert_int_equal(
		loam_memmap_sanitise(entry, fake_memmap(entry), fake_modes[0].mmu.pa_bits, &map),
		LOAM_OK);
	assert_int_equal(loam_numa_init(node, 4), LOAM_OK);
	assert_int_equal(loam_frame_init(&map), LOAM_OK);
	loam_tlb_reset();
	fake_join();
	assert_int_equal(loam_node_count(), 2);
	assert_int_equal(loam_cpu_set_node(1, 1), LOAM_OK);
	assert_int_equal(loam_cpu_set_node(2, 7), LOAM_OK); /* a node without memory */
	assert_int_equal(loam_cpu_set_node(1, LOAM_NODE_MAX), LOAM_INVAL);
	assert_int_equal(loam_cpu_set_node(LOAM_CPU_MAX, 0), LOAM_INVAL);
}

static void nodes_down(void)
{
	fake_run_on(0);
	fake_frames_down();
	loam_numa_reset();
}

static unsigned node_of(struct loam_pfn pfn)
{
	unsigned node = 99;

	assert_int_equal(loam_frame_node(pfn, &node), LOAM_OK);
	assert_int_equal(node, pfn.raw >= 0x40c00);
	return node;
}

static void frames_come_from_the_node(void **state)
{
	struct loam_node_stats stats;
	struct loam_pfn pfn;
	unsigned node;

	(void)state;
	nodes_up();
	assert_int_equal(loam_node_stats(0, &stats), LOAM_OK);
	assert_int_equal(stats.total, (12 << 20 >> 12) - 1); /* the root is no frame of ours */
	assert_int_equal(loam_node_stats(1, &stats), LOAM_OK);
	assert_int_equal(stats.total, 20 << 20 >> 12);
	assert_int_equal(loam_node_stats(2, &stats), LOAM_INVAL);
	assert_int_equal(loam_frame_node(loam_pfn(0x50000), &node), LOAM_NOENT);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		fake_run_on(cpu);
		for (unsigned i = 0; i < 4; i++)
			assert_true(loam_frame_idle() || i > 0);
		for (unsigned order = 0; order < 6; order++) {
			for (unsigned zero = 0; zero < 2; zero++) {
				unsigned flags = zero ? LOAM_FRAME_ZERO : 0;

				assert_int_equal(
					loam_frame_alloc(order, flags, LOAM_OWNER_TEST, &pfn),
					LOAM_OK);
				assert_int_equal(node_of(pfn), cpu);
				assert_int_equal(loam_frame_free(pfn, order), LOAM_OK);
				flags |= LOAM_FRAME_NODE(1 - cpu);
				assert_int_equal(
					loam_frame_alloc(order, flags, LOAM_OWNER_TEST, &pfn),
					LOAM_OK);
				assert_int_equal(node_of(pfn), 1 - cpu);
				/* freed here, it does not stay here */
				assert_int_equal(loam_frame_free(pfn, order), LOAM_OK);
				assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn),
						 LOAM_OK);
				assert_int_equal(node_of(pfn), cpu);
				assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
			}
		}
	}
	assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_NODE(2), LOAM_OWNER_TEST, &pfn),
			 LOAM_INVAL);
	/* a CPU without memory of its own: somebody else's; strictly: none */
	fake_run_on(2);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_STRICT, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
	assert_false(loam_frame_idle());
	nodes_down();
}

/* A node runs out: strict requests fail, others are served from the next; all comes back. */
static void a_full_node(void **state)
{
	struct loam_frame_list list = {0}, more = {0};
	const unsigned strict = LOAM_FRAME_NODE(1) | LOAM_FRAME_STRICT;
	struct loam_node_stats stats;
	struct loam_pfn pfn;
	uint64_t all;

	(void)state;
	nodes_up();
	fake_run_on(1);
	while (loam_frame_idle())
		;
	fake_run_on(0);
	all = free_frames();
	while (loam_frame_list_alloc(&list, 1, strict, LOAM_OWNER_TEST) == LOAM_OK)
		assert_int_equal(node_of(list.head), 1);
	assert_int_equal(loam_node_stats(1, &stats), LOAM_OK);
	assert_int_equal(stats.free, 0);
	assert_true(list.count > (20 << 20 >> 12) - 200); /* but for records */
	assert_int_equal(loam_frame_alloc(0, strict, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
	assert_int_equal(loam_frame_alloc(0, strict | LOAM_FRAME_IRQ, LOAM_OWNER_TEST, &pfn),
			 LOAM_NOMEM);
	fake_run_on(1);
	assert_int_equal(loam_frame_alloc(3, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_int_equal(node_of(pfn), 0);
	assert_int_equal(loam_frame_free(pfn, 3), LOAM_OK);
	assert_int_equal(loam_frame_list_alloc(&more, 100, LOAM_FRAME_NODE(1), LOAM_OWNER_TEST),
			 LOAM_OK);
	loam_frame_list_free(&more);
	loam_frame_list_free(&list);
	assert_int_equal(free_frames(), all);
	nodes_down();
}

/* A request gets what is near, to the last frame, before it gets what is far: known-zero frames too, zeros
 * wanted or not. */
static void what_is_near_goes_first(void **state)
{
	(void)state;
	for (unsigned zero = 0; zero < 2; zero++) {
		struct loam_frame_list list = {0};
		struct loam_node_stats stats;
		uint64_t near = 0;

		nodes_up();
		fake_run_on(1);
		while (loam_frame_idle())
			;
		(void)loam_framecache_drain(true);
		assert_int_equal(loam_node_stats(1, &stats), LOAM_OK);
		for (;;) {
			assert_int_equal(loam_frame_list_alloc(&list, 1, zero ? LOAM_FRAME_ZERO : 0,
							       LOAM_OWNER_TEST),
					 LOAM_OK);
			if (node_of(list.head) == 0)
				break;
			near++;
		}
		assert_int_equal(near, stats.free);
		loam_frame_list_free(&list);
		nodes_down();
	}
}

/* A CPU that is told its node late keeps nothing of where it seemed to be. */
static void a_cpu_is_moved(void **state)
{
	struct loam_pfn pfn;

	(void)state;
	nodes_up();
	fake_run_on(3);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_int_equal(node_of(pfn), 0);
	assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	assert_int_equal(loam_cpu_set_node(3, 1), LOAM_OK);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_int_equal(node_of(pfn), 1);
	assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	nodes_down();
}

static void bad_nodes_are_refused(void **state)
{
	struct loam_node_range range[65] = {{0}};

	(void)state;
	range[0] = (struct loam_node_range){0, 1 << 20, LOAM_NODE_MAX};
	assert_int_equal(loam_numa_init(range, 1), LOAM_INVAL);
	assert_int_equal(loam_numa_init(range + 1, 65), LOAM_INVAL);
	assert_int_equal(loam_numa_init(range + 1, 64), LOAM_OK); /* all empty */
	assert_int_equal(loam_node_count(), 1);
}

/* RAM on both sides of 4 GiB in one piece: low frames for those who ask, high ones for the others. */
static void low_memory_is_kept(void **state)
{
	static const struct fake_range range[] = {{UINT64_C(0xff800000), 16 << 20}};
	struct loam_mem_entry entry[FAKE_RANGES + 1];
	static struct loam_memmap map;
	struct loam_frame_stats s;
	struct loam_pfn pfn;
	unsigned low = 0;

	(void)state;
	fake_up(&fake_modes[0].mmu, range, 1, 1);
	assert_int_equal(loam_memmap_sanitise(entry, fake_memmap(entry), 40, &map), LOAM_OK);
	assert_int_equal(loam_frame_init(&map), LOAM_OK);
	loam_frame_stats(&s);
	assert_int_equal(s.zone_count, 2);
	assert_int_equal(loam_frame_alloc(3, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_true(pfn.raw >= 1u << 20);
	while (loam_frame_alloc(0, LOAM_FRAME_DMA32 | LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn) ==
	       LOAM_OK) {
		assert_true(pfn.raw < 1u << 20);
		assert_int_equal(*(uint64_t *)loam_frame_ptr(loam_pfn_to_paddr(pfn)), 0);
		low++;
	}
	assert_true(low > 2000 && low <= 2048);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn),
			 LOAM_OK); /* high ones are left */
	assert_true(pfn.raw >= 1u << 20);
	fake_frames_down();
}

/* A map too small for its own bookkeeping, and none at all. */
static void tiny_maps(void **state)
{
	static struct loam_memmap map;
	static const struct fake_range range[] = {{UINT64_C(0x100000), 3 * 4096}};
	struct loam_frame_stats s;
	struct loam_pfn pfn;

	(void)state;
	fake_up(&fake_modes[0].mmu, range, 1, 1);
	assert_int_equal(loam_frame_init(&map), LOAM_INVAL);
	map.count = 1;
	map.range[0] = (struct loam_mem_range){0x101000, 0x103000};
	map.usable_bytes = 0x2000;
	map.highest = 0x103000;
	assert_int_equal(loam_frame_init(&map), LOAM_OK);
	loam_frame_stats(&s);
	assert_int_equal(s.total, 2);
	assert_int_equal(s.free, 1);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
	assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	fake_frames_down();
}

/* Frames can be taken with interrupts on or off, and the mask is as it was. */
static void interrupts_are_restored(void **state)
{
	struct loam_pfn pfn;
	extern uintptr_t fake_irqs_masked;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	for (fake_irqs_masked = 0; fake_irqs_masked < 2; fake_irqs_masked++) {
		uintptr_t was = fake_irqs_masked;

		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn), LOAM_OK);
		assert_int_equal(fake_irqs_masked, was);
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
		assert_int_equal(fake_irqs_masked, was);
	}
	fake_irqs_masked = 0;
	fake_frames_down();
}

/* [CACHE-1] Frames freed on one CPU come back on another when memory runs out, and a frame is freed
 * once, whoever tries. */
static void caches_give_way(void **state)
{
	static struct loam_pfn pfn[500];
	struct loam_frame_list list = {0};
	struct loam_pfn one;
	uint64_t all;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	all = free_frames();
	for (unsigned i = 0; i < 500; i++) {
		fake_run_on(i % FAKE_CPUS);
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn[i]), LOAM_OK);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(pfn[k].raw, pfn[i].raw);
	}
	assert_int_equal(free_frames(), all - 500);
	for (unsigned i = 0; i < 500; i++) {
		fake_run_on((i / 7) % FAKE_CPUS);
		assert_int_equal(loam_frame_free(pfn[i], 0), LOAM_OK);
		fake_run_on(i % FAKE_CPUS);
		assert_int_equal(loam_frame_free(pfn[i], 0), LOAM_INVAL);
	}
	fake_run_on(0);
	assert_int_equal(free_frames(), all);
	assert_true(loam_framecache_drain(true));
	assert_false(loam_framecache_drain(true));
	loam_frame_verify();
	/* every CPU holds some, and still all can be had by one; order 0 and a list alike */
	for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
		fake_run_on(cpu);
		assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &one), LOAM_OK);
		assert_int_equal(loam_frame_free(one, 0), LOAM_OK);
	}
	/* all but the reserve */
	assert_int_equal(loam_frame_list_alloc(&list, all - LOAM_FRAME_RESERVE, 0, LOAM_OWNER_TEST),
			 LOAM_OK);
	one = loam_frame_list_pop(&list);
	fake_run_on(1);
	assert_int_equal(loam_frame_free(one, 0), LOAM_OK);
	fake_run_on(2);
	assert_int_equal(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &one), LOAM_OK);
	assert_int_equal(loam_frame_free(one, 0), LOAM_OK);
	fake_run_on(0);
	loam_frame_list_free(&list);
	fake_frames_down();
}

/* Idle time zeroes ahead: requests that want zeros zero nothing, everybody else may have the frames
 * when there are no others, and the books stay right. */
static void known_zero_frames(void **state)
{
	struct loam_frame_list list = {0};
	struct loam_frame_stats s;
	struct loam_pfn pfn, taken;
	uint64_t all, pool;

	(void)state;
	fake_frames_up(&fake_modes[0], 1);
	all = free_frames();
	while (loam_frame_idle())
		;
	loam_frame_stats(&s);
	pool = s.known_zero;
	assert_int_equal(pool, s.total / 64);
	assert_int_equal(s.free, all);
	assert_int_equal(s.zeroed, 0);
	loam_frame_verify();
	/* from the pool, and then by hand */
	assert_int_equal(loam_frame_list_alloc(&list, pool + 5, LOAM_FRAME_ZERO, LOAM_OWNER_TEST),
			 LOAM_OK);
	loam_frame_stats(&s);
	assert_int_equal(s.zeroed, 5);
	assert_int_equal(s.known_zero, 0);
	assert_int_equal(s.owner_frames[LOAM_OWNER_TEST], pool + 5);
	for (unsigned n = 0; n < pool + 5; n++) {
		const uint64_t *p;

		pfn = loam_frame_list_pop(&list);
		p = loam_frame_ptr(loam_pfn_to_paddr(pfn));
		for (unsigned i = 0; i < 512; i++)
			assert_int_equal(p[i], 0);
		assert_int_equal(loam_frame_free(pfn, 0), LOAM_OK);
	}
	/* a frame of the pool is nobody's to free */
	while (loam_frame_idle())
		;
	assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &taken), LOAM_OK);
	assert_int_equal(loam_frame_free(taken, 0), LOAM_OK);
	for (uint64_t i = 0; i < range_size[0] >> 12; i++)
		assert_int_equal(loam_frame_free(loam_pfn((range_base[0] >> 12) + i), 0),
				 LOAM_INVAL);
	/* the last frame can be had, zero wanted or not; and again with idle time while all is taken */
	while (loam_frame_idle())
		;
	assert_int_equal(loam_frame_list_alloc(&list, all - LOAM_FRAME_RESERVE, 0, LOAM_OWNER_TEST),
			 LOAM_OK);
	assert_false(loam_frame_idle());
	assert_int_equal(loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn), LOAM_NOMEM);
	loam_frame_list_free(&list);
	assert_int_equal(free_frames(), all);
	fake_frames_down();
}

/* [LOCK-1] Taking a lock while one of the same or a higher rank is held is found. */
static void lock_order_is_checked(void **state)
{
	(void)state;
	loam_lockrank_acquire(LOAM_RANK_SPACE);
	loam_lockrank_acquire(LOAM_RANK_FRAME);
	EXPECT_PANIC(loam_lockrank_acquire(LOAM_RANK_SPACE), "[LOCK-1]");
	EXPECT_PANIC(loam_lockrank_acquire(LOAM_RANK_FRAME), "[LOCK-1]");
	loam_lockrank_release(LOAM_RANK_FRAME);
	loam_lockrank_release(LOAM_RANK_SPACE);
	loam_lockrank_acquire(LOAM_RANK_FRAME);
	loam_lockrank_release(LOAM_RANK_FRAME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_runs),
		cmocka_unit_test(wrong_frees_change_nothing),
		cmocka_unit_test(writes_after_free_are_found),
		cmocka_unit_test(zeroed_means_zero),
		cmocka_unit_test(lists_are_all_or_nothing),
		cmocka_unit_test(a_run_splits_into_frames),
		cmocka_unit_test(exhaustion),
		cmocka_unit_test(zones_follow_the_holes),
		cmocka_unit_test(a_reserve_for_interrupts),
		cmocka_unit_test(frames_come_from_the_node),
		cmocka_unit_test(a_full_node),
		cmocka_unit_test(what_is_near_goes_first),
		cmocka_unit_test(a_cpu_is_moved),
		cmocka_unit_test(bad_nodes_are_refused),
		cmocka_unit_test(low_memory_is_kept),
		cmocka_unit_test(tiny_maps),
		cmocka_unit_test(interrupts_are_restored),
		cmocka_unit_test(caches_give_way),
		cmocka_unit_test(known_zero_frames),
		cmocka_unit_test(lock_order_is_checked),
	};
	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
