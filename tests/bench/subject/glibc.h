/* SPDX-License-Identifier: MIT */
/* The C library's malloc. */
#include "tests/bench/subject/explicit.h"

#include <gnu/libc-version.h>
#include <stdlib.h>

#define HEAP_NAME	"glibc"
#define HEAP_CALL_ALLOC "malloc"
#define HEAP_CALL_ZERO	"calloc"
#define HEAP_CALL_SCAN	HEAP_CALL_ZERO
#define HEAP_CALL_FREE	"free"

static inline const char *heap_version(void)
{
	return gnu_get_libc_version();
}

static inline void *heap_alloc(size_t size)
{
	return malloc(size);
}

static inline void *heap_alloc_zero(size_t size)
{
	return calloc(1, size);
}

static inline void *heap_alloc_scan(size_t size)
{
	return heap_alloc_zero(size);
}

static inline void *heap_realloc(void *p, size_t size)
{
	return realloc(p, size);
}

static inline void heap_free(void *p)
{
	free(p);
}
