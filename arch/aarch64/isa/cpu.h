/* SPDX-License-Identifier: MIT */
/* aarch64: interrupts, spinning, zeroing. Contract: arch/cpu.h. */
#ifndef LOAM_ISA_CPU_H
#define LOAM_ISA_CPU_H

#include <loam/types.h>

/* DAIF as it was; masks IRQ and FIQ. Writes to DAIF are self-synchronising (Arm ARM, "PSTATE"). */
static inline uintptr_t loam_irq_save(void)
{
	uintptr_t flags;

	__asm__ volatile("mrs %0, daif; msr daifset, #3" : "=r"(flags) : : "memory");
	return flags;
}

static inline void loam_irq_restore(uintptr_t flags)
{
	__asm__ volatile("msr daif, %0" : : "r"(flags) : "memory");
}

static inline void loam_cpu_relax(void)
{
	__asm__ volatile("yield" : : : "memory");
}

static inline uintptr_t loam_cpu_sp(void)
{
	uintptr_t sp;

	__asm__ volatile("mov %0, sp" : "=r"(sp));
	return sp;
}

static inline void loam_cpu_touch_stack(uintptr_t bytes)
{
	uintptr_t sp = loam_cpu_sp();

	__asm__ volatile("ldrb wzr, [%0]; ldrb wzr, [%1]" : : "r"(sp), "r"(sp - bytes) : "memory");
}

/* A dmb would not order the table walker's updates of dirty state (Arm ARM, "DSB"). */
static inline void loam_cpu_complete(void)
{
	__asm__ volatile("dsb ish" : : : "memory");
}

/* DC ZVA writes a whole block of zeros, 4 << DCZID_EL0.BS bytes, if DCZID_EL0.DZP is clear;
 * a pair-store loop serves otherwise. Normal memory only: a frame in the direct map is. */
static inline void loam_cpu_zero_page(void *page)
{
	uint64_t id;
	char *p = page, *end = p + LOAM_PAGE_SIZE;

	__asm__ volatile("mrs %0, dczid_el0" : "=r"(id));
	if ((id & 0x10) == 0) {
		uint64_t block = (uint64_t)4 << (id & 0xf);

		for (; p < end; p += block)
			__asm__ volatile("dc zva, %0" : : "r"(p) : "memory");
		return;
	}
	for (; p < end; p += 64) {
		__asm__ volatile("stp xzr, xzr, [%0]; stp xzr, xzr, [%0, #16];"
				 "stp xzr, xzr, [%0, #32]; stp xzr, xzr, [%0, #48]"
				 :
				 : "r"(p)
				 : "memory");
	}
}

#endif
