/* SPDX-License-Identifier: MIT */
/*
 * Everybody at once: each CPU works on a range of its own, with every operation there is, over
 * the one set of page tables, frames and region records that all share. With soak=SECONDS on the
 * command line it runs that long.
 *
 * What is checked. The first word of a Ready page is zero or names the page and so its owner: a
 * frame that two pages share, or a page that lost its contents, shows. When all have stopped, each
 * frame of owner TEST is behind a Ready page. When all have freed, each owner has what it had
 * before, but for two kinds that mm keeps, and both are counted: pages of region records
 * (mm/vspace.c), and tables that hang at the root (mm/ptab.c).
 */
#include "arch/mmu.h"
#include "boot/smp.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "mm/vspace.h"
#include "tests/kernel/selftest.h"

#include <loam/cpu.h>

#define READ_WRITE (LOAM_VM_READ | LOAM_VM_WRITE)
#define PAGES	   768u /* one aligned 2 MiB and a half */
#define BYTES	   (PAGES * LOAM_PAGE_SIZE)
#define STEPS	   40u /* with no time given */
#define PIECE	   16u

struct soak {
	uintptr_t base;
	uint64_t rng, ran;
	const char *bad;
};

static struct soak soak[LOAM_BOOT_CPUS];
static uint64_t until_ns;

static uint64_t next(struct soak *s)
{
	uint64_t z = (s->rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ (z >> 27);
}

/* The first failure of a CPU ends its work. */
static void must(struct soak *s, bool ok, const char *what)
{
	if (!ok && s->bad == NULL)
		s->bad = what;
}

static volatile uint64_t *word_of(uintptr_t va)
{
	return (volatile uint64_t *)va;
}

static void stamp(struct soak *s, uintptr_t va)
{
	*word_of(va) = va / LOAM_PAGE_SIZE << 16 | (next(s) & 0xffff);
}

/* Zero, or stamped as this very page. */
static bool is_own(uintptr_t va)
{
	uint64_t word = *word_of(va);

	return word == 0 || word >> 16 == va / LOAM_PAGE_SIZE % (UINT64_C(1) << 48);
}

static void check_range(struct soak *s, uintptr_t va, size_t size)
{
	for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE)
		must(s, is_own(va + at), "a page lost what was written, or got another's");
}

/* ---- operations ---- */

static void give_back(struct soak *s, uintptr_t va, size_t size)
{
	enum loam_err err =
		next(s) % 2 != 0 ? loam_sys_unused(va, size) : loam_sys_unused_later(va, size);

	must(s, err == LOAM_OK, "unused failed");
}

static void use(struct soak *s, uintptr_t va, size_t size)
{
	enum loam_err err = loam_sys_used(va, size, NULL);

	if (err == LOAM_NOMEM)
		return;
	must(s, err == LOAM_OK, "used failed");
	if (err != LOAM_OK)
		return;
	check_range(s, va, size);
	stamp(s, va);
}

/* Read-only and back; a huge leaf around the range is cut. */
static void protect(struct soak *s, uintptr_t va, size_t size)
{
	uint64_t word;

	if (loam_sys_used(va, size, NULL) != LOAM_OK)
		return;
	stamp(s, va);
	word = *word_of(va);
	if (loam_vm_protect(va, size, LOAM_VM_READ) != LOAM_OK)
		return; /* no table to cut with */
	must(s, *word_of(va) == word, "protect lost a page");
	must(s, loam_vm_protect(va, size, READ_WRITE) == LOAM_OK, "protect back failed");
	check_range(s, va, size);
	stamp(s, va); /* may fault once: a right was only just given */
}

/* 2 MiB at once where there are such, then a part of it protected and a part given back. */
static void huge(struct soak *s)
{
	uintptr_t at = s->base + next(s) % (LOAM_PT_ENTRIES - PIECE) * LOAM_PAGE_SIZE;

	must(s, loam_sys_unused(s->base, LOAM_HUGE_SIZE) == LOAM_OK, "unused failed");
	if (loam_space_huge_sizes() != 0)
		must(s, loam_sys_hugepage(s->base, LOAM_HUGE_SIZE) == LOAM_OK, "hugepage failed");
	use(s, s->base, LOAM_HUGE_SIZE);
	protect(s, at, PIECE * LOAM_PAGE_SIZE);
	if (next(s) % 2 != 0)
		give_back(s, at, LOAM_PAGE_SIZE);
	must(s, loam_sys_nohugepage(s->base, LOAM_HUGE_SIZE) == LOAM_OK, "nohugepage failed");
	if (next(s) % 2 != 0)
		(void)loam_sys_collapse(s->base, LOAM_HUGE_SIZE);
}

/* Revoked and mapped again: the tables go and come. */
static void revoke(struct soak *s, uintptr_t va, size_t size)
{
	enum loam_err err;

	must(s, loam_sys_fault(va, size) == LOAM_OK, "fault failed");
	while ((err = loam_sys_map(va, size, LOAM_OWNER_TEST)) == LOAM_NOMEM)
		loam_cpu_quiescent(); /* the others give something back */
	must(s, err == LOAM_OK, "map failed");
}

