/* SPDX-License-Identifier: MIT */
/* The inside of the fake machine, for its two files: what happens is in fake.c, what must hold in rules.c. */
#ifndef LOAM_TESTS_FAKE_MACHINE_H
#define LOAM_TESTS_FAKE_MACHINE_H

#include "tests/fake/fake.h"

#define TLB_ENTRIES  384u
#define WALK_ENTRIES 32u

struct fake_tlb {
	uint64_t va, pa, size; /* of the leaf, or of the contiguous run it is in */
	uint32_t attr;
	unsigned level;
	bool closed; /* a table above it forbade writing when it was cached */
};

/* A cached table entry: walks of [va, va + size of level) begin in `table`. */
struct fake_walk {
	uint64_t va;
	uint64_t table;
	unsigned level; /* of the entry that was cached; its table is one below */
	bool closed;	/* it, or one above it, forbade writing */
};

struct fake_cpu {
	struct fake_tlb tlb[TLB_ENTRIES];
	struct fake_walk walk[WALK_ENTRIES];
	unsigned tlb_count, walk_count;
	bool asleep;
	unsigned kept_tlb, kept_walk; /* counts, while it sleeps */
};

struct fake_frame {
	bool table; /* linked under the root */
	uint8_t level;
	uint32_t leaves; /* live leaves that map this frame */
	uint64_t va;
};

extern struct fake_cpu fake_cpu[FAKE_CPUS];

void fake_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* What the machine knows of the frame at `pa`; the entry there. Both: it must be RAM. */
struct fake_frame *fake_info_of(uint64_t pa);
uint64_t *fake_entry(uint64_t pa);
uint64_t fake_canonical(uint64_t raw);
/* Is there a store that page walks do not see yet? Of which entry? */
bool fake_unpublished(uint64_t *pa);

static inline bool fake_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a - b < b_size || b - a < a_size;
}

#endif
