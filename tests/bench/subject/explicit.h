/* SPDX-License-Identifier: MIT */
/* What subjects that are plain allocators have in common: no roots, no threads, no collections. */
#include <stddef.h>
#include <stdint.h>

#define HEAP_COLLECTED 0

struct heap_thread {
	char nothing;
};

static inline void heap_begin(struct heap_thread *t, void *base)
{
}

static inline void heap_thread_begin(struct heap_thread *t, void *base)
{
}

static inline void heap_thread_end(struct heap_thread *t)
{
}

static inline void heap_root(void *lo, void *hi)
{
}

static inline void heap_collect(void)
{
}

static inline uint64_t heap_collections(void)
{
	return 0;
}
