/* SPDX-License-Identifier: MIT */
/* What the firmware hands over, read with suspicion: device tree, PVH start info, command line. */
#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/fdt.h"
#include "boot/pvh.h"
#include "tests/host/support.h"

static struct loam_boot_map map;

/* ---- device tree ---- */

/* A flattened tree, built token by token as the specification says. */
static struct {
	unsigned char bytes[4096];
	uint32_t at; /* end of the structure block so far */
	char strings[512];
	uint32_t strings_len;
} tree;

static void be32(uint32_t at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		tree.bytes[at + i] = (unsigned char)(v >> (24 - 8 * i));
}

static void put(uint32_t v)
{
	be32(tree.at, v);
	tree.at += 4;
}

static void begin(const char *name)
{
	put(1);
	memcpy(tree.bytes + tree.at, name, strlen(name) + 1);
	tree.at += (uint32_t)(strlen(name) + 4) & ~3u;
}

static void end(void)
{
	put(2);
}

static void prop(const char *name, const void *value, uint32_t len)
{
	put(3);
	put(len);
	put(tree.strings_len);
	memcpy(tree.strings + tree.strings_len, name, strlen(name) + 1);
	tree.strings_len += (uint32_t)strlen(name) + 1;
	memcpy(tree.bytes + tree.at, value, len);
	tree.at += (len + 3) & ~3u;
}

static void prop_text(const char *name, const char *text)
{
	prop(name, text, (uint32_t)strlen(text) + 1);
}

static void prop_cells(const char *name, unsigned n, const uint32_t *cell)
{
	unsigned char b[64];

	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < 4; k++)
			b[4 * i + k] = (unsigned char)(cell[i] >> (24 - 8 * k));
	}
	prop(name, b, 4 * n);
}

