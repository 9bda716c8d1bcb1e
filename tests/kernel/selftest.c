/* SPDX-License-Identifier: MIT */
/* The runner: TAP on the console. */
#include "tests/kernel/selftest.h"

#include "arch/check.h"
#include "gc/heap.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"

#define SEED 20261124u

static const struct selftest *const table[] = {
	loam_selftest_mmu,   loam_selftest_frame, loam_selftest_sys,   loam_selftest_vm,
	loam_selftest_dirty, loam_selftest_stack, loam_selftest_smp,   loam_selftest_numa,
	loam_selftest_soak,  loam_selftest_heap,  loam_selftest_world, loam_selftest_shutdown,
};
#define TABLES (sizeof(table) / sizeof(table[0]))

static const char *fail_file, *fail_what;
static int fail_line;
static uint64_t random_state;

void loam_selftest_fail(const char *file, int line, const char *what)
{
	if (fail_what != NULL)
		return;
	fail_file = file;
	fail_line = line;
	fail_what = what;
}

void loam_selftest_provokes(const char *what)
{
	loam_log(LOAM_LOG_INFO, "# expected, up to the next result: %s\n", what);
}

uint64_t loam_selftest_random(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

bool loam_selftest_traps(enum loam_access access, uintptr_t addr)
{
	struct loam_fault fault;

	if (!loam_boot_probe(access, (const void *)addr, &fault))
		return false;
	/* the probe reads before it writes, so a missing page shows as a read */
	return !fault.external && fault.addr == addr &&
	       (fault.access == access || (!fault.present && access == LOAM_ACCESS_WRITE));
}

/* After each test, in debug builds: nothing that the test left behind breaks an invariant. */
static void verify_all(void)
{
	const struct loam_ptab *pt = loam_space_ptab();

	loam_sys_verify();
	loam_frame_verify();
	loam_ptab_verify(pt, pt->mmu->va_min, pt->mmu->va_max);
	loam_heap_verify();
}

/* With selftest=WORD, those tests whose name begins with it and a colon. */
static bool wanted(const struct loam_boot_info *info, const struct selftest *s)
{
	char word[16];
	size_t n = 0;

	while (n + 1 < sizeof(word) && s->name[n] != ':') {
		word[n] = s->name[n];
		n++;
	}
	word[n] = '\0';
	return !loam_cmdline_has(info->cmdline, "selftest") ||
	       loam_cmdline_is(info->cmdline, "selftest", word);
}

int loam_selftest_run(const struct loam_boot_info *info)
{
	unsigned count = 0, n = 0;
	int failed = 0;

	loam_oracle_init(info->cmdline);
	random_state = loam_cmdline_number(info->cmdline, "seed", SEED);
	for (size_t t = 0; t < TABLES; t++) {
		for (const struct selftest *s = table[t]; s->name != NULL; s++)
			count += wanted(info, s);
	}
	loam_log(LOAM_LOG_INFO, "\nself-tests, seed=%llu\n1..%u\n",
		 (unsigned long long)random_state, count);
	for (size_t t = 0; t < TABLES; t++) {
		for (const struct selftest *s = table[t]; s->name != NULL; s++) {
			uint64_t start = loam_host_now_ns();

			if (!wanted(info, s))
				continue;
			fail_what = NULL;
			s->run(info);
			loam_log(LOAM_LOG_INFO, "%s %u - %s (%llu us)\n",
				 fail_what == NULL ? "ok" : "not ok", ++n, s->name,
				 (unsigned long long)((loam_host_now_ns() - start) / 1000));
			if (fail_what != NULL) {
				loam_log(LOAM_LOG_ERROR, "# %s:%d: %s\n", fail_file, fail_line,
					 fail_what);
				failed++;
			}
			if (LOAM_DEBUG >= 2)
				verify_all();
			loam_oracle_look(s->name);
		}
	}
	return failed;
}
