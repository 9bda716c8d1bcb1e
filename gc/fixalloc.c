/* SPDX-License-Identifier: MIT */
/*
 * Objects of one fixed size, numbered.
 *
 * One reserved range an allocator holds all objects that can ever be, side by side: a number of 32
 * bits is as good as a pointer, and tables of them take half the room. The range becomes
 * Ready from its start, a page at first and then as much again as there is, up to 64 KiB at a time,
 * and stays so until loam_fixalloc_reset.
 *
 * Type-stable: an address or number that once led to an object always does. Whoever looks at a stale one
 * finds an object of the same kind; so a freed object keeps its contents, but for the first 4 bytes, which
 * hold the number of the next free one. What a stale reader needs stands behind those (Go's
 * mspans need their sweepgen to survive, for the same reason).
 *
 *   [FIX-1] Free objects hang in one list, each once; with those in use they are all that ever were.
 *   [FIX-2] What ever was is backed, and a number never leads elsewhere.
 *   [FIX-3] A failed call has changed nothing.
 *
 * Concurrency: the caller's lock for alloc and free; numbers and addresses from any context.
 * Source: Go's runtime/mfixalloc.go, which takes chunks from persistentalloc and has no numbers.
 */
#include "gc/fixalloc.h"

#include <loam/sys.h>

#include "arch/check.h"

#define STEP_MAX ((size_t)64 << 10)

void *memset(void *dst, int c, size_t n);

enum loam_err loam_fixalloc_init(struct loam_fixalloc *f, size_t item_bytes, uint32_t max_items,
				 enum loam_owner owner)
{
	uintptr_t base;
	enum loam_err err;

	if (item_bytes == 0 || max_items == 0 || item_bytes > UINT32_MAX - 7 ||
	    (unsigned)owner <= LOAM_OWNER_NONE || (unsigned)owner >= LOAM_OWNER_COUNT ||
	    max_items == UINT32_MAX)
		return LOAM_INVAL;
	item_bytes = loam_align_up(item_bytes, 8);
	err = loam_sys_reserve(0, item_bytes * max_items, LOAM_PAGE_SIZE, &base);
	if (err != LOAM_OK)
		return err;
	*f = (struct loam_fixalloc){
		.base = base,
		.item_bytes = (uint32_t)item_bytes,
		.max_items = max_items,
		.owner = owner,
	};
	return LOAM_OK;
}

static size_t reserved_bytes(const struct loam_fixalloc *f)
{
	return loam_align_up((uint64_t)f->max_items * f->item_bytes, LOAM_PAGE_SIZE);
}

/* Back `bytes` more, a multiple of the page. */
static bool back(struct loam_fixalloc *f, size_t bytes)
{
	uintptr_t at = f->base + f->ready;
	enum loam_err undone;

	if (loam_sys_map(at, bytes, (enum loam_owner)f->owner) != LOAM_OK)
		return false;
	if (loam_sys_used(at, bytes, NULL) == LOAM_OK) {
		f->ready += bytes;
		return true;
	}
	undone = loam_sys_fault(at, bytes); /* as it was: mapped again next time */
	LOAM_CHECK(undone == LOAM_OK, "a range just mapped could not be revoked");
	return false;
}

/* Back the range up to `end`; more than that if memory is at hand. */
static bool grow(struct loam_fixalloc *f, size_t end)
{
	size_t need = loam_align_up(end, LOAM_PAGE_SIZE) - f->ready;
	size_t rest = reserved_bytes(f) - f->ready;
	size_t step = f->ready < STEP_MAX ? f->ready : STEP_MAX;

	step = step < rest ? step : rest;
	return (step > need && back(f, step)) || back(f, need);
}

static void *begin_next(struct loam_fixalloc *f)
{
	size_t end = ((size_t)f->begun + 1) * f->item_bytes;
	void *item = loam_fixalloc_at(f, f->begun);

	if (f->begun == f->max_items || (end > f->ready && !grow(f, end)))
		return NULL;
	if (f->first != NULL)
		f->first(f->first_arg, item);
	/* release: partner of loam_fixalloc_begun; the memory is there */
	__atomic_store_n(&f->begun, f->begun + 1, __ATOMIC_RELEASE);
	return item;
}

void *loam_fixalloc_alloc(struct loam_fixalloc *f)
{
	uint32_t *item;

	if (f->free == 0) {
		item = begin_next(f);
	} else {
		item = loam_fixalloc_at(f, f->free - 1);
		f->free = *item;
		LOAM_ASSERT(f->free <= f->begun); /* else somebody wrote to a free object */
		if (f->zero)
			memset(item, 0, f->item_bytes);
	}
	f->used += item != NULL;
	return item;
}

void loam_fixalloc_free(struct loam_fixalloc *f, void *item)
{
	LOAM_CHECK(f->used > 0 && loam_fixalloc_owns(f, item),
		   "an object was freed to an allocator that it is not of");
	*(uint32_t *)item = f->free;
	f->free = loam_fixalloc_index(f, item) + 1;
	f->used--;
}

void loam_fixalloc_reset(struct loam_fixalloc *f)
{
	enum loam_err err = LOAM_OK;

	if (f->base != 0)
		err = loam_sys_free(f->base, reserved_bytes(f)); /* whole: takes no record */
	LOAM_CHECK(err == LOAM_OK, "the range of an allocator could not be freed");
	*f = (struct loam_fixalloc){0};
}

void loam_fixalloc_verify(const struct loam_fixalloc *f)
{
	uint32_t count = 0;

	for (uint32_t next = f->free; next != 0; count++) {
		LOAM_CHECK(next <= f->begun && count < f->begun,
			   "[FIX-1] a free object was written to, or freed twice");
		next = *(const uint32_t *)loam_fixalloc_at(f, next - 1);
	}
	LOAM_CHECK(count + f->used == f->begun, "[FIX-1] an object is neither free nor in use");
	LOAM_CHECK((uint64_t)f->begun * f->item_bytes <= f->ready,
		   "[FIX-2] an object is not backed");
}
