/* SPDX-License-Identifier: MIT */
/*
 * The check of marks and what it tells of zombies: [CHECK-1], [CHECK-2]. It finds nothing wrong with a graph that changes at
 * random, however the collector learns of that; and it finds what is wrong. What ends in a panic, in the
 * stop, is done in a process of its own.
 */
#include "tests/host/tangle.h"

#include <sys/wait.h>
#include <unistd.h>

static char text[8192];

static void keep_text(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	if (strlen(text) + len < sizeof(text))
		strncat(text, buf, len);
}

static struct loam_gc_check figures(void)
{
	struct loam_gc_check check;

	loam_gc_check_read(&check);
	return check;
}

static void on(void)
{
	assert_int_equal(loam_gc_set_check(true), LOAM_OK);
}

/* ---- nothing is wrong ---- */

static void graph_is_checked(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	on();
	tangle_up();
	for (unsigned i = 1; i <= 30; i++) {
		for (unsigned s = 0; s < 500; s++)
			tangle_step(&rng);
		clear_stack();
		loam_gc();
		assert_true(figures().cycles >= i && figures().objects > 0);
	}
	tangle_down();
	clear_stack();
	loam_gc();
	assert_int_equal(figures().skipped, 0);
	assert_true(figures().objects < 60);
}

static void graph_is_checked_in_small_steps(void **state)
{
	static const uint64_t bytes[] = {64, 1000, 16384};
	struct rng rng = {test_seed() + 1};

	(void)state;
	on();
	tangle_up();
	for (unsigned i = 0; i < 4 * COUNT_OF(bytes); i++) {
		loam_gc_set_steps(1 + i % 3, bytes[i % COUNT_OF(bytes)]);
		for (unsigned s = 0; s < 2000; s++)
			tangle_step(&rng);
	}
	assert_true(figures().cycles > 30);
	assert_int_equal(figures().skipped, 0);
	assert_int_equal(figures().zombies, 0);
	tangle_down();
}

/* More than the stack has room for, and each leads to one more. */
static void wide_object_is_checked(void **state)
{
	static void **wide;

	(void)state;
	on();
	assert_int_equal(loam_root_add(&wide, &wide + 1), LOAM_OK);
	loam_store(&wide, loam_alloc(30000 * sizeof(void *)));
	for (size_t i = 0; i < 30000; i++) {
		void **leaf = loam_alloc(16);

		loam_store(&leaf[0], loam_alloc(16));
		loam_store(&wide[i], leaf);
	}
	loam_gc();
	assert_true(figures().objects > 60000 && figures().objects < 60100);
	loam_store(&wide, NULL);
	loam_root_remove(&wide, &wide + 1);
}

/* Nothing but the pin leads there, and on to more. */
static void pinned_objects_are_checked(void **state)
{
	static volatile uintptr_t hidden;
	void **p;

	(void)state;
	on();
	loam_gc();
	p = loam_alloc(48);
	loam_store(&p[1], loam_alloc(48));
	hidden = ~(uintptr_t)p;
	assert_int_equal(loam_pin(p), LOAM_OK);
	p = NULL;
	clear_stack();
	loam_gc();
	assert_true(figures().objects >= 2);
	assert_int_equal(loam_unpin((void *)~hidden), LOAM_OK);
}

static void no_memory_no_check(void **state)
{
	(void)state;
	on();
	text[0] = '\0';
	loam_host_on_log(keep_text);
	loam_sys_set_limit(loam_sys_ready_bytes());
	loam_gc();
	assert_int_equal(figures().cycles, 0);
	assert_int_equal(figures().skipped, 1);
	assert_non_null(strstr(text, "no memory"));
	loam_sys_set_limit(UINT64_MAX);
	loam_gc();
	loam_host_on_log(quiet_log);
	assert_int_equal(figures().cycles, 1);
	assert_int_equal(figures().skipped, 1);
}

static void on_and_off(void **state)
{
	struct loam_sys_stats before, after;

	(void)state;
	loam_gc();
	loam_sys_stats(&before);
	loam_gc();
	assert_int_equal(figures().cycles, 0);
	on();
	on();
	loam_gc();
	assert_int_equal(figures().cycles, 1);
	assert_int_equal(loam_gc_set_check(false), LOAM_OK);
	assert_int_equal(loam_gc_set_check(false), LOAM_OK);
	loam_gc();
	assert_int_equal(figures().cycles, 1);
	loam_sys_stats(&after);
	assert_int_equal(after.ready_bytes[LOAM_OWNER_GC], before.ready_bytes[LOAM_OWNER_GC]);
}

static void config_turns_it_on(void **state)
{
	(void)state;
	loam_gc();
	assert_int_equal(figures().cycles, 1);
}

