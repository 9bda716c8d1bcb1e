/* SPDX-License-Identifier: MIT */
/* Registers onto the stack, for a conservative scan of it. Contract: arch/cpu.h. */
#include "arch/cpu.h"

__attribute__((noinline)) void loam_cpu_spill(void (*fn)(void *arg, const void *sp), void *arg)
{
	size_t bytes = 16;

	/* makes the compiler save every callee-saved register in this frame */
	__builtin_unwind_init();
	/* what is taken from the stack now, of a size that the compiler does not know, lies below them, whatever the
	 * ISA; and below that stands what earlier calls have left, which is no root */
	__asm__ volatile("" : "+r"(bytes) : : "memory");
	fn(arg, __builtin_alloca(bytes));
	__asm__ volatile("" : : : "memory"); /* no tail call: the frame outlives fn */
}
