/* SPDX-License-Identifier: MIT */
/*
 * Specials: finalizers, cleanups, weak pointers and ephemerons: what hangs on an object, and stands beside it. (Go's
 * name.) What they do when the object dies is in finalq.c and weak.c; here is where they are kept, what they keep
 * alive, and how it is found out that an object dies.
 *
 * Records have one size and a number. Those of an object hang in a hash table by the object's address, which
 * grows a bucket at a time (linear hashing: no step of it is long); if it cannot grow, chains get longer. A span that
 * has or had an object with specials is `special`: frees in it go the slow way, and its sweep asks the table about each object
 * that dies.
 *
 *   [SPECIAL-1] A record in the table is of an object in use, whose span is special.
 *   [SPECIAL-2] When marking ends, all that an object with a finalizer points to is marked, as if it was itself, and so is
 *               each argument; what is due is, with its object.
 *   [SPECIAL-3] When marking ends, the value of each ephemeron is marked whose key is.
 *   [SPECIAL-4] An object that is found dead loses its weak pointers and ephemerons first. Then its finalizer becomes due,
 *               and the object lives on; or if it has none, its cleanups become due.
 *   [SPECIAL-5] To become due takes no memory: the record moves from the table to the queue.
 *   [SPECIAL-6] What is freed explicitly has no specials from the time of the call, though the sweep may free it.
 *
 * Marking. Records are roots, by number, a piece at a time: arguments, and what is due. An object with a finalizer is
 * scanned without being marked, so it dies all the same, unless a way leads from it to itself. Who sets
 * anything while marking goes on shades it at once: he holds it.
 * With LOAM_BARRIER_MMU such an object can be written after its scan and then be dropped, so where written pages are scanned
 * again it counts as marked (loam_special_scanned). With LOAM_BARRIER_SOFTWARE what is overwritten is noted.
 *
 * Ephemerons. When a key is marked, its ephemerons go to a list of those whose values are ready; whoever marks and finds
 * nothing else takes some and marks the values. So each is looked at once, in whatever order they depend on each other:
 * there are no passes over all of them, and no recursion. `keys` of a span tells the marker whether to ask; it is set
 * before anything can be waiting for it: who makes an ephemeron while marking goes on shades its value himself.
 *
 * Concurrency: loam_special_lock protects records, table, queue and list. It is taken inside or with the world stopped,
 * also by the marker, which may hold heap.lock or the pins'; so nothing is marked while it is held: what is to be is copied first.
 * A weak pointer is read without it (weak.c).
 */
#include "gc/special.h"

#include "gc/fixalloc.h"
#include "gc/mark.h"

#define FIRST_BUCKETS 1024u /* a page */
#define PIECE	      32u   /* records looked at at a time, under the lock */

struct loam_gc_lock loam_special_lock;

static struct loam_fixalloc records; /* lock */
static struct loam_table buckets;    /* lock: uint32_t: number + 1 of the first record; 0: none */
static uint64_t bucket_count;	     /* lock: 0, or FIRST_BUCKETS at least */
static uint64_t half;		     /* lock: a power of two, bucket_count is up to twice that */
static uint64_t listed;		     /* lock; atomic to look: records in the table */
static uint32_t ready; /* lock: number + 1 of the first ephemeron whose value is ready */
static uint32_t scan_at, scan_end; /* lock: records that are still to be looked at in this cycle */

/* Something to mark: an object, or what it points to. */
struct item {
	uintptr_t addr;
	bool inside;
};

/* ---- records ---- */

struct loam_special *loam_special_at(uint32_t number)
{
	return loam_fixalloc_at(&records, number);
}

uint32_t loam_special_number(const struct loam_special *s)
{
	return loam_fixalloc_index(&records, s);
}

uint64_t loam_special_id(const struct loam_special *s)
{
	return (uint64_t)__atomic_load_n(&s->generation, __ATOMIC_RELAXED) << 32 |
	       (loam_special_number(s) + 1);
}

bool loam_special_is(const struct loam_special *s, uint64_t id)
{
	/* acquire: what is read of the record next is not of before; partner: the release below */
	return __atomic_load_n(&s->generation, __ATOMIC_ACQUIRE) == id >> 32;
}

struct loam_special *loam_special_by_id(uint64_t id)
{
	uint64_t number = (uint32_t)id - (uint64_t)1;
	struct loam_special *s;

	if (number >= loam_fixalloc_begun(&records))
		return NULL;
	s = loam_special_at((uint32_t)number);
	return loam_special_is(s, id) ? s : NULL;
}

