/* SPDX-License-Identifier: MIT */
/*
 * Finalizers and cleanups, with each barrier: Go's cases, and what C adds: free, realloc, no memory. [SPECIAL-1] to
 * [SPECIAL-3] are verified at each collection.
 */
#include "tests/host/special_setup.h"

__attribute__((noinline)) static char *heap_string(const char *text)
{
	char *s = loam_alloc_noscan(strlen(text) + 1);

	strcpy(s, text);
	return s;
}

/* ---- finalizers ---- */

__attribute__((noinline)) static void make_chain(uintptr_t hidden[3])
{
	static char name[3][2] = {"a", "b", "c"};
	struct node *n = NULL;

	for (unsigned i = 3; i-- > 0;) {
		n = make(i, n);
		hidden[i] = hide(n);
		assert_int_equal(loam_finalizer_set(n, on_final, name[i]), LOAM_OK);
	}
}

/* [SPECIAL-2], [SPECIAL-4] */
static void chains_are_finalized_from_their_head(void **state)
{
	uintptr_t hidden[3];

	(void)state;
	make_chain(hidden);
	for (unsigned i = 0; i < 3; i++) {
		collect();
		assert_int_equal(ran.count, i); /* not in the collection */
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(lives(hidden[k]), k >= i);
		assert_int_equal(run_due(), 1);
		assert_int_equal(ran.name[i][0], 'a' + (int)i);
		assert_int_equal(run_due(), 0);
	}
	collect();
	assert_false(lives(hidden[2]));
}

__attribute__((noinline)) static uintptr_t make_final(void (*fn)(void *, void *), void *arg)
{
	void *p = make(7, NULL);

	assert_int_equal(loam_finalizer_set(p, fn, arg), LOAM_OK);
	return hide(p);
}

__attribute__((noinline)) static void set_again(void)
{
	assert_int_equal(loam_finalizer_set(root[40], NULL, NULL), LOAM_NOENT);
	assert_int_equal(loam_finalizer_set(root[40], on_final, NAME("again")), LOAM_OK);
	loam_store(&root[40], NULL);
}

static void resurrected_once(void **state)
{
	uintptr_t hidden = make_final(on_final_keep, NAME("keep"));

	(void)state;
	collect();
	assert_int_equal(run_due(), 1);
	collect();
	assert_int_equal(run_due(), 0);
	assert_true(lives(hidden));
	assert_int_equal(id_of(hidden), 7);
	set_again();
	collect();
	assert_int_equal(run_due(), 1);
	assert_string_equal(ran.name[1], "again");
	collect();
	assert_false(lives(hidden));
	assert_int_equal(ran.count, 2);
}

/* Nobody calls: what is due and what it points to live on. */
static void what_is_due_lives(void **state)
{
	uintptr_t hidden[3];

	(void)state;
	make_chain(hidden);
	for (unsigned i = 0; i < 4; i++) {
		collect();
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(id_of(hidden[k]), k);
	}
	assert_int_equal(run_due(), 1);
}

__attribute__((noinline)) static uintptr_t make_ring(void)
{
	struct node *a = make(1, NULL), *b = make(2, a);

	loam_store(&a->next, b);
	assert_int_equal(loam_finalizer_set(a, on_final, NAME("ring")), LOAM_OK);
	return hide(a);
}

static void rings_are_never_finalized(void **state)
{
	uintptr_t hidden = make_ring();

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		collect();
		assert_int_equal(run_due(), 0);
		assert_true(lives(hidden));
	}
}

static void wrong_finalizers_are_refused(void **state)
{
	char *p = loam_alloc(100), *tiny = loam_alloc_tiny(5);
	int local;

	(void)state;
	assert_int_equal(loam_finalizer_set(p + 8, on_final, NULL), LOAM_INVAL);
	assert_int_equal(loam_finalizer_set(tiny, on_final, NULL), LOAM_INVAL);
	assert_int_equal(loam_finalizer_set(&local, on_final, NULL), LOAM_NOENT);
	assert_int_equal(loam_finalizer_set(NULL, on_final, NULL), LOAM_NOENT);
	assert_int_equal(loam_finalizer_set(p, NULL, NULL), LOAM_NOENT);
	assert_int_equal(loam_finalizer_set(p, on_final, NAME("p")), LOAM_OK);
	assert_int_equal(loam_finalizer_set(p, on_final, NAME("p")), LOAM_EXIST);
	assert_int_equal(loam_finalizer_set(p, NULL, NULL), LOAM_OK);
	assert_int_equal(loam_finalizer_set(p, NULL, NULL), LOAM_NOENT);
	p = tiny = NULL;
	collect();
	collect();
	assert_int_equal(run_due(), 0);
}

