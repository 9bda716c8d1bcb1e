/* SPDX-License-Identifier: MIT */
/*
 * The fake machine: RAM with holes, a software MMU, CPUs with TLBs that forget nothing by
 * themselves. What it checks, and how, stands in fake.c. A violation is a panic that begins
 * "fake: ".
 */
#ifndef LOAM_TESTS_FAKE_H
#define LOAM_TESTS_FAKE_H

#include "arch/mmu.h"

#include <loam/memmap.h>
#include <loam/vm.h>

#define FAKE_CPUS   4u
#define FAKE_RANGES 4u

struct fake_range {
	uint64_t base, size; /* bytes; frame-aligned */
};

/* A paging mode to run in, and values worked out by hand from the manual. */
struct fake_mode {
	const char *name;
	struct loam_mmu mmu;
};

struct fake_golden {
	unsigned mode; /* index into fake_modes */
	unsigned level;
	uint64_t pa;
	uint32_t attr;
	uint64_t pte;
};

extern const struct fake_mode fake_modes[];
extern const unsigned fake_mode_count;
extern const struct fake_golden fake_goldens[];
extern const unsigned fake_golden_count;

/* Power on: `range_count` stretches of RAM, all junk; the root table is the first frame of the
 * first one. There are FAKE_CPUS CPUs. */
void fake_up(const struct loam_mmu *mmu, const struct fake_range *range, unsigned range_count,
	     uint64_t seed);
void fake_down(void);

/* All CPUs take part in invalidations: for tests below mm/sys.c, where none calls
 * loam_cpu_online. */
void fake_join(void);

/* A machine of the given size with a hole in its RAM, at addresses that are no pointers. */
void fake_up_default(const struct loam_mmu *mmu, uint64_t seed);
/* Its memory map, the root reserved. Returns the number of entries, at most FAKE_RANGES + 1. */
size_t fake_memmap(struct loam_mem_entry *entry);

struct loam_paddr fake_root(void);
unsigned fake_cpu_count(void);
/* The code under test runs on this CPU from now on (0 at first). */
void fake_run_on(unsigned cpu);
unsigned fake_running(void);
/* The CPU sleeps: it touches nothing, and nobody minds what its TLB holds. Then it wakes, and the TLB
 * is as it was. */
void fake_sleep(unsigned cpu, bool asleep);

/* Another CPU takes the shootdown interrupt: at once, so that a test runs on. With
 * fake_deafen, never. */
void fake_interrupt(unsigned cpu);
void fake_deafen(unsigned cpu);
/* Preemption: the next time that the code under test asks for its CPU with interrupts on, it goes on
 * running on CPU `to`. FAKE_CPUS: no more. */
void fake_migrate(unsigned to);
/* Called once, at the beginning of the next flush of a whole TLB: what others do meanwhile. */
void fake_meanwhile(void (*others)(void));
void fake_others_act(void);
/* Called at the end of each invalidation, and not within itself, until the next fake_up; NULL: no more. */
void fake_forgotten(void (*others)(void));
/* Called each time that the code under test lets interrupts in again, and not within itself; NULL: no more. */
void fake_between(void (*others)(void));
const struct loam_mmu *fake_mmu(void);

/* A frame nobody has: for tests below the frame allocator. */
struct loam_paddr fake_frame(void);

/* CPU `cpu` touches `va`: false if it faults. Fills its TLB; `*pa` (may be NULL) is where. */
bool fake_touch(unsigned cpu, uint64_t va, enum loam_access access, struct loam_paddr *pa);
bool fake_read(unsigned cpu, uint64_t va, uint64_t *value);
bool fake_write(unsigned cpu, uint64_t va, uint64_t value);
/* With true no CPU writes but when it is told to, until the next fake_up. */
void fake_calm(bool calm);
/* Called for each write that a CPU makes, also those that nobody asked for; `base` and `size` are of its TLB's entry. */
void fake_on_write(void (*wrote)(uint64_t va, uint64_t base, uint64_t size));
/* Every CPU reads every page of the range, so that all TLBs know it. */
void fake_spread(uint64_t va, uint64_t size);

/* An operation has returned: nothing is stale, nothing unpublished. */
void fake_settled(void);

/* Entries in all TLBs that map a byte of the range. */
unsigned fake_cached(uint64_t va, uint64_t size);

/* Invalidations since fake_up: single entries, and whole flushes. */
uint64_t fake_invalidated(void);
uint64_t fake_flushed(void);
/* Stores to live entries, publications and invalidations since the program began: each was checked
 * against the rules. */
uint64_t fake_events(void);

/* Called by the wrapped loam_frame_free: nobody may reach the run any more. */
void fake_check_free(struct loam_pfn pfn, unsigned order);

#endif
