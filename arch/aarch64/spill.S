/* SPDX-License-Identifier: MIT */
/* loam_cpu_spill(fn, arg): callee-saved registers onto the stack, then fn(arg, sp). The others
 * are the caller's to save: the AAPCS64 says it has. Contract: arch/cpu.h. */
	.section .text.loam_cpu_spill, "ax"
	.globl loam_cpu_spill
	.type loam_cpu_spill, %function
loam_cpu_spill:
	stp x29, x30, [sp, #-96]!
	mov x29, sp
	stp x19, x20, [sp, #16]
	stp x21, x22, [sp, #32]
	stp x23, x24, [sp, #48]
	stp x25, x26, [sp, #64]
	stp x27, x28, [sp, #80]
	mov x2, x0
	mov x0, x1
	mov x1, sp
	blr x2
	ldp x29, x30, [sp], #96	/* x19 to x28 are as they were: the callee kept them */
	ret
	.size loam_cpu_spill, . - loam_cpu_spill
	.section .note.GNU-stack, "", @progbits
