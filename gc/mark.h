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

/* Mark the object that `word` points to, if it does. */
void loam_mark_shade(struct loam_worker *w, uintptr_t word);
/* Every word of [lo, hi) may be a pointer. heap.lock is held, or the world is stopped. */
void loam_mark_range(struct loam_worker *w, const void *lo, const void *hi);
/* Scan the marked objects of the 4 KiB at `page` once more, as far as they are there. */
void loam_mark_page(struct loam_worker *w, uintptr_t page);
/* Scan what waits, until it is enough: true; or until nothing does that can be had: false. */
bool loam_mark_drain(struct loam_worker *w);
/* The same without a worker, for any length. */
void loam_mark_words_apart(uintptr_t lo, uintptr_t hi);
/* Was something marked that could not be made to wait? Then this finds it, all in one go. */
bool loam_mark_overflowed(void);
void loam_mark_recover(struct loam_worker *w);

/* ---- root.c, pin.c: inside but for _start ---- */
/* Marking begins; stopped. */
void loam_roots_start(void);
void loam_pins_start(void);
/* Scan a little of what is left; false: nothing is. */
bool loam_roots_scan_some(struct loam_worker *w);
bool loam_pins_scan_some(struct loam_worker *w);
bool loam_roots_left(void);
bool loam_pins_left(void);
/* All root ranges; stopped. */
void loam_roots_scan_again(struct loam_worker *w);

#endif
