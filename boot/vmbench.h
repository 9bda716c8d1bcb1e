/* SPDX-License-Identifier: MIT */
/* What operations on address space cost: the guest half of `make bench-vm`. */
#ifndef LOAM_BOOT_VMBENCH_H
#define LOAM_BOOT_VMBENCH_H

/* Print a line "bench WORKLOAD VALUE ns/page" each. Returns NULL, or what went wrong. */
const char *loam_vmbench_run(void);

#endif
