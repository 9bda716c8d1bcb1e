/* SPDX-License-Identifier: MIT */
/*
 * Lists of spans: rings, linked both ways by the numbers of their records, so that both ends are at
 * hand. A span is on one at most. The head is written by one at a time, and may be looked at by anybody.
 */
#ifndef LOAM_GC_SPANLIST_H
#define LOAM_GC_SPANLIST_H

#include "gc/heap.h"

/* At the end: a span waits while more of it is freed, and then serves many allocations. */
static inline void loam_spanlist_push(uint32_t *head, struct loam_span *span)
{
	uint32_t number = loam_span_number(span);
	struct loam_span *first;

	span->unlisted = false;
	if (*head == 0) {
		span->next = span->prev = number;
		__atomic_store_n(head, number, __ATOMIC_RELAXED);
		return;
	}
	first = loam_span_record(*head);
	span->next = *head;
	span->prev = first->prev;
	loam_span_record(first->prev)->next = number;
	first->prev = number;
}

static inline void loam_spanlist_remove(uint32_t *head, struct loam_span *span)
{
	uint32_t number = loam_span_number(span);

	span->unlisted = true;
	if (span->next == number) {
		__atomic_store_n(head, 0, __ATOMIC_RELAXED);
	} else {
		loam_span_record(span->next)->prev = span->prev;
		loam_span_record(span->prev)->next = span->next;
		if (*head == number)
			__atomic_store_n(head, span->next, __ATOMIC_RELAXED);
	}
	span->next = span->prev = 0;
}

#endif
