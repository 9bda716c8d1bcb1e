/* SPDX-License-Identifier: MIT */
/*
 * Weak pointers and ephemerons: they look at an object, and do not keep it. Records and marking: special.c.
 *
 * An id is a record's number and generation; records are type-stable, so an old id finds out that it is void.
 *
 * From weak to strong. The object may have been found dead, and its span be owed the sweep that tells: so
 * whoever reads sees to that sweep first, and looks again. All that inside: no cycle ends in between. While marking goes on
 * what is read is shaded, for the reader's stack may have been looked at.
 * Must readers be kept out while it is decided that marking is over (golang/go issue 69803)? Not here: that is decided in a stop
 * (collect.c, [CYCLE-3]), which waits for all that are inside; what they have shaded waits in all's lists then,
 * and the stop sees it. A reader after the stop finds the sweep owed.
 *
 * The reader takes no lock: he compares the generation before and after. The record may be cleared meanwhile by loam_free, or
 * by loam_weak_free: then the program has a race of its own, and gets the pointer or NULL.
 */
#include "gc/special.h"

#include "gc/mark.h"

/* The record, if its object lives: swept, as of now. Inside. */
static struct loam_special *living(struct loam_cache *cache, uint64_t id, uintptr_t *object)
{
	struct loam_special *s = loam_special_by_id(id);

	if (s == NULL)
		return NULL;
	*object = __atomic_load_n(&s->object, __ATOMIC_ACQUIRE);
	if (*object == 0)
		return NULL;
	loam_sweep_ensure(cache, loam_span_at_page(loam_page_index(*object)));
	/* acquire: partner of the release in end_locked; or the sweep was ours */
	*object = __atomic_load_n(&s->object, __ATOMIC_ACQUIRE);
	return *object != 0 ? s : NULL;
}

/* What it keeps, or leads to. Inside. */
static void *read(struct loam_cache *cache, uint64_t id, bool within)
{
	uintptr_t object, p;
	struct loam_special *s = living(cache, id, &object);

	if (s == NULL)
		return NULL;
	/* acquire: the generation is read after it */
	p = __atomic_load_n(&s->kept, __ATOMIC_ACQUIRE);
	if (!loam_special_is(s, id))
		return NULL;
	/* a large object may have become shorter in place */
	if (within && loam_span_of(p) != loam_span_of(object))
		return NULL;
	if (loam_marking())
		loam_mark_shade(NULL, p);
	return (void *)p;
}

/* ---- weak pointers ---- */

static struct loam_special *same_locked(uintptr_t object, uintptr_t p)
{
	struct loam_special *s = loam_special_find_locked(object, LOAM_SPECIAL_WEAK);

	while (s != NULL && s->kept != p)
		s = loam_special_next_locked(s);
	return s;
}

enum loam_err loam_weak_make(const void *p, struct loam_weak *weak)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_special *s;
	enum loam_err err;
	uintptr_t object;

	loam_cache_enter(cache);
	err = loam_special_object(cache, p, &object);
	if (err == LOAM_OK) {
		loam_gc_lock(&loam_special_lock);
		s = same_locked(object, (uintptr_t)p);
		if (s == NULL)
			s = loam_special_add_locked(object, LOAM_SPECIAL_WEAK);
		if (s != NULL) {
			/* release: after the record got its generation; partner: read */
			__atomic_store_n(&s->kept, (uintptr_t)p, __ATOMIC_RELEASE);
			s->count++;
			weak->id = loam_special_id(s);
		}
		loam_gc_unlock(&loam_special_lock);
		err = s != NULL ? LOAM_OK : LOAM_NOMEM;
	}
	loam_cache_leave(cache);
	return err;
}

void *loam_weak_get(struct loam_weak weak)
{
	struct loam_cache *cache = loam_cache_self();
	void *p;

	loam_cache_enter(cache);
	p = read(cache, weak.id, true);
	loam_cache_leave(cache);
	return p;
}

/* One less of that id. */
static enum loam_err drop(uint64_t id, enum loam_special_kind kind)
{
	struct loam_cache *cache = loam_cache_self();
	enum loam_err err = LOAM_NOENT;
	struct loam_special *s;

	loam_cache_enter(cache);
	loam_gc_lock(&loam_special_lock);
	s = loam_special_by_id(id);
	if (s != NULL && s->kind == kind) {
		if (--s->count == 0)
			loam_special_free_locked(s);
		err = LOAM_OK;
	}
	loam_gc_unlock(&loam_special_lock);
	loam_cache_leave(cache);
	return err;
}

enum loam_err loam_weak_free(struct loam_weak weak)
{
	return drop(weak.id, LOAM_SPECIAL_WEAK);
}

/* ---- ephemerons ---- */

enum loam_err loam_ephemeron_make(const void *key, void *value, struct loam_ephemeron *ephemeron)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_special *s;
	enum loam_err err;
	uintptr_t object;

	loam_cache_enter(cache);
	err = loam_special_object(cache, key, &object);
	if (err == LOAM_OK) {
		/* relaxed: for cycles that begin later */
		__atomic_store_n(&loam_span_of(object)->keys, true, __ATOMIC_RELAXED);
		loam_gc_lock(&loam_special_lock);
		s = loam_special_add_locked(object, LOAM_SPECIAL_EPHEMERON);
		if (s != NULL) {
			/* release: as in loam_weak_make */
			__atomic_store_n(&s->kept, (uintptr_t)value, __ATOMIC_RELEASE);
			s->count = 1;
			ephemeron->id = loam_special_id(s);
		}
		loam_gc_unlock(&loam_special_lock);
		err = s != NULL ? LOAM_OK : LOAM_NOMEM;
	}
	if (err == LOAM_OK && loam_marking()) /* [SPECIAL-3] */
		loam_mark_shade(NULL, (uintptr_t)value);
	loam_cache_leave(cache);
	return err;
}

void *loam_ephemeron_get(struct loam_ephemeron ephemeron)
{
	struct loam_cache *cache = loam_cache_self();
	void *value;

	loam_cache_enter(cache);
	value = read(cache, ephemeron.id, false);
	loam_cache_leave(cache);
	return value;
}

enum loam_err loam_ephemeron_free(struct loam_ephemeron ephemeron)
{
	return drop(ephemeron.id, LOAM_SPECIAL_EPHEMERON);
}
