/* SPDX-License-Identifier: MIT */
/*
 * Spans: runs of heap pages cut into slots of one size; the record of one, and how it is found from
 * an address. Theory: span.c.
 */
#ifndef LOAM_GC_SPAN_H
#define LOAM_GC_SPAN_H

#include <loam/types.h>

#include "gc/pagebits.h"
#include "gc/sizeclass.h"

/* What a scan does with an object of the span. */
enum loam_scan {
	LOAM_SCAN_NONE,	 /* holds no pointers */
	LOAM_SCAN_WORDS, /* every word may be a pointer */
	LOAM_SCAN_TYPED, /* pointer bits tell */
	LOAM_SCAN_COUNT,
};

/* One span class for each size class and kind of scan, and one for the blocks that tiny objects
 * share. */
#define LOAM_SPAN_TINY	  (LOAM_CLASS_COUNT * LOAM_SCAN_COUNT)
#define LOAM_SPAN_CLASSES (LOAM_SPAN_TINY + 1)
_Static_assert(LOAM_SPAN_CLASSES <= UINT8_MAX + 1, "a span class fits a byte");

static inline unsigned loam_span_class(unsigned size_class, enum loam_scan scan)
{
	return size_class * LOAM_SCAN_COUNT + scan;
}

#define LOAM_TINY_CLASS 2u /* the size class of 16 bytes */

static inline unsigned loam_span_class_size(unsigned span_class)
{
	return span_class == LOAM_SPAN_TINY ? LOAM_TINY_CLASS : span_class / LOAM_SCAN_COUNT;
}

static inline enum loam_scan loam_span_class_scan(unsigned span_class)
{
	return span_class == LOAM_SPAN_TINY ? LOAM_SCAN_NONE
					    : (enum loam_scan)(span_class % LOAM_SCAN_COUNT);
}

/* Of 64 slots, side by side: who marks asks both. */
struct loam_slot_bits {
	uint64_t alloc; /* written by `owner`, read by all */
	uint64_t mark;	/* atomic; but [WORK-3] */
};

/*
 * Who touches what: `span` fields are set before the table of spans leads to the record, and stay.
 * `owner` fields belong to the thread that owns the span; of a span that nobody owns, to the holder
 * of its class's central lock; to the collector when the world is stopped.
 */
struct loam_span {
	/* what a free reads, and what taking it from a list reads: one cache line */
	uintptr_t base;			/* span: address of slot 0 */
	uint64_t slot_bytes;		/* span */
	struct loam_slot_bits *bits;	/* span */
	struct loam_slot_bits own_bits; /* those, if one is enough */
	uint32_t next;	    /* owner: number of the record behind it on a list; 0: none */
	uint32_t magic;	    /* span: 0 for a large object */
	uint16_t owner;	    /* atomic: id of the owning thread's cache; 0: nobody; LOAM_SPARE_ID */
	uint16_t slots;	    /* span */
	uint16_t used;	    /* owner: slots whose alloc bit is set */
	uint8_t next_word;  /* owner: the word of alloc bits that the owner looks at next */
	uint8_t span_class; /* span */
	uint8_t scan;	    /* span: enum loam_scan */
	bool needzero;	    /* owner: a free slot may hold old bytes */
	bool in_use;	    /* false: the record is spare */
	union {
		struct {
			uint8_t window_word; /* owner: that the bin's window is of, if the span is
					      * current: the owner allocates from it */
			bool posted;	     /* atomic, the inbox's; outlives the span */
			bool special; /* atomic: tiny, or some object of it is or was pinned, or had specials */
			bool unlisted; /* owner: neither on its partial list, nor on central's */
		};
		uint32_t care; /* atomic: all four, for a free to look at once */
	};

	/* what is touched less */
	uint64_t *remote_bits __attribute__((aligned(64))); /* span; the words: atomic, freed by
							     * another thread */

	struct loam_span *owned_next, *owned_prev; /* owner: all that the owner has */
	struct loam_span *inbox_next;		   /* the inbox's (remote.c); outlives the span */
	struct loam_span *spare_next;		   /* of a spare record */
	uint32_t prev;	/* owner: number of the record before it on the list; 0: none */
	uint32_t pages; /* span */

	uint32_t
		queue_next; /* the list's of work.c: number of the next record that waits to be scanned */
	uint32_t
		queue; /* atomic: what waits to be scanned: 0 nothing, a slot's number + 1, or mark.c's MANY */
	uint8_t swept; /* atomic: the cycle whose sweep it has passed, or one of those below */
	bool offheap;  /* the maker's: not the collector's affair (offheap.c) */
	bool rescan;   /* atomic: an object of this span could not be made to wait for its scan */
	bool keys;     /* atomic: some object of it is or was the key of an ephemeron */
};
_Static_assert(offsetof(struct loam_span, remote_bits) == 64 && sizeof(struct loam_span) == 128,
	       "two cache lines: what free reads is one");

