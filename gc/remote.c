/* SPDX-License-Identifier: MIT */
/*
 * Frees by threads that do not own the span.
 *
 * The owner of a span changes its alloc bits with plain stores; so others must not. They set the
 * slot's bit in the span's remote bits, with one atomic operation, and see to it that the owner
 * looks: the first one posts the span to the owner's inbox, a list to which anybody pushes and
 * which the owner takes whole. The owner looks when a span of its own runs dry.
 *
 * Inboxes are numbered, type-stable and reused; a thread that detaches closes its own. A push to a
 * closed inbox fails, and the sender looks again for who owns the span. A span may lie in the inbox of
 * a thread that owned it once: whoever finds it there sends it on.
 *
 *   [REMOTE-1] If a remote bit of a span is set, the span is posted, or about to be; or it was set while marking,
 *              and the sweep sees it.
 *   [REMOTE-2] `posted` and `inbox_next` belong to the inbox: they outlive the span, and nothing
 *              else writes them.
 *
 * Why no free is lost: the sender sets the bit, then reads `posted`; the owner clears `posted`, then
 * reads the bits; both with sequential consistency, so one of them sees the other.
 *
 * A double free whose two halves come from two threads is told to the second, if the first has
 * not yet been taken in; at the latest the owner finds it, says so in the log, and changes nothing.
 */
#include "gc/heap.h"
#include "mm/print.h"

#define INBOX_MAX LOAM_SPARE_ID

/* A cache line each: senders write here. */
struct inbox {
	struct loam_span *head;	  /* atomic; or CLOSED */
	struct loam_cache *cache; /* of the thread whose it is */
	uint32_t next_free; /* heap.lock: number of the next closed inbox that was once open */
} __attribute__((aligned(64)));

#define CLOSED ((struct loam_span *)8)

static struct loam_table inboxes; /* of struct inbox; number 0 is nobody's */
static uint32_t inbox_count;	  /* heap.lock: ever opened, and number 0 */
static uint32_t first_free;	  /* heap.lock */

static struct inbox *inbox(uint32_t id)
{
	return &((struct inbox *)inboxes.base)[id];
}

enum loam_err loam_remote_init(void)
{
	inbox_count = 1;
	first_free = 0;
	return loam_table_reserve(&inboxes, INBOX_MAX * sizeof(struct inbox));
}

void loam_remote_reset(void)
{
	loam_table_free(&inboxes);
}

enum loam_err loam_inbox_open(struct loam_cache *cache)
{
	enum loam_err err = LOAM_OK;
	uint32_t id;

	loam_gc_lock(&loam_heap.lock);
	id = first_free;
	if (id != 0) {
		first_free = inbox(id)->next_free;
	} else if (inbox_count < INBOX_MAX) {
		err = loam_table_grow(&inboxes, (inbox_count + 1) * sizeof(struct inbox));
		if (err == LOAM_OK)
			id = inbox_count++;
	} else {
		err = LOAM_LIMIT;
	}
	loam_gc_unlock(&loam_heap.lock);
	if (err != LOAM_OK)
		return err;
	cache->id = (uint16_t)id;
	inbox(id)->cache = cache;
	/* release: a sender that finds it open finds an empty list */
	__atomic_store_n(&inbox(id)->head, NULL, __ATOMIC_RELEASE);
	return LOAM_OK;
}

struct loam_cache *loam_cache_by_id(uint16_t id)
{
	return inbox(id)->cache;
}

static bool post(struct loam_span *span, uint16_t owner)
{
	struct inbox *box = inbox(owner);
	struct loam_span *head = __atomic_load_n(&box->head, __ATOMIC_RELAXED);

	do {
		if (head == CLOSED)
			return false;
		__atomic_store_n(&span->inbox_next, head, __ATOMIC_RELAXED);
		/* release: the link and the remote bits come first; partner: the acquire in take */
	} while (!__atomic_compare_exchange_n(&box->head, &head, span, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	return true;
}

/* The owner looks at the span sooner or later; false: there is no such owner any more. */
static bool announce(struct loam_span *span, uint16_t owner)
{
	/* seq_cst: after the remote bit was set; partner: the exchange in empty_inbox */
	if (__atomic_load_n(&span->posted, __ATOMIC_SEQ_CST) ||
	    __atomic_exchange_n(&span->posted, true, __ATOMIC_SEQ_CST))
		return true;
	if (post(span, owner))
		return true;
	__atomic_store_n(&span->posted, false, __ATOMIC_SEQ_CST);
	return false;
}

static void tell_double(const struct loam_span *span, uint32_t word, uint64_t bad)
{
	for (; bad != 0; bad &= bad - 1) {
		uint64_t slot = word * 64 + (unsigned)__builtin_ctzll(bad);

		loam_log(LOAM_LOG_ERROR, "loam: free of %p: freed already, by another thread\n",
			 (void *)(span->base + slot * span->slot_bytes));
	}
}

/* Returns how many slots became free. */
static uint32_t apply(struct loam_bin *bin, struct loam_span *span)
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < loam_span_words(span); w++) {
		uint64_t freed, used, claimed, good;

		/* seq_cst: after `posted` was cleared, [REMOTE-1] */
		if (__atomic_load_n(&span->remote_bits[w], __ATOMIC_SEQ_CST) == 0)
			continue;
		/* acquire: the last owner's writes come before ours; seq_cst for [REMOTE-1] */
		freed = __atomic_exchange_n(&span->remote_bits[w], 0, __ATOMIC_SEQ_CST);
		used = loam_span_alloc_word(span, w);
		claimed = bin->span == span && span->window_word == w ? loam_bin_claimed(bin) : 0;
		good = freed & used & ~claimed;
		if (good != freed)
			tell_double(span, w, freed & ~good);
		if (good == 0)
			continue;
		span->needzero = true;
		loam_span_set_word(span, w, used & ~good);
		count += loam_popcount(good);
	}
	span->used = (uint16_t)(span->used - count);
	bin->told += count; /* they are to come off heap.live, and are no frees of ours */
	return count;
}

