/* SPDX-License-Identifier: MIT */
/*
 * The fatal report: an address explained.
 *
 * Whoever faulted may hold any lock, so this takes none: it reads region records, which are
 * type-stable, and page tables as they stand. The answer may be a moment stale; it cannot
 * fault, because everything it reads is in the direct map or in the image.
 *
 * Order of explanation: the null page, the host's named areas (image sections, stack guards),
 * the window (what loam_sys_* knows), else "nobody's".
 */
#include <loam/vm.h>

#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"

#define HISTORY 6u

static const struct loam_fault_area *areas; /* boot only */
static size_t area_count;		    /* boot only */

void loam_fault_areas(const struct loam_fault_area *area, size_t count)
{
	areas = area;
	area_count = count;
}

static const struct loam_fault_area *area_of(uintptr_t addr)
{
	for (size_t i = 0; i < area_count; i++) {
		if (addr >= areas[i].base && addr < areas[i].end)
			return &areas[i];
	}
	return NULL;
}

static const char *verb(enum loam_access access)
{
	return access == LOAM_ACCESS_READ    ? "read"
	       : access == LOAM_ACCESS_WRITE ? "write"
					     : "execute";
}

/* Is the page beside this one a stack of loam's? Then this is its guard. */
static bool say_stack(uintptr_t addr)
{
	const char *history[HISTORY];
	struct loam_sys_info info;

	if (loam_sys_report(addr + LOAM_PAGE_SIZE, &info, history, HISTORY) &&
	    info.owner == LOAM_OWNER_STACK)
		loam_log(LOAM_LOG_ERROR,
			 "  cause    stack overflow: guard below the stack %#llx + %k\n",
			 (unsigned long long)info.region_base, (uint64_t)info.region_size);
	else if (loam_sys_report(addr - LOAM_PAGE_SIZE, &info, history, HISTORY) &&
		 info.owner == LOAM_OWNER_STACK)
		loam_log(LOAM_LOG_ERROR,
			 "  cause    stack underflow: guard above the stack %#llx + %k\n",
			 (unsigned long long)info.region_base, (uint64_t)info.region_size);
	else
		return false;
	return true;
}

static void say_window(const struct loam_fault *f, const struct loam_sys_info *info,
		       const char *const *history)
{
	bool revoked = history[0] != NULL && history[0][0] == 'f'; /* fault or free */

	switch (info->state) {
	case LOAM_STATE_READY:
		loam_log(LOAM_LOG_ERROR, "  cause    %s\n",
			 f->access == LOAM_ACCESS_EXEC
				 ? "execute of memory that is not executable"
				 : "a right was missing, another CPU changed the mapping just now, "
				   "or loam_fault_handle was not asked");
		break;
	case LOAM_STATE_PREPARED:
		loam_log(LOAM_LOG_ERROR, "  cause    %s\n",
			 revoked      ? "touch of a stack after loam_stack_free"
			 : info->lazy ? "touch of memory that fills itself: no frame was left, or "
					"loam_fault_handle was not asked"
				      : "touch of Prepared memory: loam_sys_used comes first");
		break;
	default:
		if (say_stack(f->addr))
			break;
		loam_log(LOAM_LOG_ERROR, "  cause    %s\n",
			 revoked ? "touch after loam_sys_fault: the range was revoked, use after "
				   "free"
				 : "touch of Reserved memory: it was never mapped");
		break;
	}
	loam_log(LOAM_LOG_ERROR, "  region   %#llx + %k, state %s, owner %s\n",
		 (unsigned long long)info->region_base, (uint64_t)info->region_size,
		 loam_state_name(info->state), loam_owner_name(info->owner));
	loam_log(LOAM_LOG_ERROR, "  history ");
	for (unsigned i = 0; i < HISTORY && history[i] != NULL; i++)
		loam_log(LOAM_LOG_ERROR, " %s%s", i > 0 ? "<- " : "", history[i]);
	loam_log(LOAM_LOG_ERROR, "\n");
}

static void say_area(const struct loam_fault *f, const struct loam_fault_area *area)
{
	if (area->guard)
		loam_log(LOAM_LOG_ERROR, "  cause    stack overflow: %s\n", area->name);
	else
		loam_log(LOAM_LOG_ERROR, "  cause    %s to %s, which does not allow it\n",
			 verb(f->access), area->name);
	loam_log(LOAM_LOG_ERROR, "  region   %s, %#llx to %#llx, owner image\n", area->name,
		 (unsigned long long)area->base, (unsigned long long)area->end);
}

void loam_fault_report(const struct loam_fault *f)
{
	const struct loam_fault_area *area = area_of(f->addr);
	const char *history[HISTORY];
	struct loam_sys_info info;

	loam_log(LOAM_LOG_ERROR, "  access   %s of %#llx by pc %#llx, sp %#llx (%s)\n",
		 verb(f->access), (unsigned long long)f->addr, (unsigned long long)f->pc,
		 (unsigned long long)f->sp, f->present ? "present, right missing" : "not present");
	if (f->external) {
		loam_log(LOAM_LOG_ERROR,
			 "  cause    not a matter of page tables, or an entry there that this CPU "
			 "cannot use\n");
	} else if (area != NULL) {
		say_area(f, area);
	} else if (f->addr < LOAM_PAGE_SIZE) {
		loam_log(LOAM_LOG_ERROR,
			 "  cause    null pointer %s\n  region   null page, owner none\n",
			 verb(f->access));
	} else if (loam_sys_report(f->addr, &info, history, HISTORY)) {
		say_window(f, &info, history);
	} else {
		loam_log(LOAM_LOG_ERROR, "  cause    wild pointer: nothing is there\n"
					 "  region   none, owner none\n");
	}
	if (loam_space_ptab()->mmu != NULL) {
		loam_log(LOAM_LOG_ERROR, "  walk\n");
		loam_ptab_dump_walk(loam_space_ptab(), f->addr);
	}
}