/* `swept` of a span that somebody sweeps just now; of a record that is spare. */
#define LOAM_SWEEPING  UINT8_MAX
#define LOAM_SWEPT_ANY (UINT8_MAX - 1)

#define LOAM_NO_WINDOW UINT8_MAX /* the window_word of a span that is not current */

/* Parts of `care`: the window_word; what sends a free the slow way; and what it is of an owner's span
 * without room: not current and yet unlisted, [BIN-1]. CPUs are little-endian here. */
#define LOAM_CARE_WINDOW(care) ((uint8_t)(care))
#define LOAM_CARE_SLOW	       0x00ffff00u
#define LOAM_CARE_FULL	       (0x01000000u | LOAM_NO_WINDOW)

/* ---- span.c ---- */
struct loam_cache;

/* A new span, on no list, owned by the caller; a large one by nobody. NULL: no memory. */
struct loam_span *loam_span_alloc(struct loam_cache *cache, unsigned span_class, uint64_t pages,
				  uint64_t align_pages);
/* How long the next span of the class shall be: the pages of Go's table, or a multiple. */
uint64_t loam_span_pages(unsigned span_class);
/* Its pages go back. It is empty, on no list, and the caller's or nobody's. */
void loam_span_free(struct loam_cache *cache, struct loam_span *span);
/* A large span becomes `pages` long, its end moving; false: the pages behind it are not free. */
bool loam_span_resize(struct loam_cache *cache, struct loam_span *span, uint64_t pages);
/* The last page of a new large span is not its any more. */
void loam_span_cut_last(struct loam_span *span);
/* A large span moves to other addresses, memory and all, and becomes `pages` long, which is more; from now on
 * it is scanned word by word if it was scanned. False: no memory, nothing changed. */
bool loam_span_move(struct loam_span *span, uint64_t pages);
/* The in-use span behind `span` by address; the first for NULL. Context: stopped, nobody else is about, or
 * no span is freed (marking): then new ones may be left out. */
struct loam_span *loam_span_next(struct loam_span *span);
/* Give a thread's spare records back. */
void loam_span_records_flush(struct loam_cache *cache);

/* Does its owner allocate from it? */
static inline bool loam_span_current(const struct loam_span *span)
{
	return span->window_word != LOAM_NO_WINDOW;
}

/* First heap page of the span. */
static inline uintptr_t loam_span_start(const struct loam_span *span)
{
	return loam_align_down(span->base, LOAM_HEAP_PAGE);
}

/* Are its objects scanned together? Those of 16 bytes have no room for the bits; large ones are alone. */
static inline bool loam_span_batched(const struct loam_span *span)
{
	return span->magic != 0 && span->slot_bytes > LOAM_GRANULE;
}

/* Bit a slot: its object has been scanned. Batched spans only. */
static inline uint64_t *loam_span_scan_bits(const struct loam_span *span)
{
	return span->remote_bits + span->pages * 4;
}

/* Slot that an address in the span falls into: the upper half; may be span->slots for the tail. It is the
 * slot's start just if the lower half is below the magic: [CLASS-2]. */
static inline uint64_t loam_span_quotient(const struct loam_span *span, uintptr_t addr)
{
	/* of a large object the magic is 0, and so is the slot */
	return (uint64_t)(uint32_t)(addr - span->base) * span->magic;
}

static inline uint64_t loam_span_slot(const struct loam_span *span, uintptr_t addr)
{
	return loam_span_quotient(span, addr) >> 32;
}

static inline uint32_t loam_span_words(const struct loam_span *span)
{
	return (span->slots + 63) / 64;
}

/* acquire: pairs with the release stores of loam_span_set_word */
static inline uint64_t loam_span_alloc_word(const struct loam_span *span, uint64_t word)
{
	return __atomic_load_n(&span->bits[word].alloc, __ATOMIC_ACQUIRE);
}

/* By the owner alone. release: what was done to the slots comes first; partner:
 * loam_span_alloc_word */
static inline void loam_span_set_word(struct loam_span *span, uint64_t word, uint64_t bits)
{
	__atomic_store_n(&span->bits[word].alloc, bits, __ATOMIC_RELEASE);
}

static inline bool loam_span_slot_used(const struct loam_span *span, uint64_t slot)
{
	return (loam_span_alloc_word(span, slot / 64) >> (slot % 64) & 1) != 0;
}

static inline bool loam_span_slot_marked(const struct loam_span *span, uint64_t slot)
{
	uint64_t word = __atomic_load_n(&span->bits[slot / 64].mark, __ATOMIC_RELAXED);

	return (word >> (slot % 64) & 1) != 0;
}

#endif
