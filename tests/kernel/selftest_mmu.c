/* SPDX-License-Identifier: MIT */
/* What the boot stub mapped, seen through the tables and felt by touching. */
#include "arch/mmu.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "tests/kernel/selftest.h"

static void tables_are_sound(const struct loam_boot_info *info)
{
	const struct loam_ptab *pt = loam_space_ptab();

	(void)info;
	loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max); /* panics; [PTAB-1] is W^X */
	EXPECT(loam_ptab_table_count(pt, pt->mmu->va_min, pt->mmu->va_max) > 0);
}

/* [SPACE-3], and more: nothing but the image's text can be executed. */
static void only_text_executes(const struct loam_boot_info *info)
{
	const struct loam_ptab *pt = loam_space_ptab();
	struct loam_ptab_slot slot;

	(void)info;
	loam_ptab_walk(pt, pt->mmu->va_min, LOAM_LEVEL_PAGE, &slot);
	for (;;) {
		uint64_t last = slot.va + (loam_level_size(slot.level) - 1);

		if (slot.kind == LOAM_PTE_LEAF &&
		    (loam_pte_attr(pt->mmu, slot.pte, slot.level) & LOAM_ATTR_EXEC) != 0) {
			EXPECT(slot.va >= (uintptr_t)loam_image_start);
			EXPECT(last < (uintptr_t)loam_text_end);
		}
		if (last >= pt->mmu->va_max)
			return;
		loam_ptab_next(pt, LOAM_LEVEL_PAGE, &slot);
	}
}

static void null_page_traps(const struct loam_boot_info *info)
{
	(void)info;
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, 0));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, 8));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, 0));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, LOAM_PAGE_SIZE - 1));
}

static void image_is_w_xor_x(const struct loam_boot_info *info)
{
	static char data;
	static const char rodata[8] = "rodata";

	(void)info;
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, (uintptr_t)&null_page_traps));
	EXPECT(!loam_boot_probe(LOAM_ACCESS_READ, (const void *)(uintptr_t)&null_page_traps, NULL));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, (uintptr_t)rodata));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, (uintptr_t)rodata));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, (uintptr_t)&data));
	EXPECT(!loam_boot_probe(LOAM_ACCESS_WRITE, &data, NULL));
}

static void stack_guards_trap(const struct loam_boot_info *info)
{
	(void)info;
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, (uintptr_t)loam_stack_low - 8));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, (uintptr_t)loam_stack_guard));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, (uintptr_t)loam_trap_stack_low - 8));
	EXPECT(!loam_boot_probe(LOAM_ACCESS_READ, loam_stack_low, NULL));
	EXPECT(loam_selftest_traps(LOAM_ACCESS_EXEC, (uintptr_t)loam_stack_low));
}

/* The image's text has no second, writable name in the direct map. */
static void text_has_no_alias(const struct loam_boot_info *info)
{
	(void)info;
	EXPECT(loam_selftest_traps(LOAM_ACCESS_WRITE, LOAM_BOOT_DIRECT + loam_machine_image_pa()));
}

const struct selftest loam_selftest_mmu[] = {
	{"mmu: page tables are sound", tables_are_sound},
	{"mmu: only the image's text can be executed", only_text_executes},
	{"mmu: the null page traps", null_page_traps},
	{"mmu: the image is mapped W^X", image_is_w_xor_x},
	{"mmu: stack guards trap", stack_guards_trap},
	{"mmu: text has no writable alias", text_has_no_alias},
	{NULL, NULL},
};
