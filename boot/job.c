/* SPDX-License-Identifier: MIT */
/* The demo's main job. */
#include "boot/job.h"

#include "boot/bintree.h"
#include "boot/pause.h"
#include "boot/replay.h"
#include "boot/smp.h"
#include "boot/soak.h"
#include "boot/vmbench.h"
#include "boot/world.h"
#include "arch/check.h"
#include "mm/print.h"

#define DEPTH 12

static int failed(const char *what, const char *why)
{
	loam_log(LOAM_LOG_ERROR, "%s failed: %s\n", what, why);
	return 1;
}

static unsigned depth_wanted(const struct loam_boot_info *info)
{
	return (unsigned)loam_cmdline_number(info->cmdline, "depth", DEPTH);
}

/* One CPU's share of job=cpus: all of the trees. */
static struct share {
	struct loam_thread thread;
	unsigned depth;
	const char *bad;
} share[LOAM_BOOT_CPUS] LOAM_BOOT_NO_ROOTS;

static void trees_on_this_cpu(void *arg)
{
	struct share *s = arg;
	enum loam_err err = loam_thread_attach(&s->thread, loam_smp_stack_base());

	LOAM_CHECK(err == LOAM_OK, "loam_thread_attach failed");
	s->bad = loam_bintree_run(s->depth, true);
	err = loam_thread_detach(&s->thread);
	LOAM_CHECK(err == LOAM_OK, "loam_thread_detach failed");
}

static int trees_on_every_cpu(const struct loam_boot_info *info)
{
	struct loam_world_stats before, after;
	unsigned depth = depth_wanted(info), cpus = loam_smp_count();
	uint64_t start = loam_host_now_ns(), stops;
	int failures = 0;

	loam_log(LOAM_LOG_INFO, "\nbinary trees, depth %u, on each of %u CPUs\n", depth, cpus);
	loam_world_stats(&before);
	for (unsigned cpu = 1; cpu < cpus; cpu++) {
		share[cpu].depth = depth;
		loam_smp_post(cpu, trees_on_this_cpu, &share[cpu]);
	}
	share[0].bad = loam_bintree_run(depth, false); /* this thread is attached already */
	loam_smp_wait();
	loam_world_stats(&after);
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		if (share[cpu].bad != NULL)
			failures += failed("binary trees", share[cpu].bad);
	}
	stops = after.stops - before.stops;
	loam_log(LOAM_LOG_INFO, "  all of it on %u CPUs, %llu ms; %llu stops, %llu us each\n",
		 cpus - (unsigned)failures,
		 (unsigned long long)((loam_host_now_ns() - start) / 1000000),
		 (unsigned long long)stops,
		 (unsigned long long)(stops > 0 ? (after.stop_ns - before.stop_ns) / stops / 1000
						: 0));
	return failures > 0;
}

static int trees(const struct loam_boot_info *info)
{
	unsigned depth = depth_wanted(info);
	uint64_t start = loam_host_now_ns();
	const char *bad;

	loam_log(LOAM_LOG_INFO, "\nbinary trees, depth %u\n", depth);
	bad = loam_bintree_run(depth, false);
	if (bad != NULL)
		return failed("binary trees", bad);
	loam_log(LOAM_LOG_INFO, "  %llu ms\n",
		 (unsigned long long)((loam_host_now_ns() - start) / 1000000));
	return 0;
}

static int replay(const struct loam_boot_info *info, enum loam_replay_mode mode)
{
	struct loam_replay_result r;
	struct loam_trace trace;
	const char *bad = loam_trace_open(info->initrd, info->initrd_bytes, &trace);

	if (bad != NULL)
		return failed("replay", bad);
	loam_log(LOAM_LOG_INFO, "\nreplay of %s: %llu calls, %k at the peak; free %s\n", trace.name,
		 (unsigned long long)trace.ops, (uint64_t)trace.peak_bytes,
		 mode == LOAM_REPLAY_GC ? "drops the reference" : "is loam_free");
	bad = loam_replay(info->initrd, info->initrd_bytes, mode, true, &r);
	if (bad != NULL)
		return failed("replay", bad);
	loam_log(LOAM_LOG_INFO, "  %llu blocks, %k allocated, %k checked, %llu ms\n",
		 (unsigned long long)r.allocs, (uint64_t)r.alloc_bytes, (uint64_t)r.checked_bytes,
		 (unsigned long long)(r.ns / 1000000));
	return 0;
}

int loam_job_run(const struct loam_boot_info *info)
{
	int bad = 0;
	const char *why;

	if (loam_cmdline_is(info->cmdline, "job", "vm")) {
		why = loam_vmbench_run();
		return why != NULL ? failed("benchmark", why) : 0;
	}
	if (loam_cmdline_is(info->cmdline, "job", "pause")) {
		why = loam_pause_run(info);
		return why != NULL ? failed("pauses", why) : 0;
	}
	if (loam_cmdline_is(info->cmdline, "job", "soak")) {
		why = loam_soak_run(info);
		return why != NULL ? failed("soak", why) : 0;
	}
	if (loam_cmdline_is(info->cmdline, "job", "cpus"))
		return trees_on_every_cpu(info);
	if (!loam_cmdline_is(info->cmdline, "job", "replay"))
		bad |= trees(info);
	if (loam_cmdline_is(info->cmdline, "job", "trees"))
		return bad;
	if (info->initrd == NULL) {
		loam_log(LOAM_LOG_INFO,
			 "\nno boot module: nothing to replay (INPUT=file gives one)\n");
		return bad;
	}
	bad |= replay(info, LOAM_REPLAY_GC);
	loam_dump_heap(); /* still full: nothing is collected yet */
	bad |= replay(info, LOAM_REPLAY_FREE);
	return bad;
}
