/* SPDX-License-Identifier: MIT */
/*
 * What the collector says of itself: records of cycles ([RECORD-1] to [RECORD-3]; while others run: test_thread_trace.c),
 * stops and stalls, and the lines of gctrace, which real lines of Go must match as well. The clock is ours: it goes on by a
 * step each time somebody looks.
 */
#include "tests/host/heap_setup.h"

#include "gc/mark.h"
#include "gc/record.h"

#include <regex.h>

static uint64_t now = 1000000000, step;
static uint64_t byte_ns, seen_bytes; /* what scanning takes besides */

uint64_t __wrap_loam_host_now_ns(void);
uint64_t __wrap_loam_host_now_ns(void)
{
	uint64_t scanned = loam_heap.scanned_bytes;

	if (scanned > seen_bytes)
		now += (scanned - seen_bytes) * byte_ns;
	seen_bytes = scanned;
	return now += step;
}

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static void **list; /* a root of every test */

__attribute__((noinline)) static void grow(size_t bytes)
{
	for (size_t i = 0; i < bytes / 64; i++) {
		void **p = loam_alloc(64);

		assert_non_null(p);
		loam_store(&p[0], list);
		loam_store(&list, p);
	}
}

static void begin_test(uint64_t step_ns)
{
	struct loam_gc_cycle none;
	struct loam_stats stats;

	assert_int_equal(loam_gc_cycles_read(&none, 1), 0);
	loam_stats_read(&stats);
	assert_int_equal(stats.last_gc + stats.gc_cpu_ppm + stats.pause_total_ns, 0);
	list = NULL;
	assert_int_equal(loam_root_add(&list, &list + 1), LOAM_OK);
	step = step_ns;
}

static void end_test(void)
{
	step = 0;
	loam_store(&list, NULL);
	assert_int_equal(loam_root_remove(&list, &list + 1), LOAM_OK);
}

static uint64_t counted(enum loam_gc_histogram_kind which)
{
	struct loam_histogram h;

	loam_gc_histogram_read(which, &h);
	return loam_histogram_total(&h);
}

static uint64_t end_ns(const struct loam_gc_cycle *c)
{
	return c->begin_ns + c->begin_stop_ns + c->mark_ns + c->end_stop_ns;
}

static bool in_one_stop(void)
{
	return loam_heap.barrier == LOAM_BARRIER_STOP;
}

/* ---- records ---- */

static void check_record(const struct loam_gc_cycle *c)
{
	assert_true(c->stopped_ns >= c->begin_stop_ns + c->end_stop_ns);
	assert_true(c->stopped_ns <= end_ns(c) - c->begin_ns);
	if (in_one_stop())
		assert_int_equal(c->stopped_ns, end_ns(c) - c->begin_ns);
	assert_true(in_one_stop() ? c->stops == 1 : c->stops >= 2);
	assert_int_equal(c->threads, 1);
	assert_int_equal(c->procs, 1);
	assert_int_equal(c->global_bytes, sizeof(list));
	assert_true(c->stack_bytes > 0);
	assert_true(c->scanned_bytes >= c->stack_bytes + c->global_bytes);
	if (c->why ==
	    LOAM_WHY_ASKED) /* nothing was made meanwhile, which is marked and not scanned */
		assert_true(c->scanned_bytes >= c->live_after_bytes / 2);
	assert_true(c->busy_ns <= c->total_ns);
}

