/* SPDX-License-Identifier: MIT */
/*
 * Records the malloc, calloc, realloc and free calls of any program on Linux as a loam trace
 * (format: boot/replay.h):
 *
 *   make record PROG="program args" OUT=file    (LOAM_TRACE names the file)
 *
 * LD_PRELOADed. Its own memory comes from mmap alone. One lock serialises the recording, so the
 * trace is one order that really happened. Blocks are found by address in an open-addressing
 * hash table; slots are reused last in, first out. Children are not recorded.
 */
#include "boot/replay.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TABLE_SIZE ((size_t)1 << 22)
#define BODY_MAX   ((size_t)1 << 30)
#define SLOTS	   LOAM_TRACE_SLOTS_MAX

struct block {
	uintptr_t addr; /* 0: empty, 1: deleted */
	uint64_t slot, bytes;
};

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static int (*real_memalign)(void **, size_t, size_t);
static void *(*real_aligned)(size_t, size_t);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *table;
static uint8_t *body;
static uint32_t *free_slots;
static size_t body_bytes, free_count;
static uint64_t slots, ops, live_bytes, peak_bytes;
static int recording;
static __thread int busy; /* the recorder's own calls are not the program's */

/* dlsym itself allocates before it has told us where to: from here, never freed */
static char early[65536];
static size_t early_used;

static void *early_alloc(size_t size)
{
	void *p = early + early_used;

	early_used += (size + 15) & ~(size_t)15;
	return early_used <= sizeof(early) ? p : NULL;
}

static int is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void put_varint(uint64_t v)
{
	while (body_bytes < BODY_MAX) {
		body[body_bytes++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
		if (v == 0)
			return;
	}
}

static void put_op(enum loam_trace_kind kind, uint64_t slot)
{
	put_varint(slot << 2 | (unsigned)kind);
	ops++;
}

static struct block *find(uintptr_t addr)
{
	size_t i = (addr >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 42;

	for (;; i = (i + 1) % TABLE_SIZE) {
		if (table[i].addr == addr)
			return &table[i];
		if (table[i].addr == 0)
			return NULL;
	}
}

static void insert(uintptr_t addr, uint64_t slot, uint64_t bytes)
{
	size_t i = (addr >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 42;

	while (table[i].addr > 1)
		i = (i + 1) % TABLE_SIZE;
	table[i] = (struct block){addr, slot, bytes};
}

static void note_alloc(void *p, size_t size)
{
	uint64_t slot;

	if (p == NULL || !recording || busy)
		return;
	pthread_mutex_lock(&lock);
	slot = free_count > 0 ? free_slots[--free_count] : slots++;
	put_op(LOAM_TRACE_ALLOC, slot);
	put_varint(size);
	insert((uintptr_t)p, slot, size);
	live_bytes += size;
	peak_bytes = live_bytes > peak_bytes ? live_bytes : peak_bytes;
	pthread_mutex_unlock(&lock);
}

/* Before the real free, or another thread might get the address first. */
static void note_free(void *p)
{
	struct block *b;

	if (p == NULL || !recording || busy)
		return;
	pthread_mutex_lock(&lock);
	b = find((uintptr_t)p);
	if (b != NULL) {
		put_op(LOAM_TRACE_FREE, b->slot);
		free_slots[free_count++] = (uint32_t)b->slot;
		live_bytes -= b->bytes;
		b->addr = 1;
	}
	pthread_mutex_unlock(&lock);
}

static void write_trace(void)
{
	const char *path = getenv("LOAM_TRACE"), *name = program_invocation_short_name;
	uint64_t hash = UINT64_C(0xcbf29ce484222325), head[6];
	char label[16] = {0};
	int fd;

	recording = 0;
	for (size_t i = 0; i < body_bytes; i++)
		hash = (hash ^ body[i]) * UINT64_C(0x100000001b3);
	head[1] = ops;
	head[2] = slots;
	head[3] = peak_bytes;
	head[4] = body_bytes;
	head[5] = hash;
	memcpy(head, LOAM_TRACE_MAGIC, 8);
	strncpy(label, name, sizeof(label) - 1);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, head, 48) != 48 || write(fd, label, 16) != 16 ||
	    write(fd, body, body_bytes) != (ssize_t)body_bytes)
		dprintf(2, "record: cannot write %s\n", path);
	else
		dprintf(2,
			"record: %llu calls, %llu slots, %llu bytes at the peak, %zu bytes of "
			"trace\n",
			(unsigned long long)ops, (unsigned long long)slots,
			(unsigned long long)peak_bytes, body_bytes + LOAM_TRACE_HEADER);
	if (fd >= 0)
		close(fd);
}

static void forget_in_child(void)
{
	recording = 0;
}

__attribute__((constructor)) static void start(void)
{
	if (getenv("LOAM_TRACE") == NULL)
		return;
	table = map(TABLE_SIZE * sizeof(*table));
	body = map(BODY_MAX);
	free_slots = map(SLOTS * sizeof(*free_slots));
	if (table == NULL || body == NULL || free_slots == NULL)
		return;
	unsetenv("LD_PRELOAD");
	pthread_atfork(NULL, NULL, forget_in_child);
	atexit(write_trace);
	recording = 1;
}

static void resolve(void)
{
	if (busy)
		return;
	busy = 1;
	*(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&real_free = dlsym(RTLD_NEXT, "free");
	*(void **)&real_memalign = dlsym(RTLD_NEXT, "posix_memalign");
	*(void **)&real_aligned = dlsym(RTLD_NEXT, "aligned_alloc");
	*(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
	busy = 0;
}

void *malloc(size_t size)
{
	void *p;

	if (real_malloc == NULL)
		resolve();
	if (real_malloc == NULL)
		return early_alloc(size);
	p = real_malloc(size);
	note_alloc(p, size);
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p;

	if (real_malloc == NULL)
		resolve();
	if (real_malloc == NULL)
		return early_alloc(n * size);
	p = real_calloc(n, size);
	note_alloc(p, n * size);
	return p;
}

void free(void *p)
{
	if (p == NULL || is_early(p))
		return;
	note_free(p);
	real_free(p);
}

/* Under the lock from the real call to the note: nobody gets the old address in between. */
void *realloc(void *p, size_t size)
{
	struct block *b;
	void *q;

	if (p == NULL)
		return malloc(size);
	if (is_early(p)) {
		q = malloc(size);
		return q != NULL ? memcpy(q, p, size) : NULL;
	}
	if (size == 0) {
		free(p);
		return NULL;
	}
	if (!recording || busy)
		return real_realloc(p, size);
	pthread_mutex_lock(&lock);
	q = real_realloc(p, size);
	b = q != NULL ? find((uintptr_t)p) : NULL;
	if (b != NULL) {
		uint64_t slot = b->slot;

		put_op(LOAM_TRACE_REALLOC, slot);
		put_varint(size);
		live_bytes += size - b->bytes;
		peak_bytes = live_bytes > peak_bytes ? live_bytes : peak_bytes;
		b->addr = 1;
		insert((uintptr_t)q, slot, size);
	}
	pthread_mutex_unlock(&lock);
	return q;
}

int posix_memalign(void **out, size_t align, size_t size)
{
	int err;

	if (real_malloc == NULL)
		resolve();
	err = real_memalign(out, align, size);
	if (err == 0)
		note_alloc(*out, size);
	return err;
}

void *aligned_alloc(size_t align, size_t size)
{
	void *p;

	if (real_malloc == NULL)
		resolve();
	p = real_aligned(align, size);
	note_alloc(p, size);
	return p;
}