__attribute__((noinline)) static void make_with_arg(void)
{
	for (unsigned i = 0; i < 20; i++) {
		make_final(on_final, heap_string("an argument that lives"));
		assert_int_equal(loam_cleanup_add(make(i, NULL), on_clean,
						  heap_string("an argument that lives"), NULL),
				 LOAM_OK);
	}
}

static void arguments_are_kept(void **state)
{
	(void)state;
	make_with_arg();
	for (unsigned i = 0; i < 3; i++)
		collect();
	assert_int_equal(run_due(), 40);
	for (unsigned i = 0; i < 40; i++)
		assert_string_equal(ran.name[i], "an argument that lives");
}

/* ---- cleanups ---- */

__attribute__((noinline)) static uintptr_t make_cleanups(struct loam_cleanup *stopped)
{
	char *p = loam_alloc(sizeof(struct node));
	struct loam_cleanup untouched = {77};

	assert_int_equal(loam_cleanup_add(p, on_clean, NAME("one"), NULL), LOAM_OK);
	assert_int_equal(loam_cleanup_add(p + 20, on_clean, NAME("two"), stopped), LOAM_OK);
	assert_int_equal(loam_cleanup_add(p, on_clean, NAME("three"), NULL), LOAM_OK);
	assert_int_equal(loam_cleanup_add(p, on_clean, p + 30, &untouched), LOAM_INVAL);
	assert_int_equal(loam_cleanup_add(p, NULL, NULL, &untouched), LOAM_INVAL);
	assert_int_equal(loam_cleanup_add(loam_alloc_tiny(3), on_clean, NULL, &untouched),
			 LOAM_INVAL);
	assert_int_equal(loam_cleanup_add(&untouched, on_clean, NULL, &untouched), LOAM_NOENT);
	assert_int_equal(untouched.id, 77);
	return hide(p);
}

static void cleanups_run_when_the_object_is_gone(void **state)
{
	struct loam_cleanup stop;
	uintptr_t hidden = make_cleanups(&stop);

	(void)state;
	assert_int_equal(loam_cleanup_stop(stop), LOAM_OK);
	assert_int_equal(loam_cleanup_stop(stop), LOAM_NOENT);
	collect();
	assert_false(lives(hidden));
	assert_int_equal(run_due(), 2);
	assert_true(ran.name[0][0] != 't' || ran.name[0][1] == 'h');
	assert_true(ran.name[1][0] != 't' || ran.name[1][1] == 'h');
	hidden = make_cleanups(&stop);
	collect();
	assert_int_equal(loam_cleanup_stop(stop), LOAM_NOENT); /* it is due */
	assert_int_equal(run_due(), 3);
	assert_int_equal(loam_cleanup_stop(stop), LOAM_NOENT);
	assert_int_equal(loam_cleanup_stop((struct loam_cleanup){0}), LOAM_NOENT);
	assert_int_equal(loam_cleanup_stop((struct loam_cleanup){~(uint64_t)0}), LOAM_NOENT);
}

__attribute__((noinline)) static uintptr_t make_both(void)
{
	void *p = make(3, NULL);

	assert_int_equal(loam_cleanup_add(p, on_clean, NAME("clean"), NULL), LOAM_OK);
	assert_int_equal(loam_finalizer_set(p, on_final, NAME("final")), LOAM_OK);
	return hide(p);
}

/* [SPECIAL-4] */
static void cleanups_come_after_the_finalizer(void **state)
{
	uintptr_t hidden = make_both();

	(void)state;
	collect();
	collect();
	assert_int_equal(run_due(), 1);
	assert_string_equal(ran.name[0], "final");
	assert_true(lives(hidden));
	collect();
	assert_false(lives(hidden));
	assert_int_equal(run_due(), 1);
	assert_string_equal(ran.name[1], "clean");
}
/* ---- free, realloc ---- */

