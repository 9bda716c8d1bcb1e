/* SPDX-License-Identifier: MIT */
/*
 * Starting CPUs through PSCI (Arm DEN 0022, CPU_ON), by the conduit that the device tree names.
 * An interrupt controller is needed only for several threads on one heap, which must be stopped: TLB
 * invalidations are broadcast in hardware, and work can be announced with SEV.
 */
#include "boot/aarch64/gic.h"
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
	loam_gic_init(map);
	loam_percpu[0].irqs = loam_gic_cpu_init(&loam_percpu[0]);
	loam_machine_irqs_on();
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

/* PSCI names a CPU or says that there is none: nothing is probed here. */
bool loam_machine_cpu_give_up(struct loam_percpu *cpu)
{
	(void)cpu;
	return true;
}

void loam_machine_ipi(unsigned cpu)
{
	loam_gic_send(cpu);
}

void loam_machine_cpu_wake(unsigned cpu)
{
	if (loam_percpu[cpu].irqs)
		loam_gic_send(cpu);
	else
		__asm__ volatile("dsb ishst; sev" : : : "memory");
}

void loam_machine_irqs_on(void)
{
	if (loam_percpu[loam_machine_cpu_id()].irqs)
		__asm__ volatile("msr daifclr, #2" : : : "memory");
}

/* An interrupt that is pending, if masked, ends WFI; an event that was sent between the look at the work
 * and here is remembered, and ends WFE. */
void loam_machine_cpu_idle(void)
{
	if (loam_percpu[loam_machine_cpu_id()].irqs)
		__asm__ volatile("dsb sy; wfi" : : : "memory");
	else
		__asm__ volatile("wfe" : : : "memory");
}
