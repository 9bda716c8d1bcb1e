/* SPDX-License-Identifier: MIT */
/* The same program with and without a write barrier: the guest half of `make soak`. */
#ifndef LOAM_BOOT_SOAK_H
#define LOAM_BOOT_SOAK_H

#include "boot/boot.h"

/*
 * Words of the command line: seconds=N (8), seed=N, epochs=N (as many as there is time for). All CPUs that run take part.
 * After each epoch a line "soak epoch N ... checksum X", which must be the same with any barrier, on any machine. Returns NULL, or
 * what went wrong. Context: thread (attached).
 */
const char *loam_soak_run(const struct loam_boot_info *info);

#endif
