/* SPDX-License-Identifier: MIT */
/*
 * The ten system memory calls: Go's runtime/mem.go, against the MMU.
 *
 * Address space is in one of four states, page by page:
 *
 *   None      not ours: nobody may touch it
 *   Reserved  an address range and nothing else: every touch is a bug and is reported
 *   Prepared  may become Ready by loam_sys_used; page tables exist; no frame
 *   Ready     readable and writable memory, never executable
 *
 *            reserve            map                used
 *      None --------> Reserved -----> Prepared ----------> Ready
 *       ^ ^               ^ ^           |   ^   unused      | |
 *       | |               | +-- fault --+   +---------------+ |
 *       | +----- free ----+---------------- fault ------------+      (free: from any state)
 *
 * All addresses and sizes are multiples of LOAM_PAGE_SIZE; sizes are in bytes and not zero,
 * except that loam_sys_alloc and loam_sys_reserve round `size` up. A range may lie anywhere
 * inside reserved address space, over parts of several reservations. Bad input (unaligned,
 * wrapping, not reserved by us, wrong state) is LOAM_INVAL and changes nothing; so does every
 * failure. Source of the contracts: Go's runtime/mem.go.
 *
 * Context of all: thread or IRQs off; they take mm locks, never allocate from the heap, and
 * call no hook but those that <loam/host.h> lists for when locks are held.
 */
#ifndef LOAM_SYS_H
#define LOAM_SYS_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum loam_state {
	LOAM_STATE_NONE,
	LOAM_STATE_RESERVED,
	LOAM_STATE_PREPARED,
	LOAM_STATE_READY,
	LOAM_STATE_MAPPED, /* by loam_vm_map: none of the ten calls touches it */
	LOAM_STATE_COUNT,
};

/* Name of a state ("Reserved"). Never NULL. */
const char *loam_state_name(enum loam_state state);

/*
 * None to Reserved: take `size` bytes (rounded up to pages) of address space, aligned to
 * `align` bytes (a power of two, at least a page; 0 means a page). With a non-zero `hint`, that
 * address if it is free and aligned, else another. Takes no frame for the range itself and no
 * leaf table. `*base` is the start.
 * Fails: NOVIRT no such gap in the window; NOMEM no frame for a region record; INVAL.
 */
LOAM_MUST_USE enum loam_err loam_sys_reserve(uintptr_t hint, size_t size, size_t align,
					     uintptr_t *base);

/*
 * Reserved to Prepared, for every page of the range; `owner` pays for it from now on. Builds
 * all page tables. Fails: NOMEM; EXIST a page is Prepared or Ready already; INVAL.
 */
LOAM_MUST_USE enum loam_err loam_sys_map(uintptr_t base, size_t size, enum loam_owner owner);

/*
 * Prepared to Ready; pages that are Ready stay as they are. `*zeroed` (may be NULL) becomes
 * true if every byte of the range is known to be zero. Huge leaves where asked for and
 * possible. Fails: NOMEM; LIMIT (loam_sys_set_limit); INVAL a page is Reserved or None.
 */
LOAM_MUST_USE enum loam_err loam_sys_used(uintptr_t base, size_t size, bool *zeroed);

/*
 * Ready to Prepared; pages that are Prepared stay so. The contents are lost and the frames are
 * back with the frame allocator when this returns. Fails: INVAL a page is Reserved or None.
 */
LOAM_MUST_USE enum loam_err loam_sys_unused(uintptr_t base, size_t size);

/*
 * The same without interrupting anybody: another CPU that touches the range may find its old
 * contents (or trap) until it has passed loam_cpu_quiescent, and only when all have do the frames go
 * back. Using the range again settles it at once, and so do memory that runs short and
 * huge leaves in the range. Nobody may hold a pointer into the range. Fails: INVAL as above.
 */
LOAM_MUST_USE enum loam_err loam_sys_unused_later(uintptr_t base, size_t size);

/*
 * Ready or Prepared to Reserved; Reserved pages stay so. Every touch traps from now on, and
 * the report names this range and its owner. Use again through loam_sys_map.
 * Fails: INVAL a page is None.
 */
LOAM_MUST_USE enum loam_err loam_sys_fault(uintptr_t base, size_t size);

/*
 * Any of Reserved, Prepared, Ready to None: frames, tables and address range go back; part of
 * a reservation may be freed. Accounting is right from every state (Go's is not).
 * Fails: INVAL a page is None; NOMEM only when freeing the middle of a reservation, which
 * splits its record, and not one frame is left.
 */