#define CELLS(name, ...) \
	prop_cells(name, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

/* Header, one memory reservation, then the structure. */
static void start(uint64_t reserved, uint64_t bytes)
{
	memset(&tree, 0, sizeof(tree));
	be32(40, (uint32_t)(reserved >> 32));
	be32(44, (uint32_t)reserved);
	be32(48, (uint32_t)(bytes >> 32));
	be32(52, (uint32_t)bytes);
	tree.at = 72;
	begin("");
	CELLS("#address-cells", 2);
	CELLS("#size-cells", 2);
}

static size_t finish(void)
{
	end();
	put(9);
	memcpy(tree.bytes + tree.at, tree.strings, tree.strings_len);
	be32(0, 0xd00dfeed);
	be32(4, tree.at + tree.strings_len);
	be32(8, 72);
	be32(12, tree.at);
	be32(16, 40);
	be32(20, 17);
	be32(24, 16);
	be32(32, tree.strings_len);
	be32(36, tree.at - 72);
	return tree.at + tree.strings_len;
}

static bool has(uint64_t base, uint64_t size, enum loam_mem_type type)
{
	for (size_t i = 0; i < map.count; i++) {
		if (map.entry[i].base == base && map.entry[i].size == size &&
		    map.entry[i].type == type)
			return true;
	}
	return false;
}

static void a_tree_of_everything(void **state)
{
	size_t size;

	(void)state;
	start(0x48000000, 0x10000);
	begin("memory@40000000");
	prop_text("device_type", "memory");
	CELLS("reg", 0, 0x40000000, 0, 0x10000000, 1, 0, 0, 0x80000000);
	CELLS("numa-node-id", 70);
	end();
	begin("memory@900000000");
	prop_text("device_type", "memory");
	prop_text("status", "disabled");
	CELLS("reg", 9, 0, 1, 0);
	CELLS("numa-node-id", 4); /* off, and so no node */
	end();
	begin("reserved-memory");
	CELLS("#address-cells", 2);
	CELLS("#size-cells", 2);
	begin("secure@44000000");
	CELLS("reg", 0, 0x44000000, 0, 0x100000);
	end();
	begin("off@45000000");
	prop_text("status", "disabled");
	CELLS("reg", 0, 0x45000000, 0, 0x100000);
	end();
	end();
	begin("cpus");
	CELLS("#address-cells", 1);
	CELLS("#size-cells", 0);
	for (uint32_t i = 0; i < 3; i++) {
		begin("cpu@0");
		prop_text("device_type", "cpu");
		CELLS("reg", i);
		if (i > 0)
			CELLS("numa-node-id", 70 / i);
		end();
	}
	end();
	begin("psci");
	prop_text("method", "smc");
	end();
	begin("pl011@9000000");
	prop("compatible", "arm,pl011\0arm,primecell", 24);
	CELLS("reg", 0, 0x9000000, 0, 0x1000);
	end();
	begin("intc@8000000");
	prop_text("compatible", "arm,gic-v3");
	CELLS("reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000);
	begin("v2m@8020000"); /* a child, and no controller */
	CELLS("reg", 0, 0x8020000, 0, 0x1000);
	end();
	end();
	begin("intc@9000000"); /* the first one counts */
	prop_text("compatible", "arm,gic-400");
	CELLS("reg", 0, 0x9000000, 0, 0x10000, 0, 0x90a0000, 0, 0xf60000);
	end();
	begin("chosen");
	prop_text("bootargs", "depth=3 x");
	CELLS("linux,initrd-start", 0x48100000);
	CELLS("linux,initrd-end", 0, 0x48180000);
	end();
	size = finish();
	map = (struct loam_boot_map){0};
	assert_int_equal(loam_fdt_size(tree.bytes), size);
	assert_null(loam_fdt_parse(tree.bytes, size, &map));
	assert_true(has(0x40000000, 0x10000000, LOAM_MEM_USABLE));
	assert_true(has(UINT64_C(0x100000000), 0x80000000, LOAM_MEM_USABLE));
	assert_false(has(UINT64_C(0x900000000), UINT64_C(0x100000000), LOAM_MEM_USABLE));
	assert_true(has(0x44000000, 0x100000, LOAM_MEM_RESERVED));
	assert_false(has(0x45000000, 0x100000, LOAM_MEM_RESERVED));
	assert_true(has(0x48000000, 0x10000, LOAM_MEM_RESERVED));
	assert_true(has(0x48100000, 0x80000, LOAM_MEM_RESERVED));
	assert_int_equal(map.initrd_pa, 0x48100000);
	assert_int_equal(map.initrd_bytes, 0x80000);
	assert_string_equal(map.cmdline, "depth=3 x");
	assert_int_equal(map.console_pa, 0x9000000);
	assert_int_equal(map.cpu_count, 3);
	assert_int_equal(map.gic, 3);
	assert_int_equal(map.gic_dist_pa, 0x8000000);
	assert_int_equal(map.gic_cpu_pa, 0x80a0000);
	assert_int_equal(map.gic_cpu_bytes, 0xf60000);
	assert_true(map.psci_smc);
	assert_int_equal(map.node_range_count, 2);
	assert_int_equal(map.node_range[1].base, UINT64_C(0x100000000));
	assert_int_equal(map.node_range[1].size, 0x80000000);
	assert_int_equal(map.node_range[1].node, 70);
	assert_int_equal(map.cpu_node[0], 0); /* not told */
	assert_int_equal(map.cpu_node[1], 71);
	assert_int_equal(map.cpu_node[2], 36);
	loam_boot_nodes_settle(&map);
	assert_int_equal(map.node_range[0].node, 1);
	assert_int_equal(map.cpu_node[0], 0);
	assert_int_equal(map.cpu_node[1], 1);
	assert_int_equal(map.cpu_node[2], 0);
}

/* What QEMU's virt machine gives, dumped with -M virt,dumpdtb. */
static unsigned char *real_tree(size_t *size)
{
	FILE *f = fopen("tests/host/data/virt.dtb", "rb");
	unsigned char *p = malloc(1 << 20);

	assert_non_null(f);
	*size = fread(p, 1, 1 << 20, f);
	fclose(f);
	return p;
}

static void a_real_tree(void **state)
{
	size_t size;
	unsigned char *p = real_tree(&size);

	(void)state;
	map = (struct loam_boot_map){0};
	assert_null(loam_fdt_parse(p, size, &map));
	assert_true(has(0x40000000, UINT64_C(5) << 30, LOAM_MEM_USABLE));
	assert_int_equal(map.console_pa, 0x9000000);
	assert_int_equal(map.cpu_count, 4);
	assert_int_equal(map.gic, 2);
	assert_int_equal(map.gic_dist_pa, 0x8000000);
	assert_int_equal(map.gic_cpu_pa, 0x8010000);
	assert_string_equal(map.cmdline, "depth=9 gctrace=1");
	assert_int_not_equal(map.initrd_pa, 0);
	assert_int_equal(map.lost, 0);
	free(p);
}

/* Cut at every length, in memory that ends there: an error or a result, never a read beyond. */
static void truncated_trees(void **state)
{
	size_t size, good = 0;
	unsigned char *p = real_tree(&size);

	(void)state;
	for (size_t n = 0; n < size; n++) {
		unsigned char *exact = malloc(n > 0 ? n : 1);

		memcpy(exact, p, n);
		if (n >= 8) { /* the header may well believe in the cut */
			exact[4] = (unsigned char)(n >> 24);
			exact[5] = (unsigned char)(n >> 16);
			exact[6] = (unsigned char)(n >> 8);
			exact[7] = (unsigned char)n;
		}
		map = (struct loam_boot_map){0};
		good += n >= 40 && loam_fdt_parse(exact, n, &map) == NULL;
		free(exact);
	}
	assert_int_equal(good, 0);
	free(p);
}

/* Bits flipped at random, in memory that ends with the tree. */
static void corrupt_trees(void **state)
{
	struct rng rng = {test_seed()};
	size_t size, told = 0;
	unsigned char *p = real_tree(&size);

	(void)state;
	for (unsigned n = 0; n < 20000; n++) {
		unsigned char *bad = malloc(size);
		unsigned flips = 1 + (unsigned)rng_below(&rng, 8);

		memcpy(bad, p, size);
		while (flips-- > 0) {
			/* often in the header and where lengths are */
			size_t at = rng_below(&rng, rng_below(&rng, 3) == 0 ? 40 : size);

			bad[at] ^= (unsigned char)(1u << rng_below(&rng, 8));
		}
		map = (struct loam_boot_map){0};
		told += loam_fdt_parse(bad, size, &map) != NULL;
		if (map.cmdline != NULL) /* must end inside */
			assert_true(strlen(map.cmdline) < size);
		free(bad);
	}
	assert_true(told > 1000);
	free(p);
}

static void absurd_trees(void **state)
{
	size_t size;

	(void)state;
	map = (struct loam_boot_map){0};
	assert_int_equal(loam_fdt_size("0123456789012345678901234567890123456789"), 0);
	start(0, 0);
	for (unsigned i = 0; i < 40; i++)
		begin("deeper");
	for (unsigned i = 0; i < 40; i++)
		end();
	size = finish();
	assert_string_equal(loam_fdt_parse(tree.bytes, size, &map),
			    "device tree: nested too deeply");
	start(0, 0);
	begin("memory@0");
	prop_text("device_type", "memory");
	CELLS("reg", 0, 0x1000); /* half an entry */
	end();
	size = finish();
	assert_null(loam_fdt_parse(tree.bytes, size, &map));
	assert_int_equal(map.count, 0);
	start(0, 0);
	end();
	size = finish();
	assert_string_equal(loam_fdt_parse(tree.bytes, size, &map),
			    "device tree: more ends than nodes");
}

/* ---- PVH ---- */

static unsigned char ram[8192];

static bool read_ram(void *context, uint64_t pa, void *to, size_t size)
{
	(void)context;
	if (pa > sizeof(ram) || size > sizeof(ram) - pa)
		return false;
	memcpy(to, ram + pa, size);
	return true;
}

static void le(uint32_t at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		ram[at + i] = (unsigned char)(v >> (8 * i));
}

static void pvh_machine(void)
{
	memset(ram, 0, sizeof(ram));
	le(0x100, 0x336ec578, 4);
	le(0x104, 1, 4);
	le(0x10c, 1, 4);     /* modules */
	le(0x110, 0x400, 8); /* module list */
	le(0x118, 0x600, 8); /* command line */
	le(0x128, 0x200, 8); /* memory map */
	le(0x130, 2, 4);
	le(0x200, 0, 8);
	le(0x208, 0x9fc00, 8);
	le(0x210, 1, 4);
	le(0x218, 0xf0000, 8);
	le(0x220, 0x10000, 8);
	le(0x228, 2, 4);
	le(0x400, 0x3000000, 8);
	le(0x408, 0x1234, 8);
}

static const char *parse(uint64_t *cmdline)
{
	map = (struct loam_boot_map){0};
	return loam_pvh_parse(read_ram, NULL, 0x100, &map, cmdline);
}

static void pvh_start_info(void **state)
{
	uint64_t cmdline = 0;

	(void)state;
	pvh_machine();
	assert_null(parse(&cmdline));
	assert_int_equal(cmdline, 0x600);
	assert_true(has(0, 0x9fc00, LOAM_MEM_USABLE));
	assert_true(has(0xf0000, 0x10000, LOAM_MEM_RESERVED));
	assert_true(has(0x3000000, 0x1234, LOAM_MEM_RESERVED)); /* the module is in RAM */
	assert_true(has(0x100, 56, LOAM_MEM_RESERVED));
	assert_true(has(0x200, 48, LOAM_MEM_RESERVED));
	assert_int_equal(map.initrd_pa, 0x3000000);
	assert_int_equal(map.initrd_bytes, 0x1234);
}

static void bad_pvh_start_info(void **state)
{
	static const struct {
		uint32_t at;
		uint64_t value;
		unsigned bytes;
		const char *says;
	} bad[] = {
		{0x100, 0, 4, "no PVH start info"},
		{0x104, 0, 4, "without a memory map"},
		{0x130, 0, 4, "without a memory map"},
		{0x130, 100000, 4, "absurd number"},
		{0x128, 0x7fffffff, 8, "outside of memory"},
		{0x128, UINT64_MAX, 8, "outside of memory"},
		{0x110, 0x100000, 8, "module list outside"},
	};
	uint64_t cmdline;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		const char *says;

		pvh_machine();
		le(bad[i].at, bad[i].value, bad[i].bytes);
		says = parse(&cmdline);
		assert_non_null(says);
		assert_non_null(strstr(says, bad[i].says));
	}
	assert_non_null(loam_pvh_parse(read_ram, NULL, 0x100000, &map, &cmdline));
}

/* ---- ACPI ---- */

static void seal(uint32_t at, uint32_t size, uint32_t sum_at)
{
	unsigned char sum = 0;

	ram[sum_at] = 0;
	for (uint32_t i = 0; i < size; i++)
		sum = (unsigned char)(sum + ram[at + i]);
	ram[sum_at] = (unsigned char)-sum;
}

#define SRAT_BYTES (48 + 3 * 16 + 24 + 3 * 40)

/* SRAT at 0x600: APIC ids 0 and 4 in domains 0x01020305 and 7, one that is off, x2APIC id 300 in 7; memory in
 * both domains, and some that is off. */
static void srat(void)
{
	static const uint64_t memory[3][4] = {
		{0x01020305, 0x1000, 0xff000, 1},
		{9, 0x200000, 0x1000, 0},
		{7, UINT64_C(0x123400000000), UINT64_C(0x500000000), 1},
	};
	uint32_t at = 0x630;

	memcpy(ram + 0x600, "SRAT", 4);
	le(0x604, SRAT_BYTES, 4);
	ram[0x608] = 3;
	for (uint32_t i = 0; i < 3; i++, at += 16) {
		ram[at + 1] = 16;
		ram[at + 2] = i == 0 ? 5 : 7;
		ram[at + 3] = (unsigned char)(i * 2);
		ram[at + 4] = i != 1;
		le(at + 9, i == 0 ? 0x010203 : 0, 3);
	}
	ram[at] = 2;
	ram[at + 1] = 24;
	le(at + 4, 7, 4);
	le(at + 8, 300, 4);
	ram[at + 12] = 1;
	at += 24;
	for (uint32_t i = 0; i < 3; i++, at += 40) {
		ram[at] = 1;
		ram[at + 1] = 40;
		le(at + 2, memory[i][0], 4);
		le(at + 8, memory[i][1], 8);
		le(at + 16, memory[i][2], 8);
		le(at + 28, memory[i][3], 4);
	}
	seal(0x600, SRAT_BYTES, 0x609);
}

/* RSDP at 0x100, RSDT at 0x200, something else at 0x300, MADT at 0x400 with four processors, one
 * of them off, one by its x2APIC id; SRAT. */
static void acpi_machine(void)
{
	memset(ram, 0, sizeof(ram));
	memcpy(ram + 0x100, "RSD PTR ", 8);
	le(0x110, 0x200, 4);
	seal(0x100, 20, 0x108);
	memcpy(ram + 0x200, "RSDT", 4);
	le(0x204, 36 + 12, 4);
	le(0x224, 0x600, 4);
	le(0x228, 0x300, 4);
	le(0x22c, 0x400, 4);
	seal(0x200, 36 + 12, 0x209);
	memcpy(ram + 0x300, "FACP", 4);
	le(0x304, 64, 4);
	seal(0x300, 64, 0x309);
	memcpy(ram + 0x400, "APIC", 4);
	le(0x404, 44 + 3 * 8 + 16 + 6, 4);
	le(0x424, 0xfee00000, 4);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t at = 0x42c + 8 * i;

		ram[at + 1] = 8;
		ram[at + 3] = (unsigned char)(i * 2); /* APIC ids 0, 2, 4 */
		ram[at + 4] = i != 1;
	}
	ram[0x444] = 9;
	ram[0x445] = 16;
	le(0x448, 300, 4);
	ram[0x44c] = 1;
	ram[0x454] = 2; /* an interrupt override: not for us */
	ram[0x455] = 6;
	seal(0x400, 44 + 3 * 8 + 16 + 6, 0x409);
	srat();
}

