/* SPDX-License-Identifier: MIT */
/*
 * The MMU. Everything mm knows about page-table entries goes through these functions.
 *
 * Levels count from the leaf: level 0 maps 4 KiB, 1 maps 2 MiB, 2 maps 1 GiB, 3 maps 512 GiB,
 * 4 maps 256 TiB. (x86_64 calls them PT, PD, PDPT, PML4, PML5; the Arm manual counts the other
 * way round: its level 3 is our level 0.) A table is one 4 KiB frame of 512 entries.
 *
 * The pure half, isa/pte.h, is plain inline C over uint64_t: no assembly, no state. It compiles
 * on any machine, so both ISAs' codecs are tested on whatever host runs the tests. The effects,
 * isa/effects.h, exist twice: the real ones beside the codec, and the fake's in tests/fake,
 * which models TLBs and unpublished writes. The include path chooses.
 *
 * Pure (isa/pte.h):
 *   uint64_t loam_pte_none(unsigned tag)               not-present entry carrying a 2-bit tag
 *   unsigned loam_pte_tag(uint64_t pte)                tag of a not-present entry
 *   uint64_t loam_pte_leaf(mmu, level, pa, attr)       attr must pass loam_pte_attr_ok
 *   uint64_t loam_pte_table(mmu, pa, attr)             attr: WRITE, or nothing below may be written
 *                                                      (of level 1, and only if mmu->table_write);
 *                                                      DIRTY, a note that hardware does not see
 *   kind     loam_pte_kind(mmu, pte, level)            none, leaf or table: exactly one
 *   pa       loam_pte_pa(mmu, pte, level)              of a leaf or a table
 *   uint32_t loam_pte_attr(mmu, pte, level)            inverse of loam_pte_leaf and loam_pte_table
 *   change   loam_pte_change(mmu, old, new, level)     may `new` replace `old`, and how
 *   bool     loam_pte_attr_ok(mmu, attr, level)        can this CPU do it; W+X is never ok
 *
 * Effects (isa/effects.h):
 *   uint64_t loam_pt_load(table, index)                single-copy atomic load of a live entry
 *   void     loam_pt_store(table, index, pte)          single-copy atomic store
 *   uint64_t loam_pt_swap(table, index, pte)           atomic exchange: hardware may set A and D
 *                                                      at any time; whoever clears must see them
 *   bool     loam_pt_cas(table, index, old, pte)       store if `old` stands there still; for whoever
 *                                                      does not hold the lock
 *   void     loam_pt_publish(mmu)                      order earlier entry and table writes
 *                                                      before later walks by any CPU; needed also
 *                                                      for none-to-valid (aarch64: DSB, ISB)
 *   void     loam_tlb_local(mmu, va, count, level, tables)
 *                                                      this CPU forgets `count` entries of a level
 *                                                      from `va`; `tables`: and cached tables
 *   void     loam_tlb_local_all(mmu)
 *   void     loam_tlb_broadcast(mmu, va, count, level, tables)
 *                                                      the same on every CPU, complete on return,
 *                                                      where mmu->broadcast; else as local
 *   void     loam_tlb_broadcast_all(mmu)
 *   void *   loam_frame_ptr(pa)                        the direct map: contents of a frame
 *
 * Out of line (mmu.c): loam_mmu_detect, loam_mmu_cpu_init, loam_mmu_root_get,
 * loam_mmu_root_set, loam_icache_sync. That makes 24 functions, and no more are wanted.
 */
#ifndef LOAM_ARCH_MMU_H
#define LOAM_ARCH_MMU_H

#include <loam/types.h>

#define LOAM_PT_ENTRIES	 512u
#define LOAM_PT_SHIFT	 9u
#define LOAM_LEVEL_COUNT 5u
#define LOAM_LEVEL_PAGE	 0u
#define LOAM_LEVEL_HUGE	 1u
#define LOAM_LEVEL_GIANT 2u

/* log2 of the bytes that one entry of a level maps. */
static inline unsigned loam_level_shift(unsigned level)
{
	return LOAM_PAGE_SHIFT + LOAM_PT_SHIFT * level;
}

static inline uint64_t loam_level_size(unsigned level)
{
	return (uint64_t)1 << loam_level_shift(level);
}

