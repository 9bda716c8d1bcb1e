/* SPDX-License-Identifier: MIT */
/*
 * Marking what lies nearby: objects of a span that is known already.
 *
 * Most objects point to others that were made about when they were, and so lie in the same span. To mark those there is little to
 * find out; and they are scanned next, while their memory is at hand. Those of a batched span take their scan bit at
 * once, so that the span's turn passes them over ([MARK-2] of mark.c).
 */
#ifndef LOAM_GC_NEAR_H
#define LOAM_GC_NEAR_H

#include "gc/mark.h"
#include "gc/words.h"

struct loam_near {
	uintptr_t base;
	uint64_t bytes; /* of its slots; 0: no span */
	uint64_t size, magic;
	struct loam_slot_bits *bits;
	uint64_t *scanned; /* if it is batched */
	uintptr_t code;	   /* how its objects are written down while they wait */
};

/* Of a span of small objects that are scanned. No span if marking one may be more than setting a bit: a key would not be told. */
static inline struct loam_near loam_near_of(const struct loam_span *span)
{
	struct loam_near n = {.base = span->base,
			      .bytes = span->slots * span->slot_bytes,
			      .size = span->slot_bytes,
			      .magic = span->magic,
			      .bits = span->bits,
			      .scanned = loam_span_scan_bits(span)};

	/* relaxed: set before the cycle, or the value has been shaded */
	if (__atomic_load_n(&span->keys, __ATOMIC_RELAXED))
		n.bytes = 0;
	if (span->scan == LOAM_SCAN_WORDS)
		n.code = loam_words_code(span->slot_bytes);
	return n;
}

static inline bool loam_near_has(const struct loam_near *n, uintptr_t word)
{
	return word - n->base < n->bytes;
}

/*
 * Mark a slot. False: it is marked, or not in use. By bytes if nobody else does ([WORK-3]): most neighbours share a word, and
 * a CPU reads a word that was just written later than its other bytes.
 */
static inline __attribute__((always_inline)) bool loam_near_set(const struct loam_near *n,
								uint64_t slot, bool solo)
{
	if (solo) {
		uint8_t *alloc = (uint8_t *)n->bits + slot / 8 + (slot / 8 & ~(uint64_t)7);
		uint8_t *mark = alloc + offsetof(struct loam_slot_bits, mark);
		uint32_t bit = (uint32_t)1 << (slot % 8),
			 was = __atomic_load_n(mark, __ATOMIC_RELAXED);

		if ((was & bit) != 0 || (__atomic_load_n(alloc, __ATOMIC_ACQUIRE) & bit) == 0)
			return false;
		__atomic_store_n(mark, (uint8_t)(was | bit), __ATOMIC_RELAXED);
	} else {
		struct loam_slot_bits *bits = &n->bits[slot / 64];
		uint64_t bit = (uint64_t)1 << (slot % 64);

		if ((__atomic_load_n(&bits->mark, __ATOMIC_RELAXED) & bit) != 0 ||
		    (__atomic_load_n(&bits->alloc, __ATOMIC_ACQUIRE) & bit) == 0 ||
		    (loam_mark_set_bits(&bits->mark, bit, false) & bit) != 0)
			return false;
	}
	return true;
}
_Static_assert(sizeof(struct loam_slot_bits) == 16 && offsetof(struct loam_slot_bits, mark) == 8,
	       "8 bytes of one kind, and 8 of the other; the lowest first");

/* Take the scan bit of a slot that has just been marked. False: it is taken, by who scans the span. */
static inline __attribute__((always_inline)) bool loam_near_scan(const struct loam_near *n,
								 uint64_t slot, bool solo)
{
	if (solo) {
		((uint8_t *)n->scanned)[slot / 8] |= (uint8_t)(1u << (slot % 8));
		return true;
	}
	return (loam_mark_set_bits(&n->scanned[slot / 64], (uint64_t)1 << (slot % 64), false) >>
			(slot % 64) &
		1) == 0;
}

/* What the words point to is marked, and waits, up to the first that points elsewhere; returns where that is. There is room
 * for all to wait. `solo`: the worker's; `granule`: the span is of 16-byte objects without types, which is not batched. */
static inline __attribute__((always_inline)) const uintptr_t *
loam_near_mark(const struct loam_near *n, struct loam_worker *w, const uintptr_t *word,
	       const uintptr_t *end, bool solo, bool granule)
{
	uintptr_t *first = &w->object[w->object_count], *waits = first;
	uint64_t size = granule ? LOAM_GRANULE : n->size, others = 0;

	for (; word < end && loam_near_has(n, *word); word++) {
		uint64_t at = *word - n->base;
		uint64_t slot = granule ? at / LOAM_GRANULE : at * n->magic >> 32;

		if (!loam_near_set(n, slot, solo))
			continue;
		if (granule)
			*waits++ = *word | LOAM_WORDS_BOTH;
		else if (loam_near_scan(n, slot, solo))
			*waits++ = (n->base + slot * size) | n->code;
		else
			others++;
	}
	w->object_count += (uint32_t)(waits - first);
	w->marked_bytes += ((uint64_t)(waits - first) + others) * size;
	return word;
}

#endif