static void acpi_names_the_cpus(void **state)
{
	(void)state;
	acpi_machine();
	map = (struct loam_boot_map){0};
	assert_null(loam_acpi_parse(read_ram, NULL, 0x100, &map));
	assert_int_equal(map.cpu_count, 3);
	assert_int_equal(map.cpu_hw_id[0], 0);
	assert_int_equal(map.cpu_hw_id[1], 4);
	assert_int_equal(map.cpu_hw_id[2], 300);
	assert_int_equal(map.lapic_pa, 0xfee00000);
}

/* Wrong sums, lengths and addresses; every byte of the tables changed: told, and the map is as it
 * was, or read all the same. */
static void bad_acpi_is_told(void **state)
{
	(void)state;
	map = (struct loam_boot_map){0};
	acpi_machine();
	assert_non_null(
		loam_acpi_parse(read_ram, NULL, 0x500, &map)); /* not there, nor in the BIOS area */
	acpi_machine();
	ram[0x430]++; /* the sum is wrong */
	assert_string_equal(loam_acpi_parse(read_ram, NULL, 0x100, &map), "ACPI: no MADT");
	acpi_machine();
	ram[0x42d] = 0; /* an entry of length 0 would loop for ever */
	seal(0x400, 44 + 3 * 8 + 16 + 6, 0x409);
	assert_string_equal(loam_acpi_parse(read_ram, NULL, 0x100, &map),
			    "ACPI: MADT entry runs out of the table");
	acpi_machine();
	ram[0x455] = 200;
	seal(0x400, 44 + 3 * 8 + 16 + 6, 0x409);
	assert_non_null(loam_acpi_parse(read_ram, NULL, 0x100, &map));
	assert_int_equal(map.cpu_count, 0);
	for (uint32_t at = 0x100; at < 0x460; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			acpi_machine();
			ram[at] ^= (unsigned char)(1u << bit);
			map = (struct loam_boot_map){0};
			(void)loam_acpi_parse(read_ram, NULL, 0x100, &map);
			assert_true(map.cpu_count <= LOAM_BOOT_CPUS);
		}
	}
}

