/* SPDX-License-Identifier: MIT */
/*
 * The frame allocator by itself, on Linux: what taking and giving a frame costs, alone and with a
 * second thread; what it costs with more RAM; and how much of the free memory is left in 2 MiB
 * pieces after long use. Frames are never touched, so RAM can be simulated.
 */
#include "mm/frame.h"
#include "mm/memmap.h"
#include "mm/zone.h"

#include <loam/cpu.h>
#include <loam/host.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

char *bench_ram;
static __thread unsigned cpu;

void loam_host_panic(const char *file, int line, const char *msg)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, msg);
	abort();
}

void loam_host_log(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	fwrite(buf, 1, len, stderr);
}

unsigned loam_host_cpu_id(void)
{
	return cpu;
}

unsigned loam_host_cpu_count(void)
{
	return 4;
}

void loam_cpu_poll(void)
{
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct loam_memmap map;

static void up(uint64_t bytes)
{
	struct loam_mem_entry e = {LOAM_PAGE_SIZE, bytes, LOAM_MEM_USABLE, NULL};

	bench_ram = mmap(NULL, bytes + 2 * LOAM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bench_ram == MAP_FAILED || loam_memmap_sanitise(&e, 1, 52, &map) != LOAM_OK ||
	    loam_frame_init(&map) != LOAM_OK)
		abort();
}

static void down(uint64_t bytes)
{
	loam_frame_reset();
	munmap(bench_ram, bytes + 2 * LOAM_PAGE_SIZE);
}

static struct loam_pfn get(unsigned order)
{
	struct loam_pfn pfn;

	if (loam_frame_alloc(order, 0, LOAM_OWNER_TEST, &pfn) != LOAM_OK)
		abort();
	return pfn;
}

static void put(struct loam_pfn pfn, unsigned order)
{
	if (loam_frame_free(pfn, order) != LOAM_OK)
		abort();
}

static void row(const char *workload, unsigned threads, const char *metric, double value,
		const char *unit)
{
	printf("frames,%s,loam,1,%u,%s,%.4g,%s\n", workload, threads, metric, value, unit);
}

/* Pairs of get and put with a few in hand, ns for each of the two; best of several. */
static double hot(unsigned order, unsigned pairs)
{
	double best = 1e9;

	for (unsigned round = 0; round < 9; round++) {
		struct loam_pfn hand[8];
		uint64_t start = now();
		double ns;

		for (unsigned n = 0; n < pairs; n++) {
			for (unsigned i = 0; i < 8; i++)
				hand[i] = get(order);
			for (unsigned i = 0; i < 8; i++)
				put(hand[i], order);
		}
		ns = (double)(now() - start) / (pairs * 16.0);
		best = ns < best ? ns : best;
	}
	return best;
}

static double shared[2];
static pthread_barrier_t both;

static void *hot_thread(void *arg)
{
	cpu = *(unsigned *)arg;
	pthread_barrier_wait(&both);
	shared[cpu] = hot(0, 100000);
	return NULL;
}

static double two_threads(void)
{
	static unsigned id[2] = {0, 1};
	pthread_t t[2];

	pthread_barrier_init(&both, NULL, 2);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, hot_thread, &id[i]);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return shared[0] > shared[1] ? shared[0] : shared[1];
}

static uint64_t rng = 20261124;

static uint64_t next(void)
{
	uint64_t z = (rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ (z >> 27);
}

/* RAM 90 % full of single frames; 100 rounds in which a random 10 % is freed and taken again; then
 * all but what stays is freed at random down to half: how much of it comes as 2 MiB? */
static double order_9_share(uint64_t bytes)
{
	uint64_t frames = bytes / LOAM_PAGE_SIZE * 9 / 10, free_frames;
	struct loam_pfn *held = malloc(frames * sizeof(*held));
	struct loam_frame_stats s;
	double whole = 0;

	for (uint64_t i = 0; i < frames; i++)
		held[i] = get(0);
	for (unsigned round = 0; round < 100; round++) {
		uint64_t n = frames / 10;

		for (uint64_t i = 0; i < n; i++) {
			uint64_t k = i + next() % (frames - i);
			struct loam_pfn t = held[i];

			held[i] = held[k];
			held[k] = t;
			put(held[i], 0);
		}
		for (uint64_t i = 0; i < n; i++)
			held[i] = get(0);
	}
	loam_frame_verify(); /* caches empty */
	loam_frame_stats(&s);
	free_frames = s.free;
	for (unsigned k = LOAM_ORDER_HUGE; k < LOAM_ORDER_COUNT; k++)
		whole += (double)(s.free_blocks[k] << k);
	for (uint64_t i = 0; i < frames; i++)
		put(held[i], 0);
	free(held);
	return 100.0 * whole / (double)free_frames;
}

/* What the allocator needs to give and take (bitmaps), and with a record for each frame. */
static void meta_rows(const char *name)
{
	struct loam_frame_stats s;
	double ram, bitmaps = 0;

	loam_frame_stats(&s);
	ram = (double)(s.total * LOAM_PAGE_SIZE);
	for (unsigned i = 0; i < loam_zone_count; i++)
		bitmaps += (double)loam_buddy_meta_bytes(loam_pfn(loam_zone[i].base),
							 loam_zone[i].count);
	row(name, 1, "bitmaps", 100 * bitmaps / ram, "% of RAM");
	row(name, 1, "bitmaps and records", 100 * (double)s.meta_bytes / ram, "% of RAM");
}

int main(void)
{
	const uint64_t gib = UINT64_C(1) << 30;
	char name[32];

	up(4 * gib);
	row("4GiB", 1, "order-0 get or put", hot(0, 200000), "ns");
	row("4GiB", 2, "order-0 get or put", two_threads(), "ns");
	row("4GiB", 1, "order-9 get or put", hot(9, 20000), "ns");
	meta_rows("4GiB");
	down(4 * gib);
	up(gib);
	row("1GiB", 1, "free memory in 2 MiB pieces after 100 rounds at 90 %", order_9_share(gib),
	    "%");
	down(gib);
	for (uint64_t size = 1; size <= 1024; size *= 4) {
		up(size * gib);
		snprintf(name, sizeof(name), "%uGiB", (unsigned)size);
		row(name, 1, "order-0 by RAM", hot(0, 100000), "ns");
		row(name, 1, "order-4 by RAM", hot(4, 50000), "ns");
		row(name, 1, "order-9 by RAM", hot(9, 20000), "ns");
		down(size * gib);
	}
	up(64 * gib);
	for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
		snprintf(name, sizeof(name), "order-%u", order);
		row(name, 1, "by order", hot(order, 20000), "ns");
	}
	down(64 * gib);
	return 0;
}
