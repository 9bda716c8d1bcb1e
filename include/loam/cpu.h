/* SPDX-License-Identifier: MIT */
/*
 * CPUs. The boot CPU joins in loam_mm_init; each other one calls loam_cpu_online once it is in
 * the kernel's address space, and takes part in every invalidation from then on.
 */
#ifndef LOAM_CPU_H
#define LOAM_CPU_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_CPU_MAX 64u

/*
 * This CPU uses loam's memory from now on: sets up its MMU as the boot CPU's is, forgets what
 * its TLB holds. Fails: INVAL loam_host_cpu_id is not below LOAM_CPU_MAX; EXIST it has joined.
 * Context: IRQs off.
 */
LOAM_MUST_USE enum loam_err loam_cpu_online(void);

/* This CPU touches loam's memory no more. Context: IRQs off. */
void loam_cpu_offline(void);

/*
 * Do what other CPUs have asked of this one: the handler of the interrupt that loam_host_ipi sends
 * calls this; so must code that waits for another CPU with interrupts off. Context: any.
 */
void loam_cpu_poll(void);

struct loam_cpu_stats {
	uint64_t shootdowns; /* times that other CPUs were asked and waited for */
	uint64_t ipis;	     /* interrupts sent for that */
	uint64_t served;     /* requests that CPUs have served */
};

/* Since loam_mm_init. Context: any. */
void loam_cpu_stats(struct loam_cpu_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
