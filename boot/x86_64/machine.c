/* SPDX-License-Identifier: MIT */
/* The PC as QEMU's q35 shows it: 16550 at 0x3f8, isa-debug-exit at 0xf4, PVH start info. */
#include "arch/mmu.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/pvh.h"
#include "arch/check.h"
#include "mm/early.h"
#include "mm/print.h"

#define VMA	  UINT64_C(0xffffffff80000000)
#define COM1	  0x3f8
#define EXIT_PORT 0xf4
#define EXIT_BASE 16u
#define EARLY_END (UINT64_C(4) << 30) /* what entry.S maps */

const char *const loam_machine_name = "x86_64 (PVH)";

static void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* 16550: line status bit 5 says that the transmitter takes another byte. */
void loam_machine_putc(char c)
{
	static bool ready;

	if (!ready) {
		outb(COM1 + 3, 0x83); /* divisor next: 115200 baud, 8n1 */
		outb(COM1 + 0, 1);
		outb(COM1 + 1, 0);
		outb(COM1 + 3, 0x03);
		outb(COM1 + 2, 0x07); /* FIFOs on */
		ready = true;
	}
	while ((inb(COM1 + 5) & 0x20) == 0)
		;
	outb(COM1, (uint8_t)c);
}

/* 16550: line status bit 0 says that a byte has come. */
char loam_machine_getc(void)
{
	while ((inb(COM1 + 5) & 0x01) == 0)
		__asm__ volatile("pause");
	return (char)inb(COM1);
}

void loam_machine_exit(int status)
{
	/* QEMU ends with (value << 1) | 1, and with 1 on errors of its own: keep clear of that.
	 * Other machines have nothing at this port. */
	__asm__ volatile("outl %0, %1"
			 :
			 : "a"((uint32_t)status + EXIT_BASE), "Nd"((uint16_t)EXIT_PORT));
	for (;;)
		__asm__ volatile("cli; hlt");
}

static bool read_phys(void *context, uint64_t pa, void *to, size_t size)
{
	const uint8_t *from = (const uint8_t *)(uintptr_t)(pa + LOAM_BOOT_DIRECT);

	(void)context;
	if (pa == 0 || pa >= EARLY_END || size > EARLY_END - pa)
		return false;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = from[i];
	return true;
}

/* A copy, because the original's frame may be anybody's. */
static const char *copy_cmdline(uint64_t pa)
{
	static char text[512];
	size_t n = 0;

	while (n + 1 < sizeof(text) && read_phys(NULL, pa + n, &text[n], 1) && text[n] != '\0')
		n++;
	text[n] = '\0';
	return text;
}

/* No ACPI: where the local APIC is says an MSR, and which CPUs there are is found by trying the lowest
 * APIC ids. Source: Intel SDM volume 3A, "Local APIC Status and Location". */
static void guess_cpus(struct loam_boot_map *map)
{
	uint32_t a = 1, b, c = 0, d, low, high;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if ((d >> 9 & 1) == 0)
		return; /* no local APIC: one CPU */
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x1b));
	map->lapic_pa = ((uint64_t)high << 32 | low) & UINT64_C(0xffffff000);
	map->cpu_guessed = true;
	map->cpu_count = LOAM_BOOT_CPUS;
	for (unsigned i = 0; i < LOAM_BOOT_CPUS; i++)
		map->cpu_hw_id[i] = i;
}

void loam_machine_read_map(uint64_t handover, struct loam_boot_map *map)
{
	uint64_t cmdline_pa = 0;
	const char *bad = loam_pvh_parse(read_phys, NULL, handover, map, &cmdline_pa);

	LOAM_CHECK(bad == NULL, bad);
	map->cmdline = copy_cmdline(cmdline_pa);
	map->cpu_count = 1; /* this one, whatever ACPI says */
	if (map->cmdline != NULL && loam_cmdline_is(map->cmdline, "acpi", "0"))
		bad = "ACPI: left out";
	else
		bad = loam_acpi_parse(read_phys, NULL, map->rsdp_pa, map);
	if (bad != NULL) {
		loam_log(LOAM_LOG_INFO, "%s: CPUs are looked for\n", bad);
		guess_cpus(map);
	}
	bad = loam_acpi_nodes(read_phys, NULL, map->rsdp_pa, map);
	if (bad != NULL)
		loam_log(LOAM_LOG_INFO, "one node: %s\n", bad);
}

/* A starting CPU begins in real mode, so its first code must lie below 1 MiB; the video memory begins
 * at 640 KiB. */
void loam_machine_early_take(struct loam_memmap *early, struct loam_boot_map *map)
{
	struct loam_paddr pa;

	if (map->cpu_count < 2 ||
	    loam_early_alloc(early, LOAM_PAGE_SIZE, LOAM_PAGE_SIZE, 0xa0000, &pa) != LOAM_OK)
		return;
	map->trampoline_pa = pa.raw;
	loam_boot_map_add(map, pa.raw, LOAM_PAGE_SIZE, LOAM_MEM_RESERVED, "start of other CPUs");
}

uint64_t loam_machine_early_limit(void)
{
	return EARLY_END;
}

uint64_t loam_machine_image_pa(void)
{
	return (uintptr_t)loam_image_start - VMA;
}

/* The console is behind ports: it needs no mapping. */
void loam_machine_console_init(const struct loam_boot_map *map)
{
	(void)map;
}

/* One root serves both halves: the identity map went with the early root. */
void loam_machine_leave_early(void)
{
}

void loam_machine_describe(const struct loam_mmu *mmu)
{
	loam_log(LOAM_LOG_INFO, "cpu: %u-level paging, %u-bit physical, leaves 4 KiB%s%s%s\n",
		 mmu->levels, mmu->pa_bits, (mmu->leaf_mask & 2) != 0 ? " 2 MiB" : "",
		 (mmu->leaf_mask & 4) != 0 ? " 1 GiB" : "", mmu->nx ? ", NX" : "");
}
