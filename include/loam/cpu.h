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
 * its TLB holds. If it lacks what loam uses on the boot CPU (1 GiB pages, aarch64's dirty bits), that is a panic.
 * Fails: INVAL loam_host_cpu_id is not below LOAM_CPU_MAX; EXIST it has joined.
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

/*
 * This CPU is between two pieces of work, a turn of its scheduler for instance: it forgets what
 * loam_sys_unused_later waits for, if anything waits. Cheap when nothing does. It takes the space lock
 * when frames go back. Context: any without loam's locks; IRQs on or off.
 */
void loam_cpu_quiescent(void);

/*
 * Around the time that this CPU is idle, by code that stays on it: it counts as quiescent all along. In between it touches
 * nothing but what stays as it is, its own stack for instance; an interrupt handler that does
 * more calls loam_cpu_idle_leave first. Context: as loam_cpu_quiescent.
 */
void loam_cpu_idle_enter(void);
void loam_cpu_idle_leave(void);

struct loam_cpu_stats {
	uint64_t shootdowns;	  /* times that all CPUs were made to forget something at once */
	uint64_t ipis;		  /* interrupts sent for that */
	uint64_t served;	  /* requests that CPUs have served */
	uint64_t deferred_frames; /* that loam_sys_unused_later made wait */
	uint64_t epoch_frames;	  /* of those: went back with nobody interrupted */
	uint64_t waiting_frames;  /* now */
};

/* Since loam_mm_init; a consistent snapshot. Context: thread or IRQs off. */
void loam_cpu_stats(struct loam_cpu_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
