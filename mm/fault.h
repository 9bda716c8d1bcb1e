/* SPDX-License-Identifier: MIT */
/* What to say about a fault that cannot be repaired. */
#ifndef LOAM_MM_FAULT_H
#define LOAM_MM_FAULT_H

#include <loam/types.h>

enum loam_access {
	LOAM_ACCESS_READ,
	LOAM_ACCESS_WRITE,
	LOAM_ACCESS_EXEC,
};

struct loam_fault {
	uintptr_t addr; /* that was touched */
	uintptr_t pc;	/* of the instruction */
	uintptr_t sp;	/* at that time */
	enum loam_access access;
	bool present;  /* the page was there: a right was missing */
	bool external; /* not a translation or permission matter at all */
};

/* A named stretch of addresses that the host kernel tells the report about. */
struct loam_fault_area {
	const char *name; /* "text", "boot stack guard" */
	uintptr_t base, end;
	bool guard; /* a touch here is a stack overflow */
};

/* Tell the report about the host's own areas; `area` stays the caller's and must stay valid. */
void loam_fault_areas(const struct loam_fault_area *area, size_t count);

/*
 * Log what happened, in words: the access, the address, what is there (area, or region of the
 * window with state, owner and history), and the page walk. Takes no lock and no memory.
 * Context: any, locks held.
 */
void loam_fault_report(const struct loam_fault *fault);

#endif
