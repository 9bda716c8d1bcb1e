/* SPDX-License-Identifier: MIT */
/*
 * Marking, with the world stopped.
 *
 * Conservative where nothing better is known: any word of a root, a stack or an untyped object
 * that points into a slot in use, to its start or anywhere inside, keeps that object. A pointer
 * one past the end keeps the next slot, not this one, as in Go. Typed objects are scanned by
 * their pointer bits, noscan ones not at all.
 *
 * There is no recursion. A span with marked objects that were not scanned waits in a queue, once, however
 * many they are; when its turn comes, all of them are scanned in the order of memory: so pages are visited
 * few times and for many objects. Objects of 16 bytes and large ones wait on a stack of fixed size. When it is
 * full, the object is marked all the same and its span flagged; once nothing waits, the marked objects
 * of flagged spans are scanned again, until no flag is left. Every round marks at least one new
 * object or ends, so it terminates; how small the stack is decides only how long it takes.
 *
 *   [MARK-1] When marking ends, everything that a marked object points to is marked.
 *
 * Nothing here takes a lock or allocates: all other threads are stopped, none inside.
 * Reference: Boehm and Weiser, "Garbage Collection in an Uncooperative Environment".
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

#define STACK_BYTES ((uint64_t)256 << 10)
#define AHEAD	    8u
#define PIECE	    4096u /* bytes of a root range */

static uintptr_t *stack;		 /* init */
static uint64_t stack_limit;		 /* entries in use by policy */
static uint64_t stack_count;		 /* stopped */
static bool overflowed;			 /* stopped */
static uint64_t marked_bytes;		 /* stopped */
static uint32_t queue_first, queue_last; /* stopped: numbers of records; 0: empty */

enum loam_err loam_mark_init(void)
{
	void *p;
	enum loam_err err = loam_sys_alloc(STACK_BYTES, LOAM_OWNER_GC, &p);

	if (err != LOAM_OK)
		return err;
	stack = p;
	loam_mark_limit(0);
	return LOAM_OK;
}

void loam_mark_reset(void)
{
	enum loam_err err = loam_sys_free((uintptr_t)stack, STACK_BYTES);

	LOAM_CHECK(err == LOAM_OK, "the mark stack could not be freed");
	stack = NULL;
}

void loam_mark_limit(uint64_t entries)
{
	uint64_t all = STACK_BYTES / sizeof(*stack);

	stack_limit = entries == 0 || entries > all ? all : entries;
}

/* ---- the queue of spans ---- */

static void enqueue(struct loam_span *span, uint64_t slot)
{
	uint32_t number = loam_span_number(span);

	if (span->queued != 0) {
		span->queued = 2;
		return;
	}
	span->queued = 1;
	span->queue_slot = (uint16_t)slot;
	span->queue_next = 0;
	if (queue_last != 0)
		loam_span_record(queue_last)->queue_next = number;
	else
		queue_first = number;
	queue_last = number;
}

static struct loam_span *dequeue(void)
{
	struct loam_span *span = loam_span_record(queue_first);

	queue_first = span->queue_next;
	if (queue_first == 0)
		queue_last = 0;
	return span;
}

/* Mark what `word` points to, if anything. */
static void mark_word(uintptr_t word)
{
	struct loam_span *span;
	uint64_t slot, bit;

	if (word - loam_heap.base >= loam_heap.mapped_bytes)
		return;
	span = loam_span_at_page(loam_page_index(word));
	slot = loam_span_slot(span, word);
	if (slot >= span->slots || !loam_span_slot_used(span, slot))
		return;
	bit = (uint64_t)1 << (slot % 64);
	if ((span->mark_bits[slot / 64] & bit) != 0)
		return;
	span->mark_bits[slot / 64] |= bit;
	marked_bytes += span->slot_bytes;
	if (span->scan == LOAM_SCAN_NONE)
		return;
	if (loam_span_batched(span)) {
		enqueue(span, slot);
	} else if (stack_count < stack_limit) {
		stack[stack_count++] = span->base + slot * span->slot_bytes;
	} else {
		span->rescan = true;
		overflowed = true;
	}
}

