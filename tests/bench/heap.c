/* SPDX-License-Identifier: MIT */
/*
 * Heap workloads on Linux, one allocator a program: HEAP_SUBJECT names the header that binds it
 * (tests/bench/subject/). tests/bench/heap.py runs it, a fresh process for each figure:
 *
 *   heap-<subject> WORKLOAD THREADS OPS [ARGUMENT]
 *
 *   churn        THREADS lanes of 65,536 slots; an operation frees a random one, makes a block of 16
 *                to 527 bytes there, and writes its first word. churn-zero and churn-scan: zeroed
 *                memory, and zeroed memory that may hold pointers.
 *   larson       a server: each lane replaces random blocks among 4,096 of 16 to 1,000 bytes; after
 *                16,384 of that a fresh thread takes the array over, and the old one ends
 *   handover     one thread makes blocks of 16 to 256 bytes, another reads and frees them; between
 *                them a ring of 64 batches of 128
 *   vectors      128 vectors grow by half, in random order, up to 4 MiB, then begin anew; a word is
 *                written in each new page
 *   trace        ARGUMENT, a recorded program (boot/replay.h), again and again; first words written
 *   growth       churn with ARGUMENT MiB of live blocks. Where memory is collected: whole cycles,
 *                three, or as many as begin within 20 s.
 *   standing     the same, but only the last 2,048 blocks are ever replaced; the others stand by. The
 *                blocks used stay as many and as near as the live heap grows.
 *
 * Memory is asked for with contents undefined, as with malloc; where it is collected and the workload
 * is larson, handover, trace, growth or standing, it may hold pointers and is scanned. Filling the slots and
 * decoding the trace are not timed. Threads are not pinned. The result is in nanoseconds for an
 * operation of one lane: two threads that do not disturb each other give the figure of one.
 */
#include HEAP_SUBJECT

#include "boot/replay.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define LANES	     2u
#define CHURN_SLOTS  65536u
#define LARSON_SLOTS 4096u
#define LARSON_ROUND 16384u
#define BATCH	     128u
#define BATCHES	     64u
#define VECTORS	     128u
#define VECTOR_MAX   ((size_t)4 << 20)
#define TOUCH	     4096u
#define CYCLES	     3u
#define GROWTH_MEAN  272u
#define WINDOW	     2048u
#define GROWTH_NS    (UINT64_C(20) * 1000000000u)

enum kind {
	RAW,
	ZERO,
	SCAN,
};
#define BLOCK (HEAP_COLLECTED ? SCAN : RAW)

struct op {
	uint64_t what; /* slot << 2 | kind */
	uint64_t bytes;
};

/* What one thread, or one thread after the other, works on. */
struct lane {
	struct heap_thread heap;
	void **slot; /* a root */
	uint64_t slots;
	size_t *size; /* vectors */
	uint64_t rng, ops, done, begun, ended;
	const struct workload *workload;
	pthread_t thread;
} __attribute__((aligned(128)));

struct workload {
	const char *name;
	uint64_t slots;
	void (*fill)(struct lane *lane);
	uint64_t (*work)(struct lane *lane, uint64_t ops); /* returns the operations done */
};

static struct lane lane[LANES];
static unsigned lanes;
static pthread_barrier_t all_filled;
static struct op *trace_op;
static uint64_t trace_ops, cpu_begun;
/* the ring of batches: `made` is the producer's, `taken` the consumer's; both atomic */
static uint64_t made __attribute__((aligned(128))), taken __attribute__((aligned(128)));

static void die(const char *what)
{
	fprintf(stderr, HEAP_NAME ": %s\n", what);
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ (z >> 27);
}

static inline __attribute__((always_inline)) void *block(enum kind kind, size_t size, uint64_t word)
{
	uint64_t *p = kind == RAW    ? heap_alloc(size)
		      : kind == ZERO ? heap_alloc_zero(size)
				     : heap_alloc_scan(size);

	if (__builtin_expect(p == NULL, 0))
		die("out of memory");
	*p = word; /* small: must not look like a pointer */
	return p;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("no memory for the slots");
	return p;
}

