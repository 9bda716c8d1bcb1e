/* SPDX-License-Identifier: MIT */
/*
 * A device tree reader for what a memory subsystem must know. No tree is built: one pass over
 * the structure block with a small stack of the nodes that are open. Properties come before
 * child nodes in a flattened tree, so a node is judged when its first child or its end comes.
 *
 * The blob is untrusted: offsets and lengths are checked against its size before each read,
 * strings must end inside it, depth is bounded.
 */
#include "boot/fdt.h"

#define FDT_MAGIC      0xd00dfeedu
#define FDT_BEGIN_NODE 1u
#define FDT_END_NODE   2u
#define FDT_PROP       3u
#define FDT_NOP	       4u
#define FDT_END	       9u
#define HEADER_BYTES   40u
#define DEPTH_MAX      16u

struct node {
	const char *name;
	uint32_t address_cells, size_cells; /* for its children */
	const uint8_t *reg;
	uint32_t reg_bytes;
	uint32_t numa_node;
	bool has_numa_node;
	unsigned gic; /* version, or 0 */
	bool is_memory, is_cpu, is_pl011, disabled, judged;
};

struct reader {
	const uint8_t *blob;
	size_t size;
	uint32_t struct_at, struct_end, strings_at, strings_end;
	struct node node[DEPTH_MAX];
	unsigned depth; /* open nodes */
	struct loam_boot_map *map;
	uint64_t initrd_start, initrd_end;
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t cells(const uint8_t *p, uint32_t count)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < count; i++)
		v = v << 32 | be32(p + 4 * i);
	return v;
}

static bool same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Is `name` the node name `want`, with or without a unit address? */
static bool node_is(const char *name, const char *want)
{
	while (*want != '\0' && *name == *want) {
		name++;
		want++;
	}
	return *want == '\0' && (*name == '\0' || *name == '@');
}

/* Does a string list of `len` bytes hold `want`? */
static bool list_has(const uint8_t *list, uint32_t len, const char *want)
{
	uint32_t start = 0;

	for (uint32_t i = 0; i < len; i++) {
		if (list[i] == '\0') {
			if (same((const char *)list + start, want))
				return true;
			start = i + 1;
		}
	}
	return false;
}

uint32_t loam_fdt_size(const void *blob)
{
	const uint8_t *p = blob;
	uint32_t total = be32(p + 4);

	return be32(p) == FDT_MAGIC && total >= HEADER_BYTES && total <= 2u << 20 ? total : 0;
}

/* ---- what a finished node means ---- */

static void add_regs(struct reader *r, const struct node *n, const struct node *parent,
		     enum loam_mem_type type, const char *what)
{
	uint32_t ac = parent->address_cells, sc = parent->size_cells, step = 4 * (ac + sc);

	if (ac == 0 || ac > 2 || sc == 0 || sc > 2)
		return;
	for (uint32_t at = 0; at + step <= n->reg_bytes; at += step) {
		uint64_t base = cells(n->reg + at, ac), size = cells(n->reg + at + 4 * ac, sc);

		loam_boot_map_add(r->map, base, size, type, what);
		if (type == LOAM_MEM_USABLE && n->has_numa_node)
			loam_boot_node_add(r->map, base, size, n->numa_node);
	}
}

/* `reg` of a CPU node is its MPIDR's affinity. */
static void add_cpu(struct reader *r, const struct node *n, const struct node *parent)
{
	uint32_t ac = parent->address_cells;

	if (ac < 1 || ac > 2 || n->reg_bytes < 4 * ac || r->map->cpu_count >= LOAM_BOOT_CPUS)
		return;
	r->map->cpu_node[r->map->cpu_count] = n->has_numa_node ? (uint64_t)n->numa_node + 1 : 0;
	r->map->cpu_hw_id[r->map->cpu_count++] = cells(n->reg, ac);
}

