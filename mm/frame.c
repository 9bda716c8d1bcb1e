/* SPDX-License-Identifier: MIT */
/*
 * Physical frames for everybody: one buddy a zone, one lock, one record a frame.
 *
 * Zones (mm/zone.c). Requests go to the running CPU's node first, or to the one they name, and then to the
 * others in the order of addresses, highest first: low memory is what simple devices can reach. What
 * the firmware says of distances is not used.
 *
 * Records. 8 bytes a frame (0.2 % of RAM). Only the record of the first frame of an allocated
 * run counts; the others say nothing, so taking 2 MiB writes one record, not 512.
 *
 *   [FRAME-1] A record has state HEAD just when an allocated run begins at its frame; no other
 *             HEAD stands inside that run, and no frame of the run is free in the buddy.
 *   [FRAME-2] The frames of all owners, with those that are free under NONE, sum to the total.
 *
 * Known-zero frames. Idle time zeroes single frames ahead and keeps them in a list a node: records of
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
#include "arch/check.h"
#include "mm/framecache.h"
#include "mm/lock.h"
#include "mm/numa.h"
#include "mm/zone.h"

void *memset(void *dst, int c, size_t n);

enum {
	FLAG_POISONED = 1, /* the poison was written and must still be there */
};

static struct loam_lock lock = LOAM_LOCK_INIT(LOAM_RANK_FRAME);
static uint64_t owner_frames[LOAM_OWNER_COUNT];	  /* lock */
static uint64_t total_frames, meta_bytes, zeroed; /* boot only; lock for zeroed */
static uint64_t intake;				  /* boot only */
static struct loam_frame_stats last;		  /* boot only: how the last shutdown ended */
static struct loam_frame_list known_zero[LOAM_NODE_MAX]; /* lock; by node */
static uint64_t zeroing;				 /* lock: frames on their way there */
static uint64_t fail_countdown, request_count;		 /* lock; tests */
static bool fail_armed;					 /* lock; tests */

/* ---- records ---- */

/* The record of an allocated run that begins at `pfn`; anything else is a bug in the caller. */
static struct loam_frame_record *head_of(struct loam_pfn pfn)
{
	struct loam_frame_record *r = loam_frame_record(pfn);

	LOAM_CHECK(r != NULL && r->state == LOAM_FRAME_HEAD,
		   "frame is not the first of an allocated run");
	return r;
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
		loam_frame_record(one)->flags |= FLAG_POISONED;
	}
}

