/* SPDX-License-Identifier: MIT */
/*
 * Write tracking on the fake machine, by hand: what was written is told, what was not is not, and a look reads
 * little. The fake panics where a CPU may still write without a trap below what is closed, or remembers a note
 * that is gone.
 * Tags: [DIRTY-1] [DIRTY-2] [DIRTY-3] [DIRTY-4] [DIRTY-5] [DIRTY-6].
 */
#include "arch/cpu.h"
#include "mm/lockrank.h"
#include "tests/fake/dirty_test.h"

#include <loam/stack.h>
#include <loam/vm.h>

static void write_to(unsigned cpu, uintptr_t va)
{
	assert_true(touch(cpu, va, LOAM_ACCESS_WRITE));
}

static struct loam_dirty_stats stats(void)
{
	struct loam_dirty_stats s;

	loam_dirty_stats(&s);
	return s;
}

static bool is_open(uintptr_t va)
{
	struct loam_ptab_slot slot = slot_of(va, LOAM_LEVEL_HUGE);

	return (loam_pte_attr(fake_mmu(), slot.pte, slot.level) & LOAM_ATTR_WRITE) != 0;
}

/* ---- by hand ---- */

static void what_is_written_is_told(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t completed;
		uintptr_t base;

		up(mode);
		base = ready(6 * MIB, false);
		fake_spread(base, MIB);
		assert_int_equal(round_over(base, 6 * MIB, false), 0); /* fresh, and only read */
		write_to(1, base + 3 * P);
		write_to(2, base + 4 * P);
		write_to(3, base + 4 * MIB + 511 * P);
		completed = fake_completed;
		assert_int_equal(look_over(base, 6 * MIB), 3);
		assert_true(fake_completed > completed);       /* [DIRTY-3] */
		assert_int_equal(look_over(base, 6 * MIB), 3); /* nothing has changed */
		assert_int_equal(round_over(base, 6 * MIB, false), 3);
		assert_true(is_told(base + 3 * P) && is_told(base + 4 * P) &&
			    is_told(base + 4 * MIB + 511 * P));
		assert_int_equal(look_over(base, 6 * MIB), 0);
		assert_int_equal(round_over(base, 6 * MIB, false), 0);
		/* the CPU that wrote it before, and one that only read it */
		write_to(1, base + 3 * P);
		write_to(2, base + 7 * P);
		assert_int_equal(look_over(base, 6 * MIB), 2);
		assert_int_equal(round_over(base, 4 * P, false), 1); /* a part of it */
		assert_int_equal(round_over(base, 6 * MIB, false), 1);
		/* what is made anew was not written */
		assert_int_equal(loam_sys_unused(base, 2 * MIB), LOAM_OK);
		assert_int_equal(loam_sys_used(base, 2 * MIB, NULL), LOAM_OK);
		assert_int_equal(look_over(base, 6 * MIB), 0);
		write_to(0, base);
		assert_int_equal(look_over(base, 6 * MIB), 1);
		down();
	}
}

/* The first time, where hardware keeps no dirty bits, all that was there is told. */
static void old_memory_is_told_once(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base;

		up(mode);
		assert_int_equal(loam_sys_reserve(window, 4 * MIB, 0, &base), LOAM_OK);
		assert_int_equal(loam_sys_map(base, 4 * MIB, LOAM_OWNER_HEAP), LOAM_OK);
		assert_int_equal(loam_sys_used(base, 2 * MIB, NULL), LOAM_OK);
		assert_int_equal(round_over(base, 4 * MIB, false),
				 mode->mmu.hw_dirty ? 0 : 2 * MIB / P);
		assert_int_equal(loam_sys_used(base, 4 * MIB, NULL), LOAM_OK);
		assert_int_equal(round_over(base, 4 * MIB, false), 0);
		down();
	}
}

