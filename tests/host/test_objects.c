/* SPDX-License-Identifier: MIT */
/* Kinds of objects: tiny, raw, typed [TYPED-1], pinned [PIN-1]; and what is told of them when they are
 * freed wrongly [HISTORY-1]. */
#include "tests/host/heap_setup.h"

#include <signal.h>

static char log_text[8192];

static void keep_log(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	strncat(log_text, buf, len < sizeof(log_text) - strlen(log_text) - 1 ? len : 0);
}

static void *root[256];

static int up(void **state)
{
	int r = heap_up(state);

	memset(root, 0, sizeof(root));
	log_text[0] = '\0';
	assert_int_equal(loam_root_add(root, root + 256), LOAM_OK);
	return r;
}

static int down(void **state)
{
	assert_int_equal(loam_root_remove(root, root + 256), LOAM_OK);
	return heap_down(state);
}

static uintptr_t hide(const void *p)
{
	return ~(uintptr_t)p;
}

static void *shown(uintptr_t hidden)
{
	return (void *)~hidden;
}

/* ---- tiny ---- */

static void tiny_objects_share_blocks(void **state)
{
	static const size_t size[] = {1, 2, 3, 4, 5, 8, 7, 12, 15};
	struct loam_stats before, after;
	unsigned blocks = 0;
	uintptr_t last = 0;

	(void)state;
	loam_stats_read(&before);
	for (unsigned i = 0; i < 180; i++) {
		size_t n = size[i % COUNT_OF(size)];
		unsigned char *p = loam_alloc_tiny(n);

		assert_non_null(p);
		for (size_t b = 0; b < n; b++)
			assert_int_equal(p[b], 0);
		memset(p, (int)i + 1, n);
		if (n % 8 == 0)
			assert_true(loam_is_aligned((uintptr_t)p, 8));
		else if (n % 4 == 0)
			assert_true(loam_is_aligned((uintptr_t)p, 4));
		else if (n % 2 == 0)
			assert_true(loam_is_aligned((uintptr_t)p, 2));
		blocks += ((uintptr_t)p & ~(uintptr_t)15) != last;
		last = (uintptr_t)p & ~(uintptr_t)15;
		root[i] = p;
		assert_int_equal(loam_free(p), LOAM_INVAL);
	}
	assert_true(blocks < 130);
	loam_gc();
	for (unsigned i = 0; i < 180; i++) {
		for (size_t b = 0; b < size[i % COUNT_OF(size)]; b++)
			assert_int_equal(((unsigned char *)root[i])[b], (unsigned char)(i + 1));
	}
	loam_stats_read(&after);
	assert_int_equal(after.tiny_allocs - before.tiny_allocs, 180);
	assert_int_equal(after.heap_objects, after.mallocs - after.frees);
	assert_null(loam_realloc(root[0], 64));
}

/* ---- raw ---- */

__attribute__((noinline)) static void fill_raw(uintptr_t *hidden, void *kept)
{
	void **p = loam_alloc_raw(64);

	p[0] = loam_alloc_noscan(64);
	hidden[0] = hide(p[0]);
	*(void ***)kept = p;
}

static void raw_memory_is_not_scanned(void **state)
{
	uintptr_t hidden;

	(void)state;
	fill_raw(&hidden, &root[0]);
	clear_stack();
	loam_gc();
	assert_null(loam_object_base(shown(hidden)));
	for (unsigned i = 0; i < 1000; i++) {
		unsigned char *raw = loam_alloc_raw(300), *clear;

		memset(raw, 0xa5, 300);
		assert_int_equal(loam_free(raw), LOAM_OK);
		clear = loam_alloc_noscan(300);
		for (unsigned b = 0; b < 300; b++)
			assert_int_equal(clear[b], 0);
		if (i % 2)
			assert_int_equal(loam_free(clear), LOAM_OK);
	}
	assert_ptr_equal(loam_alloc_raw(0), loam_alloc(0));
	assert_null(loam_alloc_raw(SIZE_MAX));
}

/* ---- typed ---- */

/* Words of the type at random; each non-pointer word holds an address all the same. */
__attribute__((noinline)) static void fill_typed(struct rng *rng, uint64_t *bits, size_t words,
						 size_t n, uintptr_t *kept, uintptr_t *lost)
{
	struct loam_type type = {.size = words * 8, .ptr_words = words, .ptr_bits = bits};
	void **p;

	for (size_t i = 0; i < (words + 63) / 64; i++)
		bits[i] = rng_next(rng);
	p = loam_alloc_type(&type, n);
	assert_non_null(p);
	root[0] = p;
	*kept = *lost = 0;
	for (size_t i = 0; i < words * n; i++) {
		size_t in = i % words;
		bool pointer = bits[in / 64] >> (in % 64) & 1;

		if (pointer ? *kept != 0 : *lost != 0)
			continue; /* one of each will do */
		p[i] = loam_alloc_noscan(48);
		*(pointer ? kept : lost) = hide(p[i]);
	}
}

