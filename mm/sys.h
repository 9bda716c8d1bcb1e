/* SPDX-License-Identifier: MIT */
/* The ten calls inside loam: what <loam/sys.h> offers, plus reset and verify, and what mm/vm.c and
 * mm/fault.c need of its lock and its books. */
#ifndef LOAM_MM_SYS_H
#define LOAM_MM_SYS_H

#include <loam/loam.h>
#include <loam/sys.h>

#include "mm/vspace.h"

/* Forget everything and loam_mm_init too, so that tests can call it again, also out of an expected panic.
 * Nothing is given back. */
void loam_mm_reset(void);

/* For mm/shutdown.c. Has loam_mm_init succeeded? No page is Prepared, Ready or Mapped: give everything back
 * and forget loam_mm_init. */
bool loam_sys_is_up(void);
void loam_sys_shutdown(void);

/* Recount every region from the page tables; panic on the first broken invariant [SYS-n]. */
void loam_sys_verify(void);

/*
 * For a fatal report: what can be said about `addr` without taking a lock. The answer may be
 * stale. Returns false if the address is outside the window or free. `history` gets the names of
 * the last calls on the region, newest first, at most `n`, NULL behind the last.
 */
bool loam_sys_report(uintptr_t addr, struct loam_sys_info *info, const char **history, unsigned n);

/* ---- for mm/vm.c and mm/fault.c; all but the first with the lock held ---- */

uintptr_t loam_sys_enter(void);
enum loam_err loam_sys_leave(uintptr_t irq, enum loam_err err);

/* Shape right, and every page in a reserved region that is (or is not) Mapped? */
bool loam_sys_range_is(uintptr_t base, size_t size, bool mapped);

LOAM_MUST_USE enum loam_err loam_sys_reserve_locked(uintptr_t hint, size_t size, size_t align,
						    enum loam_call call,
						    struct loam_region **region);
/* Stock what cutting the range out takes, then make it None. Its memory is gone already. */
LOAM_MUST_USE enum loam_err loam_sys_stock_for(uintptr_t base, size_t size);
void loam_sys_release(uintptr_t base, size_t size, enum loam_call call);

/* loam_sys_unused and loam_sys_free. */
LOAM_MUST_USE enum loam_err loam_sys_unused_locked(uintptr_t base, size_t size);
LOAM_MUST_USE enum loam_err loam_sys_free_locked(uintptr_t base, size_t size);

/* Has something run short that kept stacks have? True: they are freed, it is worth another try. */
bool loam_sys_short(enum loam_err err);

void loam_sys_note(uintptr_t base, size_t size, enum loam_call call);
void loam_sys_cut_ends(uintptr_t base, size_t size);
void loam_sys_merge(uintptr_t base, size_t size);
/* Bytes became Mapped (sign 1) or ceased to be (-1). */
void loam_sys_mapped(uint64_t bytes, int sign);
/* May so many bytes more be Ready? They are now, for `owner`; they were Prepared. */
bool loam_sys_may_fill(uint64_t bytes);
void loam_sys_filled(enum loam_owner owner, uint64_t bytes);

#endif
