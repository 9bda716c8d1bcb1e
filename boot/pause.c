/* SPDX-License-Identifier: MIT */
/*
 * A program with a live graph of a given size, which changes all the time, and a record of whatever keeps it from
 * doing so. It stores with plain stores: there is no write barrier in it.
 *
 * The graph. A power of two of nodes of 64 bytes, which a table, itself an object, names by number. Node i has LINKS
 * links, to the nodes of numbers i * multiplier + k (mod all of them): so the number of each node that links to i is known, too. To
 * swap node i is to make a new one with the same links, and to store it in the table and in the nodes that link to
 * it: six places of memory that have nothing to do with each other. So exactly the nodes in the table are reachable, whatever was
 * swapped; and each can be checked against its number, which is done in the end. With near=1 numbers are scattered within
 * BLOCK nodes alone, and swaps stay within one block for a while.
 *
 * Time. The program walks along links; with walk=0 it counts, which is the same where each instruction takes a nanosecond, and
 * ten times as fast for an emulator. Every chunk of steps, of some CHUNK_NS, it reads the clock; then it makes as much
 * garbage and swaps as many nodes as are due, at fixed rates. While the collector has nothing to do and no cycle is about to begin, garbage is made as fast as
 * can be, so that the next one comes soon; while there is only sweeping to do, at 32 MiB/s at least. What a chunk usually takes is found out with the collector off. One that takes more than
 * twice that is recorded: so is all that the collector tells of itself (loam_gc_on_stall).
 *
 * Noise. First CPUs do nothing but read the clock: by what the clock then jumps, all else may be wrong.
 *
 * Records are in memory of the system's: neither roots nor heap. They are printed when all is over.
 */
#include "boot/pause.h"

#include "arch/cpu.h"
#include "boot/smp.h"
#include "gc/heap.h"
#include "mm/print.h"

#define LINKS	   4u
#define WAYS	   5u /* places that a node is stored in: the table and as many nodes as it has links */
#define BLOCK	   4096u
#define CHUNK_NS   20000u
#define JUMP_NS	   UINT64_C(20000)
#define NOISE_NS   UINT64_C(1000000000)
#define LEAST_NS   UINT64_C(5000) /* of an assist that is recorded */
#define LIMIT_NS   UINT64_C(300000000000)
#define DONATE_NS  UINT64_C(1000000)
#define SWEPT_RATE (((uint64_t)32 << 20) / sizeof(struct node)) /* nodes a second */
#define NEAR_DUE   ((uint64_t)1 << 20)				/* bytes */
#define EVENTS	   524288u
#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15) /* odd */

struct node {
	struct node *link[LINKS];
	uint64_t number, swaps, unused[2];
};
_Static_assert(sizeof(struct node) == 64, "a cache line");

static const uint64_t node_pointers = 15, table_pointers = 1;
static const struct loam_type node_type = {
	.size = sizeof(struct node), .ptr_words = 4, .ptr_bits = &node_pointers, .name = "node"};
static const struct loam_type table_type = {
	.size = sizeof(void *), .ptr_words = 1, .ptr_bits = &table_pointers, .name = "slot"};

enum kind {
	LATE = LOAM_STALLS, /* a chunk that took too long */
	JUMP,		    /* of the clock, while nothing is done */
	KINDS,
};
static const char *const kind_name[KINDS] = {"begin",  "again", "end", "round",
					     "assist", "late",	"jump"};

struct event {
	uint64_t from, ns, wait_ns;
	uint32_t kind, pages, rounds;
};

/* One CPU's. */
struct record {
	uint64_t count, lost;
	struct event event[EVENTS];
};

static struct record *record[2]; /* by CPU; the first has the events of all others' share too */
static struct node **table;
static uint64_t count, mask, inverse,
	rng; /* nodes; what of a number is scattered; 1 / MULTIPLIER */
