/* SPDX-License-Identifier: MIT */
/*
 * The common half of the boot stub: from the firmware's hand-over to loam_kernel_main.
 *
 * The ISA half (entry.S) brings us here with the MMU on, the image at its link address, an early
 * direct map at LOAM_BOOT_DIRECT, and the boot stack. Then: read the memory map, build the final
 * tables, switch, set up traps, and call the kernel.
 */
#include "arch/cpu.h"
#include "boot/boot.h"
#include "arch/check.h"
#include "mm/print.h"

void loam_boot_main(uint64_t handover);

static struct loam_boot_map map;
static struct loam_boot_info info;

static const struct loam_fault_area area[] = {
	{"boot stack guard", (uintptr_t)loam_stack_guard, (uintptr_t)loam_stack_low, true},
	{"trap stack guard", (uintptr_t)loam_trap_guard, (uintptr_t)loam_trap_stack_low, true},
	{"image text", (uintptr_t)loam_image_start, (uintptr_t)loam_text_end, false},
	{"image rodata", (uintptr_t)loam_text_end, (uintptr_t)loam_rodata_end, false},
	{"image data", (uintptr_t)loam_rodata_end, (uintptr_t)loam_image_end, false},
};

static void show_map(void)
{
	loam_log(LOAM_LOG_INFO, "\nmemory map, as given:\n");
	for (size_t i = 0; i < map.count; i++) {
		const struct loam_mem_entry *e = &map.entry[i];

		loam_log(LOAM_LOG_INFO, "  %#014llx - %#014llx  %10k  %s%s%s\n",
			 (unsigned long long)e->base, (unsigned long long)(e->base + e->size - 1),
			 (uint64_t)e->size, e->type == LOAM_MEM_USABLE ? "usable" : "reserved",
			 e->what != NULL ? ": " : "", e->what != NULL ? e->what : "");
	}
	if (map.lost > 0)
		loam_log(LOAM_LOG_ERROR, "  %u entries found no room\n", (unsigned)map.lost);
}

static enum loam_barrier barrier_wanted(const char *cmdline)
{
	static const char *const word[] = {
		[LOAM_BARRIER_MMU] = "mmu",
		[LOAM_BARRIER_SOFTWARE] = "software",
		[LOAM_BARRIER_STOP] = "stop",
	};

	for (unsigned i = LOAM_BARRIER_MMU; i <= LOAM_BARRIER_STOP; i++) {
		if (loam_cmdline_is(cmdline, "barrier", word[i]))
			return (enum loam_barrier)i;
	}
	return LOAM_BARRIER_DEFAULT;
}

void loam_boot_main(uint64_t handover)
{
	info.start_ns = loam_host_now_ns();
	loam_log(LOAM_LOG_INFO, "\nloam on %s\n", loam_machine_name);
	loam_machine_read_map(handover, &map);
	loam_boot_nodes_settle(&map);
	loam_machine_traps_init();
	loam_fault_areas(area, sizeof(area) / sizeof(area[0]));
	loam_boot_paging(&map, &info.config);
	loam_boot_smp_map(&map);
	show_map();
	info.cmdline = map.cmdline != NULL ? map.cmdline : "";
	loam_log(LOAM_LOG_INFO, "command line: \"%s\"\n", info.cmdline);
	info.config.barrier = barrier_wanted(info.cmdline);
	if (map.initrd_bytes != 0) {
		info.initrd = (const void *)(uintptr_t)(map.initrd_pa + LOAM_BOOT_DIRECT);
		info.initrd_bytes = map.initrd_bytes;
	}
	info.stack_base = loam_stack_base;
	loam_machine_exit(loam_kernel_main(&info));
}

void loam_boot_fatal(const struct loam_fault *fault, const char *what,
		     void (*dump)(const void *frame), const void *frame)
{
	static bool reporting;

	if (reporting) {
		loam_log(LOAM_LOG_ERROR, "\nloam: fault while reporting a fault\n");
		loam_machine_exit(4);
	}
	reporting = true;
	loam_log(LOAM_LOG_ERROR, "\nloam: FATAL: %s\n", what);
	if (fault != NULL)
		loam_fault_report(fault);
	loam_log(LOAM_LOG_ERROR, "  registers\n");
	dump(frame);
	loam_machine_exit(2);
}
