/* SPDX-License-Identifier: MIT */
/*
 * Contiguous runs: 16 leaves of a level, side by side and alike, that one TLB entry may serve
 * (aarch64; LOAM_ATTR_CONTIG). Theory: contig.c. The caller serialises changes.
 */
#ifndef LOAM_MM_CONTIG_H
#define LOAM_MM_CONTIG_H

#include "mm/ptab.h"

#define LOAM_CONTIG_ENTRIES 16u
#define LOAM_CONTIG_SHIFT   4u

/* May the 16 entries from `slot` on, which maps `pa`, become a run with `attr`? They begin one by
 * alignment on both sides, and nothing stands in them. */
bool loam_contig_fits(const struct loam_ptab *pt, const struct loam_ptab_slot *slot,
		      struct loam_paddr pa, uint32_t attr);

/* Is the leaf in `slot` one of a run? */
bool loam_contig_is(const struct loam_ptab *pt, const struct loam_ptab_slot *slot);

/* What hardware has noted of the leaf in `slot`, or of any leaf of its run: ACCESSED, DIRTY. */
uint32_t loam_contig_noted(const struct loam_ptab *pt, const struct loam_ptab_slot *slot);

/* The run around `slot` becomes 16 leaves of their own, `slot` read anew; nothing if it is in none.
 * Another CPU may see a spurious fault. */
void loam_contig_unfold(const struct loam_ptab *pt, struct loam_ptab_slot *slot);

/* The same for the run that `va` cuts in two, if any. */
void loam_contig_cut(const struct loam_ptab *pt, uint64_t va);

/* Panic unless the run around `slot` is one [PTAB-5]. */
void loam_contig_verify(const struct loam_ptab *pt, const struct loam_ptab_slot *slot);

#endif
