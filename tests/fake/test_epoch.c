/* SPDX-License-Identifier: MIT */
/* Frames that wait for quiescent points: nobody is interrupted, nothing goes back too early (the fake
 * panics if a frame is freed while a CPU can reach it), and no page has two frames at a time. Tags:
 * [EPOCH-1] [EPOCH-2] [EPOCH-3] [EPOCH-4] [EPOCH-5]. */
#include "mm/space.h"
#include "mm/framecache.h"
#include "mm/sys.h"
#include "tests/fake/fake_test.h"

#include <loam/cpu.h>

#define PAGES 64u
#define BYTES (PAGES * LOAM_PAGE_SIZE)

static uintptr_t base;

static void up(const struct fake_mode *mode)
{
	fake_up_default(&mode->mmu, test_seed());
	(void)fake_mm_up(mode, false);
	assert_int_equal(loam_sys_reserve(0, 8 * BYTES, LOAM_HUGE_SIZE, &base), LOAM_OK);
	assert_int_equal(loam_sys_map(base, 8 * BYTES, LOAM_OWNER_TEST), LOAM_OK);
	assert_int_equal(loam_sys_used(base, 8 * BYTES, NULL), LOAM_OK);
	fake_spread(base, 8 * BYTES);
}

static void pass(unsigned cpu)
{
	fake_run_on(cpu);
	loam_cpu_quiescent();
	fake_run_on(0);
}

static void rest(unsigned cpu)
{
	fake_run_on(cpu);
	loam_cpu_idle_enter();
	fake_sleep(cpu, true);
	fake_run_on(0);
}

static void wake(unsigned cpu)
{
	fake_run_on(cpu);
	fake_sleep(cpu, false);
	loam_cpu_idle_leave();
	fake_run_on(0);
}

static void down(void)
{
	for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++)
		pass(cpu);
	fake_settled();
	loam_sys_verify();
	loam_frame_verify();
	loam_mm_reset();
	fake_down();
}

static struct loam_cpu_stats stats(void)
{
	struct loam_cpu_stats s;

	loam_cpu_stats(&s);
	return s;
}

static void nobody_is_interrupted(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_cpu_stats before, after;
		struct loam_paddr was, is;
		uint64_t mapped;

		up(mode);
		mapped = free_frames();
		before = stats();
		assert_true(fake_touch(2, base, LOAM_ACCESS_READ, &was));
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		assert_int_equal(free_frames(), mapped);
		assert_int_equal(stats().waiting_frames, PAGES);
		/* this CPU knows, another does not need to yet */
		assert_false(fake_touch(0, base, LOAM_ACCESS_READ, NULL));
		assert_true(fake_touch(2, base, LOAM_ACCESS_READ, &is));
		assert_int_equal(is.raw, was.raw);
		for (unsigned cpu = 1; cpu < FAKE_CPUS; cpu++) {
			assert_int_equal(free_frames(), mapped);
			pass(cpu);
			assert_false(fake_touch(cpu, base, LOAM_ACCESS_READ, NULL));
		}
		assert_int_equal(free_frames(), mapped + PAGES);
		after = stats();
		assert_int_equal(after.shootdowns, before.shootdowns);
		assert_int_equal(after.ipis, before.ipis);
		assert_int_equal(after.epoch_frames - before.epoch_frames, PAGES);
		assert_int_equal(after.waiting_frames, 0);
		down();
	}
}

/* An idle CPU holds nothing up, and has forgotten everything when it is back. */
static void idle_counts_as_passed(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t mapped;

		up(mode);
		mapped = free_frames();
		for (unsigned cpu = 1; cpu < FAKE_CPUS; cpu++)
			rest(cpu);
		wake(3);
		assert_true(fake_touch(3, base, LOAM_ACCESS_READ, NULL));
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		assert_int_equal(free_frames(), mapped); /* CPU 3 is busy */
		pass(3);
		assert_int_equal(free_frames(), mapped + PAGES);
		wake(1);
		wake(2);
		down();
	}
}

static void cpu_3_passes_meanwhile(void)
{
	fake_run_on(3);
	loam_cpu_quiescent();
	fake_run_on(2);
}

/* CPU 2 is on its way out of idle, idle no more and not yet past, when CPU 3 looks whether all have
 * passed: it is CPU 2 that gives the frames back then, and nobody else would. */
static void the_last_one_out_of_idle_gives_back(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t mapped;

		up(mode);
		mapped = free_frames();
		for (unsigned cpu = 1; cpu < 3; cpu++)
			rest(cpu);
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		assert_int_equal(free_frames(), mapped); /* CPU 3 is busy */
		fake_meanwhile(cpu_3_passes_meanwhile);
		wake(2);
		assert_int_equal(free_frames(), mapped + PAGES);
		assert_int_equal(stats().waiting_frames, 0);
		wake(1);
		down();
	}
}

