/* SPDX-License-Identifier: MIT */
/*
 * The ten system memory calls: Go's runtime/mem.go for a machine of one's own.
 *
 * Each call checks its whole range before it changes anything, in this order: shape (alignment,
 * wrap, window), then that every page is reserved, then the states. The states live in the back
 * end (mm/space.h); who owns a range and what leaves it wants live in the regions (mm/vspace.h);
 * the sums are kept here. A call that needs region records stocks them first, so once the back
 * end has succeeded nothing can fail any more.
 *
 *   [SYS-1] For each owner, ready_bytes and prepared_bytes are what the tables say for the
 *           regions it owns; no byte has two owners.
 *   [SYS-2] Over all owners, Ready and Prepared and Reserved and None sum to the window.
 *   [SYS-3] A failed call changed nothing: states, sums, contents.
 *
 * Concurrency: one lock (rank space) around each call. Interrupts are off under it, so a call's
 * time with interrupts off grows with its range: callers of long ranges slice them.
 * Source: the contracts of Go's runtime/mem.go, with two departures: `used` may fail, because
 * there is no overcommit, and Prepared means that the page tables exist.
 */
#include "mm/sys.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "mm/lock.h"
#include "mm/space.h"
#include "mm/stackpool.h"
#include "mm/vspace.h"

static struct loam_lock lock = LOAM_LOCK_INIT(LOAM_RANK_SPACE);
static bool initialised;		    /* boot only */
static uintptr_t window_base;		    /* boot only */
static size_t window_bytes;		    /* boot only */
static uint64_t reserved_bytes;		    /* lock: all reserved regions, any state */
static uint64_t mapped_bytes;		    /* lock: of those, by loam_vm_map */
static uint64_t ready_total;		    /* lock to write; atomic: sum of ready[] */
static uint64_t ready[LOAM_OWNER_COUNT];    /* lock */
static uint64_t prepared[LOAM_OWNER_COUNT]; /* lock */
static uint64_t limit_bytes = UINT64_MAX;   /* lock to write; atomic */
static uint64_t memory_bytes;		    /* boot only */
static bool huge_off;			    /* lock */

static void add_ready(uint64_t bytes)
{
	/* relaxed: read without the lock as a figure only */
	__atomic_store_n(&ready_total, ready_total + bytes, __ATOMIC_RELAXED);
}

/* ---- pieces of ranges ---- */

static bool shape_ok(uintptr_t base, size_t size)
{
	return size != 0 && loam_is_aligned(base | size, LOAM_PAGE_SIZE) && base >= window_base &&
	       base - window_base < window_bytes && size <= window_bytes - (base - window_base);
}

static uintptr_t region_end(const struct loam_region *r)
{
	return r->base + r->size;
}

bool loam_sys_range_is(uintptr_t base, size_t size, bool mapped)
{
	struct loam_region *r;

	if (!initialised || !shape_ok(base, size))
		return false;
	for (r = loam_vspace_find(base); r->reservation != 0 && r->mapped == mapped;
	     r = loam_vspace_next(r)) {
		if (region_end(r) - base >= size)
			return true;
	}
	return false;
}

/* Is the shape right, and every page of the range reserved and for the ten calls to use? */
static bool range_ok(uintptr_t base, size_t size)
{
	return loam_sys_range_is(base, size, false);
}

/* The part of [base, base + size) that lies in region `r`. */
static size_t piece(const struct loam_region *r, uintptr_t base, size_t size, uintptr_t *at)
{
	uintptr_t end = base + size, lo = r->base > base ? r->base : base;

	*at = lo;
	return (region_end(r) < end ? region_end(r) : end) - lo;
}

/* Add (or with `sign` -1 take away) what the tables say about the range, owner by owner; `total`
 * becomes the sum. */