static uint64_t chunk_steps, chunk_ns;
static bool spinning;
static uint32_t over; /* atomic: the donor is to stop */
static struct loam_thread donor LOAM_BOOT_NO_ROOTS;

static uint64_t next(void)
{
	uint64_t z = (rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ (z >> 27);
}

/* ---- records ---- */

static struct event *note(unsigned kind, uint64_t from, uint64_t to)
{
	static struct event none;
	struct record *r = record[loam_host_cpu_id() != 0];

	if (r->count == EVENTS) {
		r->lost++;
		return &none;
	}
	r->event[r->count] = (struct event){.from = from, .ns = to - from, .kind = kind};
	return &r->event[r->count++];
}

static void on_stall(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		     const struct loam_cycle *c)
{
	struct event *e;

	/* donated time keeps nobody from anything */
	if (why == LOAM_STALL_ASSIST && (to_ns - from_ns < LEAST_NS || loam_host_cpu_id() != 0))
		return;
	e = note(why, from_ns, to_ns);
	if (why >= LOAM_STALL_ROUND)
		return;
	e->wait_ns = c->stood_ns - from_ns;
	e->pages = (uint32_t)c->last_pages;
	e->rounds = (uint32_t)c->rounds;
}

static void print_records(void)
{
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		for (uint64_t i = 0; i < record[cpu]->count; i++) {
			const struct event *e = &record[cpu]->event[i];

			loam_log(LOAM_LOG_INFO, "pause %s %u %llu %llu %llu %u %u\n",
				 kind_name[e->kind], cpu, (unsigned long long)e->from,
				 (unsigned long long)e->ns, (unsigned long long)e->wait_ns,
				 e->pages, e->rounds);
		}
		if (record[cpu]->lost > 0)
			loam_log(LOAM_LOG_INFO, "pause lost %llu\n",
				 (unsigned long long)record[cpu]->lost);
	}
}

/* ---- noise ---- */

static void watch_clock(void *arg)
{
	uint64_t start = loam_host_now_ns(), was = start;

	(void)arg;
	while (was - start < NOISE_NS) {
		uint64_t now = loam_host_now_ns();

		if (now - was > JUMP_NS)
			note(JUMP, was, now);
		was = now;
	}
}

/* ---- the graph ---- */

/* The number that link `k` of node `i` goes to, and the node whose link `k` goes to `i`. */
static uint64_t target(uint64_t i, unsigned k)
{
	return (i & ~mask) | ((i * MULTIPLIER + k + 1) & mask);
}

static uint64_t source(uint64_t i, unsigned k)
{
	return (i & ~mask) | (((i - k - 1) * inverse) & mask);
}

static uint64_t any_number(void)
{
	static uint64_t block, left;

	if (mask == count - 1)
		return next() & mask;
	if (left-- == 0) {
		left = BLOCK;
		block = next() & (count - 1) & ~mask;
	}
	return block | (next() & mask);
}

static bool build(uint64_t nodes, bool near)
{
	count = nodes;
	mask = (near && BLOCK < count ? BLOCK : count) - 1;
	inverse = MULTIPLIER;
	for (unsigned i = 0; i < 5; i++) /* Newton: the number of bits that are right doubles */
		inverse *= 2 - MULTIPLIER * inverse;
	table = loam_alloc_type(&table_type, count);
	if (table == NULL)
		return false;
	for (uint64_t i = 0; i < count; i++) {
		table[i] = loam_alloc_type(&node_type, 1);
		if (table[i] == NULL)
			return false;
		table[i]->number = i;
	}
	for (uint64_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < LINKS; k++)
			table[i]->link[k] = table[target(i, k)];
	}
	return true;
}

static bool swap(void)
{
	uint64_t i = any_number();
	struct node *new = loam_alloc_type(&node_type, 1);

	if (new == NULL)
		return false;
	new->number = i;
	new->swaps = table[i]->swaps + 1;
	for (unsigned k = 0; k < LINKS; k++) {
		uint64_t to = target(i, k), from = source(i, k);

		new->link[k] = to == i ? new : table[to];
		if (from != i)
			table[from]->link[k] = new;
	}
	table[i] = new;
	return true;
}

