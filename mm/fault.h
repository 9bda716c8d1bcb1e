/* SPDX-License-Identifier: MIT */
/* What to say about a fault that cannot be repaired. */
#ifndef LOAM_MM_FAULT_H
#define LOAM_MM_FAULT_H

#include <loam/vm.h>

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
