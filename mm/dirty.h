/* SPDX-License-Identifier: MIT */
/* Write tracking inside loam: what <loam/sys.h> offers is in dirty.c, with the theory. MMU back end only. */
#ifndef LOAM_MM_DIRTY_H
#define LOAM_MM_DIRTY_H

#include "mm/ptab.h"

/* Has a round ever looked at memory of this owner? Its new pages then begin as not written also where the CPU
 * keeps no dirty bit. Context: space lock held. */
bool loam_dirty_tracks(unsigned owner);

/* Writing below the table entry of level 1 for `va` is allowed again. Giving a right: nobody is told.
 * Context: any; without the space lock only for a page that is in use [DIRTY-6]. */
void loam_dirty_open(const struct loam_ptab *pt, uint64_t va);

/* Somebody comes to live in [va, va + size), where nothing is: at both ends writing is allowed, and no CPU remembers
 * otherwise, as it would if a round had closed what was beside it [DIRTY-4]. Context: space lock held. */
void loam_dirty_admit(const struct loam_ptab *pt, uint64_t va, uint64_t size);

/* Since loam_mm_init. Context: any, a figure of some moment. */
struct loam_dirty_stats {
	uint64_t rounds;
	uint64_t round_entries; /* page-table entries that rounds have read */
	uint64_t looks;
	uint64_t look_entries;
	uint64_t closed; /* table entries that rounds have closed */
	uint64_t opened; /* by first writes and moves */
	uint64_t split;	 /* huge leaves and contiguous runs that rounds have made smaller */
};
void loam_dirty_stats(struct loam_dirty_stats *stats);

/* Forget all rounds and aliases. Context: space lock held, or nobody else is there. */
void loam_dirty_reset(void);

#endif
