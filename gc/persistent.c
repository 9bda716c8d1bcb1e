/* SPDX-License-Identifier: MIT */
/*
 * Metadata that lives until shutdown: bump allocation, one pool an owner.
 *
 * A pool has one open chunk of 64 KiB that it cuts from, lowest address first. What does not fit
 * opens a new chunk, and the chunk with more room left of the two stays open, so a large request does
 * not throw away a chunk that is hardly begun. From 64 KiB on a request has a range of its own,
 * whose record is cut from a chunk. Go has chunks of 256 KiB, and one open in each P; loam runs
 * with 32 MiB and cuts here seldom.
 *
 *   [PERSIST-1] What was handed out never overlaps, is zero, and lies in a piece of the list.
 *   [PERSIST-2] A failed call has taken nothing.
 *
 * Concurrency: one lock, behind heap.lock and before those of mm; taken inside the allocator or with
 * the world stopped, so no stopped thread holds it [THREAD-1].
 * Source: Go's runtime/malloc.go, persistentalloc.
 */
#include "gc/persistent.h"

#include <loam/sys.h>

#include "arch/check.h"
#include "gc/lock.h"

/* A range from loam_sys_alloc. A chunk begins with its own record. */
struct piece {
	struct piece *next;
	uintptr_t base;
	size_t size;
};

struct pool {
	uintptr_t at, end;     /* lock: free part of the open chunk; both 0: none is open */
	struct piece *chunks;  /* lock */
	struct piece *singles; /* lock: ranges of their own; the records lie in chunks */
	uint64_t bytes;	       /* lock: of all pieces */
};

static struct loam_gc_lock lock;
static struct pool pool[LOAM_OWNER_COUNT];

static void give_back(uintptr_t base, size_t size)
{
	enum loam_err err = loam_sys_free(base, size); /* whole: takes no record */

	LOAM_CHECK(err == LOAM_OK, "memory that persists could not be freed");
}

/* Cut from [*at, end). 0: no room. */
static uintptr_t cut(uintptr_t *at, uintptr_t end, size_t bytes, size_t align)
{
	uintptr_t base = loam_align_up(*at, align);

	if (base > end || end - base < bytes)
		return 0;
	*at = base + bytes;
	return base;
}

/* From a new chunk, which stays open if it has more room than the one that is. 0: no memory. */
static uintptr_t cut_new_locked(struct pool *p, size_t bytes, size_t align, enum loam_owner owner)
{
	struct piece *chunk;
	uintptr_t at, end, base;
	void *memory;

	if (loam_sys_alloc(LOAM_PERSISTENT_CHUNK, owner, &memory) != LOAM_OK)
		return 0;
	chunk = memory;
	*chunk = (struct piece){p->chunks, (uintptr_t)memory, LOAM_PERSISTENT_CHUNK};
	p->chunks = chunk;
	p->bytes += LOAM_PERSISTENT_CHUNK;
	at = chunk->base + sizeof(*chunk);
	end = chunk->base + LOAM_PERSISTENT_CHUNK;
	base = cut(&at, end, bytes, align);
	LOAM_ASSERT(base != 0);
	if (end - at > p->end - p->at) {
		p->at = at;
		p->end = end;
	}
	return base;
}

static uintptr_t small_locked(struct pool *p, size_t bytes, size_t align, enum loam_owner owner)
{
	uintptr_t base = cut(&p->at, p->end, bytes, align);

	return base != 0 ? base : cut_new_locked(p, bytes, align, owner);
}

/* A range of its own. The record last: it is what could not be given back. */
static uintptr_t single_locked(struct pool *p, size_t bytes, enum loam_owner owner)
{
	struct piece *piece;
	void *memory;

	if (loam_sys_alloc(bytes, owner, &memory) != LOAM_OK)
		return 0;
	bytes = loam_align_up(bytes, LOAM_PAGE_SIZE);
	piece = (struct piece *)small_locked(p, sizeof(*piece), _Alignof(struct piece), owner);
	if (piece == NULL) {
		give_back((uintptr_t)memory, bytes);
		return 0;
	}
	*piece = (struct piece){p->singles, (uintptr_t)memory, bytes};
	p->singles = piece;
	p->bytes += bytes;
	return piece->base;
}

void *loam_persistent_alloc(size_t bytes, size_t align, enum loam_owner owner)
{
	struct pool *p;
	uintptr_t base;

	if (align == 0)
		align = LOAM_PERSISTENT_ALIGN;
	if (bytes == 0 || !loam_is_pow2(align) || align > LOAM_PAGE_SIZE ||
	    (unsigned)owner <= LOAM_OWNER_NONE || (unsigned)owner >= LOAM_OWNER_COUNT)
		return NULL;
	p = &pool[owner];
	loam_gc_lock(&lock);
	/* in any chunk there is room behind its record, however that is rounded */
	if (bytes <= LOAM_PERSISTENT_CHUNK - loam_align_up(sizeof(struct piece), align))
		base = small_locked(p, bytes, align, owner);
	else
		base = single_locked(p, bytes, owner);
	loam_gc_unlock(&lock);
	return (void *)base;
}

static bool in_list(const struct piece *piece, uintptr_t addr)
{
	for (; piece != NULL; piece = piece->next) {
		if (addr - piece->base < piece->size)
			return true;
	}
	return false;
}

bool loam_persistent_owns(const void *addr)
{
	bool owns = false;

	loam_gc_lock(&lock);
	for (unsigned o = 0; !owns && o < LOAM_OWNER_COUNT; o++)
		owns = in_list(pool[o].chunks, (uintptr_t)addr) ||
		       in_list(pool[o].singles, (uintptr_t)addr);
	loam_gc_unlock(&lock);
	return owns;
}

uint64_t loam_persistent_bytes(enum loam_owner owner)
{
	uint64_t bytes;

	loam_gc_lock(&lock);
	bytes = pool[owner].bytes;
	loam_gc_unlock(&lock);
	return bytes;
}

static void free_list(struct piece *piece)
{
	while (piece != NULL) {
		struct piece gone = *piece; /* it may lie in what goes */

		give_back(gone.base, gone.size);
		piece = gone.next;
	}
}

void loam_persistent_reset(void)
{
	loam_gc_lock(&lock);
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		free_list(pool[o].singles); /* first: their records lie in chunks */
		free_list(pool[o].chunks);
		pool[o] = (struct pool){0};
	}
	loam_gc_unlock(&lock);
}
