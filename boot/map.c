/* SPDX-License-Identifier: MIT */
/* The list of memory that the firmware readers fill. */
#include "boot/boot.h"

void loam_boot_map_add(struct loam_boot_map *m, uint64_t base, uint64_t size,
		       enum loam_mem_type type, const char *what)
{
	if (size == 0)
		return;
	if (m->count == LOAM_BOOT_ENTRIES) {
		m->lost++;
		return;
	}
	m->entry[m->count++] = (struct loam_mem_entry){base, size, type, what};
}

void loam_boot_node_add(struct loam_boot_map *m, uint64_t base, uint64_t size, uint32_t node)
{
	if (size > 0 && m->node_range_count < LOAM_BOOT_NODES)
		m->node_range[m->node_range_count++] = (struct loam_node_range){base, size, node};
}

/* The lowest of the firmware's nodes that is at least `from`; false: there is none. */
static bool next_node(const struct loam_boot_map *m, uint64_t from, uint64_t *node)
{
	bool any = false;

	for (size_t i = 0; i < m->node_range_count; i++) {
		uint64_t n = m->node_range[i].node;

		if (n >= from && (!any || n < *node)) {
			*node = n;
			any = true;
		}
	}
	for (unsigned i = 0; i < m->cpu_count; i++) {
		uint64_t n = m->cpu_node[i] - 1;

		if (m->cpu_node[i] != 0 && n >= from && (!any || n < *node)) {
			*node = n;
			any = true;
		}
	}
	return any;
}

void loam_boot_nodes_settle(struct loam_boot_map *m)
{
	uint64_t node[LOAM_NODE_MAX], from = 0;
	unsigned count = 0;
	size_t kept = 0;

	while (count < LOAM_NODE_MAX && next_node(m, from, &node[count]))
		from = node[count++] + 1;
	for (size_t i = 0; i < m->node_range_count; i++) {
		for (unsigned n = 0; n < count; n++) {
			if (node[n] != m->node_range[i].node)
				continue;
			m->node_range[kept] = m->node_range[i];
			m->node_range[kept++].node = n;
			break;
		}
	}
	m->node_range_count = kept;
	for (unsigned i = 0; i < m->cpu_count; i++) {
		uint64_t told = m->cpu_node[i];

		m->cpu_node[i] = 0;
		for (unsigned n = 0; n < count; n++)
			m->cpu_node[i] = told != 0 && node[n] == told - 1 ? n : m->cpu_node[i];
	}
}
