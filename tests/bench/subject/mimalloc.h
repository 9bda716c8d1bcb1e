/* SPDX-License-Identifier: MIT */
/* mimalloc, by its own names. */
#include "tests/bench/subject/explicit.h"

#include <mimalloc.h>
#include <stdio.h>

#define HEAP_NAME	"mimalloc"
#define HEAP_CALL_ALLOC "mi_malloc"
#define HEAP_CALL_ZERO	"mi_zalloc"
#define HEAP_CALL_SCAN	HEAP_CALL_ZERO
#define HEAP_CALL_FREE	"mi_free"

static inline const char *heap_version(void)
{
	static char text[16];
	int v = mi_version();

	snprintf(text, sizeof(text), "%d.%d.%d", v / 100, v / 10 % 10, v % 10);
	return text;
}

static inline void *heap_alloc(size_t size)
{
	return mi_malloc(size);
}

static inline void *heap_alloc_zero(size_t size)
{
	return mi_zalloc(size);
}

static inline void *heap_alloc_scan(size_t size)
{
	return heap_alloc_zero(size);
}

static inline void *heap_realloc(void *p, size_t size)
{
	return mi_realloc(p, size);
}

static inline void heap_free(void *p)
{
	mi_free(p);
}