static const char *parse_nodes(void)
{
	map = (struct loam_boot_map){0};
	assert_null(loam_acpi_parse(read_ram, NULL, 0x100, &map));
	return loam_acpi_nodes(read_ram, NULL, 0x100, &map);
}

static void acpi_names_the_nodes(void **state)
{
	(void)state;
	acpi_machine();
	assert_null(parse_nodes());
	assert_int_equal(map.node_range_count, 2);
	assert_int_equal(map.node_range[0].node, 0x01020305);
	assert_int_equal(map.node_range[0].base, 0x1000);
	assert_int_equal(map.node_range[0].size, 0xff000);
	assert_int_equal(map.node_range[1].base, UINT64_C(0x123400000000));
	assert_int_equal(map.node_range[1].size, UINT64_C(0x500000000));
	loam_boot_nodes_settle(&map);
	assert_int_equal(map.node_range[0].node, 1); /* in the order of their numbers */
	assert_int_equal(map.node_range[1].node, 0);
	assert_int_equal(map.cpu_node[0], 1);
	assert_int_equal(map.cpu_node[1], 0);
	assert_int_equal(map.cpu_node[2], 0);
	/* revision 1: a domain is one byte, the rest means nothing */
	acpi_machine();
	ram[0x608] = 1;
	seal(0x600, SRAT_BYTES, 0x609);
	assert_null(parse_nodes());
	assert_int_equal(map.node_range[0].node, 5);
	assert_int_equal(map.cpu_node[0], 5 + 1);
	/* no SRAT: nothing to say */
	acpi_machine();
	ram[0x600] = 'X';
	seal(0x600, SRAT_BYTES, 0x609);
	assert_null(parse_nodes());
	assert_int_equal(map.node_range_count, 0);
}

