/* SPDX-License-Identifier: MIT */
/* When a cycle is due, and who owes how much of its work. Theory: pace.c. */
#ifndef LOAM_GC_PACE_H
#define LOAM_GC_PACE_H

#include "gc/heap.h"

void loam_pace_init(void);
/* Marking begins; it ends, heap.marked and the pages to sweep are known. Stopped. */
void loam_pace_begin(uint64_t stack_bytes);
void loam_pace_end(const struct loam_cycle *c);

/* The thread has taken `bytes` while marking: how much it is to scan for that; and then, how much it has. */
uint64_t loam_pace_owed(struct loam_cache *cache, uint64_t bytes);
void loam_pace_did(struct loam_cache *cache, uint64_t work);
/* Who finds nothing to scan, owes so much, and has waited for so many ns, waits on: others run, and the heap is past its goal. */
bool loam_pace_waits(uint64_t waited_ns, uint64_t owed);
/* Who has collected for so many ns may stop, and rest: all is on time. */
bool loam_pace_enough(uint64_t ns);
/* The thread has collected from then to then: its rest begins. */
void loam_pace_helped(struct loam_cache *cache, uint64_t from_ns, uint64_t to_ns);
/* Something else kept it from its work for so long: what there is left of its rest is longer. */
void loam_pace_kept(struct loam_cache *cache, uint64_t ns);
/* It could begin a round, but rests first: all is on time. */
bool loam_pace_before_round(struct loam_cache *cache);
/* Its rest is not over yet, and all is on time: it owes nothing. */
bool loam_pace_rests(struct loam_cache *cache);
/* Besides what is done, about `bytes` are to be scanned still, in some hurry. heap.collecting is held. */
#define LOAM_PACE_HURRY_MOST 3u
void loam_pace_more(uint64_t bytes, unsigned how_hurried);
/* So much was scanned on donated time. */
void loam_pace_donated(uint64_t work);
/* Prices follow what has been done and allocated. */
void loam_pace_revise(void);
/* Heap pages that are to be swept before `bytes` more are taken. */
uint64_t loam_pace_sweep_pages(uint64_t bytes);

/* Threads of the running cycle, or the last one, that could run at once. */
uint64_t loam_pace_threads(void);

/* What gctrace=2 says of the last cycle. heap.collecting is held. */
struct loam_pace_told {
	/* when it began */
	uint64_t work_per_byte; /* ratio: what an allocation owes */
	uint64_t cons_mark;	/* ratio: what was believed */
	uint64_t most_bytes;	/* to scan in the heap */
	uint64_t expected_bytes;
	uint64_t triggered_bytes, goal_bytes; /* live; goal 0: none */
	/* when marking ended */
	uint64_t live_bytes;
	uint64_t percent; /* of the time that threads had meanwhile it was marking, or stopped */
	struct loam_pacer_work done;
};
extern struct loam_pace_told loam_pace_told;

/* A thread has spent `ns` on collecting, until now; `idle`: donated, so the program did not need it. */
void loam_pace_spent(uint64_t ns, bool idle, uint64_t now_ns);
/* All threads have, in a stop. heap.collecting is held. */
void loam_pace_stopped(uint64_t from_ns, uint64_t to_ns);

#endif
