/* SPDX-License-Identifier: MIT */
/*
 * Finalizers and cleanups: functions that run when an object has died.
 *
 *   none --loam_finalizer_set, loam_cleanup_add--> set --the sweep finds the object dead--> due --run--> none
 *                                                   |
 *                                                   removed, stopped, object freed explicitly --> none
 *
 * A finalizer gets its object: the sweep makes it live on, and what it points to has been kept (special.c). So it is
 * the last but one to know; when it has run, a later collection frees the object, and then cleanups become due, which do
 * not get it.
 *
 * What is due waits in a queue, first in, first out, threaded through the records: [SPECIAL-5]. Functions run one at a time, outside
 * of the allocator, with no lock held, in a thread that asked for it: loam_finalizers_run, loam_gc_work. Never in an
 * allocation: the program may hold a lock there that a finalizer wants.
 *
 *   [SPECIAL-7] At most one function runs at a time, so one that donates time or asks for finalizers does not run others within
 *               itself: stacks stay as deep as they are.
 *
 * Who is sent away, since another runs them, need not come again: the other, unless it has run as many as it was to, ends `running` and
 * then looks at `first`; who puts something there does so before he looks at `running`; all with sequential consistency. So one of
 * them sees it.
 *
 * What is taken from the queue while marking goes on is shaded: the stack it is on then may have been looked at.
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "gc/special.h"

static uint32_t first, last; /* special lock; `first` atomic to look: number + 1, 0: none */
static uint32_t running;     /* atomic: somebody runs them */
static uint64_t finalizers_queued, cleanups_queued;	/* special lock; atomic to look */
static uint64_t finalizers_executed, cleanups_executed; /* by who runs; atomic to look */

/* One that is due, on the stack of who runs it. */
struct due {
	uintptr_t object, arg;
	void (*finalize)(void *obj, void *arg);
	void (*clean)(void *arg);
};

/* ---- setting ---- */

static enum loam_err remove_locked(uintptr_t object)
{
	struct loam_special *s = loam_special_find_locked(object, LOAM_SPECIAL_FINALIZER);

	if (s == NULL)
		return LOAM_NOENT;
	loam_special_free_locked(s);
	return LOAM_OK;
}

static enum loam_err set_locked(uintptr_t object, void (*fn)(void *obj, void *arg), void *arg)
{
	struct loam_special *s;

	if (loam_special_find_locked(object, LOAM_SPECIAL_FINALIZER) != NULL)
		return LOAM_EXIST;
	s = loam_special_add_locked(object, LOAM_SPECIAL_FINALIZER);
	if (s == NULL)
		return LOAM_NOMEM;
	s->finalize = fn;
	/* release: as in loam_weak_make; who has an old weak pointer may read it */
	__atomic_store_n(&s->kept, (uintptr_t)arg, __ATOMIC_RELEASE);
	return LOAM_OK;
}

enum loam_err loam_finalizer_set(void *obj, void (*fn)(void *obj, void *arg), void *arg)
{
	struct loam_cache *cache = loam_cache_self();
	enum loam_err err;
	uintptr_t object;

	loam_cache_enter(cache);
	err = loam_special_object(cache, obj, &object);
	if (err == LOAM_OK && object != (uintptr_t)obj)
		err = LOAM_INVAL;
	if (err == LOAM_OK) {
		loam_gc_lock(&loam_special_lock);
		err = fn == NULL ? remove_locked(object) : set_locked(object, fn, arg);
		loam_gc_unlock(&loam_special_lock);
	}
	if (err == LOAM_OK && loam_marking()) { /* [SPECIAL-2] */
		loam_mark_shade(NULL, object);
		loam_mark_shade(NULL, (uintptr_t)arg);
	}
	loam_cache_leave(cache);
	return err;
}

enum loam_err loam_cleanup_add(const void *p, void (*fn)(void *arg), void *arg,
			       struct loam_cleanup *cleanup)
{
	struct loam_cache *cache = loam_cache_self();
	uintptr_t object, of_arg;
	struct loam_special *s;
	enum loam_err err;

	if (fn == NULL)
		return LOAM_INVAL;
	loam_cache_enter(cache);
	err = loam_special_object(cache, p, &object);
	if (err == LOAM_OK && loam_object_find(arg, &of_arg) != NULL && of_arg == object)
		err = LOAM_INVAL;
	if (err == LOAM_OK) {
		loam_gc_lock(&loam_special_lock);
		s = loam_special_add_locked(object, LOAM_SPECIAL_CLEANUP);
		if (s != NULL) {
			s->clean = fn;
			/* release: as in loam_weak_make; who has an old weak pointer may read it */
			__atomic_store_n(&s->kept, (uintptr_t)arg, __ATOMIC_RELEASE);
			if (cleanup != NULL)
				cleanup->id = loam_special_id(s);
		}
		loam_gc_unlock(&loam_special_lock);
		err = s != NULL ? LOAM_OK : LOAM_NOMEM;
	}
	if (err == LOAM_OK && loam_marking())
		loam_mark_shade(NULL, (uintptr_t)arg);
	loam_cache_leave(cache);
	return err;
}

