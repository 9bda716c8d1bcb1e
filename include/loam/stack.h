/* SPDX-License-Identifier: MIT */
/*
 * Stacks: address space with a guard page at both ends, filled as it is touched, given back
 * below the stack pointer on request. A C program has no stack maps, so stacks do not move: they
 * are reserved as large as they may become and cost what they use. Filling is done by the host's
 * page-fault handler, which runs on another stack and calls loam_fault_handle (<loam/vm.h>).
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
 * Every call into loam needs so much room on the stack it is made on, whosever that is: before the first of its locks loam reads a
 * byte so far below the stack pointer, so that a stack that fills itself has what it takes. With less room that read hits
 * the guard, which is reported as the overflow that it is about to be. Context: a constant.
 */
#define LOAM_STACK_ROOM 4096u

/*
 * Reserve `size` bytes (rounded up to pages) and the guards, and commit the highest page. What is
 * committed has undefined contents: the stack may have been somebody's before (loam_stack_free).
 * Fails: INVAL size 0; NOVIRT; NOMEM; LIMIT. Context: thread or IRQs off.
 */
LOAM_MUST_USE enum loam_err loam_stack_alloc(size_t size, struct loam_stack *stack);

/*
 * Give it back. Nobody may run on it. A stack of a usual size (a power of two, 16 KiB to 1 MiB) is
 * kept for the next loam_stack_alloc of that size, with its guards, its tables and its highest page (all of it on
 * Linux), as long as loam_stack_pool_limit allows; a touch of it traps below that page.
 * Fails: INVAL no stack, or freed already.
 */
LOAM_MUST_USE enum loam_err loam_stack_free(struct loam_stack *stack);

/*
 * Give back the pages below `sp` (any address in the stack), but for one page of slack that the
 * next call will touch anyway. Returns bytes given back. Context: thread or IRQs off.
 */
size_t loam_stack_trim(struct loam_stack *stack, uintptr_t sp);

/* Bytes committed now; brings high_water up to date. */
size_t loam_stack_committed(struct loam_stack *stack);

/* What freed stacks that are kept may have committed, unless loam_stack_pool_limit says otherwise. */
#define LOAM_STACK_POOL_BYTES ((size_t)1 << 20)

/*
 * Free all stacks that are kept; returns the bytes that were committed in them. loam does this itself before
 * one of its calls fails for want of memory, addresses or the limit of loam_sys_set_limit; do it
 * when loam_frame_alloc fails. Context: thread or IRQs off.
 */
size_t loam_stack_pool_release(void);

/* Keep at most `bytes` committed in freed stacks from now on; 0: keep none. Context: as above. */
void loam_stack_pool_limit(size_t bytes);

struct loam_stack_stats {
	uint64_t pooled;       /* freed stacks that are kept */
	uint64_t pooled_bytes; /* committed in those; part of what owner STACK has Ready */
	uint64_t limit_bytes;  /* of loam_stack_pool_limit */
	uint64_t reused;       /* stacks that were kept and then taken, since loam_mm_init */
};

/* A consistent snapshot. Context: as above. */
void loam_stack_stats(struct loam_stack_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