/* Words of memory that may be anything, and may be poisoned for a sanitizer. */
LOAM_NO_SANITIZE static void scan_words(uintptr_t lo, uintptr_t hi)
{
	const uintptr_t *at = (const uintptr_t *)lo;
	const uintptr_t *end = (const uintptr_t *)loam_align_down(hi, sizeof(*end));
	uintptr_t base = loam_heap.base, mapped = loam_heap.mapped_bytes;

	/* much of most memory is zero: four words cost little more than one */
	while (end - at >= 4) {
		if ((at[0] | at[1] | at[2] | at[3]) != 0) {
			for (unsigned i = 0; i < 4; i++) {
				if (__builtin_expect(at[i] - base < mapped, 0))
					mark_word(at[i]);
			}
		}
		at += 4;
	}
	for (; at < end; at++) {
		if (__builtin_expect(*at - base < mapped, 0))
			mark_word(*at);
	}
}

static void drain_stack(void);

/* In pieces: a long range must not fill the stack. Spans wait meanwhile, the longer the better. */
static void scan_pieces(uintptr_t from, uintptr_t end)
{
	for (; from < end; from += PIECE) {
		scan_words(from, end - from > PIECE ? from + PIECE : end);
		drain_stack();
	}
}

/*
 * A root range or a stack. The records of attached threads may lie in one, in a kernel's .bss for instance;
 * they hold addresses of slots, and are passed over: the collector's own data is not a root.
 */
static void scan_range(void *arg, const void *lo, const void *hi)
{
	uintptr_t from = loam_align_up((uintptr_t)lo, sizeof(uintptr_t)), end = (uintptr_t)hi;
	uint64_t *bytes = arg;

	if (bytes != NULL)
		*bytes += (uintptr_t)hi - (uintptr_t)lo;
	while (from < end) {
		const struct loam_cache *first = NULL;

		for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next) {
			if ((uintptr_t)t < end && (uintptr_t)(t + 1) > from &&
			    (first == NULL || t < first))
				first = t;
		}
		scan_pieces(from, first != NULL ? (uintptr_t)first : end);
		from = first != NULL ? (uintptr_t)(first + 1) : end;
	}
}

LOAM_NO_SANITIZE static void scan_typed(const struct loam_span *span, uintptr_t base)
{
	const uint64_t *bits = (const uint64_t *)loam_heap.pointer_bits.base;
	uint64_t first = (base - loam_heap.base) / 8, end = first + span->slot_bytes / 8;

	if (span->slot_bytes == LOAM_GRANULE) {
		uint64_t slot = loam_span_slot(span, base);

		mark_word(((const uintptr_t *)base)[loam_pointer_bit(span, slot, 1)]);
		return;
	}
	for (uint64_t at = first; at < end;) {
		uint64_t word = bits[at / 64] >> (at % 64), next = (at / 64 + 1) * 64;

		if (next > end)
			word &= ((uint64_t)1 << (end - at)) - 1;
		for (; word != 0; word &= word - 1)
			mark_word(((const uintptr_t *)
					   base)[at - first + (unsigned)__builtin_ctzll(word)]);
		at = next;
	}
}

static void scan_object(const struct loam_span *span, uintptr_t base)
{
	if (span->scan == LOAM_SCAN_TYPED)
		scan_typed(span, base);
	else if (span->scan == LOAM_SCAN_WORDS)
		scan_words(base, base + span->slot_bytes);
}

static void scan_slot(struct loam_span *span, uint64_t slot)
{
	loam_span_scan_bits(span)[slot / 64] |= (uint64_t)1 << (slot % 64);
	scan_object(span, span->base + slot * span->slot_bytes);
}

/* The memory of an object that is scanned soon. */
static inline void ask_for(const struct loam_span *span, uint64_t slot)
{
	uintptr_t at = span->base + slot * span->slot_bytes;

	for (uint64_t i = 0; i < span->slot_bytes && i < 512; i += 64)
		__builtin_prefetch((void *)(at + i));
}

/* Scan what is marked in the span and was not scanned yet, upwards through memory. */
static void scan_span(struct loam_span *span)
{
	uint64_t *scanned = loam_span_scan_bits(span);
	bool one = span->queued == 1;

	span->queued = 0; /* before: what is marked meanwhile is for the next turn */
	if (one) {
		scan_slot(span, span->queue_slot);
		return;
	}
	for (uint32_t w = 0; w < loam_span_words(span); w++) {
		for (uint64_t waiting = span->mark_bits[w] & ~scanned[w]; waiting != 0;) {
			unsigned bit = (unsigned)__builtin_ctzll(waiting);

			waiting &= waiting - 1;
			if (waiting != 0)
				ask_for(span, w * 64 + (unsigned)__builtin_ctzll(waiting));
			scan_slot(span, w * 64 + bit);
		}
	}
}

