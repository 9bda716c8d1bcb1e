/* SPDX-License-Identifier: MIT */
/* Marking: what the phases of a cycle (collect.c) use of it. Theory: mark.c. */
#ifndef LOAM_GC_MARK_H
#define LOAM_GC_MARK_H

#include "gc/heap.h"
#include "gc/work.h"

/* Has the worker done what it was to do, or shall its thread stop? */
static inline bool loam_mark_enough(const struct loam_worker *w)
{
	return w->scanned_bytes >= w->enough_bytes ||
	       __atomic_load_n(w->stop, __ATOMIC_RELAXED) != 0;
}

/* Is the object marked? */
static inline bool loam_mark_is(uintptr_t object)
{
	const struct loam_span *span = loam_span_at_page(loam_page_index(object));
	uint64_t slot = loam_span_slot(span, object);

	return loam_span_slot_marked(span, slot);
}

/* Set bits that others may set too, unless `solo` ([WORK-3]); returns what was there. */
static inline uint64_t loam_mark_set_bits(uint64_t *word, uint64_t bits, bool solo)
{
	uint64_t was;

	/* seq_cst: before `queue` is looked at; partner: scan_span */
	if (!solo)
		return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
	was = __atomic_load_n(word, __ATOMIC_RELAXED);
	__atomic_store_n(word, was | bits, __ATOMIC_RELAXED);
	return was;
}

/* Mark the object that `word` points to, if it does. */
void loam_mark_shade(struct loam_worker *w, uintptr_t word);
/* Mark what the object at `base` points to, but not itself. */
void loam_mark_inside(struct loam_worker *w, uintptr_t base);
/* Every word of [lo, hi) may be a pointer. heap.lock is held, or the world is stopped. */
void loam_mark_range(struct loam_worker *w, const void *lo, const void *hi);
/* Has the 4 KiB at `page` marked objects that are scanned at all, or what hangs on others? */
bool loam_mark_page_has(uintptr_t page);
/* Scan the marked objects of the 4 KiB at `page` once more, as far as they are there. */
void loam_mark_page(struct loam_worker *w, uintptr_t page);
/* Scan what waits, until it is enough: true; or until nothing does that can be had: false. */
bool loam_mark_drain(struct loam_worker *w);
/* The same without a worker, for any length. */
void loam_mark_words_apart(uintptr_t lo, uintptr_t hi);
/* Was something marked that could not be made to wait? Then this finds it, all in one go. */
bool loam_mark_overflowed(void);
void loam_mark_recover(struct loam_worker *w);

/* ---- clean.c: LOAM_BARRIER_MMU ---- */
#define LOAM_CLEAN_LAST	   64u /* pages that are scanned again in the last stop, at most */
#define LOAM_CLEAN_UNKNOWN UINT64_MAX
/* A cycle is about to begin: notes are cleared, a part of them a call. True: all are. Outside. */
bool loam_clean_begin_some(void);
/* A part of a round, the cycle's `rounds`th. True: that was the last part, and what the round told is to be scanned. Outside. */
bool loam_clean_round_some(uint64_t rounds);
/* A part of one has been done, and there are more. */
bool loam_clean_running(void);
/* That was little. */
bool loam_clean_few(uint64_t rounds);
bool loam_clean_left(void);
/* How many pages are to be scanned still. */
uint64_t loam_clean_pages(void);
bool loam_clean_scan_some(struct loam_worker *w);
/* In the stop: scan what was written since the last round; returns how many pages were, or LOAM_CLEAN_UNKNOWN. */
uint64_t loam_clean_last(struct loam_worker *w, uint64_t rounds);
/* Do rounds tell of less and less? 0: yes; up to LOAM_PACE_HURRY_MOST: the cycle does not end by itself. heap.collecting is held. */
unsigned loam_clean_hurry(void);
/* They were too many, or not known: they have not been scanned, another round is due. */
bool loam_clean_too_many(uint64_t pages, uint64_t rounds);
/* False: after so many rounds the last stop is the last, however much there is to scan. */
bool loam_clean_patient(uint64_t rounds);
/* From here on new objects are black: for the running cycle. */
void loam_clean_blacken(void);
/* The heap is going to have so many pages. heap.pages.lock is held. */
LOAM_MUST_USE enum loam_err loam_clean_grow(uint64_t pages);
/* The heap can have so many pages. */
LOAM_MUST_USE enum loam_err loam_clean_init(uint64_t pages);
void loam_clean_reset(void);

/* ---- root.c, pin.c, special.c: inside but for _start ---- */
/* Marking begins; stopped. */
void loam_roots_start(void);
void loam_pins_start(void);
void loam_specials_start(void);
/* Scan a little of what is left; false: nothing is. */
bool loam_roots_scan_some(struct loam_worker *w);
bool loam_pins_scan_some(struct loam_worker *w);
bool loam_specials_scan_some(struct loam_worker *w);
bool loam_roots_left(void);
bool loam_pins_left(void);
bool loam_specials_left(void);
/* All root ranges; stopped. */
void loam_roots_scan_again(struct loam_worker *w);
/* Is the object scanned, though it may not be marked? */
bool loam_special_scanned(uintptr_t object);
/* The object has been marked, and its span has keys of ephemerons. */
void loam_special_key_marked(uintptr_t object);
/* LOAM_DEBUG 3, marking over, stopped: [SPECIAL-2], [SPECIAL-3] or panic. */
void loam_specials_mark_check(void);
/* For that: what the word points to is marked. */
void loam_mark_check_word(uintptr_t word);

#endif
