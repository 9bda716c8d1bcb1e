/* SPDX-License-Identifier: MIT */
/*
 * The heap's start and end.
 *
 * The heap's address range and the tables beside it are reserved whole at the start, which costs
 * nothing but addresses: half of what is free in the window, at most HEAP_MAX, a power of two.
 */
#include "gc/heap.h"

#define ARENA	 ((uint64_t)64 << 20) /* alignment of the range, as Go's arenas */
#define HEAP_MAX ((uint64_t)1 << 38)  /* 256 GiB */

struct loam_heap loam_heap;

static enum loam_err reserve_tables(struct loam_heap *h)
{
	uint64_t pages = h->reserved_bytes >> LOAM_HEAP_PAGE_SHIFT;
	uint64_t granules = h->reserved_bytes / LOAM_GRANULE;
	struct loam_table *table[] = {&h->spans,      &h->page_used, &h->page_ready,
				      &h->alloc_bits, &h->mark_bits, &h->pointer_bits};
	uint64_t bytes[] = {pages * 8,	  pages / 8,	pages / 8,
			    granules / 8, granules / 8, h->reserved_bytes / 64};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum loam_err err = loam_table_reserve(table[i], bytes[i]);

		if (err != LOAM_OK)
			return err;
	}
	return LOAM_OK;
}

static void free_tables(struct loam_heap *h)
{
	struct loam_table *table[] = {&h->spans,      &h->page_used, &h->page_ready,
				      &h->alloc_bits, &h->mark_bits, &h->pointer_bits};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		loam_table_free(table[i]);
}

static enum loam_err reserve_heap(struct loam_heap *h)
{
	struct loam_sys_stats sys;
	uint64_t bytes = HEAP_MAX;

	loam_sys_stats(&sys);
	while (bytes > sys.state_bytes[LOAM_STATE_NONE] / 2)
		bytes /= 2;
	for (; bytes >= ARENA; bytes /= 2) {
		if (loam_sys_reserve(0, bytes, ARENA, &h->base) == LOAM_OK) {
			h->reserved_bytes = bytes;
			return LOAM_OK;
		}
	}
	return LOAM_NOVIRT;
}

enum loam_err loam_gc_init(const struct loam_config *config)
{
	struct loam_heap *h = &loam_heap;
	enum loam_err err;

	if (h->initialised)
		return LOAM_EXIST;
	loam_sizeclass_init();
	*h = (struct loam_heap){
		.percent = config->gc_percent != 0 ? config->gc_percent : 100,
		.limit = UINT64_MAX,
		.trace = config->gctrace != 0,
		.start_ns = loam_host_now_ns(),
	};
	err = reserve_heap(h);
	if (err != LOAM_OK)
		return err;
	err = reserve_tables(h);
	if (err == LOAM_OK)
		err = loam_mark_init();
	if (err != LOAM_OK) {
		enum loam_err freed = loam_sys_free(h->base, h->reserved_bytes);

		LOAM_CHECK(freed == LOAM_OK, "the heap's range could not be freed");
		free_tables(h);
		return err;
	}
	loam_pace();
	h->initialised = true;
	return LOAM_OK;
}

enum loam_err loam_init(const struct loam_config *config)
{
	enum loam_err err = loam_mm_init(config);

	return err != LOAM_OK ? err : loam_gc_init(config);
}

void loam_gc_shutdown(void)
{
	struct loam_heap *h = &loam_heap;
	enum loam_err err;

	if (!h->initialised)
		return;
	LOAM_CHECK(h->threads == NULL, "loam_gc_shutdown with threads attached: detach them first");
	h->initialised = false;
	err = loam_sys_free(h->base, h->reserved_bytes);
	LOAM_CHECK(err == LOAM_OK, "the heap's range could not be freed");
	loam_span_records_free();
	free_tables(h);
	loam_mark_reset();
	loam_roots_reset();
	h->mapped_bytes = 0;
}
