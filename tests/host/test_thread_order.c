/* SPDX-License-Identifier: MIT */
/*
 * Orders of events that once went wrong: the main thread is held up at a place (LOAM_PLACE) until another thread has gone first, or
 * cannot, since it has to wait for us.
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "gc/special.h"
#include "tests/host/other_thread.h"

#define CELLS 4096u

/* ---- once, at one place ---- */

static const char *hold_at;
static void (*meanwhile)(void);

static void hold(const char *place)
{
	if (is_other || hold_at == NULL || strcmp(place, hold_at) != 0)
		return;
	hold_at = NULL;
	tell_other(meanwhile);
	wait_a_while();
}

static void hold_once(const char *place, void (*job)(void))
{
	meanwhile = job;
	hold_at = place;
	loam_at_place = hold;
}

static void **cells[CELLS]; /* registered */

static void make_cells(size_t bytes)
{
	assert_int_equal(loam_root_add(cells, cells + CELLS), LOAM_OK);
	for (unsigned i = 0; i < CELLS; i++)
		cells[i] = loam_alloc(bytes);
}

static void drop_cells(void)
{
	memset(cells, 0, sizeof(cells));
	loam_root_remove(cells, cells + CELLS);
}

static void finish_marking(void)
{
	while (loam_marking())
		loam_gc_work(1000);
}

/* Who finds that there is nothing to do does not switch off help with a cycle that begins just then. */
static void a_cycle_that_begins_is_helped(void **state)
{
	(void)state;
	loam_gc();
	hold_once("nothing to do", begin_cycle);
	while (loam_gc_work(1))
		;
	wait_for_other();
	assert_null(hold_at);
	assert_true(loam_marking());
	assert_true(loam_heap.busy);
	finish_marking();
}

/* Who asks for a collection amid one gets another whole one, if the first ends just then, too. */
static void a_cycle_that_ends_is_not_the_one_asked_for(void **state)
{
	uint64_t before;

	(void)state;
	begin_cycle();
	assert_true(loam_marking());
	before = loam_heap.cycles;
	hold_once("which cycle", finish_marking);
	loam_gc();
	wait_for_other();
	assert_null(hold_at);
	assert_int_equal(loam_heap.cycles, before + 2);
}

static const uint32_t never;
static bool begun, worked; /* atomic */

static void donate_once(void)
{
	uint64_t before;
	bool more;

	while (!__atomic_load_n(&begun, __ATOMIC_ACQUIRE))
		usleep(50);
	before = __atomic_load_n(&loam_heap.scanned_bytes, __ATOMIC_RELAXED);
	more = loam_gc_work(1);
	more &= __atomic_load_n(&loam_heap.scanned_bytes, __ATOMIC_RELAXED) > before;
	__atomic_store_n(&worked, more, __ATOMIC_RELEASE);
}

/* Who stood for a cycle's first stop by a signal marks at once: the request is met. */
static void who_has_stopped_is_not_asked_again(void **state)
{
	(void)state;
	make_cells(256);
	begun = worked = false;
	tell_other(donate_once);
	usleep(1000); /* if the other has not begun by then, nothing is tested */
	begin_cycle();
	assert_true(loam_marking());
	__atomic_store_n(&begun, true, __ATOMIC_RELEASE);
	wait_for_other();
	assert_true(worked);
	finish_marking();
	drop_cells();
}

/* ---- who may sleep ---- */

static struct loam_worker *theirs;

static void be_active(void)
{
	theirs = loam_worker_take(1, &never, false);
}

static void find_nothing_either(void)
{
	bool more;

	loam_worker_give(theirs);
	more = loam_gc_work(1);
	__atomic_store_n(&worked, more, __ATOMIC_RELEASE);
}

/* We find that the other marks, and before we let go of the lock the other has ended and cannot have it: one of us is to ask again. */
static void not_both_sleep_when_marking_is_done(void **state)
{
	bool more = true;

	(void)state;
	begin_cycle();
	assert_true(loam_marking());
	tell_other(be_active);
	wait_for_other();
	worked = false;
	hold_once("others mark", find_nothing_either);
	while (hold_at != NULL)
		more = loam_gc_work(1);
	wait_for_other();
	assert_true(more || worked);
	finish_marking();
}