void loam_remote_apply(struct loam_cache *cache, struct loam_span *span)
{
	bool full = span->used == span->slots;

	if (apply(loam_bin_of(cache, span), span) > 0)
		loam_span_freed_slots(cache, span, full);
}

/* A span with remote bits that is not ours, and whose last owner does not look: whoever owns it now
 * is told; if nobody does, we take it. A sender that found `posted` set relies on this. */
static void send_on(struct loam_cache *cache, struct loam_span *span)
{
	for (;;) {
		uint16_t owner = __atomic_load_n(&span->owner, __ATOMIC_ACQUIRE);

		if (owner == cache->id) {
			loam_remote_apply(cache, span);
			return;
		}
		if (owner == LOAM_SPARE_ID)
			return; /* with all of its slots */
		if (owner == 0)
			(void)loam_central_adopt(cache, span);
		else if (announce(span, owner))
			return;
	}
}

enum loam_err loam_remote_free(struct loam_cache *cache, struct loam_span *span, uint64_t slot,
			       uint16_t owner)
{
	uint64_t bit = (uint64_t)1 << (slot % 64);

	/* seq_cst: before `posted` is read; and our last writes to the object come first */
	if ((__atomic_fetch_or(&span->remote_bits[slot / 64], bit, __ATOMIC_SEQ_CST) & bit) != 0)
		return LOAM_NOENT;
	if (!announce(span, owner))
		send_on(cache, span);
	return LOAM_OK;
}

/* Everything that came to our inbox; what it is from now on: NULL, or CLOSED. */
static void empty_inbox(struct loam_cache *cache, struct loam_span *leave)
{
	/* acquire: partner of the release in post */
	struct loam_span *span =
		__atomic_exchange_n(&inbox(cache->id)->head, leave, __ATOMIC_ACQUIRE);

	while (span != NULL) {
		struct loam_span *next = __atomic_load_n(&span->inbox_next, __ATOMIC_RELAXED);

		/* seq_cst: before the bits are read; partner: announce */
		(void)__atomic_exchange_n(&span->posted, false, __ATOMIC_SEQ_CST);
		loam_sweep_ensure(cache, span); /* or the sweep misses what comes after its look */
		if (__atomic_load_n(&span->owner, __ATOMIC_ACQUIRE) == cache->id)
			loam_remote_apply(cache, span);
		else
			send_on(cache, span);
		span = next;
	}
}

void loam_remote_collect(struct loam_cache *cache)
{
	/* relaxed: what comes in just now is found the next time. Nothing is freed while marking: [SWEEP-2] */
	if (!loam_marking() && __atomic_load_n(&inbox(cache->id)->head, __ATOMIC_RELAXED) != NULL)
		empty_inbox(cache, NULL);
}

/* While marking, what came in waits for the sweep, which looks at every span. */
void loam_inbox_close(struct loam_cache *cache)
{
	if (!loam_marking()) {
		empty_inbox(cache, CLOSED);
		return;
	}
	for (struct loam_span *span =
		     __atomic_exchange_n(&inbox(cache->id)->head, CLOSED, __ATOMIC_ACQUIRE);
	     span != NULL;) {
		struct loam_span *next = __atomic_load_n(&span->inbox_next, __ATOMIC_RELAXED);

		(void)__atomic_exchange_n(&span->posted, false, __ATOMIC_SEQ_CST);
		span = next;
	}
}

void loam_inbox_release(struct loam_cache *cache)
{
	loam_gc_lock(&loam_heap.lock);
	inbox(cache->id)->next_free = first_free;
	first_free = cache->id;
	loam_gc_unlock(&loam_heap.lock);
	cache->id = 0;
}
