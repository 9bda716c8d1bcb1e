/* SPDX-License-Identifier: MIT */
/*
 * Objects that lead to their like, nearby, which the collector marks and scans a way of their own (gc/near.h): none is missed, none
 * is scanned twice, no more is kept than the program can reach. With one thread, whose marking no other disturbs, and with two.
 */
#include "tests/host/thread_setup.h"

#define COUNT	  1500u
#define FAR_WORDS 10u

/* A chain. The first word of a neighbour leads to the next, every other time into its middle; the second looks like a pointer, and
 * is none if there are types; the third leads to a slot that has been freed; the last to something far, which
 * leads to another neighbour that is not of the chain. */
static struct {
	size_t words;
	bool typed;
	uint64_t bits;
	struct loam_type type;
	uintptr_t lost[COUNT], freed[COUNT];
} hood;
static void **chain; /* the only root */

static uintptr_t hide(const void *p)
{
	return ~(uintptr_t)p;
}

static void **new_neighbour(void)
{
	return hood.typed ? loam_alloc_type(&hood.type, 1)
			  : loam_alloc(hood.words * sizeof(void *));
}

__attribute__((noinline)) static void add_neighbour(size_t i)
{
	void **p = new_neighbour(), **far = loam_alloc(FAR_WORDS * sizeof(void *)), **q;
	void *lost = loam_alloc_noscan(200);

	loam_store(&p[hood.words - 1], far);
	loam_store(&p[0], chain != NULL && i % 2 != 0 ? (char *)chain + 25 : (char *)chain);
	loam_store(&chain, p);
	hood.lost[i] = hide(lost);
	if (hood.typed)
		p[1] = lost;
	q = new_neighbour();
	q[1] = (void *)i;
	loam_store(&far[FAR_WORDS - 1], q);
	q = new_neighbour();
	hood.freed[i] = hide(q);
	loam_store(&p[2], q);
}

static void fill(size_t words, bool typed)
{
	hood.words = words;
	hood.typed = typed;
	hood.bits = 1 | 4 | UINT64_C(1) << (words - 1);
	hood.type = (struct loam_type){
		.size = words * sizeof(void *), .ptr_words = words, .ptr_bits = &hood.bits};
	for (size_t i = 0; i < COUNT; i++)
		add_neighbour(i);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(loam_free((void *)~hood.freed[i]), LOAM_OK);
}

/* Nothing of it is lost. */
static void check_chain(void)
{
	void **p = chain;

	for (size_t i = COUNT; i-- > 0;) {
		void **far = p[hood.words - 1], **q = far[FAR_WORDS - 1];

		assert_ptr_equal(loam_object_base(q), q);
		assert_int_equal((uintptr_t)q[1], i);
		p = loam_object_base(p[0]);
	}
	assert_null(p);
}

/* Whatever an old pointer on the stack leads to, that is all it keeps. */
static void take_apart(void)
{
	void **p = chain, **next;

	for (; p != NULL; p = next) {
		next = loam_object_base(p[0]);
		loam_store(&p[0], NULL);
		loam_store(&p[hood.words - 1], NULL);
	}
	chain = NULL;
}

static uint64_t scanned(void)
{
	struct loam_gc_cycle c;

	clear_stack();
	loam_gc();
	assert_int_equal(loam_gc_cycles_read(&c, 1), 1);
	return c.scanned_bytes;
}

static void check_collected(size_t words, bool typed)
{
	uint64_t bytes = COUNT * (2 * words + FAR_WORDS) * sizeof(void *), once, lost = 0;
	struct loam_stats stats;

	fill(words, typed);
	once = scanned();
	loam_stats_read(&stats);
	check_chain();
	for (size_t i = 0; i < COUNT; i++) {
		assert_null(loam_object_base((void *)~hood.freed[i]));
		lost += loam_object_base((void *)~hood.lost[i]) == NULL;
	}
	assert_in_range(lost, COUNT - 2, COUNT); /* the stack may keep one or two */
	/* what is free does not count as marked; what the thread has claimed does, up to 64 slots of each size */
	assert_in_range(loam_heap.marked, stats.heap_alloc,
			stats.heap_alloc + 64 * (2 * words * sizeof(void *) + 512));
	take_apart();
	once -= scanned();
	/* the stack leads to one or two, before or after */
	assert_in_range(once, bytes - 2048, bytes + 2048);
}

static void check_sizes(void)
{
	/* the least, one that is no power of two, the largest that is read at once, one larger */
	static const size_t words[] = {4, 6, 16, 18};

	assert_int_equal(loam_root_add(&chain, &chain + 1), LOAM_OK);
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		check_collected(words[i], false);
		check_collected(words[i], true);
	}
	assert_int_equal(loam_root_remove(&chain, &chain + 1), LOAM_OK);
}

static void neighbours_are_scanned_once(void **state)
{
	(void)state;
	check_sizes();
}

static void neighbours_are_scanned_once_beside_a_thread(void **state)
{
	bool over = true;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, be_attached, &over), 0);
	while (__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		;
	check_sizes();
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(failures, 0);
}

/* A stack of one place: hardly any neighbour can wait by itself. */
static void neighbours_without_room_wait_with_their_span(void **state)
{
	(void)state;
	loam_work_limit(1);
	check_sizes();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(neighbours_are_scanned_once),
		heap_test_software(neighbours_are_scanned_once),
		heap_test_software(neighbours_are_scanned_once_beside_a_thread),
		heap_test_software(neighbours_without_room_wait_with_their_span),
	};
	return cmocka_run_group_tests_name("thread_near", tests, NULL, NULL);
}
