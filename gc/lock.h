/* SPDX-License-Identifier: MIT */
/*
 * The collector's spin lock. It keeps interrupts on: heap calls come from threads, never from
 * interrupt handlers, and a sweep under the lock must not delay an interrupt. Ranks before every
 * lock of mm (mm/lockrank.h).
 */
#ifndef LOAM_GC_LOCK_H
#define LOAM_GC_LOCK_H

#include "arch/cpu.h"

struct loam_gc_lock {
	uint32_t held; /* atomic: acquire on take, release on drop */
};

static inline bool loam_gc_trylock(struct loam_gc_lock *lock)
{
	return __atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE) == 0;
}

static inline void loam_gc_lock(struct loam_gc_lock *lock)
{
	while (!loam_gc_trylock(lock)) {
		/* relaxed: only a hint that the exchange may succeed now */
		while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED) != 0)
			loam_cpu_relax();
	}
}

static inline void loam_gc_unlock(struct loam_gc_lock *lock)
{
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

#endif
