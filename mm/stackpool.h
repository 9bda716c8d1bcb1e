/* SPDX-License-Identifier: MIT */
/* Freed stacks that are kept for the next one who wants such. Theory: stackpool.c. The space lock is held
 * for everything here. */
#ifndef LOAM_MM_STACKPOOL_H
#define LOAM_MM_STACKPOOL_H

#include "mm/vspace.h"

/* A kept stack of `size` bytes becomes somebody's: its lowest address, or 0 if none is kept. */
uintptr_t loam_stackpool_take_locked(size_t size);

/* The stack whose body is region `r` has been freed: keep it? False: it is to be freed, as it was. */
bool loam_stackpool_put_locked(struct loam_region *r);

/* Free all that is kept. Returns how many Ready bytes that were. */
size_t loam_stackpool_release_locked(void);

/* Nothing is kept any more, for tests that init again. */
void loam_stackpool_reset(void);

#endif
