/* SPDX-License-Identifier: MIT */
/*
 * Freed stacks, kept for the next one who wants such: Go's stackpool on stacks that own their addresses.
 *
 * A kernel that starts a thread per request takes and frees stacks of one size all day, and a new one costs
 * a reservation, page tables, three region records and a frame. So a freed stack of a usual size (a power
 * of two, 16 KiB to 1 MiB) stays as it is: guards Reserved, body Prepared, its highest page Ready; what
 * else it had used is given back. The next request for that size gets the one freed last, whose page
 * is warm, and nothing is done to the page tables. Where there is no demand paging (Linux) a
 * stack is Ready as a whole, and stays so.
 *
 * What is kept is bounded in Ready bytes (loam_stack_pool_limit) and in stacks of a size, and goes
 * when memory, addresses or a limit run short (loam_sys_short), before anybody is refused.
 *
 *   [POOL-1] A kept stack's region is marked `pooled`, stands in one slot, and only loam has it: it cannot
 *            be freed again, and a touch of what is not Ready in it is not mended but reported.
 *   [POOL-2] A kept stack is as a new one but for the contents of what is Ready.
 *   [POOL-3] At LOAM_DEBUG 2 that is poisoned, and nobody has written to it when it is taken.
 *
 * Concurrency: the space lock, under which all calls for stacks run anyway.
 * Source: Go's runtime/stack.go, stackpool. Go cuts small stacks from spans of 32 KiB; with guard pages
 * there is nothing to share.
 */
#include "mm/stackpool.h"

#include <loam/stack.h>

#include "arch/check.h"
#include "mm/space.h"
#include "mm/sys.h"

#define SHIFT_MIN 14u /* 16 KiB */
#define SHIFT_MAX 20u /* 1 MiB */
#define SIZES	  (SHIFT_MAX - SHIFT_MIN + 1)
#define SLOTS	  64u
#define POISON	  UINT64_C(0x5afe57ac5afe57ac)

static struct {
	uint32_t count;	      /* space lock */
	uintptr_t low[SLOTS]; /* space lock: the youngest last */
} pool[SIZES];
static size_t kept_bytes;			   /* space lock: Ready */
static size_t limit_bytes = LOAM_STACK_POOL_BYTES; /* space lock */
static uint64_t reused;				   /* space lock */

static unsigned size_index(size_t size)
{
	if (!loam_is_pow2(size) || size < (size_t)1 << SHIFT_MIN || size > (size_t)1 << SHIFT_MAX)
		return SIZES;
	return (unsigned)__builtin_ctzll(size) - SHIFT_MIN;
}

/* Bytes at the top that are Ready in a kept stack. */
static size_t ready_of(const struct loam_region *r)
{
	return r->lazy ? LOAM_PAGE_SIZE : r->size;
}

/* ---- [POOL-3] ---- */

static void poison(const struct loam_region *r)
{
	uintptr_t end = r->base + r->size;

	for (uintptr_t at = end - ready_of(r); LOAM_DEBUG >= 2 && at < end; at += LOAM_PAGE_SIZE) {
		uint64_t *word = loam_space_plain(at);

		for (unsigned i = 0; i < LOAM_PAGE_SIZE / sizeof(*word); i++)
			word[i] = POISON;
	}
}

static void check_poison(const struct loam_region *r)
{
	uintptr_t end = r->base + r->size;

	for (uintptr_t at = end - ready_of(r); LOAM_DEBUG >= 2 && at < end; at += LOAM_PAGE_SIZE) {
		const uint64_t *word = loam_space_plain(at);

		for (unsigned i = 0; i < LOAM_PAGE_SIZE / sizeof(*word); i++)
			LOAM_CHECK(word != NULL && word[i] == POISON,
				   "a stack was written to after it was freed");
	}
}

/* ---- in and out ---- */

uintptr_t loam_stackpool_take_locked(size_t size)
{
	unsigned n = size_index(size);
	struct loam_region *r;

	if (n == SIZES || pool[n].count == 0)
		return 0;
	r = loam_vspace_find(pool[n].low[--pool[n].count]);
	LOAM_ASSERT(r->pooled && r->size == size); /* [POOL-1] */
	check_poison(r);
	r->pooled = false;
	loam_region_note(r, LOAM_CALL_STACK);
	kept_bytes -= ready_of(r);
	reused++;
	return r->base;
}

/* Ready as a kept stack must be, with loam's own rights? What lies below is given back. */
static bool tidy(const struct loam_region *r)
{
	struct loam_space_count count;

	if (r->hugepage || loam_space_plain(r->base + r->size - LOAM_PAGE_SIZE) == NULL)
		return false;
	if (r->lazy)
		return loam_sys_unused_locked(r->base, r->size - LOAM_PAGE_SIZE) == LOAM_OK;
	loam_space_count(r->base, r->size, &count);
	return count.ready_bytes == r->size;
}

bool loam_stackpool_put_locked(struct loam_region *r)
{
	unsigned n = size_index(r->size);

	if (n == SIZES || pool[n].count == SLOTS || limit_bytes < kept_bytes ||
	    ready_of(r) > limit_bytes - kept_bytes || !tidy(r))
		return false;
	poison(r);
	r->pooled = true;
	loam_region_note(r, LOAM_CALL_FREE);
	kept_bytes += ready_of(r);
	pool[n].low[pool[n].count++] = r->base;
	return true;
}

size_t loam_stackpool_release_locked(void)
{
	size_t bytes = kept_bytes;

	for (unsigned n = 0; n < SIZES; n++) {
		size_t size = (size_t)1 << (SHIFT_MIN + n);

		while (pool[n].count > 0) {
			uintptr_t low = pool[n].low[--pool[n].count];
			/* whole: takes no record */
			enum loam_err err = loam_sys_free_locked(low - LOAM_PAGE_SIZE,
								 size + 2 * LOAM_PAGE_SIZE);

			LOAM_CHECK(err == LOAM_OK, "a kept stack could not be freed");
		}
	}
	kept_bytes = 0;
	return bytes;
}

size_t loam_stack_pool_release(void)
{
	uintptr_t irq = loam_sys_enter();
	size_t bytes = loam_stackpool_release_locked();

	(void)loam_sys_leave(irq, LOAM_OK);
	return bytes;
}

void loam_stack_pool_limit(size_t bytes)
{
	uintptr_t irq = loam_sys_enter();

	limit_bytes = bytes;
	if (kept_bytes > bytes)
		(void)loam_stackpool_release_locked();
	(void)loam_sys_leave(irq, LOAM_OK);
}

void loam_stack_stats(struct loam_stack_stats *stats)
{
	uintptr_t irq = loam_sys_enter();

	*stats = (struct loam_stack_stats){
		.pooled_bytes = kept_bytes,
		.limit_bytes = limit_bytes,
		.reused = reused,
	};
	for (unsigned n = 0; n < SIZES; n++)
		stats->pooled += pool[n].count;
	(void)loam_sys_leave(irq, LOAM_OK);
}

void loam_stackpool_reset(void)
{
	for (unsigned n = 0; n < SIZES; n++)
		pool[n].count = 0;
	kept_bytes = 0;
	limit_bytes = LOAM_STACK_POOL_BYTES;
	reused = 0;
}