/* Whatever an SRAT says, nodes are small numbers and CPUs have one; a bad one leaves none. */
static void bad_srat_is_told(void **state)
{
	(void)state;
	for (uint32_t size = 36; size < SRAT_BYTES; size++) {
		const char *bad;

		acpi_machine();
		le(0x604, size, 4);
		seal(0x600, size, 0x609);
		bad = parse_nodes();
		assert_true(map.node_range_count == 0 || bad == NULL);
		if (size < 48)
			assert_string_equal(bad, "ACPI: SRAT too short");
	}
	acpi_machine();
	ram[0x631] = 0; /* an entry of length 0 would loop for ever */
	seal(0x600, SRAT_BYTES, 0x609);
	assert_string_equal(parse_nodes(), "ACPI: SRAT entry runs out of the table");
	acpi_machine();
	ram[0x600 + SRAT_BYTES - 39]++; /* the last entry ends outside */
	seal(0x600, SRAT_BYTES, 0x609);
	assert_string_equal(parse_nodes(), "ACPI: SRAT entry runs out of the table");
	assert_int_equal(map.node_range_count, 0);
	assert_int_equal(map.cpu_node[0] | map.cpu_node[1] | map.cpu_node[2], 0);
	for (uint32_t at = 0x600; at < 0x600 + SRAT_BYTES; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			acpi_machine();
			ram[at] ^= (unsigned char)(1u << bit);
			if (at >= 0x60a) /* believed, but for what it says */
				seal(0x600, SRAT_BYTES, 0x609);
			(void)parse_nodes();
			loam_boot_nodes_settle(&map);
			for (size_t i = 0; i < map.node_range_count; i++)
				assert_true(map.node_range[i].node < LOAM_NODE_MAX);
			for (unsigned c = 0; c < map.cpu_count; c++)
				assert_true(map.cpu_node[c] < LOAM_NODE_MAX);
		}
	}
}

