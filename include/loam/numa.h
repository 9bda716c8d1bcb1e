/* SPDX-License-Identifier: MIT */
/*
 * NUMA: which memory is near which CPU. A kernel whose machine has one node does nothing of this:
 * everything is node 0.
 */
#ifndef LOAM_NUMA_H
#define LOAM_NUMA_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_NODE_MAX 8u

/*
 * Physical addresses [base, base + size) belong to `node`, below LOAM_NODE_MAX. For
 * loam_config.nodes: any order; where ranges overlap the first counts; memory in none is node 0's.
 */
struct loam_node_range {
	uint64_t base, size;
	unsigned node;
};

/*
 * CPU `cpu` is on `node` (0 until told): its requests are served from there while there is
 * memory. A node may have no memory. Fails: INVAL out of range. Context: any, before or after the CPU
 * comes online.
 */
LOAM_MUST_USE enum loam_err loam_cpu_set_node(unsigned cpu, unsigned node);

/* Nodes with memory: the highest that loam_config.nodes named, and one; at least 1. Context: any. */
unsigned loam_node_count(void);

struct loam_node_stats {
	uint64_t total; /* usable frames */
	uint64_t free;	/* of those; what CPUs keep close at hand is not among them */
};

/* Fails: INVAL no such node (stats untouched). Context: any. */
LOAM_MUST_USE enum loam_err loam_node_stats(unsigned node, struct loam_node_stats *stats);

/* Node of a frame. Fails: NOENT not RAM of ours. Context: any. */
LOAM_MUST_USE enum loam_err loam_frame_node(struct loam_pfn pfn, unsigned *node);

#ifdef __cplusplus
}
#endif

#endif
