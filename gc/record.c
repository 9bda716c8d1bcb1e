/* SPDX-License-Identifier: MIT */
/*
 * What is remembered of cycles: a ring of records, three histograms, sums of stops.
 *
 * A record is open from the beginning of its cycle, and published when the second stop is over: its number is then in
 * the slot. When the cycle's last page is swept is told later, or earlier, by whoever swept it, and stands beside the record.
 *
 *   [RECORD-1] What is read of a record is of one cycle, and whole.
 *   [RECORD-2] The records that are read have successive numbers, and the first is the newest there was.
 *   [RECORD-3] A cycle's stops lie in its parts: begin_stop_ns + end_stop_ns <= stopped_ns <= all three parts.
 *
 * Concurrency: readers take no lock and wait for nothing, so a handler of a panic may be one. One thread at a time
 * writes: the holder of heap.collecting. A slot's number is 0 from before its words change until after. Words are
 * stored with release and loaded with acquire: who sees one of the next cycle sees the 0 after it, and throws away what it
 * read; so do all older records with it. There is a slot more than records, for the open one.
 * The rest is relaxed: sums that the holder of `collecting` alone writes, and histograms.
 *
 * References: Go's MemStats.PauseNs (runtime/mstats.go). Departure: the time that threads had is counted with the number of
 * threads that each cycle finds; Go is told when that changes.
 */
#include "gc/record.h"

#include "gc/histogram.h"
#include "gc/pace.h"

#define SLOTS (LOAM_GC_CYCLES + 1)
#define WORDS (sizeof(struct loam_gc_cycle) / sizeof(uint64_t))
_Static_assert(sizeof(struct loam_gc_cycle) % sizeof(uint64_t) == 0, "a record is whole words");

union record {
	struct loam_gc_cycle cycle;
	uint64_t word[WORDS];
};

struct slot {
	uint64_t number;     /* atomic: 0: the record is not whole */
	uint64_t swept_ns;   /* atomic, relaxed: when all was swept; 0: not yet */
	union record record; /* atomic words */
};

static struct slot slots[SLOTS];
static uint64_t newest; /* atomic: number; release by its writer, acquire by readers */

static struct loam_histogram histograms[LOAM_GC_HISTOGRAMS]; /* atomic */

/* heap.collecting to write, atomic, relaxed: each by itself */
static uint64_t stop_total_ns, stop_last_ns, stop_max_ns;
static uint64_t until_ns; /* the newest cycle's end; heap.start_ns */
/* heap.collecting: until then */
static uint64_t busy_ns, total_ns;

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

void loam_record_reset(void)
{
	uint64_t unused;

	loam_scavenge_told(&unused, &unused);
	for (unsigned i = 0; i < SLOTS; i++)
		slots[i].number = 0;
	for (unsigned i = 0; i < LOAM_GC_HISTOGRAMS; i++)
		histograms[i] = (struct loam_histogram){0};
	newest = 0;
	stop_total_ns = stop_last_ns = stop_max_ns = 0;
	busy_ns = total_ns = 0;
	until_ns = loam_heap.start_ns;
}

/* ---- stops and stalls ---- */

void loam_record_stop(uint64_t from_ns, uint64_t stood_ns, uint64_t to_ns)
{
	uint64_t ns = to_ns - from_ns;

	loam_histogram_add(&histograms[LOAM_GC_STOPPING], (int64_t)(stood_ns - from_ns));
	loam_histogram_add(&histograms[LOAM_GC_PAUSES], (int64_t)ns);
	store(&stop_last_ns, ns);
	store(&stop_total_ns, stop_total_ns + ns);
	if (ns > stop_max_ns)
		store(&stop_max_ns, ns);
}

void loam_record_stall(uint64_t from_ns)
{
	int64_t ns = (int64_t)(loam_host_now_ns() - from_ns);

	if (ns >= LOAM_GC_STALL_LEAST_NS)
		loam_histogram_add(&histograms[LOAM_GC_STALLS], ns);
}

const struct loam_histogram *loam_record_histogram(enum loam_gc_histogram_kind which)
{
	LOAM_CHECK((unsigned)which < LOAM_GC_HISTOGRAMS,
		   "loam_gc_histogram_read: there is no such histogram");
	return &histograms[which];
}

void loam_gc_histogram_read(enum loam_gc_histogram_kind which, struct loam_histogram *histogram)
{
	loam_histogram_copy(histogram, loam_record_histogram(which));
}

/* ---- cycles ---- */

static struct slot *slot_of(uint64_t number)
{
	return &slots[number % SLOTS];
}

void loam_record_open(void)
{
	struct slot *s = slot_of(newest + 1);

	store(&s->number, 0);
	/* release, as of each word: [RECORD-1] */
	__atomic_store_n(&s->swept_ns, 0, __ATOMIC_RELEASE);
}