/* `c` holds all there were. */
static void check_records(const struct loam_gc_cycle *c, size_t n, uint64_t start_ns)
{
	uint64_t stops = 0, stopped = 0, end = start_ns, busy = 0, total = 0;
	struct loam_stats stats;

	for (size_t i = n; i-- > 0;) {
		check_record(&c[i]);
		assert_int_equal(c[i].number, n - i); /* [RECORD-2] */
		assert_true(c[i].begin_ns >= end);
		stops += c[i].stops;
		stopped += c[i].stopped_ns;
		busy += c[i].assist_ns + c[i].donated_ns + c[i].stopped_ns;
		total += end_ns(&c[i]) - end;
		end = end_ns(&c[i]);
		assert_int_equal(c[i].busy_ns, busy);
		assert_int_equal(c[i].total_ns, total);
		assert_true(c[i].swept || i == 0);
		assert_true(i == 0 || end + c[i].sweep_ns <= c[i - 1].begin_ns);
	}
	loam_stats_read(&stats);
	assert_int_equal(stats.num_gc, n);
	assert_int_equal(stats.last_gc, end);
	assert_int_equal(stats.heap_marked, c[0].live_after_bytes);
	assert_int_equal(stats.pause_total_ns, stopped);
	assert_int_equal(counted(LOAM_GC_PAUSES), stops);
	assert_int_equal(counted(LOAM_GC_STOPPING), stops);
	assert_true(stats.pause_max_ns >= stats.pause_last_ns &&
		    stats.pause_max_ns >= stopped / stops);
	/* millionths of the time until just now */
	total += now - end;
	assert_int_equal(stats.gc_cpu_ppm, busy * 1000000 / total);
}

static void records_are_of_whole_cycles(void **state)
{
	static struct loam_gc_cycle c[LOAM_GC_CYCLES];
	uint64_t start = loam_heap.start_ns;
	size_t n;

	(void)state;
	begin_test(US);
	loam_gc(); /* of an empty heap */
	for (unsigned i = 0; i < 12; i++) {
		grow(300000);
		loam_gc();
		if (i % 3 == 0)
			loam_store(&list, NULL);
	}
	while (loam_gc_cycles_read(c, 1) == 1 && c[0].number < 20) { /* some nobody asked for */
		grow(100000);
		if (c[0].number % 3 == 0)
			loam_store(&list, NULL);
	}
	step = 0;
	n = loam_gc_cycles_read(c, LOAM_GC_CYCLES);
	assert_true(n >= 20 && n < LOAM_GC_CYCLES);
	check_records(c, n, start);
	for (size_t i = 0; i < n; i++) {
		bool asked = n - i <= 13;

		assert_int_equal(c[i].why, asked ? LOAM_WHY_ASKED : LOAM_WHY_GOAL);
		assert_true(!asked || c[i].sweep_ns > 0 || i == n - 1);
		assert_true(c[i].goal_bytes > 0);
	}
	end_test();
}

static void so_many_are_remembered(void **state)
{
	static struct loam_gc_cycle c[LOAM_GC_CYCLES + 1];

	(void)state;
	begin_test(10);
	for (unsigned i = 1; i <= 300; i++) {
		size_t n;

		loam_gc();
		memset(c, 0x5a, sizeof(c));
		n = loam_gc_cycles_read(c, i % 10 == 0 ? LOAM_GC_CYCLES + 1 : 3);
		assert_int_equal(n, i % 10 != 0		 ? (i < 3 ? i : 3)
				    : i < LOAM_GC_CYCLES ? i
							 : LOAM_GC_CYCLES);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(c[k].number, i - k);
		assert_int_equal(c[n].number, UINT64_C(0x5a5a5a5a5a5a5a5a));
	}
	assert_int_equal(loam_gc_cycles_read(c, 0), 0);
	/* a cycle that runs takes no room */
	loam_gc_set_percent(-1);
	grow(4 << 20);
	loam_gc_set_percent(1);
	while (loam_gc_cycles_read(c, 1) == 1 && c[0].number == 300 && !loam_marking())
		(void)loam_gc_work(0);
	assert_true(loam_marking() || in_one_stop());
	assert_int_equal(loam_gc_cycles_read(c, LOAM_GC_CYCLES), LOAM_GC_CYCLES);
	end_test();
}

