/* SPDX-License-Identifier: MIT */
/* The collector checked while it works: its marks (checkmark.c), and the program's barrier (audit.c). */
#ifndef LOAM_GC_CHECK_H
#define LOAM_GC_CHECK_H

#include "gc/heap.h"

/* Here a test may hold a thread up, for others to go first. LOAM_DEBUG 0: nothing. */
#if LOAM_DEBUG >= 1
extern void (*loam_at_place)(const char *place);
#define LOAM_PLACE(place) (loam_at_place != NULL ? loam_at_place(place) : (void)0)
#else
#define LOAM_PLACE(place) ((void)0)
#endif

/* ---- checkmark.c ---- */
LOAM_MUST_USE enum loam_err loam_checkmark_init(bool on);
void loam_checkmark_reset(void);
/* Marking is over and nothing is swept; stopped, the caller's stack from `sp` on. Panics if a mark is missing. */
void loam_checkmark_run(const void *sp);
/* Say what the last cycle's check has found. Outside, heap.collecting held. */
void loam_checkmark_tell(void);

/* ---- audit.c ---- */
extern uint64_t loam_audit_covered; /* stopped to write: bytes of the heap that are audited now */

/* Shall there be audits? If there can be; before the heap's range is reserved. */
void loam_audit_want(bool want);
LOAM_MUST_USE enum loam_err loam_audit_init(void);
void loam_audit_reset(void);
bool loam_audit_on(void);
/* Marking begins, or has ended; stopped. */
void loam_audit_begin(void);
void loam_audit_end(void);
/* As loam_checkmark_tell. */
void loam_audit_tell(void);
void loam_audit_record(const void *to, size_t size, bool racing);

/* The barrier knows of stores to these words, which come now. `racing`: other threads may be storing there too.
 * Inside, to the end of the stores. */
static inline void loam_audit_stores(const void *to, size_t size, bool racing)
{
	if (__builtin_expect(loam_audit_covered != 0, 0))
		loam_audit_record(to, size, racing);
}

#endif
