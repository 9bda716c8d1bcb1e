/* SPDX-License-Identifier: MIT */
/*
 * QEMU's aarch64 `virt` machine, as far as the device tree does not tell: PL011 console,
 * semihosting exit. Before the device tree is read, and if it cannot be read, the console is
 * looked for where `virt` has it, so that the error can be printed at all.
 */
#include "arch/mmu.h"
#include "boot/boot.h"
#include "boot/fdt.h"
#include "arch/check.h"
#include "mm/print.h"

#define VIRT_PL011 UINT64_C(0x09000000)
#define GIB	   (UINT64_C(1) << 30)

#define PL011_DR 0x00
#define PL011_FR 0x18 /* bit 5: transmit FIFO full; bit 4: receive FIFO empty */
#define PL011_CR 0x30 /* bits 0, 8, 9: on, transmitter, receiver */

const char *const loam_machine_name = "aarch64 (Image)";
uint64_t loam_arm_image_pa = 1; /* written by entry.S; not in .bss, which it clears first */

static volatile char *console = (volatile char *)(uintptr_t)(VIRT_PL011 + LOAM_BOOT_DIRECT);

void loam_machine_putc(char c)
{
	while ((*(volatile uint32_t *)(console + PL011_FR) & 0x20) != 0)
		;
	*(volatile uint32_t *)(console + PL011_DR) = (uint8_t)c;
}

char loam_machine_getc(void)
{
	*(volatile uint32_t *)(console + PL011_CR) = 0x301; /* the firmware may have left it deaf */
	while ((*(volatile uint32_t *)(console + PL011_FR) & 0x10) != 0)
		__asm__ volatile("yield");
	return (char)*(volatile uint32_t *)(console + PL011_DR);
}

void loam_machine_console_init(const struct loam_boot_map *map)
{
	if (map->console_pa != 0)
		console = (volatile char *)(uintptr_t)(map->console_pa + LOAM_BOOT_DIRECT);
}

/* Semihosting SYS_EXIT with ADP_Stopped_ApplicationExit carries a status; PSCI's SYSTEM_OFF does
 * not. Where no debugger takes the call the machine is put to sleep. */
void loam_machine_exit(int status)
{
	static uint64_t block[2];
	register uint64_t op __asm__("x0") = 0x18;
	register uint64_t arg __asm__("x1") = (uintptr_t)block;

	block[0] = 0x20026;
	block[1] = (uint64_t)status;
	__asm__ volatile("hlt #0xf000" : "+r"(op) : "r"(arg) : "memory");
	for (;;)
		__asm__ volatile("wfi");
}

void loam_machine_read_map(uint64_t handover, struct loam_boot_map *map)
{
	const void *blob = (const void *)(uintptr_t)(handover + LOAM_BOOT_DIRECT);
	const char *bad;
	uint32_t size;

	LOAM_CHECK(handover != 0 && handover < 512 * GIB && handover % 8 == 0,
		   "x0 holds no device tree address: boot with the Linux Image protocol");
	size = loam_fdt_size(blob);
	LOAM_CHECK(size != 0 && handover % GIB + size <= GIB, "x0 points to no device tree");
	bad = loam_fdt_parse(blob, size, map);
	LOAM_CHECK(bad == NULL, bad);
	loam_boot_map_add(map, handover, size, LOAM_MEM_RESERVED, "device tree");
}

void loam_machine_early_take(struct loam_memmap *early, struct loam_boot_map *map)
{
	(void)early;
	(void)map;
}

/* The early direct map has the image's GiB. */
uint64_t loam_machine_early_limit(void)
{
	return (loam_arm_image_pa / GIB + 1) * GIB;
}

uint64_t loam_machine_image_pa(void)
{
	return loam_arm_image_pa;
}

/* The low half has been off since entry.S; nothing of the early tables is in force. */
void loam_machine_leave_early(void)
{
}

void loam_machine_describe(const struct loam_mmu *mmu)
{
	loam_log(LOAM_LOG_INFO,
		 "cpu: %u-level tables, %u-bit virtual, %u-bit physical, leaves 4 KiB 2 MiB%s, "
		 "dirty bits by "
		 "%s\n",
		 mmu->levels, mmu->va_bits, mmu->pa_bits, (mmu->leaf_mask & 4) != 0 ? " 1 GiB" : "",
		 mmu->hw_dirty ? "hardware" : "software");
}
