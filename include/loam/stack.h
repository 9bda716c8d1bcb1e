/* SPDX-License-Identifier: MIT */
/*
 * Stacks: address space with a guard page at both ends, filled as it is touched, given back
 * below the stack pointer on request. A C program has no stack maps, so stacks do not move: they
 * are reserved as large as they may become and cost what they use.
 */
#ifndef LOAM_STACK_H
#define LOAM_STACK_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A stack: [low, high), growing down from high. The caller's record; loam keeps no pointer. */
struct loam_stack {
	uintptr_t low, high;
	size_t high_water; /* most bytes that were ever committed, as of the last look */
};

/*
 * Reserve `size` bytes (rounded up to pages) and the guards, and commit the highest page.
 * Fails: INVAL size 0; NOVIRT; NOMEM; LIMIT. Context: thread or IRQs off.
 */
LOAM_MUST_USE enum loam_err loam_stack_alloc(size_t size, struct loam_stack *stack);

/* Give all of it back. Nobody may run on it. Fails: INVAL no stack. */
LOAM_MUST_USE enum loam_err loam_stack_free(struct loam_stack *stack);

/*
 * Give back the pages below `sp` (any address in the stack), but for one page of slack that the
 * next call will touch anyway. Returns bytes given back. Context: thread or IRQs off.
 */
size_t loam_stack_trim(struct loam_stack *stack, uintptr_t sp);

/* Bytes committed now; brings high_water up to date. */
size_t loam_stack_committed(struct loam_stack *stack);

#ifdef __cplusplus
}
#endif

#endif