static const char *check(void)
{
	for (uint64_t i = 0; i < count; i++) {
		if (table[i]->number != i)
			return "a live node is another";
		for (unsigned k = 0; k < LINKS; k++) {
			if (table[i]->link[k] != table[target(i, k)])
				return "a link leads elsewhere";
		}
	}
	return NULL;
}

/* ---- the program ---- */

/* What is to be done beside walking, by rates a second. */
struct rate {
	uint64_t per_s, done;
};

/* Of the rate: how much of it is due `ns` after the start, at most `most`. */
static uint64_t due(struct rate *r, uint64_t ns, uint64_t most)
{
	uint64_t want = ns / 1000 * r->per_s / 1000000, n = want > r->done ? want - r->done : 0;

	if (n > most) { /* what was missed in a stall is not made up for */
		r->done = want - most;
		n = most;
	}
	r->done += n;
	return n;
}

static struct rate garbage, swaps;

static const struct node *walk(const struct node *at)
{
	if (spinning) {
		for (uint64_t i = 0; i < chunk_steps; i++)
			__asm__ volatile("" : "+r"(at));
		return at;
	}
	for (uint64_t i = 0; i < chunk_steps; i++)
		at = at->link[i & (LINKS - 1)];
	return at;
}

static bool make_garbage(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct node *node = loam_alloc_type(&node_type, 1);

		if (node == NULL)
			return false;
		node->link[0] = node;
	}
	return true;
}

/* One chunk, with garbage at so many times the rate (haste); `now` moves on. False: out of memory. */
static bool chunk(const struct node **at, uint64_t start, uint64_t *now, uint64_t times)
{
	uint64_t was = *now, n;
	bool ok;

	*at = walk(*at);
	n = due(&garbage, was - start, 64);
	ok = make_garbage(times > 0 ? n * times : 256);
	for (n = due(&swaps, was - start, 2); ok && n > 0; n--)
		ok = swap();
	*now = loam_host_now_ns();
	if (loam_gc_on_stall != NULL && times == 1 && *now - was > 2 * chunk_ns)
		note(LATE, was, *now);
	return ok;
}

/* Steps that take CHUNK_NS, and what chunks usually take: the lower half's longest. */
static void calibrate(void)
{
	static uint64_t took[2001] LOAM_BOOT_NO_ROOTS;
	const struct node *at = table[0];
	uint64_t start, now, best = UINT64_MAX;

	chunk_steps = 256;
	for (unsigned i = 0; i < 1000; i++) {
		start = loam_host_now_ns();
		at = walk(at);
		now = loam_host_now_ns();
		best = now - start < best ? now - start : best;
	}
	chunk_steps = chunk_steps * CHUNK_NS / best;
	start = now = loam_host_now_ns();
	for (unsigned i = 0; i < 2001; i++) {
		uint64_t was = now, at_last = i;

		(void)chunk(&at, start, &now, 1);
		for (; at_last > 0 && took[at_last - 1] > now - was; at_last--)
			took[at_last] = took[at_last - 1];
		took[at_last] = now - was;
		now = loam_host_now_ns();
	}
	chunk_ns = took[1000];
}

static void donate(void *arg)
{
	enum loam_err err = loam_thread_attach(&donor, loam_smp_stack_base());

	(void)arg;
	LOAM_CHECK(err == LOAM_OK, "loam_thread_attach failed");
	while (__atomic_load_n(&over, __ATOMIC_ACQUIRE) == 0) {
		if (!loam_gc_work(DONATE_NS))
			loam_cpu_relax();
		loam_cpu_quiescent();
	}
	err = loam_thread_detach(&donor);
	LOAM_CHECK(err == LOAM_OK, "loam_thread_detach failed");
}

