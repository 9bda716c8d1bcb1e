/* SPDX-License-Identifier: MIT */
/*
 * Buddy allocation on bitmaps.
 *
 * For each order a bitmap says which of its naturally aligned blocks are free, and above each
 * bitmap stands a 64-ary tree of summaries, so the lowest free block of an order is found with
 * one count-trailing-zeros a level: 5 for 4 TiB of frames. There are no lists: the frames are
 * never touched (they may be known to be zero), and the lowest address always goes first, which
 * keeps the high end whole (Knuth, TAOCP 2.5, for the buddy system; address-ordered first fit
 * for why it fragments little). Metadata: 2 bits a frame and 1/63 of that for the summaries.
 *
 *   [BUDDY-1] No frame is in two free blocks.
 *   [BUDDY-2] No two buddies of one order are both free: blocks are merged as far as they go.
 *   [BUDDY-3] A summary bit is set just when the word below it is not zero.
 *   [BUDDY-4] Counts, order_mask and free_frames agree with the bitmaps.
 *
 * Block numbers are absolute (pfn >> order), so buddies differ in bit 0 wherever the stretch
 * begins. A freed block is checked against every order: a larger or equal free block around it
 * (one bit test an order), smaller ones inside it (a scan of the bits it spans).
 * Concurrency: none; the caller locks (mm/frame.c).
 */
#include "mm/buddy.h"

#include "arch/check.h"

void *memset(void *dst, int c, size_t n);

/* ---- one order ---- */

static uint64_t words_for(uint64_t bits)
{
	return (bits + 63) / 64;
}

static uint64_t block_count(uint64_t base, uint64_t count, unsigned order)
{
	return ((base + count - 1) >> order) - (base >> order) + 1;
}

static bool order_test(const struct loam_buddy *buddy, unsigned order, uint64_t pfn)
{
	const struct loam_buddy_order *o = &buddy->order[order];
	uint64_t i = (pfn >> order) - o->first;

	return (o->map[0][i / 64] >> (i % 64) & 1) != 0;
}

static void order_set(struct loam_buddy *buddy, unsigned order, uint64_t pfn)
{
	struct loam_buddy_order *o = &buddy->order[order];
	uint64_t i = (pfn >> order) - o->first;

	for (unsigned d = 0; d < o->depth; d++, i /= 64) {
		uint64_t old = o->map[d][i / 64];

		o->map[d][i / 64] = old | (uint64_t)1 << (i % 64);
		if (old != 0)
			break;
	}
	o->free_blocks++;
	buddy->order_mask |= 1u << order;
}

static void order_clear(struct loam_buddy *buddy, unsigned order, uint64_t pfn)
{
	struct loam_buddy_order *o = &buddy->order[order];
	uint64_t i = (pfn >> order) - o->first;

	for (unsigned d = 0; d < o->depth; d++, i /= 64) {
		o->map[d][i / 64] &= ~((uint64_t)1 << (i % 64));
		if (o->map[d][i / 64] != 0)
			break;
	}
	if (--o->free_blocks == 0)
		buddy->order_mask &= ~(1u << order);
}

/* Lowest free block; there is one. */
static uint64_t order_first(const struct loam_buddy *buddy, unsigned order)
{
	const struct loam_buddy_order *o = &buddy->order[order];
	uint64_t i = 0;

	for (unsigned d = o->depth; d-- > 0;)
		i = i * 64 + (unsigned)__builtin_ctzll(o->map[d][i]);
	return (o->first + i) << order;
}