static int heap_up_checked(void **state)
{
	int result;

	assert_int_equal(loam_gc_set_check(true), LOAM_NOENT);
	heap_config.check = true;
	result = heap_up(state);
	heap_config.check = false;
	return result;
}

/* ---- nothing is wrong, at LOAM_DEBUG 3 ---- */

static void *root[2];
static uintptr_t hidden; /* inverted */

/* Pages that are free and hold pointers still. Returns where they end. */
__attribute__((noinline)) static uintptr_t leave_pointers(void)
{
	const size_t words = 40 * 8192 / sizeof(void *), kept = words / 8;
	void **large = loam_alloc(words * sizeof(void *)), *dead = loam_alloc(64);

	assert_non_null(large);
	assert_non_null(dead);
	hidden = ~(uintptr_t)dead;
	for (size_t i = kept; i < words; i++)
		loam_store(&large[i], dead);
	loam_store(&root[0], loam_realloc(large, kept * sizeof(void *)));
	assert_ptr_equal(root[0], large);
	return (uintptr_t)(large + words);
}

__attribute__((noinline)) static uintptr_t claim(void)
{
	void *p = loam_alloc(26000);

	assert_non_null(p);
	loam_store(&root[1], p);
	return (uintptr_t)p;
}

/* Slots that a thread has claimed are marked; they are no objects when it goes, whatever they hold. */
static void claims_are_given_back_amid_a_cycle(void **state)
{
	uintptr_t end;

	(void)state;
	assert_int_equal(loam_root_add(root, root + 2), LOAM_OK);
	end = leave_pointers();
	clear_stack();
	assert_in_range(claim(), (uintptr_t)root[0], end);
	begin_cycle();
	loam_heap.busy = false; /* allocations do not help */
	assert_int_equal(loam_thread_detach(&test_thread), LOAM_OK);
	assert_int_equal(
		loam_thread_attach(&test_thread, (char *)__builtin_frame_address(0) + 4096),
		LOAM_OK);
	while (loam_gc_work(1000000))
		;
	assert_null(loam_object_base((void *)~hidden));
	assert_int_equal(loam_root_remove(root, root + 2), LOAM_OK);
}

/* ---- a mark is lost ---- */

static volatile uintptr_t
	victim; /* inverted: whose mark is lost before the check looks; 0: nobody's */

void __real_loam_checkmark_run(const void *sp);

void __wrap_loam_checkmark_run(const void *sp)
{
	uintptr_t p = ~victim;
	struct loam_span *span;
	uint64_t slot;

	if (victim != 0) {
		span = loam_span_of(p);
		slot = loam_span_slot(span, p);
		span->bits[slot / 64].mark &= ~((uint64_t)1 << (slot % 64));
	}
	__real_loam_checkmark_run(sp);
}

enum found {
	IN_ROOT,
	IN_OBJECT,
	IN_TYPED,
	IN_PIN,
	ON_STACK,
};

static void *lost_root;

/* Nothing but this leads to it. */
__attribute__((noinline)) static void hide(enum found where)
{
	static const uint64_t bits = 4;
	static const struct loam_type type = {.size = 48, .ptr_words = 3, .ptr_bits = &bits};
	void **in = where == IN_TYPED ? loam_alloc_type(&type, 1) : loam_alloc(48);
	void *p = loam_alloc_noscan(80);

	victim = ~(uintptr_t)p;
	if (where == IN_PIN) {
		assert_int_equal(loam_pin(p), LOAM_OK);
	} else if (where == IN_ROOT) {
		loam_store(&lost_root, p);
	} else if (where != ON_STACK) {
		loam_store(&in[2], p);
		loam_store(&lost_root, in);
	}
}

__attribute__((noinline)) static void lose(enum found where)
{
	void *volatile on_stack = NULL;

	assert_int_equal(loam_root_add(&lost_root, &lost_root + 1), LOAM_OK);
	hide(where);
	if (where == ON_STACK)
		on_stack = (void *)~victim;
	clear_stack();
	loam_gc();
	victim = 0;
	assert_true(where != ON_STACK || on_stack != NULL);
}

/* With the software barrier a stack is looked at when marking begins. */
static void stale_words_are_counted(void **state)
{
	(void)state;
	on();
	loam_gc();
	assert_int_equal(figures().stale, 0);
	lose(ON_STACK);
	assert_true(figures().stale >= 1);
	loam_root_remove(&lost_root, &lost_root + 1);
}

static void say(const char *file, int line, const char *msg)
{
	(void)file;
	(void)line;
	strncat(text, msg, sizeof(text) - strlen(text) - 1);
	_exit(write(1, text, strlen(text)) > 0 ? 42 : 43);
}

