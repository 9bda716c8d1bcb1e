/* SPDX-License-Identifier: MIT */
/* The ten calls on the real MMU: states, results, traps, huge leaves, and a random sequence
 * against a table of states. [SYS-1], [SYS-2] and [SPACE-1] are verified throughout. */
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "tests/kernel/selftest.h"

#define MIB ((size_t)1 << 20)

void *memcpy(void *restrict dst, const void *restrict src, size_t n);

static enum loam_state state_of(uintptr_t addr)
{
	struct loam_sys_info info;

	return loam_sys_query(addr, &info) == LOAM_OK ? info.state : LOAM_STATE_NONE;
}

static uint64_t leaf_of(uintptr_t addr)
{
	struct loam_sys_info info;

	return loam_sys_query(addr, &info) == LOAM_OK ? info.leaf_bytes : 0;
}

static uint64_t free_frames(void)
{
	struct loam_frame_stats stats;

	loam_frame_stats(&stats);
	return stats.free;
}

static void states_and_traps(const struct loam_boot_info *info)
{
	uint64_t before = free_frames();
	uintptr_t base;
	bool zeroed;

	(void)info;
	EXPECT(loam_sys_reserve(0, MIB, 0, &base) == LOAM_OK);
	EXPECT(state_of(base) == LOAM_STATE_RESERVED);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base));
	EXPECT(loam_sys_map(base, MIB, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(state_of(base) == LOAM_STATE_PREPARED);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, base + MIB - 1));
	EXPECT(loam_sys_used(base, MIB, &zeroed) == LOAM_OK && zeroed);
	EXPECT(state_of(base) == LOAM_STATE_READY);
	for (size_t at = 0; at < MIB; at += 8)
		EXPECT(*(volatile uint64_t *)(base + at) == 0);
	*(volatile uint64_t *)(base + 4096) = 42;
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, base));
	EXPECT(loam_sys_unused(base, MIB) == LOAM_OK);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base + 4096));
	EXPECT(loam_sys_used(base, MIB, &zeroed) == LOAM_OK && zeroed);
	EXPECT(*(volatile uint64_t *)(base + 4096) == 0);
	EXPECT(loam_sys_fault(base, MIB) == LOAM_OK);
	EXPECT(state_of(base) == LOAM_STATE_RESERVED);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base));
	EXPECT(loam_sys_free(base, MIB) == LOAM_OK);
	EXPECT(state_of(base) == LOAM_STATE_NONE);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base));
	loam_sys_verify();
	/* a region record page or a table at the root may stay, nothing else */
	EXPECT(before - free_frames() <= 4);
}

static void bad_input_changes_nothing(const struct loam_boot_info *info)
{
	struct loam_sys_stats before, after;
	uintptr_t base, other = 1;

	(void)info;
	EXPECT(loam_sys_reserve(0, MIB, 0, &base) == LOAM_OK);
	loam_sys_stats(&before);
	EXPECT(loam_sys_reserve(0, 0, 0, &other) == LOAM_INVAL && other == 1);
	EXPECT(loam_sys_reserve(0, MIB, 3, &other) == LOAM_INVAL && other == 1);
	EXPECT(loam_sys_map(base + 1, 4096, LOAM_OWNER_TEST) == LOAM_INVAL);
	EXPECT(loam_sys_map(base, MIB + 4096, LOAM_OWNER_TEST) == LOAM_INVAL);
	EXPECT(loam_sys_map((uintptr_t)loam_image_start, 4096, LOAM_OWNER_TEST) == LOAM_INVAL);
	EXPECT(loam_sys_used(base, 4096, NULL) == LOAM_INVAL);
	EXPECT(loam_sys_unused(UINTPTR_MAX - 4095, 8192) == LOAM_INVAL);
	EXPECT(loam_sys_fault(base, 0) == LOAM_INVAL);
	EXPECT(loam_sys_free(LOAM_BOOT_DIRECT, 4096) == LOAM_INVAL);
	EXPECT(loam_sys_collapse(base, 123) == LOAM_INVAL);
	loam_sys_stats(&after);
	for (unsigned s = 0; s < LOAM_STATE_COUNT; s++)
		EXPECT(before.state_bytes[s] == after.state_bytes[s]);
	EXPECT(loam_sys_free(base, MIB) == LOAM_OK);
	EXPECT(loam_sys_free(base, MIB) == LOAM_INVAL);
}

