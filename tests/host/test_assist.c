/* SPDX-License-Identifier: MIT */
/*
 * Who allocates amid a cycle does its share: for all that it claims, and what it lengthens, and also when the limiter has limited. There is no donated
 * time here. The clock is ours, for who is off its CPU while it rests comes late: it goes on by a step each time somebody looks.
 */
#include "gc/pace.h"
#include "tests/host/heap_setup.h"

static uint64_t now = 1000000000;

uint64_t __wrap_loam_host_now_ns(void);
uint64_t __wrap_loam_host_now_ns(void)
{
	return now += 10000;
}

#define LIVE ((size_t)16 << 20)

struct cell {
	struct cell *next;
	uint64_t words[7];
};

static const uint64_t cell_pointers = 1;
static const struct loam_type cell_type = {
	.size = sizeof(struct cell), .ptr_words = 1, .ptr_bits = &cell_pointers, .name = "cell"};

static struct cell *cells; /* registered */

static void up(void)
{
	assert_int_equal(loam_root_add(&cells, &cells + 1), LOAM_OK);
	for (size_t i = 0; i < LIVE / sizeof(struct cell); i++) {
		struct cell *cell = loam_alloc_type(&cell_type, 1);

		assert_non_null(cell);
		loam_store(&cell->next, cells);
		loam_store(&cells, cell);
	}
	loam_gc();
}

static void down(void)
{
	loam_store(&cells, NULL);
	assert_int_equal(loam_root_remove(&cells, &cells + 1), LOAM_OK);
	loam_gc();
}

static void begin(void)
{
	begin_cycle();
	assert_true(loam_marking());
}

static void typed(void)
{
	assert_non_null(loam_alloc_type(&cell_type, 1));
}

static void words(void)
{
	assert_non_null(loam_alloc(sizeof(struct cell)));
}

static void tiny(void)
{
	for (unsigned i = 0; i < 8; i++)
		assert_non_null(loam_alloc_tiny(8));
}

/* Bytes until the cycle is over, which nobody but who makes them helps on. */
static size_t made_until_over(void (*make)(void))
{
	size_t made = 0;

	begin();
	for (; loam_marking() && made < 4 * LIVE; made += sizeof(struct cell))
		make();
	loam_gc();
	return made;
}

/* The most that may be made: an eighth more than there is room for, for who helps rests while a sixteenth past the goal will do. */
static size_t most(void)
{
	size_t goal = (size_t)loam_pacer_goal(&loam_heap.pacer);

	return (goal - LIVE) / 8 * 9 + goal / 16;
}

static void all_kinds_pay(void **state)
{
	size_t room;

	(void)state;
	up();
	room = most();
	assert_in_range(made_until_over(words), LIVE / 16, room);
	assert_in_range(made_until_over(typed), LIVE / 16, room);
	assert_in_range(made_until_over(tiny), LIVE / 16, room);
	down();
}

#define STEP  ((size_t)64 << 10)
#define AHEAD (4 * LIVE)

/* A large block gets free pages behind it, and the goal is what it is then. */
static void shorten(char *p)
{
	loam_gc(); /* amid a cycle it would stay as long as it is */
	assert_ptr_equal(loam_realloc(p, STEP), p);
	loam_gc();
}

/* Bytes by which the block has grown in place until there is marking, or none any more. */
static size_t grown_until(char *p, bool marking)
{
	size_t size = STEP;

	while (loam_marking() != marking && size < AHEAD) {
		size += STEP;
		assert_ptr_equal(loam_realloc(p, size), p);
	}
	return size - STEP;
}

/* What a large block grows by is paid for, too, and comes to where a cycle is due. */
static void growing_pays(void **state)
{
	size_t room;
	char *p;

	(void)state;
	up();
	p = loam_alloc_noscan(AHEAD);
	assert_non_null(p);
	shorten(p);
	room = most();
	assert_in_range(grown_until(p, true), LIVE / 16, room);
	shorten(p);
	begin();
	assert_in_range(grown_until(p, false), LIVE / 16, room);
	loam_gc();
	assert_int_equal(loam_free(p), LOAM_OK);
	down();
}

/* So it is when it moves without copying, which its record tells. */
static void moving_pays(void **state)
{
	const struct loam_span *span;
	char *p, *wall;

	(void)state;
	up();
	p = loam_alloc_noscan(1 << 20);
	wall = loam_alloc_noscan(1 << 20);
	span = loam_span_of((uintptr_t)p);
	p = loam_realloc(p, 2 * LIVE);
	assert_ptr_equal(loam_span_of((uintptr_t)p), span);
	assert_true(loam_marking());
	loam_gc();
	assert_int_equal(loam_free(p), LOAM_OK);
	assert_int_equal(loam_free(wall), LOAM_OK);
	down();
}

