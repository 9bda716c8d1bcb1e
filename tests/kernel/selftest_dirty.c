/* SPDX-License-Identifier: MIT */
/*
 * Write tracking on the real MMU. The proof of it is a copy: pages that rounds tell are copied while other CPUs write,
 * the writers stop, what a look tells is copied too, and then the copy is whole. Figures that begin with # are
 * measured, never checked.
 */
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "boot/smp.h"
#include "mm/dirty.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "tests/kernel/selftest.h"

#include <loam/sys.h>

#define P	   ((size_t)LOAM_PAGE_SIZE)
#define MIB	   ((size_t)1 << 20)
#define COPY_PAGES ((size_t)768) /* 3 MiB: a whole table, and parts of others */

void loam_test_spoil_mmu(void);

static size_t told, first_told;

static void count(void *arg, uintptr_t base, size_t size)
{
	if (told == 0)
		first_told = base - (uintptr_t)arg;
	told += size / P;
}

/* Pages told. */
static size_t round_over(uintptr_t base, size_t size, bool split)
{
	told = 0;
	return loam_sys_dirty_round(base, size, split, count, (void *)base) == LOAM_OK ? told
										       : SIZE_MAX;
}

static size_t look_over(uintptr_t base, size_t size)
{
	told = 0;
	return loam_sys_dirty_look(base, size, count, (void *)base) == LOAM_OK ? told : SIZE_MAX;
}

static uintptr_t prepared(size_t size, bool huge)
{
	uintptr_t base;

	if (loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base) != LOAM_OK ||
	    loam_sys_map(base, size, LOAM_OWNER_TEST) != LOAM_OK ||
	    (huge && loam_sys_hugepage(base, size) == LOAM_INVAL))
		return 0;
	return base;
}

static void poke(uintptr_t va)
{
	*(volatile uint64_t *)va = va;
}

static void poke_it(void *va)
{
	poke((uintptr_t)va);
}

static void what_is_written_is_told(const struct loam_boot_info *info)
{
	const size_t size = 4 * MIB;
	uintptr_t base = prepared(size, false);

	(void)info;
	EXPECT(loam_sys_dirty_can() && base != 0);
	EXPECT(round_over(base, size, false) == 0);
	EXPECT(loam_sys_used(base, size, NULL) == LOAM_OK);
	for (size_t at = 0; at < size; at += 64 * P)
		EXPECT(*(volatile uint64_t *)(base + at) == 0);
	EXPECT(round_over(base, size, false) == 0); /* only read */
	/* each CPU, a page of its own, twice: the second time nothing is noted any more */
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++) {
		loam_smp_post(cpu, poke_it, (void *)(base + cpu * 5 * P));
		loam_smp_post(cpu, poke_it, (void *)(base + cpu * 5 * P));
	}
	poke(base);
	loam_smp_wait();
	loam_oracle_look("2 MiB are open, and 2 are not");
	EXPECT(look_over(base, size) == loam_smp_count() && first_told == 0);
	EXPECT(round_over(base, size, false) == loam_smp_count());
	EXPECT(look_over(base, size) == 0 && round_over(base, size, false) == 0);
	loam_oracle_look("all are closed");
	/* the same once more: nobody remembers that it was written */
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, poke_it, (void *)(base + cpu * 5 * P));
	loam_smp_wait();
	poke(base + size - P);
	EXPECT(look_over(base, size) == loam_smp_count());
	EXPECT(round_over(base, size, false) == loam_smp_count());
	/* a result that is written with the lock held [DIRTY-6] */
	EXPECT(loam_sys_query(base, (struct loam_sys_info *)(base + 9 * P)) == LOAM_OK);
	EXPECT(look_over(base, size) == 1 && first_told == 9 * P);
	EXPECT(loam_sys_free(base, size) == LOAM_OK);
}