enum loam_err loam_cleanup_stop(struct loam_cleanup cleanup)
{
	struct loam_cache *cache = loam_cache_self();
	struct loam_special *s;
	enum loam_err err = LOAM_NOENT;

	loam_cache_enter(cache);
	loam_gc_lock(&loam_special_lock);
	s = loam_special_by_id(cleanup.id);
	if (s != NULL && s->kind == LOAM_SPECIAL_CLEANUP) {
		loam_special_free_locked(s);
		err = LOAM_OK;
	}
	loam_gc_unlock(&loam_special_lock);
	loam_cache_leave(cache);
	return err;
}

/* ---- the queue ---- */

void loam_finalq_put_locked(struct loam_special *s)
{
	uint32_t number = loam_special_number(s) + 1;

	if (s->kind == LOAM_SPECIAL_FINALIZER) {
		s->kind = LOAM_SPECIAL_DUE_FINALIZER;
		__atomic_store_n(&finalizers_queued, finalizers_queued + 1, __ATOMIC_RELAXED);
	} else {
		s->kind = LOAM_SPECIAL_DUE_CLEANUP;
		s->object = 0;
		__atomic_store_n(&cleanups_queued, cleanups_queued + 1, __ATOMIC_RELAXED);
	}
	loam_special_void_locked(s); /* too late to stop it */
	s->link = 0;
	if (last != 0)
		loam_special_at(last - 1)->link = number;
	else /* seq_cst: before `running` is looked at; partner: loam_finalizers_run */
		__atomic_store_n(&first, number, __ATOMIC_SEQ_CST);
	last = number;
}

/* The first that is due; false: none is. */
static bool take(struct loam_cache *cache, struct due *due)
{
	struct loam_special *s = NULL;

	*due = (struct due){0};
	loam_cache_enter(cache);
	loam_gc_lock(&loam_special_lock);
	if (first != 0) {
		s = loam_special_at(first - 1);
		due->object = s->object;
		due->arg = s->kept;
		if (s->kind == LOAM_SPECIAL_DUE_FINALIZER)
			due->finalize = s->finalize;
		else
			due->clean = s->clean;
		__atomic_store_n(&first, s->link, __ATOMIC_RELAXED);
		if (first == 0)
			last = 0;
		loam_special_free_locked(s);
	}
	loam_gc_unlock(&loam_special_lock);
	if (loam_marking()) {
		loam_mark_shade(NULL, due->object);
		loam_mark_shade(NULL, due->arg);
	}
	loam_cache_leave(cache);
	return s != NULL;
}

bool loam_finalq_due(void)
{
	/* seq_cst: after `running` has ended; else only a look */
	return __atomic_load_n(&first, __ATOMIC_SEQ_CST) != 0;
}

static void run(const struct due *due)
{
	uint64_t *executed = due->finalize != NULL ? &finalizers_executed : &cleanups_executed;

	if (due->finalize != NULL)
		due->finalize((void *)due->object, (void *)due->arg);
	else if (due->clean != NULL)
		due->clean((void *)due->arg);
	__atomic_store_n(executed, *executed + 1, __ATOMIC_RELAXED);
}

uint64_t loam_finalizers_run(uint64_t max)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t count = 0;
	struct due due;

	/* seq_cst: what the last one that ran has done is seen; and after what is due was put; partner: the store below. [SPECIAL-7] */
	while (count < max && loam_finalq_due() &&
	       __atomic_exchange_n(&running, 1, __ATOMIC_SEQ_CST) == 0) {
		for (; count < max && take(cache, &due); count++)
			run(&due);
		LOAM_PLACE("none is due");
		__atomic_store_n(&running, 0, __ATOMIC_SEQ_CST);
	}
	return count;
}

void loam_finalq_stats(struct loam_stats *stats)
{
	stats->finalizers_executed = __atomic_load_n(&finalizers_executed, __ATOMIC_RELAXED);
	stats->cleanups_executed = __atomic_load_n(&cleanups_executed, __ATOMIC_RELAXED);
	stats->finalizers_queued = __atomic_load_n(&finalizers_queued, __ATOMIC_RELAXED);
	stats->cleanups_queued = __atomic_load_n(&cleanups_queued, __ATOMIC_RELAXED);
}

void loam_finalq_reset(void)
{
	first = last = running = 0;
	finalizers_queued = cleanups_queued = 0;
	finalizers_executed = cleanups_executed = 0;
}
