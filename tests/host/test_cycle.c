/* SPDX-License-Identifier: MIT */
/*
 * What the program may do amid a cycle, one thing at a time: a cycle is begun, something is done, and the cycle is
 * carried to its end by donated time. [CYCLE-1], [CYCLE-2], [BARRIER-1], [SWEEP-2], [SWEEP-4], [CLEAN-1], [WORK-3].
 */
#include "gc/mark.h"
#include "tests/host/thread_setup.h"

#define MANY 40u /* of which a dead word of the stack may keep FEW */
#define FEW  3u

static void *root[2 * MANY]; /* registered */
static uintptr_t hidden[MANY];

static uintptr_t hide(void *p)
{
	return ~(uintptr_t)p;
}

static bool there(uintptr_t inverted)
{
	return loam_object_base((void *)~inverted) != NULL;
}

static unsigned count_there(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MANY; i++)
		count += there(hidden[i]);
	return count;
}

static void begin(void)
{
	clear_stack();
	begin_cycle();
	assert_true(loam_marking() || loam_heap.barrier == LOAM_BARRIER_STOP);
	loam_heap.busy = false; /* allocations do not help: it goes on when the test says so */
}

/* The running cycle ends, and all is swept. */
static void finish(void)
{
	clear_stack();
	while (loam_gc_work(1000000))
		;
	assert_false(loam_marking());
	assert_false(loam_sweep_pending());
}

__attribute__((noinline)) static uintptr_t put(unsigned i, size_t size)
{
	void *p = loam_alloc(size);

	assert_non_null(p);
	loam_store(&root[i], p);
	return hide(p);
}

/* MANY objects of all kinds, held by the first roots. */
__attribute__((noinline)) static void put_many(void)
{
	static const size_t sizes[] = {48, 16, 1000, 40000};

	for (unsigned i = 0; i < MANY; i++)
		hidden[i] = put(i, sizes[i % COUNT_OF(sizes)]);
}

__attribute__((noinline)) static void drop_many(void)
{
	for (unsigned i = 0; i < MANY; i++)
		loam_store(&root[i], NULL);
}

static void up(void)
{
	memset(root, 0, sizeof(root));
	assert_int_equal(loam_root_add(root, root + COUNT_OF(root)), LOAM_OK);
}

static void down(void)
{
	memset(root, 0, sizeof(root));
	assert_int_equal(loam_root_remove(root, root + COUNT_OF(root)), LOAM_OK);
	loam_gc();
}

/* The last pointer goes while marking, so the object lives on to the next cycle, and no longer. */
static void what_is_dropped_amid_a_cycle_is_kept_by_it(void **state)
{
	(void)state;
	up();
	put_many();
	begin();
	drop_many();
	finish();
	if (loam_heap.barrier == LOAM_BARRIER_SOFTWARE)
		assert_int_equal(count_there(), MANY);
	begin();
	finish();
	assert_true(count_there() <= FEW);
	down();
}

/* Into a new object, which is black; a pointer that only moves, by way of nothing that is looked at. */
__attribute__((noinline)) static void move_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		void **holder = (void **)~put(MANY + i, 64);

		loam_store(holder, (void *)~hidden[i]);
	}
	drop_many();
}

static void what_moves_amid_a_cycle_is_kept(void **state)
{
	(void)state;
	up();
	put_many();
	begin();
	move_many();
	finish();
	assert_int_equal(count_there(), MANY);
	begin();
	finish();
	assert_int_equal(count_there(), MANY);
	for (unsigned i = 0; i < MANY; i++)
		loam_store(root[MANY + i], NULL);
	begin();
	finish();
	assert_true(count_there() <= FEW);
	down();
}

/* Where a barrier tells what is stored: test_white. */
static void new_objects_outlive_the_cycle(void **state)
{
	(void)state;
	up();
	begin();
	put_many();
	drop_many();
	finish();
	if (loam_heap.barrier == LOAM_BARRIER_SOFTWARE)
		assert_int_equal(count_there(), MANY);
	begin();
	finish();
	assert_true(count_there() <= FEW);
	down();
}

