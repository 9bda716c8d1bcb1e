/* SPDX-License-Identifier: MIT */
/* The heap's calls, one by one: zeroing, alignment, free, realloc, running out. [SPAN-1], [SPAN-2],
 * [SPAN-3], [PAGES-1] to [PAGES-3], [CENTRAL-1], [BIN-1], [BIN-2], [CACHE-1] and [HEAP-1] to [HEAP-6]
 * are verified throughout. */
#include "tests/host/heap_setup.h"

static bool all_zero(const void *p, size_t n)
{
	const char *c = p;

	for (size_t i = 0; i < n; i++) {
		if (c[i] != 0)
			return false;
	}
	return true;
}

static void fresh_memory_is_zero_and_aligned(void **state)
{
	struct rng rng = {test_seed()};
	static void *p[512];
	size_t size[512] = {0};

	(void)state;
	loam_gc_set_percent(-1);
	loam_root_add(p, p + 512);
	for (int n = 0; n < 100000; n++) {
		unsigned i = (unsigned)rng_below(&rng, 512);

		if (p[i] != NULL) {
			assert_int_equal(loam_free(p[i]), LOAM_OK);
			p[i] = NULL;
			continue;
		}
		size[i] = rng_below(&rng, 20) != 0 ? 1 + rng_below(&rng, 600)
						   : 1 + rng_below(&rng, 100000);
		p[i] = rng_below(&rng, 2) ? loam_alloc(size[i]) : loam_alloc_noscan(size[i]);
		assert_non_null(p[i]);
		assert_true(loam_is_aligned((uintptr_t)p[i], 16));
		assert_true(all_zero(p[i], size[i]));
		assert_true(loam_object_size(p[i]) >= size[i]);
		assert_ptr_equal(loam_object_base((char *)p[i] + size[i] - 1), p[i]);
		memset(p[i], 0x5a, size[i]);
	}
	loam_heap_verify();
	loam_root_remove(p, p + 512);
	memset(p, 0, sizeof(p));
}

static void alignment_requests(void **state)
{
	(void)state;
	for (size_t align = 1; align <= 4096; align *= 2) {
		for (size_t size = 1; size < 70000; size = size * 3 + 1) {
			void *p = loam_alloc_aligned(size, align);

			assert_non_null(p);
			assert_true(loam_is_aligned((uintptr_t)p, align));
			assert_true(loam_object_size(p) >= size);
		}
	}
	assert_null(loam_alloc_aligned(16, 3));
	for (size_t align = 8192; align <= (size_t)64 << 20; align *= 4) {
		void *p = loam_alloc_aligned(16, align);

		assert_non_null(p);
		assert_true(loam_is_aligned((uintptr_t)p, align));
	}
	assert_null(loam_alloc_aligned(16, 2 * LOAM_ALIGN_MAX));
}

static void bad_frees_are_told_and_harmless(void **state)
{
	char *small = loam_alloc(100), *large = loam_alloc(100000);
	int local;

	(void)state;
	small[0] = 1;
	large[0] = 2;
	assert_int_equal(loam_free(NULL), LOAM_OK);
	assert_int_equal(loam_free(loam_alloc(0)), LOAM_OK);
	assert_int_equal(loam_free(small + 8), LOAM_INVAL);
	assert_int_equal(loam_free(small + 1), LOAM_INVAL);
	assert_int_equal(loam_free(large + 4096), LOAM_INVAL);
	assert_int_equal(loam_free(&local), LOAM_INVAL);
	assert_int_equal(loam_free((void *)(uintptr_t)16), LOAM_INVAL);
	assert_int_equal(small[0] + large[0], 3);
	assert_int_equal(loam_free(small), LOAM_OK);
	assert_int_equal(loam_free(small), LOAM_NOENT);
	assert_int_equal(loam_free(large), LOAM_OK);
	assert_int_equal(loam_free(large), LOAM_INVAL); /* its span is gone */
	loam_heap_verify();
}

static void realloc_keeps_contents(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t size = 1 + rng_below(&rng, 1000);
		unsigned char *p = loam_realloc(NULL, size);

		for (size_t i = 0; i < size; i++)
			p[i] = (unsigned char)(i * 7 + 1);
		for (int step = 0; step < 10; step++) {
			size_t next = 1 + rng_below(&rng, step == 5 ? 200000 : 2000);
			unsigned char *q = loam_realloc(p, next);
			size_t keep = next < size ? next : size;

			assert_non_null(q);
			for (size_t i = 0; i < keep; i++)
				assert_int_equal(q[i], (unsigned char)(i * 7 + 1));
			assert_true(all_zero(q + keep, next - keep));
			for (size_t i = keep; i < next; i++)
				q[i] = (unsigned char)(i * 7 + 1);
			p = q;
			size = next;
		}
		assert_null(loam_realloc(p, 0));
	}
	assert_null(loam_realloc((char *)loam_alloc(64) + 8, 128));
}

