/* SPDX-License-Identifier: MIT */
/*
 * One driver for the heap's calls: a string of bytes is a program of operations, run against the
 * shadow graph (tests/fuzz/shadow.h). Random tests, the fuzzer, the corpus and the soaks all come through
 * here. Every string is a program; each failure is told with its operation and its place in the
 * string and ends in cmocka's fail_msg. Must be called from one thread, with no heap up.
 *
 * The first two bytes choose the world: how big objects get, how many there may be, whether
 * memory may run out. Then each operation is a byte and as many bytes of arguments as it takes.
 */
#ifndef LOAM_TESTS_HEAP_OPS_H
#define LOAM_TESTS_HEAP_OPS_H

#include "tests/host/support.h"

/* Run a program, on a heap of its own. Returns the operations executed. */
uint64_t heap_ops_run(const unsigned char *bytes, size_t size);

/* A random program of so many operations. */
uint64_t heap_ops_random(uint64_t seed, uint64_t ops);

/*
 * Random operations for so long, with at most `limit_bytes` Ready and the live set at that limit:
 * every NULL is accepted. `*nulls`: how many there were.
 */
uint64_t heap_ops_soak(uint64_t seed, unsigned seconds, uint64_t limit_bytes, uint64_t *nulls);

/* Where a random program that failed is written, for the fuzzer to shorten. NULL: nowhere. */
extern const char *heap_ops_dump;

/* What was done, by operation, since the program began. */
void heap_ops_print(FILE *to);

#endif
