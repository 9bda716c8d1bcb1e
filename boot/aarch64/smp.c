/* SPDX-License-Identifier: MIT */
/*
 * Starting CPUs through PSCI (Arm DEN 0022, CPU_ON), by the conduit that the device tree names.
 * Work is announced with SEV: no interrupt controller is needed, because TLB invalidations are
 * broadcast in hardware.
 */
#include "boot/smp.h"

#include "arch/mmu.h"

#define PSCI_CPU_ON UINT64_C(0xc4000003)

extern char loam_arm_secondary[];
extern uint64_t loam_arm_image_pa;

/* For entry.S, read with the MMU on: of the CPU that is being started. */
uint64_t loam_ap_root, loam_ap_tcr;
uintptr_t loam_ap_cpu, loam_ap_stack, loam_ap_trap;

static bool by_smc;

void loam_machine_smp_init(const struct loam_boot_map *map)
{
	by_smc = map->psci_smc;
	__asm__ volatile("mrs %0, ttbr1_el1" : "=r"(loam_ap_root));
	__asm__ volatile("mrs %0, tcr_el1" : "=r"(loam_ap_tcr));
}

void loam_machine_cpu_start(struct loam_percpu *cpu)
{
	register uint64_t x0 __asm__("x0") = PSCI_CPU_ON;
	register uint64_t x1 __asm__("x1") = cpu->hw_id;
	register uint64_t x2 __asm__("x2") =
		(uint64_t)(loam_arm_secondary - loam_image_start) + loam_arm_image_pa;
	register uint64_t x3 __asm__("x3") = 0;

	loam_ap_cpu = (uintptr_t)cpu;
	loam_ap_stack = cpu->stack_high;
	loam_ap_trap = cpu->trap_high;
	__asm__ volatile("dsb sy" : : : "memory");
	if (by_smc)
		__asm__ volatile("smc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3) : "memory");
	else
		__asm__ volatile("hvc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3) : "memory");
}

/* Shootdowns never come this way (mmu->broadcast). */
/* PSCI names a CPU or says that there is none: nothing is probed here. */
bool loam_machine_cpu_give_up(struct loam_percpu *cpu)
{
	(void)cpu;
	return true;
}

void loam_machine_ipi(unsigned cpu)
{
	(void)cpu;
}

void loam_machine_cpu_wake(unsigned cpu)
{
	(void)cpu;
	__asm__ volatile("dsb ishst; sev" : : : "memory");
}

void loam_machine_irqs_on(void)
{
}

/* An event that was sent between the look at the work and here is remembered: WFE returns. */
void loam_machine_cpu_idle(void)
{
	__asm__ volatile("wfe" : : : "memory");
}
