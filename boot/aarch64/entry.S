/* SPDX-License-Identifier: MIT */
/*
 * aarch64 entry by the Linux Image protocol: MMU off, x0 = physical address of the device tree, at
 * EL1 or EL2, loaded at any 2 MiB boundary. Position-independent until the MMU is on.
 *
 * Early tables: TTBR0 maps the GiB around the image at its physical address, for the moment of
 * turning the MMU on; TTBR1 maps the image at its link address in 2 MiB blocks, and at
 * LOAM_BOOT_DIRECT the GiBs of the image and the device tree as normal memory and, for a
 * console before the final tables, the first GiB as device memory.
 * With lpa2=1 on the command line, and a CPU that has 52-bit addresses with this granule, TTBR1 has
 * them: a table of 16 entries on top, whose last one leads to all of the above.
 * The kernel runs on SP_EL0; exceptions run on SP_EL1, a stack of their own.
 * Source: Arm ARM DDI 0487, "The AArch64 Virtual Memory System Architecture".
 */
#define BLOCK_NORMAL_LOW  0x401		/* valid block, AF, AttrIndx 0; SH is added */
#define SH_INNER	  0x300		/* where SH is not two address bits (LPA2) */
#define BLOCK_DEVICE_LOW  0x40d		/* valid block, AF, AttrIndx 3 (nGnRnE) */

/* At EL2: hand EL1 everything and go there. */
	.macro to_el1 label
	mrs x0, CurrentEL
	cmp x0, #8
	b.ne \label
	mov x0, #(1 << 31)	/* HCR_EL2.RW: EL1 is AArch64 */
	msr hcr_el2, x0
	mov x0, #3		/* EL1 may read the counters */
	msr cnthctl_el2, x0
	msr cntvoff_el2, xzr
	mov x0, #0x33ff
	msr cptr_el2, x0
	mrs x0, id_aa64pfr0_el1
	ubfx x0, x0, #24, #4
	cbz x0, .Lno_gic\@
	mrs x0, S3_4_C12_C9_5	/* ICC_SRE_EL2: EL1 may use the GIC's system registers */
	mov x1, #9
	orr x0, x0, x1
	msr S3_4_C12_C9_5, x0
	isb
.Lno_gic\@:
	mov x0, #0x3c5		/* EL1h, all masked */
	msr spsr_el2, x0
	adr x0, \label
	msr elr_el2, x0
	eret
	.endm

