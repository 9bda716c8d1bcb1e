/* SPDX-License-Identifier: MIT */
/* void loam_test_spoil_mmu(void): this CPU writes where the tables forbid it (CR0.WP). */
	.section .text, "ax"
	.globl loam_test_spoil_mmu
loam_test_spoil_mmu:
	movq %cr0, %rax
	andq $~0x10000, %rax
	movq %rax, %cr0
	ret
	.section .note.GNU-stack, "", @progbits
