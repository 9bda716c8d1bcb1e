/* SPDX-License-Identifier: MIT */
/* Lists of spans, linked both ways by the numbers of their records. A span is on one at most. */
#ifndef LOAM_GC_SPANLIST_H
#define LOAM_GC_SPANLIST_H

#include "gc/heap.h"

/* The head is written by one at a time, and may be looked at by anybody. */
static inline void loam_spanlist_push(uint32_t *head, struct loam_span *span)
{
	uint32_t number = loam_span_number(span);

	span->listed = true;
	span->prev = 0;
	span->next = *head;
	if (*head != 0)
		loam_span_record(*head)->prev = number;
	__atomic_store_n(head, number, __ATOMIC_RELAXED);
}

/* Remove the first. */
static inline void loam_spanlist_pop(uint32_t *head, struct loam_span *span)
{
	span->listed = false;
	if (span->next != 0)
		loam_span_record(span->next)->prev = 0;
	__atomic_store_n(head, span->next, __ATOMIC_RELAXED);
	span->next = 0;
}

static inline void loam_spanlist_remove(uint32_t *head, struct loam_span *span)
{
	span->listed = false;
	if (span->next != 0)
		loam_span_record(span->next)->prev = span->prev;
	if (span->prev != 0)
		loam_span_record(span->prev)->next = span->next;
	else
		__atomic_store_n(head, span->next, __ATOMIC_RELAXED);
	span->next = span->prev = 0;
}

#endif
