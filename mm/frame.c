/* SPDX-License-Identifier: MIT */
/*
 * Physical frames for everybody: one buddy a zone, one lock, one record a frame.
 *
 * Zones. The ranges of a sanitised map are gathered into at most ZONE_MAX zones, so that a hole
 * costs no more bookkeeping than it must: a range joins the zone below it when the hole between
 * them is small, else it begins a new one. Each zone's bitmaps and records are cut from the
 * map's own memory before the rest becomes free. Requests go to the highest zone first: low
 * memory is what simple devices can reach. No zone lies on both sides of 4 GiB, so
 * LOAM_FRAME_DMA32 is a matter of zones.
 *
 * Records. 8 bytes a frame (0.2 % of RAM). Only the record of the first frame of an allocated
 * run counts; the others say nothing, so taking 2 MiB writes one record, not 512.
 *
 *   [FRAME-1] A record has state HEAD just when an allocated run begins at its frame; no other
 *             HEAD stands inside that run, and no frame of the run is free in the buddy.
 *   [FRAME-2] The frames of all owners, with those that are free under NONE, sum to the total.
 *
 * Known-zero frames. Idle time zeroes single frames ahead and keeps them in a list: records of
 * state HEAD and owner NONE, so they are nobody's and count as free. Requests that want zeros take
 * them first; when the buddies cannot serve a request they go back there and it is tried again.
 *
 * What is checked on free: the frame is in a zone, begins an allocated run, and of that order;
 * anything else is LOAM_INVAL with nothing changed. At LOAM_DEBUG 3 the first bytes of freed
 * frames are poisoned and looked at again when the frame is taken: a write to a freed frame
 * panics.
 *
 * Single frames come from and go to the CPU's own cache (mm/framecache.c) where zeros are not wanted.
 *
 * Concurrency: everything below `lock` (rank frame), IRQ-saving; usable from interrupt handlers.
 * Zeroing and poisoning happen outside of it, on frames that are nobody else's.
 * Failure: LOAM_NOMEM; lists are all or nothing.
 */
#include "mm/frame.h"

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "mm/buddy.h"
#include "arch/check.h"
#include "mm/early.h"
#include "mm/framecache.h"
#include "mm/lock.h"

void *memset(void *dst, int c, size_t n);

#define ZONE_MAX	16u
#define ZONE_SHIFT	28u /* a link holds a zone and an index below 2^28: 1 TiB a zone */
#define ZONE_FRAMES_MAX ((uint64_t)1 << ZONE_SHIFT)
#define LOW_END		((uint64_t)1 << 20) /* 4 GiB */
#define JOIN_FRAMES	4096u		    /* a hole of up to 16 MiB never begins a new zone */

enum {
	STATE_BODY = 0, /* free, or inside a run, or a hole */
	STATE_HEAD = 1, /* first frame of an allocated run */
};
enum {
	FLAG_POISONED = 1, /* the poison was written and must still be there */
};

struct record {
	uint32_t link; /* next frame of a list: zone << ZONE_SHIFT | index */
	uint8_t order; /* of the run; HEAD only */
	uint8_t owner; /* enum loam_owner; HEAD only */
	uint8_t state;
	uint8_t flags; /* LOAM_DEBUG 3 */
};
_Static_assert(sizeof(struct record) == 8, "0.2 % of RAM is what the README promises");

struct zone {
	struct loam_buddy buddy;
	struct record *record; /* one a frame from `base` on */
	uint64_t base;
	uint64_t count;
};

static struct loam_lock lock = LOAM_LOCK_INIT(LOAM_RANK_FRAME);
static struct zone zone[ZONE_MAX];		  /* lock; shape: boot only */
static unsigned zone_count;			  /* boot only */
static uint64_t owner_frames[LOAM_OWNER_COUNT];	  /* lock */
static uint64_t total_frames, meta_bytes, zeroed; /* boot only; lock for zeroed */
static struct loam_frame_list known_zero;	  /* lock */
static uint64_t zeroing;			  /* lock: frames on their way there */
static uint64_t fail_countdown, request_count;	  /* lock; tests */
static bool fail_armed;				  /* lock; tests */

/* ---- records ---- */

