/* SPDX-License-Identifier: MIT */
/*
 * The pacer: when a collection begins, and who pays for how much of it.
 *
 * Marking runs while the program allocates. It should end when the heap is at its *goal*, and should have
 * taken a quarter of the machine until then. So it begins earlier, at the *trigger*; and if it falls behind,
 * threads that allocate scan a little for each byte (*assist*), the more the nearer the goal is.
 *
 * Goal: by percent, marked + (marked + stacks + globals) * percent / 100, at least 4 MiB * percent / 100; by the
 * memory limit, what it leaves for the heap, less 3 per cent, but not less than what is marked. The lower
 * one. The one by percent moves up if sweeping or a cycle that has just begun needs a little room.
 *
 * Trigger: goal - *runway*. The runway is what the program allocates while the expected work is done on a
 * quarter of the machine: work * cons/mark * (1 - 1/4) / (1/4), where cons/mark is the speed of allocating over
 * the speed of scanning, each in bytes for the time spent on it, as measured: allocated / scanned * busy
 * / (all - busy). The highest of the last five counts: a trigger too early costs a little memory, too late makes
 * threads wait. The trigger is neither in the first 45/64 of the way from marked to goal nor in the last 3/64 of it (or the last 4 MiB, if those are
 * less); and as early as that while no collection has taught anything. If loam_pacer_set_early was called, the share is a sixth, and the way
 * may be all but 6/64 for that; 32/64 while nothing has been taught.
 *
 * Prices, by revise: work left / room left. The work expected is what the last collection scanned. Once more
 * is done, the goal moves out in proportion to the most there can be, up to what percent allows over it; and
 * past the goal, all that can be must fit into a tenth more. Written pages that are scanned again (LOAM_BARRIER_MMU) are all that is left, once there are any:
 * if that makes more than was expected, the goal moves out in proportion, by a tenth at most; and the price is
 * at least what it was in the beginning: the slower that goes, the more pages are written meanwhile.
 * On time is who pays less than twice the first price; and whoever pays more, if the work that is left is done at the pace of this cycle so far before the heap
 * is a sixteenth past where the goal has moved to: near the goal little work has any price. Not past a goal that the memory limit sets.
 *
 *   [PACER-1] marked <= trigger <= goal, unless both are NEVER.
 *   [PACER-2] Who scans what loam_pacer_assist_work says for each byte has done the work that is expected when
 *             the room that revise saw is used up.
 *   [PACER-3] loam_pacer_sweep_pages asks for all pages 1 MiB before the trigger, or 8 KiB on, if that is
 *             later; and it never asks for fewer at more live bytes.
 *   [PACER-4] No input makes anything wrap.
 *
 * Why nothing wraps: every count of bytes that comes in is cut to 2^48 (256 TiB). Sums of up to four stay
 * below 2^51; a percentage multiplies the hundredth part of such a sum by 10^5 < 2^17: below 2^62. Times are cut to
 * 2^47 ns (39 hours) and threads to 2^16. The rest is ratios, which saturate (gc/ratio.h), and a saturated one
 * gives the earliest trigger. If neither factor of cons/mark is above 1, it is off by at most 13 units of 2^-32: the
 * runway for 1 TiB of work by 10 KiB.
 *
 * Concurrency: pacer.h. The atomics are relaxed: each is a number by itself, and publishes nothing.
 *
 * References: Go's runtime/mgcpacer.go and mgcsweep.go, design 44167. Departures: Go has a scheduler that
 * gives marking its quarter, and counts that as given; here time is donated, so all of it is measured.
 * Go begins the first one as late as may be: the last 4 MiB before a large heap's goal each allocation would then scan 100
 * times its size, and here there may be nobody else to do it.
 * Collections that scanned next to nothing teach nothing; those that took no time by the clock count as a quarter.
 */
#include "gc/pacer.h"

#include "arch/check.h"
#include "gc/ratio.h"

#define HEAP_MINIMUM	 ((uint64_t)4 << 20) /* goal at 100 per cent; most of trigger to goal */
#define SHARE		 4u		     /* marking takes one part in so many */
#define SHARE_EARLY	 6u
#define LIMIT_ROOM	 3u /* per cent below the limit */
#define LIMIT_ROOM_LEAST ((uint64_t)1 << 20)
#define SWEEP_ROOM	 ((uint64_t)1 << 20) /* sweeping ends so much before the trigger */
#define SWEEP_LEAST	 ((uint64_t)8 << 10) /* and has so much at least */
#define RUNWAY_LEAST	 ((uint64_t)64 << 10)
#define TRIGGER_PARTS	 64u /* of the way from marked to goal: */
#define TRIGGER_EARLY	 6u
#define TRIGGER_UNTAUGHT 32u
#define TRIGGER_FIRST	 45u
#define TRIGGER_LAST	 61u
#define WORK_LEAST	 1000u /* an estimate of less is noise */
#define OVERSHOOT	 10u   /* one part in so many */
#define SLACK		 16u   /* the same: of the goal, past it */
#define NS_MAX		 ((uint64_t)1 << 47)
#define THREADS_MAX	 ((uint64_t)1 << 16)

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t cut(uint64_t bytes)
{
	return least(bytes, LOAM_PACER_BYTES_MAX);
}

