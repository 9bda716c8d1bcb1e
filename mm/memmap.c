/* SPDX-License-Identifier: MIT */
/*
 * A firmware's memory map, made sense of.
 *
 * Firmware lies: entries overlap, wrap around, come unsorted and empty, name memory beyond the
 * CPU's reach, and call memory free that holds the kernel or its modules. What may be used is
 * what some USABLE entry claims and no RESERVED entry touches:
 *
 *   1. every USABLE entry, clipped to [one frame, 2^pa_bits) and rounded inward, is added to a
 *      sorted list of disjoint ranges, merging what overlaps or touches;
 *   2. every RESERVED entry, clipped and rounded outward, is cut out of them.
 *
 *   [MEMMAP-1] Ranges are frame-aligned, not empty, sorted, and neither overlap nor touch.
 *   [MEMMAP-2] No byte of a RESERVED entry and no byte outside every USABLE entry is in one.
 *
 * A wrapping entry is dropped if USABLE (nobody knows what was meant) and clipped to the top if
 * RESERVED (better too much). Rounding is inward before merging, so two entries that meet inside
 * a frame lose that frame: it has two stories. When there are more than LOAM_MEMMAP_MAX ranges the
 * smallest goes. The list is small, so insertion is linear; no memory is needed but the result.
 */
#include "mm/memmap.h"

static void range_remove_at(struct loam_memmap *map, size_t at)
{
	for (size_t i = at; i + 1 < map->count; i++)
		map->range[i] = map->range[i + 1];
	map->count--;
}

static void range_drop_smallest(struct loam_memmap *map)
{
	size_t smallest = 0;

	for (size_t i = 1; i < map->count; i++) {
		if (map->range[i].end - map->range[i].base <
		    map->range[smallest].end - map->range[smallest].base)
			smallest = i;
	}
	map->dropped_bytes += map->range[smallest].end - map->range[smallest].base;
	range_remove_at(map, smallest);
}

static void range_insert_at(struct loam_memmap *map, size_t at, uint64_t base, uint64_t end)
{
	for (size_t i = map->count; i > at; i--)
		map->range[i] = map->range[i - 1];
	map->range[at].base = base;
	map->range[at].end = end;
	map->count++;
}

/* Make room for one more; the smallest of all, the new one included, gives way. */
static bool make_room(struct loam_memmap *map, uint64_t base, uint64_t end)
{
	if (map->count < LOAM_MEMMAP_MAX)
		return true;
	for (size_t i = 0; i < map->count; i++) {
		if (map->range[i].end - map->range[i].base < end - base) {
			range_drop_smallest(map);
			return true;
		}
	}
	map->dropped_bytes += end - base;
	return false;
}

static void range_add(struct loam_memmap *map, uint64_t base, uint64_t end)
{
	size_t at = 0;

	while (at < map->count && map->range[at].end < base)
		at++;
	/* swallow everything that overlaps or touches */
	while (at < map->count && map->range[at].base <= end) {
		base = map->range[at].base < base ? map->range[at].base : base;
		end = map->range[at].end > end ? map->range[at].end : end;
		range_remove_at(map, at);
	}
	if (!make_room(map, base, end))
		return;
	at = 0;
	while (at < map->count && map->range[at].base < base)
		at++;
	range_insert_at(map, at, base, end);
}

static void range_cut(struct loam_memmap *map, uint64_t base, uint64_t end)
{
	for (size_t i = 0; i < map->count; i++) {
		struct loam_mem_range r = map->range[i];

		if (r.end <= base || r.base >= end)
			continue;
		if (r.base >= base && r.end <= end) {
			range_remove_at(map, i--);
		} else if (r.base < base && r.end > end) {
			map->range[i].end = base;
			if (make_room(map, end, r.end)) {
				size_t at = 0;

				while (at < map->count && map->range[at].base < end)
					at++;
				range_insert_at(map, at, end, r.end);
			}
			return; /* disjoint ranges: nothing else is touched */
		} else if (r.base < base) {
			map->range[i].end = base;
		} else {
			map->range[i].base = end;
		}
	}
}

static void summarise(struct loam_memmap *map)
{
	map->usable_bytes = 0;
	for (size_t i = 0; i < map->count; i++)
		map->usable_bytes += map->range[i].end - map->range[i].base;
	map->highest = map->count > 0 ? map->range[map->count - 1].end : 0;
}

/* Clip [base, base + size) to below `top`; false if nothing of it can be meant. */
static bool clip_usable(const struct loam_mem_entry *entry, uint64_t top, uint64_t *base,
			uint64_t *end)
{
	uint64_t last = entry->base + (entry->size - 1);

	if (entry->size == 0 || last < entry->base || entry->base >= top)
		return false;
	*base = entry->base < LOAM_PAGE_SIZE ? LOAM_PAGE_SIZE : entry->base;
	*base = loam_align_up(*base, LOAM_PAGE_SIZE);
	*end = last >= top ? top : loam_align_down(last + 1, LOAM_PAGE_SIZE);
	return *base < *end;
}

void loam_memmap_reserve(struct loam_memmap *map, uint64_t base, uint64_t size)
{
	const uint64_t top = loam_align_down(UINT64_MAX, LOAM_PAGE_SIZE);
	uint64_t last = base + (size - 1);
	uint64_t end;

	if (size == 0)
		return;
	end = last < base || last >= top ? top : loam_align_up(last + 1, LOAM_PAGE_SIZE);
	range_cut(map, loam_align_down(base, LOAM_PAGE_SIZE), end);
	summarise(map);
}

enum loam_err loam_memmap_sanitise(const struct loam_mem_entry *entries, size_t count,
				   unsigned pa_bits, struct loam_memmap *out)
{
	uint64_t top = (uint64_t)1 << (pa_bits < 52 ? pa_bits : 52);
	size_t usable = 0;

	if (entries == NULL && count > 0)
		return LOAM_INVAL;
	/* look before touching `out`: at least one entry must leave something */
	for (size_t i = 0; i < count; i++) {
		uint64_t base, end;

		usable += entries[i].type == LOAM_MEM_USABLE &&
			  clip_usable(&entries[i], top, &base, &end);
	}
	if (usable == 0)
		return LOAM_INVAL;
	out->count = 0;
	out->dropped_count = 0;
	out->dropped_bytes = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t base, end;

		if (entries[i].type != LOAM_MEM_USABLE)
			continue;
		if (clip_usable(&entries[i], top, &base, &end)) {
			out->dropped_bytes += entries[i].size - (end - base);
			range_add(out, base, end);
		} else {
			out->dropped_count++;
		}
	}
	for (size_t i = 0; i < count; i++) {
		/* what is not known to be usable is reserved */
		if (entries[i].type != LOAM_MEM_USABLE)
			loam_memmap_reserve(out, entries[i].base, entries[i].size);
	}
	summarise(out);
	return out->count > 0 ? LOAM_OK : LOAM_INVAL;
}