/* Marking ends while we are about to help, at `place`: then there is a sweep to help with. */
static void help_when_marking_has_ended_at(const char *place)
{
	bool more = true;

	make_cells(256);
	begin_cycle();
	assert_true(loam_marking());
	hold_once(place, finish_marking);
	while (hold_at != NULL)
		more = loam_gc_work(1);
	wait_for_other();
	assert_false(loam_marking());
	assert_true(loam_sweep_pending());
	assert_true(more);
	drop_cells();
}

static void who_finds_no_marking_finds_the_sweep(void **state)
{
	(void)state;
	help_when_marking_has_ended_at("a slice");
	help_when_marking_has_ended_at("found nothing");
}

/* ---- cleanups ---- */

static void count_one(void *count)
{
	++*(unsigned *)count;
}

static void clean_cells_up(unsigned *count)
{
	make_cells(64);
	for (unsigned i = 0; i < CELLS; i++)
		assert_int_equal(loam_cleanup_add(cells[i], count_one, count, NULL), LOAM_OK);
}

static void let_the_rest_die(void)
{
	memset(cells, 0, sizeof(cells));
	loam_gc();
	CHECK(loam_finalq_due());
	CHECK(loam_finalizers_run(1) == 0); /* for we do */
}

/* Who has found that no more is due sees what has become due since, if the other was sent away for us. */
static void what_becomes_due_at_the_end_is_run(void **state)
{
	static unsigned count;
	uint64_t ran;

	(void)state;
	count = 0;
	clean_cells_up(&count);
	memset(cells, 0, CELLS / 2 * sizeof(*cells));
	loam_gc();
	assert_true(loam_finalq_due());
	hold_once("none is due", let_the_rest_die);
	ran = loam_finalizers_run(UINT64_MAX);
	wait_for_other();
	assert_int_equal(ran, count);
	assert_null(hold_at);
	assert_false(loam_finalq_due());
	assert_true(count > CELLS / 2);
	drop_cells();
}

/* ---- who is alone ---- */

static void mark_among_others(void)
{
	struct loam_worker *w = loam_worker_take(1, &never, false);

	CHECK(w != NULL && !w->solo);
	loam_worker_give(w);
}

/* Before we look whether we are alone the other has marked, and is gone. */
static void hold_until_alone(const char *place)
{
	if (is_other || strcmp(place, "alone") != 0)
		return;
	loam_at_place = NULL;
	tell_other(mark_among_others);
	wait_for_other();
	__atomic_store_n(&other.over, true, __ATOMIC_RELEASE);
	pthread_join(other.thread, NULL);
}

/* [WORK-3]: who attaches itself waits for us. */
static void who_is_alone_stays_alone(void **state)
{
	struct loam_worker *w;

	(void)state;
	loam_at_place = hold_until_alone;
	w = loam_worker_take(1, &never, false);
	assert_null(loam_at_place);
	assert_true(w->solo);
	start_other();
	for (int i = 0; i < PATIENCE; i++) {
		usleep(100);
		assert_false(__atomic_load_n(&other.running, __ATOMIC_ACQUIRE));
	}
	loam_worker_give(w);
	wait_until_it_runs();
}

/* ---- pages ---- */

static void write_all(void)
{
	for (unsigned i = 0; i < CELLS; i++)
		cells[i][0] = NULL;
}

static void work_a_little(void)
{
	(void)loam_gc_work(1);
}

static void go_round(void)
{
	for (unsigned i = 0; i < 100 && !loam_clean_left(); i++)
		(void)loam_gc_work(1);
}

static void scan_all_pages(void)
{
	struct loam_worker *w = loam_worker_take(UINT64_MAX, &never, false);

	assert_non_null(w);
	while (loam_clean_left())
		(void)loam_clean_scan_some(w);
	loam_worker_give(w);
}

static unsigned found_nothing;

/* We have found nothing to mark, when the other's round tells of pages. It sees that some are left, and is held up; all are scanned, and we
 * believe that nothing is left, and begin a round: amid that the other looks for pages. */