static void types_of_every_shape_are_precise(void **state)
{
	static const size_t shape[][2] = {{2, 1},   {1, 1},  {1, 2},  {3, 1},	{6, 1},
					  {6, 50},  {8, 16}, {64, 1}, {65, 1},	{100, 3},
					  {128, 1}, {33, 9}, {2, 40}, {5, 5000}};
	struct rng rng = {test_seed()};
	unsigned freed = 0, tried = 0;
	static uint64_t bits[2];

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned s = 0; s < COUNT_OF(shape); s++) {
			uintptr_t kept, lost;

			fill_typed(&rng, bits, shape[s][0], shape[s][1], &kept, &lost);
			/* neighbours with all bits and with none: they must not leak into ours */
			loam_alloc_type(&(struct loam_type){shape[s][0] * 8, 0, NULL, "none"},
					shape[s][1]);
			clear_stack();
			loam_gc();
			if (kept != 0)
				assert_non_null(loam_object_base(shown(kept)));
			/* two words, both pointers or of one word each: scanned word by word */
			if (lost != 0 && shape[s][0] * shape[s][1] > 1) {
				freed += loam_object_base(shown(lost)) == NULL;
				tried++;
			}
			root[0] = NULL;
		}
	}
	/* a word on the stack may look like an address now and then */
	assert_true(tried > 200 && freed * 100 >= tried * 97);
}

/* ---- pinned ---- */

__attribute__((noinline)) static void make_pinned(uintptr_t *hidden)
{
	char *p = loam_alloc(100);

	strcpy(p, "held by a device");
	assert_int_equal(loam_pin(p), LOAM_OK);
	assert_int_equal(loam_pin(p + 50), LOAM_OK);
	assert_int_equal(loam_free(p), LOAM_BUSY);
	*hidden = hide(p);
}

/* Pins that are gone take no room, and what is pinned does not move. Apart, for it has much on the stack that may be anything. */
__attribute__((noinline)) static void pins_come_and_go(void)
{
	struct loam_stats before, after;
	char *p = loam_alloc(64);

	loam_stats_read(&before);
	for (unsigned i = 0; i < 20000; i++) {
		void *q = loam_alloc(32);

		assert_int_equal(loam_pin(q), LOAM_OK);
		assert_int_equal(loam_unpin(q), LOAM_OK);
	}
	loam_stats_read(&after);
	assert_true(after.gc_sys <= before.gc_sys + 65536);
	assert_int_equal(loam_pin(p), LOAM_OK);
	assert_null(loam_realloc(p, 5000));
	assert_ptr_equal(loam_realloc(p, 60), p);
	assert_int_equal(loam_unpin(p), LOAM_OK);
	assert_non_null(loam_realloc(p, 5000));
}

static void pinned_objects_stay(void **state)
{
	uintptr_t hidden[600];
	int local;

	(void)state;
	for (unsigned i = 0; i < COUNT_OF(hidden); i++)
		make_pinned(&hidden[i]);
	clear_stack();
	loam_gc();
	for (unsigned i = 0; i < COUNT_OF(hidden); i++) {
		assert_string_equal(shown(hidden[i]), "held by a device");
		assert_int_equal(loam_unpin(shown(hidden[i])), LOAM_OK);
		assert_int_equal(loam_free(shown(hidden[i])), LOAM_BUSY);
		assert_int_equal(loam_unpin(shown(hidden[i])), LOAM_OK);
		assert_int_equal(loam_unpin(shown(hidden[i])), LOAM_NOENT);
		if (i % 2 == 0)
			assert_int_equal(loam_free(shown(hidden[i])), LOAM_OK);
	}
	clear_stack();
	loam_gc();
	for (unsigned i = 10; i < COUNT_OF(hidden) - 10; i++)
		assert_null(loam_object_base(shown(hidden[i])));
	pins_come_and_go();
	assert_int_equal(loam_pin(&local), LOAM_NOENT);
	assert_int_equal(loam_pin(NULL), LOAM_NOENT);
	assert_int_equal(loam_unpin(&local), LOAM_NOENT);
}

/* ---- what a report says ---- */

static void reports_tell_the_history(void **state)
{
	char *p = loam_alloc(200), *q = loam_alloc(48);

	(void)state;
	loam_host_on_log(keep_log);
	assert_int_equal(loam_free(p + 16), LOAM_INVAL);
	assert_non_null(strstr(log_text, "points into an object, not to its start"));
	assert_non_null(strstr(log_text, "class of 208 bytes"));
	assert_non_null(strstr(log_text, "allocated by thread"));
	assert_null(strstr(log_text, "freed by thread"));
	log_text[0] = '\0';
	assert_int_equal(loam_free(p), LOAM_OK);
	assert_int_equal(loam_free(q), LOAM_OK);
	assert_int_equal(loam_free(p), LOAM_NOENT);
	assert_non_null(strstr(log_text, "freed already"));
	assert_non_null(strstr(log_text, "freed by thread"));
	loam_host_on_log(quiet_log);
}

/* ---- realloc of big blocks ---- */

