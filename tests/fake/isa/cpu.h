/* SPDX-License-Identifier: MIT */
/* The fake's CPU: nothing interrupts it, but it knows whether interrupts are masked. Contract:
 * arch/cpu.h. */
#ifndef LOAM_ISA_CPU_H
#define LOAM_ISA_CPU_H

#include <loam/types.h>

#include <string.h>

extern uintptr_t fake_irqs_masked;
extern uint64_t fake_completed; /* how often loam_cpu_complete was called */
void fake_unmasked(void);

static inline uintptr_t loam_irq_save(void)
{
	uintptr_t was = fake_irqs_masked;

	fake_irqs_masked = 1;
	return was;
}

static inline void loam_irq_restore(uintptr_t flags)
{
	fake_irqs_masked = flags;
	if (flags == 0)
		fake_unmasked();
}

static inline void loam_cpu_relax(void)
{
}

static inline uintptr_t loam_cpu_sp(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}

/* Nobody runs on the fake's memory: it is counted. */
extern unsigned fake_stack_touches;

static inline void loam_cpu_touch_stack(uintptr_t bytes)
{
	(void)bytes;
	fake_stack_touches++;
}

/* What the fake's MMU writes is there at once; that it was asked for can be seen. */
static inline void loam_cpu_complete(void)
{
	fake_completed++;
}

static inline void loam_cpu_zero_page(void *page)
{
	memset(page, 0, LOAM_PAGE_SIZE);
}

#endif
