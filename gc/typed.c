/* SPDX-License-Identifier: MIT */
/*
 * Pointer bits: which words of typed objects are pointers.
 *
 * A bit a word, at the place of the object's address: 128 bytes a heap page. The table is
 * backed only behind spans that need it, in pieces that cover 1 MiB of heap each. Spans of 16-byte
 * slots use the first half of their part for remote bits (span.c); the second half then has a bit
 * a slot. One bit is enough there: objects of two words without a pointer are not scanned, those with
 * two are scanned word by word, and of those with one the bit tells which word it is.
 *
 *   [TYPED-1] Of a typed object in use, the bits are those of its type, tiled over its elements, and
 *             clear behind the last.
 *
 * Bits are written by the owner of the span, inside the allocator; slots share words.
 */
#include "gc/heap.h"

void *memset(void *dst, int c, size_t n);

#define PAGE_WORDS  16u	 /* of bits, a heap page */
#define PIECE_PAGES 128u /* heap pages that a piece covers */
#define PIECE_BYTES (PIECE_PAGES * PAGE_WORDS * 8)

static uint64_t *piece_word(uint64_t piece)
{
	return (uint64_t *)loam_heap.pointer_pieces.base + piece / 64;
}

static bool backed(uint64_t piece)
{
	/* acquire: the word is there, and then the piece; partners: the releases in back */
	if (piece / 8 >= __atomic_load_n(&loam_heap.pointer_pieces.ready, __ATOMIC_ACQUIRE))
		return false;
	return (__atomic_load_n(piece_word(piece), __ATOMIC_ACQUIRE) >> (piece % 64) & 1) != 0;
}

static enum loam_err back(uint64_t piece)
{
	enum loam_err err;

	loam_gc_lock(&loam_heap.lock);
	err = loam_table_grow(&loam_heap.pointer_pieces, piece / 8 + 1);
	if (err == LOAM_OK && !backed(piece))
		err = loam_table_back(&loam_heap.pointer_bits, piece * PIECE_BYTES, PIECE_BYTES);
	if (err == LOAM_OK)
		__atomic_fetch_or(piece_word(piece), (uint64_t)1 << (piece % 64), __ATOMIC_RELEASE);
	loam_gc_unlock(&loam_heap.lock);
	return err;
}

enum loam_err loam_pointer_bits_back(const struct loam_span *span)
{
	uint64_t page = loam_page_index(span->base);

	for (uint64_t i = page / PIECE_PAGES; i <= (page + span->pages - 1) / PIECE_PAGES; i++) {
		enum loam_err err = backed(i) ? LOAM_OK : back(i);

		if (err != LOAM_OK)
			return err;
	}
	return LOAM_OK;
}

/* ---- types ---- */

static bool type_bit(const struct loam_type *type, uint64_t i)
{
	return i < type->ptr_words && (type->ptr_bits[i / 64] >> (i % 64) & 1) != 0;
}

enum loam_scan loam_type_scan(const struct loam_type *type, size_t n)
{
	unsigned words = (unsigned)(type->size / 8), pointers = 0;

	if (type->ptr_words == 0)
		return LOAM_SCAN_NONE;
	if (type->size * n > LOAM_GRANULE)
		return LOAM_SCAN_TYPED;
	for (unsigned i = 0; i < words * n; i++)
		pointers += type_bit(type, i % words);
	return pointers == 0 ? LOAM_SCAN_NONE : pointers == 1 ? LOAM_SCAN_TYPED : LOAM_SCAN_WORDS;
}

/* ---- bits ---- */

static void clear(uint64_t *bits, uint64_t at, uint64_t count)
{
	while (count > 0) {
		unsigned step = count > 64 ? 64 : (unsigned)count;

		loam_put_bits(bits, at, 0, step);
		at += step;
		count -= step;
	}
}

static void set_element(uint64_t *bits, uint64_t at, const struct loam_type *type)
{
	for (uint64_t i = 0; i < type->ptr_words; i += 64) {
		uint64_t rest = type->ptr_words - i;

		loam_put_bits(bits, at + i, type->ptr_bits[i / 64],
			      rest < 64 ? (unsigned)rest : 64);
	}
}

static void set_which(struct loam_span *span, uintptr_t p, const struct loam_type *type)
{
	uint64_t slot = loam_span_slot(span, p);

	loam_put_bits(loam_which_words(span), slot, type->size == LOAM_GRANULE && type_bit(type, 1),
		      1);
}

void loam_pointer_bits_set(uintptr_t p, const struct loam_type *type, size_t n)
{
	struct loam_span *span = loam_span_at_page(loam_page_index(p));
	uint64_t *bits = (uint64_t *)loam_heap.pointer_bits.base;
	uint64_t at = (p - loam_heap.base) / 8, slot_words = span->slot_bytes / 8;

	if (span->slot_bytes == LOAM_GRANULE) {
		set_which(span, p, type);
	} else {
		clear(bits, at, slot_words);
		for (size_t i = 0; i < n; i++)
			set_element(bits, at + i * (type->size / 8), type);
	}
}

bool loam_pointer_bit(const struct loam_span *span, uint64_t slot, uint64_t i)
{
	const uint64_t *bits = (const uint64_t *)loam_heap.pointer_bits.base;
	uint64_t at = (span->base - loam_heap.base + slot * span->slot_bytes) / 8 + i;

	if (span->slot_bytes == LOAM_GRANULE) {
		bits = loam_which_words(span);
		return (bits[slot / 64] >> (slot % 64) & 1) == i;
	}
	return (bits[at / 64] >> (at % 64) & 1) != 0;
}
