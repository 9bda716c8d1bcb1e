/* SPDX-License-Identifier: MIT */
/*
 * The line that Go prints with GODEBUG=gctrace=1, field by field:
 *
 *   gc N @T s U%: a+b+c ms clock, d+e/f/g+h ms cpu, H0->H1->H2 MB, G MB goal, S MB stacks,
 *   L MB globals, P P (forced)
 *
 * This collector stops the world for all of it: a is the time to stop, b marking, c sweeping and
 * restarting; of the CPU times, marking stands under f (dedicated), e and g (assists, idle) are
 * 0. Durations are printed as Go does: two or three digits that matter.
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

void loam_gctrace(uint64_t begun, uint64_t stopped, uint64_t marked, uint64_t done,
		  uint64_t live_before, uint64_t live_after, uint64_t stack_bytes, bool forced)
{
	const struct loam_heap *h = &loam_heap;
	uint64_t run = done - h->start_ns, procs = h->procs;
	struct text t[9];

	loam_log(LOAM_LOG_INFO, "gc %llu @%ss %llu%%: %s+%s+%s ms clock, ",
		 (unsigned long long)h->cycles, decimal(&t[0], run / 1000000, 3),
		 (unsigned long long)(run > 0 ? h->gc_ns * 100 / run : 0),
		 ms(&t[1], stopped - begun), ms(&t[2], marked - stopped), ms(&t[3], done - marked));
	loam_log(LOAM_LOG_INFO, "%s+0/%s/0+%s ms cpu, ", ms(&t[4], (stopped - begun) * procs),
		 ms(&t[5], marked - stopped), ms(&t[6], (done - marked) * procs));
	loam_log(LOAM_LOG_INFO,
		 "%llu->%llu->%llu MB, %llu MB goal, %llu MB stacks, %llu MB globals, %llu P%s\n",
		 (unsigned long long)(live_before >> 20), (unsigned long long)(live_before >> 20),
		 (unsigned long long)(live_after >> 20), (unsigned long long)(h->goal_last >> 20),
		 (unsigned long long)(stack_bytes >> 20),
		 (unsigned long long)(loam_roots_bytes() >> 20), (unsigned long long)procs,
		 forced ? " (forced)" : "");
}