static struct zone *zone_of(struct loam_pfn pfn)
{
	for (unsigned i = 0; i < zone_count; i++) {
		if (pfn.raw - zone[i].base < zone[i].count)
			return &zone[i];
	}
	return NULL;
}

static struct record *record_of(struct loam_pfn pfn)
{
	struct zone *z = zone_of(pfn);

	return z != NULL ? &z->record[pfn.raw - z->base] : NULL;
}

/* The record of an allocated run that begins at `pfn`; anything else is a bug in the caller. */
static struct record *head_of(struct loam_pfn pfn)
{
	struct record *r = record_of(pfn);

	LOAM_CHECK(r != NULL && r->state == STATE_HEAD,
		   "frame is not the first of an allocated run");
	return r;
}

static uint32_t link_of(struct loam_pfn pfn)
{
	struct zone *z = zone_of(pfn);

	return (uint32_t)((uint64_t)(z - zone) << ZONE_SHIFT | (pfn.raw - z->base));
}

static struct loam_pfn pfn_of_link(uint32_t link)
{
	const struct zone *z = &zone[link >> ZONE_SHIFT];

	return loam_pfn(z->base + (link & (ZONE_FRAMES_MAX - 1)));
}

/* ---- poison (LOAM_DEBUG 3) ---- */

#define POISON_WORDS 8u
#define POISON	     UINT64_C(0xdfdfdfdfdfdfdfdf)

static void poison_write(struct loam_pfn pfn, unsigned order)
{
	if (LOAM_DEBUG < 3)
		return;
	for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
		struct loam_pfn one = loam_pfn(pfn.raw + i);
		uint64_t *p = loam_frame_ptr(loam_pfn_to_paddr(one));

		for (unsigned w = 0; w < POISON_WORDS; w++)
			p[w] = POISON;
		record_of(one)->flags |= FLAG_POISONED;
	}
}

static void poison_check(struct loam_pfn pfn, unsigned order)
{
	if (LOAM_DEBUG < 3)
		return;
	for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
		struct loam_pfn one = loam_pfn(pfn.raw + i);
		const uint64_t *p = loam_frame_ptr(loam_pfn_to_paddr(one));
		struct record *r = record_of(one);

		for (unsigned w = 0; (r->flags & FLAG_POISONED) != 0 && w < POISON_WORDS; w++)
			LOAM_CHECK(p[w] == POISON, "a frame was written to after it was freed");
		r->flags &= (uint8_t)~FLAG_POISONED;
	}
}

static void zero_run(struct loam_pfn pfn, unsigned order)
{
	for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
		loam_cpu_zero_page(loam_frame_ptr(loam_pfn_to_paddr(loam_pfn(pfn.raw + i))));
}

/* ---- taking and giving, under the lock ---- */

static bool must_fail_locked(void)
{
	if (LOAM_DEBUG < 1)
		return false;
	request_count++;
	return fail_armed && (fail_countdown <= 1 || --fail_countdown == 0);
}

static enum loam_err take_buddy_locked(unsigned order, bool low, enum loam_owner owner,
				       struct loam_pfn *pfn)
{
	for (unsigned i = zone_count; i-- > 0;) {
		struct record *r;

		if (low && zone[i].base >= LOW_END)
			continue; /* no zone lies on both sides */
		if (loam_buddy_alloc(&zone[i].buddy, order, pfn) != LOAM_OK)
			continue;
		r = &zone[i].record[pfn->raw - zone[i].base];
		LOAM_ASSERT(r->state != STATE_HEAD); /* [FRAME-1] */
		r->state = STATE_HEAD;
		r->order = (uint8_t)order;
		r->owner = (uint8_t)owner;
		owner_frames[LOAM_OWNER_NONE] -= (uint64_t)1 << order;
		owner_frames[owner] += (uint64_t)1 << order;
		poison_check(*pfn, order);
		return LOAM_OK;
	}
	return LOAM_NOMEM;
}

static void give_locked(struct zone *z, struct record *r, struct loam_pfn pfn)
{
	uint64_t frames = (uint64_t)1 << r->order;

	poison_write(pfn, r->order);
	r->state = STATE_BODY;
	owner_frames[r->owner] -= frames;
	owner_frames[LOAM_OWNER_NONE] += frames;
	loam_buddy_free(&z->buddy, pfn, r->order);
}