static void hold_for_pages(const char *place)
{
	if (is_other) {
		if (strcmp(place, "pages are left") == 0 && found_nothing == 2) {
			__atomic_store_n(&other.held_at_pages, true, __ATOMIC_RELEASE);
			for (int i = 0; i < PATIENCE &&
					__atomic_load_n(&other.held_at_pages, __ATOMIC_ACQUIRE);
			     i++)
				usleep(100);
		}
		return;
	}
	if (strcmp(place, "found nothing") == 0 && found_nothing == 0) {
		found_nothing = 1;
		write_all();
		tell_other(go_round);
		wait_for_other();
		assert_true(loam_clean_pages() >= 128);
	} else if (strcmp(place, "nothing is left") == 0 && found_nothing == 1 &&
		   loam_clean_left()) {
		found_nothing = 2;
		tell_other(work_a_little);
		while (!__atomic_load_n(&other.held_at_pages, __ATOMIC_ACQUIRE))
			usleep(100);
		scan_all_pages();
		write_all();
	} else if (strcmp(place, "a round begins") == 0 && found_nothing == 2) {
		found_nothing = 3;
		__atomic_store_n(&other.held_at_pages, false, __ATOMIC_RELEASE);
		wait_a_while();
	}
}

static void no_round_begins_while_somebody_looks_for_pages(void **state)
{
	(void)state;
	NEED_TRACKING();
	make_cells(256);
	begin_cycle();
	assert_true(loam_marking());
	found_nothing = 0;
	loam_at_place = hold_for_pages;
	for (unsigned i = 0; i < 10000 && loam_marking(); i++)
		(void)loam_gc_work(1);
	assert_true(found_nothing > 0);
	assert_false(loam_marking());
	loam_at_place = NULL;
	drop_cells();
}

/* ---- the program's own rounds ---- */

#define OWN_PAGES 1024u /* every other is Ready, so that a round goes in as many steps */

static uintptr_t own_memory;
static bool in_round, enough; /* atomic */

static void visit(void *arg, uintptr_t base, size_t size)
{
	(void)arg;
	(void)base;
	(void)size;
	__atomic_store_n(&in_round, true, __ATOMIC_RELEASE);
}

static void write_own_memory(void)
{
	for (uintptr_t i = 0; i < OWN_PAGES; i += 2)
		*(volatile char *)(own_memory + i * LOAM_PAGE_SIZE) = 1;
}

static void ask_all_the_time(void)
{
	while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
		enum loam_err err;

		write_own_memory();
		err = loam_sys_dirty_round(own_memory, OWN_PAGES * LOAM_PAGE_SIZE, false, visit,
					   NULL);
		CHECK(err == LOAM_OK || err == LOAM_BUSY);
		usleep(100);
	}
}

static unsigned holds;

/* The last stop comes amid a round; the first few of them. */
static void hold_for_round(const char *place)
{
	if (is_other || strcmp(place, "the last stop") != 0 || holds == 0)
		return;
	holds--;
	__atomic_store_n(&in_round, false, __ATOMIC_RELEASE);
	for (int i = 0; i < PATIENCE && !__atomic_load_n(&in_round, __ATOMIC_ACQUIRE); i++)
		usleep(100);
}

static void make_own_memory(void)
{
	assert_int_equal(loam_sys_reserve(0, OWN_PAGES * LOAM_PAGE_SIZE, 0, &own_memory), LOAM_OK);
	assert_int_equal(loam_sys_map(own_memory, OWN_PAGES * LOAM_PAGE_SIZE, LOAM_OWNER_TEST),
			 LOAM_OK);
	for (uintptr_t i = 0; i < OWN_PAGES; i += 2) {
		assert_int_equal(
			loam_sys_used(own_memory + i * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, NULL),
			LOAM_OK);
	}
}

/* Rounds of the program and of the collector are in each other's way, and wait for each other. */
static void the_program_may_have_rounds_of_its_own(void **state)
{
	(void)state;
	NEED_TRACKING();
	make_cells(256);
	make_own_memory();
	enough = false;
	holds = 5;
	loam_at_place = hold_for_round;
	tell_other(ask_all_the_time);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before = loam_heap.cycles;

		write_all();
		loam_gc();
		assert_int_equal(loam_heap.cycles, before + 1);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELEASE);
	wait_for_other();
	assert_int_equal(loam_sys_free(own_memory, OWN_PAGES * LOAM_PAGE_SIZE), LOAM_OK);
	drop_cells();
}

/* ---- spans that nobody owns ---- */

