/* SPDX-License-Identifier: MIT */
/*
 * What is scanned again because it was written: pages, of which only what is marked counts, and how many rounds it takes.
 * [CLEAN-1].
 */
#include "gc/mark.h"
#include "tests/host/thread_setup.h"

#define CELLS 4096u

static void **cells[CELLS]; /* registered: each of 16 bytes */
static uintptr_t hidden[CELLS];
static uint64_t rounds;
static void (*after_round)(void); /* the first: all is marked that was reachable until then */

static void on_stall(enum loam_stall why, uint64_t from_ns, uint64_t to_ns,
		     const struct loam_cycle *c)
{
	void (*now)(void) = after_round;

	(void)from_ns;
	(void)to_ns;
	if (why == LOAM_STALL_ROUND && loam_marking() && now != NULL) {
		after_round = NULL;
		now();
	}
	if (why == LOAM_STALL_END)
		rounds = c->rounds;
}

static void begin(void)
{
	clear_stack();
	begin_cycle();
	assert_true(loam_marking());
	loam_heap.busy = false; /* allocations do not help */
}

static void finish(void)
{
	clear_stack();
	loam_gc_on_stall = on_stall;
	while (loam_gc_work(1)) /* which writes nothing */
		;
	loam_gc_on_stall = NULL;
	assert_false(loam_marking());
}

static bool there(uintptr_t inverted)
{
	return loam_object_base((void *)~inverted) != NULL;
}

/* Cells of a type, or of none, each beside a block that it does not point to yet. */
__attribute__((noinline)) static void make_cells(const struct loam_type *type)
{
	assert_int_equal(loam_root_add(cells, cells + CELLS), LOAM_OK);
	for (unsigned i = 0; i < CELLS; i++) {
		cells[i] = type != NULL ? loam_alloc_type(type, 1) : loam_alloc(16);
		hidden[i] = ~(uintptr_t)loam_alloc_noscan(64);
	}
}

__attribute__((noinline)) static void point(unsigned i, unsigned word)
{
	cells[i][word] = (void *)~hidden[i];
}

static void drop_cells(void)
{
	memset(cells, 0, sizeof(cells));
	loam_root_remove(cells, cells + CELLS);
}

static unsigned step, word;

static void point_some(void)
{
	for (unsigned i = 0; i < CELLS; i += step)
		point(i, word);
}

/* Every second cell is garbage, and points to more: that another on its page is written does not bring it back. */
static void neighbours_of_what_is_written_stay_dead(void **state)
{
	unsigned kept = 0;

	(void)state;
	NEED_TRACKING();
	make_cells(NULL);
	for (unsigned i = 1; i < CELLS; i += 2) {
		point(i, 0);
		cells[i] = NULL;
	}
	step = 2;
	word = 0;
	after_round = point_some;
	begin();
	finish();
	for (unsigned i = 0; i < CELLS; i++) {
		if (i % 2 == 0)
			assert_true(there(hidden[i]));
		else
			kept += there(hidden[i]);
	}
	assert_true(kept <= 3); /* a dead word of the stack may keep some */
	drop_cells();
}

/* Cells one word of which is a pointer, the first or the second, are written amid the cycle. */
static void written_types_are_scanned(void **state)
{
	(void)state;
	NEED_TRACKING();
	step = 1;
	for (word = 0; word < 2; word++) {
		const uint64_t bits = 1u << word;
		const struct loam_type type = {
			.size = 16, .ptr_words = word + 1, .ptr_bits = &bits};

		make_cells(&type);
		after_round = point_some;
		begin();
		finish();
		for (unsigned i = 0; i < CELLS; i++)
			assert_true(there(hidden[i]));
		drop_cells();
	}
}

/* Rounds of a cycle in which 24 pages are written before the first: more than are scanned in one go while others may write. */
static uint64_t count_rounds(void)
{
	uint64_t pages = 0;
	uintptr_t last = 0;

	begin();
	for (unsigned i = 0; i < CELLS && pages < 24; i++) {
		pages += (uintptr_t)cells[i] / 4096 != last;
		last = (uintptr_t)cells[i] / 4096;
		cells[i][1] = NULL;
	}
	assert_int_equal(pages, 24);
	finish();
	return rounds;
}

/* While the only thread scans nobody writes: it needs no second round. */
static void one_round_is_enough_for_one_thread(void **state)
{
	pthread_t thread;
	bool over = true;

	(void)state;
	NEED_TRACKING();
	assert_int_equal(loam_root_add(cells, cells + CELLS), LOAM_OK);
	for (unsigned i = 0; i < CELLS; i++)
		cells[i] = loam_alloc(256);
	loam_gc();
	assert_int_equal(count_rounds(), 1);
	assert_int_equal(pthread_create(&thread, NULL, be_attached, &over), 0);
	while (__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		;
	assert_true(count_rounds() >= 2);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(failures, 0);
	drop_cells();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(neighbours_of_what_is_written_stay_dead),
		heap_test(written_types_are_scanned),
		heap_test(one_round_is_enough_for_one_thread),
	};
	return cmocka_run_group_tests_name("clean", tests, NULL, NULL);
}