/* All known-zero frames go back to their buddies; false if there was none. */
static bool drain_locked(void)
{
	bool any = known_zero.count > 0;

	while (known_zero.count > 0) {
		struct loam_pfn pfn = loam_frame_list_pop(&known_zero);
		struct zone *z = zone_of(pfn);

		give_locked(z, &z->record[pfn.raw - z->base], pfn);
	}
	return any;
}

/* `*zero` says what is wanted, and then whether it is so. */
static enum loam_err take_locked(unsigned order, bool low, bool *zero, enum loam_owner owner,
				 struct loam_pfn *pfn)
{
	enum loam_err err;

	if (must_fail_locked())
		return LOAM_NOMEM;
	if (*zero && order == 0 && !low && known_zero.count > 0) {
		*pfn = loam_frame_list_pop(&known_zero);
		head_of(*pfn)->owner = (uint8_t)owner;
		owner_frames[LOAM_OWNER_NONE]--;
		owner_frames[owner]++;
		return LOAM_OK;
	}
	*zero = false;
	err = take_buddy_locked(order, low, owner, pfn);
	if (err != LOAM_OK && drain_locked())
		err = take_buddy_locked(order, low, owner, pfn);
	return err;
}

static bool owner_ok(enum loam_owner owner)
{
	return (unsigned)owner > LOAM_OWNER_NONE && (unsigned)owner < LOAM_OWNER_COUNT;
}

/* ---- the public calls ---- */

/* Are requests made to fail? Then none may be served from a cache. Relaxed: tests arm it while nobody
 * else asks. */
static bool failing(void)
{
	return LOAM_DEBUG >= 1 && __atomic_load_n(&fail_armed, __ATOMIC_RELAXED);
}

/* One attempt, from the known-zero frames or the buddies. `*zero` as in take_locked. */
static enum loam_err take(unsigned order, bool low, bool *zero, enum loam_owner owner,
			  struct loam_pfn *pfn)
{
	bool wanted = *zero;
	uintptr_t irq = loam_lock(&lock);
	enum loam_err err = take_locked(order, low, zero, owner, pfn);

	zeroed += err == LOAM_OK && wanted && !*zero ? (uint64_t)1 << order : 0;
	loam_unlock(&lock, irq);
	return err;
}

enum loam_err loam_frame_alloc(unsigned order, unsigned flags, enum loam_owner owner,
			       struct loam_pfn *out)
{
	const unsigned all_flags = LOAM_FRAME_ZERO | LOAM_FRAME_DMA32 | LOAM_FRAME_IRQ;
	bool wanted = (flags & LOAM_FRAME_ZERO) != 0, zero = wanted;
	bool low = (flags & LOAM_FRAME_DMA32) != 0;
	struct loam_pfn pfn;
	enum loam_err err;

	if (order > LOAM_ORDER_MAX || !owner_ok(owner) || (flags & ~all_flags) != 0)
		return LOAM_INVAL;
	if (order == 0 && !wanted && !low && !failing())
		err = loam_framecache_alloc(owner, &pfn);
	else
		err = take(order, low, &zero, owner, &pfn);
	if (err != LOAM_OK && !failing() && loam_framecache_drain(false)) {
		zero = wanted;
		err = take(order, low, &zero, owner, &pfn);
	}
	if (err != LOAM_OK && !failing() && (flags & LOAM_FRAME_IRQ) != 0 && order == 0 && !low) {
		zero = false;
		err = loam_framecache_reserve(owner, &pfn);
	}
	if (err != LOAM_OK)
		return err;
	if (wanted && !zero)
		zero_run(pfn, order);
	*out = pfn;
	return LOAM_OK;
}

/* ---- loose frames: mm/framecache.h ---- */

unsigned loam_frame_take_loose(struct loam_pfn *pfn, unsigned n)
{
	uintptr_t irq = loam_lock(&lock);
	unsigned got = 0;

	while (got < n && take_buddy_locked(0, false, LOAM_OWNER_NONE, &pfn[got]) == LOAM_OK)
		got++;
	loam_unlock(&lock, irq);
	return got;
}

