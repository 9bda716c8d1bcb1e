/* SPDX-License-Identifier: MIT */
/* CPUs that come and go: <loam/cpu.h>. What they are asked to do stands in mm/tlb.c. */
#include <loam/cpu.h>
#include <loam/host.h>

#include "mm/ptab.h"
#include "mm/space.h"
#include "mm/sys.h"
#include "mm/tlb.h"

enum loam_err loam_cpu_online(void)
{
	unsigned cpu = loam_host_cpu_id();
	uintptr_t irq;

	if (cpu >= LOAM_CPU_MAX || loam_space_ptab()->mmu == NULL)
		return LOAM_INVAL;
	irq = loam_sys_enter();
	if (loam_tlb_has(cpu))
		return loam_sys_leave(irq, LOAM_EXIST);
	loam_space_cpu_init();
	return loam_sys_leave(irq, LOAM_OK);
}

void loam_cpu_offline(void)
{
	uintptr_t irq = loam_sys_enter();

	loam_tlb_leave(loam_host_cpu_id());
	(void)loam_sys_leave(irq, LOAM_OK);
}
