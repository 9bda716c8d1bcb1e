/* SPDX-License-Identifier: MIT */
/*
 * The shadow graph: what a program that uses the heap believes about its objects.
 *
 * A record per object, out of the collector's sight: records are no roots and hold addresses
 * inverted. The object holds a pattern made from its tag, except in its link words. A record is
 *
 *   LIVE  the program may use the object. Whoever is picked by walking from the roots is reachable
 *         for sure; others may have become unreachable since the last shadow_settle.
 *   DEAD  found unreachable; nobody freed it. The collector may have it back at any time: it is looked
 *         at only after a collection, to count what conservative scanning kept.
 *
 * A word of the pattern has its top bit set, so it never looks like an address of the heap.
 */
#ifndef LOAM_TESTS_SHADOW_H
#define LOAM_TESTS_SHADOW_H

#include "tests/fuzz/order.h"
#include "tests/host/support.h"

#define SHADOW_MAX   2048
#define SHADOW_LINKS ORDER_LINKS
#define SHADOW_ROOTS 64u
#define SHADOW_EXTRA 48u /* roots from here on are a range of their own, which comes and goes */

enum shadow_state {
	SHADOW_FREE,
	SHADOW_LIVE,
	SHADOW_DEAD,
};

struct shadow_link {
	uint32_t word;	 /* where in the object */
	int32_t to;	 /* record that is pointed to; -1: none */
	uint32_t offset; /* the pointer goes into the object, so far */
	uint32_t tag;	 /* of the record pointed to, to tell it from its successor */
	uintptr_t stale; /* if to < 0: what stands there, inverted; ~0: NULL */
};

struct shadow {
	uintptr_t hidden; /* the object's address, inverted */
	size_t asked, usable;
	const struct loam_type *type; /* NULL: none, or not any more */
	uint32_t tag;
	uint32_t refs; /* links to here from roots and LIVE records */
	uint8_t state, kind;
	bool reached, kept, explained; /* scratch of one walk */
	int32_t next;		       /* in its bucket, or the next spare record */
	unsigned link_count;
	struct shadow_link link[SHADOW_LINKS];
	/* a true pointer where the collector must not look (noscan, or no pointer by its type) */
	uint32_t decoy_word; /* UINT32_MAX: none */
	uintptr_t decoy;     /* inverted */
};

/* Where a pointer was found: root `slot` if from < 0, else link `slot` of record `from`. */
struct shadow_ref {
	int from;
	unsigned slot;
};

struct shadow_graph {
	struct shadow at[SHADOW_MAX];
	struct shadow_link root[SHADOW_ROOTS];
	int limit;		  /* records in use at most */
	int live, dead;		  /* records in these states */
	size_t live_bytes;	  /* usable bytes of LIVE records */
	unsigned stale;		  /* links and roots that hold a stale pointer */
	bool forgot;		  /* a DEAD record was thrown away since the last collection */
	bool extra;		  /* the range of extra roots is registered */
	void *slot[SHADOW_ROOTS]; /* the real roots */
};

extern struct shadow_graph graph;

/* No objects, empty roots, at most `limit` records. The caller registers graph.slot. */
void shadow_reset(int limit);

static inline unsigned char *shadow_address(int i)
{
	return (unsigned char *)~graph.at[i].hidden;
}

/* A record for a fresh object; the object's contents become its pattern. `words` are the link words,
 * at most SHADOW_LINKS, inside of it. Needs room. */
int shadow_add(void *p, const struct order *o, const uint32_t *words, unsigned count);
/* Is a record to be had? Settles, and forgets the dead, if it must. */
bool shadow_has_room(void);
/* The record at this address, or -1. */
int shadow_find(const void *p);

/* Fill with the pattern; check it. Big objects are striped. */
void shadow_fill(int i);
/* The first `bytes` of it, of the object that is now at `p`. */
void shadow_check(int i, const void *p, size_t bytes);

/* Records that the roots do not reach become DEAD. */
void shadow_settle(void);

/* Walk from a root along links, as `where` says; the reference that led there. -1: no objects. */
int shadow_pick(uint32_t where, struct shadow_ref *ref);

/* Store a pointer to record `to`, `offset` bytes in (to < 0: NULL) where `ref` says. */
void shadow_store(struct shadow_ref ref, int to, size_t offset);

/* What the reference leads to; -1: nothing. */
int shadow_target(struct shadow_ref ref);

/* What the first link leads to, unless that is the object itself; -1: nothing. */
int shadow_next(int i);

/* The root leads to what the first link of its object leads to. */
void shadow_pop(unsigned root);

/* The one reference, or all, go; `leave_stale`: the pointers stay in memory and are no references any
 * more. Then nothing refers to the record. */
void shadow_unlink_all(int i, struct shadow_ref known, bool leave_stale);
/* The object has been resized, and perhaps moved. All references follow; those that pointed behind its new
 * end point to its start; links that stood there are gone. */
void shadow_moved(int i, void *p, size_t asked, struct shadow_ref known);
/* Put an address into a word where it is no pointer; UINT32_MAX: none any more. */
void shadow_decoy(int i, uint32_t word, uintptr_t value);
/* The object is no more (freed). Nothing refers to it. */
void shadow_remove(int i);
/* After loam_gc: check what is reachable, and count what was kept beyond it. */
struct shadow_census {
	int live;
	int kept;	 /* DEAD, and still there */
	int unexplained; /* of these: nothing that was kept points to them */
	/* unreachable, and their addresses stand in live objects, as numbers */
	int decoys_kept, decoys_gone;
};
struct shadow_census shadow_census(void);

/* Tell where in the input we are, and fail the test. */
__attribute__((noreturn, format(printf, 1, 2))) void heap_ops_fail(const char *format, ...);
#define REQUIRE(c, ...)                             \
	do {                                        \
		if (__builtin_expect(!(c), 0))      \
			heap_ops_fail(__VA_ARGS__); \
	} while (0)

#endif