LOAM_MUST_USE enum loam_err loam_sys_free(uintptr_t base, size_t size);

/*
 * None to Ready in one step, zeroed: memory for metadata. `size` is rounded up to pages.
 * Fails: NOMEM, NOVIRT, LIMIT, INVAL.
 */
LOAM_MUST_USE enum loam_err loam_sys_alloc(size_t size, enum loam_owner owner, void **base);

/*
 * The range wants huge leaves, from the next loam_sys_used on, until loam_sys_nohugepage or
 * loam_sys_free: of 1 GiB, else 2 MiB, and on aarch64 contiguous runs of 32 MiB and 64 KiB (one
 * TLB entry each), where alignment, range and free memory allow. Demand paging fills 2 MiB at a time.
 * Only whole aligned leaves inside the range are affected. Fails: INVAL; NOTSUP no huge pages on this CPU or switched
 * off; NOMEM no frame for a region record.
 */
LOAM_MUST_USE enum loam_err loam_sys_hugepage(uintptr_t base, size_t size);

/*
 * Sizes of huge leaves that this CPU and back end have, one bit each: LOAM_HUGE_SIZE,
 * LOAM_GIANT_SIZE. 0: none, or switched off. Context: any.
 */
uint64_t loam_sys_huge_sizes(void);

/*
 * The range wants 4 KiB leaves only; a huge leaf that exists stays until something splits it.
 * With base and size both 0: huge pages off for good, as when the CPU has none.
 * Fails: INVAL; NOMEM no frame for a region record.
 */
LOAM_MUST_USE enum loam_err loam_sys_nohugepage(uintptr_t base, size_t size);

/*
 * Now: gather each whole aligned 2 MiB of the range, all Ready, into one huge leaf, every byte
 * kept. On failure what was collapsed before stays collapsed and no byte is lost.
 * Fails: NOMEM no 2 MiB of contiguous frames; BUSY a page of it is not Ready, or the running
 * stack is in it; NOTSUP; INVAL.
 */
LOAM_MUST_USE enum loam_err loam_sys_collapse(uintptr_t base, size_t size);

/*
 * Move memory by moving page-table entries instead of bytes, for reallocating what is large: [from,
 * from + size), Ready, becomes Prepared, and [to, to + size), Prepared, becomes Ready with its
 * bytes, in the same frames, with the same rights. Both ranges have one owner and do not overlap; nobody
 * uses either meanwhile. Policies stay with the addresses; leaves keep their size, whatever those say.
 *
 * What it costs: an entry for 2 MiB (or 1 GiB) where both ranges are aligned to that alike, an entry a page
 * elsewhere; and one invalidation for up to 256 entries. A huge leaf moves whole where it is inside the
 * range and aligned alike on both sides (a contiguous run stays one on the same terms). Else it becomes
 * smaller leaves, which takes a frame for a table; where an end of the range cuts it, another invalidation too.
 * Fails: NOMEM no frame for such a table; BUSY the running stack is in the range, or on a leaf that has to be cut;
 * INVAL, also for states and owners other than said above, and for ranges that overlap.
 */
LOAM_MUST_USE enum loam_err loam_sys_move(uintptr_t from, uintptr_t to, size_t size);

/*
 * Write tracking: which pages were written since somebody looked last, as the MMU tells it. A collector that marks
 * while the program runs goes like this: rounds, each followed by a look into the pages that it told about,
 * until they are few; then the world is stopped, and loam_sys_dirty_look says what is left.
 *
 * For all of these: [base, base + size) is page-aligned and in loam's window; pages of it that are not Ready, and
 * stacks of loam's, are passed by. A page may be told more than once, in any order. `visit` gets runs of pages; it
 * is called with mm's locks held, so it only writes them down: it calls nothing of loam's, and touches no
 * memory that could fault.
 */

/* Can this back end tell which pages are written? True on any MMU that loam runs on but aarch64 with
 * TCR_EL1.HPD1 set, and on Linux from 6.7. Context: any, after loam_mm_init. */
bool loam_sys_dirty_can(void);

