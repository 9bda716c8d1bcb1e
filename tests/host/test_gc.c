/* SPDX-License-Identifier: MIT */
/*
 * The collector against a shadow graph: whatever the shadow says is reachable is intact, and what
 * is not is freed. [MARK-1] is checked after every cycle by the second marker (LOAM_DEBUG 3),
 * [SWEEP-1] by patterns, [ROOT-1] by the root tests.
 */
#include "tests/host/heap_setup.h"

#define NODES 600u
#define EDGES 4u

/* An object of the graph: its id stands in it twice, its edges between. */
struct object {
	uint64_t id;
	struct object *edge[EDGES];
	uint64_t id_again;
};

static struct object *root_slot[16]; /* the only roots */

/* The shadow, out of the collector's sight. */
struct shadow {
	bool exists;
	int edge[EDGES];  /* -1: none */
	uintptr_t hidden; /* the object's address, inverted */
};
static struct shadow shadow[NODES];
static int shadow_root[16];

static struct object *object_of(int i)
{
	return (struct object *)~shadow[i].hidden;
}

static void mark_shadow(bool *reached)
{
	int stack[NODES * EDGES + 16], n = 0;

	memset(reached, 0, NODES);
	for (int r = 0; r < 16; r++) {
		if (shadow_root[r] >= 0)
			stack[n++] = shadow_root[r];
	}
	while (n > 0) {
		int i = stack[--n];

		if (reached[i])
			continue;
		reached[i] = true;
		for (unsigned e = 0; e < EDGES; e++) {
			if (shadow[i].edge[e] >= 0)
				stack[n++] = shadow[i].edge[e];
		}
	}
}

static void check_reachable(const bool *reached)
{
	for (int i = 0; i < (int)NODES; i++) {
		struct object *o = object_of(i);

		if (!shadow[i].exists || !reached[i])
			continue;
		assert_int_equal(o->id, i);
		assert_int_equal(o->id_again, i);
		for (unsigned e = 0; e < EDGES; e++)
			assert_ptr_equal(o->edge[e], shadow[i].edge[e] < 0
							     ? NULL
							     : object_of(shadow[i].edge[e]));
	}
}

/* Forget what the shadow cannot reach any more: the collector may have freed it. */
static unsigned forget(const bool *reached)
{
	unsigned live = 0;

	for (int i = 0; i < (int)NODES; i++) {
		shadow[i].exists = shadow[i].exists && reached[i];
		live += shadow[i].exists;
	}
	return live;
}

static const uint64_t object_bits[1] = {0x1e}; /* words 1 to 4 */
static const struct loam_type object_type = {
	.size = sizeof(struct object), .ptr_words = 5, .ptr_bits = object_bits, .name = "object"};

static void make_node(struct rng *rng, int i)
{
	struct object *o = rng_below(rng, 2)
				   ? loam_alloc_type(&object_type, 1)
				   : loam_alloc(sizeof(struct object) + rng_below(rng, 5000));

	assert_non_null(o);
	o->id = o->id_again = (uint64_t)i;
	shadow[i].exists = true;
	shadow[i].hidden = ~(uintptr_t)o;
	for (unsigned e = 0; e < EDGES; e++)
		shadow[i].edge[e] = -1;
}

static int pick_reachable(struct rng *rng, const bool *reached)
{
	for (int tries = 0; tries < 50; tries++) {
		int i = (int)rng_below(rng, NODES);

		if (shadow[i].exists && reached[i])
			return i;
	}
	return -1;
}

__attribute__((noinline)) static void mutate(struct rng *rng, int steps)
{
	bool reached[NODES];

	for (int s = 0; s < steps; s++) {
		int from, to = (int)rng_below(rng, NODES);

		mark_shadow(reached);
		if (!shadow[to].exists || !reached[to])
			make_node(rng, to);
		if (rng_below(rng, 3) == 0) {
			unsigned r = (unsigned)rng_below(rng, 16);

			shadow_root[r] = rng_below(rng, 4) == 0 ? -1 : to;
			/* sometimes an interior pointer: it must do as well */
			loam_store(&root_slot[r],
				   shadow_root[r] < 0 ? NULL
						      : (char *)object_of(to) + rng_below(rng, 40));
			continue;
		}
		from = pick_reachable(rng, reached);
		if (from >= 0) {
			unsigned e = (unsigned)rng_below(rng, EDGES);

			shadow[from].edge[e] = to;
			loam_store(&object_of(from)->edge[e], object_of(to));
		}
	}
}

