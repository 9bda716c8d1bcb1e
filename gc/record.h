/* SPDX-License-Identifier: MIT */
/* What is remembered of cycles, stops and stalls. Theory: record.c. */
#ifndef LOAM_GC_RECORD_H
#define LOAM_GC_RECORD_H

#include "gc/heap.h"

/* Nothing has happened yet. Nobody reads or records. */
void loam_record_reset(void);

/* ---- by the thread that holds heap.collecting ---- */
/* A cycle begins: the next number's. Stopped. */
void loam_record_open(void);
/* The world, asked to stop at `from_ns`, stood from `stood_ns` on, and runs again. */
void loam_record_stop(uint64_t from_ns, uint64_t stood_ns, uint64_t to_ns);
/* The second stop of a cycle is over; it is on record from now on, and the result: until its number comes again. */
const struct loam_gc_cycle *loam_record_cycle(const struct loam_cycle *c);

/* ---- by any thread ---- */
/* All is swept. Inside. */
void loam_record_swept(void);
/* An allocation was held up from then on until now. */
void loam_record_stall(uint64_t from_ns);
/* When the last cycle ended, or if there was none, when the heap came up: in ns of loam_host_now_ns. */
uint64_t loam_record_until_ns(void);
/* So many parts `of` the whole, which is the most it says; rounded down. `of` up to 2^20. */
uint64_t loam_record_share(uint64_t part_ns, uint64_t whole_ns, uint64_t of);
/* Fills in what loam_stats has of stops and of time. */
void loam_record_stats(struct loam_stats *s);
/* The counts themselves; others go on counting. */
const struct loam_histogram *loam_record_histogram(enum loam_gc_histogram_kind which);

#endif