/* Allocations alone mark; nothing but donated time does. */
static void who_marked_is_told(void **state)
{
	struct loam_gc_cycle c;

	(void)state;
	begin_test(US);
	while (loam_gc_cycles_read(&c, 1) == 0)
		grow(64 * 100);
	assert_true(in_one_stop() ? c.assist_ns == 0 : c.assist_ns > 0);
	assert_int_equal(c.donated_ns, 0);
	while (loam_gc_work(MS))
		;
	loam_gc_set_percent(-1);
	grow(4 << 20);
	loam_gc_set_percent(1);
	for (uint64_t last = c.number; c.number == last;) {
		(void)loam_gc_work(10 * US);
		(void)loam_gc_cycles_read(&c, 1);
	}
	assert_int_equal(c.why, LOAM_WHY_GOAL);
	assert_true(in_one_stop() ? c.donated_ns == 0 : c.donated_ns > 0);
	assert_int_equal(c.assist_ns, 0);
	assert_false(c.swept);
	while (loam_gc_work(MS))
		;
	(void)loam_gc_cycles_read(&c, 1);
	assert_true(c.swept && c.sweep_ns > 0);
	loam_gc(); /* who asks is no allocation that is held up */
	(void)loam_gc_cycles_read(&c, 1);
	assert_int_equal(c.assist_ns, 0);
	assert_true(in_one_stop() || c.donated_ns > 0);
	end_test();
}

static void stalls_are_of_allocations(void **state)
{
	struct loam_stats stats;

	(void)state;
	begin_test(2 * US);
	for (unsigned i = 0; i < 5; i++)
		loam_gc();
	while (loam_gc_work(MS))
		;
	assert_int_equal(counted(LOAM_GC_STALLS), 0);
	step = 0; /* all takes less than a microsecond */
	grow(20 << 20);
	loam_stats_read(&stats);
	assert_true(stats.num_gc > 5);
	assert_int_equal(counted(LOAM_GC_STALLS), 0);
	step = LOAM_GC_STALL_LEAST_NS;
	loam_store(&list, NULL);
	grow(20 << 20);
	assert_true(counted(LOAM_GC_STALLS) > 0);
	EXPECT_PANIC(counted(LOAM_GC_HISTOGRAMS), "no such histogram");
	end_test();
}

/* ---- lines ---- */

static char pieces[64][512];
static unsigned piece_count;

static void keep_log(enum loam_log_level level, const char *buf, size_t len)
{
	assert_int_equal(level, LOAM_LOG_INFO);
	assert_true(piece_count < COUNT_OF(pieces) && len < sizeof(pieces[0]));
	memcpy(pieces[piece_count], buf, len);
	pieces[piece_count++][len] = '\0';
}

static void listen(void)
{
	piece_count = 0;
	loam_host_on_log(keep_log);
}

#define N "[0-9]+"
#define F "([0-9]+|[0-9]+\\.[0-9]+)"
#define E "[0-9]+(\\.[0-9]+)?(e[+-][0-9]+)?"

static const char gc_line[] =
	"^gc " N " @" N "\\.[0-9]{3}s " N "%: " F "\\+" F "\\+" F " ms clock, " F "\\+" F "/" F
	"/" F "\\+" F " ms cpu, " N "->" N "->" N " MB, " N " MB goal, " N " MB stacks, " N
	" MB globals, " N " P( \\(forced\\))?\n$";
static const char ratio_line[] = "^pacer: assist ratio=" E " \\(scan " N " MB in " N "->" N
				 " MB\\) workers=" N "\\+" E "\n$";
static const char work_line[] =
	"^pacer: " N "% CPU \\(" N " exp\\.\\) for " N "\\+" N "\\+" N " B work \\(" N
	" B exp\\.\\) in " N " B -> " N " B \\(\xe2\x88\x86goal -?" N ", cons/mark " E "\\)\n$";