/* ---- churn, growth ---- */

static inline __attribute__((always_inline)) void
replace(struct lane *l, enum kind kind, uint64_t ops, uint64_t low, uint64_t sizes)
{
	uint64_t rng = l->rng, slots = l->slots;
	void **slot = l->slot;

	for (uint64_t n = 0; n < ops; n++) {
		uint64_t r = next(&rng), i = (r >> 32) * slots >> 32;

		heap_free(slot[i]);
		slot[i] = block(kind, low + (r & 0xffffffff) % sizes, i);
	}
	l->rng = rng;
}

static inline __attribute__((always_inline)) void fill(struct lane *l, enum kind kind, uint64_t low,
						       uint64_t sizes)
{
	for (uint64_t i = 0; i < l->slots; i++)
		l->slot[i] = block(kind, low + next(&l->rng) % sizes, i);
}

static void fill_raw(struct lane *l)
{
	fill(l, RAW, 16, 512);
}

static void fill_zero(struct lane *l)
{
	fill(l, ZERO, 16, 512);
}

static void fill_scan(struct lane *l)
{
	fill(l, SCAN, 16, 512);
}

static uint64_t churn_raw(struct lane *l, uint64_t ops)
{
	replace(l, RAW, ops, 16, 512);
	return ops;
}

static uint64_t churn_zero(struct lane *l, uint64_t ops)
{
	replace(l, ZERO, ops, 16, 512);
	return ops;
}

static uint64_t churn_scan(struct lane *l, uint64_t ops)
{
	replace(l, SCAN, ops, 16, 512);
	return ops;
}

static void fill_growth(struct lane *l)
{
	fill(l, BLOCK, 16, 512);
	if (HEAP_COLLECTED)
		heap_collect();
}

/*
 * From just after a collection to just after a collection, or the share of the collector would be
 * anything. Looks for one after each `chunk`.
 */
static uint64_t cycles(struct lane *l, uint64_t ops, uint64_t chunk)
{
	uint64_t done = 0, first = heap_collections(), now = first;

	for (;;) {
		uint64_t before = now, wanted = CYCLES;

		replace(l, BLOCK, chunk, 16, 512);
		done += chunk;
		now = heap_collections();
		if (clock_ns(CLOCK_MONOTONIC) - l->begun > GROWTH_NS)
			wanted = 1;
		if (done >= ops && (!HEAP_COLLECTED || (now > before && now >= first + wanted)))
			return done;
	}
}

static uint64_t growth(struct lane *l, uint64_t ops)
{
	return cycles(l, ops, l->slots / 16 > 4096 ? l->slots / 16 : 4096);
}

static uint64_t standing(struct lane *l, uint64_t ops)
{
	uint64_t chunk = l->slots / 16 > 4096 ? l->slots / 16 : 4096;

	l->slot += l->slots - WINDOW;
	l->slots = WINDOW;
	return cycles(l, ops, chunk);
}

/* ---- larson ---- */

static void fill_larson(struct lane *l)
{
	fill(l, BLOCK, 16, 985);
}

static void *larson_round(void *arg)
{
	struct lane *l = arg;

	heap_thread_begin(&l->heap, __builtin_frame_address(0));
	replace(l, BLOCK, LARSON_ROUND, 16, 985);
	heap_thread_end(&l->heap);
	return NULL;
}

/* The lane's own thread made the first blocks; it lets go of the heap and only waits for the others. */
static uint64_t larson(struct lane *l, uint64_t ops)
{
	uint64_t done;

	heap_thread_end(&l->heap);
	for (done = 0; done < ops; done += LARSON_ROUND) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, larson_round, l) != 0 ||
		    pthread_join(thread, NULL) != 0)
			die("no thread");
	}
	heap_thread_begin(&l->heap, __builtin_frame_address(0));
	return done;
}

/* ---- handover ---- */

