/* SPDX-License-Identifier: MIT */
/* The running thread's record, looked up inline: what LOAM_THREAD_HEADER names on Linux. */
#ifndef LOAM_HOST_SELF_H
#define LOAM_HOST_SELF_H

struct loam_thread;

extern __thread struct loam_thread *loam_host_self __attribute__((tls_model("initial-exec")));

/* The same as loam_host_thread. Context: any. */
static inline struct loam_thread *loam_thread_self(void)
{
	return loam_host_self;
}

#endif
