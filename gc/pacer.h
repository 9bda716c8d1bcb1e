/* SPDX-License-Identifier: MIT */
/*
 * The pacer: when a collection begins, and who pays for how much of it. Theory: pacer.c.
 *
 * Pure arithmetic on one struct: no globals, hooks, locks or memory of its own; time and sizes come from
 * the caller. Contexts below: `owner`: one caller at a time, by a lock of the caller's or with the world
 * stopped; `any`: any number of threads at once, meanwhile too.
 */
#ifndef LOAM_GC_PACER_H
#define LOAM_GC_PACER_H

#include <loam/types.h>

#define LOAM_PACER_PERCENT_MAX 100000
/* A count of bytes above is taken for this: no address space of ours is larger. */
#define LOAM_PACER_BYTES_MAX ((uint64_t)1 << 48)
/* Goal and trigger that no heap comes to. */
#define LOAM_PACER_NEVER UINT64_MAX
/* Collections of which the hungriest is believed. */
#define LOAM_PACER_HISTORY 5

/* Bytes that are scanned, by where they are. */
struct loam_pacer_work {
	uint64_t heap_bytes; /* of objects, without those that have no pointers */
	uint64_t stack_bytes;
	uint64_t global_bytes; /* registered roots */
};

/* What memory there is, for the goal by the limit. */
struct loam_pacer_memory {
	uint64_t ready_bytes;	   /* all that counts against the limit */
	uint64_t heap_free_bytes;  /* of them: backed heap pages in no span */
	uint64_t heap_alloc_bytes; /* of them: objects */
};

struct loam_pacer {
	/* owner */
	uint64_t limit_bytes;
	uint64_t marked_bytes;	     /* what the last collection kept */
	struct loam_pacer_work last; /* what it scanned */
	struct loam_pacer_memory memory;
	uint64_t cons_mark[LOAM_PACER_HISTORY]; /* ratio: of the last collections */
	uint64_t cons_mark_next;		/* which of them is the oldest */
	bool taught;				/* some are known */
	bool early;				/* loam_pacer_set_early */

	uint64_t sweep_floor_bytes; /* no collection before: sweeping needs the room; 0: none */
	uint64_t start_ns;
	/* owner to write, in loam_pacer_start and _commit; loam_pacer_revise reads them in between */
	uint64_t triggered_bytes; /* live when marking began; LOAM_PACER_NEVER: no marking */
	uint64_t planned_work;	  /* what was expected then */
	/* the same, but atomic, relaxed; the last three are written by loam_pacer_more too */
	uint64_t first_price; /* as work_per_byte, when marking began; 0: there is none */
	uint64_t expected_work, max_work, least_price;
	/* atomic, relaxed, each by itself: a reader may see one of before and one of after a change, and
	 * all that comes of it is a little work too early or too late. Written by owner (percent, goal,
	 * trigger, sweep_*) or by anybody who revises. */
	int64_t percent; /* below 0: none */
	uint64_t goal_bytes, trigger_bytes;
	uint64_t slack_bytes; /* so much past the goal is no matter */
	uint64_t suffices;    /* 0 or 1: the pace so far does, to the goal and slack */
	uint64_t work_per_byte, bytes_per_work; /* ratios; 0 when there is no marking */
	uint64_t sweep_ratio;			/* pages a byte allocated */
	uint64_t sweep_from_bytes, sweep_pages;
};

/*
 * A pacer that has seen no collection: percent and limit as below, no marking, nothing to sweep.
 * Source: Go's gcControllerState (runtime/mgcpacer.go), as all of the following. Context: owner.
 */
void loam_pacer_init(struct loam_pacer *p, int percent, uint64_t limit_bytes);

/*
 * From now on nearly all of the way to the goal may be needed, half of it before anything is known: for a collector that scans what the program writes again, and whose work
 * so grows with the time it takes. Before any marking. Context: owner.
 */
void loam_pacer_set_early(struct loam_pacer *p);

/*
 * How much the heap may grow, in per cent of what is kept and scanned; below 0: as it likes; more
 * than LOAM_PACER_PERCENT_MAX is as much. Goal and trigger follow. During marking: revise afterwards. While
 * sweeping: call loam_pacer_sweep_start again. Context: owner.
 */
void loam_pacer_set_percent(struct loam_pacer *p, int percent);

