/* SPDX-License-Identifier: MIT */
/*
 * x86_64 entry by the PVH protocol: 32-bit protected mode, paging off, ebx = physical address of
 * the start info. Builds early tables (2 MiB leaves): the low 4 GiB at 0 and at LOAM_BOOT_DIRECT,
 * the first GiB at the image's link address; turns long mode on; calls loam_boot_main on the
 * boot stack. With la57=1 on the command line, and a CPU that has it, paging has five levels: all of the
 * above is then under one entry of the fifth. Source: Intel SDM volume 3A, "Initializing IA-32e Mode".
 */
#define VMA 0xffffffff80000000
#define PHYS(sym) (sym - VMA)

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18			/* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad PHYS(loam_pvh_entry)

	.section .boot.text, "ax"
	.code32
	.globl loam_pvh_entry
loam_pvh_entry:
	cli
	cld
	movl $PHYS(loam_stack_base), %esp
	movl $0x80000000, %eax
	pushl %ebx
	cpuid
	cmpl $0x80000001, %eax
	jb no_long_mode
	movl $0x80000001, %eax
	cpuid
	popl %ebx
	testl $(1 << 29), %edx
	jz no_long_mode
	testl $(1 << 20), %edx
	jz no_nx

	/* 2048 leaves of 2 MiB, present, writable: 4 GiB */
	movl $PHYS(early_pd), %edi
	movl $0x83, %eax
	xorl %edx, %edx
	movl $2048, %ecx
1:	movl %eax, (%edi)
	movl %edx, 4(%edi)
	addl $8, %edi
	addl $0x200000, %eax
	decl %ecx
	jnz 1b
	movl $PHYS(early_pd) + 3, %eax
	movl %eax, PHYS(early_pdpt_low)
	movl %eax, PHYS(early_pdpt_high) + 510 * 8
	addl $0x1000, %eax
	movl %eax, PHYS(early_pdpt_low) + 8
	addl $0x1000, %eax
	movl %eax, PHYS(early_pdpt_low) + 16
	addl $0x1000, %eax
	movl %eax, PHYS(early_pdpt_low) + 24
	movl $PHYS(early_pdpt_low) + 3, %eax
	movl %eax, PHYS(early_pml4)
	movl %eax, PHYS(early_pml4) + 256 * 8
	movl $PHYS(early_pdpt_high) + 3, %eax
	movl %eax, PHYS(early_pml4) + 511 * 8

	movl $PHYS(early_pml4) + 3, %eax
	movl %eax, PHYS(early_pml5)
	movl %eax, PHYS(early_pml5) + 511 * 8

	movl $PHYS(early_pml4), %ebp
	movl %cr4, %edi
	orl $(1 << 5), %edi		/* PAE */
	pushl %ebx
	xorl %eax, %eax
	cpuid
	cmpl $7, %eax
	jb 2f
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	testl $(1 << 16), %ecx		/* LA57 */
	jz 2f
	movl (%esp), %ebx
	movl 24(%ebx), %esi		/* start info: command line */
	testl %esi, %esi
	jz 2f
	movl $512, %ecx
1:	cmpb $0, (%esi)
	je 2f
	cmpl $0x3735616c, (%esi)	/* "la57" */
	jne 3f
	cmpw $0x313d, 4(%esi)		/* "=1" */
	jne 3f
	orl $(1 << 12), %edi
	movl $PHYS(early_pml5), %ebp
	jmp 2f
3:	incl %esi
	decl %ecx
	jnz 1b
2:	popl %ebx
	movl %edi, %cr4
	movl %ebp, %cr3
	movl %edi, PHYS(loam_x86_early_cr4)
	movl %ebp, PHYS(loam_x86_early_cr3)
	movl $0xc0000080, %ecx		/* EFER: LME, NXE */
	rdmsr
	orl $((1 << 8) | (1 << 11)), %eax
	wrmsr
	movl %cr0, %eax
	orl $((1 << 31) | (1 << 16) | 1), %eax	/* PG, WP, PE */
	movl %eax, %cr0
	lgdt PHYS(early_gdt_ptr)
	ljmp $8, $PHYS(long_mode)

no_long_mode:
	movl $PHYS(text_no_long_mode), %esi
	jmp complain
no_nx:
	movl $PHYS(text_no_nx), %esi
complain:
	movw $0x3f8, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	movl $(16 + 3), %eax
	movw $0xf4, %dx
	outl %eax, %dx
3:	hlt
	jmp 3b

	.code64
long_mode:
	movabsq $high_half, %rax
	jmp *%rax

	.section .text, "ax"
high_half:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movq $loam_stack_base, %rsp
	movl %ebx, %edi			/* clears the upper half */
	xorl %ebp, %ebp
	call loam_boot_main
1:	hlt
	jmp 1b

/* bool probe(access, addr): touch it; the trap handler comes back to loam_probe_resume. */
	.globl loam_probe_touch
loam_probe_touch:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, loam_probe_sp
	movb $1, loam_probe_armed
	cmpl $1, %edi
	jb 1f
	je 2f
	call *%rsi
	jmp 3f
1:	movb (%rsi), %al
	jmp 3f
2:	lock orb $0, (%rsi)
3:	xorl %eax, %eax
	jmp 4f
	.globl loam_probe_resume
loam_probe_resume:
	movl $1, %eax
4:	movb $0, loam_probe_armed
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* void loam_boot_call_on(high, fn, arg) */
	.globl loam_boot_call_on
loam_boot_call_on:
	pushq %rbp
	movq %rsp, %rbp
	movq %rdi, %rsp
	movq %rdx, %rdi
	call *%rsi
	movq %rbp, %rsp
	popq %rbp
	ret

/* For the self-tests: code that may run anywhere. */
	.globl loam_boot_identity, loam_boot_identity_end
loam_boot_identity:
	movq %rdi, %rax
	ret
loam_boot_identity_end:

	.section .rodata, "a"
text_no_long_mode:
	.asciz "loam: this CPU has no 64-bit mode; use another (-cpu max)\r\n"
text_no_nx:
	.asciz "loam: this CPU has no execute-disable bit; use another (-cpu max)\r\n"
	.balign 8
early_gdt:
	.quad 0
	.quad 0x00af9a000000ffff	/* 64-bit code */
early_gdt_ptr:
	.word . - early_gdt - 1
	.quad PHYS(early_gdt)

	.section .bss, "aw", @nobits
	.balign 4096
	.globl loam_x86_early_cr4, loam_x86_early_cr3
loam_x86_early_cr4: .skip 8	/* for the other CPUs */
loam_x86_early_cr3: .skip 8
	.balign 4096
early_pml4:	 .skip 4096
early_pml5:	 .skip 4096
early_pdpt_low:	 .skip 4096
early_pdpt_high: .skip 4096
early_pd:	 .skip 4 * 4096

	.section .note.GNU-stack, "", @progbits
