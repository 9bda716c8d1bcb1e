/* SPDX-License-Identifier: MIT */
/* Metadata that is never freed one by one. Theory: persistent.c. */
#ifndef LOAM_GC_PERSISTENT_H
#define LOAM_GC_PERSISTENT_H

#include <loam/types.h>

#define LOAM_PERSISTENT_CHUNK ((size_t)64 << 10)
#define LOAM_PERSISTENT_ALIGN ((size_t)8) /* what `align` 0 means */

/*
 * `bytes` zeroed bytes, aligned to `align` (a power of two up to a page; 0: 8), that `owner` pays
 * for and that stay until loam_persistent_reset. NULL: no memory, or a size or alignment that
 * cannot be; then nothing has changed.
 * Source: Go's runtime/malloc.go, persistentalloc. Context: inside the allocator, or stopped.
 */
void *loam_persistent_alloc(size_t bytes, size_t align, enum loam_owner owner);

/* Does `addr` lie in memory that loam_persistent_alloc took? Context: as above. */
bool loam_persistent_owns(const void *addr);

/* Bytes taken from mm for `owner`: what was handed out, with rests and heads of chunks. */
uint64_t loam_persistent_bytes(enum loam_owner owner);

/* All of it goes back. Nobody may use any of it any more. Context: shutdown. */
void loam_persistent_reset(void);

#endif
