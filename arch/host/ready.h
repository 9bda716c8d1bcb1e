/* SPDX-License-Identifier: MIT */
/* What arch/host/space.c and write tracking want of each other. */
#ifndef LOAM_ARCH_HOST_READY_H
#define LOAM_ARCH_HOST_READY_H

#include "mm/space.h"

/* The first run of Ready pages in [at, end); false: there is none. Stacks of loam's are passed by. Context: space lock held. */
bool loam_host_next_ready(uintptr_t at, uintptr_t end, uintptr_t *base, size_t *size);

/* dirty.c: [base, base + size) is about to move, so the kernel tracks it no longer. Context: same. */
void loam_host_untrack(uintptr_t base, size_t size);

#endif
