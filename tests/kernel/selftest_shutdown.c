/* SPDX-License-Identifier: MIT */
/*
 * The last self-test: loam is shut down on the machine, every frame is counted, and it comes up again for the
 * main job. With other CPUs on it is refused, and nothing changes. [SHUT-1], [SHUT-2]
 */
#include "boot/smp.h"
#include "tests/kernel/selftest.h"

#include "mm/print.h"

#define ROUNDS 5u

struct books {
	struct loam_frame_stats frames;
	struct loam_sys_stats sys;
};

static void take_books(struct books *b)
{
	(void)loam_stack_pool_release();
	loam_frame_stats(&b->frames);
	loam_sys_stats(&b->sys);
}

static bool same(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	while (n > 0 && x[n - 1] == y[n - 1])
		n--;
	return n == 0;
}

/* BUSY, and all is as it was. */
static bool is_refused(void)
{
	static struct books before, after;

	take_books(&before);
	if (loam_shutdown() != LOAM_BUSY)
		return false;
	take_books(&after);
	/* other CPUs zero frames ahead meanwhile: which are free changes, how many does not */
	return same(before.frames.owner_frames, after.frames.owner_frames,
		    sizeof(before.frames.owner_frames)) &&
	       same(&before.sys, &after.sys, sizeof(before.sys)) && loam_host_thread() != NULL &&
	       loam_alloc(100) != NULL;
}

static void held_memory_is_in_the_way(const struct loam_boot_info *info)
{
	struct loam_stack stack;
	struct loam_pfn pfn;
	void *p;

	(void)info;
	loam_gc();
	loam_selftest_provokes("what is still held, at each refusal");
	EXPECT(loam_frame_alloc(2, 0, LOAM_OWNER_HOST, &pfn) == LOAM_OK);
	EXPECT(is_refused());
	EXPECT(loam_frame_free(pfn, 2) == LOAM_OK);
	EXPECT(loam_stack_alloc(65536, &stack) == LOAM_OK);
	EXPECT(is_refused());
	EXPECT(loam_stack_free(&stack) == LOAM_OK);
	EXPECT(loam_sys_alloc(4096, LOAM_OWNER_HOST, &p) == LOAM_OK);
	EXPECT(is_refused());
	EXPECT(loam_sys_free((uintptr_t)p, 4096) == LOAM_OK);
	EXPECT(loam_smp_count() == 1 || is_refused());
}

static bool roots(char *lo, char *hi)
{
	return lo >= hi || loam_root_add(lo, hi) == LOAM_OK;
}

/* As loam_kernel_main does. */
static bool comes_up(const struct loam_boot_info *info, struct loam_thread *thread)
{
	struct loam_config config = info->config;

	config.gctrace = (int)loam_cmdline_number(info->cmdline, "gctrace", 0);
	return loam_init(&config) == LOAM_OK &&
	       loam_cpu_set_node(0, loam_percpu[0].node) == LOAM_OK &&
	       loam_thread_attach(thread, info->stack_base) == LOAM_OK &&
	       roots(loam_data_roots, loam_data_roots_end) &&
	       roots(loam_bss_roots, loam_bss_roots_end);
}

/* A heap, a stack, frames that wait, frames known to be zero. */
static bool use(void)
{
	struct loam_stack stack;
	uintptr_t base;
	bool ok = true;
	void *p;

	for (unsigned i = 0; i < 3000; i++)
		ok &= loam_alloc(i % 100 == 0 ? 100000 : 300) != NULL;
	loam_gc();
	(void)loam_frame_idle();
	ok &= loam_stack_alloc(65536, &stack) == LOAM_OK;
	*(volatile uint64_t *)stack.low = 1;
	ok &= loam_stack_free(&stack) == LOAM_OK;
	ok &= loam_sys_alloc(4 << 20, LOAM_OWNER_TEST, &p) == LOAM_OK;
	ok &= loam_sys_unused_later((uintptr_t)p, 1 << 20) == LOAM_OK;
	ok &= loam_sys_free((uintptr_t)p, 4 << 20) == LOAM_OK;
	return ok && loam_sys_reserve(0, 1 << 30, LOAM_HUGE_SIZE, &base) == LOAM_OK;
}

static void everything_goes_back(const struct loam_boot_info *info)
{
	static struct loam_frame_stats first, left;
	struct loam_thread *thread = loam_host_thread();
	struct loam_pfn pfn;
	uint64_t start;

	if (loam_smp_count() > 1)
		return; /* nothing stops them in this kernel */
	for (unsigned round = 0; round < ROUNDS; round++) {
		start = loam_host_now_ns();
		EXPECT(loam_shutdown() == LOAM_OK); /* with all that the tests before have done */
		start = loam_host_now_ns() - start;
		loam_frame_stats(&left);
		EXPECT(loam_host_thread() == NULL);
		EXPECT(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) == LOAM_NOMEM);
		EXPECT(loam_shutdown() == LOAM_NOENT);
		EXPECT(loam_selftest_traps(LOAM_ACCESS_READ, info->config.window_base));
		EXPECT(left.free == left.intake);
		EXPECT(left.free + left.owner_frames[LOAM_OWNER_META] == left.total);
		if (round == 1)
			first = left; /* nothing was done but init and shutdown */
		if (round > 1)
			EXPECT(same(first.free_blocks, left.free_blocks,
				    sizeof(first.free_blocks)));
		EXPECT(comes_up(info, thread));
		if (round > 0)
			EXPECT(use());
	}
	loam_log(LOAM_LOG_INFO, "# all %k are free again after %llu us\n",
		 left.intake * LOAM_PAGE_SIZE, (unsigned long long)(start / 1000));
}

const struct selftest loam_selftest_shutdown[] = {
	{"shutdown: refused while somebody holds something", held_memory_is_in_the_way},
	{"shutdown: every frame goes back, and loam comes up again", everything_goes_back},
	{NULL, NULL},
};