static void account(uintptr_t base, size_t size, int sign, struct loam_space_count *total)
{
	struct loam_region *r = loam_vspace_find(base);

	*total = (struct loam_space_count){0};
	for (size_t done = 0; done < size; r = loam_vspace_next(r)) {
		struct loam_space_count c;
		uintptr_t at;
		size_t n = piece(r, base, size, &at);

		loam_space_count(at, n, &c);
		ready[r->owner] += sign > 0 ? c.ready_bytes : -c.ready_bytes;
		add_ready(sign > 0 ? c.ready_bytes : -c.ready_bytes);
		prepared[r->owner] += sign > 0 ? c.prepared_bytes : -c.prepared_bytes;
		total->ready_bytes += c.ready_bytes;
		total->prepared_bytes += c.prepared_bytes;
		total->reserved_bytes += c.reserved_bytes;
		done += n;
	}
}

/* All of the range is in `state` now, and in no sum. */
static void account_as(uintptr_t base, size_t size, enum loam_state state)
{
	struct loam_region *r = loam_vspace_find(base);

	for (size_t done = 0; done < size; r = loam_vspace_next(r)) {
		uintptr_t at;
		size_t n = piece(r, base, size, &at);

		if (state == LOAM_STATE_READY) {
			ready[r->owner] += n;
			add_ready(n);
		} else {
			prepared[r->owner] += n;
		}
		done += n;
	}
}

void loam_sys_note(uintptr_t base, size_t size, enum loam_call call)
{
	struct loam_region *r = loam_vspace_find(base);

	for (size_t done = 0; done < size; r = loam_vspace_next(r)) {
		uintptr_t at;

		done += piece(r, base, size, &at);
		loam_region_note(r, call);
	}
}

/* Cut regions at both ends of the range, so that it can change as a whole. Stock 2 first. */
void loam_sys_cut_ends(uintptr_t base, size_t size)
{
	loam_vspace_cut(base);
	if (base + size - window_base < window_bytes)
		loam_vspace_cut(base + size);
}

/* Merge what has become alike in and around the range. */
void loam_sys_merge(uintptr_t base, size_t size)
{
	struct loam_region *r = loam_vspace_merge(loam_vspace_find(base));

	while (r != NULL && region_end(r) - base < size)
		r = loam_vspace_merge(loam_vspace_next(r));
}

static bool counts_make_sense(void)
{
	uint64_t r = 0, p = 0;

	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		r += ready[o];
		p += prepared[o];
	}
	return r == ready_total && r + p + mapped_bytes <= reserved_bytes &&
	       reserved_bytes <= window_bytes && ready[LOAM_OWNER_NONE] == 0 &&
	       prepared[LOAM_OWNER_NONE] == 0;
}

uintptr_t loam_sys_enter(void)
{
	return loam_lock(&lock);
}

enum loam_err loam_sys_leave(uintptr_t irq, enum loam_err err)
{
	LOAM_ASSERT(counts_make_sense()); /* [SYS-2] */
	loam_unlock(&lock, irq);
	return err;
}

bool loam_sys_short(enum loam_err err)
{
	return (err == LOAM_NOMEM || err == LOAM_NOVIRT || err == LOAM_LIMIT) &&
	       loam_stackpool_release_locked() > 0;
}

/* ---- reserve, map ---- */

enum loam_err loam_sys_reserve_locked(uintptr_t hint, size_t size, size_t align,
				      enum loam_call call, struct loam_region **region)
{
	enum loam_err err = loam_vspace_stock(2);

	if (err != LOAM_OK)
		return err;
	err = loam_vspace_reserve(hint, size, align, region);
	if (err != LOAM_OK)
		return err;
	reserved_bytes += size;
	loam_region_note(*region, call);
	return LOAM_OK;
}

enum loam_err loam_sys_reserve(uintptr_t hint, size_t size, size_t align, uintptr_t *base)
{
	struct loam_region *r;
	enum loam_err err;
	uintptr_t irq;

