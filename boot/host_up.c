/* SPDX-License-Identifier: MIT */
/*
 * The hooks of <loam/host.h> for one CPU and one thread: nobody else runs, so there is nobody to
 * stop. A kernel links this with boot/<isa>/clock.c, or a loam_host_now_ns of its own, and writes
 * loam_host_panic and loam_host_log. One with a scheduler writes them all.
 */
#include <loam/host.h>

static struct loam_thread *attached;

unsigned loam_host_cpu_id(void)
{
	return 0;
}

unsigned loam_host_cpu_count(void)
{
	return 1;
}

void loam_host_ipi(unsigned cpu)
{
	(void)cpu;
}

struct loam_thread *loam_host_thread(void)
{
	return attached;
}

void loam_host_thread_set(struct loam_thread *thread)
{
	attached = thread;
}

void loam_host_world_stop(void)
{
}

void loam_host_world_start(void)
{
}

void loam_host_thread_parked(void)
{
}

void loam_host_stacks(void (*visit)(void *arg, const void *lo, const void *hi), void *arg)
{
	(void)visit;
	(void)arg;
}