/* Scan single objects until none waits. Each is asked for some objects before its turn, so that its
 * memory is on the way while others are scanned. */
static void drain_stack(void)
{
	uintptr_t ahead[AHEAD] = {0};
	unsigned at = 0, asked = 0;

	while (stack_count > 0 || asked > 0) {
		uintptr_t base = ahead[at], next = 0;

		if (stack_count > 0) {
			next = stack[--stack_count];
			__builtin_prefetch((void *)next);
			asked++;
		}
		ahead[at] = next;
		at = (at + 1) % AHEAD;
		if (base == 0)
			continue;
		asked--;
		scan_object(loam_span_at_page(loam_page_index(base)), base);
	}
}

/* Scan what waits, until nothing does. Single objects first: the longer a span waits, the more of it is
 * scanned at once (the idea of Go's Green Tea collector). */
static void drain(void)
{
	for (;;) {
		drain_stack();
		if (queue_first == 0)
			return;
		scan_span(dequeue());
	}
}

/* Scan the marked objects of a span whose turn was lost; the stack is drained in between. */
static void rescan_span(struct loam_span *span)
{
	span->rescan = false;
	for (uint64_t slot = 0; slot < span->slots; slot++) {
		if ((span->mark_bits[slot / 64] >> (slot % 64) & 1) == 0)
			continue;
		scan_object(span, span->base + slot * span->slot_bytes);
		drain();
	}
}

static void clear_marks(void)
{
	for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
		memset(s->mark_bits, 0, loam_span_words(s) * 8);
		if (loam_span_batched(s))
			memset(loam_span_scan_bits(s), 0, loam_span_words(s) * 8);
		s->queued = 0;
		s->rescan = false;
		loam_remote_apply_stopped(s);
	}
}

/* [CACHE-1]: what is claimed and nobody's is kept, and not scanned. */
static void mark_claimed(void)
{
	for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next) {
		for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++) {
			struct loam_bin *bin = &t->bin[i];

			if (bin->span == NULL)
				continue;
			bin->span->mark_bits[bin->span->window_word] |= loam_bin_claimed(bin);
			if (loam_span_batched(bin->span))
				loam_span_scan_bits(bin->span)[bin->span->window_word] |=
					loam_bin_claimed(bin);
		}
	}
}

uint64_t loam_mark_all(const void *sp, uint64_t *stack_bytes)
{
	const struct loam_cache *self = loam_cache_self();

	clear_marks();
	stack_count = 0;
	queue_first = queue_last = 0;
	marked_bytes = 0;
	overflowed = false;
	*stack_bytes = 0;
	mark_claimed();
	scan_range(stack_bytes, sp, self->stack_base);
	loam_host_stacks(scan_range, stack_bytes);
	loam_roots_visit(scan_range, NULL);
	loam_pins_visit(scan_range, NULL);
	drain();
	while (overflowed) {
		overflowed = false;
		for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
			if (s->rescan)
				rescan_span(s);
		}
	}
	return marked_bytes;
}

/* ---- the second marker: every child of a marked object is marked ---- */

static void check_word(uintptr_t word)
{
	struct loam_span *span;
	uint64_t slot;

	if (word - loam_heap.base >= loam_heap.mapped_bytes)
		return;
	span = loam_span_of(word);
	if (span == NULL)
		return;
	slot = loam_span_slot(span, word);
	if (slot >= span->slots || !loam_span_slot_used(span, slot))
		return;
	LOAM_CHECK((span->mark_bits[slot / 64] >> (slot % 64) & 1) != 0,
		   "[MARK-1] a marked object points to one that is not marked");
}

LOAM_NO_SANITIZE static void check_object(const struct loam_span *span, uint64_t slot)
{
	uintptr_t base = span->base + slot * span->slot_bytes;

	if (loam_span_current(span) &&
	    loam_bin_holds(loam_bin_of(loam_cache_by_id(span->owner), span), span, slot))
		return; /* nobody's yet: never scanned */
	for (uint64_t i = 0; i < span->slot_bytes / 8; i++) {
		if (span->scan == LOAM_SCAN_WORDS || loam_pointer_bit(span, slot, i))
			check_word(((const uintptr_t *)base)[i]);
	}
}

void loam_mark_check(void)
{
	for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
		for (uint64_t slot = 0; s->scan != LOAM_SCAN_NONE && slot < s->slots; slot++) {
			if ((s->mark_bits[slot / 64] >> (slot % 64) & 1) != 0)
				check_object(s, slot);
		}
	}
}
