/* SPDX-License-Identifier: MIT */
/* loam_cpu_spill(fn, arg): callee-saved registers onto the stack, then fn(arg, sp). The others
 * are the caller's to save: the System V ABI says it has. Contract: arch/cpu.h. */
	.section .text.loam_cpu_spill, "ax"
	.globl loam_cpu_spill
	.type loam_cpu_spill, @function
loam_cpu_spill:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rsp, %rsi
	subq $8, %rsp		/* 16-byte alignment at the call */
	call *%rax
	addq $56, %rsp		/* nothing was changed: the callee kept them */
	ret
	.size loam_cpu_spill, . - loam_cpu_spill
	.section .note.GNU-stack, "", @progbits
