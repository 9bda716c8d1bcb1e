/* SPDX-License-Identifier: MIT */
/*
 * Memory runs out. The n-th request of the heap and the collector to the address space fails, for every
 * n, over a workload that comes by every place that asks: each result is NULL or success, nothing is
 * lost, and once memory is there again the same requests succeed. The linker gives us the
 * requests (-Wl,--wrap in tests/build.mk). And random operations with the live set at a limit.
 *
 * [PAGES-1], [PAGES-2], [SPAN-1], [CENTRAL-1], [HEAP-1], [HEAP-2] are verified after each.
 */
#include "tests/fuzz/heap_ops.h"
#include "gc/mark.h"
#include "tests/host/heap_setup.h"

/* ---- failures ---- */

enum scope {
	ONE,	   /* the n-th request alone */
	FROM_HERE, /* and all behind it */
};

static struct {
	uint64_t at, made, failed;
	enum scope scope;
	bool limit; /* LIMIT, where that may be */
} inject;

static void arm(uint64_t n, enum scope scope, bool limit)
{
	memset(&inject, 0, sizeof(inject));
	inject.at = n;
	inject.scope = scope;
	inject.limit = limit;
}

/* Was there an n-th request? */
static bool disarm(void)
{
	inject.at = 0;
	return inject.failed > 0;
}

static bool must_fail(void)
{
	bool fail;

	inject.made++;
	fail = inject.at != 0 &&
	       (inject.scope == ONE ? inject.made == inject.at : inject.made >= inject.at);
	inject.failed += fail;
	return fail;
}

static enum loam_err lack(void)
{
	return inject.limit ? LOAM_LIMIT : LOAM_NOMEM;
}

enum loam_err __real_loam_sys_reserve(uintptr_t hint, size_t size, size_t align, uintptr_t *base);
enum loam_err __wrap_loam_sys_reserve(uintptr_t hint, size_t size, size_t align, uintptr_t *base)
{
	return must_fail() ? LOAM_NOVIRT : __real_loam_sys_reserve(hint, size, align, base);
}

enum loam_err __real_loam_sys_map(uintptr_t base, size_t size, enum loam_owner owner);
enum loam_err __wrap_loam_sys_map(uintptr_t base, size_t size, enum loam_owner owner)
{
	return must_fail() ? LOAM_NOMEM : __real_loam_sys_map(base, size, owner);
}

enum loam_err __real_loam_sys_used(uintptr_t base, size_t size, bool *zeroed);
enum loam_err __wrap_loam_sys_used(uintptr_t base, size_t size, bool *zeroed)
{
	return must_fail() ? lack() : __real_loam_sys_used(base, size, zeroed);
}

enum loam_err __real_loam_sys_alloc(size_t size, enum loam_owner owner, void **base);
enum loam_err __wrap_loam_sys_alloc(size_t size, enum loam_owner owner, void **base)
{
	return must_fail() ? lack() : __real_loam_sys_alloc(size, owner, base);
}

enum loam_err __real_loam_sys_hugepage(uintptr_t base, size_t size);
enum loam_err __wrap_loam_sys_hugepage(uintptr_t base, size_t size)
{
	return must_fail() ? LOAM_NOMEM : __real_loam_sys_hugepage(base, size);
}

enum loam_err __real_loam_sys_nohugepage(uintptr_t base, size_t size);
enum loam_err __wrap_loam_sys_nohugepage(uintptr_t base, size_t size)
{
	return must_fail() ? LOAM_NOMEM : __real_loam_sys_nohugepage(base, size);
}

enum loam_err __real_loam_sys_collapse(uintptr_t base, size_t size);
enum loam_err __wrap_loam_sys_collapse(uintptr_t base, size_t size)
{
	return must_fail() ? LOAM_NOMEM : __real_loam_sys_collapse(base, size);
}

/* ---- the workload: objects in slots, each with its size and a pattern ---- */

#define SLOTS 400u
#define BLOCK ((size_t)8 << 20)

