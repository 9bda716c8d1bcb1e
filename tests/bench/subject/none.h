/* SPDX-License-Identifier: MIT */
/*
 * No allocator: the block just freed is the next one given out, whatever its size, and the first
 * ones come in a row. So the loop, the generator and the touches are there, as on a plain array of
 * blocks, and nothing else: the floor under everybody. Fits churn alone, with one thread.
 */
#include "tests/bench/subject/explicit.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HEAP_NAME "none"

static char *none_next;
static void *none_last;

static inline const char *heap_version(void)
{
	return "1";
}

static inline void *heap_alloc(size_t size)
{
	void *p = none_last;

	if (__builtin_expect(p == NULL, 0)) {
		if (none_next == NULL)
			none_next = mmap(NULL, (size_t)1 << 36, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (none_next == MAP_FAILED)
			return NULL;
		p = none_next;
		none_next += (size + 15) & ~(size_t)15;
		return p;
	}
	none_last = NULL;
	return p;
}

static inline void *heap_alloc_zero(size_t size)
{
	return heap_alloc(size);
}

static inline void *heap_alloc_scan(size_t size)
{
	return heap_alloc(size);
}

static inline void *heap_realloc(void *p, size_t size)
{
	abort();
}

static inline void heap_free(void *p)
{
	none_last = p;
}
