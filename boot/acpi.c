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

const char *loam_acpi_parse(loam_pvh_read *read, void *context, uint64_t rsdp_pa,
			    struct loam_boot_map *map)
{
	struct source s = {read, context};
	uint64_t root;
	uint32_t size, width;
	uint8_t rsdp[36] = {0}, name[4];

	if (rsdp_pa == 0 || !is_rsdp(&s, rsdp_pa))
		rsdp_pa = find_rsdp(&s);
	if (rsdp_pa == 0 || !get(&s, rsdp_pa, rsdp, 20))
		return "ACPI: no RSDP";
	if (rsdp[15] >= 2 && !get(&s, rsdp_pa, rsdp, 36))
		return "ACPI: no RSDP";
	width = rsdp[15] >= 2 && (le32(rsdp + 24) | le32(rsdp + 28)) != 0 ? 8 : 4;
	root = width == 8 ? le32(rsdp + 24) | (uint64_t)le32(rsdp + 28) << 32 : le32(rsdp + 16);
	size = table_size(&s, root, name);
	if (size == 0)
		return "ACPI: no RSDT or XSDT";
	for (uint32_t i = 0; i < TABLES_MAX && 36 + (i + 1) * width <= size; i++) {
		struct found found = {0};
		uint8_t pointer[8] = {0};
		uint64_t table;
		uint32_t bytes;
		const char *bad;

		if (!get(&s, root + 36 + i * width, pointer, width))
			return "ACPI: RSDT outside of memory";
		table = le32(pointer) | (uint64_t)le32(pointer + 4) << 32;
		bytes = table_size(&s, table, name);
		if (bytes == 0 || !same(name, "APIC", 4))
			continue;
		bad = read_madt(&s, table, bytes, &found);
		if (bad != NULL)
			return bad;
		map->lapic_pa = found.lapic_pa;
		map->cpu_count = found.count;
		for (unsigned c = 0; c < found.count; c++)
			map->cpu_hw_id[c] = found.id[c];
		return NULL;
	}
	return "ACPI: no MADT";
}