static void grow_a_stack(struct soak *s)
{
	struct loam_stack stack;

	if (loam_stack_alloc(64 << 10, &stack) != LOAM_OK)
		return;
	stamp(s, stack.high - LOAM_PAGE_SIZE);
	stamp(s, stack.high - 5 * LOAM_PAGE_SIZE); /* on demand, this one and the next */
	stamp(s, stack.high - 9 * LOAM_PAGE_SIZE);
	must(s, loam_stack_committed(&stack) == 3 * LOAM_PAGE_SIZE, "a stack has not what it used");
	must(s, loam_stack_trim(&stack, stack.high - 8) == 2 * LOAM_PAGE_SIZE,
	     "a stack was not trimmed");
	check_range(s, stack.high - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE);
	must(s, loam_stack_free(&stack) == LOAM_OK, "a stack could not be freed");
}

static void unmap(struct soak *s, uintptr_t va, size_t size)
{
	enum loam_err err;

	while ((err = loam_vm_unmap(va, size)) == LOAM_NOMEM)
		loam_cpu_quiescent();
	must(s, err == LOAM_OK, "unmap failed");
}

/* A run of frames, half of the times under a second name that goes in three pieces. */
static void frames(struct soak *s)
{
	unsigned order = (unsigned)(next(s) % 5);
	size_t size = (size_t)LOAM_PAGE_SIZE << order;
	volatile uint64_t *direct;
	struct loam_pfn pfn;
	uintptr_t va;

	if (loam_frame_alloc(order, 0, LOAM_OWNER_TEST, &pfn) != LOAM_OK)
		return;
	direct = loam_frame_ptr(loam_pfn_to_paddr(pfn));
	*direct = (uintptr_t)s;
	if (order >= 2 && loam_vm_map(0, loam_pfn_to_paddr(pfn), size, READ_WRITE,
				      LOAM_VM_WRITE_BACK, &va) == LOAM_OK) {
		must(s, *word_of(va) == (uintptr_t)s, "a second name leads elsewhere");
		*word_of(va + size - 8) = s->rng;
		must(s, direct[size / 8 - 1] == s->rng, "a second name leads elsewhere");
		unmap(s, va + LOAM_PAGE_SIZE, LOAM_PAGE_SIZE);
		unmap(s, va, LOAM_PAGE_SIZE);
		unmap(s, va + 2 * LOAM_PAGE_SIZE, size - 2 * LOAM_PAGE_SIZE);
	}
	must(s, *direct == (uintptr_t)s, "a frame has two owners");
	must(s, loam_frame_free(pfn, order) == LOAM_OK, "a frame could not be freed");
}

static void step(struct soak *s)
{
	unsigned at = (unsigned)(next(s) % PAGES), n = 1 + (unsigned)(next(s) % PIECE);
	uintptr_t va = s->base + at * LOAM_PAGE_SIZE;
	size_t size = (at + n > PAGES ? PAGES - at : n) * LOAM_PAGE_SIZE;

	switch (next(s) % 16) {
	case 0:
		huge(s);
		break;
	case 1:
		(void)loam_sys_collapse(s->base, LOAM_HUGE_SIZE);
		break;
	case 2:
		revoke(s, va, size);
		break;
	case 3:
	case 4:
		grow_a_stack(s);
		break;
	case 5:
	case 6:
		frames(s);
		break;
	case 7:
	case 8:
	case 9:
		protect(s, va, size);
		break;
	case 10:
	case 11:
	case 12:
		give_back(s, va, size);
		break;
	default:
		use(s, va, size);
		break;
	}
}

/* ---- the test ---- */

static void work(void *arg)
{
	struct soak *s = &soak[loam_host_cpu_id()];
	struct loam_sys_info info;

	(void)arg;
	if (loam_sys_reserve(0, BYTES, LOAM_HUGE_SIZE, &s->base) != LOAM_OK ||
	    loam_sys_map(s->base, BYTES, LOAM_OWNER_TEST) != LOAM_OK) {
		s->bad = "no memory to begin with";
		return;
	}
	while (s->bad == NULL && (s->ran < STEPS || loam_host_now_ns() < until_ns)) {
		step(s);
		s->ran++;
		if (next(s) % 4 == 0)
			loam_cpu_quiescent();
	}
	for (uintptr_t va = s->base; va < s->base + BYTES; va += LOAM_PAGE_SIZE) {
		if (loam_sys_query(va, &info) != LOAM_OK)
			must(s, false, "a page is nobody's");
		else if (info.state == LOAM_STATE_READY)
			check_range(s, va, LOAM_PAGE_SIZE);
	}
}

static void clean_up(void *arg)
{
	struct soak *s = &soak[loam_host_cpu_id()];

	(void)arg;
	must(s, loam_sys_free(s->base, BYTES) == LOAM_OK, "the range could not be freed");
}

