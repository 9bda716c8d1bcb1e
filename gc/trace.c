/* SPDX-License-Identifier: MIT */
/*
 * What the collector says of itself. At config.gctrace 1 the line that Go prints with GODEBUG=gctrace=1, field by
 * field, when a cycle's second stop is over:
 *
 *   gc N @T s U%: a+b+c ms clock, d+e/f/g+h ms cpu, H0->H1->H2 MB, G MB goal, S MB stacks,
 *   L MB globals, P P (forced)
 *
 * T is when it began. U: of all the time that threads had since the start, what went into collecting. a is the stop in
 * which marking begins, b marking, c the stop in which it ends. Of the CPU times d and h are those of the stops, for the
 * P threads that could run at once; e is marking by threads that allocate, f on donated time, and by who asked for the
 * collection; g, Go's idle time, is 0. H0 is what was thought live when the cycle began, H1 when marking ended, H2 what
 * was marked. Durations are printed as Go does: two digits that matter, whole milliseconds from 10 on.
 *
 * Why g is 0: Go puts there what it marks on processors that have nothing to do, and leaves it out of U; it
 * schedules, so it knows. loam does not know if who donates time had anything better to do. As f it counts, and U is
 * the most that collecting can have cost.
 *
 * With LOAM_BARRIER_STOP the three parts are one stop: f is b for all threads.
 *
 * At 2 also Go's lines of GODEBUG=gcpacertrace=1: the two of a cycle before its line, with `workers=0+0`, for there
 * are none; and one when all is swept. At 3 also that of scavtrace=1, once a cycle: `bg` is what went back on
 * donated time, `eager` what before an allocation. What loam_release gives back is seen in `now`.
 *
 * Concurrency: each line is one piece of log, so that those of several CPUs do not mix. heap.collecting is held, no other
 * lock, and nobody is stopped: a slow console holds up the thread that ended the cycle, and the next cycle.
 *
 * References: Go's runtime/extern.go, mgc.go, mgcpacer.go, mgcsweep.go, mgcscavenge.go.
 */
#include "gc/pace.h"
#include "gc/ratio.h"
#include "gc/record.h"
#include "mm/print.h"

struct line {
	char text[320];
	size_t len;
};

static void add(struct line *l, const char *fmt, ...)
{
	size_t room = sizeof(l->text) - l->len;
	va_list ap;

	va_start(ap, fmt);
	size_t len = loam_vsnprintf(l->text + l->len, room, fmt, ap);
	va_end(ap);
	l->len += len < room ? len : room - 1;
}

static void say(const struct line *l)
{
	loam_host_log(LOAM_LOG_INFO, l->text, l->len);
}

static void add_number(struct line *l, uint64_t v)
{
	add(l, "%llu", (unsigned long long)v);
}

/* Go's itoaDiv: v / 10^decimals with that many decimals. */
static void add_decimal(struct line *l, uint64_t v, unsigned decimals)
{
	uint64_t scale = 1;

	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	add_number(l, v / scale);
	if (decimals > 0)
		add(l, ".%0*llu", (int)decimals, (unsigned long long)(v % scale));
}

/* Go's fmtNSAsMS: nanoseconds as milliseconds, whole ones from 10 ms on, two significant digits below. */
static void add_ms(struct line *l, uint64_t ns)
{
	uint64_t x = ns / 1000;
	unsigned decimals = 3;

	if (ns >= 10000000 || x == 0) {
		add_number(l, ns / 1000000);
		return;
	}
	for (; x >= 100; x /= 10)
		decimals--;
	add_decimal(l, x, decimals);
}

/* Before each but the first stands its separator: "+" or "/". */
static void add_times(struct line *l, const char *separators, const uint64_t *ns)
{
	add_ms(l, ns[0]);
	for (unsigned i = 0; separators[i] != '\0'; i++) {
		add(l, "%c", separators[i]);
		add_ms(l, ns[i + 1]);
	}
}

/* A ratio, cut after so many decimals. */
static void add_ratio(struct line *l, uint64_t ratio, unsigned decimals)
{
	uint64_t scale = 1;

	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	add_decimal(l, (ratio >> 32) * scale + ((ratio & UINT32_MAX) * scale >> 32), decimals);
}