/* A look reads an entry for each 2 MiB, and 512 for each that was written. [DIRTY-1] */
static void a_look_reads_little(const struct loam_boot_info *info)
{
	const size_t blocks = 256, size = blocks * LOAM_HUGE_SIZE;
	struct loam_dirty_stats before, after;
	uintptr_t base = prepared(size, false);

	(void)info;
	EXPECT(base != 0);
	EXPECT(round_over(base, size, false) == 0);
	for (size_t at = 0; at < size; at += LOAM_HUGE_SIZE) {
		EXPECT(loam_sys_used(base + at, P, NULL) == LOAM_OK);
		poke(base + at);
	}
	EXPECT(round_over(base, size, false) == blocks);
	for (size_t written = 0; written < 5; written++) {
		loam_dirty_stats(&before);
		EXPECT(look_over(base, size) == written);
		loam_dirty_stats(&after);
		EXPECT(after.look_entries - before.look_entries <=
		       blocks + written * LOAM_PT_ENTRIES);
		poke(base + written * 50 * LOAM_HUGE_SIZE);
	}
	EXPECT(loam_sys_free(base, size) == LOAM_OK);
}

static void huge_leaves_become_finer(const struct loam_boot_info *info)
{
	const size_t size = 2 * LOAM_HUGE_SIZE;
	uintptr_t base = prepared(size, true);
	struct loam_sys_info page;

	(void)info;
	EXPECT(base != 0);
	EXPECT(round_over(base, size, false) == 0);
	EXPECT(loam_sys_used(base, size, NULL) == LOAM_OK);
	EXPECT(loam_sys_query(base, &page) == LOAM_OK);
	if (page.leaf_bytes == LOAM_HUGE_SIZE) { /* there were frames for it */
		poke(base + 7 * P);
		EXPECT(look_over(base, size) == LOAM_PT_ENTRIES);
		EXPECT(round_over(base, size, true) == LOAM_PT_ENTRIES);
		EXPECT(loam_sys_query(base, &page) == LOAM_OK && page.leaf_bytes == P);
		loam_oracle_look("a huge leaf that was written");
		poke(base + 7 * P);
		EXPECT(round_over(base, size, true) < 32); /* a run of 16, or the page */
		poke(base + 7 * P);
		EXPECT(look_over(base, size) == 1 && first_told == 7 * P);
		EXPECT(*(volatile uint64_t *)(base + 7 * P) == base + 7 * P);
	}
	EXPECT(loam_sys_free(base, size) == LOAM_OK);
}

static void an_alias_counts(const struct loam_boot_info *info)
{
	uintptr_t base = prepared(2 * MIB, false), alias;
	struct loam_sys_info page;

	(void)info;
	EXPECT(base != 0);
	EXPECT(loam_sys_used(base, P, NULL) == LOAM_OK);
	EXPECT(loam_sys_query(base, &page) == LOAM_OK);
	/* memory of the tests may be mapped by them */
	EXPECT(loam_vm_map(0, page.pa, P, LOAM_VM_READ | LOAM_VM_WRITE, LOAM_VM_WRITE_BACK,
			   &alias) == LOAM_OK);
	EXPECT(loam_sys_dirty_alias(base, P, alias) == LOAM_OK);
	EXPECT(round_over(base, 2 * MIB, false) >= 1); /* a mapping begins as written */
	EXPECT(round_over(base, 2 * MIB, false) == 0);
	poke(alias + 8);
	EXPECT(*(volatile uint64_t *)(base + 8) == alias + 8);
	EXPECT(look_over(base, 2 * MIB) == 1);
	EXPECT(round_over(base, 2 * MIB, false) == 1 && round_over(base, 2 * MIB, false) == 0);
	EXPECT(loam_sys_dirty_alias_remove(alias) == LOAM_OK);
	EXPECT(loam_vm_unmap(alias, P) == LOAM_OK);
	EXPECT(loam_sys_free(base, 2 * MIB) == LOAM_OK);
}

/* ---- the copy ---- */

static struct {
	uintptr_t from, copy;
	bool page[COPY_PAGES]; /* told, to be copied */
	uint32_t stop;	       /* atomic */
	uint64_t writes;       /* atomic */
} copy;

static void note(void *arg, uintptr_t base, size_t size)
{
	(void)arg;
	for (size_t at = base - copy.from; size > 0; at += P, size -= P)
		copy.page[at / P] = true;
}

