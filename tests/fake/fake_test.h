/* SPDX-License-Identifier: MIT */
/* A test in every mode of this ISA: `fake_state` tells which. */
#ifndef LOAM_TESTS_FAKE_TEST_H
#define LOAM_TESTS_FAKE_TEST_H

#include "mm/frame.h"
#include "mm/memmap.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/tlb.h"
#include "tests/fake/fake.h"
#include "tests/host/support.h"

#include <loam/loam.h>

/* The machine is on and its frames are with the frame allocator. */
static inline void fake_frames_up(const struct fake_mode *mode, uint64_t seed)
{
	struct loam_mem_entry entry[FAKE_RANGES + 1];
	static struct loam_memmap map;

	fake_up_default(&mode->mmu, seed);
	assert_int_equal(loam_memmap_sanitise(entry, fake_memmap(entry), mode->mmu.pa_bits, &map),
			 LOAM_OK);
	assert_int_equal(loam_frame_init(&map), LOAM_OK);
	loam_tlb_reset();
	fake_join();
}

static inline void fake_frames_down(void)
{
	loam_frame_verify();
	loam_frame_reset();
	fake_down();
}

/* After loam_mm_init on CPU 0: the others come online. */
static inline void fake_online(void)
{
	for (unsigned cpu = 0; cpu < fake_cpu_count(); cpu++) {
		fake_run_on(cpu);
		assert_int_equal(loam_cpu_online(), cpu == 0 ? LOAM_EXIST : LOAM_OK);
	}
	fake_run_on(0);
}

/* The machine is on: all of mm comes up, on all CPUs, with a window of 8 GiB. Returns its base. */
static inline uintptr_t fake_mm_up(const struct fake_mode *mode, bool no_gigapage)
{
	static struct loam_mem_entry entry[FAKE_RANGES + 1];
	struct loam_config config = {0};

	config.memmap = entry;
	config.memmap_count = fake_memmap(entry);
	config.direct_map_offset = mode->mmu.va_min + ((uintptr_t)1 << 46);
	config.window_base = mode->mmu.va_min + 7 * LOAM_GIANT_SIZE;
	config.window_bytes = 8 * LOAM_GIANT_SIZE;
	config.no_gigapage = no_gigapage;
	assert_int_equal(loam_mm_init(&config), LOAM_OK);
	fake_online();
	return config.window_base;
}

/* A CPU touches memory as a program does: traps go to the handler, and the touch is tried again. */
static inline bool touch(unsigned cpu, uintptr_t va, enum loam_access access)
{
	for (unsigned tries = 0; tries < 3; tries++) {
		struct loam_fault fault = {.addr = va, .access = access};
		struct loam_ptab_slot slot;
		bool mended;

		if (fake_touch(cpu, va, access, NULL))
			return true;
		loam_ptab_walk(loam_space_ptab(), va, 0, &slot);
		fault.present = slot.kind == LOAM_PTE_LEAF;
		fake_run_on(cpu);
		mended = loam_fault_handle(&fault);
		fake_run_on(0);
		if (!mended)
			return false;
	}
	fail_msg("a fault that is handled comes back for ever");
	return false;
}

static inline uint64_t free_frames(void)
{
	struct loam_frame_stats stats;

	loam_frame_stats(&stats);
	return stats.free;
}

#define for_each_mode(m) \
	for (const struct fake_mode *m = fake_modes; m < fake_modes + fake_mode_count; m++)

#endif
