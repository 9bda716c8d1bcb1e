/* SPDX-License-Identifier: MIT */
/*
 * The final tables of the boot stub, built with loam's own walker in the early direct map:
 *
 *   image        4 KiB leaves at its link address: text r-x, rodata r--, data rw-; guard pages
 *                below the stacks stay unmapped
 *   direct map   all RAM but the image, rw-, the largest leaves there are; the image is left out
 *                so that its text has no writable alias
 *   registers    device pages: of the console where it is memory-mapped, of interrupt controllers
 *
 * Nothing else is mapped: not the null page, nor anything of the low half.
 * The tables' frames come from the early allocator in one block, below what the early direct map
 * covers; the block is reported as reserved to loam.
 */
#include "arch/mmu.h"
#include "boot/boot.h"
#include "arch/check.h"
#include "mm/early.h"
#include "mm/print.h"
#include "mm/ptab.h"

struct piece {
	uint64_t va, pa, size;
	uint32_t attr;
	unsigned max_level;
};

#define PIECES	      (LOAM_MEMMAP_MAX + 8u)
#define GIC_CPU_BYTES (LOAM_BOOT_CPUS * LOAM_GICR_BYTES)

static struct loam_mmu mmu;
static struct loam_ptab final;
static struct loam_memmap ram;	 /* all RAM, as the firmware tells it */
static struct loam_memmap early; /* what of it is free */
static struct piece piece[PIECES];
static size_t piece_count;

static void add_piece(uint64_t va, uint64_t pa, uint64_t size, uint32_t attr, unsigned max_level)
{
	LOAM_CHECK(piece_count < PIECES, "too many pieces of memory to map");
	if (size > 0)
		piece[piece_count++] = (struct piece){va, pa, size, attr, max_level};
}

static void add_image_part(const char *from, const char *to, uint32_t attr)
{
	uint64_t offset = (uint64_t)(from - loam_image_start);

	add_piece((uintptr_t)from, loam_machine_image_pa() + offset, (uint64_t)(to - from), attr,
		  LOAM_LEVEL_PAGE);
}

/* Pages of registers, in the direct map like RAM. */
static void add_device(uint64_t pa, uint64_t bytes)
{
	bytes = loam_align_up(pa + bytes, LOAM_PAGE_SIZE);
	pa = loam_align_down(pa, LOAM_PAGE_SIZE);
	add_piece(LOAM_BOOT_DIRECT + pa, pa, bytes - pa, LOAM_ATTR_DATA | LOAM_ATTR_MEM_DEV,
		  LOAM_LEVEL_PAGE);
}

static void plan(const struct loam_boot_map *map)
{
	const uint32_t ro = LOAM_ATTR_ACCESSED;

	add_image_part(loam_image_start, loam_text_end, ro | LOAM_ATTR_EXEC);
	add_image_part(loam_text_end, loam_rodata_end, ro);
	add_image_part(loam_rodata_end, loam_stack_guard, LOAM_ATTR_DATA);
	add_image_part(loam_stack_low, loam_trap_guard, LOAM_ATTR_DATA);
	add_image_part(loam_trap_stack_low, loam_image_end, LOAM_ATTR_DATA);
	for (size_t i = 0; i < ram.count; i++)
		add_piece(LOAM_BOOT_DIRECT + ram.range[i].base, ram.range[i].base,
			  ram.range[i].end - ram.range[i].base, LOAM_ATTR_DATA, LOAM_LEVEL_GIANT);
	if (map->lapic_pa != 0)
		add_device(map->lapic_pa, LOAM_PAGE_SIZE);
	if (map->console_pa != 0)
		add_device(map->console_pa, LOAM_PAGE_SIZE);
	if (map->gic != 0) {
		add_device(map->gic_dist_pa, LOAM_PAGE_SIZE);
		/* redistributors: of as many CPUs as we start, if they are in order */
		add_device(map->gic_cpu_pa,
			   map->gic_cpu_bytes < GIC_CPU_BYTES ? map->gic_cpu_bytes : GIC_CPU_BYTES);
	}
}