static void wait_while(const uint64_t *counter, uint64_t value)
{
	/* acquire: partner of the releases in handover */
	for (unsigned n = 0; __atomic_load_n(counter, __ATOMIC_ACQUIRE) == value; n++) {
		if (n % 64 == 63)
			sched_yield();
	}
}

static void fill_nothing(struct lane *l)
{
}

static uint64_t handover(struct lane *l, uint64_t ops)
{
	uint64_t batches = ops / BATCH, rng = l->rng, sum = 0;
	void **ring = lane[0].slot;

	for (uint64_t n = 0; n < batches; n++) {
		void **at = ring + n % BATCHES * BATCH;

		if (l == &lane[0]) {
			if (n >= BATCHES)
				wait_while(&taken, n - BATCHES);
			for (unsigned i = 0; i < BATCH; i++)
				at[i] = block(BLOCK, 16 + next(&rng) % 241, i);
			__atomic_store_n(&made, n + 1, __ATOMIC_RELEASE);
		} else {
			wait_while(&made, n);
			for (unsigned i = 0; i < BATCH; i++) {
				sum += *(uint64_t *)at[i];
				heap_free(at[i]);
				at[i] = NULL;
			}
			__atomic_store_n(&taken, n + 1, __ATOMIC_RELEASE);
		}
	}
	if (l != &lane[0] && sum != batches * (BATCH * (BATCH - 1) / 2))
		die("a block was damaged on its way");
	return batches * BATCH;
}

/* ---- vectors ---- */

static uint64_t vectors(struct lane *l, uint64_t ops)
{
	for (uint64_t n = 0; n < ops; n++) {
		uint64_t i = next(&l->rng) % l->slots;
		size_t from = l->size[i], to = from + (from + 1) / 2;
		char *p;

		if (from == 0 || to > VECTOR_MAX) {
			heap_free(l->slot[i]);
			from = 0;
			to = 16;
			p = heap_alloc(to);
		} else {
			p = heap_realloc(l->slot[i], to);
		}
		if (p == NULL)
			die("out of memory");
		for (; from < to; from += TOUCH)
			p[from] = 1;
		l->slot[i] = p;
		l->size[i] = to;
	}
	return ops;
}

/* ---- trace ---- */

static void trace_load(const char *path)
{
	struct loam_trace_op op;
	struct loam_trace t;
	struct stat st;
	bool more = true;
	const char *bad;
	uint64_t n = 0;
	void *data;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &st) != 0)
		die("cannot read the trace");
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die("cannot read the trace");
	bad = loam_trace_open(data, (size_t)st.st_size, &t);
	if (bad != NULL)
		die(bad);
	lane[0].slots = t.slots;
	trace_op = map(t.ops * sizeof(*trace_op));
	while (n < t.ops) {
		bad = loam_trace_next(&t, &op, &more);
		if (bad != NULL || !more)
			die(bad != NULL ? bad : "the trace is shorter than it says");
		trace_op[n++] = (struct op){op.slot << 2 | op.kind, op.bytes};
	}
	trace_ops = t.ops;
	munmap(data, (size_t)st.st_size);
}

static uint64_t trace(struct lane *l, uint64_t ops)
{
	uint64_t done = 0;

	do {
		for (uint64_t n = 0; n < trace_ops; n++) {
			const struct op *op = &trace_op[n];
			void **slot = &l->slot[op->what >> 2];
			size_t bytes = op->bytes < 8 ? 8 : op->bytes;

			switch (op->what & 3) {
			case LOAM_TRACE_ALLOC:
				*slot = block(BLOCK, bytes, 1);
				break;
			case LOAM_TRACE_FREE:
				heap_free(*slot);
				*slot = NULL;
				break;
			default:
				*slot = heap_realloc(*slot, bytes);
				if (*slot == NULL)
					die("out of memory");
			}
		}
		for (uint64_t i = 0; i < l->slots; i++) {
			if (l->slot[i] != NULL)
				heap_free(l->slot[i]);
			l->slot[i] = NULL;
		}
		done += trace_ops;
	} while (done < ops);
	return done;
}

/* ---- running one ---- */