/* In a process of its own; what that has said. */
static void lose_apart(enum found where, char *got, size_t size)
{
	int tube[2], status;
	size_t all = 0;
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(tube), 0);
	child = fork();
	if (child == 0) {
		dup2(tube[1], 1);
		loam_host_on_panic(say);
		loam_host_on_log(keep_text);
		text[0] = '\0';
		on();
		lose(where);
		_exit(0);
	}
	close(tube[1]);
	while ((n = read(tube[0], got + all, size - 1 - all)) > 0)
		all += (size_t)n;
	got[all] = '\0';
	close(tube[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static void lost_mark_is_found(void **state)
{
	static const char *const want[] = {"a root", "of the object", "of the object", "a root",
					   "a root or a stack"};
	enum found last = loam_heap.barrier == LOAM_BARRIER_SOFTWARE ? IN_PIN : ON_STACK;
	char got[8192];

	(void)state;
	for (enum found where = IN_ROOT; where <= last; where++) {
		lose_apart(where, got, sizeof(got));
		assert_non_null(strstr(got, "[CHECK-1]"));
		assert_non_null(strstr(got, want[where]));
		assert_non_null(strstr(got, "80 bytes"));
		if (LOAM_DEBUG >= 2)
			assert_non_null(strstr(got, "allocated by thread"));
	}
}

/* ---- what nobody but a stack holds when marking ends ---- */

enum taken {
	BY_STORE,
	BY_EXCHANGE,
	BY_COMPARE,
	BY_ZERO,
	BY_MOVE,
	BY_REALLOC,
	BY_ROOT_REMOVE,
	BY_UNPIN,
	TAKEN_COUNT,
};

static void *taken_root;
static volatile uintptr_t away; /* inverted */

__attribute__((noinline)) static void put_away(enum taken how)
{
	void **in = loam_alloc(2000), *p = loam_alloc(80);

	((uint64_t *)p)[5] = 12345;
	away = ~(uintptr_t)p;
	loam_store(&in[245], p);
	if (how == BY_UNPIN)
		assert_int_equal(loam_pin(p), LOAM_OK);
	else
		loam_store(&taken_root, how == BY_ROOT_REMOVE ? p : in);
}

/* With its address on the stack alone, which is not looked at any more; or it is, with the MMU's help. */
static void take_out(enum taken how)
{
	void **in = taken_root, *p = (void *)~away;

	away = 0;
	switch (how) {
	case BY_STORE:
		loam_store(&in[245], NULL);
		break;
	case BY_EXCHANGE:
		assert_ptr_equal(loam_store_exchange(&in[245], NULL), p);
		break;
	case BY_COMPARE:
		assert_true(loam_store_compare(&in[245], p, NULL));
		break;
	case BY_ZERO:
		loam_store_zero(in, 1968);
		break;
	case BY_MOVE:
		loam_store_move(in + 100, in, 1200);
		break;
	case BY_REALLOC:
		assert_ptr_equal(loam_realloc(in, 1961), in); /* amid the pointer */
		break;
	case BY_ROOT_REMOVE:
		assert_int_equal(loam_root_remove(&taken_root, &taken_root + 1), LOAM_OK);
		taken_root = NULL;
		break;
	default:
		assert_int_equal(loam_unpin(p), LOAM_OK);
	}
	finish_marking();
	while (loam_sweep_pending())
		loam_gc_work(1000);
	assert_ptr_equal(loam_object_base(p), p);
	assert_int_equal(((uint64_t *)p)[5], 12345);
}

/* [BARRIER-1], [CLEAN-1] */
static void what_is_taken_out_while_marking_lives(void **state)
{
	(void)state;
	if (loam_heap.barrier == LOAM_BARRIER_STOP)
		skip(); /* no MMU to ask */
	for (enum taken how = BY_STORE; how < TAKEN_COUNT; how++) {
		assert_int_equal(loam_root_add(&taken_root, &taken_root + 1), LOAM_OK);
		put_away(how);
		clear_stack();
		loam_gc();
		clear_stack();
		begin_cycle();
		assert_true(loam_marking());
		take_out(how);
		loam_store(&taken_root, NULL);
		if (how != BY_ROOT_REMOVE)
			assert_int_equal(loam_root_remove(&taken_root, &taken_root + 1), LOAM_OK);
	}
}

/* ---- zombies ---- */

static struct node *holder;

/* Each holder's pointer, and what it was. */
__attribute__((noinline)) static void hold(unsigned i, void *p)
{
	loam_store(&holder[i].edge[i % TANGLE_EDGES], p);
}

static unsigned told(void)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, "zombie: ")) != NULL; at++)
		n++;
	return n;
}

static void zombies_up(void)
{
	on();
	assert_int_equal(loam_root_add(&holder, &holder + 1), LOAM_OK);
	loam_store(&holder, loam_alloc_type(&node_type, 64));
	text[0] = '\0';
	loam_host_on_log(keep_text);
}