static size_t copy_told(void)
{
	size_t pages = 0;

	for (size_t i = 0; i < COPY_PAGES; i++) {
		const uint64_t *from = (const uint64_t *)(copy.from + i * P);
		uint64_t *to = (uint64_t *)(copy.copy + i * P);

		/* relaxed: a page that changes meanwhile is told again */
		for (size_t w = 0; copy.page[i] && w < P / 8; w++)
			to[w] = __atomic_load_n(&from[w], __ATOMIC_RELAXED);
		pages += copy.page[i];
		copy.page[i] = false;
	}
	return pages;
}

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

/* Words all over the range, now here, now there for a while. */
static void write_some(uint64_t *state, unsigned n)
{
	size_t page = next(state) % COPY_PAGES;

	for (unsigned i = 0; i < n; i++) {
		uint64_t *word = (uint64_t *)(copy.from + (page + i % 3) % COPY_PAGES * P) +
				 next(state) % 512;

		__atomic_store_n(word, *state, __ATOMIC_RELAXED);
	}
	__atomic_add_fetch(&copy.writes, n, __ATOMIC_RELAXED);
}

static void keep_writing(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (__atomic_load_n(&copy.stop, __ATOMIC_ACQUIRE) == 0)
		write_some(&state, 50);
}

static void copy_rounds(bool huge)
{
	const size_t size = COPY_PAGES * P;
	size_t copied = 0, differ = 0;
	uint64_t state = loam_selftest_random();

	copy.from = prepared(2 * LOAM_HUGE_SIZE, huge);
	copy.copy = prepared(2 * LOAM_HUGE_SIZE, false);
	EXPECT(copy.from != 0 && copy.copy != 0);
	copy.from += huge ? 0 : 128 * P;
	EXPECT(loam_sys_dirty_round(copy.from, size, true, note, NULL) == LOAM_OK);
	EXPECT(loam_sys_used(copy.from, size, NULL) == LOAM_OK);
	EXPECT(loam_sys_used(copy.copy, size, NULL) == LOAM_OK);
	copy.stop = 0;
	copy.writes = 0;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, keep_writing, (void *)(uintptr_t)(cpu + loam_selftest_random()));
	for (unsigned n = 0; n < 60; n++) {
		write_some(&state, 20);
		if (n == 30)
			(void)loam_sys_collapse(copy.from & ~(LOAM_HUGE_SIZE - 1),
						2 * LOAM_HUGE_SIZE);
		EXPECT(loam_sys_dirty_round(copy.from, size, n % 4 == 0, note, NULL) == LOAM_OK);
		copied += copy_told();
	}
	__atomic_store_n(&copy.stop, 1, __ATOMIC_RELEASE);
	loam_smp_wait();
	EXPECT(loam_sys_dirty_look(copy.from, size, note, NULL) == LOAM_OK);
	copied += copy_told();
	for (size_t at = 0; at < size; at += 8)
		differ += *(uint64_t *)(copy.from + at) != *(uint64_t *)(copy.copy + at);
	EXPECT(differ == 0); /* [DIRTY-2] [DIRTY-3] */
	loam_log(LOAM_LOG_INFO,
		 "# %llu writes by %u CPUs, %llu pages copied in 61 rounds, %s leaves\n",
		 (unsigned long long)copy.writes, loam_smp_count(), (unsigned long long)copied,
		 huge ? "huge" : "small");
	EXPECT(loam_sys_free(copy.from & ~(LOAM_HUGE_SIZE - 1), 2 * LOAM_HUGE_SIZE) == LOAM_OK);
	EXPECT(loam_sys_free(copy.copy, 2 * LOAM_HUGE_SIZE) == LOAM_OK);
}

static void a_copy_is_whole(const struct loam_boot_info *info)
{
	(void)info;
	copy_rounds(false);
	copy_rounds(true);
}

/* ---- what it costs ---- */