static struct loam_pacer_work cut_work(const struct loam_pacer_work *w)
{
	return (struct loam_pacer_work){cut(w->heap_bytes), cut(w->stack_bytes),
					cut(w->global_bytes)};
}

/* Exact; bytes < 2^51. */
static uint64_t percent_of(uint64_t bytes, uint64_t percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static int64_t percent_now(const struct loam_pacer *p)
{
	return __atomic_load_n(&p->percent, __ATOMIC_RELAXED);
}

static uint64_t load(const uint64_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static void store(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

/* ---- goal and trigger ---- */

static uint64_t goal_by_percent(const struct loam_pacer *p)
{
	int64_t percent = percent_now(p);
	uint64_t scanned = p->marked_bytes + p->last.stack_bytes + p->last.global_bytes, to;

	if (percent < 0)
		return LOAM_PACER_NEVER;
	to = p->marked_bytes + percent_of(scanned, (uint64_t)percent);
	to = most_of(to, percent_of(HEAP_MINIMUM, (uint64_t)percent));
	return to > LOAM_PACER_BYTES_MAX ? LOAM_PACER_NEVER : to;
}

static uint64_t goal_by_limit(const struct loam_pacer *p)
{
	const struct loam_pacer_memory *m = &p->memory;
	uint64_t limit = p->limit_bytes, heap, taken, to, room;

	if (limit > LOAM_PACER_BYTES_MAX)
		return LOAM_PACER_NEVER;
	heap = least(m->heap_free_bytes + m->heap_alloc_bytes, m->ready_bytes);
	taken = m->ready_bytes - heap; /* by what is not heap */
	taken += m->ready_bytes > limit ? m->ready_bytes - limit : 0;
	if (taken >= limit)
		return p->marked_bytes;
	to = limit - taken;
	room = most_of(to / 100 * LIMIT_ROOM, LIMIT_ROOM_LEAST);
	to = to < 2 * room ? room : to - room;
	return most_of(to, p->marked_bytes);
}

/* *floor: no trigger below. */
static uint64_t goal(const struct loam_pacer *p, uint64_t *floor)
{
	uint64_t to = goal_by_percent(p), by_limit = goal_by_limit(p);

	*floor = 0;
	if (by_limit < to)
		return by_limit;
	*floor = p->sweep_floor_bytes;
	to = most_of(to, *floor);
	if (p->triggered_bytes != LOAM_PACER_NEVER)
		to = most_of(to, p->triggered_bytes + RUNWAY_LEAST);
	return to;
}

/* What the program allocates while the expected work is done on our share. */
static uint64_t runway(const struct loam_pacer *p)
{
	uint64_t work = p->last.heap_bytes + p->last.stack_bytes + p->last.global_bytes;
	uint64_t cons_mark = 0, bytes;

	for (unsigned i = 0; i < LOAM_PACER_HISTORY; i++)
		cons_mark = most_of(cons_mark, p->cons_mark[i]);
	bytes = loam_ratio_times(cons_mark, work);
	return cut(bytes) * ((p->early ? SHARE_EARLY : SHARE) - 1);
}

static uint64_t trigger(const struct loam_pacer *p, uint64_t to, uint64_t floor)
{
	uint64_t from = p->marked_bytes, way, low, high, run = runway(p);
	uint64_t first = !p->early ? TRIGGER_FIRST : p->taught ? TRIGGER_EARLY : TRIGGER_UNTAUGHT;

	way = (to - from) / TRIGGER_PARTS;
	low = most_of(floor, from + way * first);
	if (!p->taught)
		return least(low, to);
	high = from + way * TRIGGER_LAST;
	if (to > HEAP_MINIMUM)
		high = most_of(high, to - HEAP_MINIMUM);
	high = most_of(high, low);
	return run > to ? low : least(most_of(to - run, low), high);
}

/* What is asked for many times is kept ready. */
static void publish(struct loam_pacer *p)
{
	uint64_t floor, to = goal(p, &floor), at = LOAM_PACER_NEVER;

	if (to != LOAM_PACER_NEVER)
		at = trigger(p, to, floor);
	LOAM_ASSERT(at <= to && (at >= p->marked_bytes || at == to));
	store(&p->goal_bytes, to);
	store(&p->trigger_bytes, at);
	store(&p->slack_bytes, goal_by_limit(p) <= to ? 0 : cut(to) / SLACK);
}

/* ---- set up ---- */

static void set_percent(struct loam_pacer *p, int percent)
{
	int64_t to = percent < 0			? -1
		     : percent > LOAM_PACER_PERCENT_MAX ? LOAM_PACER_PERCENT_MAX
							: percent;

	__atomic_store_n(&p->percent, to, __ATOMIC_RELAXED);
}

void loam_pacer_init(struct loam_pacer *p, int percent, uint64_t limit_bytes)
{
	*p = (struct loam_pacer){
		.limit_bytes = limit_bytes,
		.triggered_bytes = LOAM_PACER_NEVER,
	};
	set_percent(p, percent);
	publish(p);
}

void loam_pacer_set_early(struct loam_pacer *p)
{
	p->early = true;
	publish(p);
}

void loam_pacer_set_percent(struct loam_pacer *p, int percent)
{
	set_percent(p, percent);
	publish(p);
}

void loam_pacer_set_limit(struct loam_pacer *p, uint64_t limit_bytes)
{
	p->limit_bytes = limit_bytes;
	publish(p);
}

static void set_memory(struct loam_pacer *p, const struct loam_pacer_memory *memory)
{
	p->memory = (struct loam_pacer_memory){
		.ready_bytes = cut(memory->ready_bytes),
		.heap_free_bytes = cut(memory->heap_free_bytes),
		.heap_alloc_bytes = cut(memory->heap_alloc_bytes),
	};
}

void loam_pacer_set_memory(struct loam_pacer *p, const struct loam_pacer_memory *memory)
{
	set_memory(p, memory);
	publish(p);
}

/* ---- a cycle ---- */

void loam_pacer_start(struct loam_pacer *p, uint64_t live_bytes, const struct loam_pacer_work *most,
		      uint64_t now_ns)
{
	struct loam_pacer_work w = cut_work(most);

	LOAM_ASSERT(p->triggered_bytes == LOAM_PACER_NEVER);
	p->triggered_bytes = cut(live_bytes);
	p->planned_work = p->last.heap_bytes + p->last.stack_bytes + w.global_bytes;
	store(&p->expected_work, p->planned_work);
	store(&p->max_work, w.heap_bytes + w.stack_bytes + w.global_bytes);
	p->start_ns = now_ns;
	store(&p->least_price, 0);
	publish(p);
	loam_pacer_revise(p, live_bytes, 0);
	store(&p->first_price, load(&p->work_per_byte));
}

/* The work is more than was planned: where the goal moves, in proportion, but no further than `most`. */
static uint64_t extended(const struct loam_pacer *p, uint64_t to, uint64_t work, uint64_t most)
{
	uint64_t grown, from = p->triggered_bytes;

	if (to <= from || work <= p->planned_work)
		return to;
	grown = loam_ratio_times(loam_ratio(work, p->planned_work), to - from);
	return least(from + cut(grown), to + most);
}

/* What is allocated until the work that is left is done, if both go on as they have since marking began. */
static uint64_t made_meanwhile(const struct loam_pacer *p, uint64_t live, uint64_t done,
			       uint64_t left)
{
	if (live <= p->triggered_bytes)
		return 0;
	if (done < WORK_LEAST)
		return LOAM_PACER_BYTES_MAX;
	return cut(loam_ratio_times(loam_ratio(live - p->triggered_bytes, done), left));
}

void loam_pacer_revise(struct loam_pacer *p, uint64_t live_bytes, uint64_t work_done_bytes)
{
	uint64_t live = cut(live_bytes), expected = load(&p->expected_work);
	uint64_t to = cut(loam_pacer_goal(p)), work = 0, room = 0, floor = load(&p->least_price),
		 most;
	int64_t percent = percent_now(p);

	if (work_done_bytes > expected) {
		expected = load(&p->max_work);
		to = extended(
			p, to, expected,
			percent_of(to, percent < 0 ? LOAM_PACER_PERCENT_MAX : (uint64_t)percent));
	} else {
		to = extended(p, to, expected, to / OVERSHOOT);
	}
	most = to + load(&p->slack_bytes);
	if (live > to) {
		to += to / OVERSHOOT;
		expected = load(&p->max_work);
	}
	if (expected > work_done_bytes)
		work = expected - work_done_bytes;
	store(&p->suffices, live + made_meanwhile(p, live, work_done_bytes, work) <= most);
	if (to > live)
		room = to - live;
	work = most_of(work, WORK_LEAST);
	room = most_of(room, 1);
	if (loam_ratio_up(work, room) < floor)
		room = most_of(loam_ratio(work, floor),
			       1); /* work / price: both have 32 bits behind the point */
	store(&p->work_per_byte, loam_ratio_up(work, room));
	store(&p->bytes_per_work, loam_ratio_up(room, work));
}

void loam_pacer_more(struct loam_pacer *p, uint64_t work_done_bytes, uint64_t left_bytes)
{
	uint64_t work = cut(work_done_bytes) + cut(left_bytes);

	store(&p->max_work, work);
	store(&p->expected_work, work);
	store(&p->least_price, load(&p->first_price));
}

bool loam_pacer_on_time(const struct loam_pacer *p)
{
	uint64_t first = load(&p->first_price);

	return first != 0 && (load(&p->work_per_byte) / 2 < first || load(&p->suffices) != 0);
}

uint64_t loam_pacer_assist_work(const struct loam_pacer *p, uint64_t bytes)
{
	return loam_ratio_times_up(__atomic_load_n(&p->work_per_byte, __ATOMIC_RELAXED), bytes);
}

uint64_t loam_pacer_assist_bytes(const struct loam_pacer *p, uint64_t work_bytes)
{
	return loam_ratio_times_up(__atomic_load_n(&p->bytes_per_work, __ATOMIC_RELAXED),
				   work_bytes);
}

void loam_pacer_end(struct loam_pacer *p, uint64_t live_bytes, uint64_t work_done_bytes,
		    uint64_t busy_ns, uint64_t now_ns, uint64_t threads)
{
	uint64_t live = cut(live_bytes), all = 0, busy, made;

	LOAM_ASSERT(p->triggered_bytes != LOAM_PACER_NEVER);
	/* nothing allocated (somebody waited for it), or next to nothing scanned: no speed to learn */
	if (live <= p->triggered_bytes || work_done_bytes < WORK_LEAST)
		return;
	if (now_ns > p->start_ns)
		all = least(now_ns - p->start_ns, NS_MAX) * least(threads, THREADS_MAX);
	busy = least(busy_ns, all);
	if (busy == 0) { /* the clock has not moved for us: as it should be */
		busy = 1;
		all = SHARE;
	}
	made = loam_ratio(live - p->triggered_bytes, work_done_bytes);
	/* a ratio times a ratio is one; nothing left for the program: the most there is */
	p->cons_mark[p->cons_mark_next] = loam_ratio_times(made, loam_ratio(busy, all - busy));
	p->cons_mark_next = (p->cons_mark_next + 1) % LOAM_PACER_HISTORY;
	p->taught = true;
}

void loam_pacer_commit(struct loam_pacer *p, uint64_t marked_bytes,
		       const struct loam_pacer_work *done, const struct loam_pacer_memory *memory)
{
	p->marked_bytes = cut(marked_bytes);
	p->last = cut_work(done);
	set_memory(p, memory);
	p->triggered_bytes = LOAM_PACER_NEVER;
	p->sweep_floor_bytes = 0;
	store(&p->sweep_pages, 0);
	store(&p->first_price, 0);
	store(&p->work_per_byte, 0);
	store(&p->bytes_per_work, 0);
	publish(p);
}

/* ---- sweeping ---- */

void loam_pacer_sweep_start(struct loam_pacer *p, uint64_t pages, uint64_t live_bytes)
{
	uint64_t live = cut(live_bytes), end, room;

	pages = cut(pages);
	p->sweep_floor_bytes = pages > 0 ? live + SWEEP_ROOM : 0;
	publish(p);
	end = loam_pacer_trigger(p);
	room = end > live + SWEEP_ROOM ? end - live - SWEEP_ROOM : 0;
	store(&p->sweep_ratio, loam_ratio_up(pages, most_of(room, SWEEP_LEAST)));
	store(&p->sweep_from_bytes, live);
	store(&p->sweep_pages, pages);
}

uint64_t loam_pacer_sweep_pages(const struct loam_pacer *p, uint64_t live_bytes)
{
	uint64_t from = __atomic_load_n(&p->sweep_from_bytes, __ATOMIC_RELAXED);
	uint64_t pages = __atomic_load_n(&p->sweep_pages, __ATOMIC_RELAXED);
	uint64_t ratio = __atomic_load_n(&p->sweep_ratio, __ATOMIC_RELAXED);

	if (live_bytes <= from)
		return 0;
	return least(loam_ratio_times_up(ratio, live_bytes - from), pages);
}
