/* SPDX-License-Identifier: MIT */
/*
 * Where a CPU begins after the startup interrupt: real mode, at a page below 1 MiB to which this
 * text is copied. From there to long mode in one step, over the early tables, which map the low
 * memory to itself. Source: Intel SDM volume 3A, "Multiple-Processor (MP) Initialization".
 */
#define HERE(sym) (sym - loam_ap_trampoline)

	.section .rodata, "a"
	.balign 16
	.globl loam_ap_trampoline, loam_ap_trampoline_end, loam_ap_far, loam_ap_gdt_ptr
	.globl loam_ap_early_cr4, loam_ap_early_cr3
	.code16
loam_ap_trampoline:
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	lgdtl HERE(loam_ap_gdt_ptr)
	movl HERE(loam_ap_early_cr4), %eax
	movl %eax, %cr4
	movl HERE(loam_ap_early_cr3), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		/* EFER: LME, NXE */
	rdmsr
	orl $((1 << 8) | (1 << 11)), %eax
	wrmsr
	movl %cr0, %eax
	andl $~((1 << 30) | (1 << 29)), %eax	/* caches on */
	orl $((1 << 31) | (1 << 16) | 1), %eax	/* PG, WP, PE */
	movl %eax, %cr0
	ljmpl *HERE(loam_ap_far)
	.code64
ap_long_mode:
	movq ap_high(%rip), %rax
	jmp *%rax
	.balign 8
ap_high:
	.quad loam_ap_high_half
ap_gdt:
	.quad 0
	.quad 0x00af9a000000ffff	/* 64-bit code */
loam_ap_early_cr4:
	.long 0				/* the copier fills both in */
loam_ap_early_cr3:
	.long 0
loam_ap_gdt_ptr:
	.word 15
	.long HERE(ap_gdt)		/* the copier adds the page's address */
loam_ap_far:
	.long HERE(ap_long_mode)	/* likewise */
	.word 8
loam_ap_trampoline_end:

	.section .text, "ax"
	.code64
loam_ap_high_half:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	/* the final tables, under which the stack is */
	movq loam_ap_root, %rax
	movq %rax, %cr3
	/* claim the record: a CPU that comes after it was given up finds none, and stays here */
	xorl %edi, %edi
	xchgq %rdi, loam_ap_cpu
	testq %rdi, %rdi
	jz too_late
	movq loam_ap_stack, %rsp
	xorl %ebp, %ebp
	call loam_smp_main
too_late:
	cli
	hlt
	jmp too_late

	.section .note.GNU-stack, "", @progbits
