/* SPDX-License-Identifier: MIT */
/* The other CPUs: started by the stub, then waiting for work. */
#ifndef LOAM_BOOT_SMP_H
#define LOAM_BOOT_SMP_H

#include "boot/boot.h"

/* Start every CPU that the firmware names, up to `limit`. After loam_init. Returns how many run,
 * this one included. */
unsigned loam_smp_start(unsigned limit);
unsigned loam_smp_count(void);

/* Run fn(arg) on CPU `cpu` (not this one), and wait for all that run something. fn may attach a thread,
 * whose stack is the CPU's, and must detach it. */
void loam_smp_post(unsigned cpu, void (*fn)(void *arg), void *arg);
void loam_smp_wait(void);
/* Highest address of this CPU's stack: for loam_thread_attach. */
void *loam_smp_stack_base(void);

/* ---- between boot/smp.c and the ISA half ---- */

/* What one CPU owns: x86_64 finds it by GS, aarch64 by TPIDR_EL1. */
struct loam_percpu {
	uint64_t id;		    /* first word: boot/<isa>/traps.c */
	struct loam_thread *thread; /* second word: attached here, or NULL; boot/world.c */
	uint64_t hw_id;		    /* local APIC id, or MPIDR */
	uintptr_t stack_low, stack_high, trap_high;
	void (*fn)(void *arg); /* atomic: work to do; NULL: idle */
	void *arg;
	uint32_t running; /* atomic */
	unsigned node;
	bool irqs; /* other CPUs can interrupt it */
};
_Static_assert(offsetof(struct loam_percpu, thread) == 8, "loam_host_thread has it so");

extern struct loam_percpu loam_percpu[LOAM_BOOT_CPUS];

/* Bytes of trap stacks that each CPU needs. */
#define LOAM_TRAP_BYTES 0x10000u

/* Prepare starting CPUs; bring one up on its stacks, to loam_smp_main; false: it does not come. */
void loam_machine_smp_init(const struct loam_boot_map *map);
void loam_machine_cpu_start(struct loam_percpu *cpu);
/* It has not come so far. True: nor will it; false: it is on its way. */
bool loam_machine_cpu_give_up(struct loam_percpu *cpu);
/* On the new CPU: traps, interrupts, its number. */
void loam_machine_cpu_init(struct loam_percpu *cpu);
/* Interrupts on, where this machine has any for us. */
void loam_machine_irqs_on(void);
/* Sleep until something may have happened; called with the work looked at and interrupts off. */
void loam_machine_cpu_idle(void);
void loam_machine_cpu_wake(unsigned cpu);
/* What was written before is visible to the handler there, which looks for shootdowns and stops. */
void loam_machine_ipi(unsigned cpu);
unsigned loam_machine_cpu_id(void);

/* Where a new CPU gets to. */
__attribute__((noreturn)) void loam_smp_main(struct loam_percpu *cpu);

#endif
