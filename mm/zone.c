/* SPDX-License-Identifier: MIT */
/*
 * Zones: how the ranges of a sanitised map become at most LOAM_ZONE_MAX stretches.
 *
 * A range joins the zone below it when the hole between them is small, so that a hole costs no more
 * bookkeeping than it must; else it begins a new one. No zone lies on both sides of 4 GiB, so that
 * LOAM_FRAME_DMA32 is a matter of zones, and none holds memory of two nodes. Each zone's bitmaps and
 * records are cut from the map's own memory before the rest becomes free.
 *
 * Concurrency: boot CPU.
 */
#include "mm/zone.h"

#include "arch/mmu.h"
#include "mm/early.h"

void *memset(void *dst, int c, size_t n);

#define JOIN_FRAMES 4096u /* a hole of up to 16 MiB never begins a new zone */

struct loam_zone loam_zone[LOAM_ZONE_MAX];
unsigned loam_zone_count;

/* May memory from `base` to `end`, of `node`, join the last zone? */
static bool joins(const struct loam_zone *z, uint64_t base, uint64_t end, unsigned node)
{
	uint64_t hole = base - (z->base + z->count);

	if (z->node != node || end - z->base > LOAM_ZONE_FRAMES_MAX ||
	    (z->base < LOAM_ZONE_LOW_END && end > LOAM_ZONE_LOW_END))
		return false;
	return hole <= JOIN_FRAMES || hole <= z->count / 8;
}

/* Memory from `base` to `end`, all of one node. What finds no zone any more is left out. */
static void add_memory(uint64_t base, uint64_t end, unsigned node)
{
	struct loam_zone *last = loam_zone_count > 0 ? &loam_zone[loam_zone_count - 1] : NULL;

	if (last != NULL && joins(last, base, end, node)) {
		last->count = end - last->base;
		last->usable += end - base;
		return;
	}
	while (base < end && loam_zone_count < LOAM_ZONE_MAX) {
		struct loam_zone *z = &loam_zone[loam_zone_count++];
		uint64_t n = end - base < LOAM_ZONE_FRAMES_MAX ? end - base : LOAM_ZONE_FRAMES_MAX;

		if (base < LOAM_ZONE_LOW_END && base + n > LOAM_ZONE_LOW_END)
			n = LOAM_ZONE_LOW_END - base;
		z->base = base;
		z->count = n;
		z->usable = n;
		z->node = node;
		base += n;
	}
}

static void make_zones(const struct loam_memmap *map)
{
	for (size_t i = 0; i < map->count; i++) {
		uint64_t base = map->range[i].base >> LOAM_PAGE_SHIFT;
		uint64_t end = map->range[i].end >> LOAM_PAGE_SHIFT, stop;

		for (; base < end; base = stop) {
			unsigned node = loam_numa_of(base, &stop);

			stop = stop < end ? stop : end;
			add_memory(base, stop, node);
		}
	}
}

static uint64_t meta_bytes_of(const struct loam_zone *z)
{
	return loam_buddy_meta_bytes(loam_pfn(z->base), z->count) +
	       z->count * sizeof(struct loam_frame_record);
}

/* What the map still has of a zone becomes free. */
static void add_free(struct loam_zone *z, const struct loam_memmap *map)
{
	for (size_t i = 0; i < map->count; i++) {
		uint64_t base = map->range[i].base >> LOAM_PAGE_SHIFT;
		uint64_t end = map->range[i].end >> LOAM_PAGE_SHIFT;

		base = base > z->base ? base : z->base;
		end = end < z->base + z->count ? end : z->base + z->count;
		if (base < end)
			loam_buddy_add(&z->buddy, loam_pfn(base), end - base);
	}
}

/* The bookkeeping's own frames: single runs of owner META, never freed. Returns how many are in
 * zones. */
static uint64_t own_meta(struct loam_paddr pa, uint64_t bytes)
{
	uint64_t frames = 0;

	for (uint64_t at = 0; at < bytes; at += LOAM_PAGE_SIZE) {
		struct loam_frame_record *r =
			loam_frame_record(loam_paddr_to_pfn(loam_paddr(pa.raw + at)));

		if (r == NULL)
			continue;
		frames++;
		r->state = LOAM_FRAME_HEAD;
		r->order = 0;
		r->owner = LOAM_OWNER_META;
	}
	return frames;
}

enum loam_err loam_zone_init(const struct loam_memmap *map, struct loam_zone_totals *totals)
{
	static struct loam_memmap rest; /* too big for a boot stack */
	static struct loam_paddr meta[LOAM_ZONE_MAX];

	*totals = (struct loam_zone_totals){0};
	rest = *map;
	make_zones(map);
	for (unsigned i = 0; i < loam_zone_count; i++) {
		if (loam_early_alloc(&rest, meta_bytes_of(&loam_zone[i]), LOAM_PAGE_SIZE, 0,
				     &meta[i]) != LOAM_OK)
			return LOAM_NOMEM;
	}
	for (unsigned i = 0; i < loam_zone_count; i++) {
		struct loam_zone *z = &loam_zone[i];

		z->record = loam_frame_ptr(meta[i]);
		memset(z->record, 0, z->count * sizeof(*z->record));
		loam_buddy_init(&z->buddy, loam_pfn(z->base), z->count, z->record + z->count);
		add_free(z, &rest);
		totals->frames += z->usable;
		totals->free_frames += z->buddy.free_frames;
		totals->meta_bytes += meta_bytes_of(z);
	}
	for (unsigned i = 0; i < loam_zone_count; i++)
		totals->meta_frames += own_meta(meta[i], meta_bytes_of(&loam_zone[i]));
	return LOAM_OK;
}

void loam_zone_reset(void)
{
	memset(loam_zone, 0, sizeof(loam_zone));
	loam_zone_count = 0;
}
