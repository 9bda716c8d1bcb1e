/* SPDX-License-Identifier: MIT */
/*
 * Arm's generic interrupt controller, as far as one CPU interrupts another: SGI 0, and nothing else
 * is ever enabled. Version 2 has a CPU interface in memory, and names a CPU by a bit of its own;
 * version 3 has system registers, a redistributor for each CPU, and names CPUs by their affinity.
 * Sources: Arm IHI 0048B (GICv2), chapters 4.3 and 4.4; Arm IHI 0069 (GICv3), chapter 12.
 */
#include "boot/aarch64/gic.h"

#define SGI	 0u
#define SPURIOUS 1020u /* and up */

#define GICD_CTLR	0x000u
#define GICD_ISENABLER0 0x100u /* of this CPU */
#define GICD_ITARGETSR0 0x800u /* of this CPU: its own bit, in each byte */
#define GICD_SGIR	0xf00u

#define GICC_CTLR 0x00u
#define GICC_PMR  0x04u
#define GICC_IAR  0x0cu
#define GICC_EOIR 0x10u

#define GICR_TYPER	0x00008u /* 64 bits: affinity << 32, bit 4: the last one */
#define GICR_WAKER	0x00014u /* bit 1: asleep; bit 2: its children are */
#define GICR_IGROUPR0	0x10080u
#define GICR_ISENABLER0 0x10100u

#define PRIORITY_ALL 0xf0u

static unsigned version; /* 0: none */
static uintptr_t dist, cpu_base;
static uint64_t cpu_bytes;
static uint32_t v2_mask[LOAM_BOOT_CPUS]; /* by the CPU itself, before it counts as running */

static uint32_t read32(uintptr_t at)
{
	return *(volatile uint32_t *)at;
}

static void write32(uintptr_t at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

void loam_gic_init(const struct loam_boot_map *map)
{
	if (map->gic == 0)
		return;
	dist = (uintptr_t)(map->gic_dist_pa + LOAM_BOOT_DIRECT);
	cpu_base = (uintptr_t)(map->gic_cpu_pa + LOAM_BOOT_DIRECT);
	cpu_bytes = map->gic_cpu_bytes < LOAM_BOOT_CPUS * LOAM_GICR_BYTES
			    ? map->gic_cpu_bytes
			    : LOAM_BOOT_CPUS * LOAM_GICR_BYTES;
	version = map->gic;
	/* version 2: on. Version 3: affinity routing, then both groups on. */
	if (version == 3)
		write32(dist + GICD_CTLR, 0x10);
	write32(dist + GICD_CTLR, version == 3 ? 0x13 : 1);
}

static bool v2_cpu_init(unsigned cpu)
{
	v2_mask[cpu] = read32(dist + GICD_ITARGETSR0) & 0xff;
	write32(dist + GICD_ISENABLER0, 1u << SGI);
	write32(cpu_base + GICC_PMR, PRIORITY_ALL);
	write32(cpu_base + GICC_CTLR, 1);
	return v2_mask[cpu] != 0;
}

/* The redistributor of the CPU with this MPIDR, or 0. */
static uintptr_t redistributor(uint64_t mpidr)
{
	uint32_t affinity = (uint32_t)(mpidr >> 32 & 0xff) << 24 | (uint32_t)(mpidr & 0xffffff);

	for (uint64_t at = 0; at + LOAM_GICR_BYTES <= cpu_bytes; at += LOAM_GICR_BYTES) {
		uint64_t type = *(volatile uint64_t *)(cpu_base + at + GICR_TYPER);

		if (type >> 32 == affinity)
			return cpu_base + at;
		if ((type >> 4 & 1) != 0)
			return 0;
	}
	return 0;
}

static bool v3_cpu_init(uint64_t mpidr)
{
	uintptr_t r = redistributor(mpidr);
	uint64_t sre;

	if (r == 0)
		return false;
	write32(r + GICR_WAKER, read32(r + GICR_WAKER) & ~2u);
	while ((read32(r + GICR_WAKER) & 4) != 0)
		__asm__ volatile("yield");
	write32(r + GICR_IGROUPR0, UINT32_MAX); /* group 1 */
	write32(r + GICR_ISENABLER0, 1u << SGI);
	__asm__ volatile("mrs %0, S3_0_C12_C12_5" : "=r"(sre)); /* ICC_SRE_EL1 */
	__asm__ volatile("msr S3_0_C12_C12_5, %0; isb" : : "r"(sre | 1));
	__asm__ volatile("msr S3_0_C4_C6_0, %0" : : "r"((uint64_t)PRIORITY_ALL)); /* ICC_PMR_EL1 */
	__asm__ volatile("msr S3_0_C12_C12_7, %0; isb" : : "r"(UINT64_C(1))); /* ICC_IGRPEN1_EL1 */
	return true;
}

bool loam_gic_cpu_init(const struct loam_percpu *cpu)
{
	if (version == 0)
		return false;
	return version == 2 ? v2_cpu_init((unsigned)cpu->id) : v3_cpu_init(cpu->hw_id);
}

void loam_gic_send(unsigned cpu)
{
	uint64_t id = loam_percpu[cpu].hw_id;

	if (version == 0)
		return;
	/* stores before are seen by whoever takes the interrupt: a store to the device, or to a system
	 * register, is ordered behind them by nothing less (Arm ARM, "Data Synchronization Barrier") */
	__asm__ volatile("dsb ishst" : : : "memory");
	if (version == 2) {
		write32(dist + GICD_SGIR, v2_mask[cpu] << 16 | SGI);
		return;
	}
	id = (id >> 32 & 0xff) << 48 | (id >> 16 & 0xff) << 32 | (id >> 8 & 0xff) << 16 |
	     (id >> 4 & 0xf) << 44 | UINT64_C(1) << (id & 0xf) | (uint64_t)SGI << 24;
	__asm__ volatile("msr S3_0_C12_C11_5, %0; isb" : : "r"(id)); /* ICC_SGI1R_EL1 */
}

void loam_gic_take(void)
{
	uint64_t which;

	if (version == 2) {
		which = read32(cpu_base + GICC_IAR);
		if ((which & 0x3ff) < SPURIOUS)
			write32(cpu_base + GICC_EOIR, (uint32_t)which);
	} else {
		__asm__ volatile("mrs %0, S3_0_C12_C12_0" : "=r"(which)); /* ICC_IAR1_EL1 */
		if ((which & 0xffffff) < SPURIOUS)
			__asm__ volatile("msr S3_0_C12_C12_1, %0" : : "r"(which)); /* EOIR1 */
	}
	/* the reads that follow see what was written before the interrupt was sent */
	__asm__ volatile("dsb ish; isb" : : : "memory");
}