/* The same for the limit of all memory; UINT64_MAX: none. Context: owner. */
void loam_pacer_set_limit(struct loam_pacer *p, uint64_t limit_bytes);

/* The same when memory has been taken or given back. Matters with a limit only. Context: owner. */
void loam_pacer_set_memory(struct loam_pacer *p, const struct loam_pacer_memory *memory);

/*
 * Marking begins, with `live_bytes` of heap. `most`: the most that can be to scan: every object that
 * may have pointers, the stacks, the roots. There must be no marking. Context: owner; nobody revises.
 */
void loam_pacer_start(struct loam_pacer *p, uint64_t live_bytes, const struct loam_pacer_work *most,
		      uint64_t now_ns);

/*
 * Is the price less than twice what it was when marking began, or does the pace of this cycle so far suffice? Then who helps may take turns with who
 * is helped, and all is done in time still. No marking: false. Context: any.
 */
bool loam_pacer_on_time(const struct loam_pacer *p);

/*
 * So much is live now, and so many bytes are scanned since loam_pacer_start: prices follow. Between _start
 * and _end, whenever the live estimate or the work done has moved by a little. Context: any.
 */
void loam_pacer_revise(struct loam_pacer *p, uint64_t live_bytes, uint64_t work_done_bytes);

/*
 * It has turned out that besides what is done, no more than `left_bytes` are to scan just now, and the longer that takes, the more it
 * will be. From here on the price is no lower than it was when marking began; and the goal, in which the rest is to fit, moves out in
 * proportion, by a tenth at most. Source: ours; what is scanned
 * again (LOAM_BARRIER_MMU) is in no figure that loam_pacer_start gets. Context: owner; others may revise.
 */
void loam_pacer_more(struct loam_pacer *p, uint64_t work_done_bytes, uint64_t left_bytes);

/* Bytes to scan for the right to allocate `bytes`; rounded up. 0 if there is no marking. Context: any. */
uint64_t loam_pacer_assist_work(const struct loam_pacer *p, uint64_t bytes);

/* Bytes that may be allocated for having scanned `work_bytes`; rounded up, so no work is for
 * nothing while there is marking. Context: any. */
uint64_t loam_pacer_assist_bytes(const struct loam_pacer *p, uint64_t work_bytes);

/*
 * Marking has ended; learn from it. `work_done_bytes`: all that was scanned. `busy_ns`: time that
 * threads spent on it, pauses in full for each, of `threads` that could run at once (CPUs, or threads if
 * there are fewer). Call loam_pacer_commit next. Context: owner; nobody revises.
 */
void loam_pacer_end(struct loam_pacer *p, uint64_t live_bytes, uint64_t work_done_bytes,
		    uint64_t busy_ns, uint64_t now_ns, uint64_t threads);

/*
 * What the collection left: `marked_bytes` live, after `done` was scanned. Sets goal and trigger of the next
 * one; nobody has to assist. What is left to sweep is told by loam_pacer_sweep_start. Also after a
 * collection that had no _start and _end. Context: owner; nobody revises.
 */
void loam_pacer_commit(struct loam_pacer *p, uint64_t marked_bytes,
		       const struct loam_pacer_work *done, const struct loam_pacer_memory *memory);

/* Live bytes at which a collection is due; LOAM_PACER_NEVER: at none. Context: any. */
static inline uint64_t loam_pacer_trigger(const struct loam_pacer *p)
{
	return __atomic_load_n(&p->trigger_bytes, __ATOMIC_RELAXED);
}

/* Live bytes at which it should be done; LOAM_PACER_NEVER: none. Context: any. */
static inline uint64_t loam_pacer_goal(const struct loam_pacer *p)
{
	return __atomic_load_n(&p->goal_bytes, __ATOMIC_RELAXED);
}

/*
 * `pages` are left to sweep while `live_bytes` grow from here to the trigger, which moves up if it is
 * nearer than 1 MiB. 0: none. After each commit, and when trigger or pages have changed otherwise.
 * Source: Go's gcPaceSweeper. Context: owner.
 */
void loam_pacer_sweep_start(struct loam_pacer *p, uint64_t pages, uint64_t live_bytes);

/*
 * How many of those pages must be swept by now, if so much is live: who is about to allocate n bytes
 * asks for live + n, and sweeps until so many are. Never more than there were. Context: any.
 */
uint64_t loam_pacer_sweep_pages(const struct loam_pacer *p, uint64_t live_bytes);

#endif