	if (align == 0)
		align = LOAM_PAGE_SIZE;
	if (!initialised || base == NULL || size == 0 || size > SIZE_MAX - LOAM_PAGE_SIZE + 1 ||
	    !loam_is_pow2(align) || align < LOAM_PAGE_SIZE)
		return LOAM_INVAL;
	size = loam_align_up(size, LOAM_PAGE_SIZE);
	irq = loam_lock(&lock);
	do
		err = loam_sys_reserve_locked(hint, size, align, LOAM_CALL_RESERVE, &r);
	while (loam_sys_short(err));
	if (err == LOAM_OK)
		*base = r->base;
	return loam_sys_leave(irq, err);
}

static enum loam_err map_locked(uintptr_t base, size_t size, enum loam_owner owner)
{
	struct loam_space_count count;
	enum loam_err err;

	if (!range_ok(base, size))
		return LOAM_INVAL;
	loam_space_count(base, size, &count);
	if (count.reserved_bytes != size)
		return LOAM_EXIST;
	err = loam_vspace_stock(2);
	if (err != LOAM_OK)
		return err;
	err = loam_space_prepare(base, size);
	if (err != LOAM_OK)
		return err;
	loam_sys_cut_ends(base, size);
	for (struct loam_region *r = loam_vspace_find(base); r != NULL && r->base - base < size;
	     r = loam_vspace_next(r))
		r->owner = (uint8_t)owner;
	prepared[owner] += size;
	loam_sys_note(base, size, LOAM_CALL_MAP);
	loam_sys_merge(base, size);
	return LOAM_OK;
}

enum loam_err loam_sys_map(uintptr_t base, size_t size, enum loam_owner owner)
{
	enum loam_err err;
	uintptr_t irq;

	if ((unsigned)owner <= LOAM_OWNER_NONE || (unsigned)owner >= LOAM_OWNER_COUNT)
		return LOAM_INVAL;
	irq = loam_lock(&lock);
	do
		err = map_locked(base, size, owner);
	while (loam_sys_short(err));
	return loam_sys_leave(irq, err);
}

/* ---- used, unused, fault ---- */

/* Prepared bytes of one owner became Ready, behind the back of the ten calls. False: the limit. */
bool loam_sys_may_fill(uint64_t bytes)
{
	return limit_bytes >= ready_total && bytes <= limit_bytes - ready_total;
}

void loam_sys_filled(enum loam_owner owner, uint64_t bytes)
{
	prepared[owner] -= bytes;
	ready[owner] += bytes;
	add_ready(bytes);
}

static enum loam_err used_locked(uintptr_t base, size_t size, bool *zeroed)
{
	struct loam_space_count was;
	enum loam_err err = LOAM_OK;

	if (!range_ok(base, size))
		return LOAM_INVAL;
	account(base, size, -1, &was);
	if (was.reserved_bytes != 0)
		err = LOAM_INVAL;
	else if (was.prepared_bytes > 0 && !loam_sys_may_fill(was.prepared_bytes + was.ready_bytes))
		err = LOAM_LIMIT;
	else if (was.prepared_bytes > 0)
		err = loam_space_commit(base, size, was.prepared_bytes);
	if (err != LOAM_OK) {
		account(base, size, +1, &was);
		return err;
	}
	account_as(base, size, LOAM_STATE_READY);
	loam_sys_note(base, size, LOAM_CALL_USED);
	/* every page was Prepared, and the back end zeroes what it commits */
	if (zeroed != NULL)
		*zeroed = was.ready_bytes == 0;
	return LOAM_OK;
}

enum loam_err loam_sys_used(uintptr_t base, size_t size, bool *zeroed)
{
	uintptr_t irq = loam_lock(&lock);
	enum loam_err err;

	do
		err = used_locked(base, size, zeroed);
	while (loam_sys_short(err));
	return loam_sys_leave(irq, err);
}

/* Nothing of the range is in a sum any more, nor in memory. */
static void drop(uintptr_t base, size_t size)
{
	struct loam_space_count was;

	account(base, size, -1, &was);
	if (was.reserved_bytes != size)
		loam_space_drop(base, size, LOAM_STATE_RESERVED);
}

