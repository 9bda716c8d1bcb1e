/* SPDX-License-Identifier: MIT */
/*
 * The hooks of <loam/host.h> for our stub, where there may be several CPUs. Threads, and how they
 * are stopped, are in boot/world.c; the time, and loam_host_thread, which every allocation calls, are
 * with each ISA.
 */
#include "boot/smp.h"

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
