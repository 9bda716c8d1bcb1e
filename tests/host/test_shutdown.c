/* SPDX-License-Identifier: MIT */
/* loam_shutdown on Linux: every mapping goes, whatever was done before; what is in the way is named;
 * loam_init works again. [SHUT-2]; frames are counted in tests/fake/test_shutdown.c. */
#include "arch/host/host.h"
#include "gc/heap.h"
#include "gc/persistent.h"
#include "mm/sys.h"
#include "tests/host/support.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static struct loam_thread thread;
static char text[4000];

static void keep_text(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	if (strlen(text) + len < sizeof(text))
		strncat(text, buf, len);
}

static int up(void **state)
{
	(void)state;
	text[0] = '\0';
	loam_host_on_log(keep_text);
	return 0;
}

static int down(void **state)
{
	(void)state;
	loam_host_on_log(NULL);
	assert_null(loam_host_thread());
	assert_int_equal(loam_shutdown(), LOAM_NOENT);
	return 0;
}

/* Addresses that this process has mapped, and how many mappings that is. */
static uint64_t mapped(unsigned *count)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long long lo, hi;
	uint64_t sum = 0;
	char line[512];

	assert_non_null(f);
	*count = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, "[heap]") == NULL && strstr(line, "[stack]") == NULL &&
		    sscanf(line, "%llx-%llx", &lo, &hi) == 2) {
			sum += hi - lo;
			(*count)++;
		}
	}
	fclose(f);
	return sum;
}

static void init(void)
{
	struct loam_config config = {0};

	assert_int_equal(loam_init(&config), LOAM_OK);
}

static void attach(void)
{
	uintptr_t base = loam_align_up((uintptr_t)__builtin_frame_address(0) + 512, 16);

	assert_int_equal(loam_thread_attach(&thread, (void *)base), LOAM_OK);
}

/* Something of everything, and nothing is left with the host. */
static void use(uint64_t seed)
{
	struct rng rng = {seed};
	struct loam_stack s[4];
	static void *keep[100];
	uintptr_t base;
	void *p;

	assert_int_equal(loam_root_add(keep, keep + 100), LOAM_OK);
	for (unsigned i = 0; i < 3000; i++)
		keep[rng_below(&rng, 100)] =
			loam_alloc(1 + rng_below(&rng, i % 50 == 0 ? 300000 : 900));
	loam_gc();
	assert_non_null(loam_persistent_alloc(100, 0, LOAM_OWNER_GC));
	assert_non_null(loam_persistent_alloc(100000, 0, LOAM_OWNER_GC));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loam_stack_alloc((size_t)16384 << i, &s[i]), LOAM_OK);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loam_stack_free(&s[i]), LOAM_OK);
	assert_int_equal(loam_sys_alloc(1 << 20, LOAM_OWNER_TEST, &p), LOAM_OK);
	memset(p, 1, 1 << 20);
	assert_int_equal(loam_sys_free((uintptr_t)p, 1 << 20), LOAM_OK);
	/* only reserved: holds nothing */
	assert_int_equal(loam_sys_reserve(0, 1 << 30, 0, &base), LOAM_OK);
	assert_int_equal(loam_sys_free(base + (1 << 20), 1 << 20), LOAM_OK);
	memset(keep, 0, sizeof(keep));
}

/* ThreadSanitizer maps memory for itself as the program goes. */
#ifdef __SANITIZE_THREAD__
#define OTHERS_MAP true
#else
#define OTHERS_MAP false
#endif

static void a_hundred_times(void **state)
{
	unsigned count, before_count;
	uint64_t before = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct loam_sys_stats sys;
		unsigned char page;
		uintptr_t base;

		init();
		attach();
		base = loam_heap.base;
		use(test_seed() + i);
		if (i % 2 == 0) /* attached or not */
			assert_int_equal(loam_thread_detach(&thread), LOAM_OK);
		assert_int_equal(loam_shutdown(), LOAM_OK);
		assert_null(loam_host_thread());
		assert_int_equal(mincore((void *)base, LOAM_PAGE_SIZE, &page), -1);
		assert_int_equal(errno, ENOMEM);
		loam_sys_stats(&sys);
		assert_int_equal(sys.region_count + sys.state_bytes[LOAM_STATE_READY] +
					 sys.state_bytes[LOAM_STATE_RESERVED],
				 0);
		assert_int_equal(loam_persistent_bytes(LOAM_OWNER_GC), 0);
		if (i == 0) /* what libc maps once is mapped */
			before = mapped(&before_count);
		if (OTHERS_MAP)
			continue;
		assert_int_equal(mapped(&count), before);
		assert_int_equal(count, before_count);
	}
	assert_int_equal(text[0], '\0');
}