/* Freed at once for whoever asks, and in truth by the sweep. */
static void frees_amid_a_cycle_wait(void **state)
{
	struct loam_stats before, after;

	(void)state;
	up();
	put_many();
	begin();
	loam_stats_read(&before);
	for (unsigned i = 0; i < MANY; i++) {
		void *p = (void *)~hidden[i];

		loam_store(&root[i], NULL);
		assert_int_equal(loam_free(p), LOAM_OK);
		assert_int_not_equal(loam_free(p), LOAM_OK);
		assert_int_equal(loam_object_size(p), 0);
	}
	loam_stats_read(&after);
	assert_int_equal(after.frees - before.frees, MANY);
	finish();
	loam_stats_read(&after);
	assert_int_equal(count_there(), 0);
	assert_true(after.frees - before.frees >= MANY);
	assert_true(after.heap_objects <= before.heap_objects - MANY);
	loam_heap_verify();
	down();
}

/* What an object holds is kept if the object is freed before it was scanned. */
static void what_a_freed_object_held_is_kept(void **state)
{
	uintptr_t outer, inner;

	(void)state;
	up();
	outer = put(0, 64);
	inner = put(1, 64);
	loam_store((void *)~outer, (void *)~inner);
	loam_store(&root[1], NULL);
	begin();
	loam_store(&root[2], *(void **)~outer);
	loam_store(&root[0], NULL);
	assert_int_equal(loam_free((void *)~outer), LOAM_OK);
	finish();
	assert_true(there(inner) && !there(outer));
	down();
}

/* The one pointer to what is hidden moves into a new object, which is black and not scanned. */
__attribute__((noinline)) static void into_new(unsigned i, void *p)
{
	void **holder = loam_alloc(64);

	loam_store(holder, p);
	loam_store(&root[i], holder);
}

static void roots_come_and_go_amid_a_cycle(void **state)
{
	static void *other[64];
	uintptr_t kept, added;

	(void)state;
	up();
	kept = put(0, 64);
	other[17] = root[0];
	loam_store(&root[0], NULL);
	assert_int_equal(loam_root_add(other, other + 64), LOAM_OK);
	added = put(0, 64);
	begin();
	assert_int_equal(loam_root_remove(other, other + 64), LOAM_OK);
	into_new(3, other[17]);
	other[17] = NULL;
	other[18] = root[0];
	loam_store(&root[0], NULL);
	assert_int_equal(loam_root_add(other, other + 64), LOAM_OK);
	finish();
	assert_true(there(kept) && there(added));
	assert_int_equal(loam_root_remove(other, other + 64), LOAM_OK);
	other[18] = NULL;
	down();
}

static void pins_come_and_go_amid_a_cycle(void **state)
{
	(void)state;
	up();
	put_many();
	for (unsigned i = 0; i < MANY; i += 2)
		assert_int_equal(loam_pin((void *)~hidden[i]), LOAM_OK);
	for (unsigned i = 0; i < MANY; i += 2)
		loam_store(&root[i], NULL);
	begin();
	for (unsigned i = 1; i < MANY; i += 2) {
		assert_int_equal(loam_pin((void *)~hidden[i]), LOAM_OK);
		loam_store(&root[i], NULL);
	}
	for (unsigned i = 0; i < MANY; i += 2) {
		assert_int_equal(loam_unpin((void *)~hidden[i]), LOAM_OK);
		into_new(i, (void *)~hidden[i]);
	}
	finish();
	assert_int_equal(count_there(), MANY);
	for (unsigned i = 1; i < MANY; i += 2)
		assert_int_equal(loam_unpin((void *)~hidden[i]), LOAM_OK);
	down();
}

/* Blocks shrink in place, and what their tails held is held by new objects alone. */
static void tails_are_cut_off_amid_a_cycle(void **state)
{
	(void)state;
	up();
	put_many();
	for (unsigned i = 0; i < MANY; i++) {
		void **block = loam_alloc(512);

		loam_store(&block[63], root[i]);
		loam_store(&root[i], block);
	}
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		void **block = root[i];

		into_new(MANY + i, block[63]);
		assert_ptr_equal(loam_realloc(block, 490), block);
		assert_null(block[63]);
	}
	finish();
	assert_int_equal(count_there(), MANY);
	down();
}

/* Chains of two: the first hangs at a root. */
__attribute__((noinline)) static void put_chains(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		hidden[i] = put(MANY + i, 64);
		put(i, 64);
		loam_store(root[i], root[MANY + i]);
		loam_store(&root[MANY + i], NULL);
	}
}