static unsigned char *slot[SLOTS];
static size_t slot_size[SLOTS];
static unsigned used, refused;

static const uint64_t type_bits[] = {3};
static const struct loam_type type = {
	.size = 32, .ptr_words = 2, .ptr_bits = type_bits, .name = "two pointers"};

/* By words; the first half of each 32 bytes are pointers by the type and stay NULL. */
static uint64_t mark(unsigned i, size_t word)
{
	return word % 4 < 2 ? 0 : (i + 1) * UINT64_C(0x8000000100000001) + word;
}

static void fill(unsigned i, size_t from)
{
	uint64_t *p = (uint64_t *)(void *)slot[i];

	for (size_t w = from / 8; w < slot_size[i] / 8; w++)
		p[w] = mark(i, w);
}

static void check(unsigned i, size_t bytes)
{
	const uint64_t *p = (const uint64_t *)(const void *)slot[i];

	for (size_t w = 0; w < bytes / 8; w++) {
		if (p[w] != mark(i, w))
			fail_msg("word %zu of %zu bytes is lost", w, slot_size[i]);
	}
	assert_true(loam_object_size(slot[i]) >= slot_size[i]);
	assert_ptr_equal(loam_object_base(slot[i]), slot[i]);
}

static void check_zero(const unsigned char *p, size_t from, size_t to)
{
	/* all are like the first */
	if (from < to && (p[from] != 0 || memcmp(p + from, p + from + 1, to - from - 1) != 0))
		fail_msg("not all of bytes %zu to %zu are zero", from, to);
}

static void check_all(void)
{
	for (unsigned i = 0; i < used; i++) {
		if (slot[i] != NULL)
			check(i, slot_size[i]);
	}
}

static void *ask(unsigned kind, size_t size)
{
	switch (kind) {
	case 0:
		return loam_alloc(size);
	case 1:
		return loam_alloc_noscan(size);
	case 2:
		return loam_alloc_type(&type, (size + 31) / 32);
	case 3:
		return loam_alloc_aligned(size, 256);
	default: /* few of them: whoever asks must not mind what they hold */
		return size < 16 ? loam_alloc_tiny(size) : loam_alloc_raw(size);
	}
}

static void take(unsigned kind, size_t size)
{
	unsigned char *p = ask(kind, size);

	if (p == NULL) {
		refused++;
		return;
	}
	check_zero(p, 0, size);
	if (used == SLOTS)
		return;
	slot[used] = p;
	slot_size[used] = size;
	fill(used++, 0);
}

static void resize(unsigned i, size_t size)
{
	unsigned char *p = loam_realloc(slot[i], size);
	size_t keep = size < slot_size[i] ? size : slot_size[i];

	if (p == NULL) {
		refused++;
		check(i, slot_size[i]);
		return;
	}
	slot[i] = p;
	slot_size[i] = size;
	check(i, keep);
	check_zero(p, keep, size);
	fill(i, keep);
}

static void give(unsigned i)
{
	unsigned char *p = slot[i];

	slot[i] = NULL;
	assert_int_equal(loam_free(p), LOAM_OK);
}

/* A thread that comes and goes; if it cannot come back now, it must later. */
static void reattach(void)
{
	struct loam_thread *thread = loam_host_thread();
	void *base = (void *)loam_align_up((uintptr_t)__builtin_frame_address(0) + 4096, 16);
	enum loam_err err;

	assert_int_equal(loam_thread_detach(thread), LOAM_OK);
	err = loam_thread_attach(thread, base);
	if (err == LOAM_OK)
		return;
	assert_true(err == LOAM_NOMEM || err == LOAM_LIMIT || err == LOAM_NOVIRT);
	refused++;
	arm(0, ONE, false);
	assert_int_equal(loam_thread_attach(thread, base), LOAM_OK);
}