/* Enough tables for every piece: each alone in an empty root needs at least what it adds here. */
static uint64_t tables_needed(void)
{
	uint64_t need = 1;

	for (size_t i = 0; i < piece_count; i++)
		need += loam_ptab_map_need(&final, piece[i].va, loam_paddr(piece[i].pa),
					   piece[i].size, piece[i].max_level);
	return need;
}

static void sanitise(const struct loam_boot_map *map)
{
	uint64_t image = loam_machine_image_pa();
	uint64_t image_bytes = (uint64_t)(loam_image_end - loam_image_start);
	enum loam_err err;

	/* RAM as such: what the stub itself marked as taken (named entries) is still RAM */
	static struct loam_mem_entry firmware[LOAM_BOOT_ENTRIES];
	size_t n = 0;

	for (size_t i = 0; i < map->count; i++) {
		if (map->entry[i].what == NULL)
			firmware[n++] = map->entry[i];
	}
	err = loam_memmap_sanitise(firmware, n, mmu.pa_bits, &ram);
	LOAM_CHECK(err == LOAM_OK, "the firmware's memory map names no usable memory");
	loam_memmap_reserve(&ram, image, image_bytes);
	err = loam_memmap_sanitise(map->entry, map->count, mmu.pa_bits, &early);
	LOAM_CHECK(err == LOAM_OK, "no memory is left beside image and modules");
}

void loam_boot_paging(struct loam_boot_map *map, struct loam_config *config)
{
	struct loam_ptab_pool pool = {0};
	struct loam_paddr block, empty;
	uint64_t tables;
	enum loam_err err;

	loam_direct_map_set(LOAM_BOOT_DIRECT);
	loam_mmu_detect(&mmu);
	config->no_gigapage = map->cmdline != NULL && loam_cmdline_is(map->cmdline, "leaf1g", "0");
	if (config->no_gigapage)
		mmu.leaf_mask &= (uint8_t) ~(1u << LOAM_LEVEL_GIANT);
	loam_mmu_cpu_init(&mmu);
	loam_machine_describe(&mmu);
	loam_boot_map_add(map, loam_machine_image_pa(),
			  (uint64_t)(loam_image_end - loam_image_start), LOAM_MEM_RESERVED,
			  "image");
	sanitise(map);
	loam_machine_early_take(&early, map);
	plan(map);
	/* an empty root to count with, which becomes the root */
	final.mmu = &mmu;
	err = loam_early_alloc(&early, LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, loam_machine_early_limit(),
			       &empty);
	LOAM_CHECK(err == LOAM_OK, "no memory for the page tables");
	loam_ptab_clear(empty, LOAM_TAG_NONE);
	final.root = empty;
	loam_boot_map_add(map, empty.raw, LOAM_PAGE_SIZE, LOAM_MEM_RESERVED, "page tables");
	tables = tables_needed();
	err = loam_early_alloc(&early, tables * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE,
			       loam_machine_early_limit(), &block);
	LOAM_CHECK(err == LOAM_OK, "no memory for the page tables");
	loam_boot_map_add(map, block.raw, tables * LOAM_PAGE_SIZE, LOAM_MEM_RESERVED,
			  "page tables");
	for (uint64_t i = 0; i < tables; i++) {
		struct loam_paddr table = loam_paddr(block.raw + i * LOAM_PAGE_SIZE);

		loam_ptab_clear(table, LOAM_TAG_NONE); /* zeroed, that is */
		loam_ptab_pool_push(&pool, table);
	}
	for (size_t i = 0; i < piece_count; i++) {
		err = loam_ptab_map(&final, &pool, piece[i].va, loam_paddr(piece[i].pa),
				    piece[i].size, piece[i].attr, piece[i].max_level);
		LOAM_CHECK(err == LOAM_OK, "could not map the image, RAM or a device");
	}
	loam_mmu_root_set(&mmu, final.root);
	loam_machine_console_init(map);
	loam_machine_leave_early();
	config->memmap = map->entry;
	config->memmap_count = map->count;
	config->nodes = map->node_range;
	config->node_count = map->node_range_count;
	config->direct_map_offset = LOAM_BOOT_DIRECT;
	config->window_base = LOAM_BOOT_WINDOW;
	config->window_bytes = LOAM_BOOT_WINDOW_BYTES;
	config->root = final.root;
}