/* A look reads an entry for each 2 MiB, and 512 more for each that was written. */
static void a_look_reads_little(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_dirty_stats before;
		uintptr_t base;

		up(mode);
		base = ready(24 * MIB, false);
		for (size_t at = 0; at < 24 * MIB; at += P)
			write_to((unsigned)(at / P) % FAKE_CPUS, base + at);
		assert_int_equal(round_over(base, 24 * MIB, false), 24 * MIB / P);
		for (unsigned written = 0; written < 4; written++) {
			before = stats();
			assert_int_equal(look_over(base, 24 * MIB), written);
			assert_true(stats().look_entries - before.look_entries <=
				    12 + written * 512);
			write_to(written, base + (2 * MIB + 3 * P) * (written + 1)); /* [DIRTY-1] */
		}
		/* a round reads no leaf either where nothing was written */
		assert_int_equal(round_over(base, 24 * MIB, false), 4);
		before = stats();
		assert_int_equal(round_over(base, 24 * MIB, false), 0);
		assert_int_equal(stats().round_entries - before.round_entries, 2 * 12);
		assert_int_equal(stats().closed, before.closed);
		down();
	}
}

/* 2 MiB are closed only if all of them are in the range, and not if loam's stacks are beside it. */
static void others_keep_their_rights(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_stack stack;
		uintptr_t base;

		up(mode);
		base = ready(5 * MIB, false);
		assert_int_equal(loam_stack_alloc(64 * 1024, &stack), LOAM_OK);
		assert_true(stack.high < base + 6 * MIB);
		write_to(0, stack.high - 8);
		write_to(0, base + P);
		assert_int_equal(round_over(base + P, 5 * MIB - P, false), 1);
		assert_true(is_open(base) && !is_open(base + 2 * MIB) &&
			    is_open(stack.low));		       /* [DIRTY-4] */
		assert_int_equal(round_over(base, 6 * MIB, false), 0); /* but not the stack */
		assert_true(!is_open(base) && is_open(stack.low));
		down();
	}
}

/* Who comes to live in 2 MiB that were closed writes there without a trap, whatever CPUs remember: it may be a stack. */
static void who_comes_later_finds_it_open(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		for (unsigned variant = 0; variant < 4; variant++) {
			bool opened = (variant & 1) != 0, at_end = (variant & 2) != 0;
			struct loam_stack stack;
			uintptr_t base, hole;

			up(mode);
			base = ready(8 * MIB, false);
			assert_int_equal(round_over(base, 8 * MIB, false), 0);
			/* the first 2 MiB, or the last ones, lose one half */
			hole = at_end ? base + 6 * MIB : base + MIB;
			assert_int_equal(loam_sys_free(hole, MIB), LOAM_OK);
			fake_spread(base, MIB);
			fake_spread(base + 7 * MIB, MIB);
			if (opened) { /* another CPU has, and the others do not know */
				write_to(1, base);
				write_to(1, base + 8 * MIB - P);
			}
			assert_int_equal(loam_stack_alloc(64 * 1024, &stack), LOAM_OK);
			assert_true(stack.low - hole < MIB);
			for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) /* [DIRTY-4] */
				assert_true(
					fake_touch(cpu, stack.high - 8, LOAM_ACCESS_WRITE, NULL));
			/* and a round leaves it so */
			(void)round_over(base, 8 * MIB, false);
			assert_true(fake_touch(0, stack.high - 8, LOAM_ACCESS_WRITE, NULL));
			assert_true(is_open(hole) && !is_open(base + 2 * MIB));
			down();
		}
	}
}

/* The same of a mapping over the ends of two such. */
static void a_mapping_comes_between(void **state)
{
	const unsigned rights = LOAM_VM_READ | LOAM_VM_WRITE;

	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base, mapped;
		struct loam_pfn pfn;

		up(mode);
		base = ready(8 * MIB, false);
		assert_int_equal(loam_frame_alloc(LOAM_ORDER_HUGE, 0, LOAM_OWNER_TEST, &pfn),
				 LOAM_OK);
		assert_int_equal(round_over(base, 8 * MIB, false), 0);
		assert_int_equal(loam_sys_free(base + 3 * MIB, 2 * MIB), LOAM_OK);
		fake_spread(base, 3 * MIB);
		fake_spread(base + 5 * MIB, 3 * MIB);
		assert_int_equal(loam_vm_map(base + 3 * MIB, loam_pfn_to_paddr(pfn), 2 * MIB,
					     rights, LOAM_VM_WRITE_BACK, &mapped),
				 LOAM_OK);
		for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
			assert_true(fake_touch(cpu, mapped, LOAM_ACCESS_WRITE, NULL));
			assert_true(fake_touch(cpu, mapped + 2 * MIB - P, LOAM_ACCESS_WRITE, NULL));
		}
		assert_true(!is_open(base) && !is_open(base + 6 * MIB));
		assert_int_equal(loam_vm_unmap(mapped, 2 * MIB), LOAM_OK);
		assert_int_equal(loam_frame_free(pfn, LOAM_ORDER_HUGE), LOAM_OK);
		down();
	}
}

