/* SPDX-License-Identifier: MIT */
/*
 * The emulator as an oracle: the guest's half. With oracle=1 on the command line each look prints
 * what loam's walker says of the kernel half, and waits for a byte on the serial line while
 * tests/tools/oracle.py asks the emulator about the same tables.
 *
 * A look is a line `oracle: look`, a line for each run of leaves that differ by their address
 * alone, and a line `oracle: end`. A leaf that may be written, but not as long as the table entry above it is
 * closed (mm/dirty.c), has c for w:
 *
 *   oracle: look 3 levels 4 bits 48 root 0x3fde000: what the test says
 *   oracle: ffff800000000000 159 0 0 rw--ad wb      address, leaves, physical address, level
 *   oracle: end 371 tables 17                       leaves, tables below the root
 *
 * With oracle=lie the first looks each tell one untruth, which the other side must notice.
 */
#include "arch/mmu.h"
#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "tests/kernel/selftest.h"

/* What a lying guest says at look 1, 2, ...; tests/tools/oracle.py has the same list. */
enum lie {
	LIE_NONE,
	LIE_ADDRESS,
	LIE_WRITE,
	LIE_EXEC,
	LIE_LEFT_OUT,
	LIE_ADDED,
	LIE_LEVEL,
	LIE_MEMORY,
	LIE_TABLES,
	LIE_COUNT,
};

#define LIE_AT 3u /* of the runs of a look, the one that is told wrongly */

/* Leaves in a row. */
struct run {
	uint64_t va, pa, count; /* count 0: nothing yet */
	unsigned level;
	uint32_t attr;
	bool closed; /* the table above them forbids writing */
};

static bool asked, lying;
static unsigned look_count, run_count;

void loam_oracle_init(const char *cmdline)
{
	lying = loam_cmdline_is(cmdline, "oracle", "lie");
	asked = lying || loam_cmdline_is(cmdline, "oracle", "1");
}

static bool lie_now(enum lie what)
{
	return lying && look_count == (unsigned)what;
}

static void tell_run(struct run run)
{
	static const char *const memory[] = {"wb", "wc", "uc", "dev"};

	if (run_count++ == LIE_AT) {
		if (lie_now(LIE_LEFT_OUT))
			return;
		run.pa += lie_now(LIE_ADDRESS) ? loam_level_size(run.level) : 0;
		run.attr ^= lie_now(LIE_WRITE) ? LOAM_ATTR_WRITE : 0;
		run.attr ^= lie_now(LIE_EXEC) ? LOAM_ATTR_EXEC : 0;
		run.attr ^= lie_now(LIE_MEMORY) ? LOAM_ATTR_MEM_WC : 0;
		run.level ^= lie_now(LIE_LEVEL) ? 1 : 0;
	}
	loam_log(LOAM_LOG_INFO, "oracle: %016llx %llu %llx %u r%c%c%c%c%c %s\n",
		 (unsigned long long)run.va, (unsigned long long)run.count,
		 (unsigned long long)run.pa, run.level,
		 (run.attr & LOAM_ATTR_WRITE) == 0 ? '-'
		 : run.closed			   ? 'c'
						   : 'w',
		 (run.attr & LOAM_ATTR_EXEC) != 0 ? 'x' : '-',
		 (run.attr & LOAM_ATTR_USER) != 0 ? 'u' : '-',
		 (run.attr & LOAM_ATTR_ACCESSED) != 0 ? 'a' : '-',
		 (run.attr & LOAM_ATTR_DIRTY) != 0 && (run.attr & LOAM_ATTR_WRITE) != 0 ? 'd' : '-',
		 memory[(run.attr & LOAM_ATTR_MEM_MASK) / LOAM_ATTR_MEM_WC]);
}

static bool continues(const struct run *run, uint64_t va, uint64_t pa, unsigned level,
		      uint32_t attr, bool closed)
{
	uint64_t bytes = run->count * loam_level_size(level);

	return run->count > 0 && level == run->level && attr == run->attr &&
	       closed == run->closed && va == run->va + bytes && pa == run->pa + bytes;
}

static bool is_closed(const struct loam_ptab *pt, uint64_t va)
{
	struct loam_ptab_slot slot;

	loam_ptab_walk(pt, va, LOAM_LEVEL_HUGE, &slot);
	return slot.kind == LOAM_PTE_TABLE &&
	       (loam_pte_attr(pt->mmu, slot.pte, slot.level) & LOAM_ATTR_WRITE) == 0;
}

/* Every leaf of the kernel half, as runs; returns how many leaves. */
static uint64_t tell_leaves(const struct loam_ptab *pt)
{
	struct run run = {0};
	struct loam_ptab_slot slot;
	uint64_t leaves = 0;
	bool closed = false;

	loam_ptab_walk(pt, pt->mmu->va_min, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		if (slot.level > LOAM_LEVEL_PAGE || slot.index == 0)
			closed = is_closed(pt, slot.va);
		if (slot.kind == LOAM_PTE_LEAF) {
			uint64_t pa = loam_pte_pa(pt->mmu, slot.pte, slot.level).raw;
			uint32_t attr = loam_pte_attr(pt->mmu, slot.pte, slot.level);

			if (!continues(&run, slot.va, pa, slot.level, attr, closed)) {
				if (run.count > 0)
					tell_run(run);
				run = (struct run){slot.va, pa, 0, slot.level, attr, closed};
			}
			run.count++;
			leaves++;
		}
		if (slot.va + (loam_level_size(slot.level) - 1) >= pt->mmu->va_max)
			break;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
	if (run.count > 0)
		tell_run(run);
	return leaves;
}

void loam_oracle_look(const char *what)
{
	const struct loam_ptab *pt = loam_space_ptab();
	uint64_t leaves;

	if (!asked)
		return;
	look_count++;
	run_count = 0;
	loam_log(LOAM_LOG_INFO, "oracle: look %u levels %u bits %u root %#llx: %s\n", look_count,
		 pt->mmu->levels, pt->mmu->va_bits, (unsigned long long)pt->root.raw, what);
	leaves = tell_leaves(pt);
	if (lie_now(LIE_ADDED))
		tell_run((struct run){LOAM_BOOT_WINDOW + LOAM_BOOT_WINDOW_BYTES - LOAM_PAGE_SIZE,
				      LOAM_PAGE_SIZE, 1, LOAM_LEVEL_PAGE, LOAM_ATTR_DATA, false});
	loam_log(LOAM_LOG_INFO, "oracle: end %llu tables %llu\n", (unsigned long long)leaves,
		 (unsigned long long)loam_ptab_table_count(pt, pt->mmu->va_min, pt->mmu->va_max) +
			 lie_now(LIE_TABLES));
	(void)loam_machine_getc();
}
