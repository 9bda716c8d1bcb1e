/* SPDX-License-Identifier: MIT */
/*
 * Self-tests that run on the machine itself, between loam_init and the main job. They print TAP
 * and leave everything as they found it.
 */
#ifndef LOAM_TESTS_KERNEL_SELFTEST_H
#define LOAM_TESTS_KERNEL_SELFTEST_H

#include "boot/boot.h"

/* Run all, or those whose name begins with WORD if selftest=WORD is on the command line; returns how many
 * failed. `seed=` seeds the random ones. */
int loam_selftest_run(const struct loam_boot_info *info);

/* With fault=null|reserved|prepared|sysfault|text|exec|stack|loamstack on the command line: cause that
 * fault, which ends in the fatal report and exit status 2. Otherwise nothing. */
void loam_selftest_fault(const char *cmdline);

/* ---- for the tests themselves ---- */

struct selftest {
	const char *name;
	void (*run)(const struct loam_boot_info *info);
};

/* Tables of tests, one a file; a null name ends each. */
extern const struct selftest loam_selftest_mmu[], loam_selftest_frame[], loam_selftest_sys[],
	loam_selftest_vm[], loam_selftest_dirty[], loam_selftest_stack[], loam_selftest_smp[],
	loam_selftest_numa[], loam_selftest_soak[], loam_selftest_heap[], loam_selftest_world[],
	loam_selftest_shutdown[];

/* Note the first failure of the running test. */
void loam_selftest_fail(const char *file, int line, const char *what);

/* Tell the reader of the log that what comes up to this test's result is meant to be: it looks like trouble. */
void loam_selftest_provokes(const char *what);

/* Leave the test if `c` does not hold. */
#define EXPECT(c)                                                   \
	do {                                                        \
		if (!(c)) {                                         \
			loam_selftest_fail(__FILE__, __LINE__, #c); \
			return;                                     \
		}                                                   \
	} while (0)

/* ---- the emulator as an oracle (selftest_oracle.c) ---- */

/* Reads oracle=1|lie. Without it a look does nothing. */
void loam_oracle_init(const char *cmdline);
/* Say what is mapped, and wait until the script outside has compared it with the emulator's own
 * view. After each test there is a look; a test may want more in the middle. Context: boot CPU. */
void loam_oracle_look(const char *what);

/* splitmix64, seeded once per run. */
uint64_t loam_selftest_random(void);

/* Does touching `addr` trap, as a missing page or a missing right? */
bool loam_selftest_traps(enum loam_access access, uintptr_t addr);

#endif