void loam_frame_give_loose(const struct loam_pfn *pfn, unsigned n)
{
	uintptr_t irq = loam_lock(&lock);

	for (unsigned i = 0; i < n; i++) {
		struct zone *z = zone_of(pfn[i]);

		give_locked(z, &z->record[pfn[i].raw - z->base], pfn[i]);
	}
	loam_unlock(&lock, irq);
}

void loam_frame_own(struct loam_pfn pfn, enum loam_owner owner)
{
	struct record *r = head_of(pfn);

	/* relaxed: the frame is in nobody's hands but the caller's */
	poison_check(pfn, 0);
	__atomic_store_n(&r->owner, (uint8_t)owner, __ATOMIC_RELAXED);
}

/* A single frame is freed: of two that free it at once, one takes the owner away. */
static enum loam_err free_single(struct loam_pfn pfn, struct record *r)
{
	uint8_t owner = __atomic_exchange_n(&r->owner, LOAM_OWNER_NONE, __ATOMIC_ACQ_REL);

	if (owner == LOAM_OWNER_NONE)
		return LOAM_INVAL;
	poison_write(pfn, 0);
	loam_framecache_free(pfn, (enum loam_owner)owner);
	return LOAM_OK;
}

enum loam_err loam_frame_free(struct loam_pfn pfn, unsigned order)
{
	struct zone *z = zone_of(pfn);
	enum loam_err err = LOAM_INVAL;
	struct record *r;
	uintptr_t irq;

	if (z == NULL)
		return LOAM_INVAL;
	r = &z->record[pfn.raw - z->base];
	/* a frame that is rightly freed is the caller's: its record does not change under him */
	if (order == 0 && r->state == STATE_HEAD && r->order == 0)
		return free_single(pfn, r);
	irq = loam_lock(&lock);
	if (r->state == STATE_HEAD && r->order == order && r->owner != LOAM_OWNER_NONE) {
		give_locked(z, r, pfn);
		err = LOAM_OK;
	}
	loam_unlock(&lock, irq);
	return err;
}

static enum loam_err list_take(struct loam_frame_list *list, size_t count, unsigned flags,
			       enum loam_owner owner)
{
	struct loam_frame_list dirty = {0}, clean = {0};
	bool wanted = (flags & LOAM_FRAME_ZERO) != 0;
	uintptr_t irq;

	irq = loam_lock(&lock);
	while (dirty.count + clean.count < count) {
		struct loam_pfn pfn;
		bool zero = wanted;

		if (take_locked(0, false, &zero, owner, &pfn) != LOAM_OK)
			break;
		loam_frame_list_push(zero ? &clean : &dirty, pfn);
	}
	if (dirty.count + clean.count == count)
		zeroed += wanted ? dirty.count : 0;
	loam_unlock(&lock, irq);
	if (dirty.count + clean.count < count) {
		loam_frame_list_free(&clean);
		loam_frame_list_free(&dirty);
		return LOAM_NOMEM;
	}
	while (clean.count > 0)
		loam_frame_list_push(list, loam_frame_list_pop(&clean));
	while (dirty.count > 0) {
		struct loam_pfn pfn = loam_frame_list_pop(&dirty);

		if (wanted)
			zero_run(pfn, 0);
		loam_frame_list_push(list, pfn);
	}
	return LOAM_OK;
}

enum loam_err loam_frame_list_alloc(struct loam_frame_list *list, size_t count, unsigned flags,
				    enum loam_owner owner)
{
	enum loam_err err;

	if (!owner_ok(owner))
		return LOAM_INVAL;
	err = list_take(list, count, flags, owner);
	if (err != LOAM_OK && !failing() && loam_framecache_drain(false))
		err = list_take(list, count, flags, owner);
	return err;
}

#define IDLE_FRAMES 16u
#define POOL_FRAMES 4096u

bool loam_frame_idle(void)
{
	uint64_t limit = total_frames / 64 < POOL_FRAMES ? total_frames / 64 : POOL_FRAMES;
	bool more = true;

	for (unsigned n = 0; more && n < IDLE_FRAMES; n++) {
		uintptr_t irq = loam_lock(&lock);
		struct loam_pfn pfn;

		more = known_zero.count < limit &&
		       take_buddy_locked(0, false, LOAM_OWNER_NONE, &pfn) == LOAM_OK;
		zeroing += more;
		loam_unlock(&lock, irq);
		if (!more)
			return false;
		zero_run(pfn, 0);
		irq = loam_lock(&lock);
		zeroing--;
		loam_frame_list_push(&known_zero, pfn);
		loam_unlock(&lock, irq);
	}
	return more;
}

