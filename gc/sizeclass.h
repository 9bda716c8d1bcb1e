/* SPDX-License-Identifier: MIT */
/* Size classes: Go's, by Go's rule. Theory: sizeclass.c. */
#ifndef LOAM_GC_SIZECLASS_H
#define LOAM_GC_SIZECLASS_H

#include <loam/types.h>

#define LOAM_HEAP_PAGE_SHIFT 13u /* a heap page is 8 KiB, as in Go */
#define LOAM_HEAP_PAGE	     ((uint64_t)1 << LOAM_HEAP_PAGE_SHIFT)
#define LOAM_CLASS_COUNT     68u /* class 0 is "large" */
#define LOAM_SMALL_MAX	     32768u
#define LOAM_GRANULE	     16u /* every object is aligned to two words at least */

struct loam_size_class {
	uint32_t size;	/* bytes of a slot; 0 for class 0 */
	uint32_t pages; /* heap pages of a span */
	uint32_t magic; /* (offset * magic) >> 32 == offset / size, for every offset in the span */
};

extern struct loam_size_class loam_size_class[LOAM_CLASS_COUNT];

/* Generate the table; called once by loam_gc_init. */
void loam_sizeclass_init(void);

/* Smallest class that holds `size` bytes (1 to LOAM_SMALL_MAX) with slots of a multiple of
 * LOAM_GRANULE bytes: the classes of 8 and 24 bytes are never chosen. */
extern uint8_t loam_class_small[1024 / 16 + 1]; /* by size up to 1024, in steps of 16 */
extern uint8_t loam_class_medium[(LOAM_SMALL_MAX - 1024) / 128 + 1]; /* above, in steps of 128 */

static inline unsigned loam_class_of(size_t size)
{
	return size <= 1024 ? loam_class_small[(size + 15) / 16]
			    : loam_class_medium[(size - 1024 + 127) / 128];
}

#endif