__attribute__((noinline)) static void collect_and_check(bool exact)
{
	bool reached[NODES];
	struct loam_stats stats;
	unsigned live;

	clear_stack();
	loam_gc();
	mark_shadow(reached);
	check_reachable(reached);
	live = forget(reached);
	loam_stats_read(&stats);
	assert_true(stats.heap_objects >= live);
	if (exact) /* conservative stacks may keep a few */
		assert_true(stats.heap_objects <= live + 30);
}

static void run_graph(uint64_t seed, int rounds, int steps, bool exact)
{
	struct rng rng = {seed};

	memset(shadow, 0, sizeof(shadow));
	memset(root_slot, 0, sizeof(root_slot));
	memset(shadow_root, 0xff, sizeof(shadow_root));
	assert_int_equal(loam_root_add(root_slot, root_slot + 16), LOAM_OK);
	for (int round = 0; round < rounds; round++) {
		mutate(&rng, steps);
		clear_stack(); /* where the frames of what follows have holes, those of marking stood */
		collect_and_check(exact);
	}
	assert_int_equal(loam_root_remove(root_slot, root_slot + 16), LOAM_OK);
}

static void graph_matches_shadow(void **state)
{
	(void)state;
	run_graph(test_seed(), 60, 100, true);
}

static void graph_with_tiny_mark_stack(void **state)
{
	(void)state;
	loam_work_limit(2);
	run_graph(test_seed() + 1, 20, 100, true);
}

static void collect_at_every_allocation(void **state)
{
	static const uint64_t every[] = {1, 7, 64};

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(every); i++) {
		loam_gc_set_stress(every[i]);
		run_graph(test_seed() + 2 + i, 3, every[i] == 1 ? 60 : 200, false);
		loam_gc_set_stress(0);
	}
}

/* Cycles that take their time: at each allocation a step of one, however small, while the graph changes. */
static void collect_in_small_steps(void **state)
{
	static const uint64_t bytes[] = {64, 1000, 16384};

	(void)state;
	for (unsigned i = 0; i < 4 * COUNT_OF(bytes); i++) {
		struct loam_stats before, after;

		loam_stats_read(&before);
		loam_gc_set_steps(1 + i % 3, bytes[i % COUNT_OF(bytes)]);
		run_graph(test_seed() + 10 + i, 12, 200, true);
		loam_gc_set_steps(0, 0);
		loam_stats_read(&after);
		assert_true(after.num_gc >
			    before.num_gc + 12); /* not only those that were asked for */
	}
}

/* A list of a million nodes: no recursion, and the mark stack overflows by policy. */
static void deep_list_is_marked(void **state)
{
	static void **head;
	size_t count = 0, want = 300000;

	(void)state;
	assert_int_equal(loam_root_add(&head, &head + 1), LOAM_OK);
	for (size_t i = 0; i < want; i++) {
		void **p = loam_alloc(16);

		loam_store(&p[0], head);
		p[1] = (void *)i;
		loam_store(&head, p);
	}
	loam_work_limit(1);
	loam_gc();
	for (void **p = head; p != NULL; p = p[0])
		assert_ptr_equal(p[1], want - ++count);
	assert_int_equal(count, want);
	loam_store(&head, NULL);
	loam_root_remove(&head, &head + 1);
}

/* A wide object overflows a small mark stack many times over. */
static void wide_object_is_marked(void **state)
{
	static void **wide;

	(void)state;
	assert_int_equal(loam_root_add(&wide, &wide + 1), LOAM_OK);
	loam_store(&wide, loam_alloc(20000 * sizeof(void *)));
	for (size_t i = 0; i < 20000; i++) {
		uint64_t **leaf = loam_alloc(16); /* larger ones wait with their span */

		loam_store(&leaf[0], loam_alloc_noscan(16));
		*leaf[0] = i;
		loam_store(&wide[i], leaf);
	}
	loam_work_limit(8);
	clear_stack();
	loam_gc();
	for (size_t i = 0; i < 20000; i++)
		assert_int_equal(**(uint64_t **)wide[i], i);
	loam_store(&wide, NULL);
	loam_root_remove(&wide, &wide + 1);
}

/* What the second word of the i-th cell holds: a pointer to something that leads to i in the end, or to a cell that is free. */
static void *beside(uint64_t i)
{
	static const uint64_t first = 1;
	static const struct loam_type type = {.size = 16, .ptr_words = 1, .ptr_bits = &first};
	uint64_t *leaf = i % 6 == 4 ? loam_alloc(64) : loam_alloc_noscan(16);
	void **cell = i % 6 == 3 ? loam_alloc_type(&type, 1) : loam_alloc(16);

	*leaf = i;
	loam_store(cell, leaf);
	if (i % 6 == 0)
		return leaf;
	return i % 6 == 1 ? (char *)cell + 15 : (char *)cell;
}