static const struct workload workloads[] = {
	{"churn", CHURN_SLOTS, fill_raw, churn_raw},
	{"churn-zero", CHURN_SLOTS, fill_zero, churn_zero},
	{"churn-scan", CHURN_SLOTS, fill_scan, churn_scan},
	{"larson", LARSON_SLOTS, fill_larson, larson},
	{"handover", BATCH *BATCHES, fill_nothing, handover},
	{"vectors", VECTORS, fill_nothing, vectors},
	{"trace", 0, fill_nothing, trace},
	{"growth", 0, fill_growth, growth},
	{"standing", 0, fill_growth, standing},
};

static void run_lane(struct lane *l)
{
	l->workload->fill(l);
	pthread_barrier_wait(&all_filled);
	if (l == &lane[0])
		cpu_begun = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	l->begun = clock_ns(CLOCK_MONOTONIC);
	l->done = l->workload->work(l, l->ops);
	l->ended = clock_ns(CLOCK_MONOTONIC);
}

static void *lane_thread(void *arg)
{
	struct lane *l = arg;

	heap_thread_begin(&l->heap, __builtin_frame_address(0));
	run_lane(l);
	heap_thread_end(&l->heap);
	return NULL;
}

/* The peak of this very program: what getrusage says counts the parent before exec, too. */
static double peak_mib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kib = 0;
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
			break;
	}
	if (f != NULL)
		fclose(f);
	return (double)kib / 1024;
}

static void report(void)
{
	uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begun;
	uint64_t begun = UINT64_MAX, ended = 0, done = 0;
	unsigned makers = lane[0].workload->work == handover ? 1 : lanes;

	for (unsigned i = 0; i < lanes; i++) {
		begun = lane[i].begun < begun ? lane[i].begun : begun;
		ended = lane[i].ended > ended ? lane[i].ended : ended;
	}
	for (unsigned i = 0; i < makers; i++)
		done += lane[i].done;
	printf("version %s\n", heap_version());
	printf("ns/op %.3f\n", (double)(ended - begun) * makers / (double)done);
	printf("cpu %.3f\n", (double)cpu_ns / (double)done);
	printf("cpus %.2f\n", (double)cpu_ns / (double)(ended - begun));
	printf("peak %.2f\n", peak_mib());
	if (HEAP_COLLECTED)
		printf("collections %llu\n", (unsigned long long)heap_collections());
}

int main(int argc, char **argv)
{
	const struct workload *w = NULL;

	for (unsigned i = 0; argc > 3 && i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (strcmp(argv[1], workloads[i].name) == 0)
			w = &workloads[i];
	}
	lanes = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
	if (w == NULL || lanes < 1 || lanes > LANES || (w->slots == 0 && argc < 5) ||
	    (w->work == handover && lanes != 2))
		die("usage: heap WORKLOAD THREADS OPS [ARGUMENT]");
	heap_begin(&lane[0].heap, __builtin_frame_address(0));
	lane[0].slots = w->slots;
	if (w->work == trace)
		trace_load(argv[4]);
	if (w->work == growth || w->work == standing)
		lane[0].slots = ((uint64_t)atoi(argv[4]) << 20) / GROWTH_MEAN;
	pthread_barrier_init(&all_filled, NULL, lanes);
	for (unsigned i = 0; i < lanes; i++) {
		struct lane *l = &lane[i];

		l->workload = w;
		l->slots = lane[0].slots;
		l->slot = map(l->slots * sizeof(*l->slot));
		l->size = map(l->slots * sizeof(*l->size));
		l->rng = 20261124 + i;
		l->ops = strtoull(argv[3], NULL, 10);
		heap_root(l->slot, l->slot + l->slots);
	}
	for (unsigned i = 1; i < lanes; i++) {
		if (pthread_create(&lane[i].thread, NULL, lane_thread, &lane[i]) != 0)
			die("no thread");
	}
	run_lane(&lane[0]);
	for (unsigned i = 1; i < lanes; i++)
		pthread_join(lane[i].thread, NULL);
	report();
	return 0;
}