/* More than the table of pins holds at first. */
static void pin_some(void)
{
	static void *pinned[300];

	for (unsigned i = 0; i < COUNT_OF(pinned); i++) {
		enum loam_err err;

		pinned[i] = loam_alloc_noscan(16);
		if (pinned[i] == NULL) {
			refused++;
			continue;
		}
		err = loam_pin(pinned[i]);
		assert_true(err == LOAM_OK || err == LOAM_NOMEM || err == LOAM_LIMIT);
		if (err != LOAM_OK) {
			pinned[i] = NULL;
			refused++;
		}
		if (refused > 80)
			break;
	}
	for (unsigned i = 0; i < COUNT_OF(pinned); i++) {
		if (pinned[i] != NULL)
			assert_int_equal(loam_unpin(pinned[i]), LOAM_OK);
		pinned[i] = NULL;
	}
}

static void ignore(void *arg)
{
	(void)arg;
}

/* More than the records' and the table's first pages hold. */
static void specials_some(void)
{
	struct loam_weak weak = {77};
	void *p = loam_alloc_noscan(64);
	unsigned failed = 0;

	for (unsigned i = 0; p != NULL && i < 1200 && failed < 20; i++) {
		enum loam_err err = loam_cleanup_add(p, ignore, NULL, NULL);

		assert_true(err == LOAM_OK || err == LOAM_NOMEM);
		failed += err != LOAM_OK;
	}
	if (p != NULL && loam_weak_make(p, &weak) == LOAM_OK)
		assert_ptr_equal(loam_weak_get(weak), p);
	else
		failed++;
	refused += failed;
	if (p != NULL)
		assert_int_equal(loam_free(p), LOAM_OK);
	assert_null(loam_weak_get(weak));
	if (weak.id != 77)
		assert_int_equal(loam_weak_free(weak), LOAM_OK);
}

static void workload(void)
{
	static const size_t large[] = {32768, 32769, 65536, 300000, 200000, 1200001};
	struct loam_stats stats;

	used = refused = 0;
	memset(slot, 0, sizeof(slot));
	for (unsigned kind = 0; kind < 4; kind++) {
		for (size_t size = 1; size <= 32768; size = size * 3 / 2 + 7)
			take(kind, size);
		take(kind, large[kind % COUNT_OF(large)]);
	}
	loam_gc_work(1000);
	for (unsigned i = 0; i < used; i += 3)
		resize(i, slot_size[i] * 3 + 100);
	for (unsigned i = 1; i < used; i += 3)
		resize(i, slot_size[i] / 2 + 1);
	for (unsigned i = 2; i < used; i += 5)
		give(i);
	loam_gc();
	for (unsigned i = 0; i < COUNT_OF(large); i++)
		take(i % 3, large[i]);
	/* garbage; each that is refused has collected twice */
	for (unsigned i = 0; i < 1000 && refused < 60; i++) {
		if (ask(i % 5, 48 + i % 700) == NULL || ask(4, i % 15 + 1) == NULL)
			refused++;
	}
	pin_some();
	specials_some();
	reattach();
	loam_release();
	loam_gc_set_limit(4 << 20);
	for (unsigned i = 0; i < 16; i++)
		take(i % 4, 4000 * (i + 1));
	loam_gc_set_limit(UINT64_MAX);
	loam_stats_read(&stats);
	assert_int_equal(stats.heap_objects, stats.mallocs - stats.frees);
	while (loam_gc_work(100000))
		;
	check_all();
}

static void after(void)
{
	loam_heap_verify();
	loam_sys_verify();
	check_all();
	loam_gc();
	check_all();
	/* memory is there: the very same succeeds */
	workload();
	assert_int_equal(refused, 0);
	assert_int_equal(loam_root_remove(slot, slot + SLOTS), LOAM_OK);
	memset(slot, 0, sizeof(slot));
}

/* Returns how many requests there were to fail. */
static uint64_t sweep(enum scope scope, bool limit, uint64_t step)
{
	uint64_t n = test_seed() % step + 1;
	bool any = true;

	while (any) {
		heap_up(NULL);
		assert_int_equal(loam_root_add(slot, slot + SLOTS), LOAM_OK);
		arm(n, scope, limit);
		workload();
		any = disarm();
		after();
		heap_down(NULL);
		n += step;
	}
	assert_true(n > 40);
	return n - 1 - step;
}

