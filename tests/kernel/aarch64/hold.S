/* SPDX-License-Identifier: MIT */
/*
 * uintptr_t loam_test_hold(unsigned n, uintptr_t hidden): the pointer ~hidden is in the n-th of
 * loam_test_hold_count registers, and nowhere else, from loam_test_hold_ready = 1 until
 * loam_test_hold_go is not 0. Returns what was in the register, hidden again.
 * x18 is nobody's here.
 */
	.macro hold reg, a=16, b=17
hold_\reg:
	ldr x\a, =loam_test_hold_hidden
	ldr x\reg, [x\a]
	mvn x\reg, x\reg
	ldr x\a, =loam_test_hold_ready
	mov w\b, #1
	stlr w\b, [x\a]
	ldr x\a, =loam_test_hold_go
1:	yield
	ldar w\b, [x\a]
	cbz w\b, 1b
	mvn x\reg, x\reg
	ldr x\a, =loam_test_hold_hidden
	str x\reg, [x\a]
	b done
	.endm

	.section .text, "ax"
	.globl loam_test_hold
loam_test_hold:
	stp x29, x30, [sp, #-96]!
	stp x19, x20, [sp, #16]
	stp x21, x22, [sp, #32]
	stp x23, x24, [sp, #48]
	stp x25, x26, [sp, #64]
	stp x27, x28, [sp, #80]
	ldr x16, =loam_test_hold_hidden
	str x1, [x16]
	mov w0, w0
	ldr x16, =table
	ldr x16, [x16, x0, lsl #3]
	br x16
	.irp reg, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	hold \reg
	.endr
	.ltorg
	.irp reg, 19,20,21,22,23,24,25,26,27,28,29,30
	hold \reg
	.endr
	hold 16, 9, 10
	hold 17, 9, 10
done:	ldr x16, =loam_test_hold_hidden
	ldr x0, [x16]
	ldp x19, x20, [sp, #16]
	ldp x21, x22, [sp, #32]
	ldp x23, x24, [sp, #48]
	ldp x25, x26, [sp, #64]
	ldp x27, x28, [sp, #80]
	ldp x29, x30, [sp], #96
	ret
	.ltorg

	.section .rodata, "a"
	.balign 8
	.globl loam_test_hold_count
table:
	.irp reg, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,19,20,21,22,23,24,25,26,27,28,29,30,16,17
	.quad hold_\reg
	.endr
loam_test_hold_count:
	.long 30
	.section .note.GNU-stack, "", %progbits
