/* SPDX-License-Identifier: MIT */
/*
 * The audit of the software barrier: [AUDIT-1] every store past it is told, by slot, old value and new; [AUDIT-2] nothing else
 * is; [AUDIT-3] is checked at LOAM_DEBUG 3. Skipped, and loudly, where the kernel cannot tell which pages are
 * written.
 */
#include "tests/host/tangle.h"

static struct loam_gc_audit figures(void)
{
	struct loam_gc_audit audit;

	loam_gc_audit_read(&audit);
	return audit;
}

static int heap_up_audit(void **state)
{
	int result;

	heap_config.audit = true;
	result = heap_up_software(state);
	heap_config.audit = false;
	return result;
}

/* ---- what the log says ---- */

struct miss {
	void *slot, *old, *now;
};

#define TOLD 4096u

static struct miss told[TOLD];
static unsigned told_count, more, untold_cycles;

static void read_log(enum loam_log_level level, const char *buf, size_t len)
{
	struct miss m;
	char line[300];
	unsigned n;

	(void)level;
	snprintf(line, sizeof(line), "%.*s", (int)len, buf);
	if (sscanf(line, "loam: barrier missed: slot %p in object %*s %p -> %p", &m.slot, &m.old,
		   &m.now) == 3)
		told[told_count++ % TOLD] = m;
	else if (sscanf(line, "loam: barrier missed: and %u more", &n) == 1)
		more += n;
	else if (strstr(line, "no memory") != NULL)
		untold_cycles++;
}

static void listen(void)
{
	told_count = more = untold_cycles = 0;
	loam_host_on_log(read_log);
}

static bool was_told(void *slot, void *old, void *now)
{
	for (unsigned i = 0; i < told_count && i < TOLD; i++) {
		if (told[i].slot == slot && told[i].old == old && told[i].now == now)
			return true;
	}
	return false;
}

/* ---- nothing is missed ---- */

static void graph_with_the_barrier(void **state)
{
	static const uint64_t bytes[] = {64, 1000, 16384};
	struct rng rng = {test_seed()};

	(void)state;
	NEED_TRACKING();
	assert_int_equal(loam_gc_set_check(true), LOAM_OK);
	tangle_up();
	for (unsigned i = 0; i < 6; i++) {
		loam_gc_set_steps(1 + i % 3, bytes[i % COUNT_OF(bytes)]);
		for (unsigned s = 0; s < 2000; s++)
			tangle_step(&rng);
		loam_gc_set_steps(0, 0);
		clear_stack();
		loam_gc();
	}
	tangle_down();
	assert_int_equal(figures().missed, 0);
	assert_int_equal(figures().skipped, 0);
	assert_true(figures().cycles > 50 && figures().checked_pages > 50 &&
		    figures().changed_words > 50);
}

/* ---- one by one ---- */

static void *root; /* registered */

static void up(void)
{
	assert_int_equal(loam_root_add(&root, &root + 1), LOAM_OK);
	listen();
}

static void down(void)
{
	loam_store(&root, NULL);
	assert_int_equal(loam_root_remove(&root, &root + 1), LOAM_OK);
	loam_host_on_log(quiet_log);
}

/* A typed vector of nodes, and things for it to point to, which are reachable anyhow. */
static struct node *vector(unsigned n, void **thing, unsigned things)
{
	struct node *v = loam_alloc_type(&node_type, n);
	void **all = loam_alloc((things + 1) * sizeof(*all));

	loam_store(&root, all);
	loam_store(&all[0], v);
	for (unsigned i = 0; i < things; i++) {
		thing[i] = loam_alloc(64);
		loam_store(&all[i + 1], thing[i]);
	}
	return v;
}

static void plain(void *slot, void *value)
{
	*(void *volatile *)slot = value;
}

