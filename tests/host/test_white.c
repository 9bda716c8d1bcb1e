/* SPDX-License-Identifier: MIT */
/*
 * What is new while a cycle marks with the MMU's notes: white, so that what is dropped at once is neither kept nor scanned; and
 * black, when rounds or a last stop show that it cannot be done otherwise. [CLEAN-2].
 */
#include "gc/mark.h"
#include "gc/pace.h"
#include "tests/host/heap_setup.h"

#define MANY 1024u

static uintptr_t hidden[MANY]; /* inverted */
static void **root[2];	       /* registered */
static void (*at_round)(void); /* is called after each round of a cycle, and not amid one */
static unsigned rounds, again;

static void on_stall(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		     const struct loam_cycle *c)
{
	(void)from_ns;
	(void)to_ns;
	(void)c;
	again += why == LOAM_STALL_AGAIN;
	if (why == LOAM_STALL_ROUND && loam_marking() && !loam_clean_running()) {
		rounds++;
		if (at_round != NULL)
			at_round();
	}
}

static void begin(void)
{
	assert_int_equal(loam_root_add(root, root + 2), LOAM_OK);
	clear_stack();
	begin_cycle();
	assert_true(loam_marking());
	loam_heap.busy = false; /* allocations do not help */
	rounds = again = 0;
	loam_gc_on_stall = on_stall;
}

/* Returns how many bytes the cycle scanned. */
static uint64_t finish(void)
{
	struct loam_gc_cycle c;

	clear_stack();
	while (loam_gc_work(1))
		;
	loam_gc_on_stall = NULL;
	at_round = NULL;
	assert_false(loam_marking());
	assert_int_equal(loam_root_remove(root, root + 2), LOAM_OK);
	assert_int_equal(loam_gc_cycles_read(&c, 1), 1);
	return c.scanned_bytes;
}

static unsigned count_there(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MANY; i++)
		n += loam_object_base((void *)~hidden[i]) != NULL;
	return n;
}

/* More than a MiB, which nothing holds. */
__attribute__((noinline)) static void make_garbage(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		void **p = loam_alloc(i % 64 == 0 ? 40000 : 1024);

		p[0] = p;
		hidden[i] = ~(uintptr_t)p;
	}
}

static void what_is_dropped_at_once_costs_nothing(void **state)
{
	(void)state;
	NEED_TRACKING();
	begin();
	make_garbage();
	/* the roots, the stack, and the few that a dead word of it may keep */
	assert_in_range(finish(), 0, 64 << 10);
	assert_in_range(count_there(), 0, 4);
}

/* A list that is only ever held by a root, or by what was there before. */
__attribute__((noinline)) static void make_list(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		void **p = loam_alloc(i % 64 == 0 ? 40000 : 48);

		assert_non_null(p);
		p[0] = i % 2 == 0 ? (void *)root[0] : root[1][1];
		if (i % 2 == 0)
			root[0] = p;
		else
			root[1][1] = p;
		hidden[i] = ~(uintptr_t)p;
	}
}

static void what_is_held_is_kept(void **state)
{
	(void)state;
	NEED_TRACKING();
	root[1] = loam_alloc(64);
	begin();
	make_list();
	finish();
	assert_int_equal(count_there(), MANY);
	root[0] = root[1] = NULL;
}

/* What a thread has claimed and not handed out is its own when the cycle is over. */
static void claims_are_kept(void **state)
{
	uintptr_t last = 0;

	(void)state;
	NEED_TRACKING();
	begin();
	hidden[0] = ~(uintptr_t)loam_alloc(48);
	finish();
	for (unsigned i = 0; i < MANY; i++) {
		void *p = loam_alloc(48);

		assert_ptr_equal(loam_object_base(p), p);
		assert_int_not_equal((uintptr_t)p, last);
		last = (uintptr_t)p;
	}
	loam_heap_verify();
}

/* The block that tiny objects are cut from, when all of them are gone. */
__attribute__((noinline)) static void make_tiny(void)
{
	assert_non_null(loam_alloc_tiny(1));
}

static void tiny_objects_are_cut_from_what_is_there(void **state)
{
	(void)state;
	NEED_TRACKING();
	begin();
	make_tiny();
	finish();
	assert_non_null(loam_object_base(loam_alloc_tiny(1)));
}