static void huge_leaves(const struct loam_boot_info *info)
{
	const size_t size = 2 * LOAM_HUGE_SIZE;
	uintptr_t base;

	(void)info;
	if (loam_space_huge_sizes() == 0) {
		EXPECT(loam_sys_hugepage(LOAM_BOOT_WINDOW, LOAM_HUGE_SIZE) != LOAM_OK);
		return;
	}
	EXPECT(loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, size, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_sys_hugepage(base, size) == LOAM_OK);
	EXPECT(loam_sys_used(base, size, NULL) == LOAM_OK);
	EXPECT(leaf_of(base) == LOAM_HUGE_SIZE && leaf_of(base + size - 1) == LOAM_HUGE_SIZE);
	for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE)
		*(volatile uint64_t *)(base + at) = at + 1;
	/* part of it goes: the rest keeps its contents under small leaves */
	EXPECT(loam_sys_unused(base + 5 * LOAM_PAGE_SIZE, 3 * LOAM_PAGE_SIZE) == LOAM_OK);
	EXPECT(leaf_of(base) == LOAM_PAGE_SIZE);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base + 5 * LOAM_PAGE_SIZE));
	loam_oracle_look("a huge leaf with a hole");
	for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE) {
		if (at / LOAM_PAGE_SIZE < 5 || at / LOAM_PAGE_SIZE >= 8)
			EXPECT(*(volatile uint64_t *)(base + at) == at + 1);
	}
	EXPECT(loam_sys_collapse(base, LOAM_HUGE_SIZE) == LOAM_BUSY);
	EXPECT(loam_sys_used(base + 5 * LOAM_PAGE_SIZE, 3 * LOAM_PAGE_SIZE, NULL) == LOAM_OK);
	EXPECT(loam_sys_collapse(base, LOAM_HUGE_SIZE) == LOAM_OK);
	EXPECT(leaf_of(base) == LOAM_HUGE_SIZE);
	for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE) {
		size_t page = at / LOAM_PAGE_SIZE;

		EXPECT(*(volatile uint64_t *)(base + at) == (page >= 5 && page < 8 ? 0 : at + 1));
	}
	loam_sys_verify();
	loam_oracle_look("collapsed again");
	EXPECT(loam_sys_free(base, size) == LOAM_OK);
}

/* 1 GiB in one leaf, where the CPU has them and RAM has one; a page goes out of it, then the rest. */
static void a_leaf_of_1_gib(const struct loam_boot_info *info)
{
	const size_t hole = 700 * MIB + 3 * LOAM_PAGE_SIZE;
	struct loam_frame_stats stats;
	uintptr_t base;

	(void)info;
	loam_frame_stats(&stats);
	if ((loam_sys_huge_sizes() & LOAM_GIANT_SIZE) == 0 ||
	    stats.free_blocks[LOAM_ORDER_GIANT] == 0)
		return;
	EXPECT(loam_sys_reserve(0, LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, &base) == LOAM_OK);
	EXPECT(loam_sys_map(base, LOAM_GIANT_SIZE, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_sys_hugepage(base, LOAM_GIANT_SIZE) == LOAM_OK);
	EXPECT(loam_sys_used(base, LOAM_GIANT_SIZE, NULL) == LOAM_OK);
	EXPECT(leaf_of(base) == LOAM_GIANT_SIZE && leaf_of(base + hole) == LOAM_GIANT_SIZE);
	for (size_t at = 0; at < LOAM_GIANT_SIZE; at += MIB) {
		EXPECT(*(volatile uint64_t *)(base + at) == 0);
		*(volatile uint64_t *)(base + at) = at + 1;
	}
	EXPECT(loam_sys_unused(base + hole, LOAM_PAGE_SIZE) == LOAM_OK);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, base + hole));
	EXPECT(leaf_of(base) == LOAM_HUGE_SIZE);
	for (size_t at = 0; at < LOAM_GIANT_SIZE; at += MIB)
		EXPECT(*(volatile uint64_t *)(base + at) == at + 1);
	EXPECT(loam_sys_unused(base, LOAM_GIANT_SIZE) == LOAM_OK);
	loam_sys_verify();
	EXPECT(loam_sys_free(base, LOAM_GIANT_SIZE) == LOAM_OK);
}

/* ---- moving ---- */

#define MOVED (8 * MIB)

static bool holds(uintptr_t base, size_t size, uint64_t plus)
{
	for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE) {
		if (*(volatile uint64_t *)(base + at) != at + plus)
			return false;
	}
	return true;
}

#define ROUNDS 5u /* of which the best counts; odd, so that what moves to and fro ends there */

