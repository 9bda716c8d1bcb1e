/* SPDX-License-Identifier: MIT */
/*
 * The limiter: collecting takes no more than about half of the machine.
 *
 * Near its memory limit a heap is collected again and again, until the program does not get on at all.
 * Then more memory than the limit is the smaller evil: while the limiter limits, nobody assists.
 *
 * A leaky bucket: each nanosecond of a thread that goes into collecting fills it, each one that is the
 * program's drains it, idle ones do neither. Above half of the machine the level rises, below it falls.
 * It holds a second for each thread, so a burst does not count: one second of collecting in the last two.
 * Full: limiting, until something has drained. It never goes below empty: an idle day buys nothing.
 *
 *   [LIMIT-1] 0 <= fill <= capacity, and limiting if and only if full.
 *   [LIMIT-2] Time is counted once: the level that one update gives is the level that many give, as
 *             long as the bucket is neither full nor empty in between. Idle time alone never raises it.
 *   [LIMIT-3] No input makes anything wrap.
 *
 * Why nothing wraps: threads are cut to 2^16, a window to 2^44 ns (4.8 hours, enough to fill or drain any bucket
 * thousands of times), each pool to 2^60 ns: all terms of a change stay below 2^62 together, in 64 bits with sign.
 *
 * Concurrency: limiter.h. Time of a thread that is still at work arrives when it is done: the level dips
 * before and makes up for it then; idle time that arrives late is the program's. So who works or idles for
 * longer than an update period adds its time in pieces.
 *
 * References: Go's runtime/mgclimit.go. Departures: Go takes a quarter of the machine as used while marking, and
 * looks into threads for work that is under way; here all time is what threads say.
 */
#include "gc/limiter.h"

#include "arch/check.h"

#define THREADS_MAX ((uint64_t)1 << 16)
#define WINDOW_MAX  ((uint64_t)1 << 44)
#define POOL_MAX    ((uint64_t)1 << 60)

static void set_limiting(struct loam_limiter *l)
{
	bool full = l->fill_ns == l->capacity_ns;

	if (full == loam_limiter_limiting(l))
		return; /* everybody reads it: no store that changes nothing */
	l->limited_count += full;
	__atomic_store_n(&l->limiting, full, __ATOMIC_RELAXED);
}

/* The level changes by what was the collector's less what was the program's. */
static void pour(struct loam_limiter *l, int64_t change)
{
	uint64_t room = l->capacity_ns - l->fill_ns, by;

	if (change >= 0) {
		by = (uint64_t)change < room ? (uint64_t)change : room;
		l->fill_ns += by;
		l->overflow_ns += (uint64_t)change - by;
	} else {
		by = (uint64_t)-change;
		l->fill_ns -= by < l->fill_ns ? by : l->fill_ns;
	}
	set_limiting(l);
}

/* Thread time from the last update to now, which becomes the last; 0 if now is before it. */
static int64_t window(struct loam_limiter *l, uint64_t now_ns)
{
	uint64_t last = __atomic_load_n(&l->last_ns, __ATOMIC_RELAXED), ns;

	if (now_ns <= last)
		return 0;
	ns = now_ns - last;
	__atomic_store_n(&l->last_ns, now_ns, __ATOMIC_RELAXED);
	return (int64_t)((ns < WINDOW_MAX ? ns : WINDOW_MAX) * l->threads);
}

static int64_t drain(uint64_t *pool)
{
	uint64_t ns = __atomic_exchange_n(pool, 0, __ATOMIC_RELAXED);

	return (int64_t)(ns < POOL_MAX ? ns : POOL_MAX);
}

static void settle_up(struct loam_limiter *l, uint64_t now_ns)
{
	int64_t all = window(l, now_ns), work = drain(&l->work_ns), idle = drain(&l->idle_ns);

	/* idle time that comes late, of windows that are counted, must not look like collecting */
	pour(l, work - (all - (idle < all ? idle : all) - work));
}

static void set_threads(struct loam_limiter *l, uint64_t threads)
{
	l->threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
	l->capacity_ns = l->threads * LOAM_LIMITER_NS_PER_THREAD;
}

void loam_limiter_init(struct loam_limiter *l, uint64_t now_ns, uint64_t threads)
{
	*l = (struct loam_limiter){.last_ns = now_ns};
	set_threads(l, threads);
}

void loam_limiter_set_threads(struct loam_limiter *l, uint64_t now_ns, uint64_t threads)
{
	LOAM_ASSERT(!l->stopped);
	settle_up(l, now_ns);
	set_threads(l, threads);
	if (l->fill_ns > l->capacity_ns)
		l->fill_ns = l->capacity_ns; /* no overflow: nobody has collected for it */
	set_limiting(l);
}

void loam_limiter_update(struct loam_limiter *l, uint64_t now_ns)
{
	LOAM_ASSERT(!l->stopped);
	settle_up(l, now_ns);
}

void loam_limiter_world_stopped(struct loam_limiter *l, uint64_t now_ns)
{
	LOAM_ASSERT(!l->stopped);
	settle_up(l, now_ns);
	l->stopped = true;
}

void loam_limiter_world_started(struct loam_limiter *l, uint64_t now_ns)
{
	LOAM_ASSERT(l->stopped);
	pour(l, window(l, now_ns));
	l->stopped = false;
}