static void huge_leaves_become_finer(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base;

		up(mode);
		base = ready(8 * MIB, true);
		assert_int_equal(slot_of(base + 4 * MIB, 0).level, LOAM_LEVEL_HUGE);
		write_to(1, base + 4 * MIB + 5 * P);
		assert_int_equal(look_over(base, 8 * MIB), 512);
		assert_int_equal(round_over(base, 8 * MIB, false), 512);
		assert_int_equal(round_over(base, 8 * MIB, true), 0);
		assert_int_equal(slot_of(base + 4 * MIB, 0).level, LOAM_LEVEL_HUGE);
		write_to(2, base + 4 * MIB + 5 * P);
		/* what sticks out of the range stays as it is */
		assert_int_equal(round_over(base + 4 * MIB, P, false), 1);
		assert_int_equal(look_over(base, 8 * MIB), 512);
		assert_int_equal(round_over(base, 8 * MIB, true), 512);
		assert_int_equal(slot_of(base + 4 * MIB, 0).level, LOAM_LEVEL_PAGE);
		assert_int_equal(slot_of(base + 2 * MIB, 0).level, LOAM_LEVEL_HUGE);
		assert_true(!is_open(base + 4 * MIB));
		write_to(2, base + 4 * MIB + 5 * P);
		/* on aarch64 it is in runs of 16 now, and then in pages */
		assert_int_equal(round_over(base, 8 * MIB, true), mode->mmu.contig ? 16 : 1);
		write_to(0, base + 4 * MIB + 5 * P);
		assert_int_equal(look_over(base, 8 * MIB), 1);
		/* gathered again, it is written as a whole; and if nothing was, it is not */
		assert_int_equal(loam_sys_collapse(base, 8 * MIB), LOAM_OK);
		assert_int_equal(look_over(base, 8 * MIB), 512);
		assert_int_equal(round_over(base, 8 * MIB, true), 512);
		assert_int_equal(loam_sys_collapse(base, 8 * MIB), LOAM_OK);
		assert_int_equal(look_over(base, 8 * MIB), 0);
		assert_int_equal(slot_of(base + 4 * MIB, 0).level, LOAM_LEVEL_HUGE);
		down();
	}
}

/* 1 GiB becomes leaves of 2 MiB, all of them written; and the next time only what is. */
static void giant_leaves_become_finer(void **state)
{
	static const struct fake_range ram = {UINT64_C(0x3c000000), LOAM_GIANT_SIZE + 128 * MIB};

	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base, at;

		if ((mode->mmu.leaf_mask >> LOAM_LEVEL_GIANT & 1) == 0)
			continue;
		fake_up(&mode->mmu, &ram, 1, test_seed());
		window = fake_mm_up(mode, false);
		assert_int_equal(loam_sys_reserve(window, LOAM_GIANT_SIZE, LOAM_GIANT_SIZE, &base),
				 LOAM_OK);
		assert_int_equal(loam_sys_map(base, LOAM_GIANT_SIZE, LOAM_OWNER_HEAP), LOAM_OK);
		assert_int_equal(loam_sys_hugepage(base, LOAM_GIANT_SIZE), LOAM_OK);
		assert_int_equal(round_over(base, P, false), 0);
		assert_int_equal(loam_sys_used(base, LOAM_GIANT_SIZE, NULL), LOAM_OK);
		assert_int_equal(slot_of(base, 0).level, LOAM_LEVEL_GIANT);
		at = base + 8 * MIB + P;
		write_to(3, at);
		assert_int_equal(look_over(base, 24 * MIB), 24 * MIB / P);
		assert_int_equal(round_over(base, LOAM_GIANT_SIZE, true), PAGES);
		assert_int_equal(slot_of(at, 0).level, LOAM_LEVEL_HUGE);
		assert_int_equal(look_over(base, LOAM_GIANT_SIZE), 0);
		write_to(3, at);
		/* aarch64 makes runs of 16 of them */
		assert_int_equal(look_over(base, LOAM_GIANT_SIZE), mode->mmu.contig ? 8192 : 512);
		down();
	}
}