static void note(unsigned long long *best, uint64_t start)
{
	unsigned long long ns = (loam_host_now_ns() - start) / (MOVED / LOAM_PAGE_SIZE);

	*best = *best == 0 || ns < *best ? ns : *best;
}

/* To and fro. False: it failed. */
static bool move_rounds(uintptr_t from, uintptr_t to, unsigned long long *best)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start = loam_host_now_ns();

		if (loam_sys_move(i % 2 == 0 ? from : to, i % 2 == 0 ? to : from, MOVED) != LOAM_OK)
			return false;
		note(best, start);
	}
	return true;
}

/* 8 MiB in huge leaves, where there are any: moved as they are, moved to where they must be cut, and moved page
 * by page; beside it what copying takes. */
static void entries_move_instead_of_bytes(const struct loam_boot_info *info)
{
	unsigned long long whole = 0, cut = 0, small = 0, copied = 0;
	struct loam_frame_stats stats;
	uintptr_t from, to;
	uint64_t start;

	(void)info;
	loam_frame_stats(&stats);
	if (stats.free < 3 * MOVED / LOAM_PAGE_SIZE)
		return;
	EXPECT(loam_sys_reserve(0, 2 * MOVED, LOAM_HUGE_SIZE, &from) == LOAM_OK);
	EXPECT(loam_sys_map(from, 2 * MOVED, LOAM_OWNER_TEST) == LOAM_OK);
	EXPECT(loam_space_huge_sizes() == 0 || loam_sys_hugepage(from, MOVED) == LOAM_OK);
	EXPECT(loam_sys_used(from, MOVED, NULL) == LOAM_OK);
	EXPECT(loam_sys_reserve(0, MOVED, LOAM_HUGE_SIZE, &to) == LOAM_OK);
	EXPECT(loam_sys_map(to, MOVED, LOAM_OWNER_TEST) == LOAM_OK);
	for (size_t at = 0; at < MOVED; at += LOAM_PAGE_SIZE)
		*(volatile uint64_t *)(from + at) = at + 1;
	EXPECT(move_rounds(from, to, &whole));
	EXPECT(leaf_of(to) == (loam_space_huge_sizes() != 0 ? LOAM_HUGE_SIZE : LOAM_PAGE_SIZE));
	EXPECT(state_of(from) == LOAM_STATE_PREPARED && holds(to, MOVED, 1));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, from));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, from + MOVED - 8));
	loam_oracle_look("moved as it was");
	start = loam_host_now_ns();
	EXPECT(loam_sys_move(to, from + LOAM_PAGE_SIZE, MOVED) == LOAM_OK);
	note(&cut, start);
	EXPECT(leaf_of(from + LOAM_PAGE_SIZE) == LOAM_PAGE_SIZE);
	EXPECT(holds(from + LOAM_PAGE_SIZE, MOVED, 1));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, from));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, to));
	loam_oracle_look("moved in pieces");
	EXPECT(move_rounds(from + LOAM_PAGE_SIZE, to, &small));
	EXPECT(holds(to, MOVED, 1));
	EXPECT(loam_sys_used(from, MOVED, NULL) == LOAM_OK);
	for (unsigned i = 0; i < ROUNDS; i++) {
		start = loam_host_now_ns();
		memcpy((void *)from, (const void *)to, MOVED);
		note(&copied, start);
	}
	EXPECT(holds(from, MOVED, 1));
	loam_sys_verify();
	loam_log(LOAM_LOG_INFO,
		 "# ns a page, 8 MiB: moved in huge leaves %llu, cutting them %llu, in small ones "
		 "%llu; copied %llu\n",
		 whole, cut, small, copied);
	EXPECT(loam_sys_free(from, 2 * MOVED) == LOAM_OK);
	EXPECT(loam_sys_free(to, MOVED) == LOAM_OK);
}

static void move_under_foot(void *result)
{
	uintptr_t here = loam_align_down((uintptr_t)&result, LOAM_PAGE_SIZE), to;

	if (loam_sys_reserve(0, LOAM_PAGE_SIZE, 0, &to) != LOAM_OK ||
	    loam_sys_map(to, LOAM_PAGE_SIZE, LOAM_OWNER_STACK) != LOAM_OK)
		return;
	*(enum loam_err *)result = loam_sys_move(here, to, LOAM_PAGE_SIZE);
	(void)loam_sys_free(to, LOAM_PAGE_SIZE);
}

