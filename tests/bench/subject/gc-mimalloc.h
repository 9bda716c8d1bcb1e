/* SPDX-License-Identifier: MIT */
/* mimalloc with explicit free: the floor, where a workload knows when to free. */
#include "tests/bench/subject/mimalloc.h"

#include <stdbool.h>

static inline void heap_gc_begin(struct heap_thread *t, void *base, unsigned cpus, unsigned percent)
{
}

static inline void heap_gc_end(void)
{
}

static inline void heap_collecting(bool on)
{
}

static inline void heap_store(void *slot, void *value)
{
	*(void **)slot = value;
}

static inline uint64_t heap_stop_ns(void)
{
	return 0;
}