/* All idle: a frame goes back at once, although a sleeping CPU's TLB still leads to it. */
static void the_way_out_of_idle_flushes(void **state)
{
	static unsigned m;

	(void)state;
	for (m = 0; m < fake_mode_count; m++) {
		up(&fake_modes[m]);
		for (unsigned cpu = 1; cpu < FAKE_CPUS; cpu++) {
			fake_run_on(cpu);
			loam_cpu_idle_enter();
			/* the last instructions before it halts */
			(void)fake_touch(cpu, base, LOAM_ACCESS_READ, NULL);
			fake_sleep(cpu, true);
		}
		fake_run_on(0);
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		assert_int_equal(stats().waiting_frames, 0);
		for (unsigned cpu = 1; cpu < FAKE_CPUS; cpu++)
			wake(cpu);
		fake_settled();
		assert_false(fake_touch(1, base, LOAM_ACCESS_READ, NULL));
		down();
	}
}

static void pass_2_and_3(void)
{
	unsigned was = fake_running();

	pass(2);
	pass(3);
	fake_run_on(was);
}

/* [EPOCH-5] The last one may be one that goes, or one that wakes up while the others pass. */
static void the_last_one_gives_the_frames_back(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t mapped;

		up(mode);
		mapped = free_frames();
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		pass_2_and_3();
		assert_int_equal(free_frames(), mapped);
		fake_run_on(1);
		fake_sleep(1, true);
		loam_cpu_offline();
		assert_int_equal(free_frames(), mapped + PAGES);
		fake_sleep(1, false);
		assert_int_equal(loam_cpu_online(), LOAM_OK);

		rest(1);
		assert_int_equal(loam_sys_unused_later(base + BYTES, BYTES), LOAM_OK);
		fake_meanwhile(pass_2_and_3); /* CPU 1 is no longer idle, and has not passed yet */
		wake(1);
		assert_int_equal(free_frames(), mapped + 2 * PAGES);
		down();
	}
}

/* A thread that may be preempted says of no CPU what it did on another. */
static void a_thread_may_move(void **state)
{
	static void (*const say[])(void) = {loam_cpu_quiescent, loam_cpu_idle_enter,
					    loam_cpu_idle_leave};

	(void)state;
	for_each_mode(mode)
	{
		for (unsigned i = 0; i < 3; i++) {
			uint64_t mapped;

			up(mode);
			mapped = free_frames();
			assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
			fake_run_on(1);
			fake_migrate(2);
			say[i]();
			fake_migrate(FAKE_CPUS);
			pass_2_and_3();
			assert_int_equal(free_frames(), mapped + PAGES);
			wake(1);
			down();
		}
	}
}

/* A CPU that could not join has an idle loop all the same. */
static void a_cpu_that_was_refused(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		up(mode);
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		fake_run_on(LOAM_CPU_MAX);
		assert_int_equal(loam_cpu_online(), LOAM_INVAL);
		loam_cpu_quiescent();
		loam_cpu_idle_enter();
		loam_cpu_idle_leave();
		loam_cpu_poll();
		fake_run_on(0);
		assert_int_equal(stats().waiting_frames, PAGES);
		down();
	}
}

/* Whoever wants the address, or the memory, does not have to wait. */
static void use_settles(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct loam_cpu_stats before;
		struct loam_fault fault = {.access = LOAM_ACCESS_WRITE};
		uint64_t value;
		uintptr_t more;

		up(mode);
		before = stats();
		assert_int_equal(loam_sys_unused_later(base, BYTES), LOAM_OK);
		/* elsewhere: nothing to settle */
		assert_int_equal(loam_sys_unused(base + 2 * BYTES, LOAM_PAGE_SIZE), LOAM_OK);
		assert_int_equal(stats().waiting_frames, PAGES);
		assert_int_equal(stats().shootdowns - before.shootdowns, 1);
		/* [EPOCH-4] the same page again */
		assert_int_equal(loam_sys_used(base + BYTES - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, NULL),
				 LOAM_OK);
		assert_int_equal(stats().waiting_frames, 0);
		assert_int_equal(stats().shootdowns - before.shootdowns, 2);
		for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
			assert_true(fake_write(cpu, base + BYTES - 8, cpu));
			for (unsigned other = 0; other < FAKE_CPUS; other++) {
				assert_true(fake_read(other, base + BYTES - 8, &value));
				assert_int_equal(value, cpu);
			}
		}
		/* by demand */
		assert_int_equal(loam_sys_unused_later(base + BYTES, BYTES), LOAM_OK);
		assert_int_equal(loam_vm_lazy(base, 8 * BYTES, true), LOAM_OK);
		fault.addr = base + BYTES;
		assert_true(loam_fault_handle(&fault));
		assert_int_equal(stats().waiting_frames, 0);
		fake_settled();
		/* by the end of the range */
		assert_int_equal(loam_sys_unused_later(base + BYTES, LOAM_PAGE_SIZE), LOAM_OK);
		assert_int_equal(loam_sys_fault(base, 2 * BYTES), LOAM_OK);
		assert_int_equal(stats().waiting_frames, 0);
		fake_settled();
		/* by want of memory */
		assert_int_equal(loam_sys_unused_later(base + 3 * BYTES, BYTES), LOAM_OK);
		assert_int_equal(loam_sys_reserve(0, LOAM_GIANT_SIZE, LOAM_PAGE_SIZE, &more),
				 LOAM_OK);
		while (loam_sys_map(more, 16 * LOAM_PAGE_SIZE, LOAM_OWNER_TEST) == LOAM_OK &&
		       loam_sys_used(more, 16 * LOAM_PAGE_SIZE, NULL) == LOAM_OK)
			more += 16 * LOAM_PAGE_SIZE;
		assert_int_equal(stats().waiting_frames, 0);
		assert_true(free_frames() < 17 + LOAM_FRAME_RESERVE);
		down();
	}
}

