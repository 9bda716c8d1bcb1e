/* SPDX-License-Identifier: MIT */
/*
 * Descriptor tables and the trap handler. Every exception runs on a stack of its own (the IST of
 * the TSS), so a stack overflow is reported instead of becoming a triple fault.
 * Source: Intel SDM volume 3A, "Interrupt and Exception Handling".
 */
#include "boot/smp.h"
#include "boot/world.h"
#include "mm/print.h"

#include <loam/cpu.h>

#define TRAP_STACK_BYTES 0x4000u
#define VECTOR_NMI	 2u
#define VECTOR_DF	 8u
#define VECTOR_PF	 14u
#define VECTOR_IRQ	 32u /* and up */
#define VECTORS		 35u
#define MSR_GS_BASE	 0xc0000101u

struct trap_frame {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, code;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, zero;
};
_Static_assert(sizeof(struct gate) == 16, "the architecture's layout");

struct __attribute__((packed)) tss {
	uint32_t zero0;
	uint64_t rsp[3], zero1, ist[7], zero2;
	uint16_t zero3, iomap;
};
_Static_assert(sizeof(struct tss) == 104, "the architecture's layout");

struct __attribute__((packed)) table_ptr {
	uint16_t limit;
	uint64_t base;
};

extern const uint64_t loam_x86_stubs[VECTORS];
void loam_x86_trap(struct trap_frame *frame);
void loam_x86_lapic_enable(void);
void loam_x86_lapic_eoi(void);

static struct gate idt[256];
static struct tss tss[LOAM_BOOT_CPUS];
static uint64_t gdt[LOAM_BOOT_CPUS][5];

/* Stack 1 is for faults, 2 and 3 for double faults and NMIs, 4 for interrupts: each kind may hit
 * while a lower one is being handled. */
static unsigned ist_of(unsigned vector)
{
	return vector == VECTOR_DF ? 2 : vector == VECTOR_NMI ? 3 : vector >= VECTOR_IRQ ? 4 : 1;
}

static void load_tables(unsigned cpu, uintptr_t trap_high)
{
	uint64_t base = (uintptr_t)&tss[cpu];
	struct table_ptr ptr = {sizeof(gdt[0]) - 1, (uintptr_t)gdt[cpu]};

	for (unsigned i = 0; i < 4; i++)
		tss[cpu].ist[i] = trap_high - i * TRAP_STACK_BYTES;
	tss[cpu].iomap = sizeof(tss[0]);
	gdt[cpu][1] = UINT64_C(0x00af9a000000ffff);
	gdt[cpu][2] = UINT64_C(0x00cf92000000ffff);
	gdt[cpu][3] = (sizeof(tss[0]) - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
		      (base >> 24 & 0xff) << 56;
	gdt[cpu][4] = base >> 32;
	__asm__ volatile("lgdt %0" : : "m"(ptr));
	__asm__ volatile("ltr %0" : : "r"((uint16_t)0x18));
	ptr = (struct table_ptr){sizeof(idt) - 1, (uintptr_t)idt};
	__asm__ volatile("lidt %0" : : "m"(ptr));
	/* this CPU's number, for loam_machine_cpu_id */
	base = (uintptr_t)&loam_percpu[cpu];
	__asm__ volatile("wrmsr"
			 :
			 : "c"(MSR_GS_BASE), "a"((uint32_t)base), "d"((uint32_t)(base >> 32)));
}

void loam_machine_traps_init(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		uint64_t at = loam_x86_stubs[i];
		/* the last one is the spurious vector of the local APIC */
		unsigned vector = i == VECTORS - 1 ? 255 : i;

		idt[vector] = (struct gate){.offset_low = (uint16_t)at,
					    .selector = 8,
					    .ist = (uint8_t)ist_of(i),
					    .type = 0x8e,
					    .offset_mid = (uint16_t)(at >> 16),
					    .offset_high = (uint32_t)(at >> 32)};
	}
	load_tables(0, (uintptr_t)loam_trap_stack_base);
}

void loam_machine_cpu_init(struct loam_percpu *cpu)
{
	load_tables((unsigned)cpu->id, cpu->trap_high);
	loam_x86_lapic_enable();
	cpu->irqs = true;
}