static void absurd_sizes_give_null(void **state)
{
	static const uint64_t one = 1;
	static const struct loam_type type = {.size = 16, .ptr_words = 1, .ptr_bits = &one};

	(void)state;
	assert_null(loam_alloc(SIZE_MAX));
	assert_null(loam_alloc(LOAM_ALLOC_MAX + 1));
	assert_null(loam_alloc_type(&type, SIZE_MAX / 8));
}

__attribute__((noinline)) static void run_out(void)
{
	void **head = NULL;
	size_t count = 0;

	for (;;) {
		void **p = loam_alloc(1000);

		if (p == NULL)
			break;
		*p = (void *)head;
		head = p;
		count++;
	}
	assert_true(count > 4000);
	assert_null(loam_alloc(1 << 20));
	assert_null(loam_realloc(head, 4 << 20));
	loam_heap_verify();
}

/* A limit on Ready bytes: NULL, no crash; and after dropping what was held, all is well again. */
static void running_out_gives_null(void **state)
{
	(void)state;
	loam_sys_set_limit(8 << 20);
	run_out();
	clear_stack();
	for (int i = 0; i < 20000; i++)
		assert_non_null(loam_alloc(1000));
}

/* The n-th request to the address space fails, for every n: NULL or success, and a sound heap. */
static void every_nth_failure_is_survived(void **state)
{
	(void)state;
	for (uint64_t n = 1; n < 60; n++) {
		loam_host_fail_at(n);
		for (int i = 0; i < 40; i++) {
			char *p = loam_alloc((size_t)(i * i * 37 + 1));

			if (p != NULL)
				p[0] = 1;
		}
		loam_host_fail_at(0);
		loam_heap_verify();
		assert_non_null(loam_alloc(100000));
		loam_gc();
	}
}

static void memory_is_given_back(void **state)
{
	struct loam_stats peak, after;
	static void *hold[400];

	(void)state;
	loam_root_add(hold, hold + 400);
	for (int i = 0; i < 400; i++)
		hold[i] = loam_alloc_noscan(100000);
	loam_stats_read(&peak);
	memset(hold, 0, sizeof(hold));
	clear_stack();
	assert_true(loam_release() > (uint64_t)36 << 20);
	loam_stats_read(&after);
	assert_true(peak.heap_inuse > 39 << 20);
	assert_true(after.heap_inuse < 2 << 20);
	assert_true(after.heap_sys - after.heap_released < 2 << 20);
	assert_int_equal(after.heap_sys, after.heap_inuse + after.heap_idle);
	assert_int_equal(after.heap_objects, after.mallocs - after.frees);
	loam_root_remove(hold, hold + 400);
}

static void heap_needs_attached_thread(void **state)
{
	struct loam_thread other;

	(void)state;
	assert_int_equal(loam_thread_attach(&other, test_panic_message), LOAM_EXIST);
	assert_int_equal(loam_thread_detach(&other), LOAM_NOENT);
	assert_int_equal(loam_thread_detach(&test_thread), LOAM_OK);
	EXPECT_PANIC(loam_alloc(16), "loam_thread_attach");
	assert_int_equal(loam_thread_attach(&test_thread, (void *)64), LOAM_INVAL);
	assert_int_equal(loam_thread_attach(&test_thread,
					    (void *)loam_align_up((uintptr_t)&other + 8192, 16)),
			 LOAM_OK);
}

/* Instead of looking for a free slot for ever. */
static void a_wrong_count_stops_loudly(void **state)
{
	void *a = loam_alloc_noscan(4096), *b = loam_alloc_noscan(4096);
	struct loam_span *span = loam_span_of((uintptr_t)a);

	(void)state;
	assert_ptr_equal(loam_span_of((uintptr_t)b), span);
	assert_int_equal(span->used, span->slots);
	span->used--;
	EXPECT_PANIC(loam_alloc_noscan(4096), "SPAN-3");
	span->used++;
	loam_cache_leave(loam_cache_self());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(fresh_memory_is_zero_and_aligned), heap_test(alignment_requests),
		heap_test(bad_frees_are_told_and_harmless),  heap_test(realloc_keeps_contents),
		heap_test(absurd_sizes_give_null),	     heap_test(running_out_gives_null),
		heap_test(every_nth_failure_is_survived),    heap_test(memory_is_given_back),
		heap_test(heap_needs_attached_thread),	     heap_test(a_wrong_count_stops_loudly),
	};
	return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
