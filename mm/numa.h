/* SPDX-License-Identifier: MIT */
/* Which node: of an address, as the firmware says, and of a CPU. Public half: <loam/numa.h>. */
#ifndef LOAM_MM_NUMA_H
#define LOAM_MM_NUMA_H

#include <loam/cpu.h>
#include <loam/host.h>
#include <loam/numa.h>

/* Take the ranges over, by copy; `count` may be 0. Fails, with nothing changed: INVAL a node out of
 * range, or more ranges than can be kept. Context: boot CPU, before loam_zone_init. */
LOAM_MUST_USE enum loam_err loam_numa_init(const struct loam_node_range *range, size_t count);
/* One node, all CPUs on it. */
void loam_numa_reset(void);

/* Node of the memory at `pfn`; `*end` becomes the first frame behind it that may be of another. */
unsigned loam_numa_of(uint64_t pfn, uint64_t *end);

extern unsigned loam_numa_nodes;	    /* boot only: loam_node_count() */
extern uint8_t loam_numa_cpu[LOAM_CPU_MAX]; /* atomic, relaxed: a preference, nothing hangs on it */

/* Node of the running CPU. Context: any; a guess unless the caller cannot change CPUs. */
static inline unsigned loam_numa_here(void)
{
	if (loam_numa_nodes == 1)
		return 0;
	return __atomic_load_n(&loam_numa_cpu[loam_host_cpu_id()], __ATOMIC_RELAXED);
}

#endif