/* Is a cycle about to begin? What comes before its first stop is for the program that is measured, too. */
static bool near_due(void)
{
	return __atomic_load_n(&loam_heap.live, __ATOMIC_RELAXED) + (int64_t)NEAR_DUE >=
	       __atomic_load_n(&loam_heap.due_bytes, __ATOMIC_RELAXED);
}

/* How many times as fast garbage is made as at the fixed rate; 0: as fast as can be, for there is nothing that the program pays for. Sweeping
 * and giving memory back are paid for by what is allocated, so that is not as fast as can be, but no slower than SWEPT_RATE. */
static uint64_t haste(void)
{
	if (loam_marking() || near_due())
		return 1;
	if (!__atomic_load_n(&loam_heap.busy, __ATOMIC_RELAXED))
		return 0;
	return garbage.per_s < SWEPT_RATE ? SWEPT_RATE / garbage.per_s : 1;
}

static const char *mutate(uint64_t cycles, uint64_t *chunks, uint64_t *ns)
{
	uint64_t start = loam_host_now_ns(), now = start;
	uint64_t until = loam_heap.cycles + cycles;
	const struct node *at = table[0];

	garbage.done = swaps.done = 0;
	*chunks = 0;
	while (__atomic_load_n(&loam_heap.cycles, __ATOMIC_RELAXED) < until &&
	       now - start < LIMIT_NS) {
		bool marking = loam_marking();

		if (!chunk(&at, start, &now, haste()))
			return "out of memory";
		*chunks += marking;
	}
	*ns = now - start;
	return NULL;
}

static const char *setup(const struct loam_boot_info *info)
{
	uint64_t live = loam_cmdline_number(info->cmdline, "live", 16);
	void *p;

	if (live == 0 || (live & (live - 1)) != 0 || live > 65536)
		return "live= must be a power of two";
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		if (loam_sys_alloc(loam_align_up(sizeof(struct record), LOAM_PAGE_SIZE),
				   LOAM_OWNER_TEST, &p) != LOAM_OK)
			return "no memory for records";
		record[cpu] = p;
	}
	rng = 1;
	garbage.per_s =
		loam_cmdline_number(info->cmdline, "garbage", 8) * (1 << 20) / sizeof(struct node);
	swaps.per_s = loam_cmdline_number(info->cmdline, "swaps", 500);
	spinning = loam_cmdline_is(info->cmdline, "walk", "0");
	(void)loam_gc_set_percent(-1);
	if (!build((live << 20) / sizeof(struct node), loam_cmdline_is(info->cmdline, "near", "1")))
		return "out of memory";
	return NULL;
}

const char *loam_pause_run(const struct loam_boot_info *info)
{
	bool donated = loam_smp_count() > 1;
	uint64_t chunks = 0, ns = 0;
	const char *bad = setup(info);

	if (bad != NULL)
		return bad;
	if (donated)
		loam_smp_post(1, watch_clock, NULL);
	watch_clock(NULL);
	loam_smp_wait();
	calibrate();
	(void)loam_gc_set_percent((int)loam_cmdline_number(info->cmdline, "percent", 100));
	loam_gc();
	if (donated)
		loam_smp_post(1, donate, NULL);
	/* two for the pacer to learn from, and for all code to have run: in the first, huge leaves become small */
	bad = mutate(2, &chunks, &ns);
	loam_gc_on_stall = on_stall;
	if (bad == NULL)
		bad = mutate(loam_cmdline_number(info->cmdline, "cycles", 6), &chunks, &ns);
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	loam_smp_wait();
	loam_gc_on_stall = NULL;
	if (bad == NULL)
		bad = check();
	loam_log(LOAM_LOG_INFO,
		 "pause run %llu nodes, chunk %llu ns, %llu chunks, %llu ns, %llu roots\n",
		 (unsigned long long)count, (unsigned long long)chunk_ns,
		 (unsigned long long)chunks, (unsigned long long)ns,
		 (unsigned long long)loam_roots_bytes());
	print_records();
	table = NULL;
	return bad;
}
