/* SPDX-License-Identifier: MIT */
/*
 * Size classes by the rule of Go's runtime (mksizeclasses.go).
 *
 * Candidate sizes go up in steps that keep alignment useful and waste below an eighth: 8 bytes up
 * to 32, then 16, then an eighth of the last power of two, at most 256. A span has the fewest
 * pages that waste at most an eighth at its end. Two neighbours that would have equally many
 * slots in equally many pages are one class, of the larger size; and at last each class of
 * 128 bytes and more grows to the largest multiple of 128 that keeps its number of slots.
 *
 *   [CLASS-1] The rule gives 68 classes, with class 0, and they are Go's published ones.
 *   [CLASS-2] For every offset in a span the multiplication by magic divides exactly: the upper half of
 *             the product is the quotient, and the lower half is below the magic just if nothing remains.
 *   [CLASS-3] Internal waste is at most 1/8 at the tail, and between neighbours at most 1/8
 *             from 128 bytes on.
 *
 * The table is made at start-up: the rule is shorter than the table, and a test compares the two.
 */
#include "gc/sizeclass.h"

#include "arch/check.h"

struct loam_size_class loam_size_class[LOAM_CLASS_COUNT];
uint8_t loam_class_small[1024 / 16 + 1];
uint8_t loam_class_medium[(LOAM_SMALL_MAX - 1024) / 128 + 1];

static uint32_t step_after(uint32_t size, uint32_t step)
{
	if (!loam_is_pow2(size))
		return step;
	if (size >= 2048)
		return 256;
	if (size >= 128)
		return size / 8;
	return size >= 32 ? 16 : step;
}

static uint32_t pages_for(uint32_t size)
{
	uint32_t bytes = (uint32_t)LOAM_HEAP_PAGE;

	while (bytes % size > bytes / 8)
		bytes += (uint32_t)LOAM_HEAP_PAGE;
	return bytes >> LOAM_HEAP_PAGE_SHIFT;
}

static unsigned generate(void)
{
	unsigned n = 1;
	uint32_t step = 8;

	for (uint32_t size = 8; size <= LOAM_SMALL_MAX; size += step) {
		uint32_t pages, bytes;

		step = step_after(size, step);
		pages = pages_for(size);
		bytes = pages << LOAM_HEAP_PAGE_SHIFT;
		/* as many slots in as many pages as the last one: then only this one */
		if (n > 1 && loam_size_class[n - 1].pages == pages &&
		    bytes / size == bytes / loam_size_class[n - 1].size)
			n--;
		LOAM_CHECK(n < LOAM_CLASS_COUNT, "[CLASS-1] the rule gives too many size classes");
		loam_size_class[n++] = (struct loam_size_class){.size = size, .pages = pages};
	}
	return n;
}

static void index_classes(void)
{
	unsigned c = 1;

	for (uint32_t size = 16; size <= LOAM_SMALL_MAX; size += size < 1024 ? 16 : 128) {
		while (loam_size_class[c].size < size ||
		       loam_size_class[c].size % LOAM_GRANULE != 0)
			c++;
		if (size <= 1024)
			loam_class_small[size / 16] = (uint8_t)c;
		if (size >= 1024)
			loam_class_medium[(size - 1024) / 128] = (uint8_t)c;
	}
	loam_class_small[0] = loam_class_small[1];
}

void loam_sizeclass_init(void)
{
	unsigned n = generate();

	LOAM_CHECK(n == LOAM_CLASS_COUNT, "[CLASS-1] the rule gives too few size classes");
	for (unsigned i = 1; i < n; i++) {
		struct loam_size_class *c = &loam_size_class[i];
		uint32_t bytes = c->pages << LOAM_HEAP_PAGE_SHIFT;
		uint32_t grown = bytes / (bytes / c->size) / 128 * 128;

		if (grown > c->size)
			c->size = grown;
		c->magic = UINT32_MAX / c->size + 1;
	}
	index_classes();
}
