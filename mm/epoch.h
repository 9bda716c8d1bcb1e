/* SPDX-License-Identifier: MIT */
/*
 * Frames that wait until each CPU has passed a quiescent point, so that nobody is interrupted.
 * Theory: epoch.c. All but the public calls: space lock held.
 */
#ifndef LOAM_MM_EPOCH_H
#define LOAM_MM_EPOCH_H

#include "mm/frame.h"
#include "mm/tlb.h"

#include <loam/cpu.h>

/*
 * The pages [base, base + size) were taken out of the tables, and published; the frames of `list`
 * were behind them. This CPU forgets them now, the others at their next quiescent point; then
 * the frames go back. Takes the list over.
 */
void loam_epoch_defer(const struct loam_mmu *mmu, uintptr_t base, size_t size,
		      struct loam_frame_list *list);

/* Something will be mapped in the range, or its tables go: no CPU may remember what was there. */
void loam_epoch_settle(uintptr_t base, size_t size);

/* All that waits goes back now, if need be by interrupting the others. False: nothing waited. */
bool loam_epoch_settle_all(void);

/* CPU `cpu` is about to join, and will empty its TLB before the space lock is given up. */
void loam_epoch_join(unsigned cpu);
/* A CPU has left: it may have been the last that had not passed. */
void loam_epoch_leave(void);
/* Forget everything, for tests that init again; nothing may wait. */
void loam_epoch_reset(void);
/* Fills in its part. */
void loam_epoch_stats(struct loam_cpu_stats *stats);

#endif
