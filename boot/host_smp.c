/* SPDX-License-Identifier: MIT */
/*
 * The hooks of <loam/host.h> for our stub: any number of CPUs, of which the boot CPU alone uses the
 * heap. A kernel with threads writes its own.
 */
#include "boot/smp.h"

#include "arch/check.h"

static struct loam_thread *attached;

unsigned loam_host_cpu_id(void)
{
	return loam_machine_cpu_id();
}

unsigned loam_host_cpu_count(void)
{
	return LOAM_BOOT_CPUS;
}

void loam_host_ipi(unsigned cpu)
{
	loam_machine_ipi(cpu);
}

uint64_t loam_host_now_ns(void)
{
	return loam_machine_now_ns();
}

struct loam_thread *loam_host_thread(void)
{
	return loam_machine_cpu_id() == 0 ? attached : NULL;
}

void loam_host_thread_set(struct loam_thread *thread)
{
	LOAM_CHECK(loam_machine_cpu_id() == 0, "the heap is for the boot CPU of this kernel");
	attached = thread;
}

/* Nobody else uses the heap: there is nobody to stop. */
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
