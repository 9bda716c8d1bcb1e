/* SPDX-License-Identifier: MIT */
/* For benchmarks of mm on Linux: physical memory is one mapping. Contract: arch/mmu.h. */
#ifndef LOAM_ISA_EFFECTS_H
#define LOAM_ISA_EFFECTS_H

#include "arch/mmu.h"

#define LOAM_TLB_SINGLES 10u

extern char *bench_ram;

static inline void *loam_frame_ptr(struct loam_paddr pa)
{
	return bench_ram + pa.raw;
}

#endif
