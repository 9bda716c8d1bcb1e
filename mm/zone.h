/* SPDX-License-Identifier: MIT */
/*
 * Zones: stretches of physical memory, each with its buddy and a record for every frame. The theory
 * stands in zone.c; what records mean, in frame.c.
 */
#ifndef LOAM_MM_ZONE_H
#define LOAM_MM_ZONE_H

#include "arch/check.h"
#include "mm/buddy.h"
#include "mm/memmap.h"
#include "mm/numa.h"

#define LOAM_ZONE_MAX	     16u
#define LOAM_ZONE_SHIFT	     28u /* a link holds a zone and an index below 2^28: 1 TiB a zone */
#define LOAM_ZONE_FRAMES_MAX ((uint64_t)1 << LOAM_ZONE_SHIFT)
#define LOAM_ZONE_LOW_END    ((uint64_t)1 << 20) /* 4 GiB */

enum {
	LOAM_FRAME_BODY = 0, /* free, or inside a run, or a hole */
	LOAM_FRAME_HEAD = 1, /* first frame of an allocated run */
};

struct loam_frame_record {
	uint32_t link; /* next frame of a list: zone << LOAM_ZONE_SHIFT | index */
	uint8_t order; /* of the run; HEAD only */
	uint8_t owner; /* enum loam_owner; HEAD only */
	uint8_t state;
	uint8_t flags; /* LOAM_DEBUG 3 */
};
_Static_assert(sizeof(struct loam_frame_record) == 8, "0.2 % of RAM is what the README promises");

struct loam_zone {
	struct loam_buddy buddy;
	struct loam_frame_record *record; /* one a frame from `base` on */
	uint64_t base;
	uint64_t count;
	uint64_t usable; /* frames of the map */
	unsigned node;
};

extern struct loam_zone loam_zone[LOAM_ZONE_MAX]; /* frame lock; shape: boot only */
extern unsigned loam_zone_count;		  /* boot only */

struct loam_zone_totals {
	uint64_t frames;      /* usable, bookkeeping included */
	uint64_t free_frames; /* free now */
	uint64_t meta_frames; /* taken for bookkeeping: runs of owner META */
	uint64_t meta_bytes;
};

/*
 * Make zones of a sanitised map, place their bitmaps and records in the map's own memory, and free the
 * rest. Fails: NOMEM not enough memory for the records. Context: boot CPU.
 */
LOAM_MUST_USE enum loam_err loam_zone_init(const struct loam_memmap *map,
					   struct loam_zone_totals *totals);
void loam_zone_reset(void);

static inline struct loam_zone *loam_zone_of(struct loam_pfn pfn)
{
	for (unsigned i = 0; i < loam_zone_count; i++) {
		if (pfn.raw - loam_zone[i].base < loam_zone[i].count)
			return &loam_zone[i];
	}
	return NULL;
}

/* The first frame from `pfn` on that is in a zone; UINT64_MAX if none is. */
static inline uint64_t loam_zone_next(uint64_t pfn)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < loam_zone_count; i++) {
		if (pfn - loam_zone[i].base < loam_zone[i].count)
			return pfn;
		if (loam_zone[i].base > pfn && loam_zone[i].base < next)
			next = loam_zone[i].base;
	}
	return next;
}

/* NULL: the frame is not RAM of ours. */
static inline struct loam_frame_record *loam_frame_record(struct loam_pfn pfn)
{
	struct loam_zone *z = loam_zone_of(pfn);

	return z != NULL ? &z->record[pfn.raw - z->base] : NULL;
}

/* A frame as a link, and back. */
static inline uint32_t loam_zone_link(struct loam_pfn pfn)
{
	struct loam_zone *z = loam_zone_of(pfn);

	return (uint32_t)((uint64_t)(z - loam_zone) << LOAM_ZONE_SHIFT | (pfn.raw - z->base));
}

static inline struct loam_pfn loam_zone_linked(uint32_t link)
{
	const struct loam_zone *z = &loam_zone[link >> LOAM_ZONE_SHIFT];

	return loam_pfn(z->base + (link & (LOAM_ZONE_FRAMES_MAX - 1)));
}

#endif
