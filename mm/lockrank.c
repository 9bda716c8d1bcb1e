/* SPDX-License-Identifier: MIT */
/*
 * Which locks each CPU holds: a set of ranks. A CPU holds its locks with interrupts off, so its own
 * word is touched by nobody else. The order is checked at LOAM_DEBUG >= 1. [LOCK-1] A lock is
 * taken only while every held lock has a smaller rank.
 */
#include "arch/check.h"
#include "mm/lockrank.h"

#define CPU_MAX 64u

/* Each by its own CPU, and a cache line each: every lock writes here. */
static struct {
	uint32_t ranks;
} __attribute__((aligned(64))) held[CPU_MAX];

void loam_lockrank_acquire(uint32_t rank)
{
	unsigned cpu = loam_host_cpu_id();

	LOAM_CHECK(cpu < CPU_MAX, "loam_host_cpu_id must be below 64");
	if (LOAM_DEBUG >= 1)
		LOAM_CHECK(held[cpu].ranks >> rank == 0,
			   "[LOCK-1] lock order violated: see mm/lockrank.h");
	held[cpu].ranks |= 1u << rank;
}

void loam_lockrank_release(uint32_t rank)
{
	held[loam_host_cpu_id()].ranks &= ~(1u << rank);
}

bool loam_lockrank_held(void)
{
	return held[loam_host_cpu_id()].ranks != 0;
}

void loam_lockrank_reset(void)
{
	held[loam_host_cpu_id()].ranks = 0;
}