/* `reg` of an interrupt controller: the distributor; the CPU interface, or the redistributors. */
static void add_gic(struct reader *r, const struct node *n, const struct node *parent)
{
	uint32_t ac = parent->address_cells, sc = parent->size_cells, step = 4 * (ac + sc);

	if (ac < 1 || ac > 2 || sc < 1 || sc > 2 || n->reg_bytes < 2 * step || r->map->gic != 0)
		return;
	r->map->gic = n->gic;
	r->map->gic_dist_pa = cells(n->reg, ac);
	r->map->gic_cpu_pa = cells(n->reg + step, ac);
	r->map->gic_cpu_bytes = cells(n->reg + step + 4 * ac, sc);
}

static void judge(struct reader *r)
{
	struct node *n = &r->node[r->depth - 1];
	const struct node *parent = r->depth > 1 ? n - 1 : n;

	if (n->judged)
		return;
	n->judged = true;
	if (n->disabled || n->reg == NULL)
		return;
	if (n->is_memory && r->depth == 2)
		add_regs(r, n, parent, LOAM_MEM_USABLE, NULL);
	else if (r->depth == 3 && node_is(parent->name, "reserved-memory"))
		add_regs(r, n, parent, LOAM_MEM_RESERVED, NULL);
	else if (n->is_cpu && node_is(parent->name, "cpus"))
		add_cpu(r, n, parent);
	else if (n->gic != 0)
		add_gic(r, n, parent);
	else if (n->is_pl011 && r->map->console_pa == 0 && parent->address_cells >= 1 &&
		 parent->address_cells <= 2 && n->reg_bytes >= 4 * parent->address_cells)
		r->map->console_pa = cells(n->reg, parent->address_cells);
}

/* ---- properties ---- */

static uint64_t number(const uint8_t *value, uint32_t len)
{
	return len == 4 ? cells(value, 1) : len == 8 ? cells(value, 2) : 0;
}

static void chosen_property(struct reader *r, const char *name, const uint8_t *value, uint32_t len)
{
	if (same(name, "bootargs") && len > 0 && value[len - 1] == '\0')
		r->map->cmdline = (const char *)value;
	else if (same(name, "linux,initrd-start"))
		r->initrd_start = number(value, len);
	else if (same(name, "linux,initrd-end"))
		r->initrd_end = number(value, len);
}

static void property(struct reader *r, const char *name, const uint8_t *value, uint32_t len)
{
	struct node *n = &r->node[r->depth - 1];

	if (same(name, "#address-cells"))
		n->address_cells = (uint32_t)number(value, len);
	else if (same(name, "#size-cells"))
		n->size_cells = (uint32_t)number(value, len);
	else if (same(name, "reg")) {
		n->reg = value;
		n->reg_bytes = len;
	} else if (same(name, "device_type")) {
		n->is_memory = list_has(value, len, "memory");
		n->is_cpu = list_has(value, len, "cpu");
	} else if (same(name, "compatible")) {
		n->is_pl011 = list_has(value, len, "arm,pl011");
		n->gic = list_has(value, len, "arm,gic-v3") ? 3
			 : list_has(value, len, "arm,cortex-a15-gic") ||
					 list_has(value, len, "arm,gic-400")
				 ? 2
				 : 0;
	} else if (same(name, "numa-node-id") && len == 4) {
		n->numa_node = be32(value);
		n->has_numa_node = true;
	} else if (same(name, "status")) {
		n->disabled = !list_has(value, len, "okay") && !list_has(value, len, "ok");
	} else if (same(name, "method") && node_is(n->name, "psci")) {
		r->map->psci_smc = list_has(value, len, "smc");
	}
	if (r->depth == 2 && node_is(n->name, "chosen"))
		chosen_property(r, name, value, len);
}

/* ---- the structure block ---- */

/* A NUL-terminated string at `at`, or NULL if it does not end before `end`. */
static const char *string_at(const struct reader *r, uint32_t at, uint32_t end)
{
	for (uint32_t i = at; i < end; i++) {
		if (r->blob[i] == '\0')
			return (const char *)r->blob + at;
	}
	return NULL;
}

