/* SPDX-License-Identifier: MIT */
/* Linux has no physical memory to map and no faults of ours to handle. */
#include <loam/cpu.h>
#include <loam/vm.h>

enum loam_err loam_vm_map(uintptr_t at, struct loam_paddr pa, size_t size, unsigned rights,
			  enum loam_vm_memory memory, uintptr_t *base)
{
	(void)at;
	(void)pa;
	(void)size;
	(void)rights;
	(void)memory;
	(void)base;
	return LOAM_NOTSUP;
}

enum loam_err loam_vm_unmap(uintptr_t base, size_t size)
{
	(void)base;
	(void)size;
	return LOAM_NOTSUP;
}

enum loam_err loam_vm_protect(uintptr_t base, size_t size, unsigned rights)
{
	(void)base;
	(void)size;
	(void)rights;
	return LOAM_NOTSUP;
}

enum loam_err loam_vm_query(uintptr_t addr, struct loam_vm_info *info)
{
	(void)addr;
	(void)info;
	return LOAM_NOTSUP;
}

enum loam_err loam_vm_lazy(uintptr_t base, size_t size, bool lazy)
{
	(void)base;
	(void)size;
	(void)lazy;
	return LOAM_NOTSUP;
}

bool loam_fault_handle(const struct loam_fault *fault)
{
	(void)fault;
	return false;
}

void loam_fault_report(const struct loam_fault *fault)
{
	(void)fault;
}

void loam_fault_areas(const struct loam_fault_area *area, size_t count)
{
	(void)area;
	(void)count;
}

/* The kernel below keeps the CPUs' TLBs. */
void loam_cpu_poll(void)
{
}

enum loam_err loam_cpu_online(void)
{
	return LOAM_NOTSUP;
}

void loam_cpu_offline(void)
{
}

void loam_cpu_quiescent(void)
{
}

void loam_cpu_idle_enter(void)
{
}

void loam_cpu_idle_leave(void)
{
}

void loam_cpu_stats(struct loam_cpu_stats *stats)
{
	*stats = (struct loam_cpu_stats){0};
}