void loam_special_void_locked(struct loam_special *s)
{
	__atomic_store_n(&s->generation, s->generation + 1, __ATOMIC_RELEASE);
}

/* ---- the table ---- */

static uint32_t *bucket_of(uintptr_t object)
{
	uint64_t at = (object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	at &= 2 * half - 1;
	return (uint32_t *)buckets.base + (at < bucket_count ? at : at - half);
}

static void push_locked(struct loam_special *s)
{
	uint32_t *bucket = bucket_of(s->object);

	s->next = *bucket;
	*bucket = loam_special_number(s) + 1;
}

/* One bucket more: of those in another, some belong there. */
static void grow_locked(void)
{
	uint32_t *base = (uint32_t *)buckets.base, *from, number;

	if (loam_table_grow(&buckets, (bucket_count + 1) * sizeof(*base)) != LOAM_OK)
		return;
	from = &base[bucket_count - half];
	number = *from;
	*from = base[bucket_count] = 0;
	bucket_count++;
	if (bucket_count == 2 * half)
		half = bucket_count;
	while (number != 0) {
		struct loam_special *s = loam_special_at(number - 1);

		number = s->next;
		push_locked(s);
	}
}

static bool begin_locked(void)
{
	if (bucket_count == 0 &&
	    loam_table_grow(&buckets, FIRST_BUCKETS * sizeof(uint32_t)) == LOAM_OK)
		bucket_count = half = FIRST_BUCKETS;
	return bucket_count != 0;
}

struct loam_special *loam_special_add_locked(uintptr_t object, enum loam_special_kind kind)
{
	struct loam_special *s = begin_locked() ? loam_fixalloc_alloc(&records) : NULL;

	if (s == NULL)
		return NULL;
	s->link = 0;
	s->count = 0;
	s->kind = (uint8_t)kind;
	s->waits = false;
	__atomic_store_n(&s->kept, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->object, object, __ATOMIC_RELAXED);
	push_locked(s);
	__atomic_store_n(&listed, listed + 1, __ATOMIC_RELAXED);
	if (listed > bucket_count)
		grow_locked();
	/* relaxed: who frees or sweeps the object comes after, by an order of the caller's, or of a stop */
	__atomic_store_n(&loam_span_of(object)->special, true, __ATOMIC_RELAXED);
	return s;
}

static struct loam_special *seek_locked(uint32_t number, uintptr_t object,
					enum loam_special_kind kind)
{
	for (; number != 0; number = loam_special_at(number - 1)->next) {
		struct loam_special *s = loam_special_at(number - 1);

		if (s->object == object && s->kind == kind)
			return s;
	}
	return NULL;
}

struct loam_special *loam_special_find_locked(uintptr_t object, enum loam_special_kind kind)
{
	return bucket_count == 0 ? NULL : seek_locked(*bucket_of(object), object, kind);
}

struct loam_special *loam_special_next_locked(const struct loam_special *s)
{
	return seek_locked(s->next, s->object, (enum loam_special_kind)s->kind);
}

/* The record that *link leads to is no longer in the table. */
static void unlink_locked(uint32_t *link, struct loam_special *s)
{
	*link = s->next;
	s->next = 0;
	__atomic_store_n(&listed, listed - 1, __ATOMIC_RELAXED);
}

void loam_special_free_locked(struct loam_special *s)
{
	bool in_table = s->object != 0 && s->kind <= LOAM_SPECIAL_EPHEMERON;

	if (in_table) {
		uint32_t *link = bucket_of(s->object);

		while (*link != loam_special_number(s) + 1)
			link = &loam_special_at(*link - 1)->next;
		unlink_locked(link, s);
	}
	loam_special_void_locked(s);
	__atomic_store_n(&s->object, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->kept, 0, __ATOMIC_RELAXED);
	if (s->waits) {
		s->kind = LOAM_SPECIAL_LEFT;
		return;
	}
	s->kind = LOAM_SPECIAL_SPARE;
	loam_fixalloc_free(&records, s);
}

enum loam_err loam_special_object(struct loam_cache *cache, const void *p, uintptr_t *object)
{
	struct loam_span *span;
	uint64_t slot;

	if (!loam_heap_has((uintptr_t)p))
		return LOAM_NOENT;
	loam_sweep_ensure(cache, loam_span_at_page(loam_page_index((uintptr_t)p)));
	span = loam_object_find(p, object);
	if (span == NULL)
		return LOAM_NOENT;
	slot = loam_span_slot(span, *object);
	/* freed while marking goes on: [SPECIAL-6] */
	if ((__atomic_load_n(&span->remote_bits[slot / 64], __ATOMIC_RELAXED) >> (slot % 64) & 1) !=
	    0)
		return LOAM_NOENT;
	return span->span_class == LOAM_SPAN_TINY ? LOAM_INVAL : LOAM_OK;
}

/* ---- the end of an object ---- */

/* It has been found dead: true: it lives on, for its finalizer. Or it is `freed`. */
static bool end_locked(uintptr_t object, bool freed)
{
	bool revive = !freed && loam_special_find_locked(object, LOAM_SPECIAL_FINALIZER) != NULL;
	uint32_t *link = bucket_of(object);

	while (*link != 0) {
		struct loam_special *s = loam_special_at(*link - 1);

		if (s->object != object || (revive && s->kind == LOAM_SPECIAL_CLEANUP)) {
			link = &s->next;
			continue;
		}
		if (s->kind == LOAM_SPECIAL_WEAK || s->kind == LOAM_SPECIAL_EPHEMERON) {
			/* release: who reads it without the lock does so after the sweep or the free of the object */
			unlink_locked(link, s);
			__atomic_store_n(&s->object, 0, __ATOMIC_RELEASE);
			__atomic_store_n(&s->kept, 0, __ATOMIC_RELAXED);
		} else if (freed) {
			loam_special_free_locked(s); /* it was the one that *link led to */
		} else {
			unlink_locked(link, s);
			loam_finalq_put_locked(s); /* [SPECIAL-5] */
		}
	}
	return revive;
}

uint64_t loam_specials_sweep(struct loam_span *span, uint32_t word, uint64_t dead, uint64_t freed)
{
	uint64_t revived = 0;

	/* relaxed: what is dead or freed has got its specials long ago, or has none */
	if (span->span_class == LOAM_SPAN_TINY || __atomic_load_n(&listed, __ATOMIC_RELAXED) == 0)
		return 0;
	loam_gc_lock(&loam_special_lock);
	for (; dead != 0; dead &= dead - 1) {
		uint64_t slot = word * 64 + (unsigned)__builtin_ctzll(dead), bit = dead & -dead;

		if (end_locked(span->base + slot * span->slot_bytes, (freed & bit) != 0))
			revived |= bit;
	}
	loam_gc_unlock(&loam_special_lock);
	return revived;
}

void loam_specials_drop(uintptr_t object)
{
	loam_gc_lock(&loam_special_lock);
	if (bucket_count != 0)
		(void)end_locked(object, true);
	loam_gc_unlock(&loam_special_lock);
}

bool loam_special_runs(uintptr_t object)
{
	bool runs;

	loam_gc_lock(&loam_special_lock);
	runs = loam_special_find_locked(object, LOAM_SPECIAL_FINALIZER) != NULL ||
	       loam_special_find_locked(object, LOAM_SPECIAL_CLEANUP) != NULL;
	loam_gc_unlock(&loam_special_lock);
	return runs;
}

/* ---- marking ---- */

bool loam_special_scanned(uintptr_t object)
{
	bool is;

	loam_gc_lock(&loam_special_lock);
	is = loam_special_find_locked(object, LOAM_SPECIAL_FINALIZER) != NULL;
	loam_gc_unlock(&loam_special_lock);
	return is;
}

void loam_special_key_marked(uintptr_t object)
{
	struct loam_special *s;

	loam_gc_lock(&loam_special_lock);
	for (s = loam_special_find_locked(object, LOAM_SPECIAL_EPHEMERON); s != NULL;
	     s = loam_special_next_locked(s)) {
		if (s->waits)
			continue;
		s->waits = true;
		s->link = ready;
		ready = loam_special_number(s) + 1;
	}
	loam_gc_unlock(&loam_special_lock);
}

void loam_specials_start(void)
{
	scan_at = 0;
	scan_end = loam_fixalloc_begun(&records);
}

bool loam_specials_left(void)
{
	bool some;

	loam_gc_lock(&loam_special_lock);
	some = scan_at < scan_end || ready != 0;
	loam_gc_unlock(&loam_special_lock);
	return some;
}

/* Values whose keys are marked; how many. */
static unsigned take_ready_locked(struct item *item)
{
	unsigned count = 0;

	while (ready != 0 && count < PIECE) {
		struct loam_special *s = loam_special_at(ready - 1);

		ready = s->link;
		s->waits = false;
		item[count++] = (struct item){s->kept, false};
		if (s->kind == LOAM_SPECIAL_LEFT)
			loam_special_free_locked(s);
	}
	return count;
}

/* What the next records keep; how many items. */
static unsigned take_kept_locked(struct item *item)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PIECE && scan_at < scan_end; i++, scan_at++) {
		const struct loam_special *s = loam_special_at(scan_at);

		if (s->kind == LOAM_SPECIAL_FINALIZER || s->kind == LOAM_SPECIAL_DUE_FINALIZER)
			item[count++] = (struct item){s->object, s->kind == LOAM_SPECIAL_FINALIZER};
		else if (s->kind != LOAM_SPECIAL_CLEANUP && s->kind != LOAM_SPECIAL_DUE_CLEANUP)
			continue;
		item[count++] = (struct item){s->kept, false};
	}
	return count;
}