/* Past the goal each byte costs all that is left; but nobody waits for all of that. */
static void nobody_pays_for_all(void **state)
{
	struct loam_cache *cache = loam_cache_self();

	(void)state;
	up();
	begin();
	loam_live_add(4 * (int64_t)LIVE);
	loam_pace_revise();
	assert_true(loam_pacer_assist_work(&loam_heap.pacer, 64) > LIVE / 2);
	/* so much: who rests looks then whether all goes well */
	assert_int_equal(loam_pace_owed(cache, 4096), 1 << 20);
	assert_int_equal(loam_pace_owed(cache, 1 << 18), 16 << 18);
	loam_live_add(-4 * (int64_t)LIVE);
	down();
}

/* Who makes 2 MiB Ready, to be zeroed maybe, waits with its help for longer. */
static void other_work_lengthens_the_rest(void **state)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t far = loam_host_now_ns() + UINT64_C(3600000000000);

	(void)state;
	up();
	begin();
	cache->rest_until_ns = far;
	loam_heap.pages.huge_again_ns = 0;
	for (size_t made = 0; made < (size_t)4 << 20; made += 64)
		assert_non_null(loam_alloc(64));
	assert_true(cache->rest_until_ns > far);
	cache->rest_until_ns = 0;
	loam_pace_kept(cache, 1000);
	assert_int_equal(cache->rest_until_ns, 0);
	down();
}

/* Memory that goes back by allocations is help, too: who has done some rests. */
static void giving_back_is_rested_for(void **state)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t ready;

	(void)state;
	up();
	down();
	loam_heap.pages.goal = 1;
	loam_heap.busy = true;
	cache->rest_until_ns = loam_host_now_ns() + UINT64_C(3600000000000);
	ready = loam_heap.pages.ready;
	loam_assist(cache, 4096);
	assert_int_equal(loam_heap.pages.ready, ready);
	cache->rest_until_ns = 0;
	loam_assist(cache, 4096);
	assert_true(loam_heap.pages.ready < ready);
	assert_int_not_equal(cache->rest_until_ns, 0);
	cache->rest_until_ns = 0;
}

/* What an allocation in credit owes when the cycle is in such a hurry; whether it would rest before a round, and how long after 1 us of help. */
static void is_hurried(unsigned hurry, uint64_t owed, bool before, uint64_t rest_ns)
{
	struct loam_cache *cache = loam_cache_self();
	uint64_t until = loam_host_now_ns() + 1000;

	cache->credit = 1 << 20;
	cache->rest_until_ns = cache->round_ns = 0;
	if (hurry > 0) {
		loam_gc_lock(&loam_heap.collecting);
		loam_pace_more(0, hurry);
		loam_gc_unlock(&loam_heap.collecting);
	}
	assert_int_equal(loam_pace_owed(cache, 64), owed);
	assert_int_equal(loam_pace_before_round(cache), before);
	cache->round_ns = 0;
	loam_pace_helped(cache, until - 1000, until);
	assert_int_equal(cache->rest_until_ns - until, rest_ns);
	cache->rest_until_ns = 0;
	loam_pace_kept(cache, 1000);
	assert_int_equal(cache->rest_until_ns, 0);
	cache->rest_until_ns = until;
	loam_pace_kept(cache, 1000);
	assert_int_equal(cache->rest_until_ns - until, rest_ns);
	cache->rest_until_ns = 0;
}

/* When rounds do not come to an end, who allocates does not rest before them, then helps whatever it owes, and rests less; but in that cycle alone. */
static void rounds_hurry(void **state)
{
	(void)state;
	up();
	begin();
	is_hurried(0, 0, true, 3000);
	is_hurried(1, 0, false, 3000);
	is_hurried(2, 1 << 20, false, 1000);
	is_hurried(3, 1 << 20, false, 0);
	loam_gc();
	begin();
	is_hurried(0, 0, true, 3000);
	down();
}

static void the_limiter_hears_of_time(void **state)
{
	uint64_t start, before;

	(void)state;
	up();
	assert_int_equal(loam_gc_set_limit((uint64_t)1 << 40), LOAM_OK);
	start = loam_host_now_ns();
	loam_pace_spent(UINT64_C(100000000000), false, start + 1000000000);
	begin();
	before = loam_heap.scanned_bytes;
	while (loam_heap.scanned_bytes == before &&
	       loam_host_now_ns() - start < UINT64_C(20000000000))
		typed();
	assert_true(loam_heap.scanned_bytes > before);
	assert_int_equal(loam_gc_set_limit(UINT64_MAX), LOAM_OK);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test_software(all_kinds_pay),
		heap_test_software(growing_pays),
		heap_test_software(moving_pays),
		heap_test_software(nobody_pays_for_all),
		heap_test_software(other_work_lengthens_the_rest),
		heap_test_software(giving_back_is_rested_for),
		heap_test_software(rounds_hurry),
		heap_test_software(the_limiter_hears_of_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