/* A frame on a list belongs to whoever has the list: its record needs no lock. */
void loam_frame_list_push(struct loam_frame_list *list, struct loam_pfn pfn)
{
	struct record *r = head_of(pfn);

	LOAM_ASSERT(r->order == 0);
	r->link = list->count > 0 ? link_of(list->head) : 0;
	list->head = pfn;
	list->count++;
}

struct loam_pfn loam_frame_list_pop(struct loam_frame_list *list)
{
	struct loam_pfn pfn = list->head;

	LOAM_CHECK(list->count > 0, "frame taken off an empty list");
	if (--list->count > 0)
		list->head = pfn_of_link(head_of(pfn)->link);
	return pfn;
}

#define FREE_CHUNK 256u /* frames freed with interrupts off in one go */

/* Take the head off the list: its record is done with, its frame not yet in the buddy. */
static struct loam_pfn retire_locked(struct loam_frame_list *list, struct zone **z)
{
	struct loam_pfn pfn = loam_frame_list_pop(list);
	struct record *r;

	*z = zone_of(pfn);
	r = &(*z)->record[pfn.raw - (*z)->base];
	poison_write(pfn, 0);
	r->state = STATE_BODY;
	owner_frames[r->owner]--;
	owner_frames[LOAM_OWNER_NONE]++;
	return pfn;
}

/* Frames that lie side by side, in either direction, go to the buddy as one run: what was taken
 * together mostly comes back together. */
static void give_chunk_locked(struct loam_frame_list *list)
{
	struct zone *z, *next_z;
	uint64_t first = retire_locked(list, &z).raw, count = 1;

	for (unsigned n = 1; n < FREE_CHUNK && list->count > 0; n++) {
		uint64_t pfn = retire_locked(list, &next_z).raw;

		if (next_z == z && pfn + 1 == first) {
			first--;
			count++;
			continue;
		}
		if (next_z == z && pfn == first + count) {
			count++;
			continue;
		}
		loam_buddy_add(&z->buddy, loam_pfn(first), count);
		z = next_z;
		first = pfn;
		count = 1;
	}
	loam_buddy_add(&z->buddy, loam_pfn(first), count);
}

void loam_frame_list_free(struct loam_frame_list *list)
{
	while (list->count > 0) {
		uintptr_t irq = loam_lock(&lock);

		give_chunk_locked(list);
		loam_unlock(&lock, irq);
	}
}

void loam_frame_split(struct loam_pfn pfn, unsigned order, unsigned to)
{
	uintptr_t irq = loam_lock(&lock);
	struct record *r = head_of(pfn);

	LOAM_CHECK(r->order == order && to <= order,
		   "run split with another order than it was taken with");
	for (uint64_t i = 0; i < (uint64_t)1 << order; i += (uint64_t)1 << to) {
		r[i].state = STATE_HEAD;
		r[i].order = (uint8_t)to;
		r[i].owner = r->owner;
	}
	loam_unlock(&lock, irq);
}

/* In the link of the run's record, which only lists of single frames use. */
void loam_frame_deposit(struct loam_pfn run, struct loam_pfn frame)
{
	head_of(run)->link = link_of(frame);
}

struct loam_pfn loam_frame_withdraw(struct loam_pfn run)
{
	return pfn_of_link(head_of(run)->link);
}

void loam_frame_set_owner(struct loam_pfn pfn, unsigned order, enum loam_owner owner)
{
	uintptr_t irq = loam_lock(&lock);
	struct record *r = head_of(pfn);

	LOAM_CHECK(r->order == order && owner_ok(owner), "owner set with a wrong order or owner");
	owner_frames[r->owner] -= (uint64_t)1 << order;
	owner_frames[owner] += (uint64_t)1 << order;
	r->owner = (uint8_t)owner;
	loam_unlock(&lock, irq);
}

enum loam_err loam_frame_query(struct loam_pfn pfn, enum loam_owner *owner, unsigned *order)
{
	struct zone *z = zone_of(pfn);

