/* SPDX-License-Identifier: MIT */
/*
 * A cycle of the collector, phase by phase, and who does its work.
 *
 *   OFF --begin: the world stops for a moment--> MARK --end: the world stops for a moment--> OFF
 *    |                                            |
 *    sweeping, until all is swept                 marking, until nothing waits
 *
 * Begin: what is left to sweep is swept; then, in the stop, stacks and registers are looked at, and from there on what is freed waits,
 * and the barrier is on: then claimed slots and new objects are black. (With the MMU's notes claimed slots are so at the end: clean.c.)
 * MARK: whoever has time scans roots and what waits, a slice at a time (mark.c, work.c).
 * End: when nothing seems to wait, the world stops, and it is looked at exactly: what threads have noted is marked (barrier.c),
 * or what was written since it was scanned is scanned again, and stacks too (clean.c). If that leads far, the world runs on and
 * marking with it. Else all spans are owed a sweep (sweep.c).
 *
 * There is no thread of the collector's. The kernel donates time by loam_gc_work; a thread that allocates while
 * there is something to do helps, in proportion (loam_assist); one that asks for a collection does what is left of it.
 * With LOAM_BARRIER_STOP the three steps are one stop.
 *
 *   [CYCLE-1] The phase changes in a stop, with `collecting` held. Inside the allocator it stays as it is.
 *   [CYCLE-2] A cycle begins when the last one's sweep is complete.
 *   [CYCLE-3] Marking ends in a stop in which nothing waits anywhere, and nobody marks.
 *
 * Concurrency: `collecting` is taken by a thread that is outside, so it can itself be stopped while it waits. Slices
 * run inside: a stop waits for them, and asks them to end.
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "gc/pace.h"
#include "gc/record.h"
#include "gc/special.h"

#include "arch/cpu.h"

#define SLICE_BYTES  ((uint64_t)64 << 10)   /* scanned between two looks at the clock; */
#define ASSIST_BYTES ((uint64_t)16 << 10)   /* by who allocates, unless a slice takes */
#define QUICK_NS     100000u		    /* no longer than so */
#define PERIOD_NS    UINT64_C(120000000000) /* a cycle at least so often, if time is donated */
#define SCRUB_WORDS  192u		    /* 1.5 KiB: the frames up to the stop, and more */
#define FINISH_BYTES ((uint64_t)128 << 10)  /* scanned in the last stop before it is given up */

/* The running cycle. heap.collecting */
static struct loam_cycle cycle;

static const uint32_t never_stop;

#if LOAM_DEBUG >= 1
void (*loam_at_place)(const char *place);
#endif

void (*loam_gc_on_stall)(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
			 const struct loam_cycle *c);

static void tell_stall(enum loam_stall why, uint64_t from_ns, uint64_t to_ns)
{
	if (loam_gc_on_stall != NULL)
		loam_gc_on_stall(why, from_ns, to_ns, &cycle);
}

/* Marking on somebody's time. */
struct effort {
	uint64_t since; /* from when on it is not counted yet */
	bool donated;	/* or for an allocation; */
	bool asked;	/* or by loam_gc: then the limiter does not mind */
};

/* ---- marking ---- */

/* Until it is enough: true; or nothing is found to do: false. Inside, or stopped. */
static bool mark_some(struct loam_worker *w)
{
	for (;;) {
		if (loam_mark_drain(w))
			return true;
		if (!loam_roots_scan_some(w) && !loam_pins_scan_some(w) &&
		    !loam_specials_scan_some(w) && !loam_clean_scan_some(w))
			return false;
	}
}

/*
 * Does nothing wait, and does nobody mark? Inside: a guess, but for pages. Stopped: exact. Who takes of what is left is active until it has
 * given what it found: so that is asked first. And once no pages were left and then nobody was active, nobody looks for pages until a
 * round tells of more. Model: tests/model/quiet.pml.
 */
