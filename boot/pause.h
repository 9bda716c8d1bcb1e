/* SPDX-License-Identifier: MIT */
/* How long the collector keeps a program from its work: the guest half of `make bench-pause`. */
#ifndef LOAM_BOOT_PAUSE_H
#define LOAM_BOOT_PAUSE_H

#include "boot/boot.h"

/*
 * Words of the command line: live=MIB of nodes (16; a power of two), garbage=MIB/s while a cycle marks (8), swaps=N nodes replaced a
 * second (500), cycles=N (6), near=1 for locality. With more than one CPU the second donates its time. Prints lines "pause WORD ...", which
 * tests/bench/pause.py reads. Returns NULL, or what went wrong. Context: thread (attached).
 */
const char *loam_pause_run(const struct loam_boot_info *info);

#endif