/* More nodes than there can be: the lowest numbers stay. More ranges: the first ones. */
static void too_many_nodes(void **state)
{
	(void)state;
	map = (struct loam_boot_map){0};
	for (uint32_t i = 0; i < LOAM_BOOT_NODES + 5; i++)
		loam_boot_node_add(&map, i * 4096, 4096, UINT32_MAX - i);
	loam_boot_node_add(&map, 0, 0, 1);
	assert_int_equal(map.node_range_count, LOAM_BOOT_NODES);
	map.cpu_count = 3;
	map.cpu_node[0] = (uint64_t)UINT32_MAX + 1;		      /* one of those that go */
	map.cpu_node[1] = (uint64_t)UINT32_MAX - LOAM_BOOT_NODES + 2; /* the lowest */
	map.cpu_node[2] = 1;					      /* node 0, without memory */
	loam_boot_nodes_settle(&map);
	assert_int_equal(map.node_range_count, LOAM_NODE_MAX - 1);
	assert_int_equal(map.node_range[0].base, (LOAM_BOOT_NODES - LOAM_NODE_MAX + 1) * 4096);
	assert_int_equal(map.node_range[0].node, LOAM_NODE_MAX - 1);
	assert_int_equal(map.node_range[LOAM_NODE_MAX - 2].node, 1);
	assert_int_equal(map.cpu_node[0], 0);
	assert_int_equal(map.cpu_node[1], 1);
	assert_int_equal(map.cpu_node[2], 0);
}