/*
 * One round: tell all pages of the range that were written since the last round told them (or since they became
 * Ready; memory that moves keeps what is known of it), and begin anew for those. When this returns, every CPU notes
 * the next write to them again, and only then may the caller look at them: what is written
 * later will be told later. Memory under a huge leaf is told as a whole; with `split`, and
 * frames allowing, a huge leaf or contiguous run that was written becomes smaller leaves, so that what is
 * written gets finer while what is not stays huge (loam_sys_collapse undoes that). The first write to each 2 MiB, or where
 * the CPU keeps no dirty bit to each page, traps afterwards and is mended by loam_fault_handle, also if the
 * CPU holds locks of loam's. Interrupts are off for one 2 MiB at a time.
 * Fails: INVAL; BUSY a round is under way; NOTSUP loam_sys_dirty_can says no. Context: thread.
 */
LOAM_MUST_USE enum loam_err
loam_sys_dirty_round(uintptr_t base, size_t size, bool split,
		     void (*visit)(void *arg, uintptr_t base, size_t size), void *arg);

/*
 * The same question, and nothing changes: the next round will tell these pages too. One table entry is read for
 * each 2 MiB of the range, and 512 for each 2 MiB that was written since the last round and is not in
 * huge leaves; on Linux the kernel looks at every page. No TLB is flushed. Every other CPU is
 * stopped, outside of loam, as loam_host_world_stop says. Fails: as a round. Context: stopped.
 */
LOAM_MUST_USE enum loam_err
loam_sys_dirty_look(uintptr_t base, size_t size,
		    void (*visit)(void *arg, uintptr_t base, size_t size), void *arg);

/*
 * [alias, alias + size), in the window too, shows the same frames: from now on what is written there is told as
 * written to the range, until _remove; a page may then be told once for each of its addresses. What was
 * written through an alias and not told goes with it: do a round first. At most 16.
 * Fails: INVAL; EXIST it overlaps another alias; LIMIT there are 16; NOENT there is none at `alias`;
 * BUSY a round is under way; NOTSUP, on Linux always. Context: thread.
 */
LOAM_MUST_USE enum loam_err loam_sys_dirty_alias(uintptr_t base, size_t size, uintptr_t alias);
LOAM_MUST_USE enum loam_err loam_sys_dirty_alias_remove(uintptr_t alias);

/* What loam knows about one address. */
struct loam_sys_info {
	enum loam_state state;
	enum loam_owner owner; /* of the last loam_sys_map; NONE if never mapped */
	uint64_t
		leaf_bytes; /* size of the leaf that maps it (4 KiB, 2 MiB, 1 GiB); 0 unless Ready */
	bool dirty; /* written since the mapping was made, or the last round told it, as the MMU saw it */
	bool hugepage;	       /* policy of the range */
	bool lazy;	       /* a touch fills it: loam_vm_lazy */
	uintptr_t region_base; /* the reserved range around it */
	size_t region_size;
	struct loam_paddr pa; /* frame behind it; 0 unless Ready (always 0 on Linux) */
};

/* Ask about `addr` (any byte). Fails: NOENT state None (info untouched). Context: any. */
LOAM_MUST_USE enum loam_err loam_sys_query(uintptr_t addr, struct loam_sys_info *info);

/* Bytes per state and per owner. For each owner: ready + prepared = all that it has mapped. */
struct loam_sys_stats {
	uint64_t state_bytes[LOAM_STATE_COUNT]; /* [NONE] is the free part of the window */
	uint64_t ready_bytes[LOAM_OWNER_COUNT];
	uint64_t prepared_bytes[LOAM_OWNER_COUNT];
	uint64_t window_bytes;
	uint64_t huge_ready_bytes; /* part of state_bytes[READY] under 2 MiB or 1 GiB leaves */
	uint64_t region_count;
	uint64_t limit_bytes; /* on Ready bytes; UINT64_MAX when none */
};

void loam_sys_stats(struct loam_sys_stats *stats);

/* Ready bytes of all owners together, at once and without a lock. Context: any. */
uint64_t loam_sys_ready_bytes(void);

/* Bytes of memory there are to be made Ready: what loam was given; on Linux the machine's. Context:
 * any, after loam_mm_init. */
uint64_t loam_sys_memory_bytes(void);

/* The most that can be Ready at any time: the above, or the limit if that is less. Context: same. */
uint64_t loam_sys_most_bytes(void);

/*
 * loam_sys_used and _alloc fail with LIMIT rather than take Ready bytes past `bytes`.
 * UINT64_MAX: no limit. What is Ready already stays. Context: any.
 */
void loam_sys_set_limit(uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