static enum loam_err unused_locked(uintptr_t base, size_t size, bool later)
{
	struct loam_space_count was;

	if (!range_ok(base, size))
		return LOAM_INVAL;
	account(base, size, -1, &was);
	if (was.reserved_bytes != 0) {
		account(base, size, +1, &was);
		return LOAM_INVAL;
	}
	if (was.ready_bytes > 0 && later)
		loam_space_drop_later(base, size);
	else if (was.ready_bytes > 0)
		loam_space_drop(base, size, LOAM_STATE_PREPARED);
	account_as(base, size, LOAM_STATE_PREPARED);
	loam_sys_note(base, size, LOAM_CALL_UNUSED);
	return LOAM_OK;
}

enum loam_err loam_sys_unused_locked(uintptr_t base, size_t size)
{
	return unused_locked(base, size, false);
}

enum loam_err loam_sys_unused(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	return loam_sys_leave(irq, unused_locked(base, size, false));
}

enum loam_err loam_sys_unused_later(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	return loam_sys_leave(irq, unused_locked(base, size, true));
}

enum loam_err loam_sys_fault(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	if (!range_ok(base, size))
		return loam_sys_leave(irq, LOAM_INVAL);
	drop(base, size);
	loam_sys_note(base, size, LOAM_CALL_FAULT);
	return loam_sys_leave(irq, LOAM_OK);
}

/* ---- free, alloc ---- */

/* The range is None again: its records stocked, its memory gone. */
void loam_sys_release(uintptr_t base, size_t size, enum loam_call call)
{
	loam_sys_cut_ends(base, size);
	for (struct loam_region *r = loam_vspace_find(base); r != NULL && r->base - base < size;
	     r = loam_vspace_next(r)) {
		loam_region_note(r, call);
		loam_vspace_release(r);
	}
	reserved_bytes -= size;
	loam_sys_merge(base, size);
}

/* Records that it takes to cut the range out: none for whole regions, so that those can be given
 * back without a frame. */
enum loam_err loam_sys_stock_for(uintptr_t base, size_t size)
{
	struct loam_region *first = loam_vspace_find(base);
	struct loam_region *last = loam_vspace_find(base + (size - 1));

	return loam_vspace_stock((first->base != base) + (region_end(last) != base + size));
}

void loam_sys_mapped(uint64_t bytes, int sign)
{
	mapped_bytes += sign > 0 ? bytes : -bytes;
}

enum loam_err loam_sys_free_locked(uintptr_t base, size_t size)
{
	if (!range_ok(base, size))
		return LOAM_INVAL;
	if (loam_sys_stock_for(base, size) != LOAM_OK)
		return LOAM_NOMEM;
	drop(base, size);
	loam_sys_release(base, size, LOAM_CALL_FREE);
	return LOAM_OK;
}

enum loam_err loam_sys_free(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	return loam_sys_leave(irq, loam_sys_free_locked(base, size));
}

static enum loam_err alloc_locked(size_t size, enum loam_owner owner, uintptr_t *base)
{
	struct loam_region *r;
	enum loam_err err = loam_sys_reserve_locked(0, size, LOAM_PAGE_SIZE, LOAM_CALL_ALLOC, &r);

	if (err != LOAM_OK)
		return err;
	*base = r->base;
	err = map_locked(*base, size, owner);
	if (err == LOAM_OK)
		err = used_locked(*base, size, NULL);
	if (err != LOAM_OK) {
		/* a whole region needs no record to go */
		enum loam_err freed = loam_sys_free_locked(*base, size);

		LOAM_CHECK(freed == LOAM_OK, "a range just reserved could not be freed");
	}
	return err;
}

enum loam_err loam_sys_alloc(size_t size, enum loam_owner owner, void **base)
{
	uintptr_t irq, at = 0;
	enum loam_err err;