static void a_running_stack_stays(const struct loam_boot_info *info)
{
	enum loam_err err = LOAM_OK;
	struct loam_stack s;

	(void)info;
	EXPECT(loam_stack_alloc(MIB, &s) == LOAM_OK);
	loam_boot_call_on(s.high, move_under_foot, &err);
	EXPECT(err == LOAM_BUSY);
	EXPECT(loam_stack_free(&s) == LOAM_OK);
}

#if LOAM_DEBUG >= 1 /* a release cannot be made to fail */
/* For every n the n-th frame request fails: NOMEM, and nothing changed. */
static void nth_frame_fails(const struct loam_boot_info *info)
{
	uintptr_t base;
	uint64_t free;

	(void)info;
	loam_stack_pool_release(); /* a shortage would */
	EXPECT(loam_sys_reserve(0, MIB, 0, &base) == LOAM_OK);
	for (uint64_t n = 1;; n++) {
		enum loam_err err;

		free = free_frames();
		loam_frame_fail_at(n);
		err = loam_sys_map(base, MIB, LOAM_OWNER_TEST);
		loam_frame_fail_at(0);
		if (err == LOAM_OK)
			break;
		EXPECT(err == LOAM_NOMEM && n < 20);
		EXPECT(free_frames() == free && state_of(base) == LOAM_STATE_RESERVED);
	}
	for (uint64_t n = 1;; n += 37) {
		enum loam_err err;

		free = free_frames();
		loam_frame_fail_at(n);
		err = loam_sys_used(base, MIB, NULL);
		loam_frame_fail_at(0);
		if (err == LOAM_OK)
			break;
		EXPECT(err == LOAM_NOMEM && n <= 256);
		EXPECT(free_frames() == free && state_of(base) == LOAM_STATE_PREPARED);
	}
	EXPECT(loam_sys_free(base, MIB) == LOAM_OK);
	loam_sys_verify();
}
#endif

/* ---- random sequence against a table of states ---- */

#define PAGES 1024u /* 4 MiB: two huge blocks */
#define STEPS 1500u

static uint8_t model[PAGES];
static uint64_t stamp[PAGES]; /* what a Ready page must hold in its first word */

static unsigned count_state(unsigned at, unsigned n, enum loam_state s)
{
	unsigned count = 0;

	for (unsigned i = at; i < at + n; i++)
		count += model[i] == s;
	return count;
}

static void set_state(uintptr_t base, unsigned at, unsigned n, enum loam_state s)
{
	for (unsigned i = at; i < at + n; i++) {
		if (model[i] == LOAM_STATE_READY && s == LOAM_STATE_READY)
			continue;
		model[i] = (uint8_t)s;
		stamp[i] = 0;
		if (s == LOAM_STATE_READY && loam_selftest_random() % 2 == 0) {
			stamp[i] = loam_selftest_random();
			*(volatile uint64_t *)(base + i * LOAM_PAGE_SIZE) = stamp[i];
		}
	}
}

/* To wherever: often to where the range is aligned alike. */
static bool move_agrees(uintptr_t base, unsigned at, unsigned n)
{
	unsigned to = (unsigned)(loam_selftest_random() % PAGES);
	enum loam_err err;

	if (loam_selftest_random() % 2 == 0)
		to = (at + PAGES / 2) % PAGES;
	n = n < PAGES - to ? n : PAGES - to;
	while (n > 1 && (count_state(at, n, LOAM_STATE_READY) != n ||
			 count_state(to, n, LOAM_STATE_PREPARED) != n))
		n /= 2;
	err = loam_sys_move(base + at * LOAM_PAGE_SIZE, base + to * LOAM_PAGE_SIZE,
			    n * LOAM_PAGE_SIZE);
	if (count_state(at, n, LOAM_STATE_READY) != n ||
	    count_state(to, n, LOAM_STATE_PREPARED) != n)
		return err == LOAM_INVAL;
	for (unsigned i = 0; err == LOAM_OK && i < n; i++) {
		model[to + i] = LOAM_STATE_READY;
		stamp[to + i] = stamp[at + i];
		model[at + i] = LOAM_STATE_PREPARED;
	}
	return err == LOAM_OK || err == LOAM_NOMEM;
}

