/* SPDX-License-Identifier: MIT */
/*
 * The demo kernel: bring loam up, run the self-tests, do the main job, say how it went.
 *
 * Command line: selftest=0 leaves the self-tests out; job=, depth= (boot/job.h); gctrace=1;
 * fault=null|reserved|prepared|sysfault|text|exec|stack ends in that fault and its report.
 */
#include "boot/boot.h"
#include "boot/job.h"
#include "boot/smp.h"
#include "arch/check.h"
#include "mm/print.h"
#include "tests/kernel/selftest.h"

static struct loam_thread thread LOAM_BOOT_NO_ROOTS;

static void show_memory(void)
{
	struct loam_frame_stats f;

	loam_frame_stats(&f);
	loam_log(LOAM_LOG_INFO,
		 "frames: %k usable in %u zone%s, %k free, %k of records (%llu.%02llu %%)\n",
		 (uint64_t)(f.total * LOAM_PAGE_SIZE), f.zone_count, f.zone_count == 1 ? "" : "s",
		 (uint64_t)(f.free * LOAM_PAGE_SIZE), (uint64_t)f.meta_bytes,
		 (unsigned long long)(f.meta_bytes * 100 / LOAM_PAGE_SIZE / f.total),
		 (unsigned long long)(f.meta_bytes * 10000 / LOAM_PAGE_SIZE / f.total % 100));
}

/* ", CPUs 0-1,3": those of the node that run. */
static bool show_cpus(unsigned node)
{
	bool any = false;

	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		unsigned last = cpu;

		if (loam_percpu[cpu].node != node)
			continue;
		while (last + 1 < loam_smp_count() && loam_percpu[last + 1].node == node)
			last++;
		loam_log(LOAM_LOG_INFO, "%s%u", any ? "," : ", CPUs ", cpu);
		if (last > cpu)
			loam_log(LOAM_LOG_INFO, "-%u", last);
		cpu = last;
		any = true;
	}
	return any;
}

static void show_nodes(void)
{
	unsigned count = loam_node_count();

	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++)
		count = loam_percpu[cpu].node >= count ? loam_percpu[cpu].node + 1 : count;
	for (unsigned n = 0; count > 1 && n < count; n++) {
		struct loam_node_stats s = {0};
		bool memory = loam_node_stats(n, &s) == LOAM_OK && s.total > 0;

		loam_log(LOAM_LOG_INFO, memory ? "node %u: %k" : "node %u: no memory", n,
			 (uint64_t)(s.total * LOAM_PAGE_SIZE));
		loam_log(LOAM_LOG_INFO, show_cpus(n) ? "\n" : ", no CPUs\n");
	}
}

static void add_roots(char *lo, char *hi)
{
	enum loam_err err = lo < hi ? loam_root_add(lo, hi) : LOAM_OK;

	LOAM_CHECK(err == LOAM_OK, "loam_root_add failed");
}

int loam_kernel_main(const struct loam_boot_info *info)
{
	struct loam_config config = info->config;
	enum loam_err err;
	unsigned cpus;
	int bad = 0;

	config.gctrace = (int)loam_cmdline_number(info->cmdline, "gctrace", 0);
	config.check = loam_cmdline_is(info->cmdline, "gccheck", "1");
	err = loam_init(&config);
	LOAM_CHECK(err == LOAM_OK, "loam_init failed");
	err = loam_thread_attach(&thread, info->stack_base);
	LOAM_CHECK(err == LOAM_OK, "loam_thread_attach failed");
	add_roots(loam_data_roots, loam_data_roots_end);
	add_roots(loam_bss_roots, loam_bss_roots_end);
	show_memory();
	cpus = loam_smp_start((unsigned)loam_cmdline_number(info->cmdline, "cpus", LOAM_BOOT_CPUS));
	loam_log(LOAM_LOG_INFO, cpus == 1 ? "%u CPU runs\n" : "%u CPUs run\n", cpus);
	show_nodes();
	loam_log(LOAM_LOG_INFO, "loam is up after %llu us\n",
		 (unsigned long long)((loam_host_now_ns() - info->start_ns) / 1000));
	loam_selftest_fault(info->cmdline);
	if (!loam_cmdline_is(info->cmdline, "selftest", "0"))
		bad = loam_selftest_run(info);
	loam_log(LOAM_LOG_INFO, "boot to self-tests done in %llu us\n",
		 (unsigned long long)((loam_host_now_ns() - info->start_ns) / 1000));
	if (bad == 0)
		bad = loam_job_run(info);
	loam_gc();
	loam_log(LOAM_LOG_INFO, "\n");
	loam_dump_stats();
	show_memory();
	loam_dump_heap();
	loam_log(LOAM_LOG_INFO, "\nloam: %s\n", bad == 0 ? "all done, all well" : "FAILED");
	return bad;
}
