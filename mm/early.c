/* SPDX-License-Identifier: MIT */
/*
 * Memory before the buddy is up: cut from the top of the highest range that fits, so that low
 * memory, which devices may need, is left alone.
 *
 *   [EARLY-1] What is handed out leaves the map: nobody else gets it.
 */
#include "mm/early.h"

enum loam_err loam_early_alloc(struct loam_memmap *map, uint64_t size, uint64_t align,
			       uint64_t limit, struct loam_paddr *pa)
{
	uint64_t top = limit != 0 ? limit : UINT64_MAX;

	if (size == 0 || !loam_is_pow2(align) || align < LOAM_PAGE_SIZE ||
	    size > loam_align_down(UINT64_MAX, LOAM_PAGE_SIZE))
		return LOAM_INVAL;
	size = loam_align_up(size, LOAM_PAGE_SIZE);
	for (size_t i = map->count; i-- > 0;) {
		uint64_t end = map->range[i].end < top ? map->range[i].end : top;
		uint64_t base;

		if (end <= map->range[i].base || end - map->range[i].base < size)
			continue;
		base = loam_align_down(end - size, align);
		if (base < map->range[i].base)
			continue;
		loam_memmap_reserve(map, base, size);
		*pa = loam_paddr(base);
		return LOAM_OK;
	}
	return LOAM_NOMEM;
}