static uint64_t leads_to(uint64_t i, void *p)
{
	return i % 6 == 0 ? *(uint64_t *)p : **(uint64_t **)loam_align_down((uintptr_t)p, 16);
}

/* Cells of 16 bytes lead to their like, near and far, and to all else: also inside, also to what is free. */
static void cells_of_two_words(void **state)
{
	static void **list, **cell;
	uint64_t i, kept = 0, n = 6000;
	struct loam_stats before, after;

	(void)state;
	assert_int_equal(loam_root_add(&list, &list + 1), LOAM_OK);
	for (i = 0; i < n; i++) {
		cell = loam_alloc(16);
		loam_store(&cell[0], list);
		loam_store(&list, cell);
		loam_store(&cell[1], i % 6 == 5 ? loam_alloc(16) : beside(i));
	}
	for (cell = list, i = n; i-- > 0; cell = cell[0]) {
		if (i % 6 == 5)
			loam_free(cell[1]);
	}
	loam_stats_read(&before);
	clear_stack();
	loam_gc();
	loam_stats_read(&after);
	check_identities();
	for (cell = list, i = n; i-- > 0; cell = cell[0]) {
		if (i % 6 == 5)
			assert_null(loam_object_base(cell[1]));
		else
			assert_int_equal(leads_to(i, cell[1]), i);
		kept++;
	}
	assert_int_equal(kept, n);
	/* what is free is not counted as marked; what the thread has claimed is, a little */
	assert_in_range(loam_heap.marked, after.heap_alloc, after.heap_alloc + 8192);
	/* the cell that led to a leaf of the first kind is lost; the stack may keep a few */
	assert_in_range(before.heap_objects - after.heap_objects, n / 6 - 2, n / 6);
	list = NULL;
	loam_root_remove(&list, &list + 1);
}

struct pair {
	void *pointer;
	uintptr_t number;
};

static uintptr_t hide(void *p)
{
	return ~(uintptr_t)p;
}

__attribute__((noinline)) static void fill_pair(struct pair *pair, uintptr_t *hidden)
{
	void *kept = loam_alloc_noscan(64), *lost = loam_alloc_noscan(64);

	pair->pointer = kept;
	pair->number = (uintptr_t)lost; /* looks like a pointer; the type says it is none */
	hidden[0] = hide(kept);
	hidden[1] = hide(lost);
}

static void types_are_precise(void **state)
{
	static const uint64_t bits = 1;
	static const struct loam_type pair_type = {
		.size = sizeof(struct pair), .ptr_words = 1, .ptr_bits = &bits};
	static struct pair *pairs;
	uintptr_t hidden[100][2];
	unsigned lost = 0;

	(void)state;
	assert_int_equal(loam_root_add(&pairs, &pairs + 1), LOAM_OK);
	pairs = loam_alloc_type(&pair_type, 100);
	for (unsigned i = 0; i < 100; i++)
		fill_pair(&pairs[i], hidden[i]);
	clear_stack();
	loam_gc();
	for (unsigned i = 0; i < 100; i++) {
		assert_non_null(loam_object_base((void *)~hidden[i][0]));
		lost += loam_object_base((void *)~hidden[i][1]) == NULL;
	}
	assert_true(lost >= 98); /* a stray word on the stack may keep one or two */
	pairs = NULL;
	loam_root_remove(&pairs, &pairs + 1);
}

__attribute__((noinline)) static void add_pair(struct pair **list, const struct loam_type *type,
					       uintptr_t *hidden)
{
	struct pair *pair = loam_alloc_type(type, 1);
	void *lost = loam_alloc_noscan(64);

	*hidden = hide(lost);
	pair->number = (uintptr_t)lost;
	loam_store(&pair->pointer, *list);
	loam_store(list, pair);
}

/* The same in a chain: one leads to the next, which is near. */
static void chained_types_are_precise(void **state)
{
	static const uint64_t bits = 1;
	static const struct loam_type pair_type = {
		.size = sizeof(struct pair), .ptr_words = 1, .ptr_bits = &bits};
	static struct pair *list;
	static uintptr_t hidden[100];
	unsigned lost = 0, n = 0;

	(void)state;
	assert_int_equal(loam_root_add(&list, &list + 1), LOAM_OK);
	for (unsigned i = 0; i < 100; i++)
		add_pair(&list, &pair_type, &hidden[i]);
	clear_stack();
	loam_gc();
	for (struct pair *p = list; p != NULL; p = p->pointer)
		n++;
	for (unsigned i = 0; i < 100; i++)
		lost += loam_object_base((void *)~hidden[i]) == NULL;
	assert_int_equal(n, 100);
	assert_true(lost >= 98);
	list = NULL;
	loam_root_remove(&list, &list + 1);
}

