/* SPDX-License-Identifier: MIT */
/*
 * uintptr_t loam_test_hold(unsigned n, uintptr_t hidden): the pointer ~hidden is in the n-th of
 * loam_test_hold_count registers, and nowhere else, from loam_test_hold_ready = 1 until
 * loam_test_hold_go is not 0. Returns what was in the register, hidden again.
 */
	.macro hold reg
hold_\reg:
	movq loam_test_hold_hidden, %\reg
	notq %\reg
	movl $1, loam_test_hold_ready
1:	pause
	cmpl $0, loam_test_hold_go
	je 1b
	notq %\reg
	movq %\reg, loam_test_hold_hidden
	jmp done
	.endm

	.section .text, "ax"
	.globl loam_test_hold
loam_test_hold:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsi, loam_test_hold_hidden
	movl %edi, %eax
	jmp *table(, %rax, 8)
	.irp reg, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15
	hold \reg
	.endr
done:	movq loam_test_hold_hidden, %rax
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.section .rodata, "a"
	.balign 8
	.globl loam_test_hold_count
table:
	.irp reg, rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15
	.quad hold_\reg
	.endr
loam_test_hold_count:
	.long 15
	.section .note.GNU-stack, "", @progbits