static void zombies_down(void)
{
	loam_store(&holder, NULL);
	assert_int_equal(loam_root_remove(&holder, &holder + 1), LOAM_OK);
	loam_host_on_log(quiet_log);
}

static void zombies_are_told(void **state)
{
	char line[128];
	void *p, *off;

	(void)state;
	zombies_up();
	hold(0, loam_alloc(200)); /* in use */
	assert_int_equal(loam_offheap_alloc(9000, &off), LOAM_OK);
	hold(1, off);
	hold(2, (void *)&holder); /* no address of the heap */
	loam_gc();
	assert_int_equal(figures().zombies, 0);
	hold(3, p = loam_alloc(200)); /* free */
	loam_free(p);
	hold(4, (char *)(p = loam_alloc(300)) + 100); /* in its middle */
	loam_free(p);
	hold(5, p = loam_alloc(100000)); /* no span any more */
	loam_free(p);
	loam_gc();
	assert_int_equal(figures().zombies, 3);
	assert_int_equal(told(), 3);
	snprintf(line, sizeof(line), "%p in the object %p points to %p", (void *)&holder[5].edge[1],
		 (void *)holder, p);
	assert_non_null(strstr(text, line));
	if (LOAM_DEBUG >= 2)
		assert_non_null(strstr(text, "freed by thread"));
	loam_gc();
	assert_int_equal(figures().zombies, 3);
	assert_int_equal(told(), 6);
	for (unsigned i = 0; i < 6; i++)
		hold(i, NULL);
	loam_gc();
	assert_int_equal(figures().zombies, 0);
	assert_int_equal(loam_offheap_free(off), LOAM_OK);
	zombies_down();
}

/* An untyped word may be anything; a word that is no pointer is none; what is freed may point to what is freed. */
static void what_proves_nothing_is_not_told(void **state)
{
	struct node *n;
	void **untyped, *p;

	(void)state;
	zombies_up();
	hold(0, untyped = loam_alloc(64));
	loam_store(&untyped[3], p = loam_alloc(48));
	loam_free(p);
	holder[1].id = (uintptr_t)p;
	loam_gc();
	assert_int_equal(figures().zombies, 0);
	hold(1, n = loam_alloc_type(&node_type, 1));
	loam_store(&n->edge[0], p = loam_alloc(48));
	until_marking();
	loam_free(p);
	loam_free(n);
	finish_marking();
	assert_int_equal(figures().zombies, 1); /* that of the holder alone */
	zombies_down();
}

static void what_waits_to_be_freed_is_told(void **state)
{
	void *p;

	(void)state;
	zombies_up();
	hold(0, p = loam_alloc(200));
	until_marking();
	loam_free(p);
	finish_marking();
	assert_int_equal(figures().zombies, 1);
	assert_non_null(strstr(text, "waits"));
	zombies_down();
}

static void eight_zombies_a_cycle_are_told(void **state)
{
	void *p;

	(void)state;
	zombies_up();
	for (unsigned i = 0; i < 50; i++) {
		hold(i, p = loam_alloc(500));
		loam_free(p);
	}
	loam_gc();
	assert_int_equal(figures().zombies, 50);
	assert_int_equal(told(), 8);
	assert_non_null(strstr(text, "and 42 more"));
	zombies_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(graph_is_checked),
		heap_test_software(graph_is_checked),
		heap_test_stop(graph_is_checked),
		heap_test(graph_is_checked_in_small_steps),
		heap_test_software(graph_is_checked_in_small_steps),
		heap_test_stop(graph_is_checked_in_small_steps),
		heap_test(claims_are_given_back_amid_a_cycle),
		heap_test_software(claims_are_given_back_amid_a_cycle),
		heap_test_stop(claims_are_given_back_amid_a_cycle),
		heap_test(wide_object_is_checked),
		heap_test(pinned_objects_are_checked),
		heap_test_software(pinned_objects_are_checked),
		heap_test(no_memory_no_check),
		heap_test(on_and_off),
		cmocka_unit_test_setup_teardown(config_turns_it_on, heap_up_checked, heap_down),
		heap_test_software(stale_words_are_counted),
		heap_test(lost_mark_is_found),
		heap_test_stop(lost_mark_is_found),
		heap_test_software(lost_mark_is_found),
		heap_test_software(what_is_taken_out_while_marking_lives),
		heap_test(what_is_taken_out_while_marking_lives),
		heap_test(zombies_are_told),
		heap_test_software(what_proves_nothing_is_not_told),
		heap_test_software(what_waits_to_be_freed_is_told),
		heap_test(eight_zombies_a_cycle_are_told),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