/* Enough small typed objects that their pointer bits fill several pages of their table: each
 * page's first object must find its bits backed. */
static void typed_objects_fill_their_table(void **state)
{
	static const uint64_t both = 3;
	static const struct loam_type type = {.size = 16, .ptr_words = 2, .ptr_bits = &both};
	static void **list;
	unsigned n = 0;

	(void)state;
	assert_int_equal(loam_root_add(&list, &list + 1), LOAM_OK);
	for (unsigned i = 0; i < 100000; i++) {
		void **p = loam_alloc_type(&type, 1);

		assert_non_null(p);
		*p = (void *)list;
		list = p;
	}
	loam_gc();
	for (void **p = list; p != NULL; p = *p)
		n++;
	assert_int_equal(n, 100000);
	list = NULL;
	loam_root_remove(&list, &list + 1);
}

/* Objects that only root_slot leads to, each with a pointer to one that is counted. */
__attribute__((noinline)) static void make_hidden(bool noscan, uintptr_t hidden[16])
{
	for (unsigned i = 0; i < 16; i++) {
		void **outer = noscan ? loam_alloc_noscan(64) : loam_alloc(64);

		outer[0] = loam_alloc_noscan(48);
		root_slot[i] = (struct object *)(void *)outer;
		hidden[i] = hide(outer[0]);
	}
}

static unsigned count_kept(bool noscan)
{
	uintptr_t hidden[16];
	unsigned kept = 0;

	make_hidden(noscan, hidden);
	clear_stack();
	loam_gc();
	for (unsigned i = 0; i < 16; i++)
		kept += loam_object_base((void *)~hidden[i]) != NULL;
	return kept;
}

static void noscan_objects_are_not_scanned(void **state)
{
	(void)state;
	assert_int_equal(loam_root_add(root_slot, root_slot + 16), LOAM_OK);
	memset(root_slot, 0, sizeof(root_slot));
	assert_true(count_kept(true) <= 2); /* a dead word of the stack may keep one */
	assert_int_equal(count_kept(false), 16);
	loam_root_remove(root_slot, root_slot + 16);
	memset(root_slot, 0, sizeof(root_slot));
}

/* [ROOT-1] */
static void root_ranges_are_checked(void **state)
{
	static char range[256];

	(void)state;
	assert_int_equal(loam_root_add(range, range), LOAM_INVAL);
	assert_int_equal(loam_root_add(range + 8, range), LOAM_INVAL);
	assert_int_equal(loam_root_add(range, range + 128), LOAM_OK);
	assert_int_equal(loam_root_add(range + 64, range + 200), LOAM_EXIST);
	assert_int_equal(loam_root_add(range, range + 128), LOAM_EXIST);
	assert_int_equal(loam_root_add(range + 128, range + 256), LOAM_OK);
	assert_int_equal(loam_root_remove(range, range + 127), LOAM_NOENT);
	assert_int_equal(loam_root_remove(range, range + 128), LOAM_OK);
	assert_int_equal(loam_root_remove(range + 128, range + 256), LOAM_OK);
}

static void gogc_triggers_collections(void **state)
{
	struct loam_stats s;

	(void)state;
	for (int i = 0; i < 200000; i++)
		loam_alloc(64);
	loam_stats_read(&s);
	assert_true(s.num_gc >= 2); /* 12.8 MB through a 4 MiB minimum heap */
	assert_int_equal(s.num_forced_gc, 0);
	assert_int_equal(loam_gc_set_percent(100001), LOAM_INVAL);
	assert_int_equal(loam_gc_set_limit(0), LOAM_INVAL);
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK);
	for (int i = 0; i < 200000; i++)
		loam_alloc(64);
	loam_stats_read(&s);
	assert_true(s.num_gc <= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(graph_matches_shadow),
		heap_test_software(graph_matches_shadow),
		heap_test_software(graph_with_tiny_mark_stack),
		heap_test_software(collect_at_every_allocation),
		heap_test_software(collect_in_small_steps),
		heap_test_software(deep_list_is_marked),
		heap_test_software(wide_object_is_marked),
		heap_test_software(cells_of_two_words),
		heap_test_software(chained_types_are_precise),
		heap_test(graph_with_tiny_mark_stack),
		heap_test(collect_at_every_allocation),
		heap_test(deep_list_is_marked),
		heap_test(wide_object_is_marked),
		heap_test(types_are_precise),
		heap_test(typed_objects_fill_their_table),
		heap_test(noscan_objects_are_not_scanned),
		heap_test(root_ranges_are_checked),
		heap_test(gogc_triggers_collections),
	};
	return cmocka_run_group_tests_name("gc", tests, NULL, NULL);
}
