/* SPDX-License-Identifier: MIT */
/*
 * A subject of the heap benchmarks: what tests/bench/heap.c and instructions.c call. Each header here
 * says the same of its allocator:
 *
 *   heap_begin           once, first, on the main thread
 *   heap_thread_begin    on each other thread; `base` is an address in its first frame
 *   heap_alloc           contents undefined, holds no pointers: malloc's like
 *   heap_alloc_zero      zeroed, holds no pointers: calloc's like
 *   heap_alloc_scan      zeroed, may hold pointers
 *   heap_realloc         of a block made by heap_alloc or heap_alloc_scan
 *   heap_free            nothing at all where memory is collected (HEAP_COLLECTED)
 *   heap_root            [lo, hi) holds pointers to blocks
 *
 * This one is loam with explicit free; it never collects. subject/loam-gc.h is the collected one.
 */
#include <loam/loam.h>

#include <stdio.h>
#include <stdlib.h>

#ifndef HEAP_NAME
#define HEAP_NAME      "loam"
#define HEAP_COLLECTED 0
#endif

/* The call whose memory comes with contents undefined. */
#define LOAM_BENCH_RAW	       loam_alloc_raw
#define LOAM_BENCH_TEXT(name)  LOAM_BENCH_TEXT_(name)
#define LOAM_BENCH_TEXT_(name) #name

#define HEAP_CALL_ALLOC LOAM_BENCH_TEXT(LOAM_BENCH_RAW)
#define HEAP_CALL_ZERO	"loam_alloc_noscan"
#define HEAP_CALL_SCAN	"loam_alloc"
#define HEAP_CALL_TYPED "loam_alloc_type"
#define HEAP_CALL_FREE	"loam_free"

struct heap_thread {
	struct loam_thread thread;
};

static inline const char *heap_version(void)
{
	return "1";
}

static inline void heap_thread_begin(struct heap_thread *t, void *base)
{
	if (loam_thread_attach(&t->thread, base) != LOAM_OK)
		abort();
}

static inline void heap_thread_end(struct heap_thread *t)
{
	if (loam_thread_detach(&t->thread) != LOAM_OK)
		abort();
}

static inline void heap_begin(struct heap_thread *t, void *base)
{
	struct loam_config config = {0};

	if (loam_init(&config) != LOAM_OK)
		abort();
	heap_thread_begin(t, base);
	if (!HEAP_COLLECTED && loam_gc_set_percent(-1) != LOAM_OK)
		abort();
}

static inline void *heap_alloc(size_t size)
{
	return LOAM_BENCH_RAW(size);
}

static inline void *heap_alloc_zero(size_t size)
{
	return loam_alloc_noscan(size);
}

static inline void *heap_alloc_scan(size_t size)
{
	return loam_alloc(size);
}

/* Two words, the first of them a pointer. */
static inline void *heap_alloc_typed(void)
{
	static const uint64_t bits = 1;
	static const struct loam_type type = {16, 1, &bits, "two words"};

	return loam_alloc_type(&type, 1);
}

static inline void *heap_realloc(void *p, size_t size)
{
	return loam_realloc(p, size);
}

static inline void heap_free(void *p)
{
	if (!HEAP_COLLECTED)
		(void)loam_free(p);
}

static inline void heap_root(void *lo, void *hi)
{
	if (loam_root_add(lo, hi) != LOAM_OK)
		abort();
}

static inline void heap_collect(void)
{
	loam_gc();
}

static inline uint64_t heap_collections(void)
{
	struct loam_stats stats;

	loam_stats_read(&stats);
	return stats.num_gc;
}