static const char *begin_node(struct reader *r, uint32_t *at)
{
	const char *name = string_at(r, *at, r->struct_end);
	uint32_t len = 0;

	if (name == NULL)
		return "device tree: node name runs out of the tree";
	if (r->depth == DEPTH_MAX)
		return "device tree: nested too deeply";
	if (r->depth > 0)
		judge(r);
	while (name[len] != '\0')
		len++;
	*at += (len + 4) & ~3u;
	r->node[r->depth++] = (struct node){.name = name, .address_cells = 2, .size_cells = 1};
	return NULL;
}

static const char *read_property(struct reader *r, uint32_t *at)
{
	const char *name;
	uint32_t len, name_at;

	if (r->struct_end - *at < 8 || r->depth == 0)
		return "device tree: property cut off";
	len = be32(r->blob + *at);
	name_at = be32(r->blob + *at + 4);
	*at += 8;
	if (len > r->struct_end - *at || name_at >= r->strings_end - r->strings_at)
		return "device tree: property runs out of the tree";
	name = string_at(r, r->strings_at + name_at, r->strings_end);
	if (name == NULL)
		return "device tree: property name runs out of the tree";
	property(r, name, r->blob + *at, len);
	if (((len + 3) & ~3u) > r->struct_end - *at)
		return "device tree: property runs out of the tree";
	*at += (len + 3) & ~3u;
	return NULL;
}

static const char *read_structure(struct reader *r)
{
	uint32_t at = r->struct_at;
	const char *bad = NULL;

	while (bad == NULL && at <= r->struct_end && r->struct_end - at >= 4) {
		uint32_t token = be32(r->blob + at);

		at += 4;
		switch (token) {
		case FDT_BEGIN_NODE:
			bad = begin_node(r, &at);
			break;
		case FDT_END_NODE:
			if (r->depth == 0)
				return "device tree: more ends than nodes";
			judge(r);
			r->depth--;
			break;
		case FDT_PROP:
			bad = read_property(r, &at);
			break;
		case FDT_NOP:
			break;
		case FDT_END:
			return r->depth == 0 ? NULL : "device tree: a node does not end";
		default:
			return "device tree: unknown token";
		}
	}
	return bad != NULL ? bad : "device tree: no end";
}

static const char *read_reservations(struct reader *r, uint32_t at)
{
	while (at <= r->size && r->size - at >= 16) {
		uint64_t base = cells(r->blob + at, 2), size = cells(r->blob + at + 8, 2);

		if (base == 0 && size == 0)
			return NULL;
		loam_boot_map_add(r->map, base, size, LOAM_MEM_RESERVED, NULL);
		at += 16;
	}
	return "device tree: the reservation block does not end";
}

static bool block_ok(const struct reader *r, uint32_t at, uint32_t bytes)
{
	return at >= HEADER_BYTES && at <= r->size && bytes <= r->size - at;
}

const char *loam_fdt_parse(const void *blob, size_t size, struct loam_boot_map *map)
{
	struct reader r = {.blob = blob, .size = size, .map = map};
	uint32_t struct_bytes, strings_bytes;
	const char *bad;

	if (size < HEADER_BYTES || loam_fdt_size(blob) == 0 || loam_fdt_size(blob) > size)
		return "no device tree here";
	r.size = loam_fdt_size(blob);
	if (be32(r.blob + 20) < 16)
		return "device tree: version too old";
	r.struct_at = be32(r.blob + 8);
	r.strings_at = be32(r.blob + 12);
	strings_bytes = be32(r.blob + 32);
	struct_bytes = be32(r.blob + 36);
	if (!block_ok(&r, r.struct_at, struct_bytes) || !block_ok(&r, r.strings_at, strings_bytes))
		return "device tree: a block lies outside of the tree";
	r.struct_end = r.struct_at + struct_bytes;
	r.strings_end = r.strings_at + strings_bytes;
	bad = read_structure(&r);
	if (bad == NULL)
		bad = read_reservations(&r, be32(r.blob + 16));
	if (bad != NULL)
		return bad;
	if (r.initrd_end > r.initrd_start) {
		map->initrd_pa = r.initrd_start;
		map->initrd_bytes = r.initrd_end - r.initrd_start;
		loam_boot_map_add(map, map->initrd_pa, map->initrd_bytes, LOAM_MEM_RESERVED,
				  "initrd");
	}
	return NULL;
}