static void fill(struct loam_gc_cycle *r, const struct loam_cycle *c)
{
	*r = (struct loam_gc_cycle){
		.number = newest + 1,
		.begin_ns = c->begin_ns,
		.begin_stop_ns = c->mark_ns - c->begin_ns,
		.mark_ns = c->end_ns - c->mark_ns,
		.end_stop_ns = c->done_ns - c->end_ns,
		.stops = c->stops,
		.stopped_ns = c->stopped_ns,
		.assist_ns = load(&c->assist_ns),
		.donated_ns = load(&c->donated_ns),
		.live_begun_bytes = c->live_begun,
		.live_marked_bytes = c->live_marked,
		.live_after_bytes = c->live_after,
		.goal_bytes = c->goal,
		.scanned_bytes = c->scanned_bytes,
		.stack_bytes = c->stack_bytes,
		.global_bytes = c->global_bytes,
		.rounds = c->rounds,
		.last_pages = c->last_pages,
		.threads = loam_heap.procs,
		.procs = loam_pace_threads(),
		.why = (uint8_t)c->why,
	};
	busy_ns += r->assist_ns + r->donated_ns + r->stopped_ns * r->procs;
	total_ns += (c->done_ns - until_ns) * r->procs;
	store(&until_ns, c->done_ns);
	r->busy_ns = busy_ns;
	r->total_ns = total_ns;
}

const struct loam_gc_cycle *loam_record_cycle(const struct loam_cycle *c)
{
	struct slot *s = slot_of(newest + 1);
	union record r;

	fill(&r.cycle, c);
	for (unsigned i = 0; i < WORDS; i++)
		__atomic_store_n(&s->record.word[i], r.word[i], __ATOMIC_RELEASE);
	if (loam_heap.sweep_end == 0) /* there is no page */
		store(&s->swept_ns, c->done_ns);
	/* release: partners in read_slot and loam_gc_cycles_read */
	__atomic_store_n(&s->number, r.cycle.number, __ATOMIC_RELEASE);
	__atomic_store_n(&newest, r.cycle.number, __ATOMIC_RELEASE);
	return &s->record.cycle;
}

void loam_record_swept(void)
{
	/* the next cycle cannot begin while we are inside, and the slot is ours; but it may not be published yet */
	store(&slot_of(load(&loam_heap.cycles))->swept_ns, loam_host_now_ns());
}

/* [RECORD-1]; false: it is not there any more. */
static bool read_slot(uint64_t number, struct loam_gc_cycle *to)
{
	const struct slot *s = slot_of(number);
	uint64_t swept, end;
	union record r;

	if (__atomic_load_n(&s->number, __ATOMIC_ACQUIRE) != number)
		return false;
	for (unsigned i = 0; i < WORDS; i++)
		r.word[i] = __atomic_load_n(&s->record.word[i], __ATOMIC_ACQUIRE);
	swept = __atomic_load_n(&s->swept_ns, __ATOMIC_ACQUIRE);
	if (load(&s->number) != number)
		return false;
	end = r.cycle.begin_ns + r.cycle.begin_stop_ns + r.cycle.mark_ns + r.cycle.end_stop_ns;
	r.cycle.swept = swept != 0;
	r.cycle.sweep_ns = swept > end ? swept - end : 0;
	*to = r.cycle;
	return true;
}

size_t loam_gc_cycles_read(struct loam_gc_cycle *to, size_t n)
{
	uint64_t number = __atomic_load_n(&newest, __ATOMIC_ACQUIRE);
	size_t count = 0;

	n = n < LOAM_GC_CYCLES ? n : LOAM_GC_CYCLES;
	for (; count < n && number > 0; number--, count++) {
		if (!read_slot(number, &to[count]))
			break;
	}
	return count;
}

/* ---- figures ---- */

uint64_t loam_record_until_ns(void)
{
	return load(&until_ns);
}

uint64_t loam_record_share(uint64_t part_ns, uint64_t whole_ns, uint64_t of)
{
	uint64_t share;

	LOAM_ASSERT(of <= (uint64_t)1 << 20);
	for (; part_ns >> 44 != 0; part_ns >>= 1) /* or the product wraps */
		whole_ns >>= 1;
	share = whole_ns > 0 ? part_ns * of / whole_ns : 0;
	return share < of ? share : of;
}

void loam_record_stats(struct loam_stats *s)
{
	struct loam_gc_cycle last;
	uint64_t now = loam_host_now_ns(), total;

	s->pause_total_ns = load(&stop_total_ns);
	s->pause_last_ns = load(&stop_last_ns);
	s->pause_max_ns = load(&stop_max_ns);
	if (loam_gc_cycles_read(&last, 1) == 0)
		return;
	s->last_gc = last.begin_ns + last.begin_stop_ns + last.mark_ns + last.end_stop_ns;
	total = last.total_ns + (now > s->last_gc ? now - s->last_gc : 0) * last.procs;
	s->gc_cpu_ppm = loam_record_share(last.busy_ns, total, 1000000);
}
