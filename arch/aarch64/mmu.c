/* SPDX-License-Identifier: MIT */
/*
 * What this aarch64 CPU's MMU can do, and its set-up (EL1, kernel half by TTBR1). References:
 * Arm ARM DDI 0487, "AArch64 System Register Descriptions" for each register named here.
 */
#include "arch/mmu.h"
#include "arch/check.h"

#define TCR_HA	    (UINT64_C(1) << 39)
#define TCR_HD	    (UINT64_C(1) << 40)
#define TCR_HPD1    (UINT64_C(1) << 42) /* hierarchical rights are off */
#define TCR_DS	    (UINT64_C(1) << 59)
#define TCR_T1SZ(t) (((t) >> 16) & 0x3f)
#define TCR_TG1(t)  (((t) >> 30) & 3)	 /* 2: 4 KiB */
#define MAIR_VALUE  UINT64_C(0x004444ff) /* 0 write-back, 1 and 2 non-cacheable, 3 nGnRnE */
#define SYSREG_READ(name)                                         \
	({                                                        \
		uint64_t value_;                                  \
		__asm__ volatile("mrs %0, " name : "=r"(value_)); \
		value_;                                           \
	})
#define SYSREG_WRITE(name, value) \
	__asm__ volatile("msr " name ", %0" : : "r"((uint64_t)(value)) : "memory")

uintptr_t loam_direct_map_offset;

void loam_direct_map_set(uintptr_t offset)
{
	loam_direct_map_offset = offset;
}

static unsigned field(uint64_t reg, unsigned shift)
{
	return (unsigned)(reg >> shift) & 0xf;
}

void loam_mmu_detect(struct loam_mmu *mmu)
{
	static const uint8_t pa_bits[16] = {32, 36, 40, 42, 44, 48, 52, 52};
	uint64_t mmfr0 = SYSREG_READ("id_aa64mmfr0_el1");
	uint64_t mmfr1 = SYSREG_READ("id_aa64mmfr1_el1");
	uint64_t mmfr2 = SYSREG_READ("id_aa64mmfr2_el1");
	uint64_t tcr = SYSREG_READ("tcr_el1");
	unsigned tgran4 = field(mmfr0, 28);

	LOAM_CHECK(tgran4 != 0xf, "this CPU has no 4 KiB granule: loam needs it");
	LOAM_CHECK(TCR_TG1(tcr) == 2, "TCR_EL1.TG1 must select the 4 KiB granule before loam_init");
	*mmu = (struct loam_mmu){0};
	mmu->lpa2 = (tcr & TCR_DS) != 0;
	mmu->va_bits = (uint8_t)(64 - TCR_T1SZ(tcr));
	LOAM_CHECK(mmu->va_bits == 48 || (mmu->va_bits == 52 && mmu->lpa2),
		   "TCR_EL1.T1SZ must be 16, or 12 with TCR_EL1.DS");
	mmu->levels = mmu->va_bits > 48 ? 5 : 4;
	mmu->pa_bits = pa_bits[field(mmfr0, 0)];
	if (!mmu->lpa2 && mmu->pa_bits > 48)
		mmu->pa_bits = 48; /* 48-bit descriptors */
	mmu->leaf_mask = 1u << LOAM_LEVEL_PAGE | 1u << LOAM_LEVEL_HUGE | 1u << LOAM_LEVEL_GIANT;
	mmu->nx = true;
	mmu->hw_access = field(mmfr1, 0) >= 1; /* HAFDBS */
	mmu->hw_dirty = field(mmfr1, 0) >= 2;
	mmu->table_write = (tcr & TCR_HPD1) == 0;
	mmu->bbm2 = field(mmfr2, 52) >= 2;
	mmu->contig = true;
	mmu->broadcast = true;
	mmu->global = true;
	mmu->va_min = ~(uint64_t)0 << mmu->va_bits;
	mmu->va_max = ~(uint64_t)0;
}

