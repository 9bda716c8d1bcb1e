/* SPDX-License-Identifier: MIT */
/* Stopping the threads of the other CPUs. The hooks themselves are in <loam/host.h>. */
#ifndef LOAM_BOOT_WORLD_H
#define LOAM_BOOT_WORLD_H

#include <loam/host.h>

/*
 * In the handler of the interrupt that loam_host_ipi sends, once it has been acknowledged: stop here if
 * that is asked. [regs, regs_end) holds the registers of the interrupted code, and `sp` is its stack
 * pointer; the former need not be on the latter's stack. Context: IRQs off.
 */
void loam_world_interrupt(const void *regs, const void *regs_end, uintptr_t sp);

struct loam_world_stats {
	uint64_t stops;
	uint64_t stop_ns;    /* to stop everybody, in all */
	uint64_t longest_ns; /* and at most */
	uint64_t late;	     /* complaints about a CPU that does not stop */
	unsigned late_cpu;   /* of the last one: which CPU, */
	bool late_deaf;	     /* whether it has not even taken the interrupt, */
	bool late_inside;    /* and whether its thread was in the allocator */
};

void loam_world_stats(struct loam_world_stats *stats);

/* Complaints so far. Context: any, also amid a stop. */
uint64_t loam_world_late(void);

/* Complain after so long about a CPU that does not stop, and again after each five times that; returns
 * what it was: one second at first. For tests. */
uint64_t loam_world_patience(uint64_t ns);

#endif