/* Roots have been scanned, objects not; then what the second of a chain hangs at becomes a root. */
static void roots_are_written_after_they_were_scanned(void **state)
{
	(void)state;
	up();
	put_chains();
	begin();
	loam_gc_set_steps(1, 1);
	if (loam_marking())
		loam_alloc(16); /* one step: a piece of the roots */
	loam_gc_set_steps(0, 0);
	for (unsigned i = 0; i < MANY; i++) {
		loam_store(&root[MANY + i], *(void **)root[i]);
		loam_store(root[i], NULL);
	}
	finish();
	assert_int_equal(count_there(), MANY);
	down();
}

/* The same, but they are in variables alone. */
static void variables_hold_what_was_not_scanned(void **state)
{
	void *volatile held[MANY];

	(void)state;
	up();
	put_chains();
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		held[i] = *(void **)root[i];
		loam_store(root[i], NULL);
	}
	finish();
	assert_int_equal(count_there(), MANY);
	assert_ptr_equal(held[0], (void *)~hidden[0]);
	down();
}

/* Before the next stop of the world, or the next page that is scanned again: what another thread could do there. */
static void (*before_stop)(void), (*before_page)(void);

void __real_loam_host_world_stop(void);
void __wrap_loam_host_world_stop(void);
void __real_loam_mark_page(struct loam_worker *w, uintptr_t page);
void __wrap_loam_mark_page(struct loam_worker *w, uintptr_t page);

static void run_hook(void (**hook)(void))
{
	void (*now)(void) = *hook;

	*hook = NULL;
	if (now != NULL)
		now();
}

void __wrap_loam_host_world_stop(void)
{
	run_hook(&before_stop);
	__real_loam_host_world_stop();
}

void __wrap_loam_mark_page(struct loam_worker *w, uintptr_t page)
{
	run_hook(&before_page);
	__real_loam_mark_page(w, page);
}

/* From the holders at the first roots to those at the others, on other pages. */
__attribute__((noinline)) static void move_again(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		void **from = root[i], **to = root[MANY + i];

		to[0] = from[0];
		from[0] = NULL;
	}
}

/* A page that was written is about to be scanned again, and what it would lead to moves to one that was scanned already. */
static void the_program_runs_to_the_last_stop(void **state)
{
	(void)state;
	up();
	put_chains();
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		void **first = root[i], *second = first[0];

		loam_store(first, NULL);
		put(MANY + i, 160);
		into_new(i, second);
	}
	if (loam_heap.barrier == LOAM_BARRIER_MMU)
		before_page = move_again;
	finish();
	assert_null(before_page);
	assert_int_equal(count_there(), MANY);
	down();
}

static uintptr_t list_head;

/* Not what a program may do, but what looks to the collector like one that wrote just now. */
__attribute__((noinline)) static void show_list(void)
{
	root[0] = (void *)~list_head;
}

/* The last stop finds more than it may scan there: marking goes on. */
static void the_last_stop_may_not_be(void **state)
{
	unsigned length = 0;

	(void)state;
	up();
	for (unsigned i = 0; i < 20000; i++) {
		void **p = loam_alloc(64);

		loam_store(p, root[0]);
		loam_store(&root[0], p);
	}
	list_head = hide(root[0]);
	begin();
	root[0] = NULL;
	if (loam_heap.barrier == LOAM_BARRIER_MMU)
		before_stop = show_list;
	else
		show_list();
	finish();
	for (void **p = root[0]; p != NULL; p = *p)
		length += loam_object_base(p) == p;
	assert_int_equal(length, 20000);
	down();
}

static void exchanges_delete_too(void **state)
{
	(void)state;
	up();
	put_many();
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		void *p = (void *)~hidden[i];

		if (i % 2 == 0)
			assert_ptr_equal(loam_store_exchange(&root[i], NULL), p);
		else
			assert_true(loam_store_compare(&root[i], p, NULL));
	}
	for (unsigned i = 0; i < MANY; i++)
		into_new(i, (void *)~hidden[i]);
	finish();
	if (loam_heap.barrier ==
	    LOAM_BARRIER_SOFTWARE) /* for a while they were nowhere but in the notes */
		assert_int_equal(count_there(), MANY);
	down();
}

/* A thread comes, deletes, hands on and goes, all in one cycle. */
static void *come_and_go(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	for (unsigned i = 0; i < MANY; i++) {
		void *p = root[i];

		loam_store(&root[i], NULL);
		into_new(MANY + i, p);
	}
	assert_int_equal(loam_thread_detach(thread), LOAM_OK);
	free(thread);
	return NULL;
}

/* From begin to end. */
static void in_a_thread(void *(*run)(void *arg))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	pthread_join(thread, NULL);
}

