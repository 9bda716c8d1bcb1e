/* SPDX-License-Identifier: MIT */
/*
 * The back end of the ten calls: what sys.c needs done to address space once it has checked the
 * request. Two implementations: mm/space.c against the MMU, arch/host/space.c over mmap.
 *
 * Ranges are page-aligned and inside the window; the caller (sys.c) holds the space lock and
 * has looked at the states with loam_space_count. All or nothing: on failure nothing changed.
 */
#ifndef LOAM_MM_SPACE_H
#define LOAM_MM_SPACE_H

#include <loam/loam.h>
#include <loam/sys.h>

struct loam_ptab;

/* The page tables behind the window. MMU back end only. Context: any. */
extern struct loam_ptab loam_space_table; /* boot only; the tables behind it: space lock */

static inline const struct loam_ptab *loam_space_ptab(void)
{
	return &loam_space_table;
}

/* Set up; `window` out-parameters tell which addresses may be handed out (the config's, or on
 * Linux one that was found). Fails: NOMEM, NOVIRT, INVAL. */
LOAM_MUST_USE enum loam_err loam_space_init(const struct loam_config *config,
					    uintptr_t *window_base, size_t *window_bytes);

/* This CPU joins. MMU back end only. Context: space lock held. */
void loam_space_cpu_init(void);

/* Bytes of memory that could be Ready: all that loam was given, or the machine's on Linux. */
uint64_t loam_space_memory(void);

/* Forget everything, for tests that init again. Every page must be Reserved or None. */
void loam_space_reset(void);

/* Pages of the range that are Reserved (or None: the back end cannot tell), Prepared, Ready. */
struct loam_space_count {
	uint64_t reserved_bytes;
	uint64_t prepared_bytes;
	uint64_t ready_bytes;
	uint64_t huge_bytes; /* part of ready_bytes under huge leaves */
};
void loam_space_count(uintptr_t base, size_t size, struct loam_space_count *count);

/* Reserved to Prepared, all pages. NOMEM. */
LOAM_MUST_USE enum loam_err loam_space_prepare(uintptr_t base, size_t size);

/*
 * Every Prepared page of the range becomes Ready, zeroed; Ready ones stay. The regions around the
 * pages (mm/vspace.h) say who pays and whether whole aligned 2 MiB blocks should become huge
 * leaves, frames allowing. `prepared_bytes` of the range are Prepared. NOMEM.
 */
LOAM_MUST_USE enum loam_err loam_space_commit(uintptr_t base, size_t size, uint64_t prepared_bytes);

/* Every Ready page of the range becomes Prepared (`to` PREPARED), or every Ready and Prepared
 * page becomes Reserved (`to` RESERVED); frames, and in the latter case tables, go back. Never
 * fails: a huge leaf cut in two finds its new table in the part that goes. */
void loam_space_drop(uintptr_t base, size_t size, enum loam_state to);

/* The same to Prepared, but other CPUs may reach the old frames for a while: mm/epoch.c. */
void loam_space_drop_later(uintptr_t base, size_t size);

/* Gather one aligned, wholly Ready 2 MiB into one leaf, keeping its contents; OK if it is one
 * already. NOMEM; NOTSUP; BUSY the running stack is in it. */
LOAM_MUST_USE enum loam_err loam_space_collapse(uintptr_t base, enum loam_owner owner);

/*
 * `from`, Ready everywhere, becomes Prepared, and `to`, Prepared everywhere and elsewhere, becomes Ready with
 * its frames and bytes, rights and leaves. NOMEM no table to cut a leaf with; BUSY the running stack is on
 * a leaf that has to be cut.
 */
LOAM_MUST_USE enum loam_err loam_space_move(uintptr_t from, uintptr_t to, size_t size);

/* ---- for mm/move.c: parts of mm/space.c ---- */

struct loam_ptab_pool;
struct loam_ptab_slot;

/* Take `count` frames for tables, all or nothing, if need be out of what waits. NOMEM. */
LOAM_MUST_USE enum loam_err loam_space_take_tables(struct loam_ptab_pool *pool, size_t count);

/* The huge leaf of the ten calls in `slot` becomes smaller ones, each with a run of its own [SPACE-2], under
 * a table of the pool. */
void loam_space_split_leaf(struct loam_ptab_slot *slot, struct loam_ptab_pool *pool);

/* The same until none is left that `addr` cuts. */
void loam_space_split_at(uintptr_t addr, struct loam_ptab_pool *pool);

/* ---- for mm/vm.c and mm/fault.c: only where there is an MMU ---- */

/* Map the range, all Reserved, to [pa, pa + size). NOMEM; EXIST. */
LOAM_MUST_USE enum loam_err loam_space_map(uintptr_t base, struct loam_paddr pa, size_t size,
					   uint32_t attr);
/* Undo; the frames are not ours. NOMEM no table to cut a large leaf with. */
LOAM_MUST_USE enum loam_err loam_space_unmap(uintptr_t base, size_t size);
/* Change the rights of the range, all leaves. `owned`: by the ten calls. NOMEM;
 * NOENT a page is no leaf. */
LOAM_MUST_USE enum loam_err loam_space_protect(uintptr_t base, size_t size, uint32_t rights,
					       bool owned);
/* The touched Prepared page at `slot`, in region `r`, becomes Ready, or 2 MiB around it if `huge` and
 * the region wants that and they are all Prepared and there is such a block. *bytes: how much. NOMEM. */
struct loam_region;
LOAM_MUST_USE enum loam_err loam_space_fill(const struct loam_region *r,
					    const struct loam_ptab_slot *slot, bool huge,
					    uint64_t *bytes);

/* Fill in state (never None: see above), leaf_bytes, dirty, pa. */
void loam_space_query(uintptr_t addr, struct loam_sys_info *info);

/* The memory of a Ready page of 4 KiB with the rights that loam gives, as loam itself may touch it at any
 * time; NULL: it is none. Context: space lock held. */
void *loam_space_plain(uintptr_t addr);

/* Huge-leaf sizes the back end can make: bit 21 for 2 MiB, bit 30 for 1 GiB; 0 none. */
uint64_t loam_space_huge_sizes(void);

/* A frame of 4096 zeroed bytes for records, reachable at once. It goes back at shutdown. NULL: none. */
void *loam_space_record_page(void);

/* Add to frame_bytes[] what each owner has in frames behind no page; ready_bytes[] is what is Ready. True:
 * other CPUs are online. Context: space lock held. */
bool loam_space_held(const uint64_t *ready_bytes, uint64_t *frame_bytes);

/* Every page of the window is None, and no record is used any more: give the rest back, see that nothing is
 * missing [SHUT-1], and forget everything. Context: space lock held. */
void loam_space_shutdown(void);

#endif
