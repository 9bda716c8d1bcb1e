/* SPDX-License-Identifier: MIT */
/*
 * Work of the mark phase: what is marked and waits to be scanned, and the records of those who scan.
 * Theory: work.c.
 */
#ifndef LOAM_GC_WORK_H
#define LOAM_GC_WORK_H

#include <loam/err.h>
#include <loam/types.h>

#define LOAM_WORKER_SPANS   256u
#define LOAM_WORKER_OBJECTS 1024u
#define LOAM_WORKER_MAX	    32u
#define LOAM_WORKER_HAND    64u

/* What a thread has while it marks. A span waits as the number of its record; a single object as its address, the low
 * bits of which tell what of it is scanned (mark.c). */
struct loam_worker {
	uint32_t taken;	      /* atomic: somebody's */
	uint32_t object_most; /* its thread's: how many objects it keeps */
	bool solo;	      /* its thread's: no other thread is attached, or all are stopped */
	uint32_t
		head; /* atomic: spans [head, tail) wait, modulo LOAM_WORKER_SPANS; thieves move it too */
	uint32_t tail;			      /* atomic; its thread's */
	uint32_t object_count;		      /* its thread's */
	uint64_t marked_bytes, scanned_bytes; /* its thread's: since it was taken */
	uint64_t enough_bytes;		      /* its thread's: scanned_bytes at which it ends */
	const uint32_t *stop;		      /* its thread's: not 0: end at once */
	uint32_t hand_at, hand_count; /* its thread's: of hand, the next, and how many there were */
	uint32_t hand[LOAM_WORKER_HAND];       /* its thread's: spans that are scanned next */
	uint32_t span[LOAM_WORKER_SPANS];      /* atomic */
	uintptr_t object[LOAM_WORKER_OBJECTS]; /* its thread's; the last first */
} __attribute__((aligned(64)));

/* A record for a thread that is going to mark, until it has scanned so much or *stop is not 0; NULL: all are taken.
 * Inside, or `stopped`. */
struct loam_worker *loam_worker_take(uint64_t enough_bytes, const uint32_t *stop, bool stopped);
/* A thread has attached itself: who believed to be alone is done with that when this returns. */
void loam_work_not_alone(void);
/* Its work goes to all, its counts to the heap's. */
void loam_worker_give(struct loam_worker *w);

/* Something marked waits. `w` NULL: it goes to all at once. */
void loam_work_put_span(struct loam_worker *w, uint32_t number);
/* False: there is no room for it anywhere. `w` NULL as above. */
LOAM_MUST_USE bool loam_work_put_far(struct loam_worker *w, uintptr_t single);

static inline bool loam_work_put_object(struct loam_worker *w, uintptr_t single)
{
	if (__builtin_expect(w == NULL || w->object_count >= w->object_most, 0))
		return loam_work_put_far(w, single);
	w->object[w->object_count++] = single;
	return true;
}
/* The span that has waited longest, of w's, else of all's, else of another's; 0: none. */
uint32_t loam_work_get_span(struct loam_worker *w);
/* Take some of all's objects; false: none. */
bool loam_work_get_objects(struct loam_worker *w);

/* Does nothing wait, and does nobody mark? A guess while threads run; exact in the stop. */
bool loam_work_none(void);

LOAM_MUST_USE enum loam_err loam_work_init(void);
void loam_work_reset(void);
/* Use at most `entries` of each stack of objects: for tests of their overflow. 0: all. */
void loam_work_limit(uint64_t entries);

#endif