static void big_blocks_change_size_in_place(void **state)
{
	size_t mib = 1 << 20;
	unsigned char *p = loam_alloc_noscan(mib), *q;

	(void)state;
	root[0] = p;
	for (size_t i = 0; i < mib; i++)
		p[i] = (unsigned char)(i >> 8);
	/* shrinking gives the end back, growing again takes it and finds it zero */
	q = loam_realloc(p, mib / 4);
	assert_ptr_equal(q, p);
	assert_true(loam_object_size(q) < mib / 2);
	assert_null(loam_object_base(p + mib - 1));
	q = loam_realloc(q, mib);
	assert_ptr_equal(q, p);
	for (size_t i = 0; i < mib; i++)
		assert_int_equal(q[i], i < mib / 4 ? (unsigned char)(i >> 8) : 0);
	/* behind it all is taken now: it moves, bytes and all */
	root[1] = loam_alloc_noscan(mib);
	q = loam_realloc(q, 8 * mib);
	assert_non_null(q);
	root[0] = q;
	for (size_t i = 0; i < 8 * mib; i += 7)
		assert_int_equal(q[i], i < mib / 4 ? (unsigned char)(i >> 8) : 0);
	assert_int_equal(loam_free(q), LOAM_OK);
}

/* ---- off-heap ---- */

__attribute__((noinline)) static void put_lost(void **p, uintptr_t lost[8])
{
	for (unsigned i = 0; i < 8; i++) {
		p[8 + i] = loam_alloc(48);
		lost[i] = hide(p[8 + i]);
	}
}

static void off_heap_memory_is_nobodys_but_its_makers(void **state)
{
	uintptr_t hidden, lost[8];
	unsigned kept = 0;
	struct loam_stats s;
	void **p = NULL;

	(void)state;
	assert_int_equal(loam_offheap_alloc(0, (void **)&p), LOAM_INVAL);
	assert_int_equal(loam_offheap_alloc(50000, (void **)&p), LOAM_OK);
	for (unsigned i = 0; i < 50000 / 8; i++)
		assert_null(p[i]);
	put_lost(p, lost);
	p[1] = (void *)p;
	hidden = hide(p);
	p = NULL;
	clear_stack();
	loam_gc();
	p = shown(hidden);
	assert_ptr_equal(p[1], p);	 /* kept, without a pointer to it */
	for (unsigned i = 0; i < 8; i++) /* what it points to is not */
		kept += loam_object_base(shown(lost[i])) != NULL;
	assert_true(kept <= 2);
	assert_null(loam_object_base(p)); /* and it is no object */
	assert_int_equal(loam_free(p), LOAM_INVAL);
	assert_int_equal(loam_offheap_free(p + 1), LOAM_INVAL);
	loam_stats_read(&s);
	assert_true(s.heap_inuse >= 50000 && s.alloc < 50000);
	assert_int_equal(loam_offheap_free(p), LOAM_OK);
	assert_int_equal(loam_offheap_free(p), LOAM_INVAL);
}

/* ---- the electric fence ---- */

static sigjmp_buf trapped;

static void on_trap(int sig)
{
	(void)sig;
	siglongjmp(trapped, 1);
}

static bool traps(volatile char *p)
{
	struct sigaction old, act = {.sa_handler = on_trap, .sa_flags = SA_NODEFER};
	bool did = true;

	sigaction(SIGSEGV, &act, &old);
	if (sigsetjmp(trapped, 1) == 0) {
		*p = 1;
		did = false;
	}
	sigaction(SIGSEGV, &old, NULL);
	return did;
}

static void fences_stand_behind_objects(void **state)
{
	static const size_t size[] = {16, 48, 100, 8192, 8200, 40000, 1000000};
	char *last = NULL;

	(void)state;
	loam_heap.efence = true;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < COUNT_OF(size); i++) {
			char *p = round == 2 ? loam_alloc_noscan(size[i]) : loam_alloc(size[i]);
			size_t bytes = loam_object_size(p);

			assert_non_null(p);
			assert_true(bytes >= size[i] && p != last);
			assert_false(traps(p));
			assert_false(traps(p + bytes - 1));
			assert_true(traps(p + bytes));
			root[i] = p;
			if (i % 2 == 0) {
				assert_int_equal(loam_free(p), LOAM_OK);
				assert_true(traps(p));
				assert_int_equal(loam_free(p), LOAM_INVAL);
				root[i] = NULL;
			}
			last = p;
		}
		loam_gc();
		for (unsigned i = 1; i < COUNT_OF(size); i += 2)
			assert_false(traps(root[i]));
	}
	loam_heap_verify();
}

#define object_test(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		object_test(tiny_objects_share_blocks),
		object_test(raw_memory_is_not_scanned),
		object_test(types_of_every_shape_are_precise),
		object_test(pinned_objects_stay),
		object_test(reports_tell_the_history),
		object_test(big_blocks_change_size_in_place),
		object_test(off_heap_memory_is_nobodys_but_its_makers),
		object_test(fences_stand_behind_objects),
	};
	return cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
