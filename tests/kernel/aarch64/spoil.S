/* SPDX-License-Identifier: MIT */
/* void loam_test_spoil_mmu(void): this CPU minds no rights of table entries (TCR_EL1.HPD1), if it can do so. */
	.section .text, "ax"
	.globl loam_test_spoil_mmu
loam_test_spoil_mmu:
	mrs x0, tcr_el1
	orr x0, x0, #(1 << 42)
	msr tcr_el1, x0
	isb
	ret
	.section .note.GNU-stack, "", %progbits