static const char sweep_line[] = "^pacer: sweep done at heap size " N "MB; allocated " N
				 "MB during sweep; swept " N " pages at " E " pages/byte\n$";
static const char scav_line[] =
	"^scav " N " KiB work \\(bg\\), " N " KiB work \\(eager\\), " N " KiB now, " N "% util\n$";

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	bool yes;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	yes = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return yes;
}

static unsigned lines_like(const char *pattern)
{
	unsigned n = 0;

	for (unsigned i = 0; i < piece_count; i++)
		n += matches(pieces[i], pattern);
	return n;
}

/* Printed by Go 1.26 on linux/amd64. */
static void patterns_are_go_s(void **state)
{
	static const char *const go[][2] = {
		{gc_line, "gc 1 @0.013s 2%: 0.060+27+0.047 ms clock, 0.12+1.0/0.92/0+0.094 ms cpu, "
			  "3->7->6 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P\n"},
		{gc_line, "gc 4 @0.119s 11%: 7.3+16+0.17 ms clock, 14+0.26/12/7.6+0.35 ms cpu, "
			  "23->25->19 MB, 27 MB goal, 0 MB stacks, 0 MB globals, 2 P\n"},
		{gc_line, "gc 10 @0.448s 9%: 1.1+7.9+0.004 ms clock, 2.2+0/8.1/7.0+0.009 ms cpu, "
			  "22->22->22 MB, 44 MB goal, 0 MB stacks, 0 MB globals, 2 P (forced)\n"},
		{ratio_line, "pacer: assist ratio=0.8845447358630952 (scan 2 MB in 3->4 MB) "
			     "workers=0+0.25\n"},
		{work_line,
		 "pacer: 26% CPU (25 exp.) for 2191840+1992+152170 B work (152170 B exp.) "
		 "in 4022272 B -> 7487488 B (\xe2\x88\x86goal 3293184, cons/mark 0)\n"},
		{work_line,
		 "pacer: 25% CPU (25 exp.) for 2576928+1608+152170 B work (2566882 B exp.) "
		 "in 25046848 B -> 27152192 B (\xe2\x88\x86goal -2089650, cons/mark "
		 "0.5449615166165745)\n"},
		{sweep_line,
		 "pacer: sweep done at heap size 9MB; allocated 2MB during sweep; swept 914 "
		 "pages at 0.00023311723654564125 pages/byte\n"},
		{scav_line, "scav 0 KiB work (bg), 0 KiB work (eager), 2624 KiB now, 100% util\n"},
	};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(go); i++)
		assert_true(matches(go[i][1], go[i][0]));
	assert_false(matches("gc 1 @0.1s 2%: 0+0+0 ms clock\n", gc_line));
}

/* Go's itoaDiv and fmtNSAsMS (runtime/mgc.go), as they stand there. */
static const char *itoa_div(char *buf, uint64_t val, int dec)
{
	int i = 22, idec = i - dec;

	buf[23] = '\0';
	while (val >= 10 || i >= idec) {
		buf[i--] = (char)(val % 10 + '0');
		if (i == idec)
			buf[i--] = '.';
		val /= 10;
	}
	buf[i] = (char)(val + '0');
	return buf + i;
}

static const char *go_ms(char *buf, uint64_t ns)
{
	uint64_t x = ns / 1000;
	int dec = 3;

	if (ns >= 10000000) {
		snprintf(buf, 24, "%llu", (unsigned long long)(ns / 1000000));
		return buf;
	}
	if (x == 0)
		return "0";
	while (x >= 100) {
		x /= 10;
		dec--;
	}
	return itoa_div(buf, x, dec);
}

