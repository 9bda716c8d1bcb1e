/* SPDX-License-Identifier: MIT */
/*
 * Reading memory that is scanned: its words that may be pointers into the heap.
 *
 * They are only gathered here; what they point to is looked up afterwards (mark.c), so many loads are under way at once. Whatever
 * the words are, the CPU has no branch to guess wrong, but that much of most memory is zero. Memory may be anything, and
 * may be poisoned for a sanitizer; the program may write it meanwhile.
 */
#ifndef LOAM_GC_WORDS_H
#define LOAM_GC_WORDS_H

#include "gc/heap.h"

/* Pointers go to found[count] and behind it, all below FOUND. */
#define LOAM_WORDS_FOUND 64u
/* No more is read at once than there is room for. */
#define LOAM_WORDS_CHUNK ((uintptr_t)128)

struct loam_words {
	uintptr_t base, mapped; /* where the heap is */
	unsigned count;
	uintptr_t found[LOAM_WORDS_FOUND];
};

static inline void loam_words_begin(struct loam_words *w)
{
	w->base = loam_heap.base;
	/* relaxed: what the heap has grown by since is marked already */
	w->mapped = __atomic_load_n(&loam_heap.mapped_bytes, __ATOMIC_RELAXED);
	w->count = 0;
}

static inline bool loam_words_full(const struct loam_words *w)
{
	return w->count > LOAM_WORDS_FOUND - LOAM_WORDS_CHUNK / 8;
}

/* Any word of [lo, hi), a chunk at most. Not full. */
LOAM_NO_SANITIZE static inline void loam_words_read(struct loam_words *w, uintptr_t lo,
						    uintptr_t hi)
{
	const uintptr_t *at = (const uintptr_t *)lo;
	const uintptr_t *end = (const uintptr_t *)loam_align_down(hi, sizeof(*end));
	uintptr_t base = w->base, mapped = w->mapped, *found = w->found;
	unsigned n = w->count;

	for (; end - at >= 4; at += 4) {
		uintptr_t first = __atomic_load_n(&at[0], __ATOMIC_RELAXED);
		uintptr_t second = __atomic_load_n(&at[1], __ATOMIC_RELAXED);
		uintptr_t third = __atomic_load_n(&at[2], __ATOMIC_RELAXED);
		uintptr_t fourth = __atomic_load_n(&at[3], __ATOMIC_RELAXED);

		if ((first | second | third | fourth) == 0)
			continue;
		found[n] = first;
		n += first - base < mapped;
		found[n] = second;
		n += second - base < mapped;
		found[n] = third;
		n += third - base < mapped;
		found[n] = fourth;
		n += fourth - base < mapped;
	}
	for (; at < end; at++) {
		found[n] = __atomic_load_n(at, __ATOMIC_RELAXED);
		n += found[n] - base < mapped;
	}
	w->count = n;
}

/* Words of [lo, hi), a chunk at most, in one typed slot: as its pointer bits say. Not full. */
LOAM_NO_SANITIZE static inline void loam_words_read_typed(struct loam_words *w,
							  const struct loam_span *span,
							  uintptr_t lo, uintptr_t hi)
{
	const uint64_t *bits = (const uint64_t *)loam_heap.pointer_bits.base;
	const uintptr_t *heap = (const uintptr_t *)w->base;
	uint64_t at = (lo - w->base) / 8, end = (hi - w->base) / 8;
	unsigned n = w->count;

	if (span->slot_bytes == LOAM_GRANULE) {
		/* one bit for its two words, and [lo, hi) is both */
		at += loam_pointer_bit(span, loam_span_slot(span, lo), 1);
		w->found[n] = __atomic_load_n(&heap[at], __ATOMIC_RELAXED);
		w->count += w->found[n] - w->base < w->mapped;
		return;
	}
	for (uint64_t next; at < end; at = next) {
		uint64_t word = bits[at / 64] >> (at % 64);

		next = (at / 64 + 1) * 64;
		if (next > end)
			word &= ((uint64_t)1 << (end - at)) - 1;
		for (; word != 0; word &= word - 1) {
			uint64_t i = at + (unsigned)__builtin_ctzll(word);

			w->found[n] = __atomic_load_n(&heap[i], __ATOMIC_RELAXED);
			n += w->found[n] - w->base < w->mapped;
		}
	}
	w->count = n;
}

/*
 * How an object that waits by itself is written down: its address, and in the lower bits which of its words may be pointers. Of
 * 16 bytes: the first, the second or both. Others up to a chunk, all of them: how many granules, less one. 0: its span knows.
 */
#define LOAM_WORDS_FIRST  ((uintptr_t)13)
#define LOAM_WORDS_SECOND ((uintptr_t)14)
#define LOAM_WORDS_BOTH	  ((uintptr_t)15)
_Static_assert(LOAM_WORDS_CHUNK / LOAM_GRANULE - 1 < LOAM_WORDS_FIRST, "a chunk has a code");

/* Of an untyped object of so many, more than 16. */
static inline uintptr_t loam_words_code(uint64_t bytes)
{
	return bytes > LOAM_WORDS_CHUNK ? 0 : bytes / LOAM_GRANULE - 1;
}

/* How many bytes are read; 0: its span knows. */
static inline uintptr_t loam_words_bytes(uintptr_t single)
{
	uintptr_t code = single % LOAM_GRANULE;

	if (code == 0)
		return 0;
	return code >= LOAM_WORDS_FIRST ? LOAM_GRANULE : (code + 1) * LOAM_GRANULE;
}

/* Not full. */
LOAM_NO_SANITIZE static inline void loam_words_read_single(struct loam_words *w, uintptr_t single)
{
	const uintptr_t *p = (const uintptr_t *)loam_align_down(single, LOAM_GRANULE);
	uintptr_t first = __atomic_load_n(&p[0], __ATOMIC_RELAXED);
	uintptr_t second = __atomic_load_n(&p[1], __ATOMIC_RELAXED);
	unsigned n = w->count;

	if (__builtin_expect(single % LOAM_GRANULE != LOAM_WORDS_BOTH, 0)) {
		first &= -(single & 1);
		second &= -(single / 2 & 1);
	}
	w->found[n] = first;
	n += first - w->base < w->mapped;
	w->found[n] = second;
	w->count = n + (second - w->base < w->mapped);
}

/* The same of many, all of whose words may be pointers. Not full. */
LOAM_NO_SANITIZE static inline void loam_words_read_singles(struct loam_words *w,
							    const uintptr_t *single, size_t count)
{
	uintptr_t base = w->base, mapped = w->mapped, *found = w->found;
	size_t n = w->count;

	for (const uintptr_t *end = single + count; single < end; single++) {
		const uintptr_t *p = (const uintptr_t *)loam_align_down(*single, LOAM_GRANULE);
		uintptr_t first = __atomic_load_n(&p[0], __ATOMIC_RELAXED);
		uintptr_t second = __atomic_load_n(&p[1], __ATOMIC_RELAXED);

		found[n] = first;
		n += first - base < mapped;
		found[n] = second;
		n += second - base < mapped;
	}
	w->count = (unsigned)n;
}

#endif
