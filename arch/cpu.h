/* SPDX-License-Identifier: MIT */
/*
 * What mm and gc need of a CPU, besides its MMU. Each port's isa/cpu.h defines, inline:
 *
 *   loam_irq_save() / loam_irq_restore(flags)   mask interrupts on this CPU, nestable
 *   loam_cpu_relax()                            in a spin loop: let the other side run
 *   loam_cpu_sp()                               this stack pointer, for range checks
 *   loam_cpu_touch_stack(bytes)                 at most a page: this stack, down to so far below its
 *                                               pointer, is there from now on. Nothing where stacks
 *                                               are never loam's
 *   loam_cpu_complete()                         all CPUs see what this one has written, before
 *                                               it does anything else: also what its MMU does
 *                                               on its behalf, which fences do not order
 *   loam_cpu_zero_page(p)                       zero 4096 bytes at page-aligned p, the fastest
 *                                               way this CPU has
 *
 * and this file declares one out-of-line function a port writes in assembly (or C on Linux).
 */
#ifndef LOAM_ARCH_CPU_H
#define LOAM_ARCH_CPU_H

#include <loam/types.h>

#include "isa/cpu.h"

/*
 * Spill all callee-saved registers to the stack and call fn(arg, sp), where `sp` is below the
 * spilled registers: a conservative scan of [sp, stack base) sees every live pointer of the
 * caller. Source: the register-spill step of any conservative collector.
 */
void loam_cpu_spill(void (*fn)(void *arg, const void *sp), void *arg);

#endif
