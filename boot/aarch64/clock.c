/* SPDX-License-Identifier: MIT */
/* loam_host_now_ns on Arm: the virtual counter, whose frequency CNTFRQ_EL0 tells. */
#include <loam/host.h>

uint64_t loam_host_now_ns(void)
{
	uint64_t ticks, hz;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	return ticks / hz * 1000000000u + ticks % hz * 1000000000u / hz;
}
