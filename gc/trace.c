/* SPDX-License-Identifier: MIT */
/*
 * The line that Go prints with GODEBUG=gctrace=1, field by field:
 *
 *   gc N @T s U%: a+b+c ms clock, d+e/f/g+h ms cpu, H0->H1->H2 MB, G MB goal, S MB stacks,
 *   L MB globals, P P (forced)
 *
 * a is the stop in which marking begins, b marking, c the stop in which it ends. Of the CPU times d and h are those of the
 * stops, for all threads; e is marking by threads that allocate, f on donated time; g, Go's idle time, is 0. With
 * LOAM_BARRIER_STOP all three are one stop. H0 is what was thought live when the cycle began, H1 when marking ended, H2 what
 * was marked. Durations are printed as Go does: two or three digits that matter.
 */
#include "gc/heap.h"
#include "mm/print.h"

struct text {
	char buf[16];
};

/* v / 10^decimals with that many decimals. */
static const char *decimal(struct text *t, uint64_t v, unsigned decimals)
{
	uint64_t scale = 1;

	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	if (decimals == 0)
		loam_snprintf(t->buf, sizeof(t->buf), "%llu", (unsigned long long)v);
	else
		loam_snprintf(t->buf, sizeof(t->buf), "%llu.%0*llu",
			      (unsigned long long)(v / scale), (int)decimals,
			      (unsigned long long)(v % scale));
	return t->buf;
}

/* Nanoseconds as milliseconds: whole ones from 10 ms on, two significant digits below. */
static const char *ms(struct text *t, uint64_t ns)
{
	uint64_t x = ns / 1000;
	unsigned decimals = 3;

	if (ns >= 10000000)
		return decimal(t, ns / 1000000, 0);
	if (x == 0)
		return decimal(t, 0, 0);
	while (x >= 100) {
		x /= 10;
		decimals--;
	}
	return decimal(t, x, decimals);
}

void loam_gctrace(const struct loam_cycle *c)
{
	const struct loam_heap *h = &loam_heap;
	uint64_t run = c->done_ns - h->start_ns, procs = h->procs;
	struct text t[10];

	loam_log(LOAM_LOG_INFO, "gc %llu @%ss %llu%%: %s+%s+%s ms clock, ",
		 (unsigned long long)h->cycles,
		 decimal(&t[0], (c->begin_ns - h->start_ns) / 1000000, 3),
		 (unsigned long long)(run > 0 ? h->gc_ns * 100 / run : 0),
		 ms(&t[1], c->mark_ns - c->begin_ns), ms(&t[2], c->end_ns - c->mark_ns),
		 ms(&t[3], c->done_ns - c->end_ns));
	loam_log(LOAM_LOG_INFO, "%s+%s/%s/0+%s ms cpu, ",
		 ms(&t[4], (c->mark_ns - c->begin_ns) * procs), ms(&t[5], c->assist_ns),
		 ms(&t[6], c->donated_ns), ms(&t[7], (c->done_ns - c->end_ns) * procs));
	loam_log(LOAM_LOG_INFO,
		 "%llu->%llu->%llu MB, %llu MB goal, %llu MB stacks, %llu MB globals, %llu P%s\n",
		 (unsigned long long)(c->live_begun >> 20),
		 (unsigned long long)(c->live_marked >> 20),
		 (unsigned long long)(c->live_after >> 20), (unsigned long long)(c->goal >> 20),
		 (unsigned long long)(c->stack_bytes >> 20),
		 (unsigned long long)(loam_roots_bytes() >> 20), (unsigned long long)procs,
		 c->forced ? " (forced)" : "");
}