static bool quiet(void)
{
	if (loam_clean_left() || loam_roots_left() || loam_pins_left() || loam_specials_left())
		return false;
	LOAM_PLACE("nothing is left");
	return loam_work_none();
}

/* Scan some `bytes`; *did: how many. False: nothing was found to do, or others mark with all records. Outside. */
static bool slice(struct loam_cache *cache, uint64_t bytes, uint64_t *did)
{
	struct loam_worker *w;
	bool more = true;

	*did = 0;
	loam_gc_safepoint(); /* a request that a signal has met is still there, and would end the slice as it begins */
	LOAM_PLACE("a slice");
	loam_cache_enter(cache);
	if (loam_marking()) {
		w = loam_worker_take(bytes, &cache->stop_request, false);
		more = w != NULL;
		if (w != NULL) {
			more = mark_some(w);
			*did = w->scanned_bytes;
			loam_worker_give(w);
		}
	}
	loam_cache_leave(cache);
	return more;
}

/* ---- the two stops ---- */

/*
 * Below us on the stack stand addresses that the collector has worked with, of dead objects too. The calls that follow leave
 * holes in their frames, and those are scanned: so zeros go there first. (Boehm's GC_clear_stack.)
 */
__attribute__((noinline)) static void scrub_stack(void)
{
	uint64_t below[SCRUB_WORDS] = {0};

	__asm__ volatile("" : : "r"(below) : "memory"); /* they are written */
}

static void visit_stack(void *arg, const void *lo, const void *hi)
{
	struct loam_worker *w = arg;

	cycle.stack_bytes += (uintptr_t)hi - (uintptr_t)lo;
	loam_mark_range(w, lo, hi);
}

static void mark_stacks(struct loam_worker *w, const void *sp)
{
	cycle.stack_bytes = 0;
	visit_stack(w, sp, loam_cache_self()->stack_base);
	loam_host_stacks(visit_stack, w);
}

/* [CACHE-1]: what is claimed and nobody's is kept, and not scanned. Stopped. */
static void keep_claimed(struct loam_cache *t)
{
	t->tiny = t->tiny_end = 0;
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
		const struct loam_bin *bin = &t->bin[i];

		if (loam_bin_claimed(bin) != 0)
			loam_mark_claimed(bin->span, bin->span->window_word, loam_bin_claimed(bin));
	}
}

static void begin_thread(struct loam_cache *t)
{
	t->free_id = LOAM_NO_ID;
	t->credit = 0;
	t->rest_until_ns = t->round_ns = 0;
	if (loam_heap.black)
		keep_claimed(t);
}

static void begin_stopped(void *arg, const void *sp)
{
	struct loam_heap *h = &loam_heap;
	struct loam_worker *w;

	cycle = *(const struct loam_cycle *)
			arg; /* here, for threads that have helped count their time in it */
	/* the world is stopped and nobody was inside: the lock is free */
	LOAM_CHECK(loam_gc_trylock(&h->lock), "[THREAD-1] a stopped thread holds the heap lock");
	loam_gc_unlock(&h->lock);
	LOAM_CHECK(!loam_sweep_pending() && loam_work_none(), "[CYCLE-2] a cycle begins too early");
	h->marking_bytes = h->scanned_bytes = 0;
	h->procs = 0;
	h->black = h->barrier != LOAM_BARRIER_MMU;
	for (struct loam_cache *t = h->threads; t != NULL; t = t->next) {
		begin_thread(t);
		h->procs++;
	}
	loam_record_open();
	loam_roots_start();
	loam_pins_start();
	loam_specials_start();
	w = loam_worker_take(UINT64_MAX, &never_stop, true);
	mark_stacks(w, sp);
	loam_worker_give(w);
	cycle.live_begun = (uint64_t)h->live;
	loam_pace_begin(cycle.stack_bytes);
	loam_audit_begin();
	__atomic_store_n(&h->phase, LOAM_PHASE_MARK, __ATOMIC_RELAXED);
	__atomic_store_n(&h->busy, true, __ATOMIC_RELAXED);
	loam_barrier_set(h->barrier == LOAM_BARRIER_SOFTWARE);
}