/* Cells of one class in spans of ours, of which the other has freed some: those spans are in our inbox. */
static void make_spans_of_which_some_is_freed(void (*free_some)(void))
{
	assert_int_equal(loam_gc_set_percent(-1), LOAM_OK);
	make_cells(64);
	tell_other(free_some);
	wait_for_other();
}

static void free_some_cells(void)
{
	for (unsigned i = 0; i < CELLS; i += 50) {
		void *p = cells[i];

		cells[i] = NULL;
		CHECK(loam_free(p) == LOAM_OK);
	}
}

/* Have the inbox looked at, by taking memory of many kinds. */
static void look_at_inbox(void)
{
	for (size_t size = 512; size < 2048; size += 16)
		assert_non_null(loam_alloc_noscan(size));
}

static void drop_all(void)
{
	drop_cells();
	assert_int_equal(loam_gc_set_percent(100), LOAM_OK);
}

static uint16_t owner_of(void *p)
{
	return __atomic_load_n(&loam_span_of((uintptr_t)p)->owner, __ATOMIC_ACQUIRE);
}

static void take_spans(void)
{
	uint16_t us = loam_cache_self()->id;

	for (unsigned i = 1; i < CELLS; i++) {
		unsigned n = 0;

		if (i % 50 == 0)
			continue;
		while (owner_of(cells[i]) != us && n++ < CELLS)
			CHECK(loam_alloc(64) != NULL);
		CHECK(owner_of(cells[i]) == us);
	}
}

/* The collector has left our spans to nobody. While we are about to adopt one, the other takes them all. */
static void a_span_is_adopted_by_one(void **state)
{
	uint16_t us = loam_cache_self()->id;

	(void)state;
	make_spans_of_which_some_is_freed(free_some_cells);
	tell_other(loam_gc);
	wait_for_other();
	hold_once("adopt", take_spans);
	look_at_inbox();
	wait_for_other();
	assert_null(hold_at);
	for (unsigned i = 1; i < CELLS; i++)
		assert_true(i % 50 == 0 || owner_of(cells[i]) != us);
	drop_all();
}

static void free_some_and_drop_all(void)
{
	free_some_cells();
	memset(cells, 0, sizeof(cells));
	loam_gc();
}

/* The spans of which the inbox knows are gone; their records are spare, or others' by now. */
static void a_span_that_is_gone_is_not_adopted(void **state)
{
	(void)state;
	make_spans_of_which_some_is_freed(free_some_and_drop_all);
	look_at_inbox();
	drop_all();
}

/* ---- the log ---- */

static void hold_stdio(void)
{
	flockfile(stderr);
	for (int i = 0; i < 2 * PATIENCE && !__atomic_load_n(&enough, __ATOMIC_ACQUIRE); i++)
		usleep(100);
	CHECK(__atomic_load_n(&enough, __ATOMIC_ACQUIRE));
	funlockfile(stderr);
}

/* A thread may be stopped amid a write to stderr: who logs does not wait for it. */
static void the_log_waits_for_nobody(void **state)
{
	char *p = loam_alloc(64);

	(void)state;
	enough = false;
	loam_host_on_log(NULL);
	tell_other(hold_stdio);
	usleep(1000); /* if the other has not begun by then, nothing is tested */
	assert_int_equal(loam_free(p + 8), LOAM_INVAL);
	__atomic_store_n(&enough, true, __ATOMIC_RELEASE);
	wait_for_other();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		order_test(a_cycle_that_begins_is_helped, order_up_software),
		order_test(a_cycle_that_ends_is_not_the_one_asked_for, order_up_software),
		order_test(who_has_stopped_is_not_asked_again, order_up_software),
		order_test(not_both_sleep_when_marking_is_done, order_up_software),
		order_test(who_finds_no_marking_finds_the_sweep, order_up_software),
		order_test(what_becomes_due_at_the_end_is_run, order_up_software),
		order_test(who_is_alone_stays_alone, order_up_software),
		order_test(no_round_begins_while_somebody_looks_for_pages, order_up_mmu),
		order_test(the_program_may_have_rounds_of_its_own, order_up_mmu),
		order_test(a_span_is_adopted_by_one, order_up_software),
		order_test(a_span_that_is_gone_is_not_adopted, order_up_software),
		order_test(the_log_waits_for_nobody, order_up_software),
	};
	return cmocka_run_group_tests_name("thread_order", tests, NULL, NULL);
}
