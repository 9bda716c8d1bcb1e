/* SPDX-License-Identifier: MIT */
/* What every host test shares: cmocka, a seed, a generator, and expected panics. */
#ifndef LOAM_TESTS_SUPPORT_H
#define LOAM_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <loam/loam.h>

/* splitmix64: a whole sequence from one number. */
struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
/* 0 .. n - 1, n > 0 */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* The seed of this run: SEED from the environment, else a fixed one. Printed once. */
uint64_t test_seed(void);

/* `stmt` must end in loam_host_panic with a message that contains `text`. Locks held at that
 * point stay held: re-initialise afterwards. */
#define EXPECT_PANIC(stmt, text)                                                         \
	do {                                                                             \
		test_panic_arm();                                                        \
		if (setjmp(test_panic_jump) == 0) {                                      \
			stmt;                                                            \
			test_panic_disarm();                                             \
			fail_msg("no panic: %s", #stmt);                                 \
		}                                                                        \
		test_panic_disarm();                                                     \
		if (strstr(test_panic_message, text) == NULL)                            \
			fail_msg("panic \"%s\" lacks \"%s\"", test_panic_message, text); \
	} while (0)

extern jmp_buf test_panic_jump;
extern char test_panic_message[512];
void test_panic_arm(void);
void test_panic_disarm(void);

/*
 * Both Linux hosts (arch/host/host.c and tests/fake/hooks.c) let a test see a panic first:
 * the handler may longjmp away; if it returns, the process aborts. NULL: none.
 */
typedef void loam_host_panic_handler(const char *file, int line, const char *msg);
void loam_host_on_panic(loam_host_panic_handler *handler);

/* Likewise for the log: NULL prints INFO and ERROR to stderr. */
typedef void loam_host_log_handler(enum loam_log_level level, const char *buf, size_t len);
void loam_host_on_log(loam_host_log_handler *handler);

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* For tests of write tracking (<loam/sys.h>). */
#define NEED_TRACKING()                                                                        \
	do {                                                                                   \
		if (!loam_sys_dirty_can()) {                                                   \
			print_message("# SKIPPED: this kernel cannot tell which pages are "    \
				      "written: 6.7 or later, with userfaultfd, is needed\n"); \
			skip();                                                                \
		}                                                                              \
	} while (0)

#endif