static void go_line(char *out, const struct loam_gc_cycle *c)
{
	uint64_t f = c->donated_ns + (in_one_stop() ? c->mark_ns * c->procs : 0);
	char b[8][24];

	snprintf(out, 512,
		 "gc %llu @%ss %llu%%: %s+%s+%s ms clock, %s+%s/%s/0+%s ms cpu, %llu->%llu->%llu "
		 "MB, "
		 "%llu MB goal, %llu MB stacks, %llu MB globals, %llu P%s\n",
		 (unsigned long long)c->number,
		 itoa_div(b[0], (c->begin_ns - loam_heap.start_ns) / 1000000, 3),
		 (unsigned long long)((double)c->busy_ns / (double)c->total_ns * 100),
		 go_ms(b[1], c->begin_stop_ns), go_ms(b[2], c->mark_ns),
		 go_ms(b[3], c->end_stop_ns), go_ms(b[4], c->begin_stop_ns * c->procs),
		 go_ms(b[5], c->assist_ns), go_ms(b[6], f), go_ms(b[7], c->end_stop_ns * c->procs),
		 (unsigned long long)(c->live_begun_bytes / 1048576),
		 (unsigned long long)(c->live_marked_bytes / 1048576),
		 (unsigned long long)(c->live_after_bytes / 1048576),
		 (unsigned long long)(c->goal_bytes / 1048576),
		 (unsigned long long)(c->stack_bytes / 1048576),
		 (unsigned long long)(c->global_bytes / 1048576), (unsigned long long)c->procs,
		 c->why == LOAM_WHY_ASKED ? " (forced)" : "");
}

/* Of every length: what a duration may be. */
static uint64_t any_ns(struct rng *rng)
{
	static const uint64_t edge[] = {0,
					1,
					999,
					1000,
					9999,
					99999,
					100000,
					999999,
					1000000,
					9999999,
					10000000,
					10999999,
					UINT64_C(99999999999)};

	if (rng_below(rng, 3) == 0)
		return edge[rng_below(rng, COUNT_OF(edge))];
	return rng_next(rng) >> (24 + rng_below(rng, 40));
}

static void made_up(struct rng *rng, struct loam_gc_cycle *c)
{
	*c = (struct loam_gc_cycle){
		.number = rng_next(rng) >> (32 + rng_below(rng, 32)),
		.begin_ns = loam_heap.start_ns + any_ns(rng),
		.begin_stop_ns = any_ns(rng),
		.mark_ns = any_ns(rng),
		.end_stop_ns = any_ns(rng),
		.assist_ns = any_ns(rng),
		.donated_ns = any_ns(rng),
		.live_begun_bytes = rng_next(rng) >> (16 + rng_below(rng, 48)),
		.live_marked_bytes = rng_next(rng) >> (16 + rng_below(rng, 48)),
		.live_after_bytes = rng_next(rng) >> (16 + rng_below(rng, 48)),
		.goal_bytes = rng_next(rng) >> (16 + rng_below(rng, 48)),
		.stack_bytes = rng_next(rng) >> (32 + rng_below(rng, 32)),
		.global_bytes = rng_next(rng) >> (32 + rng_below(rng, 32)),
		.procs = 1 + rng_below(rng, 64),
		.busy_ns = rng_next(rng) >> (12 + rng_below(rng, 30)),
		.why = rng_below(rng, 2) ? LOAM_WHY_ASKED : LOAM_WHY_GOAL,
	};
	/* no share is at the edge of a percent: Go's are of floating point */
	c->total_ns = c->busy_ns / (1 + rng_below(rng, 99)) * 100 + 51 * c->busy_ns / 100000 + 1;
	if (c->total_ns < c->busy_ns)
		c->total_ns = c->busy_ns;
}

static void lines_are_go_s_to_the_digit(void **state)
{
	struct rng rng = {test_seed()};
	struct loam_gc_cycle c;
	char want[512];

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		made_up(&rng, &c);
		go_line(want, &c);
		listen();
		loam_gctrace(&c);
		assert_int_equal(piece_count, 1);
		assert_string_equal(pieces[0], want);
		assert_true(matches(want, gc_line));
	}
	loam_host_on_log(quiet_log);
}

