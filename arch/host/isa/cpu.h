/* SPDX-License-Identifier: MIT */
/*
 * Linux: what interrupts are on the machine the stop signal is here, and a lock holder may be off its CPU. A thread that masks them is not
 * stopped until it has unmasked them: else it would stand with mm's lock, and who waits for that inside the allocator would never
 * leave it. Contract: arch/cpu.h.
 */
#ifndef LOAM_ISA_CPU_H
#define LOAM_ISA_CPU_H

#include <loam/types.h>

#include <sched.h>
#include <string.h>

/* How often this thread has masked; a stop came meanwhile. The thread's and its signal handler's: so only the compiler has to
 * keep the order. */
extern __thread unsigned loam_host_masked;
extern __thread bool loam_host_stop_due;
/* It did, and nothing is masked any more. */
void loam_host_unmasked(void);

static inline uintptr_t loam_irq_save(void)
{
	loam_host_masked++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return 0;
}

static inline void loam_irq_restore(uintptr_t flags)
{
	(void)flags;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	loam_host_masked--;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(loam_host_stop_due, 0) && loam_host_masked == 0)
		loam_host_unmasked();
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

/* Stacks are Linux's, or Ready as a whole. */
static inline void loam_cpu_touch_stack(uintptr_t bytes)
{
	(void)bytes;
}

/* What Linux tells of pages that were written it has from faults, which complete what is before them. */
static inline void loam_cpu_complete(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void loam_cpu_zero_page(void *page)
{
	memset(page, 0, LOAM_PAGE_SIZE);
}

#endif
