/* SPDX-License-Identifier: MIT */
/* The main job on Linux: binary trees, the shipped trace in both modes, and traces that lie. */
#include "boot/bintree.h"
#include "boot/replay.h"
#include "tests/host/heap_setup.h"

static unsigned char *trace_bytes(size_t *size)
{
	static unsigned char bytes[1 << 20];
	FILE *f = fopen("tests/tools/traces/perl.loamtrace", "rb");

	assert_non_null(f);
	*size = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	assert_true(*size < sizeof(bytes));
	return bytes;
}

static void trees(void **state)
{
	(void)state;
	assert_null(loam_bintree_run(10, true));
	assert_non_null(loam_bintree_run(3, true));
	assert_non_null(loam_bintree_run(25, true));
}

static void trees_that_do_not_fit(void **state)
{
	(void)state;
	loam_sys_set_limit(4 << 20);
	assert_string_equal(loam_bintree_run(18, true), "out of memory");
}

static void shipped_trace(void **state)
{
	struct loam_replay_result gc, freed;
	size_t size;
	const unsigned char *p = trace_bytes(&size);

	(void)state;
	assert_null(loam_replay(p, size, LOAM_REPLAY_GC, false, &gc));
	assert_null(loam_replay(p, size, LOAM_REPLAY_FREE, false, &freed));
	assert_int_equal(gc.ops, freed.ops);
	assert_true(gc.ops > 100000);
	assert_int_equal(gc.allocs, freed.allocs);
	assert_int_equal(gc.alloc_bytes, freed.alloc_bytes);
	assert_true(gc.checked_bytes > 1 << 20);
}

/* ---- traces made by hand ---- */

static unsigned char made[4096];
static size_t made_at;

static void varint(uint64_t v)
{
	for (; v >= 128; v >>= 7)
		made[made_at++] = (unsigned char)(v | 128);
	made[made_at++] = (unsigned char)v;
}

static void le64(size_t at, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		made[at + i] = (unsigned char)(v >> (8 * i));
}

static void op(unsigned kind, uint64_t slot, uint64_t bytes)
{
	varint(slot << 2 | kind);
	if (kind != LOAM_TRACE_FREE)
		varint(bytes);
}

static void begin(void)
{
	memset(made, 0, sizeof(made));
	made_at = LOAM_TRACE_HEADER;
}

/* A header that is right for what has been put. */
static void seal(uint64_t ops, uint64_t slots)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = LOAM_TRACE_HEADER; i < made_at; i++)
		hash = (hash ^ made[i]) * UINT64_C(0x100000001b3);
	memcpy(made, LOAM_TRACE_MAGIC, 8);
	le64(8, ops);
	le64(16, slots);
	le64(32, made_at - LOAM_TRACE_HEADER);
	le64(40, hash);
	memcpy(made + 48, "made", 4);
}

static const char *run_made(void)
{
	struct loam_replay_result r;

	return loam_replay(made, made_at, LOAM_REPLAY_FREE, false, &r);
}

static void a_trace_by_hand(void **state)
{
	struct loam_replay_result r;

	(void)state;
	begin();
	op(LOAM_TRACE_ALLOC, 0, 100);
	op(LOAM_TRACE_ALLOC, 1, 5);
	op(LOAM_TRACE_REALLOC, 0, 5000);
	op(LOAM_TRACE_FREE, 1, 0);
	op(LOAM_TRACE_REALLOC, 0, 3);
	seal(5, 2);
	assert_null(loam_replay(made, made_at, LOAM_REPLAY_GC, false, &r));
	assert_int_equal(r.ops, 5);
	assert_int_equal(r.allocs, 2);
	assert_int_equal(r.alloc_bytes, 100 + 5 + 5000 + 3);
	assert_int_equal(r.live, 1);
	assert_int_equal(r.live_bytes, 3);
}

static void traces_that_make_no_sense(void **state)
{
	(void)state;
	begin();
	op(LOAM_TRACE_ALLOC, 7, 100); /* no such slot */
	seal(1, 2);
	assert_non_null(run_made());
	begin();
	op(LOAM_TRACE_FREE, 0, 0); /* nothing there */
	seal(1, 2);
	assert_non_null(run_made());
	begin();
	op(LOAM_TRACE_ALLOC, 0, 10);
	op(LOAM_TRACE_ALLOC, 0, 10); /* taken */
	seal(2, 2);
	assert_non_null(run_made());
	begin();
	op(LOAM_TRACE_REALLOC, 1, 10); /* of nothing */
	seal(1, 2);
	assert_non_null(run_made());
	begin();
	op(3, 0, 10); /* no such kind */
	seal(1, 2);
	assert_non_null(run_made());
	begin();
	op(LOAM_TRACE_ALLOC, 0, UINT64_C(1) << 60);
	seal(1, 2);
	assert_non_null(run_made());
	begin();
	op(LOAM_TRACE_ALLOC, 0, 10);
	seal(2, 2); /* one operation short */
	assert_non_null(run_made());
	begin();
	op(LOAM_TRACE_ALLOC, 0, 10);
	seal(1, UINT64_MAX); /* absurd */
	assert_non_null(run_made());
}

/* The shipped one, cut and with flipped bits: told at once, by the header or the checksum. */
static void corrupt_traces(void **state)
{
	struct rng rng = {test_seed()};
	struct loam_trace trace;
	size_t size;
	unsigned char *p = trace_bytes(&size);

	(void)state;
	for (unsigned n = 0; n < 40; n++) {
		size_t cut = n < 20 ? n * 5 : rng_below(&rng, size);
		unsigned char *exact = malloc(cut > 0 ? cut : 1);

		memcpy(exact, p, cut);
		assert_non_null(loam_trace_open(exact, cut, &trace));
		free(exact);
	}
	for (unsigned n = 0; n < 40; n++) {
		/* counts in the header are checked by the replay; what the hash covers here */
		size_t at = LOAM_TRACE_HEADER + rng_below(&rng, size - LOAM_TRACE_HEADER);

		p[at] ^= 4;
		assert_non_null(loam_trace_open(p, size, &trace));
		p[at] ^= 4;
	}
	assert_null(loam_trace_open(p, size, &trace));
	assert_string_equal(trace.name, "perl");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(trees),
		heap_test(trees_that_do_not_fit),
		heap_test(shipped_trace),
		heap_test(a_trace_by_hand),
		heap_test(traces_that_make_no_sense),
		heap_test(corrupt_traces),
	};
	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