bool loam_specials_scan_some(struct loam_worker *w)
{
	struct item item[2 * PIECE];
	unsigned count = 0;
	bool some;

	loam_gc_lock(&loam_special_lock);
	some = scan_at < scan_end || ready != 0;
	if (ready != 0)
		count = take_ready_locked(item);
	else
		count = take_kept_locked(item);
	loam_gc_unlock(&loam_special_lock);
	for (unsigned i = 0; i < count; i++) {
		if (item[i].inside)
			loam_mark_inside(w, item[i].addr);
		else
			loam_mark_shade(w, item[i].addr);
	}
	if (some) /* it is work too: a slice is to end */
		w->scanned_bytes += PIECE * sizeof(struct loam_special);
	return some;
}

/* ---- checks, start and end ---- */

/* Does it keep what `kept` says, now that marking is over? */
static bool keeps(const struct loam_special *s)
{
	switch (s->kind) {
	case LOAM_SPECIAL_FINALIZER:
	case LOAM_SPECIAL_CLEANUP:
	case LOAM_SPECIAL_DUE_FINALIZER:
	case LOAM_SPECIAL_DUE_CLEANUP:
		return true;
	case LOAM_SPECIAL_EPHEMERON:
		return s->object != 0 && loam_mark_is(s->object);
	default:
		return false;
	}
}

