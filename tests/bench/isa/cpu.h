/* SPDX-License-Identifier: MIT */
/* For benchmarks of mm on Linux: a CPU without interrupts. Contract: arch/cpu.h. */
#ifndef LOAM_ISA_CPU_H
#define LOAM_ISA_CPU_H

#include <loam/types.h>

#include <string.h>

static inline uintptr_t loam_irq_save(void)
{
	return 0;
}

static inline void loam_irq_restore(uintptr_t flags)
{
	(void)flags;
}

static inline void loam_cpu_relax(void)
{
	__asm__ volatile("" : : : "memory");
}

static inline uintptr_t loam_cpu_sp(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}

static inline void loam_cpu_zero_page(void *page)
{
	memset(page, 0, LOAM_PAGE_SIZE);
}

#endif
