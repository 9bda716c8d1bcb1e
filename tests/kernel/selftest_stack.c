/* SPDX-License-Identifier: MIT */
/* Stacks on the machine: kept when they are freed; what they cost. [POOL-1], [POOL-2] */
#include "tests/kernel/selftest.h"

#include "boot/smp.h"
#include "mm/print.h"

#include <loam/stack.h>

#define BYTES  ((size_t)64 << 10)
#define ROUNDS 500u
#define MANY   (loam_smp_count() > 1 ? 1000u : 10000u) /* each that is freed interrupts the others */

/* The stack freed last is taken first, and nobody touches it in between. */
static void freed_stacks_come_back(const struct loam_boot_info *info)
{
	struct loam_stack_stats before, stats;
	struct loam_frame_stats kept, taken;
	struct loam_stack s, copy;

	(void)info;
	(void)loam_stack_pool_release();
	loam_stack_stats(&before);
	EXPECT(before.pooled == 0 && before.pooled_bytes == 0);
	EXPECT(loam_stack_alloc(BYTES, &s) == LOAM_OK);
	for (unsigned k = 1; k <= 5; k++)
		*(volatile uint64_t *)(s.high - k * LOAM_PAGE_SIZE) = k;
	EXPECT(loam_stack_committed(&s) == 5 * LOAM_PAGE_SIZE);
	copy = s;
	EXPECT(loam_stack_free(&s) == LOAM_OK);
	EXPECT(loam_stack_free(&copy) == LOAM_INVAL);
	loam_stack_stats(&stats);
	EXPECT(stats.pooled == 1 && stats.pooled_bytes == LOAM_PAGE_SIZE);
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, copy.high - LOAM_PAGE_SIZE - 8));
	loam_oracle_look("a stack that was freed and is kept");
	loam_frame_stats(&kept);
	EXPECT(loam_stack_alloc(BYTES, &s) == LOAM_OK);
	loam_frame_stats(&taken);
	EXPECT(s.low == copy.low && kept.free == taken.free);
	EXPECT(loam_stack_committed(&s) == LOAM_PAGE_SIZE);
	for (unsigned k = 1; k <= BYTES / LOAM_PAGE_SIZE; k++)
		*(volatile uint64_t *)(s.high - k * LOAM_PAGE_SIZE) = k;
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, s.low - 8));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, s.high));
	EXPECT(loam_stack_free(&s) == LOAM_OK);
	loam_stack_stats(&stats);
	EXPECT(stats.reused == before.reused + 1);
	EXPECT(loam_stack_pool_release() == LOAM_PAGE_SIZE);
}

/* As many as fit, up to 10,000, with one page used in each: linked through that page. */
static void many_stacks(const struct loam_boot_info *info)
{
	struct loam_frame_stats before, after;
	struct loam_stack s, top = {0};
	uint64_t count = 0;

	(void)info;
	(void)loam_stack_pool_release();
	loam_frame_stats(&before);
	while (count < MANY && count < before.free / 4 && loam_stack_alloc(BYTES, &s) == LOAM_OK) {
		((struct loam_stack *)s.high)[-1] = top;
		top = s;
		count++;
	}
	loam_frame_stats(&after);
	loam_log(LOAM_LOG_INFO,
		 "# %llu stacks of 64 KiB: %llu bytes each, tables and records too\n",
		 (unsigned long long)count,
		 (unsigned long long)((before.free - after.free) * LOAM_PAGE_SIZE / count));
	EXPECT((before.free - after.free) * LOAM_PAGE_SIZE <= count * 8192);
	while (count-- > 0) {
		s = top;
		top = ((struct loam_stack *)s.high)[-1];
		EXPECT(loam_stack_free(&s) == LOAM_OK);
	}
	(void)loam_stack_pool_release();
	loam_frame_stats(&after);
	EXPECT(after.owner_frames[LOAM_OWNER_STACK] == before.owner_frames[LOAM_OWNER_STACK]);
}

/* Measured, never judged. Both halves of the pair, one stack at a time. */
static void what_a_stack_costs(const struct loam_boot_info *info)
{
	uint64_t start, plain;
	struct loam_stack s;

	(void)info;
	(void)loam_stack_pool_release();
	start = loam_host_now_ns();
	for (unsigned i = 0; i < ROUNDS; i++) {
		EXPECT(loam_stack_alloc(BYTES, &s) == LOAM_OK);
		EXPECT(loam_stack_free(&s) == LOAM_OK);
	}
	plain = loam_host_now_ns() - start;
	start = loam_host_now_ns();
	for (unsigned i = 0; i < ROUNDS; i++) {
		EXPECT(loam_stack_alloc(BYTES, &s) == LOAM_OK);
		for (unsigned k = 1; k <= 3; k++)
			*(volatile uint64_t *)(s.high - k * LOAM_PAGE_SIZE) = k;
		EXPECT(loam_stack_free(&s) == LOAM_OK);
	}
	loam_log(LOAM_LOG_INFO,
		 "# 64 KiB of stack taken and freed: %llu ns; with 3 pages used %llu ns\n",
		 (unsigned long long)(plain / ROUNDS),
		 (unsigned long long)((loam_host_now_ns() - start) / ROUNDS));
}

const struct selftest loam_selftest_stack[] = {
	{"stack: the one freed last comes back", freed_stacks_come_back},
	{"stack: many of them", many_stacks},
	{"stack: what one costs", what_a_stack_costs},
	{NULL, NULL},
};
