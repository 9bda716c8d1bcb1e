/* SPDX-License-Identifier: MIT */
/* Theory: boot/acpi.h. Nothing is trusted: sums, lengths and counts are checked. */
#include "boot/acpi.h"

#define TABLE_MAX  65536u
#define TABLES_MAX 128u

struct source {
	loam_pvh_read *read;
	void *context;
};

static bool get(const struct source *s, uint64_t pa, void *to, size_t size)
{
	return s->read(s->context, pa, to, size);
}

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

static bool sum_ok(const struct source *s, uint64_t pa, uint32_t size)
{
	uint8_t sum = 0, byte;

	for (uint32_t i = 0; i < size; i++) {
		if (!get(s, pa + i, &byte, 1))
			return false;
		sum = (uint8_t)(sum + byte);
	}
	return sum == 0;
}

static bool same(const uint8_t *a, const char *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (a[i] != (uint8_t)b[i])
			return false;
	}
	return true;
}

static bool is_rsdp(const struct source *s, uint64_t pa)
{
	uint8_t name[8];

	return get(s, pa, name, 8) && same(name, "RSD PTR ", 8) && sum_ok(s, pa, 20);
}

/* Where a PC keeps it: the BIOS area, on 16-byte boundaries. */
static uint64_t find_rsdp(const struct source *s)
{
	for (uint64_t pa = 0xe0000; pa < 0x100000; pa += 16) {
		if (is_rsdp(s, pa))
			return pa;
	}
	return 0;
}

/* Size of the table at `pa` if its header is sound, else 0. */
static uint32_t table_size(const struct source *s, uint64_t pa, uint8_t *name)
{
	uint8_t head[36];
	uint32_t size;

	if (!get(s, pa, head, sizeof(head)))
		return 0;
	size = le32(head + 4);
	if (size < sizeof(head) || size > TABLE_MAX || !sum_ok(s, pa, size))
		return 0;
	for (unsigned i = 0; i < 4; i++)
		name[i] = head[i];
	return size;
}

struct found {
	uint64_t lapic_pa, id[LOAM_BOOT_CPUS];
	unsigned count;
};

static void add_cpu(struct found *found, uint64_t id)
{
	if (found->count < LOAM_BOOT_CPUS)
		found->id[found->count++] = id;
}

/* Entries from byte 44 on: type, length, and for a local APIC (0): processor, id, flags; for a
 * local x2APIC (9): two reserved, id, flags. Flags bit 0: usable. */
static const char *read_madt(const struct source *s, uint64_t pa, uint32_t size,
			     struct found *found)
{
	uint8_t e[16];

	if (size < 44 || !get(s, pa + 36, e, 4))
		return "ACPI: MADT too short";
	found->lapic_pa = le32(e);
	for (uint32_t at = 44; at + 2 <= size;) {
		if (!get(s, pa + at, e, 2) || e[1] < 2 || e[1] > size - at)
			return "ACPI: MADT entry runs out of the table";
		if (e[0] == 0 && e[1] >= 8 && get(s, pa + at, e, 8) && (le32(e + 4) & 1) != 0)
			add_cpu(found, e[3]);
		else if (e[0] == 9 && e[1] >= 16 && get(s, pa + at, e, 16) &&
			 (le32(e + 8) & 1) != 0)
			add_cpu(found, le32(e + 4));
		at += e[1];
	}
	return found->count > 0 ? NULL : "ACPI: MADT names no CPU";
}

/* Walk from the RSDP to the first sound table called `want`: its address and size. 0: there is none, or
 * `*bad` says what is wrong. */
static uint64_t find_table(const struct source *s, uint64_t rsdp_pa, const char *want,
			   uint32_t *bytes, const char **bad)
{
	uint64_t root;
	uint32_t size, width;
	uint8_t rsdp[36] = {0}, name[4];

	*bad = NULL;
	if (rsdp_pa == 0 || !is_rsdp(s, rsdp_pa))
		rsdp_pa = find_rsdp(s);
	if (rsdp_pa == 0 || !get(s, rsdp_pa, rsdp, 20) ||
	    (rsdp[15] >= 2 && !get(s, rsdp_pa, rsdp, 36))) {
		*bad = "ACPI: no RSDP";
		return 0;
	}
	width = rsdp[15] >= 2 && (le32(rsdp + 24) | le32(rsdp + 28)) != 0 ? 8 : 4;
	root = width == 8 ? le64(rsdp + 24) : le32(rsdp + 16);
	size = table_size(s, root, name);
	if (size == 0)
		*bad = "ACPI: no RSDT or XSDT";
	for (uint32_t i = 0; i < TABLES_MAX && 36 + (i + 1) * width <= size; i++) {
		uint8_t pointer[8] = {0};

		if (!get(s, root + 36 + i * width, pointer, width)) {
			*bad = "ACPI: RSDT outside of memory";
			return 0;
		}
		*bytes = table_size(s, le64(pointer), name);
		if (*bytes != 0 && same(name, want, 4))
			return le64(pointer);
	}
	return 0;
}