/* ---- the lines ---- */

static void say_cycle(const struct loam_gc_cycle *r)
{
	const uint64_t clock[] = {r->begin_stop_ns, r->mark_ns, r->end_stop_ns};
	uint64_t marked_stopped = loam_heap.barrier == LOAM_BARRIER_STOP ? r->mark_ns : 0;
	const uint64_t cpu[] = {r->begin_stop_ns * r->procs, r->assist_ns,
				r->donated_ns + marked_stopped * r->procs, 0,
				r->end_stop_ns * r->procs};
	struct line l = {.len = 0};

	add(&l, "gc %llu @", (unsigned long long)r->number);
	add_decimal(&l, (r->begin_ns - loam_heap.start_ns) / 1000000, 3);
	add(&l, "s %llu%%: ", (unsigned long long)loam_record_share(r->busy_ns, r->total_ns, 100));
	add_times(&l, "++", clock);
	add(&l, " ms clock, ");
	add_times(&l, "+//+", cpu);
	add(&l, " ms cpu, %llu->%llu->%llu MB, %llu MB goal, %llu MB stacks, ",
	    (unsigned long long)(r->live_begun_bytes >> 20),
	    (unsigned long long)(r->live_marked_bytes >> 20),
	    (unsigned long long)(r->live_after_bytes >> 20),
	    (unsigned long long)(r->goal_bytes >> 20), (unsigned long long)(r->stack_bytes >> 20));
	add(&l, "%llu MB globals, %llu P%s\n", (unsigned long long)(r->global_bytes >> 20),
	    (unsigned long long)r->procs, r->why == LOAM_WHY_ASKED ? " (forced)" : "");
	say(&l);
}

static void say_pacer(const struct loam_gc_cycle *r)
{
	const struct loam_pace_told *p = &loam_pace_told;
	uint64_t goal = r->goal_bytes > 0 ? r->goal_bytes : p->live_bytes;
	struct line l = {.len = 0};

	add(&l, "pacer: assist ratio=");
	add_ratio(&l, p->work_per_byte, 6);
	add(&l, " (scan %llu MB in %llu->%llu MB) workers=0+0\n",
	    (unsigned long long)(p->most_bytes >> 20),
	    (unsigned long long)(p->triggered_bytes >> 20),
	    (unsigned long long)(p->goal_bytes >> 20));
	say(&l);
	l.len = 0;
	add(&l, "pacer: %llu%% CPU (25 exp.) for %llu+%llu+%llu B work (%llu B exp.) ",
	    (unsigned long long)p->percent, (unsigned long long)p->done.heap_bytes,
	    (unsigned long long)p->done.stack_bytes, (unsigned long long)p->done.global_bytes,
	    (unsigned long long)p->expected_bytes);
	/* Go writes the letter delta */
	add(&l, "in %llu B -> %llu B (\xe2\x88\x86goal %lld, cons/mark ",
	    (unsigned long long)p->triggered_bytes, (unsigned long long)p->live_bytes,
	    (long long)(p->live_bytes - goal));
	add_ratio(&l, p->cons_mark, 6);
	add(&l, ")\n");
	say(&l);
}

static void say_scavenger(void)
{
	struct loam_pageheap *pages = &loam_heap.pages;
	uint64_t ready = __atomic_load_n(&pages->ready, __ATOMIC_RELAXED);
	uint64_t used = __atomic_load_n(&pages->used, __ATOMIC_RELAXED);
	uint64_t mapped = __atomic_load_n(&loam_heap.mapped_bytes, __ATOMIC_RELAXED);
	uint64_t donated, before, ready_bytes = ready << LOAM_HEAP_PAGE_SHIFT;
	struct line l = {.len = 0};

	loam_scavenge_told(&donated, &before);
	add(&l, "scav %llu KiB work (bg), %llu KiB work (eager), %llu KiB now, %llu%% util\n",
	    (unsigned long long)(donated >> 10), (unsigned long long)(before >> 10),
	    (unsigned long long)((mapped > ready_bytes ? mapped - ready_bytes : 0) >> 10),
	    (unsigned long long)loam_record_share(used, ready, 100));
	say(&l);
}

