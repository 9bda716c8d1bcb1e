/* SPDX-License-Identifier: MIT */
/*
 * Weak pointers and ephemerons, with each barrier, and what is set, read and written while marking goes on; and all at
 * once, at random. [SPECIAL-1] to [SPECIAL-3] are verified at each collection.
 */
#include "tests/host/special_setup.h"

#include "gc/mark.h"

/* ---- weak pointers ---- */

__attribute__((noinline)) static void make_weak(struct loam_weak w[3])
{
	char *p = (char *)make(9, NULL);
	struct loam_weak again;

	loam_store(&root[0], p);
	assert_int_equal(loam_weak_make(p, &w[0]), LOAM_OK);
	assert_int_equal(loam_weak_make(p + 8, &w[1]), LOAM_OK);
	assert_int_equal(loam_weak_make(make(9, NULL), &w[2]), LOAM_OK);
	assert_int_equal(loam_weak_make(p, &again), LOAM_OK);
	assert_int_equal(again.id, w[0].id);
	assert_true(w[0].id != w[1].id && w[0].id != w[2].id && w[0].id != 0);
	assert_ptr_equal(loam_weak_get(w[0]), p);
	assert_ptr_equal(loam_weak_get(w[1]), p + 8);
	assert_int_equal(loam_weak_make(loam_alloc_tiny(3), &again), LOAM_INVAL);
	assert_int_equal(loam_weak_make(&again, &again), LOAM_NOENT);
	assert_int_equal(again.id, w[0].id);
}

__attribute__((noinline)) static bool leads_to(struct loam_weak w, size_t offset)
{
	return loam_weak_get(w) == (char *)root[0] + offset;
}

static void weak_pointers_keep_nothing(void **state)
{
	struct loam_weak w[3];

	(void)state;
	make_weak(w);
	collect();
	assert_true(leads_to(w[0], 0));
	assert_true(leads_to(w[1], 8));
	assert_false(reads(w[2]));
	clear_root(0);
	collect();
	for (unsigned i = 0; i < 3; i++)
		assert_false(reads(w[i]));
	assert_int_equal(loam_weak_free(w[0]), LOAM_OK); /* made twice */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(loam_weak_free(w[i]), LOAM_OK);
		assert_int_equal(loam_weak_free(w[i]), LOAM_NOENT);
		assert_false(reads(w[i]));
	}
	assert_null(loam_weak_get((struct loam_weak){0}));
	assert_null(loam_weak_get((struct loam_weak){~(uint64_t)0}));
}

/* A record that is used anew is none of the old handle's. */
static void old_handles_stay_void(void **state)
{
	struct loam_weak old, fresh;

	(void)state;
	loam_store(&root[0], make(1, NULL));
	assert_int_equal(loam_weak_make(root[0], &old), LOAM_OK);
	assert_int_equal(loam_weak_free(old), LOAM_OK);
	assert_int_equal(loam_weak_make(root[0], &fresh), LOAM_OK);
	assert_true(old.id != fresh.id);
	assert_null(loam_weak_get(old));
	assert_int_equal(loam_weak_free(old), LOAM_NOENT);
	assert_int_equal(loam_cleanup_stop((struct loam_cleanup){fresh.id}), LOAM_NOENT);
	assert_ptr_equal(loam_weak_get(fresh), root[0]);
	assert_int_equal(loam_weak_free(fresh), LOAM_OK);
}

__attribute__((noinline)) static struct loam_weak make_weak_final(void)
{
	struct loam_weak w;
	void *p = make(11, NULL);

	assert_int_equal(loam_weak_make(p, &w), LOAM_OK);
	assert_int_equal(loam_finalizer_set(p, on_final_keep, NAME("keep")), LOAM_OK);
	return w;
}

/* [SPECIAL-4] */
static void resurrection_does_not_bring_weak_pointers_back(void **state)
{
	struct loam_weak w = make_weak_final(), again;

	(void)state;
	assert_true(reads(w));
	collect();
	assert_false(reads(w)); /* before it has run */
	assert_int_equal(run_due(), 1);
	assert_non_null(root[40]);
	assert_false(reads(w));
	assert_int_equal(loam_weak_make(root[40], &again), LOAM_OK);
	assert_true(again.id != w.id);
	assert_ptr_equal(loam_weak_get(again), root[40]);
	assert_int_equal(loam_weak_free(w), LOAM_OK);
	assert_int_equal(loam_weak_free(again), LOAM_OK);
}
/* ---- in the middle of things ---- */

__attribute__((noinline)) static void make_hidden(struct loam_weak *w)
{
	assert_int_equal(loam_weak_make(make(1234, make(5678, NULL)), w), LOAM_OK);
}