/* BUSY, the log says why, and nothing has changed. */
static void refused(const char *why)
{
	struct loam_sys_stats before, after;
	struct loam_thread *self = loam_host_thread();

	text[0] = '\0';
	(void)loam_stack_pool_release(); /* those are loam's own, and go in any case */
	loam_sys_stats(&before);
	assert_int_equal(loam_shutdown(), LOAM_BUSY);
	if (strstr(text, why) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", text, why);
	loam_sys_stats(&after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_ptr_equal(loam_host_thread(), self);
	loam_sys_verify();
	if (self != NULL) {
		loam_heap_verify();
		assert_non_null(loam_alloc(100));
	}
}

static void what_the_host_holds_is_named(void **state)
{
	struct loam_stack s;
	uintptr_t base;
	void *p;

	(void)state;
	init();
	attach();
	assert_int_equal(loam_stack_alloc(32768, &s), LOAM_OK);
	refused("owner stack: 32 KiB Ready, 0 B Prepared");
	assert_int_equal(loam_stack_free(&s), LOAM_OK);
	assert_int_equal(loam_sys_alloc(8192, LOAM_OWNER_HOST, &p), LOAM_OK);
	refused("owner host: 8 KiB Ready");
	assert_int_equal(loam_sys_unused((uintptr_t)p, 4096), LOAM_OK);
	refused("owner host: 4 KiB Ready, 4 KiB Prepared");
	assert_int_equal(loam_sys_free((uintptr_t)p, 8192), LOAM_OK);
	assert_int_equal(loam_sys_reserve(0, 8192, 0, &base), LOAM_OK);
	assert_int_equal(loam_sys_map(base, 8192, LOAM_OWNER_TEST), LOAM_OK);
	refused("owner test: 0 B Ready, 8 KiB Prepared");
	assert_int_equal(loam_sys_free(base, 8192), LOAM_OK);
	assert_int_equal(loam_mm_shutdown(), LOAM_BUSY); /* the heap is up */
	assert_int_equal(loam_mm_idle(), LOAM_OK);
	assert_int_equal(loam_shutdown(), LOAM_OK);
	assert_int_equal(loam_mm_idle(), LOAM_NOENT);
	assert_int_equal(loam_mm_shutdown(), LOAM_NOENT);
}

static bool another_is_here; /* atomic */

static void *another(void *mine)
{
	char here;

	assert_int_equal(loam_thread_attach(mine, (void *)loam_align_up((uintptr_t)&here, 16)),
			 LOAM_OK);
	__atomic_store_n(&another_is_here, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&another_is_here, __ATOMIC_ACQUIRE)) {
		usleep(100);
		loam_gc_safepoint(); /* under a thread sanitizer signals may come late */
	}
	assert_int_equal(loam_thread_detach(mine), LOAM_OK);
	return NULL;
}

static void other_threads_are_in_the_way(void **state)
{
	static struct loam_thread theirs;
	pthread_t id;

	(void)state;
	for (unsigned attached = 0; attached < 2; attached++) {
		init();
		if (attached)
			attach();
		pthread_create(&id, NULL, another, &theirs);
		while (!__atomic_load_n(&another_is_here, __ATOMIC_ACQUIRE))
			usleep(100);
		refused("other threads are attached");
		__atomic_store_n(&another_is_here, false, __ATOMIC_RELEASE);
		pthread_join(id, NULL);
		assert_int_equal(loam_shutdown(), LOAM_OK);
	}
}

/* The n-th request fails while loam comes up: nothing is left, and it can be tried again. */
static void a_failed_init_leaves_nothing(void **state)
{
	unsigned count, before_count, failed = 0;
	uint64_t before;

	(void)state;
	init();
	assert_int_equal(loam_shutdown(), LOAM_OK);
	before = mapped(&before_count);
	for (uint64_t n = 1; n < 40; n++) {
		struct loam_config config = {0};

		loam_host_fail_at(n);
		if (loam_init(&config) == LOAM_OK) {
			loam_host_fail_at(0);
			assert_int_equal(loam_shutdown(), LOAM_OK);
		} else {
			failed++;
		}
		loam_host_fail_at(0);
		assert_int_equal(loam_mm_idle(), LOAM_NOENT);
		if (OTHERS_MAP)
			continue;
		assert_int_equal(mapped(&count), before);
		assert_int_equal(count, before_count);
	}
	assert_true(failed >= 3);
}

/* The memory layer alone. */
static void mm_alone(void **state)
{
	struct loam_config config = {0};
	struct loam_stack s;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(loam_mm_init(&config), LOAM_OK);
		assert_int_equal(loam_stack_alloc(16384, &s), LOAM_OK);
		assert_int_equal(loam_mm_shutdown(), LOAM_BUSY);
		assert_int_equal(loam_stack_free(&s), LOAM_OK);
		assert_int_equal(i == 0 ? loam_shutdown() : loam_mm_shutdown(), LOAM_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_hundred_times, up, down),
		cmocka_unit_test_setup_teardown(what_the_host_holds_is_named, up, down),
		cmocka_unit_test_setup_teardown(other_threads_are_in_the_way, up, down),
		cmocka_unit_test_setup_teardown(a_failed_init_leaves_nothing, up, down),
		cmocka_unit_test_setup_teardown(mm_alone, up, down),
	};
	return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