static void end_thread(struct loam_cache *t)
{
	loam_pagecache_flush(&t->pages);
	t->rest_until_ns = 0;
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		t->bin[i].told = (uint32_t)(t->bin[i].mallocs - t->bin[i].frees);
}

/* Everything is marked. */
static void end_marking(const void *sp)
{
	struct loam_heap *h = &loam_heap;

	for (struct loam_cache *t = h->threads; t != NULL && h->barrier == LOAM_BARRIER_MMU;
	     t = t->next)
		keep_claimed(t);
	h->black = false;
	cycle.live_marked = (uint64_t)h->live;
	cycle.goal = loam_pacer_goal(&h->pacer);
	if (cycle.goal == LOAM_PACER_NEVER)
		cycle.goal = 0;
	h->marked = h->marking_bytes;
	loam_checkmark_run(sp); /* first: it says more */
	if (LOAM_DEBUG >= 3)
		loam_mark_check();
	loam_audit_end();
	loam_barrier_set(false);
	__atomic_store_n(&h->phase, LOAM_PHASE_OFF, __ATOMIC_RELAXED);
	for (struct loam_cache *t = h->threads; t != NULL; t = t->next)
		end_thread(t);
	loam_sweep_start();
	__atomic_store_n(&h->cycles, h->cycles + 1, __ATOMIC_RELAXED);
	h->forced_cycles += cycle.why == LOAM_WHY_ASKED;
	cycle.global_bytes = loam_roots_bytes();
	cycle.scanned_bytes = h->scanned_bytes;
	cycle.live_after = h->marked;
	h->goal_last = cycle.goal;
	loam_pace_end(&cycle);
	loam_scavenge_goal(cycle.goal);
	LOAM_VERIFY(loam_heap_verify_stopped());
}

/* *arg: how much to scan at most, in; whether marking is over, out. */
static void end_stopped(void *arg, const void *sp)
{
	uint64_t *most = arg;
	struct loam_worker *w = loam_worker_take(UINT64_MAX, &never_stop, true);
	bool more = false;

	if (loam_heap.barrier == LOAM_BARRIER_MMU) {
		uint64_t pages = loam_clean_last(w, cycle.rounds);

		more = loam_clean_too_many(pages, cycle.rounds);
		cycle.last_pages = pages == LOAM_CLEAN_UNKNOWN ? 0 : pages;
		if (!more) {
			mark_stacks(w, sp);
			loam_roots_scan_again(w);
		}
	}
	for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next)
		loam_notes_flush(t);
	w->enough_bytes =
		*most < UINT64_MAX - w->scanned_bytes ? w->scanned_bytes + *most : UINT64_MAX;
	if (!more && mark_some(w)) {
		more = true;
		loam_clean_blacken();
	}
	loam_worker_give(w);
	/* what is recovered may be keys: their values follow */
	while (*most == UINT64_MAX && (loam_mark_overflowed() || loam_specials_left())) {
		w = loam_worker_take(*most, &never_stop, true);
		loam_mark_recover(w);
		(void)mark_some(w);
		loam_worker_give(w);
	}
	*most = !more && quiet() && !loam_mark_overflowed(); /* [CYCLE-3] */
	if (*most)
		end_marking(sp);
}

/* The world was stopped; heap.collecting is held. */
static void count_pause(enum loam_stall why, uint64_t from_ns, uint64_t to_ns)
{
	loam_pace_stopped(from_ns, to_ns);
	loam_record_stop(from_ns, cycle.stood_ns, to_ns);
	cycle.stopped_ns += to_ns - from_ns;
	cycle.stops++;
	tell_stall(why, from_ns, to_ns);
}

