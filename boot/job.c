/* SPDX-License-Identifier: MIT */
/* The demo's main job. */
#include "boot/job.h"

#include "boot/bintree.h"
#include "boot/replay.h"
#include "boot/vmbench.h"
#include "mm/print.h"

#define DEPTH 12

static int failed(const char *what, const char *why)
{
	loam_log(LOAM_LOG_ERROR, "%s failed: %s\n", what, why);
	return 1;
}

static int trees(const struct loam_boot_info *info)
{
	unsigned depth = (unsigned)loam_cmdline_number(info->cmdline, "depth", DEPTH);
	uint64_t start = loam_host_now_ns();
	const char *bad;

	loam_log(LOAM_LOG_INFO, "\nbinary trees, depth %u\n", depth);
	bad = loam_bintree_run(depth);
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