void loam_mmu_cpu_init(const struct loam_mmu *mmu)
{
	uint64_t tcr = SYSREG_READ("tcr_el1");
	uint64_t mmfr1 = SYSREG_READ("id_aa64mmfr1_el1");

	LOAM_CHECK((SYSREG_READ("mair_el1") & 0xff) == (MAIR_VALUE & 0xff),
		   "MAIR_EL1 attribute 0 must be write-back (0xff) before loam_init: it sets "
		   "MAIR_EL1 to "
		   "0x4444ff, which your page tables must fit");
	/* else the first write to a fresh stack would trap, with no stack to take the trap on */
	LOAM_CHECK(!mmu->hw_dirty || field(mmfr1, 0) >= 2,
		   "this CPU keeps no dirty bits, but the boot CPU does: loam cannot use both");
	/* or this CPU would write, without a trap, below what mm/dirty.c has closed. The boot CPU has it clear, so the tables
	 * ask for nothing else. */
	tcr &= mmu->table_write ? ~TCR_HPD1 : ~UINT64_C(0);
	tcr |= mmu->hw_access ? TCR_HA : 0;
	tcr |= mmu->hw_dirty ? TCR_HD : 0;
	SYSREG_WRITE("mair_el1", MAIR_VALUE);
	SYSREG_WRITE("tcr_el1", tcr);
	if (field(mmfr1, 20) >= 1) {
		/* PAN: SCTLR_EL1.SPAN clear sets it on exception entry; set it here as well.
		 * Encoded by hand: assemblers want a newer -march for the name. */
		SYSREG_WRITE("sctlr_el1", SYSREG_READ("sctlr_el1") & ~(UINT64_C(1) << 23));
		__asm__ volatile(".inst 0xd500419f" : : : "memory"); /* msr pan, #1 */
	}
	/* a context change is seen after an ISB; what was cached under the old rules goes */
	__asm__ volatile("isb" : : : "memory");
	loam_tlb_local_all(mmu);
}

struct loam_paddr loam_mmu_root_get(void)
{
	uint64_t ttbr = SYSREG_READ("ttbr1_el1");

	/* BADDR: bits 47:5 hold the address bits of the same number; with 52-bit addresses, bits
	 * 5:2 hold address bits 51:48 */
	if ((SYSREG_READ("tcr_el1") & TCR_DS) != 0)
		return loam_paddr((ttbr & UINT64_C(0x0000ffffffffffc0)) | ((ttbr >> 2) & 0xf)
										  << 48);
	return loam_paddr(ttbr & UINT64_C(0x0000fffffffff000));
}

void loam_mmu_root_set(const struct loam_mmu *mmu, struct loam_paddr root)
{
	uint64_t ttbr = root.raw & UINT64_C(0x0000fffffffff000);

	if (mmu->lpa2)
		ttbr |= (root.raw >> 48 & 0xf) << 2;
	/* the tables behind the new root are written before any walk starts there */
	__asm__ volatile("dsb ishst" : : : "memory");
	SYSREG_WRITE("ttbr1_el1", ttbr);
	__asm__ volatile("isb" : : : "memory");
	loam_tlb_local_all(mmu);
}

/* Arm ARM, "Cache maintenance ... for self-modifying code": clean data to the point of
 * unification, then invalidate instructions, each waited for. */
void loam_icache_sync(const void *va, size_t size)
{
	uint64_t ctr = SYSREG_READ("ctr_el0");
	uintptr_t dline = (uintptr_t)4 << field(ctr, 16), iline = (uintptr_t)4 << field(ctr, 0);
	uintptr_t start = (uintptr_t)va, end = start + size;

	for (uintptr_t p = start & ~(dline - 1); p < end; p += dline)
		__asm__ volatile("dc cvau, %0" : : "r"(p) : "memory");
	__asm__ volatile("dsb ish" : : : "memory");
	for (uintptr_t p = start & ~(iline - 1); p < end; p += iline)
		__asm__ volatile("ic ivau, %0" : : "r"(p) : "memory");
	__asm__ volatile("dsb ish; isb" : : : "memory");
}