static void each_level_prints_its_lines(void **state)
{
	struct loam_gc_cycle c;
	char want[512];

	(void)state;
	begin_test(20 * US);
	loam_gc_set_percent(-1);
	for (uint8_t level = 0; level <= 3; level++) {
		loam_heap.trace = level;
		grow(2 << 20);
		listen();
		loam_gc();
		loam_host_on_log(quiet_log);
		assert_int_equal(lines_like(gc_line), level >= 1);
		assert_int_equal(lines_like(ratio_line), level >= 2);
		assert_int_equal(lines_like(work_line), level >= 2);
		assert_int_equal(lines_like(sweep_line), level >= 2);
		assert_int_equal(lines_like(scav_line), level >= 3);
		/* nothing else, and no line in two pieces */
		assert_int_equal(piece_count, level < 2 ? level : level + 2);
		(void)loam_gc_cycles_read(&c, 1);
		go_line(want, &c);
		if (level > 0)
			assert_string_equal(pieces[level > 1 ? 2 : 0], want);
	}
	loam_heap.trace = 0;
	end_test();
}

static void the_pacer_says_what_it_did(void **state)
{
	unsigned long long percent, heap, stacks, globals, from, to;
	struct loam_gc_cycle c;
	long long over;

	(void)state;
	begin_test(US);
	grow(6 << 20);
	loam_gc();
	loam_heap.trace = 2;
	listen();
	loam_gc();
	loam_host_on_log(quiet_log);
	loam_heap.trace = 0;
	(void)loam_gc_cycles_read(&c, 1);
	assert_int_equal(
		sscanf(pieces[1],
		       "pacer: %llu%% CPU (25 exp.) for %llu+%llu+%llu B work (%*u B exp.) "
		       "in %llu B -> %llu B (\xe2\x88\x86goal %lld",
		       &percent, &heap, &stacks, &globals, &from, &to, &over),
		7);
	assert_int_equal(heap + stacks + globals, c.scanned_bytes);
	assert_int_equal(stacks, c.stack_bytes);
	assert_int_equal(globals, c.global_bytes);
	assert_int_equal(from, c.live_begun_bytes);
	assert_int_equal(to, c.live_marked_bytes);
	assert_int_equal(over, (long long)(c.live_marked_bytes - c.goal_bytes));
	assert_true(percent > 0 && percent <= 100); /* the clock moves in stops and slices alone */
	end_test();
}

static bool said(const char *text)
{
	for (unsigned i = 0; i < piece_count; i++) {
		if (strstr(pieces[i], text) != NULL)
			return true;
	}
	return false;
}

static void dump_tells_of_the_collector(void **state)
{
	struct loam_gc_cycle c;
	char want[128];

	(void)state;
	begin_test(10 * US);
	listen();
	loam_dump_stats();
	assert_true(said("gc:   0 collections (0 forced), 0.00 % of the time"));
	assert_false(said("stops: "));
	assert_false(said("last: "));
	loam_host_on_log(quiet_log);
	grow(20 << 20);
	loam_gc();
	(void)loam_gc_cycles_read(&c, 1);
	listen();
	loam_dump_stats();
	loam_host_on_log(quiet_log);
	snprintf(want, sizeof(want), "gc:   %llu collections (1 forced), ",
		 (unsigned long long)c.number);
	assert_true(said(want));
	snprintf(want, sizeof(want), "      stops: %llu, half under 0.",
		 (unsigned long long)counted(LOAM_GC_PAUSES));
	assert_true(said(want));
	assert_true(said("      until all stood: "));
	assert_true(said("      allocations held up (1 us and more): "));
	snprintf(want, sizeof(want), "      last: number %llu at ", (unsigned long long)c.number);
	assert_true(said(want));
	assert_true(said(" s, for loam_gc asked: "));
	assert_true(said(" ms, swept in "));
	end_test();
}