static bool step_agrees(uintptr_t base, unsigned at, unsigned n)
{
	uintptr_t va = base + at * LOAM_PAGE_SIZE;
	size_t size = n * LOAM_PAGE_SIZE;
	unsigned reserved = count_state(at, n, LOAM_STATE_RESERVED);
	enum loam_err err;

	switch (loam_selftest_random() % 7) {
	case 0:
		err = loam_sys_map(va, size, LOAM_OWNER_TEST);
		if (reserved != n)
			return err == LOAM_EXIST;
		if (err == LOAM_OK)
			set_state(base, at, n, LOAM_STATE_PREPARED);
		return err == LOAM_OK || err == LOAM_NOMEM;
	case 1:
		err = loam_sys_used(va, size, NULL);
		if (reserved != 0)
			return err == LOAM_INVAL;
		if (err == LOAM_OK)
			set_state(base, at, n, LOAM_STATE_READY);
		return err == LOAM_OK || err == LOAM_NOMEM;
	case 2:
		err = loam_sys_unused(va, size);
		if (reserved != 0)
			return err == LOAM_INVAL;
		set_state(base, at, n, LOAM_STATE_PREPARED);
		return err == LOAM_OK;
	case 3:
		if (n > 64)
			return true; /* else the range is Reserved most of the time */
		set_state(base, at, n, LOAM_STATE_RESERVED);
		return loam_sys_fault(va, size) == LOAM_OK;
	case 4:
		return loam_sys_hugepage(va, size) == LOAM_OK || loam_space_huge_sizes() == 0;
	case 5:
		return move_agrees(base, at, n);
	default:
		err = loam_sys_collapse(va, size);
		return err == LOAM_OK || err == LOAM_BUSY || err == LOAM_NOMEM ||
		       err == LOAM_NOTSUP;
	}
}

static bool page_agrees(uintptr_t base, unsigned i)
{
	uintptr_t va = base + i * LOAM_PAGE_SIZE;

	if (state_of(va) != (enum loam_state)model[i])
		return false;
	if (model[i] == LOAM_STATE_READY)
		return *(volatile uint64_t *)va == stamp[i];
	return loam_selftest_traps(LOAM_ACCESS_READ, va);
}

static void random_sequence(const struct loam_boot_info *info)
{
	uintptr_t base;

	(void)info;
	EXPECT(loam_sys_reserve(0, PAGES * LOAM_PAGE_SIZE, LOAM_HUGE_SIZE, &base) == LOAM_OK);
	for (unsigned i = 0; i < PAGES; i++)
		model[i] = LOAM_STATE_RESERVED;
	for (unsigned s = 0; s < STEPS; s++) {
		unsigned at = (unsigned)(loam_selftest_random() % PAGES);
		unsigned n = 1 + (unsigned)(loam_selftest_random() % (PAGES - at));

		if (loam_selftest_random() % 3 != 0 && n > 16)
			n = 16;
		EXPECT(step_agrees(base, at, n));
		for (unsigned i = 0; i < 4; i++)
			EXPECT(page_agrees(base, (unsigned)(loam_selftest_random() % PAGES)));
		if (s % (STEPS / 5) == STEPS / 5 - 1)
			loam_oracle_look("random sequence");
	}
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT(page_agrees(base, i));
	loam_sys_verify();
	loam_frame_verify();
	EXPECT(loam_sys_free(base, PAGES * LOAM_PAGE_SIZE) == LOAM_OK);
}

static void alloc_is_zeroed(const struct loam_boot_info *info)
{
	void *p = NULL;

	(void)info;
	EXPECT(loam_sys_alloc(3 * LOAM_PAGE_SIZE + 1, LOAM_OWNER_TEST, &p) == LOAM_OK);
	for (size_t at = 0; at < 4 * LOAM_PAGE_SIZE / 8; at++)
		EXPECT(((volatile uint64_t *)p)[at] == 0);
	EXPECT(loam_sys_free((uintptr_t)p, 4 * LOAM_PAGE_SIZE) == LOAM_OK);
}

const struct selftest loam_selftest_sys[] = {
	{"sys: None, Reserved, Prepared, Ready, and what traps", states_and_traps},
	{"sys: bad input is refused and changes nothing", bad_input_changes_nothing},
	{"sys: huge leaves, split, collapse", huge_leaves},
	{"sys: a leaf of 1 GiB, where there is one", a_leaf_of_1_gib},
	{"sys: memory moves by its page-table entries", entries_move_instead_of_bytes},
	{"sys: a running stack does not move", a_running_stack_stays},
	{"sys: alloc gives zeroed memory", alloc_is_zeroed},
#if LOAM_DEBUG >= 1
	{"sys: the n-th frame request fails and nothing changes", nth_frame_fails},
#endif
	{"sys: random sequence against a table of states", random_sequence},
	{NULL, NULL},
};
