/* SPDX-License-Identifier: MIT */
/*
 * Pinned objects: kept alive, and not freed, until they are unpinned (Go's runtime.Pinner). For
 * memory that a device or another kernel works on.
 *
 * A hash table of object addresses and counts, open addressing, in a table of the collector's that
 * doubles; its words are roots. Pins are few and pinning is rare.
 *
 *   [PIN-1] A pinned object is in use.
 */
#include "gc/mark.h"

#define FIRST_SLOTS 256u
#define PIECE	    256u /* slots scanned at a time, under the lock */

struct pin {
	uintptr_t object; /* 0: free; the low bit is never set */
	uint64_t count;	  /* 0 with an object: was pinned once */
};

static struct loam_gc_lock lock; /* after none, before heap.lock; inside */
static struct pin *pins;	 /* lock; stopped */
static uint64_t slots, taken;	 /* lock: places; of them not free */
static uint64_t live;		 /* lock: of them with a count */
static uint64_t scanned_to;	 /* lock: slots before have been scanned in this cycle */

enum loam_err loam_pin_init(void)
{
	pins = NULL;
	slots = taken = live = 0;
	return LOAM_OK;
}

void loam_pin_reset(void)
{
	enum loam_err err = LOAM_OK;

	if (pins != NULL)
		err = loam_sys_free((uintptr_t)pins, slots * sizeof(*pins));
	LOAM_CHECK(err == LOAM_OK, "the table of pinned objects could not be freed");
	pins = NULL;
	slots = taken = live = 0;
}

/* The place of `object`, or where it would stand. The table is never full. */
static struct pin *find(struct pin *table, uint64_t count, uintptr_t object)
{
	uint64_t at = (object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	for (;; at++) {
		struct pin *pin = &table[at & (count - 1)];

		if (pin->object == object || pin->object == 0)
			return pin;
	}
}

/* Room for one more: what is counted moves to a table that it fills a quarter of at most. */
static enum loam_err grow_locked(void)
{
	uint64_t want = FIRST_SLOTS, had = slots;
	struct pin *old = pins, *fresh;
	enum loam_err err;
	void *p;

	if (taken < slots / 2)
		return LOAM_OK;
	while (want / 4 < live) /* of those that are gone nothing is kept */
		want *= 2;
	err = loam_sys_alloc(want * sizeof(*pins), LOAM_OWNER_GC, &p);
	if (err != LOAM_OK)
		return err;
	fresh = p;
	taken = 0;
	for (uint64_t i = 0; i < had; i++) {
		if (old[i].count != 0) {
			*find(fresh, want, old[i].object) = old[i];
			taken++;
		}
	}
	pins = fresh;
	slots = want;
	scanned_to = 0; /* they have other places now */
	if (old != NULL)
		err = loam_sys_free((uintptr_t)old, had * sizeof(*pins));
	return err;
}

enum loam_err loam_pin(void *p)
{
	struct loam_cache *cache = loam_cache_self();
	enum loam_err err;
	uintptr_t object;
	struct loam_span *span;
	struct pin *pin;

	loam_cache_enter(cache);
	span = loam_object_find(p, &object);
	err = span == NULL ? LOAM_NOENT : LOAM_OK;
	loam_gc_lock(&lock);
	if (err == LOAM_OK)
		err = grow_locked();
	if (err == LOAM_OK) {
		pin = find(pins, slots, object);
		taken += pin->object == 0;
		pin->object = object;
		live += pin->count == 0;
		pin->count++;
		if (loam_marking())
			loam_mark_shade(NULL, object);
		__atomic_store_n(&span->special, true, __ATOMIC_RELAXED);
	}
	loam_gc_unlock(&lock);
	loam_cache_leave(cache);
	return err;
}

enum loam_err loam_unpin(void *p)
{
	struct loam_cache *cache = loam_cache_self();
	enum loam_err err = LOAM_NOENT;
	uintptr_t object;
	struct pin *pin;

	loam_cache_enter(cache);
	loam_gc_lock(&lock);
	if (slots != 0 && loam_object_find(p, &object) != NULL) {
		pin = find(pins, slots, object);
		if (pin->count > 0) {
			pin->count--;
			if (loam_marking()) /* it was a root when marking began: [BARRIER-1] */
				loam_mark_shade(NULL, object);
			live -= pin->count == 0;
			err = LOAM_OK;
		}
	}
	loam_gc_unlock(&lock);
	loam_cache_leave(cache);
	return err;
}

uint64_t loam_pin_count(const void *p)
{
	uint64_t count = 0;

	loam_gc_lock(&lock);
	if (slots != 0)
		count = find(pins, slots, (uintptr_t)p)->count;
	loam_gc_unlock(&lock);
	return count;
}

void loam_pins_start(void)
{
	scanned_to = 0;
}

bool loam_pins_scan_some(struct loam_worker *w)
{
	uint64_t end;
	bool some;

	loam_gc_lock(&lock);
	some = scanned_to < slots;
	end = slots - scanned_to > PIECE ? scanned_to + PIECE : slots;
	for (; scanned_to < end; scanned_to++) {
		if (pins[scanned_to].count != 0)
			loam_mark_shade(w, pins[scanned_to].object);
	}
	loam_gc_unlock(&lock);
	return some;
}

bool loam_pins_left(void)
{
	bool some;

	loam_gc_lock(&lock);
	some = scanned_to < slots;
	loam_gc_unlock(&lock);
	return some;
}

void loam_pins_visit(void (*visit)(void *arg, const void *lo, const void *hi), void *arg)
{
	for (uint64_t i = 0; i < slots; i++) {
		if (pins[i].count != 0)
			visit(arg, &pins[i].object, &pins[i].object + 1);
	}
}
