/* SPDX-License-Identifier: MIT */
/* Exception entry: an error code for all, all registers on the stack, then C. */

	.section .text, "ax"
	.macro stub vector, has_code
stub_\vector:
	.if !\has_code
	pushq $0
	.endif
	pushq $\vector
	jmp trap_common
	.endm

	.irp v, 0,1,2,3,4,5,6,7,9,15,16,18,19,20,22,23,24,25,26,27,28,31,32,33,34
	stub \v, 0
	.endr
	.irp v, 8,10,11,12,13,14,17,21,29,30
	stub \v, 1
	.endr

trap_common:
	pushq %r15
	pushq %r14
	pushq %r13
	pushq %r12
	pushq %r11
	pushq %r10
	pushq %r9
	pushq %r8
	pushq %rbp
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rbx
	pushq %rax
	cld
	movq %rsp, %rdi
	call loam_x86_trap
	popq %rax
	popq %rbx
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rbp
	popq %r8
	popq %r9
	popq %r10
	popq %r11
	popq %r12
	popq %r13
	popq %r14
	popq %r15
	addq $16, %rsp
	iretq

	.section .rodata, "a"
	.balign 8
	.globl loam_x86_stubs
loam_x86_stubs:
	.irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34
	.quad stub_\v
	.endr
	.section .note.GNU-stack, "", @progbits
