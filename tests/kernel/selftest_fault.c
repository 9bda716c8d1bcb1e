/* SPDX-License-Identifier: MIT */
/* Faults on purpose: each ends in the fatal report and exit status 2. */
#include "arch/mmu.h"
#include "mm/print.h"
#include "tests/kernel/selftest.h"

#define RANGE ((size_t)1 << 20)

static void read_at(uintptr_t addr)
{
	__asm__ volatile("" : "+r"(addr)); /* the compiler knows too much about null */
	(void)*(volatile char *)addr;
}

static void write_at(uintptr_t addr)
{
	__asm__ volatile("" : "+r"(addr));
	*(volatile char *)addr = 1;
}

static uintptr_t reserve(void)
{
	uintptr_t base = 0;

	if (loam_sys_reserve(0, RANGE, 0, &base) != LOAM_OK)
		loam_host_panic(__FILE__, __LINE__, "no address space for the fault test");
	return base;
}

static uintptr_t map(void)
{
	uintptr_t base = reserve();

	if (loam_sys_map(base, RANGE, LOAM_OWNER_TEST) != LOAM_OK)
		loam_host_panic(__FILE__, __LINE__, "no tables for the fault test");
	return base;
}

static uintptr_t use(void)
{
	uintptr_t base = map();

	if (loam_sys_used(base, RANGE, NULL) != LOAM_OK)
		loam_host_panic(__FILE__, __LINE__, "no frames for the fault test");
	write_at(base + 0x1234);
	return base;
}

/* Every call eats stack until the guard is hit. */
__attribute__((noinline)) static unsigned eat_stack(unsigned n)
{
	volatile char food[200];

	food[n % sizeof(food)] = (char)n;
	return n == UINT32_MAX ? 0 : eat_stack(n + 1) + (unsigned)food[0];
}

static void eat_all(void *arg)
{
	(void)arg;
	(void)eat_stack(0);
}

static void execute_heap(void)
{
	void *p = loam_alloc_noscan(64);

	loam_icache_sync(p, 64);
	((void (*)(void))(uintptr_t)p)();
}

static void cause(const char *cmdline)
{
	uintptr_t base;

	if (loam_cmdline_is(cmdline, "fault", "null")) {
		write_at(8);
	} else if (loam_cmdline_is(cmdline, "fault", "reserved")) {
		read_at(reserve() + 0x1234);
	} else if (loam_cmdline_is(cmdline, "fault", "prepared")) {
		write_at(map() + 0x1234);
	} else if (loam_cmdline_is(cmdline, "fault", "sysfault")) {
		base = use();
		if (loam_sys_fault(base, RANGE) == LOAM_OK)
			read_at(base + 0x1234);
	} else if (loam_cmdline_is(cmdline, "fault", "text")) {
		write_at((uintptr_t)&loam_selftest_fault);
	} else if (loam_cmdline_is(cmdline, "fault", "exec")) {
		execute_heap();
	} else if (loam_cmdline_is(cmdline, "fault", "stack")) {
		(void)eat_stack(0);
	} else if (loam_cmdline_is(cmdline, "fault", "loamstack")) {
		struct loam_stack s;

		if (loam_stack_alloc(RANGE, &s) == LOAM_OK)
			loam_boot_call_on(s.high, eat_all, NULL);
	} else {
		return;
	}
	loam_host_panic(__FILE__, __LINE__, "the fault that was asked for did not happen");
}

void loam_selftest_fault(const char *cmdline)
{
	cause(cmdline);
}