/* What this CPU's MMU can do and how it is set up. Constant after loam_mmu_detect. */
struct loam_mmu {
	uint8_t levels;	   /* table levels in use: 4 or 5 */
	uint8_t va_bits;   /* 48, 52 (aarch64 LPA2) or 57 (LA57) */
	uint8_t pa_bits;   /* physical address width */
	uint8_t leaf_mask; /* bit n: a leaf may stand at level n; bit 0 always set */
	bool nx;	   /* execute permission can be withheld */
	bool lpa2;	   /* aarch64: 52-bit descriptors (TCR_ELx.DS) */
	bool hw_access;	   /* the CPU sets the accessed bit */
	bool hw_dirty;	   /* the CPU sets the dirty bit */
	bool table_write;  /* an entry that leads to a table can forbid writing below it */
	bool bbm2;	   /* aarch64 FEAT_BBM level 2: block size may change without a break */
	bool contig;	   /* aarch64 contiguous hint */
	bool broadcast;	   /* invalidations reach other CPUs in hardware */
	bool global;	   /* entries of the kernel half are tagged global */
	uint64_t va_min;   /* the half of the address space that loam maps: [va_min, va_max] */
	uint64_t va_max;
};

/* Attributes of a leaf, the same for all ISAs. Readable is implied. */
#define LOAM_ATTR_WRITE	   0x001u
#define LOAM_ATTR_EXEC	   0x002u
#define LOAM_ATTR_USER	   0x004u
#define LOAM_ATTR_ACCESSED 0x008u /* preset unless access is tracked */
#define LOAM_ATTR_DIRTY	   0x010u /* written: preset unless writes are tracked */
#define LOAM_ATTR_CONTIG   0x020u /* aarch64: one of an aligned run of 16 alike */
#define LOAM_ATTR_MEM_MASK 0x0c0u
#define LOAM_ATTR_MEM_WB   0x000u /* normal, write-back */
#define LOAM_ATTR_MEM_WC   0x040u /* normal, write-combining */
#define LOAM_ATTR_MEM_UC   0x080u /* normal, uncached */
#define LOAM_ATTR_MEM_DEV  0x0c0u /* device: no gathering, reordering or speculation */
#define LOAM_ATTR_ALL	   0x0ffu

/* Plain kernel memory: writable, not executable, nothing tracked. */
#define LOAM_ATTR_DATA (LOAM_ATTR_WRITE | LOAM_ATTR_ACCESSED | LOAM_ATTR_DIRTY)

enum loam_pte_kind {
	LOAM_PTE_NONE,
	LOAM_PTE_LEAF,
	LOAM_PTE_TABLE,
};

/* How an entry may be replaced by another. */
enum loam_pte_change {
	LOAM_PTE_IN_PLACE,  /* store it; invalidate afterwards unless `old` was none */
	LOAM_PTE_BREAK,	    /* break-before-make: none, invalidate everywhere, then store */
	LOAM_PTE_FORBIDDEN, /* never: `new` is not a legal entry at this level */
};

/* Tags of not-present entries inside reserved address space. */
#define LOAM_TAG_NONE	  0u /* nothing prepared: None or Reserved */
#define LOAM_TAG_PREPARED 1u

#include "isa/pte.h"

#include "isa/effects.h"

/* Index of the entry for `va` in a table of `level`. */
static inline unsigned loam_pt_index(const struct loam_mmu *mmu, uint64_t va, unsigned level)
{
	uint64_t index = (va & (((uint64_t)1 << mmu->va_bits) - 1)) >> loam_level_shift(level);
	return (unsigned)(index & (LOAM_PT_ENTRIES - 1));
}

/* Is [va, va + size) inside the half that loam maps, without wrapping? */
static inline bool loam_mmu_va_ok(const struct loam_mmu *mmu, uint64_t va, uint64_t size)
{
	return size != 0 && va >= mmu->va_min && va <= mmu->va_max && size - 1 <= mmu->va_max - va;
}

/* Can [pa, pa + size) be a physical address on this CPU? */
static inline bool loam_mmu_pa_ok(const struct loam_mmu *mmu, uint64_t pa, uint64_t size)
{
	uint64_t last = ((uint64_t)1 << mmu->pa_bits) - 1;
	return size != 0 && pa <= last && size - 1 <= last - pa;
}

/* Fill in what this CPU can do, given the paging mode it is in. Context: boot CPU. */
void loam_mmu_detect(struct loam_mmu *mmu);

/* Set this CPU up as `mmu` says: NX, write protection in the kernel, PAT or MAIR, dirty bits. */
void loam_mmu_cpu_init(const struct loam_mmu *mmu);

/* Root table of the kernel half, in force on this CPU. _set flushes this CPU's whole TLB. */
struct loam_paddr loam_mmu_root_get(void);
void loam_mmu_root_set(const struct loam_mmu *mmu, struct loam_paddr root);

/* Make [va, va + size) fit for execution after it was written as data. */
void loam_icache_sync(const void *va, size_t size);

/* Distance from physical to virtual address in the direct map; set once by loam_mm_init or
 * the boot code before any table is touched. (The fake ignores it.) */
void loam_direct_map_set(uintptr_t offset);

#endif