static void poison_check(struct loam_pfn pfn, unsigned order)
{
	if (LOAM_DEBUG < 3)
		return;
	for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
		struct loam_pfn one = loam_pfn(pfn.raw + i);
		const uint64_t *p = loam_frame_ptr(loam_pfn_to_paddr(one));
		struct loam_frame_record *r = loam_frame_record(one);

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

/* Where a request may be served from. */
struct place {
	unsigned node; /* preferred */
	bool strict;   /* or nowhere */
	bool low;      /* below 4 GiB */
};

static struct place place_of(unsigned flags)
{
	unsigned named = flags >> LOAM_FRAME_NODE_SHIFT;

	return (struct place){
		.node = named != 0 ? named - 1 : loam_numa_here(),
		.strict = (flags & LOAM_FRAME_STRICT) != 0,
		.low = (flags & LOAM_FRAME_DMA32) != 0,
	};
}

/* The lowest block of the smallest order that serves, in one zone after the other: those of the node, or
 * those of the others. */
static struct loam_zone *search_locked(unsigned order, const struct place *place, bool local,
				       struct loam_pfn *pfn)
{
	for (unsigned i = loam_zone_count; i-- > 0;) {
		struct loam_zone *z = &loam_zone[i];

		if ((z->node == place->node) == local &&
		    (!place->low || z->base < LOAM_ZONE_LOW_END) && /* none is on both sides */
		    loam_buddy_alloc(&z->buddy, order, pfn) == LOAM_OK)
			return z;
	}
	return NULL;
}

static enum loam_err take_buddy_locked(unsigned order, const struct place *place,
				       enum loam_owner owner, struct loam_pfn *pfn)
{
	struct loam_zone *z = search_locked(order, place, true, pfn);
	struct loam_frame_record *r;

	if (z == NULL && !place->strict)
		z = search_locked(order, place, false, pfn);
	if (z == NULL)
		return LOAM_NOMEM;
	r = &z->record[pfn->raw - z->base];
	LOAM_ASSERT(r->state != LOAM_FRAME_HEAD); /* [FRAME-1] */
	r->state = LOAM_FRAME_HEAD;
	r->order = (uint8_t)order;
	r->owner = (uint8_t)owner;
	owner_frames[LOAM_OWNER_NONE] -= (uint64_t)1 << order;
	owner_frames[owner] += (uint64_t)1 << order;
	poison_check(*pfn, order);
	return LOAM_OK;
}

static void give_locked(struct loam_zone *z, struct loam_frame_record *r, struct loam_pfn pfn)
{
	uint64_t frames = (uint64_t)1 << r->order;

	poison_write(pfn, r->order);
	r->state = LOAM_FRAME_BODY;
	owner_frames[r->owner] -= frames;
	owner_frames[LOAM_OWNER_NONE] += frames;
	loam_buddy_free(&z->buddy, pfn, r->order);
}

/* A node's known-zero frames go back to their buddies; false if there was none. */
static bool drain_locked(unsigned node)
{
	bool any = known_zero[node].count > 0;

	while (known_zero[node].count > 0) {
		struct loam_pfn pfn = loam_frame_list_pop(&known_zero[node]);
		struct loam_zone *z = loam_zone_of(pfn);

		give_locked(z, &z->record[pfn.raw - z->base], pfn);
	}
	return any;
}

/* `*zero` says what is wanted, and then whether it is so. */
static enum loam_err take_locked(unsigned order, const struct place *place, bool *zero,
				 enum loam_owner owner, struct loam_pfn *pfn)
{
	struct loam_frame_list *ahead = &known_zero[place->node];
	struct place near = *place;
	enum loam_err err;

	near.strict = true; /* what is near goes first, known-zero frames too */
	if (must_fail_locked())
		return LOAM_NOMEM;
	if (*zero && order == 0 && !place->low && ahead->count > 0) {
		*pfn = loam_frame_list_pop(ahead);
		head_of(*pfn)->owner = (uint8_t)owner;
		owner_frames[LOAM_OWNER_NONE]--;
		owner_frames[owner]++;
		return LOAM_OK;
	}
	*zero = false;
	err = take_buddy_locked(order, &near, owner, pfn);
	if (err != LOAM_OK && drain_locked(place->node))
		err = take_buddy_locked(order, &near, owner, pfn);
	if (err == LOAM_OK || place->strict)
		return err;
	err = take_buddy_locked(order, place, owner, pfn);
	for (unsigned node = 0; err != LOAM_OK && node < LOAM_NODE_MAX; node++) {
		if (drain_locked(node))
			err = take_buddy_locked(order, place, owner, pfn);
	}
	return err;
}

static bool owner_ok(enum loam_owner owner)
{
	return (unsigned)owner > LOAM_OWNER_NONE && (unsigned)owner < LOAM_OWNER_COUNT;
}

static bool flags_ok(unsigned flags)
{
	const unsigned all =
		LOAM_FRAME_ZERO | LOAM_FRAME_DMA32 | LOAM_FRAME_IRQ | LOAM_FRAME_STRICT;

	return (flags & ((1u << LOAM_FRAME_NODE_SHIFT) - 1) & ~all) == 0 &&
	       flags >> LOAM_FRAME_NODE_SHIFT <= loam_numa_nodes;
}

/* ---- the public calls ---- */

/* Are requests made to fail? Then none may be served from a cache. Relaxed: tests arm it while nobody
 * else asks. */
static bool failing(void)
{
	return LOAM_DEBUG >= 1 && __atomic_load_n(&fail_armed, __ATOMIC_RELAXED);
}

/* One attempt, from the known-zero frames or the buddies. `*zero` as in take_locked. */
static enum loam_err take(unsigned order, const struct place *place, bool *zero,
			  enum loam_owner owner, struct loam_pfn *pfn)
{
	bool wanted = *zero;
	uintptr_t irq = loam_lock(&lock);
	enum loam_err err = take_locked(order, place, zero, owner, pfn);

	zeroed += err == LOAM_OK && wanted && !*zero ? (uint64_t)1 << order : 0;
	loam_unlock(&lock, irq);
	return err;
}

enum loam_err loam_frame_alloc(unsigned order, unsigned flags, enum loam_owner owner,
			       struct loam_pfn *out)
{
	bool wanted = (flags & LOAM_FRAME_ZERO) != 0, zero = wanted;
	struct place place;
	struct loam_pfn pfn;
	enum loam_err err;

	if (order > LOAM_ORDER_MAX || !owner_ok(owner) || !flags_ok(flags))
		return LOAM_INVAL;
	place = place_of(flags);
	if (order == 0 && (flags & ~LOAM_FRAME_IRQ) == 0 && !failing())
		err = loam_framecache_alloc(owner, &pfn);
	else
		err = take(order, &place, &zero, owner, &pfn);
	if (err != LOAM_OK && !failing() && loam_framecache_drain(false)) {
		zero = wanted;
		err = take(order, &place, &zero, owner, &pfn);
	}
	if (err != LOAM_OK && !failing() && (flags & LOAM_FRAME_IRQ) != 0 && order == 0 &&
	    !place.low && !place.strict) {
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
	struct place place = place_of(0);
	unsigned got = 0;

	while (got < n && take_buddy_locked(0, &place, LOAM_OWNER_NONE, &pfn[got]) == LOAM_OK)
		got++;
	loam_unlock(&lock, irq);
	return got;
}

void loam_frame_give_loose(const struct loam_pfn *pfn, unsigned n)
{
	uintptr_t irq = loam_lock(&lock);

	for (unsigned i = 0; i < n; i++) {
		struct loam_zone *z = loam_zone_of(pfn[i]);

		give_locked(z, &z->record[pfn[i].raw - z->base], pfn[i]);
	}
	loam_unlock(&lock, irq);
}

void loam_frame_own(struct loam_pfn pfn, enum loam_owner owner)
{
	struct loam_frame_record *r = head_of(pfn);

	/* relaxed: the frame is in nobody's hands but the caller's */
	poison_check(pfn, 0);
	__atomic_store_n(&r->owner, (uint8_t)owner, __ATOMIC_RELAXED);
}

/* A single frame is freed: of two that free it at once, one takes the owner away. */
static enum loam_err free_single(struct loam_pfn pfn, struct loam_frame_record *r)
{
	uint8_t owner = __atomic_exchange_n(&r->owner, LOAM_OWNER_NONE, __ATOMIC_ACQ_REL);

	if (owner == LOAM_OWNER_NONE)
		return LOAM_INVAL;
	poison_write(pfn, 0);
	/* a cache holds what is near its CPU, or it would hand out what is not */
	loam_framecache_free(pfn, (enum loam_owner)owner,
			     loam_numa_nodes == 1 || loam_zone_of(pfn)->node == loam_numa_here());
	return LOAM_OK;
}

enum loam_err loam_frame_free(struct loam_pfn pfn, unsigned order)
{
	struct loam_zone *z = loam_zone_of(pfn);
	enum loam_err err = LOAM_INVAL;
	struct loam_frame_record *r;
	uintptr_t irq;

	if (z == NULL)
		return LOAM_INVAL;
	r = &z->record[pfn.raw - z->base];
	/* a frame that is rightly freed is the caller's: its record does not change under him */
	if (order == 0 && r->state == LOAM_FRAME_HEAD && r->order == 0)
		return free_single(pfn, r);
	irq = loam_lock(&lock);
	if (r->state == LOAM_FRAME_HEAD && r->order == order && r->owner != LOAM_OWNER_NONE) {
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
	struct place place = place_of(flags);
	uintptr_t irq;

	irq = loam_lock(&lock);
	while (dirty.count + clean.count < count) {
		struct loam_pfn pfn;
		bool zero = wanted;

		if (take_locked(0, &place, &zero, owner, &pfn) != LOAM_OK)
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

	if (!owner_ok(owner) || !flags_ok(flags))
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
	struct place place = place_of(LOAM_FRAME_STRICT); /* each node's list holds its own */
	struct loam_frame_list *ahead = &known_zero[place.node];
	bool more = true;

	limit /= loam_numa_nodes;

	for (unsigned n = 0; more && n < IDLE_FRAMES; n++) {
		uintptr_t irq = loam_lock(&lock);
		struct loam_pfn pfn;

		more = ahead->count < limit &&
		       take_buddy_locked(0, &place, LOAM_OWNER_NONE, &pfn) == LOAM_OK;
		zeroing += more;
		loam_unlock(&lock, irq);
		if (!more)
			return false;
		zero_run(pfn, 0);
		irq = loam_lock(&lock);
		zeroing--;
		loam_frame_list_push(ahead, pfn);
		loam_unlock(&lock, irq);
	}
	return more;
}

/* A frame on a list belongs to whoever has the list: its record needs no lock. */
void loam_frame_list_push(struct loam_frame_list *list, struct loam_pfn pfn)
{
	struct loam_frame_record *r = head_of(pfn);

	LOAM_ASSERT(r->order == 0);
	r->link = list->count > 0 ? loam_zone_link(list->head) : 0;
	list->head = pfn;
	list->count++;
}

struct loam_pfn loam_frame_list_pop(struct loam_frame_list *list)
{
	struct loam_pfn pfn = list->head;

	LOAM_CHECK(list->count > 0, "frame taken off an empty list");
	if (--list->count > 0)
		list->head = loam_zone_linked(head_of(pfn)->link);
	return pfn;
}

#define FREE_CHUNK 256u /* frames freed with interrupts off in one go */

/* Take the head off the list: its record is done with, its frame not yet in the buddy. */
static struct loam_pfn retire_locked(struct loam_frame_list *list, struct loam_zone **z)
{
	struct loam_pfn pfn = loam_frame_list_pop(list);
	struct loam_frame_record *r;

	*z = loam_zone_of(pfn);
	r = &(*z)->record[pfn.raw - (*z)->base];
	poison_write(pfn, 0);
	r->state = LOAM_FRAME_BODY;
	owner_frames[r->owner]--;
	owner_frames[LOAM_OWNER_NONE]++;
	return pfn;
}

/* Frames that lie side by side, in either direction, go to the buddy as one run: what was taken
 * together mostly comes back together. */
static void give_chunk_locked(struct loam_frame_list *list)
{
	struct loam_zone *z, *next_z;
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
	struct loam_frame_record *r = head_of(pfn);

	LOAM_CHECK(r->order == order && to <= order,
		   "run split with another order than it was taken with");
	for (uint64_t i = 0; i < (uint64_t)1 << order; i += (uint64_t)1 << to) {
		r[i].state = LOAM_FRAME_HEAD;
		r[i].order = (uint8_t)to;
		r[i].owner = r->owner;
	}
	loam_unlock(&lock, irq);
}

/* In the link of the run's record, which only lists of single frames use. */
void loam_frame_deposit(struct loam_pfn run, struct loam_pfn frame)
{
	head_of(run)->link = loam_zone_link(frame);
}

struct loam_pfn loam_frame_withdraw(struct loam_pfn run)
{
	return loam_zone_linked(head_of(run)->link);
}

void loam_frame_set_owner(struct loam_pfn pfn, unsigned order, enum loam_owner owner)
{
	uintptr_t irq = loam_lock(&lock);
	struct loam_frame_record *r = head_of(pfn);

	LOAM_CHECK(r->order == order && owner_ok(owner), "owner set with a wrong order or owner");
	owner_frames[r->owner] -= (uint64_t)1 << order;
	owner_frames[owner] += (uint64_t)1 << order;
	r->owner = (uint8_t)owner;
	loam_unlock(&lock, irq);
}

enum loam_err loam_frame_query(struct loam_pfn pfn, enum loam_owner *owner, unsigned *order)
{
	struct loam_zone *z = loam_zone_of(pfn);

	if (z == NULL)
		return LOAM_NOENT;
	/* the head of the run around it, if there is one */
	for (unsigned k = 0; k < LOAM_ORDER_COUNT; k++) {
		uint64_t head = loam_align_down(pfn.raw, (uint64_t)1 << k);
		const struct loam_frame_record *r;

		if (head < z->base)
			break;
		r = &z->record[head - z->base];
		if (r->state == LOAM_FRAME_HEAD && r->order >= k) {
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

static uint64_t known_zero_count(void)
{
	uint64_t count = 0;

	for (unsigned node = 0; node < LOAM_NODE_MAX; node++)
		count += known_zero[node].count;
	return count;
}

enum loam_err loam_node_stats(unsigned node, struct loam_node_stats *stats)
{
	uintptr_t irq;

	if (node >= loam_numa_nodes)
		return LOAM_INVAL;
	irq = loam_lock(&lock);
	*stats = (struct loam_node_stats){.free = known_zero[node].count};
	for (unsigned i = 0; i < loam_zone_count; i++) {
		stats->total += loam_zone[i].node == node ? loam_zone[i].usable : 0;
		stats->free += loam_zone[i].node == node ? loam_zone[i].buddy.free_frames : 0;
	}
	loam_unlock(&lock, irq);
	return LOAM_OK;
}

enum loam_err loam_frame_node(struct loam_pfn pfn, unsigned *node)
{
	const struct loam_zone *z = loam_zone_of(pfn);

	if (z == NULL)
		return LOAM_NOENT;
	*node = z->node;
	return LOAM_OK;
}

void loam_frame_stats(struct loam_frame_stats *stats)
{
	uintptr_t irq;

	if (loam_zone_count == 0) {
		*stats = last;
		return;
	}
	irq = loam_lock(&lock);
	*stats = (struct loam_frame_stats){0};
	stats->intake = intake;
	stats->total = total_frames;
	stats->zeroed = zeroed;
	stats->known_zero = known_zero_count();
	stats->meta_bytes = meta_bytes;
	stats->zone_count = loam_zone_count;
	for (unsigned i = 0; i < loam_zone_count; i++) {
		for (unsigned k = 0; k < LOAM_ORDER_COUNT; k++)
			stats->free_blocks[k] += loam_zone[i].buddy.order[k].free_blocks;
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

enum loam_err loam_frame_init(const struct loam_memmap *map)
{
	struct loam_zone_totals totals;
	enum loam_err err;

	LOAM_CHECK(loam_zone_count == 0, "loam_frame_init called twice");
	if (map->count == 0)
		return LOAM_INVAL;
	err = loam_zone_init(map, &totals);
	if (err != LOAM_OK) {
		loam_frame_reset();
		return err;
	}
	last = (struct loam_frame_stats){0};
	total_frames = totals.frames;
	intake = totals.free_frames;
	meta_bytes = totals.meta_bytes;
	owner_frames[LOAM_OWNER_NONE] = totals.free_frames;
	owner_frames[LOAM_OWNER_META] = totals.meta_frames;
	loam_framecache_init(total_frames);
	return LOAM_OK;
}

void loam_frame_reset(void)
{
	loam_zone_reset();
	memset(owner_frames, 0, sizeof(owner_frames));
	total_frames = 0;
	meta_bytes = 0;
	zeroed = 0;
	memset(known_zero, 0, sizeof(known_zero));
	zeroing = 0;
	fail_armed = false;
	loam_framecache_reset();
	lock.held = 0; /* a test may come here out of an expected panic */
}

/* ---- verify ---- */

static void verify_zone(struct loam_zone *z, uint64_t *owned)
{
	loam_buddy_verify(&z->buddy);
	for (uint64_t i = 0; i < z->count;) {
		const struct loam_frame_record *r = &z->record[i];

		if (r->state != LOAM_FRAME_HEAD) {
			i++;
			continue;
		}
		LOAM_CHECK(owner_ok((enum loam_owner)r->owner) ||
				   (r->owner == LOAM_OWNER_NONE && r->order == 0),
			   "[FRAME-1] run without an owner");
		for (uint64_t k = 0; k < (uint64_t)1 << r->order; k++) {
			LOAM_CHECK(!loam_buddy_is_free(&z->buddy, loam_pfn(z->base + i + k)),
				   "[FRAME-1] frame both allocated and free");
			LOAM_CHECK(k == 0 || r[k].state != LOAM_FRAME_HEAD,
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
	for (unsigned i = 0; i < loam_zone_count; i++)
		verify_zone(&loam_zone[i], owned);
	LOAM_CHECK(owned[LOAM_OWNER_NONE] == known_zero_count() + zeroing,
		   "[FRAME-1] a known-zero frame is in no list");
	for (unsigned i = 0; i < loam_zone_count; i++)
		owned[LOAM_OWNER_NONE] += loam_zone[i].buddy.free_frames;
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		LOAM_CHECK(owned[o] == owner_frames[o] + moved[o],
			   "[FRAME-2] an owner's count is wrong");
		sum += owned[o];
	}
	LOAM_CHECK(sum == total_frames, "[FRAME-2] the owners do not sum to the total");
	loam_unlock(&lock, irq);
}

void loam_frame_shutdown(void)
{
	struct loam_frame_stats left;
	uintptr_t irq;

	(void)loam_framecache_drain(true);
	irq = loam_lock(&lock);
	for (unsigned node = 0; node < LOAM_NODE_MAX; node++)
		(void)drain_locked(node);
	loam_unlock(&lock, irq);
	LOAM_VERIFY(loam_frame_verify());
	loam_frame_stats(&left);
	LOAM_CHECK(left.free == left.intake, "[SHUT-1] frames are missing at shutdown: those of "
					     "owner table and meta are loam's alone");
	loam_frame_reset();
	last = left;
}