/* Two addresses for 2 MiB of frames: one that is asked about, and an alias for it. */
static void an_alias_counts(void **state)
{
	const unsigned rights = LOAM_VM_READ | LOAM_VM_WRITE;

	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base, alias;
		struct loam_pfn pfn;

		up(mode);
		base = ready(4 * MIB, false);
		assert_int_equal(loam_frame_alloc(LOAM_ORDER_HUGE, 0, LOAM_OWNER_TEST, &pfn),
				 LOAM_OK);
		assert_int_equal(loam_vm_map(window + 8 * MIB, loam_pfn_to_paddr(pfn), 2 * MIB,
					     rights, LOAM_VM_WRITE_BACK, &alias),
				 LOAM_OK);
		/* the model of one: no frame of the heap's can be mapped again, so these are not the same */
		assert_int_equal(loam_sys_dirty_alias(base + MIB, 2 * MIB, alias), LOAM_OK);
		assert_int_equal(loam_sys_dirty_alias(base, 2 * MIB, alias + P), LOAM_EXIST);
		assert_int_equal(round_over(base, 4 * MIB, false),
				 512); /* a mapping begins as written */
		assert_int_equal(round_over(base, 4 * MIB, false), 0);
		write_to(1, alias + 5 * P);
		write_to(1, base);
		/* a huge leaf; and then pages */
		assert_int_equal(look_over(base, 4 * MIB), 513);
		assert_int_equal(look_over(base + MIB, P), 1);
		assert_int_equal(look_over(base + 3 * MIB, MIB), 0);
		assert_int_equal(round_over(base, 4 * MIB, true), 513);
		assert_int_equal(round_over(base, 4 * MIB, true), 0);
		write_to(1, alias + 5 * P);
		assert_int_equal(look_over(base, 4 * MIB), mode->mmu.contig ? 16 : 1);
		assert_true(is_told(base + MIB + 5 * P));
		assert_int_equal(round_over(base, 4 * MIB, true), mode->mmu.contig ? 16 : 1);
		assert_int_equal(look_over(base, 4 * MIB), 0);
		write_to(1, alias + 5 * P);
		assert_int_equal(look_over(base, 4 * MIB), 1);
		assert_int_equal(loam_sys_dirty_alias_remove(alias), LOAM_OK);
		assert_int_equal(loam_sys_dirty_alias_remove(alias), LOAM_NOENT);
		assert_int_equal(look_over(base, 4 * MIB), 0);
		for (unsigned n = 0; n < 17; n++)
			assert_int_equal(loam_sys_dirty_alias(base, P, alias + n * P),
					 n < 16 ? LOAM_OK : LOAM_LIMIT);
		assert_int_equal(loam_vm_unmap(alias, 2 * MIB), LOAM_OK);
		assert_int_equal(loam_frame_free(pfn, LOAM_ORDER_HUGE), LOAM_OK);
		down();
	}
}

/* Written, and read-only since: told. Writable again: still told, or not, as it should be. */
static void rights_keep_what_is_known(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base;

		up(mode);
		base = ready(4 * MIB, false);
		write_to(1, base);
		write_to(1, base + P);
		assert_int_equal(loam_vm_protect(base, 8 * P, LOAM_VM_READ), LOAM_OK);
		assert_false(touch(1, base, LOAM_ACCESS_WRITE));
		assert_int_equal(look_over(base, 4 * MIB), 2);
		assert_int_equal(loam_vm_protect(base, P, LOAM_VM_READ | LOAM_VM_WRITE), LOAM_OK);
		assert_int_equal(round_over(base, 4 * MIB, false), 2);
		assert_int_equal(round_over(base, 4 * MIB, false), 0);
		assert_int_equal(loam_vm_protect(base, 8 * P, LOAM_VM_READ | LOAM_VM_WRITE),
				 LOAM_OK);
		assert_int_equal(round_over(base, 4 * MIB, false), 0);
		write_to(2, base + P);
		assert_int_equal(round_over(base, 4 * MIB, false), 1);
		down();
	}
}

