/* SPDX-License-Identifier: MIT */
/*
 * Explicit mappings: physical ranges of the caller's choice, with rights and a memory type, in
 * loam's window; rights of memory that the ten calls made Ready; demand paging.
 *
 * Context of all: thread or IRQs off; they take mm locks and call no hook but those that
 * <loam/host.h> lists for when locks are held.
 */
#ifndef LOAM_VM_H
#define LOAM_VM_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rights. Reading is always among them; writing and executing at once is refused. */
#define LOAM_VM_READ  0x1u
#define LOAM_VM_WRITE 0x2u
#define LOAM_VM_EXEC  0x4u

enum loam_vm_memory {
	LOAM_VM_WRITE_BACK,	 /* ordinary memory */
	LOAM_VM_WRITE_COMBINING, /* frame buffers */
	LOAM_VM_UNCACHED,
	LOAM_VM_DEVICE, /* registers: no gathering, reordering or speculation */
	LOAM_VM_MEMORY_COUNT,
};

/*
 * Map [pa, pa + size) into the window: at `at`, or with `at` 0 where there is room, aligned so
 * that large leaves (2 MiB, 1 GiB) fit. All multiples of LOAM_PAGE_SIZE. `*base` (may be NULL)
 * becomes the address. The state is Mapped; the frames stay the caller's.
 * Fails: INVAL misaligned, size 0, wrapping, rights W+X or none, `pa` beyond what this CPU has,
 * or RAM that loam uses itself (what loam_frame_alloc gave to owner HOST or TEST may be mapped);
 * EXIST something is at `at`; NOVIRT; NOMEM; NOTSUP on Linux, which has no physical memory.
 */
LOAM_MUST_USE enum loam_err loam_vm_map(uintptr_t at, struct loam_paddr pa, size_t size,
					unsigned rights, enum loam_vm_memory memory,
					uintptr_t *base);

/* Undo, whole or in part. Fails: INVAL a page is not Mapped; NOMEM no frame for a record or a
 * table when a part is cut out. */
LOAM_MUST_USE enum loam_err loam_vm_unmap(uintptr_t base, size_t size);

/*
 * Change the rights of a range, all Mapped or all Ready. Taking rights away is complete on every
 * CPU on return; giving costs no invalidation, and a CPU may fault once on what it remembers.
 * Fails: NOENT a page is neither; INVAL; NOMEM a large leaf must be split and no table is left.
 */
LOAM_MUST_USE enum loam_err loam_vm_protect(uintptr_t base, size_t size, unsigned rights);

struct loam_vm_info {
	struct loam_paddr pa; /* of the byte asked about */
	unsigned rights;      /* LOAM_VM_* */
	enum loam_vm_memory memory;
	uint64_t leaf_bytes;
	bool accessed, dirty; /* the leaf; on aarch64 the run of 16 leaves, if it is in one */
};

/* What the page tables say about `addr`. Fails: NOENT nothing is mapped; NOTSUP on Linux. */
LOAM_MUST_USE enum loam_err loam_vm_query(uintptr_t addr, struct loam_vm_info *info);

/* Print the walk for `addr` through the log, an entry a line: where it stands, what it says. Context: any. */
void loam_dump_walk(uintptr_t addr);

/*
 * Demand paging: from now on a touch of a Prepared page in the range makes it Ready, zeroed,
 * through loam_fault_handle (2 MiB at once where loam_sys_hugepage asked for it). `lazy` false
 * undoes that. Fails: INVAL not reserved; NOMEM no frame for a region record; NOTSUP on Linux.
 */
LOAM_MUST_USE enum loam_err loam_vm_lazy(uintptr_t base, size_t size, bool lazy);

enum loam_access {
	LOAM_ACCESS_READ,
	LOAM_ACCESS_WRITE,
	LOAM_ACCESS_EXEC,
};

/*
 * A trap, as the host kernel's handler found it.
 *
 *                 x86_64: vector 14           aarch64: ESR_EL1.EC is 0x25 (data) or 0x21 (instruction)
 *   addr          CR2                         FAR_EL1
 *   pc, sp        rip, rsp on the stack       ELR_EL1, and the stack pointer before the trap
 *   access        error code: bit 4 EXEC,     EC 0x21 EXEC, ESR_EL1 bit 6 WRITE, else READ
 *                 bit 1 WRITE, else READ
 *   present       error code: bit 0           status, which is ESR_EL1 & 0x3f: 0x08 to 0x0f
 *   external      error code: bit 3           status below 0x04, or above 0x0f but for 0x2b
 *   tlb_conflict  false                       status 0x30
 *
 * boot/x86_64/traps.c and boot/aarch64/traps.c are handlers.
 */
struct loam_fault {
	uintptr_t addr; /* that was touched */
	uintptr_t pc;	/* of the instruction */
	uintptr_t sp;	/* at that time */
	enum loam_access access;
	bool present;	   /* the page was there: a right was missing */
	bool external;	   /* nothing is missing: a bad entry, or no matter of tables */
	bool tlb_conflict; /* aarch64: two TLB entries for one address; FEAT_BBM level 2 allows it */
};

/*
 * For the host's page-fault handler, on a stack of its own: repair the fault if it is one of
 * demand paging, of accessed or dirty bits that software keeps, spurious (another CPU has
 * mended it, or this one remembered old rights), or a TLB conflict. True: return to the instruction. False: it is a
 * bug; loam_fault_report says what is known. Bounded time; never allocates from the heap; takes
 * mm locks unless this CPU holds one or spins for one: then no page is filled, and the rest is repaired without a
 * lock. Memory that another CPU has taken out of the tables for a moment is repaired by trying again. Context: IRQs off.
 */
bool loam_fault_handle(const struct loam_fault *fault);

/*
 * Log what happened, in words: the access, the address, what is there (area, or region of the
 * window with state, owner and history), and the page walk. Takes no lock and no memory. On Linux
 * it says nothing. Context: any, locks held.
 */
void loam_fault_report(const struct loam_fault *fault);

/* A named stretch of addresses that the host kernel tells the report about. */
struct loam_fault_area {
	const char *name; /* "text", "boot stack guard" */
	uintptr_t base, end;
	bool guard; /* a touch here is a stack overflow */
};

/* Tell the report about the host's own areas; `area` stays the caller's and must stay valid.
 * Context: thread, one CPU running. */
void loam_fault_areas(const struct loam_fault_area *area, size_t count);

#ifdef __cplusplus
}
#endif

#endif
