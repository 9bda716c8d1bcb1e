/* SPDX-License-Identifier: MIT */
/*
 * The boot stub's own interface: what the ISA halves give to the common half, and what a kernel
 * that is started by the stub gets.
 */
#ifndef LOAM_BOOT_BOOT_H
#define LOAM_BOOT_BOOT_H

#include <loam/loam.h>

struct loam_mmu;    /* arch/mmu.h */
struct loam_memmap; /* mm/memmap.h */

/* What a kernel started by the stub is told. */
struct loam_boot_info {
	struct loam_config config; /* ready for loam_init */
	const char *cmdline;	   /* never NULL */
	const void *initrd;	   /* boot module, or NULL */
	size_t initrd_bytes;
	void *stack_base;  /* of the boot stack: for loam_thread_attach */
	uint64_t start_ns; /* when the stub began */
};

/* The kernel: called once with the MMU set up and loam not yet initialised. Its result is the
 * machine's exit status. boot/demo.c has ours; link your own instead. */
int loam_kernel_main(const struct loam_boot_info *info);

/* ---- what the firmware said ---- */

#define LOAM_BOOT_ENTRIES 320u
#define LOAM_BOOT_CPUS	  16u
#define LOAM_BOOT_NODES	  32u	   /* ranges */
#define LOAM_GICR_BYTES	  0x20000u /* registers of one redistributor */

struct loam_boot_map {
	struct loam_mem_entry entry[LOAM_BOOT_ENTRIES];
	size_t count;
	size_t lost; /* entries that found no room */
	const char *cmdline;
	uint64_t initrd_pa, initrd_bytes;
	uint64_t console_pa; /* memory-mapped console, or 0 */
	bool psci_smc;	     /* aarch64: power off by SMC rather than HVC */
	unsigned cpu_count;  /* at most LOAM_BOOT_CPUS */
	bool cpu_guessed;    /* the firmware said nothing: cpu_hw_id are to be tried */
	uint64_t cpu_hw_id[LOAM_BOOT_CPUS]; /* local APIC ids, or MPIDRs */
	uint64_t lapic_pa;		    /* x86_64: registers of the local APIC, or 0 */
	unsigned gic;	      /* aarch64: version of the GIC, 2 or 3; 0: none we know */
	uint64_t gic_dist_pa; /* its distributor */
	uint64_t gic_cpu_pa, gic_cpu_bytes; /* its CPU interface, or all redistributors */
	uint64_t rsdp_pa;		    /* x86_64: where ACPI begins, or 0 */
	uint64_t trampoline_pa;		    /* x86_64: a frame below 1 MiB, or 0 */
	struct loam_node_range node_range[LOAM_BOOT_NODES];
	size_t node_range_count;
	uint64_t cpu_node[LOAM_BOOT_CPUS]; /* the firmware's node + 1, or 0; then ours */
};

/* Append an entry; counts in `lost` when full. Empty entries are left out. */
void loam_boot_map_add(struct loam_boot_map *map, uint64_t base, uint64_t size,
		       enum loam_mem_type type, const char *what);

/* Append a range of the firmware's node `node`; left out when empty or full. */
void loam_boot_node_add(struct loam_boot_map *map, uint64_t base, uint64_t size, uint32_t node);

/*
 * The firmware's nodes, any 32-bit numbers, become 0, 1 and so on in their order, in the ranges and the
 * CPUs. Of more than LOAM_NODE_MAX those with the lowest numbers stay; the others' memory is left out,
 * and their CPUs, and those without one, are on node 0. Once, when everything is read.
 */
void loam_boot_nodes_settle(struct loam_boot_map *map);

/* ---- what each ISA supplies (boot/<isa>/machine.c, traps.c) ---- */

/* Where things are in the early address space. */
#define LOAM_BOOT_DIRECT       UINT64_C(0xffff800000000000)
#define LOAM_BOOT_WINDOW       UINT64_C(0xffffc00000000000)
#define LOAM_BOOT_WINDOW_BYTES ((size_t)1 << 44)

extern const char *const loam_machine_name;

void loam_machine_putc(char c);
/* Wait for a byte on the console's line. */
char loam_machine_getc(void);
/* Read the firmware's hand-over (physical address) through the early direct map. */
void loam_machine_read_map(uint64_t handover, struct loam_boot_map *map);
/* Physical addresses below this are in the early direct map, where they are RAM. */
uint64_t loam_machine_early_limit(void);
/* Physical address of the first byte of the image. */
uint64_t loam_machine_image_pa(void);
/* Take what this machine needs out of the early memory, and say so in the map. */
void loam_machine_early_take(struct loam_memmap *early, struct loam_boot_map *map);
/* Make the console work under the final tables (`map`: from loam_machine_read_map). */
void loam_machine_console_init(const struct loam_boot_map *map);
/* Once the final tables are in force: drop what is left of the early ones. */
void loam_machine_leave_early(void);
void loam_machine_traps_init(void);
__attribute__((noreturn)) void loam_machine_exit(int status);
/* One line about the CPU, through loam_log. */
void loam_machine_describe(const struct loam_mmu *mmu);

/* ---- probing memory that may trap ---- */

/* Touch `addr`; true if it trapped, and then `*fault` (may be NULL) tells how. */
bool loam_boot_probe(enum loam_access access, const void *addr, struct loam_fault *fault);

/* For the trap code: while a probe runs, where to resume and with which stack pointer. */
extern volatile uint64_t loam_probe_sp;
extern volatile uint8_t loam_probe_armed;
extern struct loam_fault loam_probe_fault;
extern const char loam_probe_resume[];

/* Call fn(arg) on another stack, whose highest address is `high`. */
void loam_boot_call_on(uintptr_t high, void (*fn)(void *arg), void *arg);

/* ---- common ---- */

/* For boot/smp.c: what the firmware said of the CPUs. */
void loam_boot_smp_map(const struct loam_boot_map *map);

/* Build and switch to the final tables; fills in info->config. */
void loam_boot_paging(struct loam_boot_map *map, struct loam_config *config);

/* An unexpected trap: report it and exit with status 2. `dump` prints the registers. */
__attribute__((noreturn)) void loam_boot_fatal(const struct loam_fault *fault, const char *what,
					       void (*dump)(const void *frame), const void *frame);

/* Value of `name=value` in the command line as a number, or `otherwise`. */
uint64_t loam_cmdline_number(const char *cmdline, const char *name, uint64_t otherwise);
/* Does any `name=` stand in the command line? Does `name=value`? */
bool loam_cmdline_has(const char *cmdline, const char *name);
bool loam_cmdline_is(const char *cmdline, const char *name, const char *value);

/* Of a variable that is zero at first and has no pointers into the heap, or only such as the collector knows (struct loam_thread):
 * it is not scanned. All roots are scanned in the last stop of a cycle, so what is large should not be one. */
#define LOAM_BOOT_NO_ROOTS __attribute__((section(".bss.noroots")))

/* Sections of the image (linker script). */
extern char loam_image_start[], loam_text_end[], loam_rodata_end[], loam_image_end[];
/* What of its data may hold pointers into the heap: all but loam's own. */
extern char loam_data_roots[], loam_data_roots_end[], loam_bss_roots[], loam_bss_roots_end[];
extern char loam_stack_guard[], loam_stack_low[], loam_stack_base[];
extern char loam_trap_guard[], loam_trap_stack_low[], loam_trap_stack_base[];

#endif