static void memory_that_moves_keeps_what_is_known(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		for (size_t shift = 0; shift <= P; shift += P) {
			uintptr_t base, to;

			up(mode);
			base = ready(24 * MIB, false);
			to = base + 12 * MIB + shift;
			assert_int_equal(loam_sys_unused(base + 12 * MIB, 12 * MIB), LOAM_OK);
			write_to(1, base + 4 * MIB);
			/* what was Prepared was closed with the rest, and what comes there was written */
			assert_int_equal(round_over(base, 2 * MIB, false), 0);
			assert_int_equal(round_over(base + 12 * MIB, 12 * MIB, false), 0);
			assert_int_equal(loam_sys_move(base, to, 8 * MIB), LOAM_OK);
			fake_settled();
			assert_int_equal(look_over(base, 24 * MIB), 1);
			assert_true(is_told(to + 4 * MIB)); /* [DIRTY-5] */
			assert_int_equal(round_over(base, 24 * MIB, false), 1);
			assert_int_equal(round_over(base, 24 * MIB, false), 0);
			write_to(2, to + 5 * MIB);
			assert_int_equal(look_over(base, 24 * MIB), 1);
			down();
		}
	}
}

static uintptr_t moved_to;

/* When a round has told of the page above the gap: what it has still to tell goes into the gap, where it has been. */
static void move_into_the_gap(void)
{
	if (moved_to != 0 || !is_told(window + 10 * MIB + P))
		return;
	moved_to = window + 2 * MIB;
	assert_int_equal(loam_sys_move(window + 12 * MIB, moved_to, 8 * MIB), LOAM_OK);
}

static void what_moves_amid_a_round_is_told_by_the_look(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base;

		up(mode);
		base = ready(24 * MIB, false);
		assert_int_equal(loam_sys_unused(base + 2 * MIB, 8 * MIB), LOAM_OK);
		write_to(1, base + 10 * MIB + P);
		write_to(1, base + 16 * MIB + P);
		moved_to = 0;
		fake_between(move_into_the_gap);
		assert_int_equal(round_over(base, 24 * MIB, false), 1);
		fake_between(NULL);
		assert_int_equal(moved_to, base + 2 * MIB);
		assert_int_equal(look_over(base, 24 * MIB), 1);
		assert_true(is_told(moved_to + 4 * MIB + P)); /* [DIRTY-5] */
		assert_int_equal(round_over(base, 24 * MIB, false), 1);
		assert_int_equal(look_over(base, 24 * MIB), 0);
		down();
	}
}

/* A CPU that holds a lock of mm's writes to tracked memory, to its stack for instance. */
static void a_write_under_a_lock_is_mended(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uintptr_t base, irq;
		struct loam_fault fault = {.access = LOAM_ACCESS_WRITE, .present = true};

		up(mode);
		base = ready(4 * MIB, false);
		fault.addr = base + 7 * P;
		write_to(0, fault.addr);
		assert_int_equal(round_over(base, 4 * MIB, false), 1);
		assert_false(fake_touch(0, fault.addr, LOAM_ACCESS_WRITE, NULL));
		irq = loam_sys_enter();
		assert_true(loam_fault_handle(&fault)); /* [DIRTY-6] */
		assert_true(fake_touch(0, fault.addr, LOAM_ACCESS_WRITE, NULL));
		/* but not what is not there, or must not be written */
		fault.addr = base + 4 * MIB;
		assert_false(loam_fault_handle(&fault));
		(void)loam_sys_leave(irq, LOAM_OK);
		assert_int_equal(look_over(base, 4 * MIB), 1);
		assert_int_equal(round_over(base, 4 * MIB, false), 1);
		down();
	}
}