#define WRITTEN 2000u

static uint8_t *written; /* so many pages, or 128, all marked */

static unsigned hurry[MANY]; /* after each round */
static bool hurries[MANY];

static void write_many(void)
{
	struct loam_cache *cache = loam_cache_self();

	cache->credit = 1 << 20;
	cache->rest_until_ns = 0;
	hurry[rounds] = loam_clean_hurry();
	hurries[rounds] = loam_pace_owed(cache, 1) > 0;
	for (unsigned i = 0; i < 128; i++)
		((void *volatile *)(written + i * 4096))[0] = NULL;
	hidden[rounds] = ~(uintptr_t)loam_alloc(2000);
	assert_true(rounds < MANY);
}

/* Round after round much is written: what is made in the first is gone with the cycle, what is made later stays, and who makes it helps. */
static void many_rounds_blacken(void **state)
{
	(void)state;
	NEED_TRACKING();
	written = loam_alloc(128 * 4096);
	root[0] = (void **)written;
	memset(hidden, 0xff, sizeof(hidden));
	begin();
	at_round = write_many;
	finish();
	assert_true(rounds > 20);
	for (unsigned i = 1; i <= rounds; i++) {
		bool there = loam_object_base((void *)~hidden[i]) != NULL;

		assert_int_equal(hurry[i], i < 8 ? 0 : i > 10 ? LOAM_PACE_HURRY_MOST : i - 7);
		assert_int_equal(hurries[i], i > 9);

		if (i < 16)
			assert_false(there);
		else if (i > 16)
			assert_true(there);
	}
	root[0] = NULL;
}

static void write_fewer(void)
{
	static unsigned pages;

	hurry[rounds] = loam_clean_hurry();
	pages = rounds < 7 ? WRITTEN : pages * 74 / 100;
	for (unsigned i = 0; i < pages; i++)
		((void *volatile *)(written + i * 4096))[0] = NULL;
}

/* Rounds that tell of less and less will come to an end, unless there are very many of them. */
static void fewer_pages_hurry_nobody(void **state)
{
	(void)state;
	NEED_TRACKING();
	written = loam_alloc(WRITTEN * 4096);
	root[0] = (void **)written;
	begin();
	at_round = write_fewer;
	finish();
	assert_in_range(rounds, 19, 23);
	for (unsigned i = 1; i <= rounds; i++)
		assert_int_equal(hurry[i], i < 16 ? 0 : i > 18 ? LOAM_PACE_HURRY_MOST : i - 15);
	root[0] = NULL;
}

static volatile uintptr_t held; /* inverted: what the frame of hold() holds */

/* A list of 1 MiB, which only the caller's stack holds. */
__attribute__((noinline)) static void **make_long(void)
{
	void **first = NULL;

	for (unsigned i = 0; i < MANY; i++) {
		void **p = loam_alloc(1024);

		p[0] = (void *)first;
		first = p;
		hidden[i] = ~(uintptr_t)p;
	}
	return first;
}

static void make_dead(void)
{
	if (again > 0 && held == 0)
		held = ~(uintptr_t)loam_alloc(3000);
}

/* What the stack alone leads to is too much for the last stop: it is given up, marked while the program runs, and all is there. */
static void long_stops_blacken(void **state)
{
	void **volatile first;

	(void)state;
	NEED_TRACKING();
	held = 0;
	begin();
	at_round = make_dead;
	first = make_long();
	finish();
	assert_int_equal(count_there(), MANY);
	assert_ptr_equal(first, (void *)~hidden[MANY - 1]);
	assert_true(again > 0);
	assert_int_not_equal(held, 0);
	assert_non_null(loam_object_base((void *)~held));
}

static size_t first_asked, most_asked; /* bytes that a round asked about at once */

typedef void visit_fn(void *arg, uintptr_t base, size_t size);

enum loam_err __real_loam_sys_dirty_round(uintptr_t base, size_t size, bool split, visit_fn *visit,
					  void *arg);
enum loam_err __wrap_loam_sys_dirty_round(uintptr_t base, size_t size, bool split, visit_fn *visit,
					  void *arg);
