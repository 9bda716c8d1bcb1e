/* SPDX-License-Identifier: MIT */
/* loam: everything a kernel includes, and the way in. */
#ifndef LOAM_LOAM_H
#define LOAM_LOAM_H

#include <loam/cpu.h>
#include <loam/err.h>
#include <loam/frame.h>
#include <loam/gc.h>
#include <loam/heap.h>
#include <loam/host.h>
#include <loam/memmap.h>
#include <loam/numa.h>
#include <loam/stack.h>
#include <loam/stats.h>
#include <loam/sys.h>
#include <loam/types.h>
#include <loam/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What loam must know about the machine. Zero means "not given"; on Linux (arch/host) all of it
 * may be zero.
 */
struct loam_config {
	/* Physical memory; loam keeps no pointer into it after loam_init. */
	const struct loam_mem_entry *memmap;
	size_t memmap_count;
	/* Which memory is on which NUMA node; none given: all on node 0. */
	const struct loam_node_range *nodes;
	size_t node_count;
	/* Virtual address minus physical address of the direct map, which covers all usable RAM, writable. */
	uintptr_t direct_map_offset;
	/* Virtual addresses that loam may hand out; its own and nobody else's. */
	uintptr_t window_base;
	size_t window_bytes;
	/* Root of the page table that is in force; raw 0: read it from this CPU. */
	struct loam_paddr root;
	/* Share of GOGC: collect when the heap has grown by this percentage. 0 means 100. */
	int gc_percent;
	/* How the collector learns what the program changes while it marks: <loam/gc.h>. */
	enum loam_barrier barrier;
	/* True: each cycle's marks are checked: loam_gc_set_check. */
	bool check;
	/* True, and barrier is SOFTWARE: the MMU checks that the program uses it: loam_gc_audit_read. */
	bool audit;
	/*
	 * 1: a line per collection through loam_host_log, which is Go's with GODEBUG=gctrace=1. 2: also what the pacer
	 * thinks, as gcpacertrace=1. 3: also memory that went back, as scavtrace=1.
	 */
	int gctrace;
	/* True: the heap gives each object pages of its own, with a trap behind its end, and never uses an
	 * address twice. For finding overruns and uses after free; it takes much memory. */
	bool efence;
	/* True: never use huge pages, whatever the CPU has. */
	bool no_hugepage;
	/* True: never use leaves of 1 GiB, whatever the CPU has. (Your own tables may have them.) */
	bool no_gigapage;
};

/*
 * Bring up all layers. Call once, on the boot CPU, with the MMU on; any loam_alloc comes after
 * loam_thread_attach. A configuration that cannot work (map overlapping the window, wrong CPU
 * mode) ends in loam_host_panic with the fix.
 *
 * It sets the CPU up as loam's page-table entries want it, and so does loam_cpu_online:
 *   x86_64   EFER.NXE, CR0.WP, CR4.PGE, CR4.SMEP, CR4.SMAP where the CPU has them; IA32_PAT to 0x0007010600070106: 0
 *            WB, 1 WC, 2 UC-, 3 UC, and again from 4 on (a CPU begins with 1 and 5 WT)
 *   aarch64  MAIR_EL1 to 0x4444ff: 0 write-back, 1 and 2 non-cacheable, 3 to 7 nGnRnE; TCR_EL1.HA and HD where the CPU has
 *            them; TCR_EL1.HPD1 clear if the boot CPU's is; SCTLR_EL1.SPAN clear and PSTATE.PAN set
 * CR4.PCIDE may be set, also later: loam then flushes all PCIDs where it takes page tables away.
 * What the kernel's own entries index there must mean the same before, as far as it is in use.
 * Fails: NOMEM, NOVIRT, INVAL, EXIST when called twice. Context: thread, one CPU running.
 */
LOAM_MUST_USE enum loam_err loam_init(const struct loam_config *config);

/* The two halves of loam_init, for a kernel that wants the memory layer alone. */
LOAM_MUST_USE enum loam_err loam_mm_init(const struct loam_config *config);
LOAM_MUST_USE enum loam_err loam_gc_init(const struct loam_config *config);

/*
 * Give everything back: heap, tables, address space, page tables, and every frame that was free when the
 * memory map had been read. The window is as loam_init found it; on Linux its mappings are gone. The calling thread is
 * detached if it was attached. loam_init works again afterwards.
 * Every pointer from loam is void from here on; roots of other address spaces must no longer hold
 * copies of the window's root entries. Address ranges that are only Reserved go too.
 * Fails, with nothing changed (but that kept stacks are freed) and the log naming by owner what is in
 * the way: BUSY another thread is attached, another CPU online (loam_cpu_offline), or the host holds
 * frames, stacks, memory of owners other than heap and gc, or mappings; NOENT loam is not up.
 * Context: thread; nobody else uses loam.
 */
LOAM_MUST_USE enum loam_err loam_shutdown(void);

/* The same after loam_mm_init alone. Also BUSY while the heap has memory. */
LOAM_MUST_USE enum loam_err loam_mm_shutdown(void);

/* Would loam_shutdown find that the host holds something of mm's, or that another CPU is online? BUSY, and
 * the log names it; NOENT loam is not up. Context: as loam_shutdown. */
LOAM_MUST_USE enum loam_err loam_mm_idle(void);

#ifdef __cplusplus
}
#endif

#endif