static void nth_request_fails(void **state)
{
	(void)state;
	printf("# %llu requests\n", (unsigned long long)sweep(ONE, false, 1));
}

static void nth_request_hits_a_limit(void **state)
{
	(void)state;
	sweep(ONE, true, 3); /* the same places: fewer of them */
}

static void all_fail_from_the_nth_on(void **state)
{
	(void)state;
	printf("# %llu requests\n", (unsigned long long)sweep(FROM_HERE, false, 1));
}

/* The back end itself fails: what mm leaves behind is as it was. */
static void back_end_fails_from_the_nth_on(void **state)
{
	uint64_t n = test_seed() % 3 + 1, made;

	(void)state;
	do {
		heap_up(NULL);
		assert_int_equal(loam_root_add(slot, slot + SLOTS), LOAM_OK);
		loam_host_fail_at(n);
		workload();
		made = loam_host_fail_at(0);
		after();
		heap_down(NULL);
		n += 3;
	} while (made + 3 >= n);
	assert_true(n > 40);
}

/* ---- at the limit ---- */

static void soak_at_16_mib(void **state)
{
	const char *text = getenv("SOAK");
	unsigned seconds = text != NULL && *text != '\0' ? (unsigned)atoi(text) : 2;
	uint64_t nulls = 0, ops;

	(void)state;
	ops = heap_ops_soak(test_seed(), seconds, 16 << 20, &nulls);
	printf("# %llu operations in %u s, %llu found no memory\n", (unsigned long long)ops,
	       seconds, (unsigned long long)nulls);
	assert_true(nulls > 0);
}

/* A failed loam_init changed nothing, so it can be called again. */
static void init_can_be_called_again(void **state)
{
	struct loam_config config = {0};

	(void)state;
	arm(1, FROM_HERE, false);
	assert_int_not_equal(loam_init(&config), LOAM_OK);
	disarm();
	assert_int_equal(loam_init(&config), LOAM_OK);
	loam_gc_shutdown();
	loam_mm_reset();
}

/* Setting GOGC again and again does not put the next collection off for ever. */
static void set_percent_does_not_put_off(void **state)
{
	struct loam_stats s;

	(void)state;
	for (unsigned i = 0; i < 400000; i++) {
		loam_gc_set_percent(100);
		loam_alloc(64);
	}
	loam_stats_read(&s);
	assert_true(s.num_gc >= 2);
}

static void *short_root;

/* In a frame of its own, or a register keeps it. */
static __attribute__((noinline)) void make_block(void)
{
	short_root = loam_alloc_noscan(BLOCK);
	assert_non_null(short_root);
}

/* A block that is garbage when marking begins, or once it has been marked, or none. */
static __attribute__((noinline)) void drop_one(bool before, bool after)
{
	(void)loam_release(); /* so no room is left */
	make_block();
	if (before)
		short_root = NULL;
	clear_stack();
	begin_cycle();
	if (!after)
		return;
	loam_mark_shade(NULL, (uintptr_t)short_root);
	short_root = NULL;
}

static __attribute__((noinline)) bool find_room(void)
{
	bool found;

	arm(1, FROM_HERE, false);
	found = loam_alloc_noscan(BLOCK) != NULL;
	disarm();
	return found;
}

/* Who is short of memory while marking goes on waits for the end of that, and only if that was not enough for a whole cycle. */
static void who_is_short_waits_no_longer_than_needed(void **state)
{
	static const struct {
		bool before, after;
		uint64_t cycles;
	} wants[3] = {{true, false, 1}, {false, true, 2}, {false, false, 2}};

	(void)state;
	assert_int_equal(loam_root_add(&short_root, &short_root + 1), LOAM_OK);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t cycles;

		clear_stack();
		drop_one(wants[i].before, wants[i].after);
		clear_stack();
		cycles = loam_heap.cycles;
		assert_int_equal(find_room(), wants[i].before || wants[i].after);
		assert_int_equal(loam_heap.cycles - cycles, wants[i].cycles);
		short_root = NULL;
	}
	loam_root_remove(&short_root, &short_root + 1);
}