	if (!initialised || base == NULL || size == 0 || size > SIZE_MAX - LOAM_PAGE_SIZE + 1 ||
	    (unsigned)owner <= LOAM_OWNER_NONE || (unsigned)owner >= LOAM_OWNER_COUNT)
		return LOAM_INVAL;
	size = loam_align_up(size, LOAM_PAGE_SIZE);
	irq = loam_lock(&lock);
	do
		err = alloc_locked(size, owner, &at);
	while (loam_sys_short(err));
	if (err == LOAM_OK)
		*base = (void *)at;
	return loam_sys_leave(irq, err);
}

/* ---- huge pages ---- */

static enum loam_err set_policy(uintptr_t base, size_t size, bool hugepage)
{
	enum loam_err err;

	if (!range_ok(base, size))
		return LOAM_INVAL;
	if (hugepage && (huge_off || loam_space_huge_sizes() == 0))
		return LOAM_NOTSUP;
	err = loam_vspace_stock(2);
	if (err != LOAM_OK)
		return err;
	loam_sys_cut_ends(base, size);
	for (struct loam_region *r = loam_vspace_find(base); r != NULL && r->base - base < size;
	     r = loam_vspace_next(r)) {
		r->hugepage = hugepage;
		loam_region_note(r, hugepage ? LOAM_CALL_HUGEPAGE : LOAM_CALL_NOHUGEPAGE);
	}
	loam_sys_merge(base, size);
	return LOAM_OK;
}

uint64_t loam_sys_huge_sizes(void)
{
	uintptr_t irq = loam_lock(&lock);
	uint64_t sizes = initialised && !huge_off ? loam_space_huge_sizes() : 0;

	loam_unlock(&lock, irq);
	return sizes;
}

enum loam_err loam_sys_hugepage(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	return loam_sys_leave(irq, set_policy(base, size, true));
}

/* Off for good: no region asks for huge leaves any more, and none may. */
static void huge_off_locked(void)
{
	huge_off = true;
	for (struct loam_region *r = loam_vspace_find(window_base); r != NULL;
	     r = loam_vspace_next(r)) {
		r->hugepage = false;
		r = loam_vspace_merge(r);
	}
}

enum loam_err loam_sys_nohugepage(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	if (initialised && base == 0 && size == 0) {
		huge_off_locked();
		return loam_sys_leave(irq, LOAM_OK);
	}
	return loam_sys_leave(irq, set_policy(base, size, false));
}

static enum loam_err collapse_block(uintptr_t at)
{
	const struct loam_region *r = loam_vspace_find(at);
	struct loam_space_count count;

	loam_space_count(at, LOAM_HUGE_SIZE, &count);
	if (count.ready_bytes != LOAM_HUGE_SIZE)
		return LOAM_BUSY;
	/* one leaf has one owner */
	for (const struct loam_region *next = r; region_end(next) - at < LOAM_HUGE_SIZE;) {
		next = loam_vspace_next((struct loam_region *)next);
		if (next->owner != r->owner)
			return LOAM_BUSY;
	}
	return loam_space_collapse(at, (enum loam_owner)r->owner);
}

enum loam_err loam_sys_collapse(uintptr_t base, size_t size)
{
	uintptr_t irq = loam_lock(&lock), at = loam_align_up(base, LOAM_HUGE_SIZE);
	enum loam_err err = LOAM_OK;

	if (!range_ok(base, size))
		return loam_sys_leave(irq, LOAM_INVAL);
	if (huge_off || loam_space_huge_sizes() == 0)
		return loam_sys_leave(irq, LOAM_NOTSUP);
	for (; err == LOAM_OK && at - base < size && size - (at - base) >= LOAM_HUGE_SIZE;
	     at += LOAM_HUGE_SIZE)
		err = collapse_block(at);
	loam_sys_note(base, size, LOAM_CALL_COLLAPSE);
	return loam_sys_leave(irq, err);
}

/* ---- move ---- */