void loam_gctrace(const struct loam_gc_cycle *r)
{
	if (loam_heap.trace > 1)
		say_pacer(r);
	say_cycle(r);
	if (loam_heap.trace > 2)
		say_scavenger();
}

void loam_gctrace_swept(void)
{
	const struct loam_pacer *p = &loam_heap.pacer;
	int64_t live = __atomic_load_n(&loam_heap.live, __ATOMIC_RELAXED);
	uint64_t now = live > 0 ? (uint64_t)live : 0;
	uint64_t from = __atomic_load_n(&p->sweep_from_bytes, __ATOMIC_RELAXED);
	struct line l = {.len = 0};

	add(&l, "pacer: sweep done at heap size %lluMB; allocated %lluMB during sweep; ",
	    (unsigned long long)(now >> 20),
	    (unsigned long long)((now > from ? now - from : 0) >> 20));
	add(&l, "swept %llu pages at ", (unsigned long long)loam_heap.sweep_end);
	add_ratio(&l, __atomic_load_n(&p->sweep_ratio, __ATOMIC_RELAXED), 9);
	add(&l, " pages/byte\n");
	say(&l);
}

/* ---- loam_dump_stats ---- */

static void say_quantiles(const char *what, enum loam_gc_histogram_kind which)
{
	static const struct {
		unsigned per_mille;
		const char *name;
	} part[] = {{500, "half"}, {990, "99 %"}, {999, "99.9 %"}};
	const struct loam_histogram *h = loam_record_histogram(which);
	struct line l = {.len = 0};

	if (loam_histogram_total(h) == 0)
		return;
	add(&l, "      %s: %llu", what, (unsigned long long)loam_histogram_total(h));
	for (unsigned i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		add(&l, ", %s under ", part[i].name);
		add_ms(&l, loam_histogram_quantile(h, part[i].per_mille));
	}
	add(&l, " ms\n");
	say(&l);
}

static void say_last(const struct loam_gc_cycle *r)
{
	static const char *const why[] = {
		[LOAM_WHY_GOAL] = "the heap had grown",
		[LOAM_WHY_SHORTAGE] = "memory was short",
		[LOAM_WHY_ASKED] = "loam_gc asked",
	};
	const uint64_t clock[] = {r->begin_stop_ns, r->mark_ns, r->end_stop_ns};
	struct line l = {.len = 0};

	add(&l, "      last: number %llu at ", (unsigned long long)r->number);
	add_decimal(&l, (r->begin_ns - loam_heap.start_ns) / 1000000, 3);
	add(&l, " s, for %s: ", why[r->why]);
	add_times(&l, "++", clock);
	add(&l, " ms, ");
	if (r->swept) {
		add(&l, "swept in ");
		add_ms(&l, r->sweep_ns);
		add(&l, " ms");
	} else {
		add(&l, "not all swept yet");
	}
	add(&l, "; %k, then %k, of which %k marked\n", r->live_begun_bytes, r->live_marked_bytes,
	    r->live_after_bytes);
	say(&l);
}

void loam_dump_gc(const struct loam_stats *s)
{
	struct loam_gc_cycle last;
	struct line l = {.len = 0};

	add(&l, "gc:   %llu collections (%llu forced), ", (unsigned long long)s->num_gc,
	    (unsigned long long)s->num_forced_gc);
	add_decimal(&l, s->gc_cpu_ppm / 100, 2);
	add(&l, " %% of the time since the start; %llu us stopped in all, longest ",
	    (unsigned long long)(s->pause_total_ns / 1000));
	add_ms(&l, s->pause_max_ns);
	add(&l, " ms\n");
	say(&l);
	say_quantiles("stops", LOAM_GC_PAUSES);
	say_quantiles("until all stood", LOAM_GC_STOPPING);
	say_quantiles("allocations held up (1 us and more)", LOAM_GC_STALLS);
	if (loam_gc_cycles_read(&last, 1) > 0)
		say_last(&last);
}