static void a_thread_comes_and_goes_amid_a_cycle(void **state)
{
	(void)state;
	up();
	put_many();
	begin();
	in_a_thread(come_and_go);
	finish();
	assert_int_equal(count_there(), MANY);
	down();
}

/* Blocks that change their size while somebody may be scanning them. */
static void realloc_amid_a_cycle(void **state)
{
	static const size_t sizes[] = {40, 500, 5000, 200000, 3000000, 100000, 60, 2000000, 16};
	uintptr_t leaf;
	void **p;

	(void)state;
	up();
	leaf = put(0, 48);
	p = loam_alloc(32);
	loam_store(&root[1], p);
	loam_store(&p[1], root[0]);
	loam_store(&root[0], NULL);
	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		if (!loam_marking())
			begin();
		p = loam_realloc(p, sizes[i]);
		assert_non_null(p);
		loam_store(&root[1], p);
		assert_ptr_equal(p[1], (void *)~leaf);
		if (sizes[i] >= 500) {
			assert_null(p[4]);
			p[sizes[i] / 8 - 1] =
				(void *)1; /* no pointer; is gone when the block shrinks */
		}
		if (i % 3 == 2)
			finish();
		assert_true(there(leaf));
	}
	finish();
	assert_true(there(leaf));
	p = NULL;
	down();
}

static void off_heap_memory_amid_a_cycle(void **state)
{
	void *p, *q;

	(void)state;
	assert_int_equal(loam_offheap_alloc(50000, &p), LOAM_OK);
	begin();
	assert_int_equal(loam_offheap_alloc(50000, &q), LOAM_OK);
	assert_int_equal(loam_offheap_free(p), LOAM_OK);
	assert_int_equal(loam_offheap_free(p), LOAM_INVAL);
	memset(q, 1, 50000);
	finish();
	assert_int_equal(loam_offheap_free(q), LOAM_OK);
}

static void stores_of_all_kinds(void **state)
{
	void *a = loam_alloc(32), *b = loam_alloc(32), *many[4] = {a, b, a, b};

	(void)state;
	up();
	for (unsigned pass = 0; pass < 2; pass++) {
		loam_store(&root[0], a);
		assert_ptr_equal(loam_store_exchange(&root[0], b), a);
		assert_false(loam_store_compare(&root[0], a, NULL));
		assert_true(loam_store_compare(&root[0], b, a));
		assert_ptr_equal(root[0], a);
		loam_store_move(&root[2], many, sizeof(many));
		assert_memory_equal(&root[2], many, sizeof(many));
		loam_store_move(&root[3], &root[2], 2 * sizeof(void *));
		assert_ptr_equal(root[4], b);
		loam_store_zero(&root[2], sizeof(many));
		assert_null(root[5]);
		begin();
	}
	finish();
	down();
}

static bool alone(void)
{
	static const uint32_t never;
	struct loam_cache *cache = loam_cache_self();
	struct loam_worker *w;
	bool is;

	loam_cache_enter(cache);
	w = loam_worker_take(1, &never, false);
	is = w->solo;
	loam_worker_give(w);
	loam_cache_leave(cache);
	return is;
}

/* [WORK-3] */
static void one_thread_marks_alone(void **state)
{
	pthread_t thread;
	bool over = true;

	(void)state;
	assert_true(alone());
	assert_int_equal(pthread_create(&thread, NULL, be_attached, &over), 0);
	while (__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		;
	assert_false(alone());
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_true(alone());
}

static uint64_t last_pages, most_pages;
static unsigned again;

static void on_stall(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		     const struct loam_cycle *c)
{
	(void)from_ns;
	(void)to_ns;
	if (why == LOAM_STALL_END)
		last_pages = c->last_pages;
	again += why == LOAM_STALL_AGAIN;
	if ((why == LOAM_STALL_AGAIN || why == LOAM_STALL_END) && c->last_pages > most_pages)
		most_pages = c->last_pages;
}

/* A heap that is asked about in pieces: what was written anywhere before the round is told by it, and not in the stop. */
static void rounds_go_everywhere(void **state)
{
	const size_t size = (size_t)1 << 20;

	(void)state;
	up();
	for (unsigned i = 0; i < MANY; i++)
		put(i, size);
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		uintptr_t *words = root[i];

		words[0] = words[size / 2 / sizeof(*words)] = i;
	}
	most_pages = 0;
	loam_gc_on_stall = on_stall;
	finish();
	loam_gc_on_stall = NULL;
	assert_true(most_pages <= MANY / 4);
	down();
}

