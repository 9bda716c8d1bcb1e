/* SPDX-License-Identifier: MIT */
/*
 * The IRQ-saving spin lock of mm. Taking one masks interrupts on this CPU until it is released,
 * so an interrupt handler may take frames. Nothing under one may allocate from the heap, fault,
 * or call a hook other than panic and log. mm/lockrank.h lists the order.
 */
#ifndef LOAM_MM_LOCK_H
#define LOAM_MM_LOCK_H

#include "arch/cpu.h"
#include "arch/check.h"
#include "mm/lockrank.h"

#include <loam/cpu.h>

struct loam_lock {
	uint32_t held; /* atomic: 0 free, 1 held; acquire in lock pairs with release in unlock */
	uint32_t rank; /* enum loam_lock_rank; constant */
};

#define LOAM_LOCK_INIT(r) \
	{                 \
		0, (r)    \
	}

/*
 * While spinning with interrupts off: serve a shootdown, whose initiator may hold this very lock
 * and wait for us.
 */
static inline void loam_cpu_poll_or_relax(void)
{
	loam_cpu_poll();
	loam_cpu_relax();
}

/* Take `lock`; returns what loam_unlock wants back. Context: any. */
static inline uintptr_t loam_lock(struct loam_lock *lock)
{
	uintptr_t flags = loam_irq_save();

	loam_lockrank_acquire(lock->rank);
	while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE) != 0) {
		/* relaxed: only a hint that the exchange may succeed now */
		while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED) != 0)
			loam_cpu_poll_or_relax();
	}
	return flags;
}

static inline void loam_unlock(struct loam_lock *lock, uintptr_t flags)
{
	LOAM_ASSERT(__atomic_load_n(&lock->held, __ATOMIC_RELAXED) == 1);
	/* release: pairs with the exchange of the next holder */
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
	loam_lockrank_release(lock->rank);
	loam_irq_restore(flags);
}

#endif
