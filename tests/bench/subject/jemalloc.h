/* SPDX-License-Identifier: MIT */
/* jemalloc, which as a library takes the place of the C library's malloc. */
#include "tests/bench/subject/explicit.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_NAME	"jemalloc"
#define HEAP_CALL_ALLOC "malloc"
#define HEAP_CALL_ZERO	"calloc"
#define HEAP_CALL_SCAN	HEAP_CALL_ZERO
#define HEAP_CALL_FREE	"free"

static inline const char *heap_version(void)
{
	static char text[32];
	const char *version = "";
	size_t size = sizeof(version);

	/* 5.3.0-0-gsomething: up to the dash */
	if (mallctl("version", &version, &size, NULL, 0) != 0)
		abort();
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(version, "-"), version);
	return text;
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