void loam_specials_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg)
{
	for (uint32_t i = 0; i < loam_fixalloc_begun(&records); i++) {
		const struct loam_special *s = loam_special_at(i);

		if (keeps(s))
			visit(arg, &s->kept, &s->kept + 1);
		if (s->kind == LOAM_SPECIAL_DUE_FINALIZER)
			visit(arg, &s->object, &s->object + 1);
	}
}

static void check_word(void *unused, const void *lo, const void *hi)
{
	(void)unused;
	(void)hi;
	loam_mark_check_word(*(const uintptr_t *)lo);
}

void loam_specials_mark_check(void)
{
	loam_specials_visit(check_word, NULL);
}

void loam_specials_verify(void)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < bucket_count; i++) {
		uint32_t number = ((uint32_t *)buckets.base)[i];

		for (; number != 0; number = loam_special_at(number - 1)->next) {
			const struct loam_special *s = loam_special_at(number - 1);
			const struct loam_span *span = loam_span_of(s->object);

			LOAM_CHECK(bucket_of(s->object) == (uint32_t *)buckets.base + i &&
					   s->kind != LOAM_SPECIAL_SPARE &&
					   s->kind <= LOAM_SPECIAL_EPHEMERON,
				   "[SPECIAL-1] a record is in the wrong place");
			LOAM_CHECK(
				span != NULL && span->special &&
					loam_span_slot_used(span, loam_span_slot(span, s->object)),
				"[SPECIAL-1] a special of an object that is not in use");
			count++;
		}
	}
	LOAM_CHECK(count == listed, "[SPECIAL-1] the count of records in the table is wrong");
	loam_fixalloc_verify(&records);
}

/* A record for each KiB of the heap's range, which is four times the memory. */
enum loam_err loam_specials_init(uint64_t heap_bytes)
{
	uint64_t most = heap_bytes / 1024 < UINT32_MAX / 2 ? heap_bytes / 1024 : UINT32_MAX / 2;
	enum loam_err err = loam_fixalloc_init(&records, sizeof(struct loam_special),
					       (uint32_t)most, LOAM_OWNER_GC);

	if (err == LOAM_OK)
		err = loam_table_reserve(&buckets, most * sizeof(uint32_t));
	return err;
}

void loam_specials_reset(void)
{
	loam_fixalloc_reset(&records);
	loam_table_free(&buckets);
	bucket_count = half = listed = 0;
	ready = scan_at = scan_end = 0;
	loam_finalq_reset();
}