static void full_map_counts_what_is_lost(void **state)
{
	(void)state;
	map = (struct loam_boot_map){0};
	for (unsigned i = 0; i < LOAM_BOOT_ENTRIES + 5; i++)
		loam_boot_map_add(&map, i * 4096, 4096, LOAM_MEM_USABLE, NULL);
	loam_boot_map_add(&map, 0, 0, LOAM_MEM_USABLE, NULL); /* empty: left out */
	assert_int_equal(map.count, LOAM_BOOT_ENTRIES);
	assert_int_equal(map.lost, 5);
}

/* ---- command line ---- */

static void command_line(void **state)
{
	(void)state;
	assert_int_equal(loam_cmdline_number("depth=12 x=3", "depth", 7), 12);
	assert_int_equal(loam_cmdline_number("depth=12 depth=9", "depth", 7),
			 9); /* the last wins */
	assert_int_equal(loam_cmdline_number("mydepth=12", "depth", 7), 7);
	assert_int_equal(loam_cmdline_number("depth=", "depth", 7), 7);
	assert_int_equal(loam_cmdline_number("depth=abc", "depth", 7), 7);
	assert_int_equal(loam_cmdline_number("", "depth", 7), 7);
	assert_true(loam_cmdline_is("  job=replay  ", "job", "replay"));
	assert_false(loam_cmdline_is("job=replays", "job", "replay"));
	assert_false(loam_cmdline_is("job=rep", "job", "replay"));
	assert_false(loam_cmdline_is("jobs=replay", "job", "replay"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_of_everything),
		cmocka_unit_test(a_real_tree),
		cmocka_unit_test(truncated_trees),
		cmocka_unit_test(corrupt_trees),
		cmocka_unit_test(absurd_trees),
		cmocka_unit_test(pvh_start_info),
		cmocka_unit_test(bad_pvh_start_info),
		cmocka_unit_test(acpi_names_the_cpus),
		cmocka_unit_test(bad_acpi_is_told),
		cmocka_unit_test(acpi_names_the_nodes),
		cmocka_unit_test(bad_srat_is_told),
		cmocka_unit_test(too_many_nodes),
		cmocka_unit_test(full_map_counts_what_is_lost),
		cmocka_unit_test(command_line),
	};
	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