__attribute__((noinline)) static void hold(struct loam_weak w, unsigned steps)
{
	struct node *volatile held;
	bool marking = into_marking(steps);
	uint64_t seen = cycles();

	held = loam_weak_get(w);
	if (held == NULL)
		return; /* it was found dead before */
	root[1] = (void *)(uintptr_t)(marking + 1);
	while (cycles() == seen)
		loam_alloc_noscan(16);
	while (loam_sweep_pending())
		loam_alloc_noscan(16);
	assert_int_equal(held->id, 1234);
	assert_int_equal(held->next->id, 5678);
	assert_ptr_equal(loam_weak_get(w), held);
}

static void weak_get_while_marking_keeps(void **state)
{
	unsigned got = 0;

	(void)state;
	make_list(3000);
	for (unsigned i = 0; i < 60; i++) {
		struct loam_weak w;

		root[1] = NULL;
		collect();
		make_hidden(&w);
		clear_stack();
		loam_gc_set_steps(1, 2000);
		hold(w, i);
		got += root[1] != NULL;
		loam_gc_set_steps(0, 0);
		assert_int_equal(loam_weak_free(w), LOAM_OK);
	}
	assert_true(got > 30);
}

#define MANY 400u

__attribute__((noinline)) static void make_many(struct loam_weak *w)
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(loam_weak_make(loam_alloc(3000), &w[i]), LOAM_OK);
}

/* Found dead, and not swept yet. */
static void weak_get_sees_to_the_sweep(void **state)
{
	static struct loam_weak w[MANY];
	unsigned left = 0;

	(void)state;
	make_many(w);
	clear_stack();
	begin_cycle();
	while (loam_marking())
		(void)loam_gc_work(1);
	assert_true(loam_sweep_pending() || loam_heap.barrier == LOAM_BARRIER_STOP);
	for (unsigned i = MANY; i-- > 0;)
		left += reads(w[i]);
	assert_true(left < 4); /* a word on the stack */
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(loam_weak_free(w[i]), LOAM_OK);
}

/* In two roots: one with a finalizer, and another. */
__attribute__((noinline)) static void make_two(uintptr_t hidden[2])
{
	struct node *n = make(21, NULL), *inner = make(22, NULL);

	assert_int_equal(loam_finalizer_set(n, on_final, NAME("late")), LOAM_OK);
	loam_store(&root[5], n);
	loam_store(&root[6], inner);
	hidden[0] = hide(n);
	hidden[1] = hide(inner);
}

/* The program has both in registers alone, and then neither, which is why they are hidden here. True: in time. */
__attribute__((noinline)) static bool link_late(uintptr_t hidden[2])
{
	bool marking = into_marking(0);

	clear_root(5);
	clear_root(6);
	while (marking && loam_specials_left()) {
		loam_alloc_noscan(16);
		marking = loam_marking();
	}
	if (!marking && loam_heap.barrier != LOAM_BARRIER_STOP)
		return false;
	loam_store(&((struct node *)shown(hidden[0]))->next, shown(hidden[1]));
	return true;
}

/* What has a finalizer has been scanned, and is written to, and then dies. [SPECIAL-2] */
static void what_is_written_late_is_kept(void **state)
{
	unsigned done = 0;

	(void)state;
	make_list(4000);
	for (unsigned i = 0; i < 40; i++) {
		uintptr_t hidden[2];
		bool late;

		make_two(hidden);
		clear_stack();
		loam_gc_set_steps(1, 100 + i * 20);
		late = link_late(hidden);
		done += late;
		clear_stack();
		loam_gc_set_steps(0, 0);
		collect();
		if (late) {
			assert_int_equal(next_id_of(hidden[0]), 22);
			assert_int_equal(id_of(hidden[1]), 22);
		}
		run_due();
		collect();
		run_due();
		collect();
		assert_false(lives(hidden[1]));
	}
	assert_true(done > 20);
}

/* ---- ephemerons ---- */
#define CHAIN 10000u

__attribute__((noinline)) static void make_ephemerons(struct loam_ephemeron *e, uintptr_t hidden[4])
{
	struct node *key = make(1, NULL), *lost = make(2, NULL);

	loam_store(&root[0], key);
	/* the value points to the key */
	assert_int_equal(loam_ephemeron_make(key, make(3, key), &e[0]), LOAM_OK);
	assert_int_equal(loam_ephemeron_make((char *)key + 9, make(4, NULL), &e[1]), LOAM_OK);
	/* only the value leads to the key */
	assert_int_equal(loam_ephemeron_make(lost, make(5, lost), &e[2]), LOAM_OK);
	assert_int_equal(loam_ephemeron_make(lost, lost, &e[3]), LOAM_OK);
	assert_int_equal(loam_ephemeron_make(loam_alloc_tiny(3), NULL, &e[3]), LOAM_INVAL);
	assert_int_equal(loam_ephemeron_make(hidden, NULL, &e[3]), LOAM_NOENT);
	for (unsigned i = 0; i < 3; i++)
		hidden[i] = hide(loam_ephemeron_get(e[i]));
	hidden[3] = hide(lost);
	assert_ptr_equal(loam_ephemeron_get(e[3]), lost);
}

