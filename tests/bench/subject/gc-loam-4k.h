/* SPDX-License-Identifier: MIT */
/* loam with 4 KiB pages alone: memory is touched for the first time 4 KiB at a time, not 2 MiB. */
#define HEAP_NAME	 "loam-4k"
#define LOAM_NO_HUGEPAGE true
#include "tests/bench/subject/gc-loam.h"
