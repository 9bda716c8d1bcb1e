/* SPDX-License-Identifier: MIT */
/* The ten calls inside loam: what <loam/sys.h> offers, plus reset and verify. */
#ifndef LOAM_MM_SYS_H
#define LOAM_MM_SYS_H

#include <loam/loam.h>
#include <loam/sys.h>

/* Free everything and forget loam_mm_init, so that tests can call it again. */
void loam_mm_reset(void);

/* Recount every region from the page tables; panic on the first broken invariant [SYS-n]. */
void loam_sys_verify(void);

/*
 * For a fatal report: what can be said about `addr` without taking a lock. The answer may be
 * stale. Returns false if the address is outside the window or free. `history` gets the names of
 * the last calls on the region, newest first, at most `n`, NULL behind the last.
 */
bool loam_sys_report(uintptr_t addr, struct loam_sys_info *info, const char **history, unsigned n);

#endif