/* ---- what earlier runs of the above found ---- */

static void expect_nothing_left(void)
{
	struct loam_sys_stats sys;

	loam_sys_stats(&sys);
	assert_int_equal(sys.region_count, 0);
	assert_int_equal(sys.ready_bytes[LOAM_OWNER_GC], 0);
}

static void setting_up_the_heap_fails(void **state)
{
	struct loam_config config = {0};
	uint64_t n = 0;
	bool any = true;

	(void)state;
	while (any) {
		enum loam_err err;

		assert_int_equal(loam_mm_init(&config), LOAM_OK);
		arm(++n, ONE, false);
		err = loam_gc_init(&config);
		any = disarm();
		if (err != LOAM_OK) {
			expect_nothing_left();
			assert_int_equal(loam_gc_init(&config), LOAM_OK);
		}
		loam_gc_shutdown();
		expect_nothing_left();
		loam_mm_reset();
	}
}

/* A request that cannot be met leaves no tables behind: the limit would be spent on them. */
static void refused_request_costs_nothing(void **state)
{
	struct loam_stats before, after_it;

	(void)state;
	loam_sys_set_limit(16 << 20);
	assert_non_null(loam_alloc(1000));
	loam_stats_read(&before);
	assert_null(loam_alloc((size_t)8 << 30));
	loam_stats_read(&after_it);
	assert_int_equal(after_it.heap_sys, before.heap_sys);
	if (after_it.gc_sys > before.gc_sys + (64 << 10))
		fail_msg("%llu KiB of tables more",
			 (unsigned long long)(after_it.gc_sys - before.gc_sys) >> 10);
}

/* A pinned object cannot move: realloc says so, or leaves it where it is. */
static void realloc_of_what_is_pinned(void **state)
{
	char *p = loam_alloc(100), *q;

	(void)state;
	p[99] = 1;
	assert_int_equal(loam_pin(p), LOAM_OK);
	q = loam_realloc(p, 100000);
	assert_true(q == NULL || q == p);
	assert_int_equal(p[99], 1);
	assert_int_equal(loam_unpin(p), LOAM_OK);
}

/* Pinned and unpinned one after the other: the table of pins stays small. */
static void pins_that_are_gone_take_no_room(void **state)
{
	struct loam_stats before, after_it;

	(void)state;
	loam_stats_read(&before);
	for (unsigned i = 0; i < 200000; i++) {
		void *p = loam_alloc_noscan(16);

		assert_int_equal(loam_pin(p), LOAM_OK);
		assert_int_equal(loam_unpin(p), LOAM_OK);
	}
	loam_stats_read(&after_it);
	if (after_it.gc_sys > before.gc_sys + (1 << 20))
		fail_msg("%llu KiB of tables more",
			 (unsigned long long)(after_it.gc_sys - before.gc_sys) >> 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest soak[] = {cmocka_unit_test(soak_at_16_mib)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nth_request_fails),
		cmocka_unit_test(nth_request_hits_a_limit),
		cmocka_unit_test(all_fail_from_the_nth_on),
		cmocka_unit_test(back_end_fails_from_the_nth_on),
		cmocka_unit_test(init_can_be_called_again),
		heap_test(set_percent_does_not_put_off),
		heap_test(who_is_short_waits_no_longer_than_needed),
		heap_test_software(who_is_short_waits_no_longer_than_needed),
		cmocka_unit_test(soak_at_16_mib),
		heap_test(refused_request_costs_nothing),
		heap_test(pins_that_are_gone_take_no_room),
		heap_test(realloc_of_what_is_pinned),
		cmocka_unit_test(setting_up_the_heap_fails),
	};

	if (argc > 1 && strcmp(argv[1], "soak") == 0)
		return cmocka_run_group_tests_name("soak", soak, NULL, NULL);
	return cmocka_run_group_tests_name("out of memory", tests, NULL, NULL);
}
