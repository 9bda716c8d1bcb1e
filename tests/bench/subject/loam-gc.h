/* SPDX-License-Identifier: MIT */
/* loam, collected, at its default pace. */
#define HEAP_NAME      "loam-gc"
#define HEAP_COLLECTED 1
#include "tests/bench/subject/loam.h"