/* Does `owner` pay for every page of the range? */
static bool owned_by(uintptr_t base, size_t size, unsigned owner)
{
	struct loam_region *r = loam_vspace_find(base);

	while (r->owner == owner && region_end(r) - base < size)
		r = loam_vspace_next(r);
	return r->owner == owner;
}

static enum loam_err move_locked(uintptr_t from, uintptr_t to, size_t size)
{
	struct loam_space_count was, will;
	enum loam_err err;

	if (!range_ok(from, size) || !range_ok(to, size) || from - to < size || to - from < size)
		return LOAM_INVAL;
	loam_space_count(from, size, &was);
	loam_space_count(to, size, &will);
	if (was.ready_bytes != size || will.prepared_bytes != size ||
	    !owned_by(from, size, loam_vspace_find(from)->owner) ||
	    !owned_by(to, size, loam_vspace_find(from)->owner))
		return LOAM_INVAL;
	if (loam_cpu_sp() - from < size)
		return LOAM_BUSY;
	err = loam_space_move(from, to, size);
	if (err != LOAM_OK)
		return err;
	/* one owner has as much Ready and as much Prepared as before: no sum changes */
	loam_sys_note(from, size, LOAM_CALL_MOVE);
	loam_sys_note(to, size, LOAM_CALL_MOVE);
	return LOAM_OK;
}

enum loam_err loam_sys_move(uintptr_t from, uintptr_t to, size_t size)
{
	uintptr_t irq = loam_lock(&lock);

	return loam_sys_leave(irq, move_locked(from, to, size));
}

/* ---- looking ---- */

static enum loam_err query(uintptr_t addr, struct loam_sys_info *info)
{
	const struct loam_region *r = loam_vspace_find(addr);

	if (r == NULL || r->reservation == 0)
		return LOAM_NOENT;
	info->owner = (enum loam_owner)r->owner;
	info->hugepage = r->hugepage;
	info->lazy = r->lazy;
	info->region_base = r->base;
	info->region_size = r->size;
	loam_space_query(loam_align_down(addr, LOAM_PAGE_SIZE), info);
	if (r->mapped)
		info->state = LOAM_STATE_MAPPED;
	return LOAM_OK;
}

enum loam_err loam_sys_query(uintptr_t addr, struct loam_sys_info *info)
{
	uintptr_t irq = loam_lock(&lock);

	return loam_sys_leave(irq, query(addr, info));
}

bool loam_sys_report(uintptr_t addr, struct loam_sys_info *info, const char **history, unsigned n)
{
	const struct loam_region *r = loam_vspace_find(addr);

	if (query(addr, info) != LOAM_OK)
		return false;
	for (unsigned i = 0; i < n; i++) {
		uint8_t call = i < LOAM_REGION_HISTORY ? r->history[i] : LOAM_CALL_NONE;

		history[i] = call != LOAM_CALL_NONE ? loam_call_name((enum loam_call)call) : NULL;
	}
	return true;
}

uint64_t loam_sys_ready_bytes(void)
{
	/* relaxed: a figure of some moment; writers hold the space lock */
	return __atomic_load_n(&ready_total, __ATOMIC_RELAXED);
}

uint64_t loam_sys_memory_bytes(void)
{
	return memory_bytes;
}

uint64_t loam_sys_most_bytes(void)
{
	uint64_t limit = __atomic_load_n(&limit_bytes, __ATOMIC_RELAXED);

	return limit < memory_bytes ? limit : memory_bytes;
}

