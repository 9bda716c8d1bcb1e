/* SPDX-License-Identifier: MIT */
/*
 * The window of virtual addresses, cut into regions: some free, some reserved. Theory: vspace.c.
 * The caller holds the space lock for everything here.
 */
#ifndef LOAM_MM_VSPACE_H
#define LOAM_MM_VSPACE_H

#include <loam/err.h>
#include <loam/types.h>

#define LOAM_REGION_HISTORY 6u

/* What happened to a region, for the fault report; LOAM_CALL_NONE ends the history. */
enum loam_call {
	LOAM_CALL_NONE,
	LOAM_CALL_RESERVE,
	LOAM_CALL_MAP,
	LOAM_CALL_USED,
	LOAM_CALL_UNUSED,
	LOAM_CALL_FAULT,
	LOAM_CALL_FREE,
	LOAM_CALL_ALLOC,
	LOAM_CALL_HUGEPAGE,
	LOAM_CALL_NOHUGEPAGE,
	LOAM_CALL_COLLAPSE,
	LOAM_CALL_MOVE,
	LOAM_CALL_VM_MAP,
	LOAM_CALL_VM_UNMAP,
	LOAM_CALL_VM_PROTECT,
	LOAM_CALL_VM_LAZY,
	LOAM_CALL_STACK,
	LOAM_CALL_COUNT,
};

struct loam_region {
	uintptr_t base;
	size_t size;
	size_t max_free; /* largest free region in this subtree */
	struct loam_region *left, *right, *parent;
	uint64_t priority;		      /* heap order of the treap */
	uint64_t reservation;		      /* which loam_sys_reserve it came from; 0: free */
	uint8_t owner;			      /* enum loam_owner, of the last map */
	bool hugepage;			      /* wants huge leaves */
	bool lazy;			      /* a touch of a Prepared page fills it */
	bool mapped;			      /* by loam_vm_map: frames are not loam's */
	bool pooled;			      /* a freed stack that is kept: mm/stackpool.c */
	uint8_t history[LOAM_REGION_HISTORY]; /* enum loam_call, newest first */
};

/* Cover [base, base + size) with one free region. Fails: NOMEM. */
LOAM_MUST_USE enum loam_err loam_vspace_init(uintptr_t base, size_t size);
void loam_vspace_reset(void);

/*
 * Make sure that `count` records are at hand, so that as many cuts cannot fail: reserve takes
 * up to 2, cut 1. Fails: NOMEM.
 */
LOAM_MUST_USE enum loam_err loam_vspace_stock(size_t count);

/* Take a free gap: at `hint` if that is free and aligned, else the lowest one. Stock 2 first.
 * Fails: NOVIRT. */
LOAM_MUST_USE enum loam_err loam_vspace_reserve(uintptr_t hint, size_t size, size_t align,
						struct loam_region **region);

/* Is `addr` in the window? Context: any. */
bool loam_vspace_covers(uintptr_t addr);

/* The region, free or reserved, that holds `addr`; NULL outside the window. Context: any (reads
 * type-stable records, so it comes to an end: but without the lock, while another CPU cuts or turns, the answer may be
 * a wrong region or NULL, which is good for a report and no more). */
struct loam_region *loam_vspace_find(uintptr_t addr);

/* The region behind this one, or NULL. */
struct loam_region *loam_vspace_next(struct loam_region *region);

/* Make `addr` the start of a region, cutting the one it is in. Stock 1 first, unless it is one. */
void loam_vspace_cut(uintptr_t addr);

/* Merge `region` with its neighbours of the same reservation, owner and policy; returns the one
 * that is left. Free regions merge with free ones. */
struct loam_region *loam_vspace_merge(struct loam_region *region);

/* The region is free from now on (merge follows). */
void loam_vspace_release(struct loam_region *region);

void loam_region_note(struct loam_region *region, enum loam_call call);
const char *loam_call_name(enum loam_call call);

/* Reserved regions. */
uint64_t loam_vspace_count(void);
/* Pages of region records taken so far; none goes back before shutdown. */
uint64_t loam_vspace_record_pages(void);

/* Panic on the first broken invariant. */
void loam_vspace_verify(void);

#endif
