/* SPDX-License-Identifier: MIT */
/*
 * Which locks each CPU holds: a set of ranks. A CPU holds its locks with interrupts off, so its own
 * word is touched by nobody else. The order is checked at LOAM_DEBUG >= 1. [LOCK-1] A lock is
 * taken only while every held lock has a smaller rank. The functions are in the header: every lock
 * passes here.
 */
#include "mm/lockrank.h"

struct loam_lockrank loam_lockrank[LOAM_CPU_MAX];
