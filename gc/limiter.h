/* SPDX-License-Identifier: MIT */
/*
 * The limiter: collecting takes no more than about half of the machine. Theory: limiter.c.
 *
 * Pure arithmetic on one struct, as the pacer. Contexts: `owner`: one caller at a time, by a lock of the
 * caller's (a try is enough: who finds it taken need not update) or with the world stopped; `any`: any
 * number of threads at once, meanwhile too. Times are of one monotonic clock.
 */
#ifndef LOAM_GC_LIMITER_H
#define LOAM_GC_LIMITER_H

#include <loam/types.h>

/* Leeway: time of collecting for each thread that can run. */
#define LOAM_LIMITER_NS_PER_THREAD ((uint64_t)1000000000)
/* No longer without loam_limiter_update. */
#define LOAM_LIMITER_PERIOD_NS ((uint64_t)10000000)

struct loam_limiter {
	/* owner */
	uint64_t fill_ns, capacity_ns;
	uint64_t overflow_ns;	/* ever: collecting that found the bucket full */
	uint64_t limited_count; /* how often it began to limit */
	uint64_t threads;
	bool stopped;
	/* atomic, relaxed: each is a number by itself */
	uint64_t last_ns;	   /* owner to write: counted until then */
	uint64_t work_ns, idle_ns; /* since then */
	uint64_t limiting;	   /* owner to write */
};

/* An empty bucket, for so many threads that can run at once (1 to 65,536; others are cut).
 * Source: Go's gcCPULimiterState (runtime/mgclimit.go), as all of the following. Context: owner. */
void loam_limiter_init(struct loam_limiter *l, uint64_t now_ns, uint64_t threads);

/* Their number has changed: the bucket grows or shrinks. Not while stopped. Context: owner. */
void loam_limiter_set_threads(struct loam_limiter *l, uint64_t now_ns, uint64_t threads);

/*
 * A thread has spent `ns` on collecting or giving memory back that the program could have used: assists,
 * donated time. Not within a stop. Counted by the next update. Context: any.
 */
static inline void loam_limiter_add_work(struct loam_limiter *l, uint64_t ns)
{
	__atomic_fetch_add(&l->work_ns, ns, __ATOMIC_RELAXED);
}

/* A thread has spent `ns` on nothing, or on collecting while there was nothing else. Context: any. */
static inline void loam_limiter_add_idle(struct loam_limiter *l, uint64_t ns)
{
	__atomic_fetch_add(&l->idle_ns, ns, __ATOMIC_RELAXED);
}

/* Nobody must assist: memory may pass the limit. Context: any. */
static inline bool loam_limiter_limiting(const struct loam_limiter *l)
{
	return __atomic_load_n(&l->limiting, __ATOMIC_RELAXED) != 0;
}

/* Is it time for an update? Context: any. */
static inline bool loam_limiter_need_update(const struct loam_limiter *l, uint64_t now_ns)
{
	uint64_t last = __atomic_load_n(&l->last_ns, __ATOMIC_RELAXED);

	return now_ns > last && now_ns - last > LOAM_LIMITER_PERIOD_NS;
}

/* Count everything until now. An earlier time than the last is ignored. Not while stopped.
 * Context: owner. */
void loam_limiter_update(struct loam_limiter *l, uint64_t now_ns);

/* The world stops to collect, and starts again: all time of all threads in between is the collector's.
 * In turns. Context: owner. */
void loam_limiter_world_stopped(struct loam_limiter *l, uint64_t now_ns);
void loam_limiter_world_started(struct loam_limiter *l, uint64_t now_ns);

#endif