/* The same while another CPU cuts a region, or turns the tree of them: it is not asked. */
static void a_write_is_mended_while_regions_change(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_fault fault = {.access = LOAM_ACCESS_WRITE, .present = true};
		struct loam_region *r;
		uintptr_t base;

		up(mode);
		base = ready(4 * MIB, false);
		fault.addr = base + 7 * P;
		write_to(1, fault.addr);
		assert_int_equal(round_over(base, 4 * MIB, false), 1);
		r = loam_vspace_find(base);
		fake_run_on(1);
		loam_lockrank_acquire(LOAM_RANK_CACHE);
		r->size = P; /* CPU 0 is amid loam_vspace_cut */
		assert_null(loam_vspace_find(fault.addr));
		assert_true(loam_fault_handle(&fault));
		r->size = 4 * MIB;
		assert_true(fake_touch(1, fault.addr, LOAM_ACCESS_WRITE, NULL));
		/* what is not in the window is nothing of loam's, whatever is there */
		fault.addr = window - P;
		assert_false(loam_fault_handle(&fault));
		loam_lockrank_release(LOAM_RANK_CACHE);
		fake_run_on(0);
		assert_int_equal(look_over(base, 4 * MIB), 1);
		down();
	}
}

static enum loam_err nested;

static void visit_and_ask(void *arg, uintptr_t base, size_t size)
{
	(void)arg;
	(void)base;
	(void)size;
}

static void ask_meanwhile(void)
{
	if (nested == LOAM_OK)
		nested = loam_sys_dirty_round(window, 2 * MIB, false, visit_and_ask, NULL);
}

static void bad_input(void **state)
{
	struct fake_mode without = fake_modes[0];
	uintptr_t base;

	(void)state;
	assert_false(loam_sys_dirty_can());
	up(&fake_modes[0]);
	base = ready(2 * MIB, false);
	assert_int_equal(loam_sys_dirty_round(base + 1, P, false, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_round(base, 0, false, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_round(base, P, false, NULL, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_round(base - P, 2 * P, false, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_look(base, (size_t)0 - P, visit, told), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_alias(base, P, base), LOAM_INVAL);
	assert_int_equal(loam_sys_dirty_alias(base, P, base - P), LOAM_INVAL);
	/* all of the window, most of which is nothing */
	assert_int_equal(round_over(window, 8 * LOAM_GIANT_SIZE, true), 0);
	/* one at a time */
	nested = LOAM_OK;
	fake_between(ask_meanwhile);
	assert_int_equal(round_over(base, 2 * MIB, false), 0);
	fake_between(NULL);
	assert_int_equal(nested, LOAM_BUSY);
	down();
	without.mmu.table_write = false;
	fake_up_default(&without.mmu, test_seed());
	window = fake_mm_up(&without, false);
	assert_false(loam_sys_dirty_can());
	assert_int_equal(loam_sys_dirty_round(window, P, false, visit, told), LOAM_NOTSUP);
	assert_int_equal(loam_sys_dirty_look(window, P, visit, told), LOAM_NOTSUP);
	assert_int_equal(loam_sys_dirty_alias(window, P, window + P), LOAM_NOTSUP);
	assert_int_equal(loam_sys_dirty_alias_remove(window), LOAM_NOTSUP);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_told),
		cmocka_unit_test(old_memory_is_told_once),
		cmocka_unit_test(a_look_reads_little),
		cmocka_unit_test(others_keep_their_rights),
		cmocka_unit_test(who_comes_later_finds_it_open),
		cmocka_unit_test(a_mapping_comes_between),
		cmocka_unit_test(huge_leaves_become_finer),
		cmocka_unit_test(giant_leaves_become_finer),
		cmocka_unit_test(an_alias_counts),
		cmocka_unit_test(rights_keep_what_is_known),
		cmocka_unit_test(memory_that_moves_keeps_what_is_known),
		cmocka_unit_test(what_moves_amid_a_round_is_told_by_the_look),
		cmocka_unit_test(a_write_under_a_lock_is_mended),
		cmocka_unit_test(a_write_is_mended_while_regions_change),
		cmocka_unit_test(bad_input),
	};
	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