	if (z == NULL)
		return LOAM_NOENT;
	/* the head of the run around it, if there is one */
	for (unsigned k = 0; k < LOAM_ORDER_COUNT; k++) {
		uint64_t head = loam_align_down(pfn.raw, (uint64_t)1 << k);
		const struct record *r;

		if (head < z->base)
			break;
		r = &z->record[head - z->base];
		if (r->state == STATE_HEAD && r->order >= k) {
			*owner = (enum loam_owner)r->owner;
			*order = r->order;
			return LOAM_OK;
		}
	}
	if (!loam_buddy_is_free(&z->buddy, pfn))
		return LOAM_NOENT; /* a hole */
	*owner = LOAM_OWNER_NONE;
	*order = 0;
	return LOAM_OK;
}

void loam_frame_stats(struct loam_frame_stats *stats)
{
	uintptr_t irq = loam_lock(&lock);

	*stats = (struct loam_frame_stats){0};
	stats->total = total_frames;
	stats->zeroed = zeroed;
	stats->known_zero = known_zero.count;
	stats->meta_bytes = meta_bytes;
	stats->zone_count = zone_count;
	for (unsigned i = 0; i < zone_count; i++) {
		for (unsigned k = 0; k < LOAM_ORDER_COUNT; k++)
			stats->free_blocks[k] += zone[i].buddy.order[k].free_blocks;
	}
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++)
		stats->owner_frames[o] = owner_frames[o];
	loam_unlock(&lock, irq);
	loam_framecache_sum(stats->owner_frames);
	stats->free = stats->owner_frames[LOAM_OWNER_NONE];
}

uint64_t loam_frame_fail_at(uint64_t n)
{
	uintptr_t irq = loam_lock(&lock);
	uint64_t made = request_count;

	fail_armed = n > 0;
	fail_countdown = n;
	request_count = 0;
	loam_unlock(&lock, irq);
	return made;
}

/* ---- set-up ---- */

/* May a range that begins at `base` and ends at `end` join the last zone? */
static bool joins(const struct zone *z, uint64_t base, uint64_t end)
{
	uint64_t hole = base - (z->base + z->count);

	if (end - z->base > ZONE_FRAMES_MAX || (z->base < LOW_END && end > LOW_END))
		return false;
	return hole <= JOIN_FRAMES || hole <= z->count / 8;
}

static void make_zones(const struct loam_memmap *map)
{
	for (size_t i = 0; i < map->count; i++) {
		uint64_t base = map->range[i].base >> LOAM_PAGE_SHIFT;
		uint64_t end = map->range[i].end >> LOAM_PAGE_SHIFT;

		if (zone_count > 0 && joins(&zone[zone_count - 1], base, end)) {
			zone[zone_count - 1].count = end - zone[zone_count - 1].base;
			continue;
		}
		while (base < end && zone_count < ZONE_MAX) {
			uint64_t n = end - base < ZONE_FRAMES_MAX ? end - base : ZONE_FRAMES_MAX;

			if (base < LOW_END && base + n > LOW_END)
				n = LOW_END - base;
			zone[zone_count].base = base;
			zone[zone_count].count = n;
			zone_count++;
			base += n;
		}
	}
}

static uint64_t zone_meta_bytes(const struct zone *z)
{
	return loam_buddy_meta_bytes(loam_pfn(z->base), z->count) +
	       z->count * sizeof(struct record);
}

/* Frames [base, end) of a zone that the map still has become free. */
static void add_free(struct zone *z, const struct loam_memmap *map)
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

static uint64_t map_frames_in_zones(const struct loam_memmap *map)
{
	uint64_t frames = 0;

	for (size_t i = 0; i < map->count; i++) {
		if (zone_of(loam_pfn(map->range[i].base >> LOAM_PAGE_SHIFT)) != NULL)
			frames += (map->range[i].end - map->range[i].base) >> LOAM_PAGE_SHIFT;
	}
	return frames;
}

/* The bookkeeping's own frames: single runs of owner META, never freed. */
static void own_meta(struct loam_paddr pa, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += LOAM_PAGE_SIZE) {
		struct record *r = record_of(loam_paddr_to_pfn(loam_paddr(pa.raw + at)));

		r->state = STATE_HEAD;
		r->order = 0;
		r->owner = LOAM_OWNER_META;
		owner_frames[LOAM_OWNER_META]++;
	}
}

