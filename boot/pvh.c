/* SPDX-License-Identifier: MIT */
/*
 * The PVH start info, read with suspicion: every address in it is followed through `read`, every
 * count is bounded. Layout (all little-endian): magic, version, flags, nr_modules (32 bits each),
 * modlist, cmdline, rsdp, memmap (64 bits each), memmap_entries, reserved (32 bits each).
 * A module is {paddr, size, cmdline, reserved}; a map entry {addr, size, type, reserved}, with
 * the types of an e820 map: 1 is RAM. Source: Xen's public start_info.h, version 1.
 */
#include "boot/pvh.h"

#define PVH_MAGIC    0x336ec578u
#define ENTRIES_MAX  256u
#define E820_RAM     1u
#define INFO_BYTES   56u
#define ENTRY_BYTES  24u
#define MODULE_BYTES 32u

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_count, reserved;
};
_Static_assert(sizeof(struct start_info) == INFO_BYTES, "the protocol's layout");

struct map_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};
_Static_assert(sizeof(struct map_entry) == ENTRY_BYTES, "the protocol's layout");

struct module {
	uint64_t pa, size, cmdline, reserved;
};
_Static_assert(sizeof(struct module) == MODULE_BYTES, "the protocol's layout");

const char *loam_pvh_parse(loam_pvh_read *read, void *context, uint64_t pa,
			   struct loam_boot_map *map, uint64_t *cmdline_pa)
{
	struct start_info info;
	struct map_entry e;
	struct module m;

	if (!read(context, pa, &info, sizeof(info)) || info.magic != PVH_MAGIC)
		return "no PVH start info where ebx points";
	if (info.version < 1 || info.memmap_count == 0)
		return "PVH start info without a memory map (version 0)";
	if (info.memmap_count > ENTRIES_MAX)
		return "PVH memory map with an absurd number of entries";
	for (uint32_t i = 0; i < info.memmap_count; i++) {
		if (!read(context, info.memmap + (uint64_t)i * ENTRY_BYTES, &e, sizeof(e)))
			return "PVH memory map outside of memory";
		loam_boot_map_add(map, e.base, e.size,
				  e.type == E820_RAM ? LOAM_MEM_USABLE : LOAM_MEM_RESERVED, NULL);
	}
	loam_boot_map_add(map, pa, INFO_BYTES, LOAM_MEM_RESERVED, "start info");
	loam_boot_map_add(map, info.memmap, (uint64_t)info.memmap_count * ENTRY_BYTES,
			  LOAM_MEM_RESERVED, "start info's map");
	if (info.module_count > 0) {
		if (!read(context, info.modules, &m, sizeof(m)))
			return "PVH module list outside of memory";
		loam_boot_map_add(map, info.modules, MODULE_BYTES, LOAM_MEM_RESERVED,
				  "module list");
		loam_boot_map_add(map, m.pa, m.size, LOAM_MEM_RESERVED, "initrd");
		map->initrd_pa = m.pa;
		map->initrd_bytes = m.size;
	}
	map->rsdp_pa = info.rsdp;
	*cmdline_pa = info.cmdline;
	return NULL;
}