static void stores_past_the_barrier_are_told(void **state)
{
	void *x[4], **untyped = NULL, *fresh;
	uint64_t pages;
	struct node *v;

	(void)state;
	NEED_TRACKING();
	up();
	v = vector(40, x, 4);
	loam_store(&v[0].edge[0], x[0]);
	loam_store(&v[0].edge[1], x[0]);
	loam_store(&v[0].edge[3], untyped = loam_alloc(20000));
	loam_store(&untyped[1000], x[1]);
	until_marking();
	plain(&v[0].edge[0], x[1]);	    /* an object for an object */
	plain(&v[0].edge[1], NULL);	    /* nothing for an object */
	plain(&v[30].edge[2], x[2]);	    /* an object for nothing */
	plain(&untyped[1000], x[3]);	    /* in an untyped object */
	plain(&untyped[2000], (void *)77);  /* numbers */
	plain(&v[31].id, x[2]);		    /* a word that is no pointer */
	plain(&v[32].edge[0], (void *)123); /* a pointer to no object */
	loam_store(&v[33].edge[0], x[2]);
	plain(&root, root); /* the same */
	fresh = loam_alloc_type(&node_type, 1);
	plain(&((struct node *)fresh)->edge[0], x[2]); /* younger than the cycle */
	finish_marking();
	assert_int_equal(figures().missed, 4);
	assert_int_equal(told_count, 4);
	assert_true(was_told(&v[0].edge[0], x[0], x[1]));
	assert_true(was_told(&v[0].edge[1], x[0], NULL));
	assert_true(was_told(&v[30].edge[2], NULL, x[2]));
	assert_true(was_told(&untyped[1000], x[1], x[3]));
	/* not while marking: nobody need know */
	plain(&v[0].edge[0], x[2]);
	loam_gc();
	pages = figures().checked_pages;
	begin_cycle();
	assert_true(loam_marking());
	finish_marking();
	assert_int_equal(figures().missed, 4);
	assert_int_equal(figures().checked_pages, pages);
	down();
}

/* The first store by the barrier looks; after that, or where it came first, nothing is seen. */
static void stores_of_both_kinds(void **state)
{
	struct node *v;
	void *x[4];

	(void)state;
	NEED_TRACKING();
	up();
	v = vector(40, x, 4);
	until_marking();
	plain(&v[1].edge[0], x[0]);
	loam_store(&v[1].edge[0], x[1]);
	plain(&v[2].edge[0], x[0]);
	loam_store_zero(&v[2], sizeof(v[2]));
	loam_store(&v[3].edge[0], x[0]);
	plain(&v[3].edge[0], x[1]);
	plain(&v[4].edge[0], x[0]);
	plain(&v[4].edge[0], NULL);
	finish_marking();
	assert_int_equal(figures().missed, 2);
	assert_true(was_told(&v[1].edge[0], NULL, x[0]));
	assert_true(was_told(&v[2].edge[0], NULL, x[0]));
	down();
}

/* [CACHE-1]: slots that are claimed when marking begins are nobody's yet. */
static void what_was_claimed_is_exempt(void **state)
{
	struct node *first, *second;
	void *x[4];

	(void)state;
	NEED_TRACKING();
	up();
	vector(4, x, 4);
	loam_gc();
	first = loam_alloc_type(&node_type, 1);
	begin_cycle();
	second = loam_alloc_type(&node_type, 1);
	assert_true(loam_marking());
	assert_ptr_equal(second, first + 1);
	plain(&second->edge[0], x[0]);
	finish_marking();
	assert_int_equal(figures().missed, 0);
	down();
}