/* Begin and end in one stop. */
static void whole_stopped(void *arg, const void *sp)
{
	uint64_t done = UINT64_MAX;

	begin_stopped(arg, sp);
	cycle.mark_ns = loam_host_now_ns();
	end_stopped(&done, sp);
	LOAM_CHECK(done != 0, "[CYCLE-3] something is left to mark in the stop");
	cycle.end_ns = loam_host_now_ns();
}

/* A cycle is over but for its sweep, and the world runs on. */
static void tell(void)
{
	const struct loam_gc_cycle *r = loam_record_cycle(&cycle);

	if (loam_heap.trace > 0)
		loam_gctrace(r);
	loam_checkmark_tell();
	loam_audit_tell();
}

/* ---- begin and end ---- */

/* A part of what comes before a cycle; true: that was the last part. */
static bool clean_begin(void)
{
	uint64_t start = loam_host_now_ns();
	bool over = loam_clean_begin_some();

	tell_stall(LOAM_STALL_ROUND, start, loam_host_now_ns());
	return over;
}

__attribute__((noinline)) static void begin_locked(struct loam_cache *cache, uint64_t seen,
						   enum loam_why why)
{
	struct loam_heap *h = &loam_heap;
	struct loam_cycle fresh;
	if (loam_marking() || (why == LOAM_WHY_GOAL && h->cycles != seen))
		return;
	loam_sweep_finish(cache);
	if ((h->barrier == LOAM_BARRIER_MMU || loam_audit_on()) && !clean_begin())
		return;
	fresh = (struct loam_cycle){.why = why, .begin_ns = loam_host_now_ns()};
	scrub_stack();
	loam_host_world_stop();
	fresh.stood_ns = loam_host_now_ns();
	loam_cpu_spill(h->barrier == LOAM_BARRIER_STOP ? whole_stopped : begin_stopped, &fresh);
	loam_host_world_start();
	if (h->barrier == LOAM_BARRIER_STOP) {
		cycle.done_ns = loam_host_now_ns();
		count_pause(LOAM_STALL_BEGIN, cycle.begin_ns, cycle.done_ns);
		tell();
	} else {
		cycle.mark_ns = loam_host_now_ns();
		count_pause(LOAM_STALL_BEGIN, cycle.begin_ns, cycle.mark_ns);
	}
}

/* It may take some calls until the cycle has begun. */
static void begin(struct loam_cache *cache, uint64_t seen, enum loam_why why)
{
	loam_gc_lock(&loam_heap.collecting); /* outside: we can be stopped while we wait */
	scrub_stack();
	begin_locked(cache, seen, why);
	loam_gc_unlock(&loam_heap.collecting);
}

/* What was marked and could not be made to wait is found, in one go. */
static void recover(struct loam_cache *cache)
{
	struct loam_worker *w;

	loam_cache_enter(cache);
	w = loam_worker_take(UINT64_MAX, &never_stop, false);
	if (w != NULL) {
		loam_mark_recover(w);
		loam_worker_give(w);
	}
	loam_cache_leave(cache);
}

/* A part of a round; true: it was the last part, and the round told of so little that it has been scanned already, and the last
 * stop can come. */
static bool clean(struct loam_cache *cache)
{
	uint64_t start = loam_host_now_ns(), did;
	bool over = loam_clean_round_some(cycle.rounds + 1);

	tell_stall(LOAM_STALL_ROUND, start, loam_host_now_ns());
	if (!over)
		return false;
	if (!loam_clean_few(++cycle.rounds)) {
		loam_pace_more(loam_clean_pages() << LOAM_PAGE_SHIFT, loam_clean_hurry());
		return false;
	}
	while (loam_clean_left())
		(void)slice(cache, SLICE_BYTES, &did);
	return true;
}

/* Count the time until now. Before a stop that may end the cycle: there the pacer learns from it. */
static void spent(struct effort *e)
{
	uint64_t now = loam_host_now_ns(), ns = now - e->since;

	__atomic_add_fetch(e->donated || e->asked ? &cycle.donated_ns : &cycle.assist_ns, ns,
			   __ATOMIC_RELAXED);
	loam_pace_spent(ns, e->donated || e->asked, now);
	e->since = now;
}

