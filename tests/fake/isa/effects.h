/* SPDX-License-Identifier: MIT */
/* The effects of arch/mmu.h on the fake machine. Theory: tests/fake/fake.c. */
#ifndef LOAM_ISA_EFFECTS_H
#define LOAM_ISA_EFFECTS_H

#include "arch/mmu.h"

/* Small, so that tests cross it. */
#define LOAM_TLB_SINGLES 6u

void *loam_frame_ptr(struct loam_paddr pa);
uint64_t loam_pt_load(struct loam_paddr table, unsigned index);
void loam_pt_store(struct loam_paddr table, unsigned index, uint64_t pte);
uint64_t loam_pt_swap(struct loam_paddr table, unsigned index, uint64_t pte);
bool loam_pt_cas(struct loam_paddr table, unsigned index, uint64_t old, uint64_t pte);
void loam_pt_publish(const struct loam_mmu *mmu);
void loam_tlb_local(const struct loam_mmu *mmu, uint64_t va, uint64_t count, unsigned level,
		    bool tables);
void loam_tlb_local_all(const struct loam_mmu *mmu);
void loam_tlb_broadcast(const struct loam_mmu *mmu, uint64_t va, uint64_t count, unsigned level,
			bool tables);
void loam_tlb_broadcast_all(const struct loam_mmu *mmu);

#endif