/* What waits is bounded. */
static void many_pieces(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		uint64_t most = 0;

		up(mode);
		for (unsigned i = 0; i < 8 * PAGES; i += 2) {
			assert_int_equal(
				loam_sys_unused_later(base + i * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE),
				LOAM_OK);
			most = stats().waiting_frames > most ? stats().waiting_frames : most;
		}
		assert_in_range(most, 2, PAGES);
		assert_int_equal(stats().deferred_frames, 4 * PAGES);
		assert_int_equal(loam_sys_unused_later(base, LOAM_PAGE_SIZE), LOAM_OK);
		assert_int_equal(stats().deferred_frames, 4 * PAGES); /* nothing was there */
		assert_int_equal(loam_sys_unused_later(base + 1, LOAM_PAGE_SIZE), LOAM_INVAL);
		down();
	}
}

/* CPUs come and go, idle and pass; memory is used and unused; what is written is read by all. */
static void any_order(void **state)
{
	(void)state;
	for_each_mode(mode)
	{
		struct rng rng = {test_seed()};
		bool idle[FAKE_CPUS] = {false};

		up(mode);
		for (unsigned step = 0; step < 4000; step++) {
			unsigned cpu = (unsigned)rng_below(&rng, FAKE_CPUS);
			unsigned page = (unsigned)rng_below(&rng, 7 * PAGES);
			unsigned n = 1 + (unsigned)rng_below(&rng, PAGES);
			uintptr_t va = base + page * LOAM_PAGE_SIZE;
			uint64_t value;

			fake_run_on(cpu);
			if (idle[cpu]) {
				wake(cpu);
				fake_run_on(cpu);
				idle[cpu] = false;
			}
			switch (rng_below(&rng, 6)) {
			case 0:
				assert_int_equal(loam_sys_unused_later(va, n * LOAM_PAGE_SIZE),
						 LOAM_OK);
				break;
			case 1:
				assert_int_equal(loam_sys_unused(va, LOAM_PAGE_SIZE), LOAM_OK);
				break;
			case 2:
				rest(cpu);
				idle[cpu] = true;
				break;
			case 3:
				loam_cpu_quiescent();
				break;
			case 4:
				if (step % 16 == 0) {
					fake_sleep(cpu, true); /* frames may go back as it goes */
					loam_cpu_offline();
					fake_sleep(cpu, false);
					assert_int_equal(loam_cpu_online(), LOAM_OK);
				}
				break;
			default:
				assert_int_equal(loam_sys_used(va, LOAM_PAGE_SIZE, NULL), LOAM_OK);
				assert_true(fake_write(cpu, va, step));
				for (unsigned other = 0; other < FAKE_CPUS; other++) {
					if (idle[other])
						continue;
					assert_true(fake_read(other, va, &value));
					assert_int_equal(value, step);
				}
				break;
			}
		}
		for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
			if (idle[cpu])
				wake(cpu);
		}
		fake_run_on(0);
		down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_interrupted),
		cmocka_unit_test(idle_counts_as_passed),
		cmocka_unit_test(the_last_one_out_of_idle_gives_back),
		cmocka_unit_test(the_way_out_of_idle_flushes),
		cmocka_unit_test(the_last_one_gives_the_frames_back),
		cmocka_unit_test(a_thread_may_move),
		cmocka_unit_test(a_cpu_that_was_refused),
		cmocka_unit_test(use_settles),
		cmocka_unit_test(many_pieces),
		cmocka_unit_test(any_order),
	};
	return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