static void say(const char *what, uint64_t start, uint64_t entries)
{
	uint64_t ns = loam_host_now_ns() - start;

	loam_log(LOAM_LOG_INFO, "# dirty: %s: %llu ns, %llu entries, %llu.%llu ns each\n", what,
		 (unsigned long long)ns, (unsigned long long)entries,
		 (unsigned long long)(ns / (entries + 1)),
		 (unsigned long long)(ns * 10 / (entries + 1) % 10));
}

static uint64_t entries(void)
{
	struct loam_dirty_stats s;

	loam_dirty_stats(&s);
	return s.round_entries + s.look_entries;
}

#define TIMES 16u

/* With as much memory as there is, up to 512 MiB. */
static void what_it_costs(const struct loam_boot_info *info)
{
	struct loam_frame_stats frames;
	uint64_t start, was, n;
	uintptr_t base;
	size_t size;

	(void)info;
	loam_frame_stats(&frames);
	size = loam_align_down(frames.free * P / 2, LOAM_HUGE_SIZE);
	size = size < 512 * MIB ? size : 512 * MIB;
	base = prepared(size, false);
	EXPECT(base != 0 && round_over(base, size, false) == 0);
	EXPECT(loam_sys_used(base, size, NULL) == LOAM_OK);
	loam_log(LOAM_LOG_INFO, "# dirty: %llu MiB\n", (unsigned long long)(size / MIB));
	for (unsigned all = 0; all < 2; all++) {
		start = loam_host_now_ns();
		for (size_t at = 0; at < size; at += P)
			poke(base + at);
		say(all ? "first writes to pages, all closed" : "first writes to pages, all open",
		    start, size / P);
		was = entries();
		start = loam_host_now_ns();
		EXPECT(round_over(base, size, false) == size / P);
		say("a round, all pages written", start, entries() - was);
	}
	/* many times: the emulator translates what runs for the first time */
	was = entries();
	start = loam_host_now_ns();
	for (n = 0; n < TIMES; n++)
		EXPECT(round_over(base, size, false) == 0);
	say("rounds, none written", start, entries() - was);
	was = entries();
	start = loam_host_now_ns();
	for (n = 0; n < TIMES; n++)
		EXPECT(look_over(base, size) == 0);
	say("looks, none written", start, entries() - was);
	for (n = 0; n < 4; n++)
		poke(base + loam_align_down(size / 4 * n, LOAM_HUGE_SIZE));
	was = entries();
	start = loam_host_now_ns();
	for (n = 0; n < TIMES; n++)
		EXPECT(look_over(base, size) <= 4);
	say("looks, 4 pages written", start, entries() - was);
	EXPECT(loam_sys_free(base, size) == LOAM_OK);
}

/* Whatever the kernel has set on it before. */
static void a_cpu_is_set_up_to_trap(const struct loam_boot_info *info)
{
	uintptr_t base = prepared(LOAM_HUGE_SIZE, false), irq;
	struct loam_dirty_stats before, after;

	(void)info;
	EXPECT(base != 0 && loam_sys_used(base, LOAM_HUGE_SIZE, NULL) == LOAM_OK);
	poke(base);
	EXPECT(round_over(base, LOAM_HUGE_SIZE, false) != SIZE_MAX);
	irq = loam_irq_save();
	loam_test_spoil_mmu();
	loam_mmu_cpu_init(loam_space_ptab()->mmu);
	loam_irq_restore(irq);
	loam_dirty_stats(&before);
	poke(base + P);
	loam_dirty_stats(&after);
	EXPECT(after.opened == before.opened + 1 && look_over(base, LOAM_HUGE_SIZE) == 1);
	EXPECT(loam_sys_free(base, LOAM_HUGE_SIZE) == LOAM_OK);
}

const struct selftest loam_selftest_dirty[] = {
	{"dirty: what is written is told", what_is_written_is_told},
	{"dirty: a look reads little", a_look_reads_little},
	{"dirty: huge leaves become finer", huge_leaves_become_finer},
	{"dirty: an alias counts", an_alias_counts},
	{"dirty: a CPU is set up to trap", a_cpu_is_set_up_to_trap},
	{"dirty: a copy is whole", a_copy_is_whole},
	{"dirty: what it costs", what_it_costs},
	{0},
};
