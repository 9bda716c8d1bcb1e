/* SPDX-License-Identifier: MIT */
/* Objects of one fixed size, each with a number. Theory: fixalloc.c. */
#ifndef LOAM_GC_FIXALLOC_H
#define LOAM_GC_FIXALLOC_H

#include <loam/err.h>
#include <loam/types.h>

struct loam_fixalloc {
	uintptr_t base;	     /* init: address of object 0 */
	uint32_t item_bytes; /* init: a multiple of 8 */
	uint32_t max_items;  /* init */
	uint32_t owner;	     /* init: enum loam_owner */
	uint32_t begun;	     /* atomic, written under the caller's lock: objects that ever were */
	uint32_t used;	     /* caller's lock: objects in use */
	uint32_t free;	     /* caller's lock: number of the free object last freed, and 1 */
	size_t ready;	     /* caller's lock: bytes backed */
	/* To be set between loam_fixalloc_init and the first _alloc. */
	bool zero; /* an object that was used before comes zeroed too */
	void (*first)(void *arg,
		      void *item); /* called once for each object, before its first use */
	void *first_arg;
};

/*
 * Objects 0 to max_items - 1 of `item_bytes` (rounded up to 8): reserves their addresses and takes no
 * memory. Every other field of *f gets its default: no `first`, no zeroing.
 * Fails: INVAL a size or count of 0, more than fits; NOVIRT; NOMEM. Context: any.
 */
LOAM_MUST_USE enum loam_err loam_fixalloc_init(struct loam_fixalloc *f, size_t item_bytes,
					       uint32_t max_items, enum loam_owner owner);

/*
 * An object: the one freed last, else the next that never was. One that never was is zero (before `first`
 * sees it); one that was has its old contents but for the first 4 bytes, unless `zero`. NULL: no
 * memory, or all max_items are in use. Context: the caller's lock.
 */
void *loam_fixalloc_alloc(struct loam_fixalloc *f);

/* Give one back. Its first 4 bytes are loam's from now on. Context: the caller's lock. */
void loam_fixalloc_free(struct loam_fixalloc *f, void *item);

/* Everything goes back to mm, objects in use too; *f must be initialised again. */
void loam_fixalloc_reset(struct loam_fixalloc *f);

/* Panic on the first broken invariant. Context: the caller's lock. */
void loam_fixalloc_verify(const struct loam_fixalloc *f);

/* Objects that ever were: below it every number leads to memory. Context: any. */
static inline uint32_t loam_fixalloc_begun(const struct loam_fixalloc *f)
{
	/* acquire: partner of the release in loam_fixalloc_alloc */
	return __atomic_load_n(&f->begun, __ATOMIC_ACQUIRE);
}

/* Is `addr` the address of an object that ever was? Context: any. */
static inline bool loam_fixalloc_owns(const struct loam_fixalloc *f, const void *addr)
{
	uint64_t at = (uintptr_t)addr - f->base;

	return at < (uint64_t)loam_fixalloc_begun(f) * f->item_bytes && at % f->item_bytes == 0;
}

/* Number of an object, and back. Context: any. */
static inline uint32_t loam_fixalloc_index(const struct loam_fixalloc *f, const void *item)
{
	return (uint32_t)(((uintptr_t)item - f->base) / f->item_bytes);
}

static inline void *loam_fixalloc_at(const struct loam_fixalloc *f, uint32_t index)
{
	return (void *)(f->base + (uint64_t)index * f->item_bytes);
}

#endif