/* All that store by the barrier, and realloc, which writes to what it moves or shortens. */
static void the_barrier_s_own_stores(void **state)
{
	void *x[4], **block, **moved;
	struct node *v;

	(void)state;
	NEED_TRACKING();
	up();
	v = vector(400, x, 4);
	for (unsigned i = 0; i < 400; i++)
		loam_store(&v[i].edge[0], x[0]);
	loam_store(&v[0].edge[3], block = loam_alloc(30000));
	loam_store(&v[0].edge[2], moved = loam_alloc(100));
	for (unsigned i = 0; i < 30000 / 8; i++)
		loam_store(&block[i], x[i % 4]);
	until_marking();
	loam_store(&v[1].edge[0], x[1]);
	assert_ptr_equal(loam_store_exchange(&v[2].edge[0], x[2]), x[0]);
	assert_true(loam_store_compare(&v[3].edge[0], x[0], x[3]));
	assert_false(loam_store_compare(&v[4].edge[0], x[1], x[3]));
	loam_store_move(&v[10], &v[1], 100 * sizeof(*v));
	loam_store_move(&v[200], &v[1], 100 * sizeof(*v));
	loam_store_zero(&v[300], 50 * sizeof(*v));
	assert_ptr_equal(loam_realloc(block, 29001), block); /* within a word */
	assert_int_equal((uintptr_t)block[29000 / 8] & ~(uintptr_t)0xff, 0);
	moved = loam_realloc(moved, 5000);
	loam_store(&v[0].edge[2], moved);
	finish_marking();
	assert_int_equal(figures().missed, 0);
	assert_true(figures().changed_words > 150);
	down();
}

/* The tail of a large block while marking: its pages stay, so it is long. */
static void large_block_is_shortened(void **state)
{
	void *x[4], **block;
	struct node *v;

	(void)state;
	NEED_TRACKING();
	up();
	v = vector(4, x, 4);
	loam_store(&v[0].edge[3], block = loam_alloc(1000000));
	for (unsigned i = 0; i < 125000; i++)
		loam_store(&block[i], x[i % 4]);
	until_marking();
	assert_ptr_equal(loam_realloc(block, 50001), block);
	for (unsigned i = 50001 / 8 + 1; i < 125000; i++)
		assert_null(block[i]);
	finish_marking();
	assert_int_equal(figures().missed, 0);
	down();
}

static void no_memory_no_audit(void **state)
{
	struct node *v;
	void *x[4];

	(void)state;
	NEED_TRACKING();
	up();
	v = vector(4, x, 4);
	loam_sys_set_limit(loam_sys_ready_bytes());
	until_marking();
	plain(&v[1].edge[0], x[0]);
	finish_marking();
	loam_sys_set_limit(UINT64_MAX);
	assert_true(figures().skipped >= 1 && figures().cycles == 0 && untold_cycles >= 1);
	assert_int_equal(figures().missed, 0);
	plain(&v[1].edge[0], NULL);
	until_marking();
	plain(&v[1].edge[0], x[0]);
	finish_marking();
	assert_int_equal(figures().missed, 1);
	assert_true(figures().cycles >= 1);
	down();
}

/* Without the software barrier there is nothing to audit. */
static void not_with_others(void **state)
{
	struct node *v;
	void *x[4];

	(void)state;
	up();
	v = vector(4, x, 4);
	plain(&v[1].edge[0], x[0]);
	loam_gc();
	assert_int_equal(figures().cycles + figures().skipped, 0);
	down();
}

static int heap_up_audit_stop(void **state)
{
	int result;

	heap_config.audit = true;
	result = heap_up_stop(state);
	heap_config.audit = false;
	return result;
}

/* ---- every k-th store goes past it ---- */

#define NODES 3000u
#define SLOTS 4096u

/* What is known of a slot that was stored to in this cycle. */
struct slot {
	void **at, *begun, *now;
	bool known;
};

static struct {
	struct node *node[NODES];
	bool born[NODES]; /* in this cycle */
	struct slot slot[SLOTS];
	unsigned slots;
	uint64_t cycle, wanted;
	struct miss want[SLOTS];
	unsigned wants; /* of this cycle */
	unsigned checked;
} model;

static struct node
	*held[NODES]; /* registered: what is done past the barrier shall not cost an object */

static void want(const struct slot *s)
{
	if (s->now == s->begun)
		return;
	model.want[model.wants++] = (struct miss){s->at, s->begun, s->now};
	model.wanted++;
}

