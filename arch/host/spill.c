/* SPDX-License-Identifier: MIT */
/* Registers onto the stack, for a conservative scan of it. Contract: arch/cpu.h. */
#include "arch/cpu.h"

__attribute__((noinline)) void loam_cpu_spill(void (*fn)(void *arg, const void *sp), void *arg)
{
	uintptr_t here = 0;

	/* makes the compiler save every callee-saved register in this frame; the saved values
	 * lie between the lowest local and the frame's top, so `sp` goes below everything */
	__builtin_unwind_init();
	__asm__ volatile("" : "+r"(here) : : "memory");
	fn(arg, (const void *)((uintptr_t)__builtin_frame_address(0) - 512 + here));
	__asm__ volatile("" : : : "memory"); /* no tail call: the frame outlives fn */
}
