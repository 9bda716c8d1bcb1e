/* SPDX-License-Identifier: MIT */
/*
 * The end of mm: everything goes back.
 *
 * First it is asked what the host still has: memory of owners that are not loam's own, frames behind no
 * page, mapped windows, CPUs that may run in loam's addresses. If there is any, the log names it by owner
 * and nothing is done. What the host only reserved holds nothing, and goes.
 *
 * Then, in this order, each step giving back to the next: kept stacks; the region records (what is still
 * reserved has neither frames nor tables); the tables that hang at the root; frames that wait for an epoch
 * to pass; known-zero frames, the CPUs' own, the reserve for interrupts. What is left to count is the buddies.
 *
 *   [SHUT-1] Afterwards as many frames are free as when the memory map had been read.
 *   [SHUT-2] A shutdown that is refused has changed nothing that the host can see.
 *
 * Concurrency: the caller sees to it that nobody else uses loam. The space lock is held all the same: the
 * steps are made of code that wants it.
 */
#include <loam/loam.h>

#include "mm/print.h"
#include "mm/space.h"
#include "mm/sys.h"

static bool is_loams(unsigned owner)
{
	return owner == LOAM_OWNER_HEAP || owner == LOAM_OWNER_GC;
}

/* One line of the log an owner that has something. */
static bool say_held(unsigned owner, uint64_t ready, uint64_t prepared, uint64_t frames)
{
	if (ready + prepared + frames == 0)
		return false;
	loam_log(LOAM_LOG_ERROR,
		 "loam: still held by owner %s: %k Ready, %k Prepared, %k of frames behind no "
		 "page\n",
		 loam_owner_name((enum loam_owner)owner), ready, prepared, frames);
	return true;
}

/* Does anybody hold anything? With `all`, the heap and the collector count too. */
static bool say_what_is_held(bool all)
{
	uint64_t frames[LOAM_OWNER_COUNT] = {0};
	struct loam_sys_stats sys;
	bool held = false, others;
	uintptr_t irq;

	(void)loam_stack_pool_release();
	loam_sys_stats(&sys);
	irq = loam_sys_enter();
	others = loam_space_held(sys.ready_bytes, frames);
	(void)loam_sys_leave(irq, LOAM_OK);
	for (unsigned o = LOAM_OWNER_NONE + 1; o < LOAM_OWNER_COUNT; o++) {
		bool count = all || !is_loams(o);

		held |= say_held(o, count ? sys.ready_bytes[o] : 0,
				 count ? sys.prepared_bytes[o] : 0, frames[o]);
	}
	if (sys.state_bytes[LOAM_STATE_MAPPED] != 0)
		loam_log(LOAM_LOG_ERROR, "loam: still mapped by loam_vm_map: %k\n",
			 sys.state_bytes[LOAM_STATE_MAPPED]);
	if (others)
		loam_log(LOAM_LOG_ERROR, "loam: other CPUs are online: loam_cpu_offline first\n");
	return held || others || sys.state_bytes[LOAM_STATE_MAPPED] != 0;
}

enum loam_err loam_mm_idle(void)
{
	if (!loam_sys_is_up())
		return LOAM_NOENT;
	return say_what_is_held(false) ? LOAM_BUSY : LOAM_OK;
}

enum loam_err loam_mm_shutdown(void)
{
	if (!loam_sys_is_up())
		return LOAM_NOENT;
	if (say_what_is_held(true))
		return LOAM_BUSY;
	loam_sys_shutdown();
	return LOAM_OK;
}
