/* SPDX-License-Identifier: MIT */
/*
 * Address types and units.
 *
 * A physical address and a frame number are one-member structs: passing one where a pointer or
 * a virtual address is due does not compile, and costs nothing at run time. Virtual addresses
 * are `uintptr_t` (arithmetic) or `void *` (memory).
 */
#ifndef LOAM_TYPES_H
#define LOAM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The frame: the smallest unit the MMU maps. Both architectures run a 4 KiB granule. */
#define LOAM_PAGE_SHIFT 12
#define LOAM_PAGE_SIZE	((uint64_t)1 << LOAM_PAGE_SHIFT)
/* A leaf one level up, and one more: 2 MiB and 1 GiB. */
#define LOAM_HUGE_SHIFT	 21
#define LOAM_HUGE_SIZE	 ((uint64_t)1 << LOAM_HUGE_SHIFT)
#define LOAM_GIANT_SHIFT 30
#define LOAM_GIANT_SIZE	 ((uint64_t)1 << LOAM_GIANT_SHIFT)
/* Buddy orders: 2^order frames, 4 KiB (order 0) to 1 GiB (order 18). */
#define LOAM_ORDER_MAX	 18
#define LOAM_ORDER_COUNT (LOAM_ORDER_MAX + 1)
#define LOAM_ORDER_HUGE	 (LOAM_HUGE_SHIFT - LOAM_PAGE_SHIFT)
#define LOAM_ORDER_GIANT (LOAM_GIANT_SHIFT - LOAM_PAGE_SHIFT)

/* A physical address in bytes. */
struct loam_paddr {
	uint64_t raw;
};

/* A physical frame number: physical address divided by LOAM_PAGE_SIZE. */
struct loam_pfn {
	uint64_t raw;
};

static inline struct loam_paddr loam_paddr(uint64_t raw)
{
	struct loam_paddr pa;
	pa.raw = raw;
	return pa;
}

static inline struct loam_pfn loam_pfn(uint64_t raw)
{
	struct loam_pfn pfn;
	pfn.raw = raw;
	return pfn;
}

static inline struct loam_paddr loam_pfn_to_paddr(struct loam_pfn pfn)
{
	return loam_paddr(pfn.raw << LOAM_PAGE_SHIFT);
}

static inline struct loam_pfn loam_paddr_to_pfn(struct loam_paddr pa)
{
	return loam_pfn(pa.raw >> LOAM_PAGE_SHIFT);
}

/* Round to a power of two `align`. loam_align_up wraps to 0 past the top: callers check first. */
static inline uint64_t loam_align_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

static inline uint64_t loam_align_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static inline bool loam_is_aligned(uint64_t x, uint64_t align)
{
	return (x & (align - 1)) == 0;
}

static inline bool loam_is_pow2(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

/* Who pays for memory. Every byte loam holds belongs to exactly one owner. */
enum loam_owner {
	LOAM_OWNER_NONE = 0, /* free, or address space nobody has mapped yet */
	LOAM_OWNER_TABLE,    /* page tables */
	LOAM_OWNER_META,     /* mm's own records: frame info, bitmaps, region records */
	LOAM_OWNER_HEAP,     /* the garbage-collected heap's objects */
	LOAM_OWNER_GC,	     /* the collector's side tables, work buffers, span records */
	LOAM_OWNER_STACK,    /* stacks handed out by loam */
	LOAM_OWNER_HOST,     /* the kernel's own, through the public calls */
	LOAM_OWNER_TEST,     /* self-tests */
	LOAM_OWNER_COUNT,
};

/* Short lower-case name of an owner ("heap"). Never NULL. Context: any. */
const char *loam_owner_name(enum loam_owner owner);

#ifdef __cplusplus
}
#endif

#endif