/* [SPECIAL-3] */
static void ephemerons_live_as_long_as_their_keys(void **state)
{
	struct loam_ephemeron e[4];
	uintptr_t hidden[4];

	(void)state;
	make_ephemerons(e, hidden);
	for (unsigned i = 0; i < 3; i++) {
		collect();
		assert_int_equal(value_id(e[0]), 3);
		assert_int_equal(value_id(e[1]), 4);
		assert_int_equal(value_id(e[2]), 0);
		assert_int_equal(value_id(e[3]), 0);
		assert_false(lives(hidden[2]) || lives(hidden[3]));
	}
	assert_int_equal(loam_ephemeron_free(e[1]), LOAM_OK);
	assert_int_equal(loam_ephemeron_free(e[1]), LOAM_NOENT);
	assert_int_equal(value_id(e[1]), 0);
	collect();
	assert_false(lives(hidden[1]));
	clear_root(0);
	collect();
	assert_int_equal(value_id(e[0]), 0);
	assert_false(lives(hidden[0]));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loam_ephemeron_free(e[i]), i == 1 ? LOAM_NOENT : LOAM_OK);
}

/* Objects of 16 bytes are marked another way than all others: so are keys. */
static void keys_of_two_words(void **state)
{
	static struct loam_ephemeron e[300];

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(e); i++) {
		void **cell = loam_alloc(16);

		loam_store(cell, root[0]);
		loam_store(&root[0], cell);
		assert_int_equal(loam_ephemeron_make(cell, make(i + 1, NULL), &e[i]), LOAM_OK);
	}
	collect();
	for (unsigned i = 0; i < COUNT_OF(e); i++)
		assert_int_equal(value_id(e[i]), i + 1);
	clear_root(0);
	for (unsigned i = 0; i < COUNT_OF(e); i++)
		assert_int_equal(loam_ephemeron_free(e[i]), LOAM_OK);
}

/* Key i leads to key i + 1 by way of a value, which itself is the key, or points to it. In a bad order for who goes
 * over all of them again and again. */
__attribute__((noinline)) static void make_long_chain(struct loam_ephemeron *e)
{
	struct node *n = make(CHAIN, NULL);

	for (unsigned i = CHAIN; i-- > 0;) {
		struct node *key = make(i, NULL);

		assert_int_equal(loam_ephemeron_make(key, i % 2 == 0 ? n : make(i + 1, n), &e[i]),
				 LOAM_OK);
		n = key;
		loam_store(&root[1], key);
	}
	loam_store(&root[0], n);
	loam_store(&root[1], NULL);
}

static void long_chains_of_ephemerons(void **state)
{
	static struct loam_ephemeron e[CHAIN];

	(void)state;
	make_long_chain(e);
	for (unsigned round = 0; round < 3; round++) {
		loam_work_limit(round == 2);
		collect();
		for (unsigned i = 0; i < CHAIN; i++)
			assert_int_equal(value_id(e[i]), i + 1);
	}
	loam_work_limit(0);
	clear_root(0);
	collect();
	for (unsigned i = 0; i < CHAIN; i++) {
		assert_int_equal(value_id(e[i]), 0);
		assert_int_equal(loam_ephemeron_free(e[i]), LOAM_OK);
	}
}

/* Made, read and freed while marking goes on. */
static void ephemerons_while_marking(void **state)
{
	struct loam_ephemeron e[200];

	(void)state;
	make_list(2000);
	loam_gc_set_steps(1, 500);
	for (unsigned round = 0; round < 20; round++) {
		struct node *last = make(1000, NULL);

		loam_store(&root[0], last);
		for (unsigned i = 0; i < COUNT_OF(e); i++) {
			struct node *value = make(i, NULL);

			assert_int_equal(loam_ephemeron_make(last, value, &e[i]), LOAM_OK);
			last = value;
		}
		last = NULL;
		for (unsigned i = 0; i < 400; i++) {
			loam_alloc_noscan(16);
			assert_int_equal(value_id(e[i % COUNT_OF(e)]), i % COUNT_OF(e));
		}
		for (unsigned i = 0; i < COUNT_OF(e); i++) {
			loam_alloc_noscan(16);
			assert_int_equal(loam_ephemeron_free(e[(i + round) % COUNT_OF(e)]),
					 LOAM_OK);
		}
	}
}
/* ---- all at once, at random ---- */

