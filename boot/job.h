/* SPDX-License-Identifier: MIT */
/* The demo's main job: a garbage-collected program, and a real program's allocations. */
#ifndef LOAM_BOOT_JOB_H
#define LOAM_BOOT_JOB_H

#include "boot/boot.h"

/*
 * Run what the command line asks for: job=trees, job=replay, or both (nothing said), or job=cpus, which is
 * the trees on every CPU at once; depth=N for the trees; the replay is of info->initrd, in both modes. Returns 0, or 1 after saying what went
 * wrong. Context: thread (attached).
 */
int loam_job_run(const struct loam_boot_info *info);

#endif
