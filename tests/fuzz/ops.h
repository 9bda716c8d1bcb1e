/* SPDX-License-Identifier: MIT */
/* The operations of heap_ops.h, and the state of the run that they share. */
#ifndef LOAM_TESTS_OPS_H
#define LOAM_TESTS_OPS_H

#include "tests/fuzz/order.h"

/* Name, and how many of the 256 values of a byte mean it. A new one goes here and into ops.c; the corpus
 * changes its meaning then: make it anew (README.md). */
#define OPS(X)                         \
	X(ALLOC, alloc, 67)            \
	X(FREE, free, 36)              \
	X(LINK, link, 34)              \
	X(UNLINK, unlink, 10)          \
	X(ROOT, root, 16)              \
	X(DROP, drop, 12)              \
	X(REALLOC, realloc, 24)        \
	X(VERIFY, verify, 14)          \
	X(QUERY, query, 10)            \
	X(BAD_FREE, bad_free, 10)      \
	X(BAD_REALLOC, bad_realloc, 3) \
	X(FREE_STALE, free_stale, 2)   \
	X(GC, gc, 1)                   \
	X(GC_WORK, gc_work, 3)         \
	X(PERCENT, percent, 2)         \
	X(LIMIT, limit, 2)             \
	X(WINDOW, window, 3)           \
	X(HEAP_VERIFY, heap_verify, 1) \
	X(EXTRA_ROOTS, extra_roots, 2) \
	X(STACK_HOLD, stack_hold, 1)   \
	X(REATTACH, reattach, 1)       \
	X(BAD_ARGUMENT, bad_argument, 2)

#define OP_ENUM(upper, lower, weight)	 OP_##upper,
#define OP_DECLARE(upper, lower, weight) void op_##lower(void);
enum op { OPS(OP_ENUM) OP_COUNT };
OPS(OP_DECLARE)

struct run {
	uint64_t ops;
	enum op op; /* the one that runs */
	enum order_profile profile;
	size_t cap; /* live bytes that we want at most */
	void *stack_base;
	bool up;
	unsigned window; /* operations until memory is there again; 0: it is */
	bool soak;	 /* memory may be out at any time */
	bool stale; /* stale pointers may stay behind: no counting of what is unreachable then */
	bool hoard; /* objects are seldom lost: lists grow until there is no room */
	bool had_window;  /* the exact counts are off since then */
	uint64_t made;	  /* objects allocated */
	uint64_t freed;	  /* objects freed by us */
	uint64_t nulls;	  /* allocations that gave none */
	uint64_t unknown; /* objects the last census could not name */
};
extern struct run run;

/* Collect; then what is reachable is intact, and what is not is gone. */
void collect_and_count(void);
/* Memory is there again. */
void close_window(void);

#endif