static void shares_are_cut_and_do_not_wrap(void **state)
{
	(void)state;
	assert_int_equal(loam_record_share(0, 0, 100), 0);
	assert_int_equal(loam_record_share(5, 0, 100), 0);
	assert_int_equal(loam_record_share(999, 1000, 100), 99);
	assert_int_equal(loam_record_share(1000, 1000, 100), 100);
	assert_int_equal(loam_record_share(5000, 1000, 100), 100);
	assert_int_equal(loam_record_share(UINT64_MAX / 4, UINT64_MAX, 1000000), 249999);
	assert_int_equal(loam_record_share(UINT64_MAX, UINT64_MAX, 1000000), 1000000);
	assert_int_equal(loam_record_share(UINT64_MAX, 1, 1000000), 0);
}

static uint64_t assisted_ns, donated_ns, stop_from_ns, round_ns, rounds;

static void on_stall(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		     const struct loam_cycle *c)
{
	(void)to_ns;
	if (why == LOAM_STALL_ROUND && loam_marking()) {
		now += round_ns; /* so long it took */
		rounds++;
	}
	if (why != LOAM_STALL_END)
		return;
	assisted_ns = c->assist_ns;
	donated_ns = c->donated_ns;
	stop_from_ns = from_ns;
}

/* One allocation past the goal does all of the marking, and the cycle ends within it: what that took is known to the pacer, which
 * learns from it in the last stop. */
static void the_last_assist_counts(void **state)
{
	uint64_t before;

	(void)state;
	begin_test(US);
	grow((size_t)4 << 20);
	loam_gc();
	begin_cycle();
	assert_true(loam_marking());
	loam_gc_on_stall = on_stall;
	before = now;
	assert_non_null(loam_alloc_noscan((size_t)32 << 20));
	grow(4096);
	loam_gc_on_stall = NULL;
	assert_false(loam_marking());
	assert_true(assisted_ns > 20 * US);
	/* but for a few looks at the clock, one after the other, a step each */
	assert_true(stop_from_ns - before - assisted_ns <= 4 * US);
	end_test();
}

/* A round is not for nothing, nor is it only if the last stop follows: who has helped with one has helped for so long. */
static void rounds_take_time_too(void **state)
{
	(void)state;
	NEED_TRACKING();
	begin_test(US);
	grow((size_t)4 << 20);
	loam_gc();
	begin_cycle();
	for (void **p = list; p != NULL; p = p[0])
		p[1] = NULL; /* all pages are written */
	rounds = 0;
	round_ns = 1000 * MS;
	loam_gc_on_stall = on_stall;
	while (loam_marking())
		(void)loam_gc_work(1);
	loam_gc_on_stall = NULL;
	assert_true(rounds >= 2);
	assert_true(donated_ns >= rounds * round_ns);
	round_ns = 0;
	end_test();
}

static struct {
	uint64_t to_ns, ns; /* of the last assist that scanned */
	bool on_time;	    /* when it was over */
	unsigned rests;
} turns;

static void on_assist(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		      const struct loam_cycle *c)
{
	struct loam_pacer before = loam_heap.pacer;
	bool on_time;

	(void)c;
	/* what was scanned made it cheaper, and left less: it may have been late when the assist began */
	before.work_per_byte += before.work_per_byte / 16;
	before.suffices = 0;
	on_time = loam_marking() && loam_pacer_on_time(&before);
	if (why != LOAM_STALL_ASSIST || to_ns - from_ns < 10 * step)
		return;
	if (turns.on_time && on_time) {
		/* 16 KiB are scanned between two looks at the clock */
		assert_true(to_ns - from_ns <= 200 * US + (byte_ns << 14) + 10 * step);
		/* looks at the clock lie between its own and ours */
		assert_true(from_ns + 5 * step - turns.to_ns >= 3 * (turns.ns - 5 * step));
		turns.rests++;
	}
	turns.to_ns = to_ns;
	turns.ns = to_ns - from_ns;
	turns.on_time = on_time;
}