const char *loam_acpi_parse(loam_pvh_read *read, void *context, uint64_t rsdp_pa,
			    struct loam_boot_map *map)
{
	struct source s = {read, context};
	struct found found = {0};
	const char *bad;
	uint32_t bytes;
	uint64_t madt = find_table(&s, rsdp_pa, "APIC", &bytes, &bad);

	if (madt == 0)
		return bad != NULL ? bad : "ACPI: no MADT";
	bad = read_madt(&s, madt, bytes, &found);
	if (bad != NULL)
		return bad;
	map->lapic_pa = found.lapic_pa;
	map->cpu_count = found.count;
	for (unsigned c = 0; c < found.count; c++)
		map->cpu_hw_id[c] = found.id[c];
	return NULL;
}

/* ---- nodes ---- */

/* The first entry for a CPU wins. */
static void add_cpu_node(struct loam_boot_map *map, uint64_t id, uint32_t node)
{
	for (unsigned c = 0; c < map->cpu_count; c++) {
		if (map->cpu_hw_id[c] == id && map->cpu_node[c] == 0)
			map->cpu_node[c] = (uint64_t)node + 1;
	}
}

/* One entry of known length: a local APIC (0), memory (1), a local x2APIC (2). Flags bit 0: enabled. In
 * revision 1 of the table a domain is 8 bits, and what became the others is undefined. */
static void read_affinity(struct loam_boot_map *map, const uint8_t *e, uint8_t revision)
{
	uint32_t mask = revision >= 2 ? UINT32_MAX : 0xff;

	if (e[0] == 0 && e[1] >= 16 && (le32(e + 4) & 1) != 0)
		add_cpu_node(map, e[3],
			     (e[2] | (uint32_t)e[9] << 8 | (uint32_t)e[10] << 16 |
			      (uint32_t)e[11] << 24) &
				     mask);
	else if (e[0] == 1 && e[1] >= 40 && (le32(e + 28) & 1) != 0)
		loam_boot_node_add(map, le64(e + 8), le64(e + 16), le32(e + 2) & mask);
	else if (e[0] == 2 && e[1] >= 24 && (le32(e + 12) & 1) != 0)
		add_cpu_node(map, le32(e + 8), le32(e + 4));
}

/* Entries from byte 48 on: type, length. */
static const char *read_srat(const struct source *s, uint64_t pa, uint32_t size,
			     struct loam_boot_map *map)
{
	uint8_t revision;

	if (size < 48 || !get(s, pa + 8, &revision, 1))
		return "ACPI: SRAT too short";
	for (uint32_t at = 48; at + 2 <= size;) {
		uint8_t e[40] = {0};

		if (!get(s, pa + at, e, 2) || e[1] < 2 || e[1] > size - at ||
		    !get(s, pa + at, e, e[1] < sizeof(e) ? e[1] : sizeof(e)))
			return "ACPI: SRAT entry runs out of the table";
		read_affinity(map, e, revision);
		at += e[1];
	}
	return NULL;
}

const char *loam_acpi_nodes(loam_pvh_read *read, void *context, uint64_t rsdp_pa,
			    struct loam_boot_map *map)
{
	struct source s = {read, context};
	const char *bad;
	uint32_t bytes;
	uint64_t srat = find_table(&s, rsdp_pa, "SRAT", &bytes, &bad);

	if (srat == 0)
		return bad;
	bad = read_srat(&s, srat, bytes, map);
	if (bad == NULL)
		return NULL;
	map->node_range_count = 0;
	for (unsigned c = 0; c < map->cpu_count; c++)
		map->cpu_node[c] = 0;
	return bad;
}