enum loam_err loam_frame_init(const struct loam_memmap *map)
{
	static struct loam_memmap rest; /* too big for a boot stack */
	static struct loam_paddr meta[ZONE_MAX];

	LOAM_CHECK(zone_count == 0, "loam_frame_init called twice");
	if (map->count == 0)
		return LOAM_INVAL;
	rest = *map;
	make_zones(map);
	for (unsigned i = 0; i < zone_count; i++) {
		if (loam_early_alloc(&rest, zone_meta_bytes(&zone[i]), LOAM_PAGE_SIZE, 0,
				     &meta[i]) != LOAM_OK) {
			loam_frame_reset();
			return LOAM_NOMEM;
		}
	}
	total_frames = map_frames_in_zones(map);
	for (unsigned i = 0; i < zone_count; i++) {
		struct zone *z = &zone[i];

		z->record = loam_frame_ptr(meta[i]);
		memset(z->record, 0, z->count * sizeof(struct record));
		loam_buddy_init(&z->buddy, loam_pfn(z->base), z->count, z->record + z->count);
		add_free(z, &rest);
		owner_frames[LOAM_OWNER_NONE] += z->buddy.free_frames;
		meta_bytes += zone_meta_bytes(z);
	}
	for (unsigned i = 0; i < zone_count; i++)
		own_meta(meta[i], zone_meta_bytes(&zone[i]));
	loam_framecache_init(total_frames);
	return LOAM_OK;
}

void loam_frame_reset(void)
{
	memset(zone, 0, sizeof(zone));
	memset(owner_frames, 0, sizeof(owner_frames));
	zone_count = 0;
	total_frames = 0;
	meta_bytes = 0;
	zeroed = 0;
	known_zero = (struct loam_frame_list){0};
	zeroing = 0;
	fail_armed = false;
	loam_framecache_reset();
	lock.held = 0; /* a test may come here out of an expected panic */
}

/* ---- verify ---- */

static void verify_zone(struct zone *z, uint64_t *owned)
{
	loam_buddy_verify(&z->buddy);
	for (uint64_t i = 0; i < z->count;) {
		const struct record *r = &z->record[i];

		if (r->state != STATE_HEAD) {
			i++;
			continue;
		}
		LOAM_CHECK(owner_ok((enum loam_owner)r->owner) ||
				   (r->owner == LOAM_OWNER_NONE && r->order == 0),
			   "[FRAME-1] run without an owner");
		for (uint64_t k = 0; k < (uint64_t)1 << r->order; k++) {
			LOAM_CHECK(!loam_buddy_is_free(&z->buddy, loam_pfn(z->base + i + k)),
				   "[FRAME-1] frame both allocated and free");
			LOAM_CHECK(k == 0 || r[k].state != STATE_HEAD,
				   "[FRAME-1] run inside a run");
		}
		owned[r->owner] += (uint64_t)1 << r->order;
		i += (uint64_t)1 << r->order;
	}
}

void loam_frame_verify(void)
{
	uint64_t owned[LOAM_OWNER_COUNT] = {0}, moved[LOAM_OWNER_COUNT] = {0}, sum = 0;
	uintptr_t irq;

	/* [CACHE-1]: then every loose frame is back in its buddy */
	(void)loam_framecache_drain(true);
	loam_framecache_sum(moved);
	irq = loam_lock(&lock);
	for (unsigned i = 0; i < zone_count; i++)
		verify_zone(&zone[i], owned);
	LOAM_CHECK(owned[LOAM_OWNER_NONE] == known_zero.count + zeroing,
		   "[FRAME-1] a known-zero frame is in no list");
	for (unsigned i = 0; i < zone_count; i++)
		owned[LOAM_OWNER_NONE] += zone[i].buddy.free_frames;
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		LOAM_CHECK(owned[o] == owner_frames[o] + moved[o],
			   "[FRAME-2] an owner's count is wrong");
		sum += owned[o];
	}
	LOAM_CHECK(sum == total_frames, "[FRAME-2] the owners do not sum to the total");
	loam_unlock(&lock, irq);
}
