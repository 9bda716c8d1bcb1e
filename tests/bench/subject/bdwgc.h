/* SPDX-License-Identifier: MIT */
/* Boehm, Demers and Weiser's conservative collector, with threads, at its default pace. */
#define GC_THREADS
#include <gc.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HEAP_NAME      "bdwgc"
#define HEAP_COLLECTED 1

/* GC_THREADS makes pthread_create register the thread. */
struct heap_thread {
	char nothing;
};

static inline const char *heap_version(void)
{
	static char text[16];
	unsigned v = GC_get_version();

	snprintf(text, sizeof(text), "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
	return text;
}

static inline void heap_begin(struct heap_thread *t, void *base)
{
	GC_INIT();
}

static inline void heap_thread_begin(struct heap_thread *t, void *base)
{
}

static inline void heap_thread_end(struct heap_thread *t)
{
}

static inline void *heap_alloc(size_t size)
{
	return GC_MALLOC_ATOMIC(size);
}

static inline void *heap_alloc_zero(size_t size)
{
	void *p = GC_MALLOC_ATOMIC(size);

	return p != NULL ? memset(p, 0, size) : NULL;
}

static inline void *heap_alloc_scan(size_t size)
{
	return GC_MALLOC(size);
}

static inline void *heap_realloc(void *p, size_t size)
{
	return GC_REALLOC(p, size);
}

static inline void heap_free(void *p)
{
}

static inline void heap_root(void *lo, void *hi)
{
	GC_add_roots(lo, hi);
}

static inline void heap_collect(void)
{
	GC_gcollect();
}

static inline uint64_t heap_collections(void)
{
	return GC_get_gc_no();
}
