/* SPDX-License-Identifier: MIT */
/*
 * Counting durations: what the collector's files do with a struct loam_histogram (<loam/stats.h>). Theory:
 * histogram.c. Pure: the struct is the caller's, zeroed by him. Any number of threads at once.
 */
#ifndef LOAM_GC_HISTOGRAM_H
#define LOAM_GC_HISTOGRAM_H

#include <loam/stats.h>

/* One duration more; below 0: the clock has run backwards. Source: Go's timeHistogram (runtime/histogram.go).
 * Context: any. */
void loam_histogram_add(struct loam_histogram *h, int64_t ns);

/* What `from` holds now, while others may add to it. Context: any. */
void loam_histogram_copy(struct loam_histogram *to, const struct loam_histogram *from);

#endif