void loam_sys_stats(struct loam_sys_stats *stats)
{
	uintptr_t irq = loam_lock(&lock);
	uint64_t prepared_total = 0;

	*stats = (struct loam_sys_stats){0};
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		stats->ready_bytes[o] = ready[o];
		stats->prepared_bytes[o] = prepared[o];
		prepared_total += prepared[o];
	}
	for (struct loam_region *r = initialised ? loam_vspace_find(window_base) : NULL; r != NULL;
	     r = loam_vspace_next(r)) {
		struct loam_space_count count = {0};

		if (r->owner != LOAM_OWNER_NONE)
			loam_space_count(r->base, r->size, &count);
		stats->huge_ready_bytes += count.huge_bytes;
	}
	stats->window_bytes = window_bytes;
	stats->state_bytes[LOAM_STATE_NONE] = window_bytes - reserved_bytes;
	stats->state_bytes[LOAM_STATE_READY] = ready_total;
	stats->state_bytes[LOAM_STATE_PREPARED] = prepared_total;
	stats->state_bytes[LOAM_STATE_MAPPED] = mapped_bytes;
	stats->state_bytes[LOAM_STATE_RESERVED] =
		reserved_bytes - ready_total - prepared_total - mapped_bytes;
	stats->region_count = loam_vspace_count();
	stats->limit_bytes = limit_bytes;
	loam_unlock(&lock, irq);
}

void loam_sys_set_limit(uint64_t bytes)
{
	uintptr_t irq = loam_lock(&lock);

	__atomic_store_n(&limit_bytes, bytes, __ATOMIC_RELAXED);
	loam_unlock(&lock, irq);
}

void loam_sys_verify(void)
{
	uintptr_t irq = loam_lock(&lock);
	uint64_t r_bytes[LOAM_OWNER_COUNT] = {0}, p_bytes[LOAM_OWNER_COUNT] = {0};
	uint64_t reserved = 0, mapped = 0;

	loam_vspace_verify();
	for (struct loam_region *r = loam_vspace_find(window_base); r != NULL;
	     r = loam_vspace_next(r)) {
		struct loam_space_count count;

		loam_space_count(r->base, r->size, &count);
		if (r->mapped) {
			LOAM_CHECK(count.ready_bytes == r->size, "[SYS-1] a hole in a mapping");
			mapped += r->size;
			count = (struct loam_space_count){0};
		}
		r_bytes[r->owner] += count.ready_bytes;
		p_bytes[r->owner] += count.prepared_bytes;
		if (r->reservation != 0)
			reserved += r->size;
		else
			LOAM_CHECK(count.reserved_bytes == r->size,
				   "[SYS-1] memory in a free region");
	}
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++)
		LOAM_CHECK(r_bytes[o] == ready[o] && p_bytes[o] == prepared[o],
			   "[SYS-1] an owner's sums disagree with the tables");
	LOAM_CHECK(reserved == reserved_bytes && mapped == mapped_bytes && counts_make_sense(),
		   "[SYS-2] sums disagree");
	loam_unlock(&lock, irq);
}

/* ---- set-up ---- */

enum loam_err loam_mm_init(const struct loam_config *config)
{
	enum loam_err err;

	if (initialised)
		return LOAM_EXIST;
	err = loam_space_init(config, &window_base, &window_bytes);
	if (err != LOAM_OK)
		return err;
	err = loam_vspace_init(window_base, window_bytes);
	if (err != LOAM_OK) {
		loam_space_reset();
		return err;
	}
	huge_off = config->no_hugepage;
	limit_bytes = UINT64_MAX;
	memory_bytes = loam_space_memory();
	initialised = true;
	return LOAM_OK;
}

static void forget(void)
{
	initialised = false;
	reserved_bytes = 0;
	mapped_bytes = 0;
	add_ready(-ready_total);
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		ready[o] = 0;
		prepared[o] = 0;
	}
}

void loam_mm_reset(void)
{
	if (!initialised)
		return;
	lock.held = 0; /* a test may come here out of an expected panic */
	loam_lockrank_reset();
	loam_stackpool_reset();
	loam_vspace_reset();
	loam_space_reset();
	forget();
}

bool loam_sys_is_up(void)
{
	return initialised;
}

void loam_sys_shutdown(void)
{
	uintptr_t irq = loam_lock(&lock);

	LOAM_ASSERT(ready_total == 0 && mapped_bytes == 0);
	loam_stackpool_reset();
	loam_vspace_reset();
	loam_space_shutdown();
	forget();
	loam_unlock(&lock, irq);
}
