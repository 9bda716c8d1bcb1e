/* SPDX-License-Identifier: MIT */
/*
 * What a collector costs on Linux, one subject a program: GC_SUBJECT names the header that binds it
 * (tests/bench/subject/gc-*.h). tests/bench/gc.py runs it, a fresh process for each figure:
 *
 *   gc-<subject> trees CPUS DEPTH          one thread
 *   gc-<subject> graph CPUS NODES OPS      one thread
 *   gc-<subject> curve CPUS MIB OPS        one thread
 *   gc-<subject> gcbench CPUS THREADS [GARBAGE]
 *
 *   trees    binary trees, the well-known benchmark: a stretch tree of DEPTH + 1, a long-lived one of
 *            DEPTH, and for each even depth from 4 as many trees as keep the work equal, each built
 *            from its leaves, counted and dropped. A node is two pointers.
 *   graph    NODES of 64 bytes: four links and four words. A table, an object of the heap, has a slot
 *            for each; in which slot a node is has nothing to do with where in memory it is (but for the
 *            first and the last 2,048). The first half of the slots stands, and all links go to nodes of
 *            that half, at random. One operation makes a node, copies into it the links of a random
 *            node that stands, and puts it into a random slot of the other half. So links are copied
 *            without end and never grow a chain of what was replaced: what is reachable is just what
 *            the table says, now as at the start, and whoever frees by hand knows when. Timed: one
 *            collection of it all, forced; then the operations, and each run of 256 of them.
 *   curve    the same graph of MIB MiB, but only the last 2,048 slots are replaced, with the links of the
 *            first 2,048, and those nodes are made in a row: what an operation touches stays as much and as
 *            near as the graph grows. Whole cycles, three, or as many as begin within 20 s.
 *   gcbench  Ellis, Kovac and Boehm's GCBench on each thread: a long-lived tree of depth 16, a
 *            long-lived array of 500,000 doubles; and trees of even depths from 4 to 16, built from
 *            the root and from the leaves. Without its stretch tree of depth 18, which would be
 *            most of the memory. The subject is asked to collect at 2.5 times of what is live.
 *            With GARBAGE 1, as in Whippet's mt-gcbench: before each node but a root or a leaf's a block that
 *            nobody keeps, of 0 to some 40 words (of each length more, 85 in 100 are longer).
 *
 * Filling the graph is not timed, and nothing is collected meanwhile.
 */
#include GC_SUBJECT

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define LINKS	    4u
#define RUN	    256u
#define RUNS_MAX    ((uint64_t)1 << 22)
#define WINDOW	    2048u
#define CYCLES	    3u
#define CURVE_NS    (UINT64_C(20) * 1000000000u)
#define THREADS	    2u
#define TREE_DEPTH  16u
#define ARRAY	    500000u
#define DEPTH_MIN   4u
#define GOGC	    100u
#define GOGC_BENCH  150u
#define NODE_MARKER UINT64_C(0x5a5a)
#define GARBAGE	    256u

struct tree {
	struct tree *left, *right;
};

struct node {
	struct node *link[LINKS];
	uint64_t replaced; /* how often, in this slot */
	uint64_t marker, unused[2];
};

struct bench_node {
	struct bench_node *left, *right;
	int i, j;
};

struct bench_thread {
	struct heap_thread heap;
	pthread_t thread;
	uint64_t blocks; /* of garbage */
	bool failed;
};

static struct heap_thread main_heap;
/* a root */
static struct {
	struct node **table;
	struct tree *long_lived;
} root;
static uint64_t begun_ns, cpu_begun_ns;
static uint8_t garbage_words[GARBAGE]; /* all 0: no garbage */
static uint64_t graph_nodes, *run_ns, runs, longest_run, longest_run_cpu;

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

/* 0 to n - 1; n is less than 2^32, r 32 random bits */
static inline uint64_t below(uint64_t r, uint64_t n)
{
	return (r & 0xffffffff) * n >> 32;
}

/* Zeroed, and scanned for pointers where it is collected. Where it is not, the compiler does best. */
static inline __attribute__((always_inline)) void *make(size_t bytes)
{
	void *p = HEAP_COLLECTED ? heap_alloc_scan(bytes) : heap_alloc(bytes);

	if (__builtin_expect(p == NULL, 0))
		die("out of memory");
	return HEAP_COLLECTED ? p : memset(p, 0, bytes);
}

static void begin_timing(void)
{
	cpu_begun_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	begun_ns = clock_ns(CLOCK_MONOTONIC);
}

/* ---- trees ---- */

static struct tree *tree_make(unsigned depth)
{
	struct tree *left = NULL, *right = NULL, *tree;

