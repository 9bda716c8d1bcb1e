/* SPDX-License-Identifier: MIT */
/*
 * Stacks: <loam/stack.h>. One reservation each: a guard page, the body, a guard page. The guards
 * stay Reserved, so a touch of one traps, and the report finds the stack beside it. The body is
 * Prepared and lazy: the fault handler fills it. Its cost is what it uses, its share of the page
 * tables (4 KiB a 2 MiB of addresses) and three region records. Freed stacks of usual sizes are
 * kept (mm/stackpool.c).
 *
 *   [STACK-1] [low - page, low) and [high, high + page) are Reserved as long as the stack lives.
 *   [STACK-2] Whoever holds a lock of mm's, or spins for one, has LOAM_STACK_ROOM bytes of stack below where it began to:
 *             they are there, or a trap under the lock would find nobody who may fill the page. mm/lockrank.h touches them;
 *             lint adds up what mm's functions take of a stack, and fails if that is more.
 */
#include <loam/stack.h>
#include <loam/sys.h>
#include <loam/vm.h>

#include "mm/stackpool.h"
#include "mm/sys.h"

#define GUARD ((size_t)LOAM_PAGE_SIZE)

static uintptr_t from_pool(size_t size)
{
	uintptr_t irq = loam_sys_enter(), low = loam_stackpool_take_locked(size);

	(void)loam_sys_leave(irq, LOAM_OK);
	return low;
}

enum loam_err loam_stack_alloc(size_t size, struct loam_stack *stack)
{
	uintptr_t base, low, high;
	enum loam_err err, undone;

	if (stack == NULL || size == 0 || size > SIZE_MAX / 2)
		return LOAM_INVAL;
	size = loam_align_up(size, LOAM_PAGE_SIZE);
	low = from_pool(size);
	if (low != 0) {
		*stack = (struct loam_stack){low, low + size, LOAM_PAGE_SIZE};
		return LOAM_OK;
	}
	err = loam_sys_reserve(0, size + 2 * GUARD, 0, &base);
	if (err != LOAM_OK)
		return err;
	low = base + GUARD;
	high = low + size;
	err = loam_sys_map(low, size, LOAM_OWNER_STACK);
	if (err == LOAM_OK)
		err = loam_vm_lazy(low, size, true);
	if (err == LOAM_NOTSUP) /* no fault handler of ours here: all of it now */
		err = loam_sys_used(low, size, NULL);
	else if (err == LOAM_OK)
		err = loam_sys_used(high - LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, NULL);
	if (err != LOAM_OK) {
		undone = loam_sys_free(base, size + 2 * GUARD); /* whole: takes no record */
		(void)undone;
		return err;
	}
	*stack = (struct loam_stack){low, high, LOAM_PAGE_SIZE};
	return LOAM_OK;
}

static bool is_guard(const struct loam_region *guard, const struct loam_region *body)
{
	return guard != NULL && guard->reservation == body->reservation &&
	       guard->owner == LOAM_OWNER_NONE;
}

/* Is [low, high) a stack that somebody has, with its guards? Then the region that it begins with. */
static struct loam_region *stack_locked(uintptr_t low, uintptr_t high)
{
	struct loam_region *r = loam_vspace_find(low);

	if (r == NULL || r->base != low || r->reservation == 0 || r->owner != LOAM_OWNER_STACK ||
	    r->pooled || !is_guard(loam_vspace_find(low - 1), r) ||
	    !is_guard(loam_vspace_find(high), r) || is_guard(loam_vspace_find(high - 1), r))
		return NULL;
	return r;
}

static enum loam_err free_locked(uintptr_t low, uintptr_t high)
{
	struct loam_region *r = stack_locked(low, high);

	if (r == NULL)
		return LOAM_INVAL;
	if (r->size == high - low && loam_stackpool_put_locked(r))
		return LOAM_OK;
	return loam_sys_free_locked(low - GUARD, high - low + 2 * GUARD);
}

enum loam_err loam_stack_free(struct loam_stack *stack)
{
	enum loam_err err;
	uintptr_t irq;

	if (stack == NULL || stack->low >= stack->high)
		return LOAM_INVAL;
	irq = loam_sys_enter();
	err = loam_sys_leave(irq, free_locked(stack->low, stack->high));
	if (err == LOAM_OK)
		*stack = (struct loam_stack){0};
	return err;
}

static bool is_ready(uintptr_t addr)
{
	struct loam_sys_info info;

	return loam_sys_query(addr, &info) == LOAM_OK && info.state == LOAM_STATE_READY;
}

size_t loam_stack_committed(struct loam_stack *stack)
{
	size_t bytes = 0;

	for (uintptr_t at = stack->low; at < stack->high; at += LOAM_PAGE_SIZE)
		bytes += is_ready(at) ? LOAM_PAGE_SIZE : 0;
	if (bytes > stack->high_water)
		stack->high_water = bytes;
	return bytes;
}

size_t loam_stack_trim(struct loam_stack *stack, uintptr_t sp)
{
	size_t before = loam_stack_committed(stack);
	uintptr_t keep = loam_align_down(sp, LOAM_PAGE_SIZE);

	if (sp < stack->low || sp > stack->high || keep - stack->low < 2 * LOAM_PAGE_SIZE)
		return 0;
	keep -= LOAM_PAGE_SIZE;
	if (loam_sys_unused(stack->low, keep - stack->low) != LOAM_OK)
		return 0;
	return before - loam_stack_committed(stack);
}