enum loam_err __wrap_loam_sys_dirty_round(uintptr_t base, size_t size, bool split, visit_fn *visit,
					  void *arg)
{
	first_asked = first_asked == 0 ? size : first_asked;
	most_asked = size > most_asked ? size : most_asked;
	return __real_loam_sys_dirty_round(base, size, split, visit, arg);
}

#define ASKED 4u

static struct {
	size_t first, most;
} asked[ASKED + 1]; /* by the first rounds */

static void note_asked(void)
{
	static const unsigned pages[ASKED] = {0, 40, 600, 40};

	if (rounds > ASKED)
		return;
	asked[rounds].first = first_asked;
	asked[rounds].most = most_asked;
	first_asked = most_asked = 0;
	for (unsigned i = 0; rounds < ASKED && i < pages[rounds]; i++)
		((void *volatile *)(written + i * 4096))[0] = NULL;
}

/* A small piece at a time while much is written, so that nobody is kept for long; all at once when little is, so that nobody writes
 * between the round and the last stop. */
static void calm_rounds_go_over_all_at_once(void **state)
{
	void *volatile held_here;

	(void)state;
	NEED_TRACKING();
	held_here = written = loam_alloc((size_t)32 << 20);
	loam_gc(); /* it may have begun a cycle */
	begin();
	root[0] = held_here;
	for (size_t i = 0; i < (size_t)4 << 20; i += 4096)
		((void *volatile *)(written + i))[0] = NULL;
	first_asked = most_asked = 0;
	at_round = note_asked;
	finish();
	assert_true(rounds >= ASKED);
	assert_in_range(asked[1].most, 1, 8 << 20);
	assert_in_range(asked[2].first, 1, 8 << 20);
	assert_in_range(asked[2].most, (8 << 20) + 1, SIZE_MAX);
	assert_in_range(asked[3].first, (16 << 20) + 1, SIZE_MAX);
	assert_in_range(asked[4].first, 1, 8 << 20);
	root[0] = NULL;
}

#define FINAL 16u

static uintptr_t final[FINAL]; /* inverted */

static void on_final(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
}

__attribute__((noinline)) static void make_final(void)
{
	for (unsigned i = 0; i < FINAL; i++) {
		void *p = loam_alloc(8192);

		assert_int_equal(loam_finalizer_set(p, on_final, NULL), LOAM_OK);
		final[i] = ~(uintptr_t)p;
	}
}

static void write_final(void)
{
	for (unsigned i = 0; rounds == 1 && i < FINAL; i++) {
		void *p = loam_alloc_noscan(64);

		((void **)~final[i])[0] = p;
		hidden[i] = ~(uintptr_t)p;
	}
}

/* Objects that nothing holds, so they are not marked; their finalizers will want what was written to them in the end. */
static void what_finalizers_will_see_is_kept(void **state)
{
	(void)state;
	NEED_TRACKING();
	make_final();
	begin();
	at_round = write_final;
	finish();
	assert_int_equal(loam_finalizers_run(FINAL), 0); /* loam_gc_work has run them */
	for (unsigned i = 0; i < FINAL; i++)
		assert_non_null(loam_object_base((void *)~hidden[i]));
}

__attribute__((noinline)) static void *make_large(void)
{
	return loam_alloc(40000);
}

/* By a stack that has been scanned, and is not again. */
static void large_objects_are_black_for_a_barrier(void **state)
{
	void *volatile held_here;

	(void)state;
	begin();
	held_here = make_large();
	finish();
	assert_ptr_equal(loam_object_base(held_here), held_here);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(what_is_dropped_at_once_costs_nothing),
		heap_test(what_is_held_is_kept),
		heap_test(claims_are_kept),
		heap_test(tiny_objects_are_cut_from_what_is_there),
		heap_test(many_rounds_blacken),
		heap_test(fewer_pages_hurry_nobody),
		heap_test(long_stops_blacken),
		heap_test(calm_rounds_go_over_all_at_once),
		heap_test(what_finalizers_will_see_is_kept),
		heap_test_software(large_objects_are_black_for_a_barrier),
	};
	return cmocka_run_group_tests_name("white", tests, NULL, NULL);
}
