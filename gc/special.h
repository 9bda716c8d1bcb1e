/* SPDX-License-Identifier: MIT */
/* Specials: what hangs on an object beside it. Theory: special.c; what they are for: finalq.c, weak.c. */
#ifndef LOAM_GC_SPECIAL_H
#define LOAM_GC_SPECIAL_H

#include "gc/heap.h"
#include "gc/work.h"

enum loam_special_kind {
	LOAM_SPECIAL_SPARE,
	/* of an object, in the table; a weak pointer or ephemeron without an object is in no table */
	LOAM_SPECIAL_FINALIZER,
	LOAM_SPECIAL_CLEANUP,
	LOAM_SPECIAL_WEAK,
	LOAM_SPECIAL_EPHEMERON,
	/* in the queue: finalq.c */
	LOAM_SPECIAL_DUE_FINALIZER,
	LOAM_SPECIAL_DUE_CLEANUP,
	/* an ephemeron that was freed when its value was about to be marked: spare soon */
	LOAM_SPECIAL_LEFT,
};

struct loam_special {
	uint32_t
		link; /* lock: fixalloc's; of what is due, or of ready values: the next's number + 1, 0: none */
	uint32_t next; /* lock: the next in its bucket, same */
	uint32_t
		generation; /* atomic; lock to write: how often it has become void for who has its id */
	uint32_t count;	    /* lock: of a weak pointer: how often it was made */
	uint8_t kind;	    /* lock */
	bool waits;	    /* lock: an ephemeron's value is about to be marked */
	uintptr_t
		object; /* atomic; lock to write: start of the object; 0: there is none any more */
	uintptr_t kept; /* atomic; lock to write: argument, value, or where a weak pointer points */
	union {		/* lock */
		void (*finalize)(void *obj, void *arg);
		void (*clean)(void *arg);
	};
};

/* After all other locks of the heap but the page heap's, before those of mm; inside, or stopped. Nothing is marked under it. */
extern struct loam_gc_lock loam_special_lock;

/* ---- special.c ---- */
/* The object around `p`, its span swept. Fails: NOENT there is none; INVAL it is tiny. Inside. */
LOAM_MUST_USE enum loam_err loam_special_object(struct loam_cache *cache, const void *p,
						uintptr_t *object);
/* A new one of the object, with nothing in it yet. NULL: no memory. */
struct loam_special *loam_special_add_locked(uintptr_t object, enum loam_special_kind kind);
/* The object's first of the kind; the one behind `s`; or NULL. */
struct loam_special *loam_special_find_locked(uintptr_t object, enum loam_special_kind kind);
struct loam_special *loam_special_next_locked(const struct loam_special *s);
/* Out of the table, if it is there, and spare. */
void loam_special_free_locked(struct loam_special *s);
/* What others know as its id is void. */
void loam_special_void_locked(struct loam_special *s);

/* Names it until it is void. */
uint64_t loam_special_id(const struct loam_special *s);
/* What has that id, if anything; without the lock, it may become void at any time. */
struct loam_special *loam_special_by_id(uint64_t id);
bool loam_special_is(const struct loam_special *s, uint64_t id);
struct loam_special *loam_special_at(uint32_t number);
uint32_t loam_special_number(const struct loam_special *s);

/* ---- finalq.c ---- */
/* A finalizer or cleanup, no longer in the table, is due. */
void loam_finalq_put_locked(struct loam_special *s);
bool loam_finalq_due(void);
void loam_finalq_stats(struct loam_stats *stats);
void loam_finalq_reset(void);

#endif