struct all {
	struct loam_weak weak;
	struct loam_ephemeron ephemeron;
	struct loam_cleanup cleanup;
};

__attribute__((noinline)) static char *make_all(struct all *all, size_t size)
{
	char *p = loam_alloc(size);

	assert_int_equal(loam_finalizer_set(p, on_final, NAME("final")), LOAM_OK);
	assert_int_equal(loam_cleanup_add(p, on_clean, NAME("clean"), &all->cleanup), LOAM_OK);
	assert_int_equal(loam_weak_make(p + 3, &all->weak), LOAM_OK);
	assert_int_equal(loam_ephemeron_make(p, make(1, NULL), &all->ephemeron), LOAM_OK);
	return p;
}

static void check_dropped(struct all *all)
{
	assert_null(loam_weak_get(all->weak));
	assert_null(loam_ephemeron_get(all->ephemeron));
	assert_int_equal(loam_cleanup_stop(all->cleanup), LOAM_NOENT);
	assert_int_equal(loam_weak_free(all->weak), LOAM_OK);
	assert_int_equal(loam_ephemeron_free(all->ephemeron), LOAM_OK);
}

/* [SPECIAL-6] */
static void free_drops_all(void **state)
{
	static const size_t size[] = {16, 64, 5000, 100000};
	struct all all;

	(void)state;
	make_list(3000);
	for (unsigned i = 0; i < 24; i++) {
		char *p;

		if (i >= 8) {
			loam_gc_set_steps(1, 2000);
			into_marking(i);
		}
		p = make_all(&all, size[i % 4]);
		assert_int_equal(loam_free(p), LOAM_OK);
		assert_int_equal(loam_finalizer_set(p, on_final, NULL), LOAM_NOENT);
		assert_int_equal(loam_weak_make(p, &(struct loam_weak){0}), LOAM_NOENT);
		check_dropped(&all);
		loam_gc_set_steps(0, 0);
		collect();
		assert_int_equal(run_due(), 0);
	}
}

static void realloc_does_not_lose_finalizers(void **state)
{
	struct loam_ephemeron e;
	struct loam_weak w;
	struct all all;
	char *p = make_all(&all, 64);

	(void)state;
	assert_ptr_equal(loam_realloc(p, 60), p);
	assert_ptr_equal(loam_weak_get(all.weak), p + 3);
	assert_null(loam_realloc(p, 5000));
	assert_int_equal(loam_finalizer_set(p, NULL, NULL), LOAM_OK);
	assert_null(loam_realloc(p, 5000));
	assert_int_equal(loam_cleanup_stop(all.cleanup), LOAM_OK);
	p = loam_realloc(p, 5000);
	assert_non_null(p);
	check_dropped(&all);
	/* a large block that gets shorter in place */
	p = loam_alloc(300000);
	assert_int_equal(loam_weak_make(p + 250000, &w), LOAM_OK);
	assert_int_equal(loam_ephemeron_make(p + 250000, p, &e), LOAM_OK);
	assert_ptr_equal(loam_weak_get(w), p + 250000);
	assert_ptr_equal(loam_realloc(p, 100000), p);
	assert_false(reads(w));
	assert_ptr_equal(loam_ephemeron_get(e), p);
	assert_int_equal(loam_weak_free(w), LOAM_OK);
	assert_null(loam_realloc(p, 0));
	assert_int_equal(value_id(e), 0);
	assert_int_equal(loam_ephemeron_free(e), LOAM_OK);
}

/* ---- running ---- */

static void on_final_busy(void *obj, void *arg)
{
	struct loam_stats before, after;

	loam_stats_read(&before);
	loam_gc();
	loam_stats_read(&after);
	assert_true(after.num_gc > before.num_gc);
	say(arg);
	assert_int_equal(((struct node *)obj)->id, 7);
	assert_int_equal(loam_finalizers_run(UINT64_MAX), 0); /* [SPECIAL-7] */
	while (loam_gc_work(100000))
		;
	make_list(100);
	assert_int_equal(loam_finalizer_set(obj, on_final, NAME("second")), LOAM_OK);
	make_final(on_final, NAME("made by a finalizer"));
}