/* The last stop, which may turn out not to be. */
static void try_last_stop(void)
{
	uint64_t done = loam_clean_patient(cycle.rounds) ? FINISH_BYTES : UINT64_MAX;
	uint64_t start = loam_host_now_ns();

	LOAM_PLACE("the last stop");
	scrub_stack();
	loam_host_world_stop();
	cycle.stood_ns = loam_host_now_ns();
	loam_cpu_spill(end_stopped, &done);
	loam_host_world_start();
	cycle.end_ns = start;
	cycle.done_ns = loam_host_now_ns();
	count_pause(done ? LOAM_STALL_END : LOAM_STALL_AGAIN, start, cycle.done_ns);
	if (done)
		tell();
}

__attribute__((noinline)) static bool end_locked(struct loam_cache *cache, struct effort *e)
{
	bool over, seems, last = false;

	loam_cache_enter(cache);
	over = !loam_marking();
	seems = !over && quiet();
	if (!seems && !over)
		LOAM_PLACE("others mark");
	loam_cache_leave(cache);
	if (!seems)
		return over;
	if (loam_heap.barrier == LOAM_BARRIER_MMU && !e->donated && !e->asked &&
	    !loam_clean_running() && loam_pace_before_round(cache))
		return false;
	if (loam_mark_overflowed())
		recover(cache);
	else
		last = loam_heap.barrier != LOAM_BARRIER_MMU || clean(cache);
	spent(e);
	if (last) {
		try_last_stop();
		e->since = cycle.done_ns;
	}
	return true;
}

/*
 * Nothing was found to mark: end the phase, or find more. False: neither can be done, for others mark. Who does not get the lock is to
 * ask again: who has it may have looked while we marked, and if both then slept, nobody would end the phase. Model:
 * tests/model/idle.pml. Outside.
 */
static bool end(struct loam_cache *cache, struct effort *e)
{
	bool did;

	LOAM_PLACE("found nothing");
	if (!loam_gc_trylock(&loam_heap.collecting)) {
		loam_cpu_relax();
		return true;
	}
	scrub_stack();
	did = end_locked(cache, e);
	loam_gc_unlock(&loam_heap.collecting);
	return did;
}

static bool sweep_some(struct loam_cache *cache)
{
	bool more;

	loam_cache_enter(cache);
	more = loam_sweep_some(cache);
	loam_cache_leave(cache);
	return more;
}

/* Mark a little; *did: what was scanned. False: there is nothing to do but for others, who mark. */
static bool mark_step(struct loam_cache *cache, uint64_t bytes, struct effort *e, uint64_t *did)
{
	bool more = slice(cache, bytes, did);

	spent(e);
	loam_pace_revise();
	return more || end(cache, e);
}

/* Give memory back; when there is no more to do at all, allocations need not ask any more. */
static bool scavenge_step(struct loam_cache *cache)
{
	bool more;

	loam_cache_enter(cache);
	more = loam_scavenge_some();
	/* inside, all of it: no cycle begins in between, which would never be helped */
	if (!more && !loam_sweep_pending() && !loam_marking()) {
		LOAM_PLACE("nothing to do");
		__atomic_store_n(&loam_heap.busy, false, __ATOMIC_RELAXED);
	}
	loam_cache_leave(cache);
	return more;
}

static bool periodic(uint64_t now)
{
	uint64_t last = loam_record_until_ns();

	return loam_heap.percent >= 0 && now > last && now - last > PERIOD_NS;
}