/* Returns with no frame waiting for an epoch to pass, or after ten seconds. */
static void on_every_cpu(void (*fn)(void *))
{
	struct loam_cpu_stats cpus;
	uint64_t start;

	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, fn, NULL);
	fn(NULL);
	loam_smp_wait();
	start = loam_host_now_ns();
	/* one that was done early passed before the last frames began to wait, and passes again
	 * when it has nothing better to do */
	do {
		loam_cpu_quiescent();
		loam_cpu_stats(&cpus);
	} while (cpus.waiting_frames > 0 && loam_host_now_ns() - start < UINT64_C(10000000000));
}

/* Tables: all that mm has, and those of them that hang at the root. */
static void count_tables(uint64_t *all, uint64_t *at_root)
{
	const struct loam_ptab *pt = loam_space_ptab();
	unsigned top = pt->mmu->levels - 1u;
	struct loam_ptab_slot slot;

	*all = loam_ptab_table_count(pt, pt->mmu->va_min, pt->mmu->va_max);
	*at_root = 0;
	loam_ptab_walk(pt, pt->mmu->va_min, top, &slot);
	for (;;) {
		*at_root += slot.kind == LOAM_PTE_TABLE;
		if (slot.va + (loam_level_size(top) - 1) >= pt->mmu->va_max)
			return;
		loam_ptab_next(pt, top, &slot);
	}
}

struct books {
	struct loam_frame_stats frames;
	struct loam_sys_stats sys;
	struct loam_cpu_stats cpus;
	uint64_t records, tables, tables_at_root;
};

static void take_books(struct books *b)
{
	(void)loam_stack_pool_release();
	loam_sys_verify();
	loam_frame_verify();
	loam_frame_stats(&b->frames);
	loam_sys_stats(&b->sys);
	loam_cpu_stats(&b->cpus);
	b->records = loam_vspace_record_pages();
	count_tables(&b->tables, &b->tables_at_root);
}

static void say(const struct books *before, const struct books *after, uint64_t steps)
{
	const uint64_t *was = before->frames.owner_frames, *is = after->frames.owner_frames;

	loam_log(LOAM_LOG_INFO,
		 "# %u CPUs, %llu steps, %llu shootdowns, %llu interrupts for them; "
		 "%llu of %llu deferred frames went back with no shootdown\n",
		 loam_smp_count(), (unsigned long long)steps,
		 (unsigned long long)after->cpus.shootdowns, (unsigned long long)after->cpus.ipis,
		 (unsigned long long)after->cpus.epoch_frames,
		 (unsigned long long)after->cpus.deferred_frames);
	loam_log(LOAM_LOG_INFO,
		 "# of %llu frames %lld fewer are free: %lld of region records, %lld page tables\n",
		 (unsigned long long)after->frames.total,
		 (long long)(before->frames.free - after->frames.free),
		 (long long)(is[LOAM_OWNER_META] - was[LOAM_OWNER_META]),
		 (long long)(is[LOAM_OWNER_TABLE] - was[LOAM_OWNER_TABLE]));
}

static void everybody_at_once(const struct loam_boot_info *info)
{
	uint64_t seconds = loam_cmdline_number(info->cmdline, "soak", 0), steps = 0;
	static struct books before, amid, after;
	const uint64_t *was = before.frames.owner_frames, *is = after.frames.owner_frames;

	take_books(&before);
	until_ns = seconds > 0 ? loam_host_now_ns() + seconds * 1000000000 : 0;
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++)
		soak[cpu] = (struct soak){.rng = 4711 + cpu};
	on_every_cpu(work);
	take_books(&amid);
	loam_oracle_look("everybody has stopped, and has not freed");
	on_every_cpu(clean_up);
	take_books(&after);
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		EXPECT(soak[cpu].bad == NULL);
		steps += soak[cpu].ran;
	}
	say(&before, &after, steps);
	EXPECT(amid.cpus.waiting_frames == 0 && after.cpus.waiting_frames == 0);
	EXPECT(amid.frames.owner_frames[LOAM_OWNER_TEST] - was[LOAM_OWNER_TEST] ==
	       amid.sys.ready_bytes[LOAM_OWNER_TEST] / LOAM_PAGE_SIZE);
	for (unsigned o = LOAM_OWNER_NONE + 1; o < LOAM_OWNER_COUNT; o++)
		EXPECT(o == LOAM_OWNER_META || o == LOAM_OWNER_TABLE || is[o] == was[o]);
	EXPECT(is[LOAM_OWNER_META] - was[LOAM_OWNER_META] == after.records - before.records);
	EXPECT(is[LOAM_OWNER_TABLE] - was[LOAM_OWNER_TABLE] == after.tables - before.tables);
	EXPECT(after.tables - before.tables == after.tables_at_root - before.tables_at_root);
	EXPECT(before.frames.free - after.frames.free ==
	       after.records - before.records + after.tables - before.tables);
	EXPECT(before.sys.region_count == after.sys.region_count);
}

const struct selftest loam_selftest_soak[] = {
	{"smp: everybody maps, frees, protects and collapses at once", everybody_at_once},
	{NULL, NULL},
};
