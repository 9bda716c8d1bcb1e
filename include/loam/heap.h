/* SPDX-License-Identifier: MIT */
/*
 * The garbage-collected heap: Go's mallocgc for C.
 *
 * All memory comes zeroed (but loam_alloc_raw's) and aligned to 16 bytes at least (but
 * loam_alloc_tiny's). An object lives as long as a
 * pointer to any byte of it is found in a root range, on an attached thread's stack or in its
 * registers, or in a live object; or until loam_free. Objects never move.
 * Context of all, unless said otherwise: thread (attached), IRQs on.
 */
#ifndef LOAM_HEAP_H
#define LOAM_HEAP_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Largest request in bytes; more is NULL. */
#define LOAM_ALLOC_MAX ((size_t)1 << 46)

/*
 * `size` bytes that may hold pointers: scanned conservatively, word by word. Size 0 gives the
 * address of one shared byte that is never collected and may be freed any number of times.
 * NULL when memory is out even after collecting and releasing.
 */
void *loam_alloc(size_t size);

/* The same, for memory that never holds a pointer: never scanned. */
void *loam_alloc_noscan(size_t size);

/*
 * Memory that never holds a pointer and is not zeroed: what is in it is anything. For buffers that
 * are overwritten at once. Source: Go's mallocgc with needzero false.
 */
void *loam_alloc_raw(size_t size);

/*
 * Less than 16 bytes that never hold a pointer, zeroed and aligned as such a size needs (8, 4, 2 or 1
 * bytes): small strings and boxed numbers share blocks of 16 bytes. A block lives as long as any of
 * its objects; they cannot be freed one by one (loam_free: INVAL). Other sizes: as
 * loam_alloc_noscan. Source: Go's tiny allocator.
 */
void *loam_alloc_tiny(size_t size);

/* Largest alignment of loam_alloc_aligned. */
#define LOAM_ALIGN_MAX ((size_t)1 << 30)

/* loam_alloc with the start aligned to `align` bytes (a power of two up to LOAM_ALIGN_MAX; else
 * NULL). */
void *loam_alloc_aligned(size_t size, size_t align);

/*
 * The layout of an object: which of its words are pointers. `ptr_words` words are described,
 * bit i of ptr_bits[i / 64] for word i; words after them hold no pointers. The descriptor must
 * outlive every object made with it. Source: Go's internal/abi.Type (Size_, PtrBytes, GCData).
 */
struct loam_type {
	size_t size;		  /* bytes; a multiple of 8 */
	size_t ptr_words;	  /* words described by ptr_bits; 0: no pointers at all */
	const uint64_t *ptr_bits; /* (ptr_words + 63) / 64 words */
	const char *name;	  /* for reports; may be NULL */
};

/* An array of `n` objects of `type`, scanned precisely. NULL when out of memory, or if
 * n * type->size overflows. */
void *loam_alloc_type(const struct loam_type *type, size_t n);

/*
 * Resize. NULL `p` allocates (loam_alloc); size 0 frees and gives NULL. The new block keeps the
 * scan kind of the old, except that a typed block that must move becomes a conservative one;
 * bytes past the old size are zero. Large blocks grow in place if they can,
 * and else move by page-table entries. On NULL for lack of memory, or if `p` is no object, or would have
 * to move and is pinned or has a finalizer or cleanups, the old block is untouched. To weak pointers and
 * ephemerons a block that moves is freed.
 */
void *loam_realloc(void *p, size_t size);

/*
 * Explicit free. `p` must be the start of an object; NULL is fine. Fails, with a report to the
 * log and the heap unharmed: INVAL not the start of an object (interior, misaligned, foreign);
 * NOENT freed already.
 */
enum loam_err loam_free(void *p);

/*
 * Memory beside the objects: whole pages (8 KiB), zeroed, that the collector neither scans nor frees.
 * *p is untouched on failure. Fails: INVAL size 0 or absurd; NOMEM. Source: Go's mSpanManual.
 */
LOAM_MUST_USE enum loam_err loam_offheap_alloc(size_t size, void **p);

/* Give it back. Fails: INVAL `p` is not what loam_offheap_alloc gave. */
enum loam_err loam_offheap_free(void *p);

/* Start of the live object that `p` points into, or NULL. Context: thread or stopped. */
void *loam_object_base(const void *p);

/* Usable bytes of the object that `p` points into (at least what was asked), or 0. */
size_t loam_object_size(const void *p);

#ifdef __cplusplus
}
#endif

#endif