/* While all goes well, who has helped for a while runs for three times as long before it does again. */
static void who_helps_takes_turns(void **state)
{
	(void)state;
	begin_test(20 * US);
	byte_ns = 10;
	assert_int_equal(loam_gc_set_percent(25),
			 LOAM_OK); /* dear: else nobody owes so soon again */
	grow((size_t)8 << 20);
	loam_gc();
	turns.on_time = false;
	turns.rests = 0;
	begin_cycle();
	loam_gc_on_stall = on_assist;
	while (loam_marking())
		grow(64);
	loam_gc_on_stall = NULL;
	assert_true(turns.rests > 3);
	byte_ns = 0;

	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
	end_test();
}

static uint64_t round_to_ns;

static void on_round(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		     const struct loam_cycle *c)
{
	/* in a later one it hurries */
	if (why != LOAM_STALL_ROUND || !loam_marking() || c->rounds >= 8)
		return;
	if (round_to_ns != 0 && loam_pacer_on_time(&loam_heap.pacer)) {
		assert_true(from_ns - round_to_ns >= 5 * MS);
		turns.rests++;
	}
	round_to_ns = to_ns;
}

/* Who allocates begins no round before it has run for a while: the round may end with the last stop, in one go. */
static void there_is_rest_before_a_round(void **state)
{
	(void)state;
	NEED_TRACKING();
	begin_test(20 * US);
	grow((size_t)8 << 20);
	loam_gc();
	begin_cycle();
	for (void **p = list; p != NULL; p = p[0])
		p[1] = NULL; /* all pages are written: there will be a second round */
	round_to_ns = turns.rests = 0;
	loam_gc_on_stall = on_round;
	while (loam_marking())
		grow(64);
	loam_gc_on_stall = NULL;
	assert_true(turns.rests > 0);
	end_test();
}

static unsigned breaks; /* of the second round */

static void on_part(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		    const struct loam_cycle *c)
{
	if (why != LOAM_STALL_ROUND || !loam_marking())
		return;
	if (loam_clean_running())
		breaks += c->rounds == 1;
	else if (c->rounds == 0) /* little, but too much for the last stop */
		for (void **p = list; p < list + (100 << 9); p += 1 << 9)
			*p = NULL;
}

/* A round after one that told of little may be the last: it takes no break before it has been everywhere, but for a large heap. */
static void calm_rounds_take_no_break(void **state)
{
	(void)state;
	NEED_TRACKING();
	begin_test(0);
	assert_non_null(loam_alloc_noscan((size_t)300 << 20)); /* two pieces */
	list = loam_alloc(100 << 12);
	begin_cycle();
	step = 400 * US;
	loam_gc_on_stall = on_part;
	while (loam_marking())
		(void)loam_gc_work(1);
	loam_gc_on_stall = NULL;
	assert_int_equal(breaks, 0);
	end_test();
}

#define in_all(f) heap_test(f), heap_test_software(f), heap_test_stop(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_all(records_are_of_whole_cycles),
		in_all(so_many_are_remembered),
		in_all(who_marked_is_told),
		in_all(stalls_are_of_allocations),
		heap_test_software(who_helps_takes_turns),
		heap_test(the_last_assist_counts),
		heap_test_software(the_last_assist_counts),
		heap_test(rounds_take_time_too),
		heap_test(there_is_rest_before_a_round),
		heap_test(calm_rounds_take_no_break),
		in_all(lines_are_go_s_to_the_digit),
		in_all(each_level_prints_its_lines),
		in_all(the_pacer_says_what_it_did),
		in_all(dump_tells_of_the_collector),
		cmocka_unit_test(patterns_are_go_s),
		cmocka_unit_test(shares_are_cut_and_do_not_wrap),
	};
	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