static void finalizers_may_do_anything(void **state)
{
	(void)state;
	make_final(on_final_busy, NAME("busy"));
	make_final(on_final_busy, NAME("busy"));
	collect();
	run_due();
	assert_string_equal(ran.name[0], "busy");
	assert_string_equal(ran.name[1], "busy");
	for (unsigned i = 0; i < 3; i++) {
		collect();
		run_due();
	}
	assert_int_equal(ran.count, 6);
}

__attribute__((noinline)) static void make_fifteen(void)
{
	for (unsigned i = 0; i < 10; i++)
		make_final(on_final, NAME("final"));
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(loam_cleanup_add(make(0, NULL), on_clean, NAME("clean"), NULL),
				 LOAM_OK);
}

/* Allocations never run them; donated time does. */
static void who_runs_them(void **state)
{
	static struct loam_stats s; /* on the stack it would have old words in it */

	(void)state;
	make_fifteen();
	collect();
	make_list(1000);
	loam_gc_set_steps(1, 1000);
	make_list(1000);
	loam_gc_set_steps(0, 0);
	assert_int_equal(ran.count, 0);
	loam_stats_read(&s);
	assert_int_equal(s.finalizers_queued, 10);
	assert_int_equal(s.cleanups_queued, 5);
	assert_int_equal(s.finalizers_executed + s.cleanups_executed, 0);
	assert_int_equal(loam_finalizers_run(3), 3);
	while (loam_gc_work(0))
		;
	assert_int_equal(ran.count, 15);
	loam_stats_read(&s);
	assert_int_equal(s.finalizers_executed, 10);
	assert_int_equal(s.cleanups_executed, 5);
}

/* ---- no memory ---- */

/* All room is taken, by cleanups; how many. */
__attribute__((noinline)) static unsigned fill_room(struct loam_weak *w)
{
	struct loam_cleanup c = {77};
	struct loam_ephemeron e = {77};
	void *p = make(1, NULL);
	unsigned made = 0;

	w->id = 77;
	loam_host_fail_at(1);
	assert_int_equal(loam_finalizer_set(p, on_final, NAME("f")), LOAM_NOMEM);
	assert_int_equal(loam_cleanup_add(p, on_clean, NAME("c"), &c), LOAM_NOMEM);
	assert_int_equal(loam_weak_make(p, w), LOAM_NOMEM);
	assert_int_equal(loam_ephemeron_make(p, p, &e), LOAM_NOMEM);
	assert_true(w->id == 77 && c.id == 77 && e.id == 77);
	loam_host_fail_at(0);
	assert_int_equal(loam_weak_make(p, w), LOAM_OK);
	loam_host_fail_at(1);
	while (loam_cleanup_add(p, on_clean, NAME("c"), &c) == LOAM_OK)
		made++;
	assert_int_equal(loam_finalizer_set(p, on_final, NAME("f")), LOAM_NOMEM);
	assert_int_equal(loam_finalizer_set(p, NULL, NULL), LOAM_NOENT);
	assert_int_equal(loam_cleanup_stop(c), LOAM_OK); /* room for one */
	assert_int_equal(loam_finalizer_set(p, on_final, NAME("f")), LOAM_OK);
	loam_host_fail_at(0);
	return made - 1;
}

/* [SPECIAL-5] */
static void out_of_memory_changes_nothing(void **state)
{
	struct loam_weak w;
	unsigned made = fill_room(&w), due;

	(void)state;
	assert_true(made > 10);
	collect();
	assert_false(reads(w));
	loam_host_fail_at(1);
	assert_int_equal(run_due(), 1);
	collect(); /* all become due, without memory */
	for (due = 0; loam_finalizers_run(1) == 1; due++)
		ran.count = 0;
	loam_host_fail_at(0);
	assert_int_equal(due, made);
	assert_int_equal(loam_weak_free(w), LOAM_OK);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(chains_are_finalized_from_their_head),
		EACH(resurrected_once),
		EACH(what_is_due_lives),
		EACH(rings_are_never_finalized),
		EACH(wrong_finalizers_are_refused),
		EACH(arguments_are_kept),
		EACH(cleanups_run_when_the_object_is_gone),
		EACH(cleanups_come_after_the_finalizer),
		EACH(free_drops_all),
		EACH(realloc_does_not_lose_finalizers),
		EACH(finalizers_may_do_anything),
		EACH(who_runs_them),
		EACH(out_of_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