/* The MMU goes on, over the early tables; uses x0 to x2. */
	.macro mmu_on
	ldr x0, =0x004444ff	/* MAIR_EL1 as loam_mmu_cpu_init has it */
	msr mair_el1, x0
	adrp x1, early_tcr
	ldr x0, [x1, #:lo12:early_tcr]
	msr tcr_el1, x0
	adrp x0, early_l0_low
	msr ttbr0_el1, x0
	ldr x0, [x1, #:lo12:early_tcr + 8]
	msr ttbr1_el1, x0
	isb
	tlbi vmalle1
	dsb nsh
	isb
	ldr x0, =0x30d0199d	/* SCTLR_EL1: M, C, I, SA, SA0, RES1, EIS, EOS, no WXN */
	msr sctlr_el1, x0
	isb
	.endm

	.macro low_half_off
	/* TTBR0 walks off: the low half, null included, traps from now on */
	mrs x0, tcr_el1
	orr x0, x0, #(1 << 7)	/* EPD0 */
	msr tcr_el1, x0
	msr ttbr0_el1, xzr
	isb
	tlbi vmalle1
	dsb nsh
	isb
	.endm

	.section .boot.text, "ax"
	.globl loam_arm_entry
loam_arm_entry:
	b 1f			/* code0 */
	.long 0			/* code1 */
	.quad 0			/* text_offset */
	.quad loam_image_size	/* image_size, with .bss */
	.quad 0xa		/* little-endian, 4 KiB granule, anywhere */
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

1:	msr daifset, #0xf
	mov x20, x0		/* device tree */
	to_el1 at_el1

at_el1:
	adrp x21, loam_image_start	/* x21: physical address of the image */
	/* zero .bss, stacks and tables included, while the caches are off */
	adrp x0, loam_bss_start
	adrp x1, loam_image_end
1:	stp xzr, xzr, [x0], #16
	cmp x0, x1
	b.lo 1b
	/* stale lines of that memory must not win over what was just written */
	adrp x0, loam_bss_start
	mrs x2, ctr_el0
	ubfx x2, x2, #16, #4
	mov x3, #4
	lsl x2, x3, x2
1:	dc ivac, x0
	add x0, x0, x2
	cmp x0, x1
	b.lo 1b
	dsb sy

	/* x28: SH of a block; x27: TCR_EL1 bits of 52-bit addresses, or 0 */
	mov x28, #SH_INNER
	mov x27, xzr
	mrs x0, id_aa64mmfr0_el1
	ubfx x0, x0, #28, #4	/* TGran4: 1 means 52 bits */
	cmp x0, #1
	b.ne 2f
	cbz x20, 2f
	ldr w2, [x20, #4]	/* size of the device tree; its first 64 KiB are enough */
	rev w2, w2
	mov w3, #0x10000
	cmp w2, w3
	csel w2, w2, w3, lo
	mov x1, x20
	ldr x3, =0x313d3261706c	/* "lpa2=1" */
	mov x4, xzr
1:	cbz w2, 2f
	ldrb w5, [x1], #1
	lsr x4, x4, #8
	orr x4, x4, x5, lsl #56
	sub w2, w2, #1
	lsr x5, x4, #16
	cmp x5, x3
	b.ne 1b
	mov x28, xzr
	mov x27, #1
2:
	/* TTBR0: L0 -> L1 -> one block around the image */
	adrp x0, early_l0_low
	adrp x1, early_l1_low
	orr x2, x1, #3
	ubfx x3, x21, #39, #9
	str x2, [x0, x3, lsl #3]
	lsr x4, x21, #30
	lsl x4, x4, #30		/* the image's GiB */
	ubfx x3, x21, #30, #9
	mov x5, #BLOCK_NORMAL_LOW
	orr x5, x5, x28
	orr x6, x4, x5
	str x6, [x1, x3, lsl #3]

	/* TTBR1: direct map at index 256 */
	adrp x0, early_l0_high
	adrp x1, early_l1_direct
	orr x2, x1, #3
	str x2, [x0, #(256 * 8)]
	mov x5, #BLOCK_DEVICE_LOW
	str x5, [x1]		/* GiB 0: devices, unless RAM says otherwise below */
	lsr x3, x20, #30	/* the device tree's GiB; the early direct map has 512 of them */
	cmp x3, #512
	b.hs 2f
	mov x5, #BLOCK_NORMAL_LOW
	orr x5, x5, x28
	lsl x7, x3, #30
	orr x7, x7, x5
	str x7, [x1, x3, lsl #3]
2:	lsr x3, x21, #30
	cmp x3, #512
	b.hs 3f
	str x6, [x1, x3, lsl #3]
3:
	/* TTBR1: the image at index 511, 510, in 2 MiB blocks from its own first byte on */
	adrp x1, early_l1_image
	orr x2, x1, #3
	str x2, [x0, #(511 * 8)]
	adrp x2, early_l2_image
	orr x3, x2, #3
	str x3, [x1, #(510 * 8)]
	mov x5, #BLOCK_NORMAL_LOW
	orr x5, x5, x28
	orr x6, x21, x5
	adrp x7, loam_image_end
1:	str x6, [x2], #8
	add x6, x6, #0x200000
	cmp x6, x7
	b.lo 1b
	/* T0SZ = T1SZ = 16; TG0, TG1 4 KiB; walks write-back, inner shareable */
	ldr x0, =0xb5103510
	mrs x1, id_aa64mmfr0_el1
	and x1, x1, #0xf
	mov x2, #5		/* 48 bits of physical address are what 48-bit descriptors hold */
	adrp x3, early_l0_high
	cbz x27, 1f
	/* DS; T1SZ = 12; physical addresses of up to 52 bits; a table on top */
	mov x2, #6
	orr x0, x0, #(1 << 59)
	bic x0, x0, #(0x3f << 16)
	mov x4, #(12 << 16)
	orr x0, x0, x4
	adrp x4, early_top
	orr x3, x3, #3
	str x3, [x4, #(15 * 8)]
	mov x3, x4
1:	cmp x1, x2
	csel x1, x1, x2, lo
	orr x0, x0, x1, lsl #32
	adrp x1, early_tcr	/* for the other CPUs too */
	str x0, [x1, #:lo12:early_tcr]
	str x3, [x1, #:lo12:early_tcr + 8]
	dsb sy

	mmu_on
	ldr x0, =high_half
	br x0

/* Where PSCI starts another CPU: MMU off, as above, but the tables are there. */
	.globl loam_arm_secondary
loam_arm_secondary:
	msr daifset, #0xf
	to_el1 1f
1:	mmu_on
	ldr x0, =secondary_high
	br x0
	.ltorg

	.section .text, "ax"
high_half:
	ldr x0, =loam_trap_stack_base
	msr spsel, #1
	mov sp, x0
	msr spsel, #0
	ldr x0, =loam_stack_base
	mov sp, x0
	low_half_off
	ldr x0, =loam_arm_image_pa
	str x21, [x0]
	mov x0, x20
	mov x29, xzr
	mov x30, xzr
	bl loam_boot_main
1:	wfi
	b 1b
	.ltorg

secondary_high:
	/* as the first CPU has it: low half off, dirty bits by hardware, on which the stack's
	 * entries rely */
	ldr x0, =loam_ap_tcr
	ldr x0, [x0]
	msr tcr_el1, x0
	msr ttbr0_el1, xzr
	/* the final tables, under which the stacks are */
	ldr x0, =loam_ap_root
	ldr x0, [x0]
	msr ttbr1_el1, x0
	isb
	tlbi vmalle1
	dsb nsh
	isb
	ldr x0, =loam_ap_trap
	ldr x0, [x0]
	msr spsel, #1
	mov sp, x0
	msr spsel, #0
	ldr x0, =loam_ap_stack
	ldr x0, [x0]
	mov sp, x0
	ldr x0, =loam_ap_cpu
	ldr x0, [x0]
	mov x29, xzr
	mov x30, xzr
	bl loam_smp_main
	.ltorg

/* int loam_probe_touch(access, addr): touch it; the trap handler comes back to resume. */
	.globl loam_probe_touch
loam_probe_touch:
	stp x29, x30, [sp, #-96]!
	stp x19, x20, [sp, #16]
	stp x21, x22, [sp, #32]
	stp x23, x24, [sp, #48]
	stp x25, x26, [sp, #64]
	stp x27, x28, [sp, #80]
	ldr x2, =loam_probe_sp
	mov x3, sp
	str x3, [x2]
	ldr x2, =loam_probe_armed
	mov w3, #1
	strb w3, [x2]
	cmp w0, #1
	b.lo 1f
	b.eq 2f
	blr x1
	b 3f
1:	ldrb w3, [x1]
	b 3f
2:	ldxrb w3, [x1]		/* write back what is there */
	stxrb w4, w3, [x1]
	cbnz w4, 2b
3:	mov w0, #0
	b 4f
	.globl loam_probe_resume
loam_probe_resume:
	mov w0, #1
4:	ldr x2, =loam_probe_armed
	strb wzr, [x2]
	ldp x19, x20, [sp, #16]
	ldp x21, x22, [sp, #32]
	ldp x23, x24, [sp, #48]
	ldp x25, x26, [sp, #64]
	ldp x27, x28, [sp, #80]
	ldp x29, x30, [sp], #96
	ret
	.ltorg

/* void loam_boot_call_on(high, fn, arg) */
	.globl loam_boot_call_on
loam_boot_call_on:
	stp x29, x30, [sp, #-32]!
	str x19, [sp, #16]
	mov x29, sp
	mov x19, sp
	mov sp, x0
	mov x0, x2
	blr x1
	mov sp, x19
	ldr x19, [sp, #16]
	ldp x29, x30, [sp], #32
	ret

/* For the self-tests: code that may run anywhere. */
	.globl loam_boot_identity, loam_boot_identity_end
loam_boot_identity:
	ret
loam_boot_identity_end:

	.section .bss, "aw", %nobits
	.balign 4096
early_l0_low:	 .skip 4096
early_l1_low:	 .skip 4096
early_l0_high:	 .skip 4096
early_l1_direct: .skip 4096
early_l1_image:	 .skip 4096
early_l2_image:	 .skip 4096
early_top:	 .skip 4096
early_tcr:	 .skip 16		/* TCR_EL1, TTBR1_EL1 */

	.section .note.GNU-stack, "", %progbits
