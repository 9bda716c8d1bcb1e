/* SPDX-License-Identifier: MIT */
/* The formatter, directive by directive, against what C's own prints. */
#include "mm/print.h"
#include "mm/sys.h"
#include "tests/host/support.h"

/* loam_snprintf and snprintf agree on these arguments. */
#define SAME(...)                                                               \
	do {                                                                    \
		char ours[128], libc[128];                                      \
		size_t n = loam_snprintf(ours, sizeof(ours), __VA_ARGS__);      \
		assert_int_equal(n, snprintf(libc, sizeof(libc), __VA_ARGS__)); \
		assert_string_equal(ours, libc);                                \
	} while (0)

static void like_printf(void **state)
{
	(void)state;
	SAME("plain");
	SAME("%%");
	SAME("%d %i %u", -1, 0, 4294967295u);
	SAME("%d", -2147483647 - 1);
	SAME("%lld %llu", (long long)INT64_MIN, (unsigned long long)UINT64_MAX);
	SAME("%ld %lu %zu", -5L, 6UL, (size_t)7);
	SAME("%x %#x %08x %#010x", 0xabcu, 0xabcu, 0xabcu, 0xabcu);
	SAME("%o", 8u);
	SAME("[%5d] [%-5d] [%05d]", 42, 42, 42);
	SAME("[%5d] [%-5d] [%05d]", -42, -42, -42);
	SAME("[%10s] [%-10s] [%.2s] [%*d]", "abc", "abc", "abc", 6, 9);
	SAME("%c%c", 'o', 'k');
	SAME("%016llx", 0xffff800000000000ull);
	SAME("%#018llx", 0x80ull);
}

static void byte_counts(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} want[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{4096, "4 KiB"},
		{1536, "1.5 KiB"},
		{UINT64_C(1) << 20, "1 MiB"},
		{UINT64_C(3) << 29, "1.5 GiB"},
		{UINT64_C(1) << 40, "1 TiB"},
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(want); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat"
		loam_snprintf(buf, sizeof(buf), "%k", want[i].bytes);
#pragma GCC diagnostic pop
		assert_string_equal(buf, want[i].text);
	}
}

static void short_buffers(void **state)
{
	char buf[8];

	(void)state;
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(loam_snprintf(buf, 4, "%d", 123456), 6);
	assert_string_equal(buf, "123");
	assert_int_equal(buf[4], 'x');
	assert_int_equal(loam_snprintf(buf, 0, "abc"), 3);
	assert_int_equal(buf[0], '1');
	assert_int_equal(loam_snprintf(NULL, 0, "abc"), 3);
	assert_true(loam_snprintf(buf, sizeof(buf), "%s", (const char *)NULL) > 0);
}

static size_t logged;

static void count_log(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	(void)buf;
	logged = len;
}

static void a_log_line_is_bounded(void **state)
{
	static char text[1000];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	loam_host_on_log(count_log);
	loam_log(LOAM_LOG_INFO, "%s", text);
	loam_host_on_log(NULL);
	assert_int_equal(logged, 255);
}

static void names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LOAM_ERR_COUNT; i++)
		assert_string_not_equal(loam_err_name(i), "?");
	for (unsigned i = 0; i < LOAM_OWNER_COUNT; i++)
		assert_string_not_equal(loam_owner_name(i), "?");
	for (unsigned i = 0; i < LOAM_STATE_COUNT; i++)
		assert_string_not_equal(loam_state_name(i), "?");
	assert_string_equal(loam_err_name(LOAM_NOVIRT), "NOVIRT");
	assert_string_equal(loam_owner_name(LOAM_OWNER_HEAP), "heap");
	assert_string_equal(loam_state_name(LOAM_STATE_PREPARED), "Prepared");
	assert_string_equal(loam_err_name((enum loam_err)99), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_printf),	 cmocka_unit_test(byte_counts),
		cmocka_unit_test(short_buffers), cmocka_unit_test(a_log_line_is_bounded),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests_name("print", tests, NULL, NULL);
}