unsigned loam_machine_cpu_id(void)
{
	uint64_t id;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(id));
	return (unsigned)id;
}

/* One instruction: every allocation asks. */
struct loam_thread *loam_host_thread(void)
{
	struct loam_thread *thread;

	__asm__ volatile("movq %%gs:8, %0" : "=r"(thread));
	return thread;
}

static const char *const name[32] = {
	"divide error",
	"debug",
	"NMI",
	"breakpoint",
	"overflow",
	"bound range",
	"invalid opcode",
	"no FPU",
	"double fault",
	"reserved 9",
	"invalid TSS",
	"segment not present",
	"stack fault",
	"general protection",
	"page fault",
	"reserved 15",
	"FPU error",
	"alignment check",
	"machine check",
	"SIMD error",
	"virtualization",
	"control protection",
	"reserved 22",
	"reserved 23",
	"reserved 24",
	"reserved 25",
	"reserved 26",
	"reserved 27",
	"hypervisor",
	"VMM communication",
	"security",
	"reserved 31",
};

static void dump(const void *frame)
{
	const struct trap_frame *f = frame;

	loam_log(LOAM_LOG_ERROR,
		 "  rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx\n"
		 "  rsi %016llx  rdi %016llx  rbp %016llx  rsp %016llx\n",
		 (unsigned long long)f->rax, (unsigned long long)f->rbx, (unsigned long long)f->rcx,
		 (unsigned long long)f->rdx, (unsigned long long)f->rsi, (unsigned long long)f->rdi,
		 (unsigned long long)f->rbp, (unsigned long long)f->rsp);
	loam_log(LOAM_LOG_ERROR,
		 "  r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx\n"
		 "  r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx\n",
		 (unsigned long long)f->r8, (unsigned long long)f->r9, (unsigned long long)f->r10,
		 (unsigned long long)f->r11, (unsigned long long)f->r12, (unsigned long long)f->r13,
		 (unsigned long long)f->r14, (unsigned long long)f->r15);
	loam_log(LOAM_LOG_ERROR, "  rip %016llx  rflags %08llx  error code %#llx\n",
		 (unsigned long long)f->rip, (unsigned long long)f->rflags,
		 (unsigned long long)f->code);
}

void loam_x86_trap(struct trap_frame *f)
{
	struct loam_fault fault = {.pc = f->rip, .sp = f->rsp};

	if (f->vector >= VECTOR_IRQ) {
		/* a shootdown, a stop of the world, or just a knock */
		loam_cpu_poll();
		if (f->vector != VECTORS - 1)
			loam_x86_lapic_eoi();
		loam_world_interrupt(f, f + 1, f->rsp);
		return;
	}
	__asm__ volatile("movq %%cr2, %0" : "=r"(fault.addr));
	/* page-fault error code: bit 0 present, bit 1 write, bit 3 reserved bit set in an entry, bit 4
	 * instruction fetch */
	fault.present = (f->code & 1) != 0;
	fault.external = f->vector == VECTOR_PF && (f->code & 8) != 0;
	fault.access = (f->code & 16) != 0  ? LOAM_ACCESS_EXEC
		       : (f->code & 2) != 0 ? LOAM_ACCESS_WRITE
					    : LOAM_ACCESS_READ;
	if (f->vector == VECTOR_DF) {
		/* the first fault found no stack to report on: the page fault's own address is
		 * still in CR2 */
		fault.access = LOAM_ACCESS_WRITE;
	}
	if (f->vector == VECTOR_PF && loam_fault_handle(&fault))
		return;
	if (loam_probe_armed && loam_machine_cpu_id() == 0) {
		fault.external |= f->vector != VECTOR_PF;
		loam_probe_fault = fault;
		f->rip = (uintptr_t)loam_probe_resume;
		f->rsp = loam_probe_sp;
		return;
	}
	loam_boot_fatal(f->vector == VECTOR_PF || f->vector == VECTOR_DF ? &fault : NULL,
			f->vector < 32 ? name[f->vector] : "unknown trap", dump, f);
}