#define THINGS 48

struct thing {
	uint64_t id;
	struct thing *child;
	void *arg; /* of its finalizer: a number in the heap */
	uint64_t check;
};

static unsigned finals, cleans;

static void check_thing(const struct thing *t)
{
	assert_int_equal(t->check, ~t->id);
	if (t->child != NULL)
		assert_int_equal(t->child->check, ~t->child->id);
}

static void thing_final(void *obj, void *arg)
{
	struct thing *t = obj;

	for (unsigned i = 0; i < 5 && t != NULL; i++, t = t->child)
		check_thing(t);
	t = obj;
	assert_int_equal(*(uint64_t *)arg, t->id);
	finals++;
	if (t->id % 4 == 0)
		loam_store(&root[t->id % THINGS], t);
}

static void thing_clean(void *arg)
{
	assert_int_equal(*(uint64_t *)arg % 3, 1);
	cleans++;
}

__attribute__((noinline)) static struct thing *make_thing(struct rng *rng)
{
	struct thing *t = loam_alloc(sizeof(*t) + rng_below(rng, 40) * rng_below(rng, 300));
	uint64_t *number = loam_alloc_noscan(64);

	t->id = rng_next(rng) >> 1;
	t->check = ~t->id;
	*number = t->id;
	if (rng_below(rng, 3) > 0)
		assert_int_equal(loam_finalizer_set(t, thing_final, number), LOAM_OK);
	if (rng_below(rng, 3) == 0) {
		number = loam_alloc_noscan(32);
		*number = rng_below(rng, 1000) * 3 + 1;
		assert_int_equal(loam_cleanup_add(&t->check, thing_clean, number, NULL), LOAM_OK);
	}
	return t;
}

__attribute__((noinline)) static void random_step(struct rng *rng, struct loam_weak *weak,
						  struct loam_ephemeron *eph)
{
	unsigned i = (unsigned)rng_below(rng, THINGS), k = (unsigned)rng_below(rng, THINGS);
	struct thing *t = root[i], *other = root[k];

	switch (rng_below(rng, 8)) {
	case 0:
		loam_store(&root[i], make_thing(rng));
		break;
	case 1: /* written, and dropped at once */
		if (t != NULL)
			loam_store(&t->child, make_thing(rng));
		loam_store(&root[i], NULL);
		break;
	case 2:
		if (t != NULL && t != other && other != NULL && other->child != t)
			loam_store(&t->child, other);
		break;
	case 3:
		if (t == NULL)
			break;
		(void)loam_weak_free(weak[k]);
		assert_int_equal(loam_weak_make(&t->child, &weak[k]), LOAM_OK);
		break;
	case 4: {
		struct thing **child = loam_weak_get(weak[k]);

		if (child == NULL)
			break;
		t = (struct thing *)((char *)child - offsetof(struct thing, child));
		check_thing(t);
		loam_store(&root[i], t);
		break;
	}
	case 5:
		if (t == NULL)
			break;
		(void)loam_ephemeron_free(eph[k]);
		assert_int_equal(loam_ephemeron_make(t, make_thing(rng), &eph[k]), LOAM_OK);
		break;
	case 6:
		t = loam_ephemeron_get(eph[k]);
		if (t == NULL)
			break;
		check_thing(t);
		loam_store(&root[i], t);
		break;
	default:
		(void)loam_finalizers_run(3);
	}
}

static void at_random(void **state)
{
	static struct loam_weak weak[THINGS];
	static struct loam_ephemeron eph[THINGS];
	struct rng rng = {test_seed()};

	(void)state;
	memset(weak, 0, sizeof(weak));
	memset(eph, 0, sizeof(eph));
	finals = cleans = 0;
	for (unsigned round = 0; round < 12; round++) {
		loam_gc_set_steps(1 + round % 3, 500u << (round % 4));
		loam_work_limit(round % 4 == 3 ? 2 : 0);
		for (unsigned i = 0; i < 1500; i++)
			random_step(&rng, weak, eph);
		loam_gc_set_steps(0, 0);
		collect();
		loam_heap_verify();
	}
	assert_true(finals > 200 && cleans > 100);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(weak_pointers_keep_nothing),
		EACH(old_handles_stay_void),
		EACH(resurrection_does_not_bring_weak_pointers_back),
		EACH(weak_get_while_marking_keeps),
		EACH(weak_get_sees_to_the_sweep),
		EACH(what_is_written_late_is_kept),
		EACH(ephemerons_live_as_long_as_their_keys),
		EACH(keys_of_two_words),
		EACH(long_chains_of_ephemerons),
		EACH(ephemerons_while_marking),
		EACH(at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