	if (depth > 0) {
		left = tree_make(depth - 1);
		right = tree_make(depth - 1);
	}
	tree = make(sizeof(*tree));
	if (depth > 0) {
		heap_store(&tree->left, left);
		heap_store(&tree->right, right);
	}
	return tree;
}

static uint64_t tree_count(const struct tree *tree)
{
	return tree->left == NULL ? 1 : 1 + tree_count(tree->left) + tree_count(tree->right);
}

static void tree_free(struct tree *tree)
{
	if (tree->left != NULL) {
		tree_free(tree->left);
		tree_free(tree->right);
	}
	heap_free(tree);
}

static void tree_end(struct tree *tree, unsigned depth)
{
	if (tree_count(tree) != ((uint64_t)2 << depth) - 1)
		die("a tree was damaged");
	if (!HEAP_COLLECTED)
		tree_free(tree);
}

static uint64_t trees(uint64_t depth_max, uint64_t unused)
{
	unsigned max = (unsigned)depth_max;
	uint64_t made = 0;

	begin_timing();
	tree_end(tree_make(max + 1), max + 1);
	heap_store(&root.long_lived, tree_make(max));
	for (unsigned d = DEPTH_MIN; d <= max; d += 2) {
		uint64_t count = (uint64_t)1 << (max - d + DEPTH_MIN);

		for (uint64_t i = 0; i < count; i++)
			tree_end(tree_make(d), d);
		made += count * (((uint64_t)2 << d) - 1);
	}
	tree_end(root.long_lived, max);
	return made + ((uint64_t)6 << max) - 2;
}

/* ---- graph, curve ---- */

/* A permutation of 0 to n - 1: scrambles as many bits as n has, again until the result is below n. */
static uint64_t scramble(uint64_t i, uint64_t n)
{
	unsigned bits = 64 - (unsigned)__builtin_clzll(n - 1);
	uint64_t mask = ((uint64_t)1 << bits) - 1;

	do {
		for (unsigned round = 0; round < 3; round++) {
			i = (i * UINT64_C(0x9e3779b97f4a7c15) + 0x632be5ab) & mask;
			i ^= i >> (bits / 2 + 1);
		}
	} while (i >= n);
	return i;
}

/* The slot of the i-th node made: anywhere, but the windows of the curve are as near in memory as in the table. */
static uint64_t slot_of(uint64_t i, uint64_t nodes)
{
	if (i < WINDOW || i >= nodes - WINDOW)
		return i;
	return WINDOW + scramble(i - WINDOW, nodes - 2 * WINDOW);
}

static void graph_fill(uint64_t nodes)
{
	uint64_t rng = 20261124;

	heap_collecting(false);
	heap_store(&root.table, make(nodes * sizeof(*root.table)));
	for (uint64_t i = 0; i < nodes; i++) {
		struct node *node = make(sizeof(*node));

		node->marker = NODE_MARKER;
		heap_store(&root.table[slot_of(i, nodes)], node);
	}
	for (uint64_t i = 0; i < nodes; i++) {
		struct node *node = root.table[slot_of(i, nodes)];

		for (unsigned k = 0; k < LINKS; k++)
			heap_store(&node->link[k], root.table[below(next(&rng), nodes / 2)]);
	}
	heap_collecting(true);
}

/* Runs of 256: ops is rounded up to that. Neighbours are among the first slots. */
static uint64_t graph_replace(uint64_t *state, uint64_t ops, uint64_t first, uint64_t slots,
			      uint64_t neighbours)
{
	uint64_t rng = *state, then = clock_ns(CLOCK_MONOTONIC), done = 0;
	uint64_t then_cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	struct node **table = root.table;

	while (done < ops) {
		uint64_t now, cpu;

		for (unsigned n = 0; n < RUN; n++) {
			uint64_t r = next(&rng);
			struct node **slot = &table[first + below(r >> 32, slots)];
			struct node *from = table[below(r, neighbours)], *old = *slot;
			struct node *node = make(sizeof(*node));

			for (unsigned k = 0; k < LINKS; k++)
				heap_store(&node->link[k], from->link[k]);
			node->replaced = old->replaced + 1;
			node->marker = NODE_MARKER;
			heap_store(slot, node);
			heap_free(old);
		}
		done += RUN;
		now = clock_ns(CLOCK_MONOTONIC);
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		run_ns[runs++ % RUNS_MAX] = now - then;
		longest_run = now - then > longest_run ? now - then : longest_run;
		longest_run_cpu =
			cpu - then_cpu > longest_run_cpu ? cpu - then_cpu : longest_run_cpu;
		then = now;
		then_cpu = cpu;
	}
	*state = rng;
	return done;
}