static void write_many(void)
{
	for (unsigned i = 0; i < MANY; i++)
		((void **)root[i])[0] = NULL;
}

/* Few pages are scanned in the stop; when it finds many, another round goes first. */
static void the_last_stop_is_for_few_pages(void **state)
{
	(void)state;
	NEED_TRACKING();
	up();
	for (unsigned i = 0; i < MANY; i++)
		put(i, 8192);
	begin();
	again = 0;
	before_stop = write_many;
	loam_gc_on_stall = on_stall;
	finish();
	loam_gc_on_stall = NULL;
	assert_int_equal(again, 1);
	assert_true(last_pages <= 16);
	down();
}

/* A cycle that is asked for frees what was unreachable then, though another was under way. */
static void asked_for_amid_a_cycle(void **state)
{
	(void)state;
	up();
	put_many();
	begin();
	drop_many();
	clear_stack();
	loam_gc();
	assert_true(count_there() <= FEW);
	down();
}

/* ---- what is owed a sweep is swept before anything is done with it ---- */

__attribute__((noinline)) static void put_in_a_row(void)
{
	up();
	for (unsigned i = 0; i < MANY; i++)
		hidden[i] = put(i, 1000);
}

/* Is this the first of them in its span? */
static bool leads(unsigned i)
{
	return i == 0 || loam_span_of(~hidden[i]) != loam_span_of(~hidden[i - 1]);
}

/* All but the first of each span are dropped; marking goes to its end, and nothing is swept. */
static void mark_the_leaders(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		if (!leads(i))
			loam_store(&root[i], NULL);
	}
	begin();
	while (loam_marking())
		(void)loam_gc_work(1);
	assert_true(loam_sweep_pending());
	assert_true(count_there() > MANY / 2);
}

static void free_leaders(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		if (leads(i))
			assert_int_equal(loam_free((void *)~hidden[i]), LOAM_OK);
	}
}

/* Their spans were, and so the others are gone; but not the whole heap. */
static void only_leaders_were_swept(void)
{
	assert_true(loam_sweep_pending());
	assert_true(count_there() <= FEW);
	down();
}

static void a_free_sweeps_first(void **state)
{
	(void)state;
	put_in_a_row();
	mark_the_leaders();
	free_leaders();
	only_leaders_were_swept();
}

static void *come_and_free(void *arg)
{
	static struct loam_thread thread;

	attach(&thread);
	free_leaders();
	assert_int_equal(loam_thread_detach(&thread), LOAM_OK);
	return arg;
}

/* Another thread freed them before the cycle, and the owner hears of it after. */
static void a_look_at_what_others_freed_sweeps_first(void **state)
{
	(void)state;
	put_in_a_row();
	in_a_thread(come_and_free);
	mark_the_leaders();
	loam_cache_enter(loam_cache_self());
	loam_remote_collect(loam_cache_self());
	loam_cache_leave(loam_cache_self());
	only_leaders_were_swept();
}

#define IN_ALL(f) heap_test(f), heap_test_software(f), heap_test_stop(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL(what_is_dropped_amid_a_cycle_is_kept_by_it),
		IN_ALL(what_moves_amid_a_cycle_is_kept),
		IN_ALL(new_objects_outlive_the_cycle),
		IN_ALL(frees_amid_a_cycle_wait),
		IN_ALL(what_a_freed_object_held_is_kept),
		IN_ALL(roots_come_and_go_amid_a_cycle),
		IN_ALL(pins_come_and_go_amid_a_cycle),
		IN_ALL(tails_are_cut_off_amid_a_cycle),
		IN_ALL(roots_are_written_after_they_were_scanned),
		IN_ALL(variables_hold_what_was_not_scanned),
		IN_ALL(the_program_runs_to_the_last_stop),
		IN_ALL(the_last_stop_may_not_be),
		IN_ALL(exchanges_delete_too),
		IN_ALL(a_thread_comes_and_goes_amid_a_cycle),
		IN_ALL(realloc_amid_a_cycle),
		IN_ALL(off_heap_memory_amid_a_cycle),
		IN_ALL(stores_of_all_kinds),
		IN_ALL(asked_for_amid_a_cycle),
		IN_ALL(a_free_sweeps_first),
		IN_ALL(a_look_at_what_others_freed_sweeps_first),
		heap_test(rounds_go_everywhere),
		heap_test(the_last_stop_is_for_few_pages),
		heap_test(one_thread_marks_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