/* Do a little of whatever there is to do; false: nothing is. */
static bool step(struct loam_cache *cache, uint64_t start)
{
	struct loam_heap *h = &loam_heap;
	uint64_t seen = __atomic_load_n(&h->cycles, __ATOMIC_RELAXED), did = 0;
	struct effort e = {.since = start, .donated = true};
	bool more;

	if (loam_marking()) {
		more = mark_step(cache, SLICE_BYTES, &e, &did);
		loam_pace_donated(did);
		return more;
	}
	if (sweep_some(cache) || loam_finalizers_run(1) > 0)
		return true;
	if (__atomic_load_n(&h->live, __ATOMIC_RELAXED) >=
		    __atomic_load_n(&h->due_bytes, __ATOMIC_RELAXED) ||
	    periodic(start)) {
		begin(cache, seen, LOAM_WHY_GOAL);
		return true;
	}
	return scavenge_step(cache);
}

bool loam_gc_work(uint64_t budget_ns)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t start = loam_host_now_ns(), now = start;

	do {
		if (!step(cache, now))
			return false;
		now = loam_host_now_ns();
	} while (now - start < budget_ns);
	return true;
}

/* Nothing was scanned since then: others are at it, or it is a round's turn. Allocating on meanwhile makes it more: past the goal it
 * is better to wait. False: not so, or *waited_ns is enough. */
static bool wait_for_others(struct effort *e, uint64_t from_ns, uint64_t owed, uint64_t *waited_ns)
{
	uint64_t now;

	if (!loam_pace_waits(*waited_ns, owed))
		return false;
	loam_cpu_relax();
	now = loam_host_now_ns();
	*waited_ns += now - from_ns;
	e->since = now; /* nobody's work */
	return true;
}

/* Who allocates is kept from its work by each slice; but to end one and begin another costs something, too. */
static uint64_t assist_bytes(const struct loam_cache *cache, uint64_t owed)
{
	uint64_t most = cache->quick ? SLICE_BYTES : ASSIST_BYTES;

	return owed < most ? owed : most;
}

static void note_speed(struct loam_cache *cache, uint64_t did, uint64_t ns)
{
	if (did >= ASSIST_BYTES / 2)
		cache->quick = ns <= did * QUICK_NS / SLICE_BYTES;
}

/* Until what is owed is done, or there is nothing to be had. */
static void assist_marking(struct loam_cache *cache, uint64_t owed)
{
	struct effort e = {.since = loam_host_now_ns()};
	uint64_t start = e.since, done = 0, waited = 0, did;

	while (done < owed && loam_marking()) {
		uint64_t from = e.since;
		bool more = mark_step(cache, assist_bytes(cache, owed - done), &e, &did);

		done += did;
		note_speed(cache, did, e.since - from);
		if (did == 0 && wait_for_others(&e, from, owed - done, &waited))
			continue;
		if (!more || did == 0 || loam_pace_enough(e.since - start))
			break;
	}
	loam_pace_did(cache, done);
	loam_pace_helped(cache, start, e.since);
	loam_record_stall(start);
}

static void assist(struct loam_cache *cache, uint64_t bytes)
{
	uint64_t owed, start;

	if (loam_marking()) {
		owed = loam_pace_owed(cache, bytes);
		if (owed > 0)
			assist_marking(cache, owed);
		return;
	}
	if (!loam_sweep_pending()) {
		if (loam_pace_rests(cache))
			return;
		start = loam_host_now_ns();
		scavenge_step(cache);
		loam_pace_helped(cache, start, loam_host_now_ns());
		loam_record_stall(start);
		return;
	}
	owed = loam_pace_sweep_pages(bytes);
	if (__atomic_load_n(&loam_heap.sweep_at, __ATOMIC_RELAXED) >= owed)
		return;
	start = loam_host_now_ns();
	while (__atomic_load_n(&loam_heap.sweep_at, __ATOMIC_RELAXED) < owed && sweep_some(cache))
		;
	loam_record_stall(start);
}

void loam_assist(struct loam_cache *cache, uint64_t bytes)
{
	uint64_t start = loam_gc_on_stall != NULL ? loam_host_now_ns() : 0;

	assist(cache, bytes);
	if (loam_gc_on_stall != NULL)
		tell_stall(LOAM_STALL_ASSIST, start, loam_host_now_ns());
}