/* Is any block of `order` inside [pfn, pfn + frames) free? The range is aligned to the order. */
static bool order_any(const struct loam_buddy *buddy, unsigned order, uint64_t pfn, uint64_t frames)
{
	const struct loam_buddy_order *o = &buddy->order[order];
	uint64_t i = (pfn >> order) - o->first, end = i + (frames >> order);

	while (i < end) {
		uint64_t in_word = 64 - i % 64;
		uint64_t n = end - i < in_word ? end - i : in_word;
		uint64_t mask = (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << (i % 64);

		if ((o->map[0][i / 64] & mask) != 0)
			return true;
		i += n;
	}
	return false;
}

/* ---- set-up ---- */

uint64_t loam_buddy_meta_bytes(struct loam_pfn base, uint64_t count)
{
	uint64_t words = 0;

	for (unsigned order = 0; order < LOAM_ORDER_COUNT; order++) {
		uint64_t bits = block_count(base.raw, count, order);

		do {
			bits = words_for(bits);
			words += bits;
		} while (bits > 1);
	}
	return words * 8;
}

void loam_buddy_init(struct loam_buddy *buddy, struct loam_pfn base, uint64_t count, void *meta)
{
	uint64_t *next = meta;

	LOAM_CHECK(count > 0, "a buddy needs at least one frame");
	memset(buddy, 0, sizeof(*buddy));
	memset(meta, 0, loam_buddy_meta_bytes(base, count));
	buddy->base = base.raw;
	buddy->count = count;
	for (unsigned order = 0; order < LOAM_ORDER_COUNT; order++) {
		struct loam_buddy_order *o = &buddy->order[order];
		uint64_t bits = block_count(base.raw, count, order);

		o->first = base.raw >> order;
		do {
			LOAM_CHECK(o->depth < LOAM_BUDDY_DEPTH,
				   "more frames than a buddy can cover");
			bits = words_for(bits);
			o->map[o->depth++] = next;
			next += bits;
		} while (bits > 1);
	}
}

/* ---- blocks ---- */

static bool covered(const struct loam_buddy *buddy, uint64_t pfn, uint64_t frames)
{
	return pfn >= buddy->base && pfn - buddy->base <= buddy->count &&
	       buddy->count - (pfn - buddy->base) >= frames;
}

bool loam_buddy_is_free(const struct loam_buddy *buddy, struct loam_pfn pfn)
{
	for (unsigned order = 0; order < LOAM_ORDER_COUNT; order++) {
		if (order_test(buddy, order, pfn.raw))
			return true;
	}
	return false;
}

static void check_free(const struct loam_buddy *buddy, uint64_t pfn, unsigned order)
{
	uint64_t frames = (uint64_t)1 << order;

	LOAM_CHECK(order <= LOAM_ORDER_MAX, "frame freed with an order beyond the largest");
	LOAM_CHECK(covered(buddy, pfn, frames), "frame freed that this zone does not have");
	LOAM_CHECK(loam_is_aligned(pfn, frames), "frame freed that is not aligned to its order");
	for (unsigned k = order; k < LOAM_ORDER_COUNT; k++)
		LOAM_CHECK(!order_test(buddy, k, pfn), "double free of a frame");
	for (unsigned k = 0; k < order; k++)
		LOAM_CHECK(!order_any(buddy, k, pfn, frames),
			   "double free: a part of the run is free already");
}

void loam_buddy_free(struct loam_buddy *buddy, struct loam_pfn pfn, unsigned order)
{
	uint64_t at = pfn.raw;

	if (LOAM_DEBUG >= 1) /* a scan of every order; mm/frame.c checks what it frees by records */
		check_free(buddy, at, order);
	buddy->free_frames += (uint64_t)1 << order;
	for (; order < LOAM_ORDER_MAX; order++) {
		uint64_t frames = (uint64_t)1 << order, other = at ^ frames;

		if (!covered(buddy, other, frames) || !order_test(buddy, order, other))
			break;
		order_clear(buddy, order, other);
		at &= ~frames;
	}
	order_set(buddy, order, at);
}

void loam_buddy_add(struct loam_buddy *buddy, struct loam_pfn pfn, uint64_t count)
{
	uint64_t at = pfn.raw, end = at + count;

	LOAM_CHECK(covered(buddy, at, count), "frames added that this zone does not cover");
	while (at < end) {
		unsigned order = LOAM_ORDER_MAX;

		while (!loam_is_aligned(at, (uint64_t)1 << order) || end - at < (uint64_t)1
											<< order)
			order--;
		loam_buddy_free(buddy, loam_pfn(at), order);
		at += (uint64_t)1 << order;
	}
}

enum loam_err loam_buddy_alloc(struct loam_buddy *buddy, unsigned order, struct loam_pfn *pfn)
{
	uint32_t fits = order <= LOAM_ORDER_MAX ? buddy->order_mask >> order << order : 0;
	unsigned k;
	uint64_t at;

	if (fits == 0)
		return LOAM_NOMEM;
	k = (unsigned)__builtin_ctz(fits);
	at = order_first(buddy, k);
	order_clear(buddy, k, at);
	while (k-- > order)
		order_set(buddy, k, at + ((uint64_t)1 << k));
	buddy->free_frames -= (uint64_t)1 << order;
	*pfn = loam_pfn(at);
	return LOAM_OK;
}

enum loam_err loam_buddy_alloc_at(struct loam_buddy *buddy, struct loam_pfn pfn, unsigned order)
{
	unsigned k = order;
	uint64_t at;

	if (order > LOAM_ORDER_MAX || !covered(buddy, pfn.raw, (uint64_t)1 << order) ||
	    !loam_is_aligned(pfn.raw, (uint64_t)1 << order))
		return LOAM_NOMEM;
	while (k < LOAM_ORDER_COUNT && !order_test(buddy, k, pfn.raw))
		k++;
	if (k == LOAM_ORDER_COUNT)
		return LOAM_NOMEM;
	at = loam_align_down(pfn.raw, (uint64_t)1 << k);
	order_clear(buddy, k, at);
	while (k-- > order) {
		uint64_t half = (uint64_t)1 << k;

		/* keep the half that holds pfn, free the other */
		if ((pfn.raw & half) != 0) {
			order_set(buddy, k, at);
			at += half;
		} else {
			order_set(buddy, k, at + half);
		}
	}
	buddy->free_frames -= (uint64_t)1 << order;
	return LOAM_OK;
}

/* ---- verify ---- */

static void verify_block(const struct loam_buddy *buddy, unsigned order, uint64_t pfn)
{
	uint64_t frames = (uint64_t)1 << order;

	LOAM_CHECK(covered(buddy, pfn, frames), "[BUDDY-1] free block sticks out of the zone");
	for (unsigned k = order + 1; k < LOAM_ORDER_COUNT; k++)
		LOAM_CHECK(!order_test(buddy, k, pfn), "[BUDDY-1] frame in two free blocks");
	if (order < LOAM_ORDER_MAX && covered(buddy, pfn ^ frames, frames))
		LOAM_CHECK(!order_test(buddy, order, pfn ^ frames), "[BUDDY-2] buddies not merged");
}

static void verify_order(const struct loam_buddy *buddy, unsigned order, uint64_t *frames)
{
	const struct loam_buddy_order *o = &buddy->order[order];
	uint64_t bits = block_count(buddy->base, buddy->count, order), found = 0;

	for (uint64_t i = 0; i < bits; i++) {
		if ((o->map[0][i / 64] >> (i % 64) & 1) != 0) {
			verify_block(buddy, order, (o->first + i) << order);
			found++;
		}
	}
	for (unsigned d = 0; d + 1 < o->depth; d++) {
		bits = words_for(bits);
		for (uint64_t i = 0; i < bits; i++)
			LOAM_CHECK((o->map[d][i] != 0) == (o->map[d + 1][i / 64] >> (i % 64) & 1),
				   "[BUDDY-3] summary disagrees with its word");
	}
	LOAM_CHECK(found == o->free_blocks, "[BUDDY-4] count of free blocks is wrong");
	LOAM_CHECK((found != 0) == (buddy->order_mask >> order & 1),
		   "[BUDDY-4] order_mask is wrong");
	*frames += found << order;
}

void loam_buddy_verify(const struct loam_buddy *buddy)
{
	uint64_t frames = 0;

	for (unsigned order = 0; order < LOAM_ORDER_COUNT; order++)
		verify_order(buddy, order, &frames);
	LOAM_CHECK(frames == buddy->free_frames, "[BUDDY-4] free_frames is wrong");
}