static void graph_check(uint64_t ops)
{
	uint64_t replaced = 0;

	for (uint64_t i = 0; i < graph_nodes; i++) {
		if (root.table[i]->marker != NODE_MARKER)
			die("a node was damaged");
		for (unsigned k = 0; k < LINKS; k++) {
			if (root.table[i]->link[k]->marker != NODE_MARKER)
				die("a link was damaged");
		}
		replaced += root.table[i]->replaced;
	}
	if (replaced != ops)
		die("a replacement was lost");
}

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void graph_begin(uint64_t nodes)
{
	if (nodes < 4 * WINDOW || nodes >> 32 != 0)
		die("so many nodes are not possible");
	run_ns = mmap(NULL, RUNS_MAX * sizeof(*run_ns), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (run_ns == MAP_FAILED)
		die("no memory for the times");
	graph_nodes = nodes;
	graph_fill(nodes);
}

static void graph_report(void)
{
	uint64_t n = runs < RUNS_MAX ? runs : RUNS_MAX;

	qsort(run_ns, n, sizeof(*run_ns), order);
	printf("worst %.4f\n", (double)longest_run / 1e6);
	printf("worst-cpu %.4f\n", (double)longest_run_cpu / 1e6);
	printf("p99.9 %.4f\n", (double)run_ns[n - 1 - n / 1000] / 1e6);
}

static uint64_t graph(uint64_t nodes, uint64_t ops)
{
	uint64_t rng = 1, done;

	graph_begin(nodes);
	begin_timing();
	heap_collect();
	if (HEAP_COLLECTED) {
		printf("full %.4f\n", (double)(clock_ns(CLOCK_MONOTONIC) - begun_ns) / 1e6);
		printf("full-cpu %.4f\n",
		       (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begun_ns) / 1e6);
	}
	begin_timing();
	done = graph_replace(&rng, ops, nodes / 2, nodes - nodes / 2, nodes / 2);
	return done;
}

static uint64_t curve(uint64_t mib, uint64_t ops)
{
	uint64_t nodes = (mib << 20) / sizeof(struct node), rng = 1, done = 0, first, now;
	uint64_t chunk = nodes / 16 > 4096 ? nodes / 16 : 4096;

	graph_begin(nodes);
	heap_collect();
	begin_timing();
	first = now = heap_collections();
	for (;;) {
		uint64_t before = now, wanted = CYCLES;

		done += graph_replace(&rng, chunk, nodes - WINDOW, WINDOW, WINDOW);
		now = heap_collections();
		if (clock_ns(CLOCK_MONOTONIC) - begun_ns > CURVE_NS)
			wanted = 1;
		if (done >= ops && (!HEAP_COLLECTED || (now > before && now >= first + wanted)))
			return done;
	}
}

/* ---- gcbench ---- */

static struct bench_node *bench_node(struct bench_node *left, struct bench_node *right)
{
	struct bench_node *node = make(sizeof(*node));

	heap_store(&node->left, left);
	heap_store(&node->right, right);
	return node;
}

static void bench_drop_block(struct bench_thread *t)
{
	uint64_t words = garbage_words[t->blocks++ % GARBAGE];
	void *p;

	if (words == 0)
		return;
	p = HEAP_COLLECTED ? heap_alloc_scan(words * 8) : heap_alloc_zero(words * 8);
	if (p == NULL)
		die("out of memory");
	*(uint64_t *)p = words;
	heap_free(p);
}

static void bench_populate(struct bench_thread *t, unsigned depth, struct bench_node *node)
{
	if (depth == 0)
		return;
	bench_drop_block(t);
	heap_store(&node->left, make(sizeof(*node)));
	bench_drop_block(t);
	heap_store(&node->right, make(sizeof(*node)));
	bench_populate(t, depth - 1, node->left);
	bench_populate(t, depth - 1, node->right);
}

static struct bench_node *bench_make(struct bench_thread *t, unsigned depth)
{
	struct bench_node *left, *right;

	if (depth == 0)
		return make(sizeof(struct bench_node));
	left = bench_make(t, depth - 1);
	right = bench_make(t, depth - 1);
	bench_drop_block(t);
	return bench_node(left, right);
}

static void bench_free(struct bench_node *node)
{
	if (HEAP_COLLECTED)
		return;
	if (node->left != NULL) {
		bench_free(node->left);
		bench_free(node->right);
	}
	heap_free(node);
}

static uint64_t bench_size(unsigned depth)
{
	return ((uint64_t)2 << depth) - 1;
}

static unsigned bench_depth(const struct bench_node *node)
{
	unsigned depth = 0;

	for (; node->left != NULL && node->right != NULL;
	     node = depth % 2 ? node->left : node->right)
		depth++;
	return depth;
}

static void bench_run(struct bench_thread *t)
{
	struct bench_node *long_lived = make(sizeof(*long_lived)), *tree;
	double *array;

	bench_populate(t, TREE_DEPTH, long_lived);
	array = heap_alloc_zero(ARRAY * sizeof(*array));
	if (array == NULL)
		die("out of memory");
	for (unsigned i = 0; i < ARRAY / 2; i++)
		array[i] = 1.0 / (i + 1);
	for (unsigned d = DEPTH_MIN; d <= TREE_DEPTH; d += 2) {
		uint64_t count = 2 * bench_size(TREE_DEPTH + 2) / bench_size(d);

		for (uint64_t i = 0; i < count; i++) {
			tree = make(sizeof(*tree));
			bench_populate(t, d, tree);
			t->failed |= bench_depth(tree) != d;
			bench_free(tree);
		}
		for (uint64_t i = 0; i < count; i++) {
			tree = bench_make(t, d);
			t->failed |= bench_depth(tree) != d;
			bench_free(tree);
		}
	}
	t->failed |= bench_depth(long_lived) != TREE_DEPTH || array[1000] != 1.0 / 1001;
	bench_free(long_lived);
	heap_free(array);
}

static void *bench_thread(void *arg)
{
	struct bench_thread *t = arg;

	heap_thread_begin(&t->heap, __builtin_frame_address(0));
	bench_run(t);
	heap_thread_end(&t->heap);
	return NULL;
}

static void garbage_draw(void)
{
	uint64_t rng = 20261124;

	for (unsigned i = 0; i < GARBAGE; i++) {
		uint8_t words = 0;

		while (below(next(&rng), 100) >= 15)
			words++;
		/* and one for its length */
		garbage_words[i] = words > 0 ? words + 1 : 0;
	}
}

static uint64_t gcbench(uint64_t threads, uint64_t garbage)
{
	static struct bench_thread thread[THREADS];
	uint64_t made = 0;

	if (threads < 1 || threads > THREADS)
		die("one or two threads");
	if (garbage != 0)
		garbage_draw();
	begin_timing();
	for (unsigned i = 1; i < threads; i++) {
		if (pthread_create(&thread[i].thread, NULL, bench_thread, &thread[i]) != 0)
			die("no thread");
	}
	bench_run(&thread[0]);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(thread[i].thread, NULL);
	for (unsigned i = 0; i < threads; i++) {
		if (thread[i].failed)
			die("a tree was damaged");
	}
	for (unsigned d = DEPTH_MIN; d <= TREE_DEPTH; d += 2)
		made += 2 * bench_size(d) * (2 * bench_size(TREE_DEPTH + 2) / bench_size(d));
	made += bench_size(TREE_DEPTH);
	printf("live %.4f\n",
	       (double)threads *
		       (double)(2 * bench_size(TREE_DEPTH) * sizeof(struct bench_node) +
				ARRAY * sizeof(double)) /
		       1048576);
	return threads * made;
}

/* ---- running one ---- */

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

static const struct workload {
	const char *name;
	uint64_t (*work)(uint64_t size, uint64_t ops); /* returns the operations done */
	unsigned percent;
} workloads[] = {
	{"trees", trees, GOGC},
	{"graph", graph, GOGC},
	{"curve", curve, GOGC},
	{"gcbench", gcbench, GOGC_BENCH},
};

int main(int argc, char **argv)
{
	const struct workload *w = NULL;
	uint64_t size, ops, done, wall, cpu;
	double peak;

	for (unsigned i = 0; argc > 3 && i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (strcmp(argv[1], workloads[i].name) == 0)
			w = &workloads[i];
	}
	if (w == NULL || ((w->work == graph || w->work == curve) && argc < 5))
		die("usage: gc WORKLOAD CPUS SIZE [OPS]");
	size = strtoull(argv[3], NULL, 10);
	ops = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	heap_gc_begin(&main_heap, __builtin_frame_address(0), (unsigned)atoi(argv[2]), w->percent);
	heap_root(&root, &root + 1);
	done = w->work(size, ops);
	wall = clock_ns(CLOCK_MONOTONIC) - begun_ns;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begun_ns;
	peak = peak_mib();
	if (w->work == graph || w->work == curve) {
		graph_report();
		graph_check(done);
	}
	printf("version %s\n", heap_version());
	printf("wall %.4f\n", (double)wall / 1e9);
	printf("cpu %.4f\n", (double)cpu / 1e9);
	printf("cpus %.2f\n", (double)cpu / (double)wall);
	printf("ns/op %.3f\n", (double)wall / (double)done);
	printf("cpu/op %.3f\n", (double)cpu / (double)done);
	printf("peak %.2f\n", peak);
	if (HEAP_COLLECTED) {
		printf("collections %llu\n", (unsigned long long)heap_collections());
		printf("stop %.4f\n", (double)heap_stop_ns() / 1e6);
	}
	heap_gc_end();
	return 0;
}
