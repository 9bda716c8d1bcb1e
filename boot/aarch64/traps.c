/* SPDX-License-Identifier: MIT */
/*
 * The trap handler. Exceptions run on SP_EL1 while the kernel runs on SP_EL0, so a stack overflow
 * is reported like any other fault. Source: Arm ARM, "ESR_EL1, Exception Syndrome Register".
 */
#include "boot/aarch64/gic.h"
#include "boot/smp.h"
#include "boot/world.h"
#include "mm/print.h"

#include <loam/cpu.h>

struct trap_frame {
	uint64_t x[31];
	uint64_t sp, pc, spsr, kind, pad;
};
_Static_assert(sizeof(struct trap_frame) == 288, "vectors.S has the same layout");

#define EC_INSTRUCTION 0x21u /* instruction abort, same exception level */
#define KIND_IRQ       1u    /* second of the vectors */
#define EC_DATA	       0x25u /* data abort, same exception level */

void loam_arm_trap(struct trap_frame *frame);
extern char loam_arm_vectors[];

static void load_vectors(struct loam_percpu *cpu)
{
	__asm__ volatile("msr tpidr_el1, %0" : : "r"(cpu));
	__asm__ volatile("msr vbar_el1, %0; isb" : : "r"(loam_arm_vectors) : "memory");
}

void loam_machine_traps_init(void)
{
	uint64_t mpidr;

	__asm__ volatile("mrs %0, mpidr_el1" : "=r"(mpidr));
	loam_percpu[0].hw_id = mpidr & UINT64_C(0xff00ffffff);
	load_vectors(&loam_percpu[0]);
}

void loam_machine_cpu_init(struct loam_percpu *cpu)
{
	load_vectors(cpu);
	cpu->irqs = loam_gic_cpu_init(cpu);
}

unsigned loam_machine_cpu_id(void)
{
	const struct loam_percpu *cpu;

	__asm__ volatile("mrs %0, tpidr_el1" : "=r"(cpu));
	return (unsigned)cpu->id;
}

/* Two instructions: every allocation asks. */
struct loam_thread *loam_host_thread(void)
{
	const struct loam_percpu *cpu;

	__asm__ volatile("mrs %0, tpidr_el1" : "=r"(cpu));
	return cpu->thread;
}

static const char *name_of(unsigned ec)
{
	switch (ec) {
	case 0x00:
		return "undefined instruction";
	case 0x07:
		return "floating point or SIMD, which is off";
	case 0x0e:
		return "illegal execution state";
	case EC_INSTRUCTION:
		return "instruction abort";
	case 0x22:
		return "PC alignment";
	case EC_DATA:
		return "data abort";
	case 0x26:
		return "SP alignment";
	case 0x2f:
		return "SError";
	case 0x3c:
		return "BRK instruction";
	default:
		return "unexpected exception";
	}
}

static void dump(const void *frame)
{
	const struct trap_frame *f = frame;

	for (unsigned i = 0; i < 30; i += 3)
		loam_log(LOAM_LOG_ERROR, "  x%-2u %016llx  x%-2u %016llx  x%-2u %016llx\n", i,
			 (unsigned long long)f->x[i], i + 1, (unsigned long long)f->x[i + 1], i + 2,
			 (unsigned long long)f->x[i + 2]);
	loam_log(LOAM_LOG_ERROR, "  x30 %016llx  sp  %016llx  pc  %016llx  spsr %08llx\n",
		 (unsigned long long)f->x[30], (unsigned long long)f->sp, (unsigned long long)f->pc,
		 (unsigned long long)f->spsr);
}

void loam_arm_trap(struct trap_frame *f)
{
	struct loam_fault fault = {.pc = f->pc, .sp = f->sp};
	uint64_t esr;
	unsigned ec, status;

	if (f->kind == KIND_IRQ) {
		/* a shootdown, a stop of the world, or just a knock */
		loam_gic_take();
		loam_cpu_poll();
		loam_world_interrupt(f, f + 1, f->sp);
		return;
	}
	__asm__ volatile("mrs %0, esr_el1" : "=r"(esr));
	__asm__ volatile("mrs %0, far_el1" : "=r"(fault.addr));
	ec = (unsigned)(esr >> 26) & 0x3f;
	status = (unsigned)esr & 0x3f;
	/* fault status: 0b0000xx address size, 0b0001xx translation, 0b0010xx access flag, 0b0011xx
	 * permission, 0b101011 translation at level -1 (LPA2), 0b110000 TLB conflict. An address size
	 * fault (0b101001 at level -1) says that an entry is no good: nothing that can be mended. */
	fault.present = status >= 0x08 && status <= 0x0f;
	fault.external = status < 0x04 || (status > 0x0f && status != 0x2b);
	fault.tlb_conflict = (ec == EC_INSTRUCTION || ec == EC_DATA) && status == 0x30;
	fault.access = ec == EC_INSTRUCTION  ? LOAM_ACCESS_EXEC
		       : (esr >> 6 & 1) != 0 ? LOAM_ACCESS_WRITE
					     : LOAM_ACCESS_READ;
	fault.external |= ec != EC_INSTRUCTION && ec != EC_DATA;
	if (loam_fault_handle(&fault))
		return;
	if (loam_probe_armed && loam_machine_cpu_id() == 0) {
		loam_probe_fault = fault;
		f->pc = (uintptr_t)loam_probe_resume;
		f->sp = loam_probe_sp;
		return;
	}
	loam_boot_fatal(ec == EC_INSTRUCTION || ec == EC_DATA ? &fault : NULL, name_of(ec), dump,
			f);
}
