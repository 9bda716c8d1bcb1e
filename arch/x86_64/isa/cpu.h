/* SPDX-License-Identifier: MIT */
/* x86_64: interrupts, spinning, zeroing. Contract: arch/cpu.h. */
#ifndef LOAM_ISA_CPU_H
#define LOAM_ISA_CPU_H

#include <loam/types.h>

/* RFLAGS.IF as it was; cli orders nothing, the "memory" clobber keeps the compiler honest. */
static inline uintptr_t loam_irq_save(void)
{
	uintptr_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags & 0x200;
}

static inline void loam_irq_restore(uintptr_t flags)
{
	if (flags != 0)
		__asm__ volatile("sti" : : : "memory");
}

static inline void loam_cpu_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline uintptr_t loam_cpu_sp(void)
{
	uintptr_t sp;

	__asm__ volatile("movq %%rsp, %0" : "=r"(sp));
	return sp;
}

static inline void loam_cpu_touch_stack(uintptr_t bytes)
{
	uintptr_t sp = loam_cpu_sp();

	__asm__ volatile("testb $0, (%0); testb $0, (%1)"
			 :
			 : "r"(sp), "r"(sp - bytes)
			 : "cc", "memory");
}

/* The walker sets A and D by locked writes, after older stores have left the store buffer; a full fence is as much. */
static inline void loam_cpu_complete(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* A plain loop of words: beats both string stores under emulation, and modern cores in
 * hardware keep up with it for one page. */
static inline void loam_cpu_zero_page(void *page)
{
	uint64_t *p = page;

	for (unsigned i = 0; i < 512; i += 8) {
		__asm__ volatile(
			"movq %1, 0(%0); movq %1, 8(%0); movq %1, 16(%0); movq %1, 24(%0);"
			"movq %1, 32(%0); movq %1, 40(%0); movq %1, 48(%0); movq %1, 56(%0)"
			:
			: "r"(p + i), "r"((uint64_t)0)
			: "memory");
	}
}

#endif