/* A cycle's marking has ended since: what should it have told? */
static void close_cycle(void)
{
	for (unsigned i = 0; i < model.slots; i++) {
		if (!model.slot[i].known)
			want(&model.slot[i]);
	}
	assert_int_equal(figures().missed, model.wanted);
	if (model.wants <= 16) {
		assert_int_equal(told_count, model.wants);
		for (unsigned i = 0; i < model.wants; i++)
			assert_true(
				was_told(model.want[i].slot, model.want[i].old, model.want[i].now));
		model.checked += model.wants > 0;
	} else {
		assert_int_equal(told_count + more, model.wants);
	}
	told_count = more = 0;
	model.slots = model.wants = 0;
	memset(model.born, 0, sizeof(model.born));
}

static void watch(void)
{
	if (loam_heap.cycles != model.cycle)
		close_cycle();
	model.cycle = loam_heap.cycles;
}

static struct slot *slot_of(void **at)
{
	for (unsigned i = 0; i < model.slots; i++) {
		if (model.slot[i].at == at)
			return &model.slot[i];
	}
	assert_true(model.slots < SLOTS);
	model.slot[model.slots] = (struct slot){.at = at, .begun = *at, .now = *at};
	return &model.slot[model.slots++];
}

static void put(unsigned i, unsigned e, void *value, bool past)
{
	void **at = (void **)(void *)&model.node[i]->edge[e];

	if (loam_marking() && !model.born[i]) {
		struct slot *s = slot_of(at);

		if (!past && !s->known) {
			want(s);
			s->known = true;
		}
		s->now = value;
	}
	if (past && loam_marking())
		plain(at, value);
	else
		loam_store(at, value);
}

static void every_kth_store_past_the_barrier(void **state)
{
	static const unsigned every[] = {3, 17, 101};
	struct rng rng = {test_seed() + 7};
	unsigned n = 0, stores = 0;

	(void)state;
	NEED_TRACKING();
	memset(&model, 0, sizeof(model));
	memset(held, 0, sizeof(held));
	assert_int_equal(loam_root_add(held, held + NODES), LOAM_OK);
	listen();
	loam_gc();
	for (unsigned k = 0; k < COUNT_OF(every); k++) {
		loam_gc_set_steps(1 + k, 2000);
		for (unsigned s = 0; s < 6000; s++) {
			watch();
			if (n < NODES && s % 6 == 0) {
				model.node[n] = node_make(&rng);
				watch();
				model.born[n] = loam_marking();
				loam_store(&held[n], model.node[n]);
				n++;
			}
			put((unsigned)rng_below(&rng, n), (unsigned)rng_below(&rng, TANGLE_EDGES),
			    rng_below(&rng, 4) == 0 ? NULL : model.node[rng_below(&rng, n)],
			    ++stores % every[k] == 0);
			if (s % 3 == 0)
				loam_alloc_noscan(16);
		}
		loam_gc_set_steps(0, 0);
		finish_marking();
		watch();
	}
	loam_host_on_log(quiet_log);
	print_message("# %llu stores past the barrier, all told; %u cycles one by one\n",
		      (unsigned long long)model.wanted, model.checked);
	assert_true(model.wanted > 100 && model.checked > 3);
	loam_store_zero(held, sizeof(held));
	assert_int_equal(loam_root_remove(held, held + NODES), LOAM_OK);
}

#define audit_test(f) cmocka_unit_test_setup_teardown(f, heap_up_audit, heap_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		audit_test(graph_with_the_barrier),
		audit_test(stores_past_the_barrier_are_told),
		audit_test(stores_of_both_kinds),
		audit_test(what_was_claimed_is_exempt),
		audit_test(the_barrier_s_own_stores),
		audit_test(large_block_is_shortened),
		audit_test(no_memory_no_audit),
		cmocka_unit_test_setup_teardown(not_with_others, heap_up_audit_stop, heap_down),
		audit_test(every_kth_store_past_the_barrier),
	};

	return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
