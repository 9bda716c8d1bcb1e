/* SPDX-License-Identifier: MIT */
/*
 * The heap's start and end.
 *
 * The heap's address range and the tables beside it are reserved whole at the start, which costs
 * nothing but addresses: a power of two, sized by the machine's memory, at most half of the window.
 */
#include "gc/heap.h"

#include "gc/check.h"
#include "gc/mark.h"
#include "gc/pace.h"
#include "gc/persistent.h"
#include "gc/record.h"
#include "mm/print.h"

#define ARENA	   ((uint64_t)64 << 20) /* alignment of the range, as Go's arenas */
#define HEAP_LEAST ((uint64_t)1 << 30)
#define HEAP_MAX   ((uint64_t)1 << 40)

struct loam_heap loam_heap;

struct want {
	struct loam_table *table;
	uint64_t bytes;
};

#define TABLES 5u

/* Every table beside the heap, and how large it can become. */
static void list_tables(struct loam_heap *h, struct want want[TABLES])
{
	uint64_t pages = h->reserved_bytes >> LOAM_HEAP_PAGE_SHIFT;

	want[0] = (struct want){&h->spans, pages * 4};
	want[1] = (struct want){&h->records, (pages + 1) * sizeof(struct loam_span)};
	want[2] = (struct want){&h->slot_bits, pages * 128};
	want[3] = (struct want){&h->pointer_bits, pages * 128};
	want[4] = (struct want){&h->pointer_pieces, pages / 1024 + 8};
}

static enum loam_err reserve_tables(struct loam_heap *h)
{
	struct want want[TABLES];
	enum loam_err err = LOAM_OK;

	list_tables(h, want);
	for (unsigned i = 0; i < TABLES && err == LOAM_OK; i++)
		err = loam_table_reserve(want[i].table, want[i].bytes);
	/* record number 0 is nobody's: zeros */
	h->record_count = 1;
	if (err == LOAM_OK)
		err = loam_table_grow(&h->records, sizeof(struct loam_span));
	if (err == LOAM_OK)
		loam_span_record(0)->swept = LOAM_SWEPT_ANY;
	return err;
}

static void free_tables(struct loam_heap *h)
{
	struct want want[TABLES];

	list_tables(h, want);
	for (unsigned i = 0; i < TABLES; i++)
		loam_table_free(want[i].table);
	loam_pageheap_reset();
	loam_remote_reset();
	loam_pin_reset();
	loam_specials_reset();
	loam_work_reset();
	loam_clean_reset();
	loam_checkmark_reset();
	loam_audit_reset();
}

/* Huge leaves are welcome (pageheap.c), and not needed. */
static void want_huge(const struct loam_heap *h)
{
	if (!h->efence && loam_sys_hugepage(h->base, h->reserved_bytes) != LOAM_OK)
		loam_log(LOAM_LOG_DEBUG, "loam: the heap goes without huge pages\n");
}

/* Four times the memory there is, for addresses become fragmented too; a gigabyte at least, for memory
 * may come later. */
static enum loam_err reserve_heap(struct loam_heap *h)
{
	struct loam_sys_stats sys;
	uint64_t bytes = HEAP_LEAST;

	loam_sys_stats(&sys);
	while (bytes < HEAP_MAX && bytes / 4 < loam_sys_memory_bytes())
		bytes *= 2;
	while (bytes > sys.state_bytes[LOAM_STATE_NONE] / (loam_audit_on() ? 4 : 2))
		bytes /= 2;
	for (; bytes >= ARENA; bytes /= 2) {
		if (loam_sys_reserve(0, bytes, ARENA, &h->base) == LOAM_OK) {
			h->reserved_bytes = bytes;
			want_huge(h);
			return LOAM_OK;
		}
	}
	return LOAM_NOVIRT;
}

static enum loam_barrier barrier_of(const struct loam_config *config)
{
	if (config->barrier == LOAM_BARRIER_SOFTWARE || config->barrier == LOAM_BARRIER_STOP)
		return config->barrier;
	return loam_sys_dirty_can() ? LOAM_BARRIER_MMU : LOAM_BARRIER_STOP;
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
		.trace = config->gctrace < 0   ? 0
			 : config->gctrace > 3 ? 3
					       : (uint8_t)config->gctrace,
		.barrier = (uint8_t)barrier_of(config),
		.efence = config->efence,
		.start_ns = loam_host_now_ns(),
	};
	loam_audit_want(config->audit);
	loam_barrier_set(false); /* the last heap may have ended while it marked */
	err = reserve_heap(h);
	if (err != LOAM_OK)
		return err;
	err = reserve_tables(h);
	if (err == LOAM_OK)
		err = loam_pageheap_init();
	if (err == LOAM_OK)
		err = loam_remote_init();
	if (err == LOAM_OK)
		err = loam_pin_init();
	if (err == LOAM_OK)
		err = loam_specials_init(h->reserved_bytes);
	if (err == LOAM_OK)
		err = loam_work_init();
	if (err == LOAM_OK)
		err = loam_clean_init(h->reserved_bytes >> LOAM_HEAP_PAGE_SHIFT);
	if (err == LOAM_OK)
		err = loam_audit_init();
	if (err == LOAM_OK)
		err = loam_checkmark_init(config->check);
	if (err != LOAM_OK) {
		enum loam_err freed = loam_sys_free(h->base, h->reserved_bytes);

		LOAM_CHECK(freed == LOAM_OK, "the heap's range could not be freed");
		free_tables(h);
		return err;
	}
	loam_record_reset();
	loam_pace_init();
	h->initialised = true;
	return LOAM_OK;
}

enum loam_err loam_init(const struct loam_config *config)
{
	enum loam_err err = loam_mm_init(config), undone;

	if (err != LOAM_OK)
		return err;
	err = loam_gc_init(config);
	if (err != LOAM_OK) {
		undone = loam_mm_shutdown();
		LOAM_CHECK(undone == LOAM_OK, "what loam_init had begun could not be undone");
	}
	return err;
}

/* Is a thread other than the caller attached? */
static bool others_attached(void)
{
	struct loam_cache *self = loam_cache_mine();
	bool others = false;

	if (self != NULL)
		loam_cache_enter(self);
	loam_gc_lock(&loam_heap.lock);
	for (const struct loam_cache *c = loam_heap.threads; c != NULL; c = c->next)
		others |= c != self;
	loam_gc_unlock(&loam_heap.lock);
	if (self != NULL)
		loam_cache_leave(self);
	if (others)
		loam_log(LOAM_LOG_ERROR,
			 "loam: other threads are attached: loam_thread_detach first\n");
	return others;
}

enum loam_err loam_shutdown(void)
{
	struct loam_thread *self = loam_host_thread();
	enum loam_err err = loam_mm_idle();

	if (err == LOAM_NOENT)
		return err;
	if (others_attached() || err != LOAM_OK)
		return LOAM_BUSY;
	if (self != NULL) {
		err = loam_thread_detach(self);
		LOAM_CHECK(err == LOAM_OK, "the thread that shuts down could not be detached");
	}
	loam_gc_shutdown();
	err = loam_mm_shutdown();
	LOAM_CHECK(err == LOAM_OK,
		   "[SHUT-2] the heap kept memory at its shutdown: the log says whose");
	return err;
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
	loam_central_reset();
	loam_persistent_reset();
	free_tables(h);
	loam_roots_reset();
	h->mapped_bytes = 0;
}
