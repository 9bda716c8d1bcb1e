/* SPDX-License-Identifier: MIT */
/* Linux: no interrupts to mask, and a lock holder may be off its CPU. Contract: arch/cpu.h. */
#ifndef LOAM_ISA_CPU_H
#define LOAM_ISA_CPU_H

#include <loam/types.h>

#include <sched.h>
#include <string.h>

static inline uintptr_t loam_irq_save(void)
{
	return 0;
}

static inline void loam_irq_restore(uintptr_t flags)
{
	(void)flags;
}

/* Spinning against a thread that was preempted wastes a time slice: give it away. */
static inline void loam_cpu_relax(void)
{
	sched_yield();
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
