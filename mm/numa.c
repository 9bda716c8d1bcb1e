/* SPDX-License-Identifier: MIT */
/*
 * Which node: <loam/numa.h>. Ranges are copied at init and constant from then on; the node of a CPU is
 * a byte that anybody may read.
 *
 * Firmware tables overlap and wrap like its memory maps do: a range that wraps is cut at the top, the
 * first of those that overlap counts, and an address in none is node 0's.
 */
#include "mm/numa.h"

#include "mm/framecache.h"

#define RANGES 64u

static struct loam_node_range ranges[RANGES]; /* boot only; in frames, not bytes */
static size_t range_count;		      /* boot only */
unsigned loam_numa_nodes = 1;
uint8_t loam_numa_cpu[LOAM_CPU_MAX];

enum loam_err loam_numa_init(const struct loam_node_range *range, size_t count)
{
	if (count > RANGES)
		return LOAM_INVAL;
	for (size_t i = 0; i < count; i++) {
		if (range[i].node >= LOAM_NODE_MAX)
			return LOAM_INVAL;
	}
	loam_numa_nodes = 1;
	range_count = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t last = range[i].base + (range[i].size - 1);

		if (range[i].size == 0)
			continue;
		if (last < range[i].base)
			last = UINT64_MAX;
		ranges[range_count++] = (struct loam_node_range){
			.base = range[i].base >> LOAM_PAGE_SHIFT,
			.size = (last >> LOAM_PAGE_SHIFT) - (range[i].base >> LOAM_PAGE_SHIFT) + 1,
			.node = range[i].node,
		};
		if (range[i].node >= loam_numa_nodes)
			loam_numa_nodes = range[i].node + 1;
	}
	return LOAM_OK;
}

void loam_numa_reset(void)
{
	range_count = 0;
	loam_numa_nodes = 1;
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++)
		loam_numa_cpu[cpu] = 0;
}

unsigned loam_numa_of(uint64_t pfn, uint64_t *end)
{
	uint64_t stop = UINT64_MAX;

	for (size_t i = 0; i < range_count; i++) {
		const struct loam_node_range *r = &ranges[i];

		if (pfn - r->base < r->size) {
			*end = r->base + r->size < stop ? r->base + r->size : stop;
			return r->node;
		}
		if (r->base > pfn && r->base < stop)
			stop = r->base; /* an earlier range begins there, or the next one does */
	}
	*end = stop;
	return 0;
}

enum loam_err loam_cpu_set_node(unsigned cpu, unsigned node)
{
	if (cpu >= LOAM_CPU_MAX || node >= LOAM_NODE_MAX)
		return LOAM_INVAL;
	__atomic_store_n(&loam_numa_cpu[cpu], (uint8_t)node, __ATOMIC_RELAXED);
	(void)loam_framecache_drain(false); /* of where it seemed to be */
	return LOAM_OK;
}

unsigned loam_node_count(void)
{
	return loam_numa_nodes;
}
