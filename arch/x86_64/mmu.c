/* SPDX-License-Identifier: MIT */
/*
 * What this x86_64 CPU's MMU can do, and its set-up. References: Intel SDM volume 3A, chapters
 * "Paging" and "Memory Cache Control"; CPUID in volume 2A.
 */
#include "arch/mmu.h"
#include "arch/check.h"

#define CR0_WP	 (UINT64_C(1) << 16)
#define CR4_PGE	 (UINT64_C(1) << 7)
#define CR4_LA57 (UINT64_C(1) << 12)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define MSR_EFER 0xc0000080u
#define EFER_NXE (UINT64_C(1) << 11)
#define MSR_PAT	 0x277u
/* PAT types: 6 write-back, 1 write-combining, 7 uncached-minus, 0 uncacheable; twice over */
#define PAT_VALUE UINT64_C(0x0007010600070106)

uintptr_t loam_direct_map_offset;

struct cpuid {
	uint32_t a, b, c, d;
};

static struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
			 : "a"(leaf), "c"(sub));
	return r;
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static uint64_t read_cr4(void)
{
	uint64_t cr4;

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	return cr4;
}

void loam_direct_map_set(uintptr_t offset)
{
	loam_direct_map_offset = offset;
}

static bool has_giant_leaves(void)
{
	return ((cpuid(0x80000001u, 0).d >> 26) & 1) != 0; /* pdpe1gb */
}

void loam_mmu_detect(struct loam_mmu *mmu)
{
	struct cpuid top = cpuid(0x80000000u, 0);
	struct cpuid ext = cpuid(0x80000001u, 0);
	bool la57 = (read_cr4() & CR4_LA57) != 0;

	*mmu = (struct loam_mmu){0};
	mmu->levels = la57 ? 5 : 4;
	mmu->va_bits = la57 ? 57 : 48;
	mmu->pa_bits = top.a >= 0x80000008u ? (uint8_t)(cpuid(0x80000008u, 0).a & 0xff) : 36;
	if (mmu->pa_bits > 52)
		mmu->pa_bits = 52;
	mmu->leaf_mask = 1u << LOAM_LEVEL_PAGE | 1u << LOAM_LEVEL_HUGE;
	if (has_giant_leaves())
		mmu->leaf_mask |= 1u << LOAM_LEVEL_GIANT;
	mmu->nx = ((ext.d >> 20) & 1) != 0;
	mmu->hw_access = true;
	mmu->hw_dirty = true;
	mmu->table_write = true;
	mmu->broadcast = false;
	mmu->global = ((cpuid(1, 0).d >> 13) & 1) != 0;
	/* the canonical upper half */
	mmu->va_min = ~(uint64_t)0 << (mmu->va_bits - 1);
	mmu->va_max = ~(uint64_t)0;
}

void loam_mmu_cpu_init(const struct loam_mmu *mmu)
{
	struct cpuid id = cpuid(1, 0);
	struct cpuid feat = cpuid(7, 0);
	uint64_t cr0, cr4 = read_cr4();

	LOAM_CHECK(((id.d >> 16) & 1) != 0,
		   "this CPU has no PAT: loam needs page attribute tables");
	LOAM_CHECK(
		(mmu->leaf_mask >> LOAM_LEVEL_GIANT & 1) == 0 || has_giant_leaves(),
		"this CPU has no 1 GiB pages, but the boot CPU has: set loam_config.no_gigapage");
	if (mmu->nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	wrmsr(MSR_PAT, PAT_VALUE);
	/* read-only means read-only for the kernel too */
	__asm__ volatile("movq %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("movq %0, %%cr0" : : "r"(cr0 | CR0_WP) : "memory");
	cr4 |= mmu->global ? CR4_PGE : 0;
	cr4 |= ((feat.b >> 7) & 1) != 0 ? CR4_SMEP : 0;
	cr4 |= ((feat.b >> 20) & 1) != 0 ? CR4_SMAP : 0;
	__asm__ volatile("movq %0, %%cr4" : : "r"(cr4) : "memory");
	/* entries cached under the old PAT and NX rules go */
	loam_tlb_local_all(mmu);
}

struct loam_paddr loam_mmu_root_get(void)
{
	uint64_t cr3;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	return loam_paddr(cr3 & LOAM_X86_ADDR);
}

void loam_mmu_root_set(const struct loam_mmu *mmu, struct loam_paddr root)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(root.raw) : "memory");
	loam_tlb_local_all(mmu); /* the write to CR3 keeps global entries */
}

/* Instruction fetch is coherent with stores on x86_64 (SDM volume 3A, "Self-Modifying Code":
 * a serialising instruction suffices). */
void loam_icache_sync(const void *va, size_t size)
{
	(void)va;
	(void)size;
	(void)cpuid(0, 0);
}