uint64_t loam_collect_release(struct loam_cache *cache)
{
	uint64_t bytes;

	loam_cache_enter(cache);
	loam_pagecache_flush(&cache->pages);
	bytes = loam_scavenge_all();
	loam_cache_leave(cache);
	return bytes;
}

/* ---- whole collections ---- */

/* Mark a little of what is left, which may be others'. */
static inline __attribute__((always_inline)) void help(struct loam_cache *cache)
{
	struct effort e = {.since = loam_host_now_ns(), .asked = true};
	uint64_t did;

	if (!loam_marking() || !mark_step(cache, SLICE_BYTES, &e, &did))
		loam_cpu_relax();
}

void loam_collect_help(struct loam_cache *cache)
{
	help(cache);
}

void loam_collect_complete(struct loam_cache *cache, uint64_t cycles, enum loam_why why)
{
	while (__atomic_load_n(&loam_heap.cycles, __ATOMIC_RELAXED) < cycles) {
		if (!loam_marking())
			begin(cache, 0, why);
		else
			help(cache);
	}
	loam_sweep_finish(cache);
}

/* What has become unreachable since the running cycle began, that one leaves. */
uint64_t loam_collect_fresh(void)
{
	uint64_t over = __atomic_load_n(&loam_heap.cycles, __ATOMIC_RELAXED);

	LOAM_PLACE("which cycle");
	return over + 1 + loam_marking();
}

void loam_collect_goal(struct loam_cache *cache, uint64_t seen)
{
	uint64_t start = loam_host_now_ns();

	if (loam_pace_rests(cache))
		return;
	loam_cache_leave(cache); /* stoppable while somebody else collects */
	begin(cache, seen, LOAM_WHY_GOAL);
	loam_pace_helped(cache, start, loam_host_now_ns());
	loam_record_stall(start);
	tell_stall(LOAM_STALL_ASSIST, start, loam_host_now_ns());
	loam_cache_enter(cache);
}

static void collect_asked(struct loam_cache *cache)
{
	uint64_t cycles;

	loam_cache_enter(cache);
	cycles = loam_collect_fresh();
	loam_cache_leave(cache);
	loam_collect_complete(cache, cycles, LOAM_WHY_ASKED);
	while (scavenge_step(cache))
		;
}

void loam_gc(void)
{
	collect_asked(loam_cache_self());
}

uint64_t loam_release(void)
{
	uint64_t *ready = &loam_heap.pages.ready, after;
	uint64_t before = __atomic_load_n(ready, __ATOMIC_RELAXED);

	loam_gc();
	loam_collect_release(loam_cache_self());
	after = __atomic_load_n(ready, __ATOMIC_RELAXED);
	return before > after ? (before - after) << LOAM_HEAP_PAGE_SHIFT : 0;
}

void loam_gc_set_stress(uint64_t n)
{
	struct loam_cache *cache = loam_cache_self();

	loam_heap.stress = n;
	loam_heap.step_bytes = 0;
	loam_heap.singly = n != 0; /* every allocation comes by to be counted */
	loam_cache_enter(cache);
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		loam_bin_drop(cache, &cache->bin[i]);
	loam_cache_leave(cache);
}

void loam_gc_set_steps(uint64_t n, uint64_t bytes)
{
	loam_gc_set_stress(n);
	loam_heap.step_bytes = bytes;
}

void loam_stress(struct loam_cache *cache)
{
	struct loam_heap *h = &loam_heap;
	struct effort e = {.since = loam_host_now_ns(), .asked = true};
	uint64_t bytes = h->step_bytes, did;

	if (__atomic_add_fetch(&h->stress_count, 1, __ATOMIC_RELAXED) % h->stress != 0)
		return;
	if (bytes == 0)
		collect_asked(cache);
	else if (loam_marking())
		(void)mark_step(cache, bytes, &e, &did);
	else if (!sweep_some(cache))
		begin(cache, __atomic_load_n(&h->cycles, __ATOMIC_RELAXED), LOAM_WHY_GOAL);
}
