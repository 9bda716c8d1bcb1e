/* SPDX-License-Identifier: MIT */
/* The binary trees benchmark: many short-lived trees beside one that lives. */
#ifndef LOAM_BOOT_BINTREE_H
#define LOAM_BOOT_BINTREE_H

#include <loam/types.h>

/* Trees of up to `depth` levels (4 to 24); a line of text for each depth, unless `quiet`. Returns NULL, or
 * what went wrong. Context: thread (attached), any number at once. */
const char *loam_bintree_run(unsigned depth, bool quiet);

#endif
