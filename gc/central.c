/* SPDX-License-Identifier: MIT */
/*
 * Spans that nobody owns, and how a thread becomes the owner of one (Go's mcentral).
 *
 * A list a span class, each with its own lock on its own cache line: of spans with room. Full spans
 * that nobody owns are on no list; the first thread that frees a slot of one adopts it. Spans come
 * here when their thread detaches, and after a collection, so that what one thread has freed serves
 * all.
 *
 *   [CENTRAL-1] A span on a central list has room, and is owned by nobody, or by who adopts it just now.
 *   [CENTRAL-2] A record that has been a span's has owner 0 (nobody) just if it is of a small span in use; and from that, once swept,
 *               it becomes somebody's by a compare-and-swap alone. Who asks has seen to the sweep. So who succeeds has the span,
 *               though the record was another's when he found it.
 */
#include "gc/check.h"
#include "gc/spanlist.h"

static struct central {
	struct loam_gc_lock lock;
	uint32_t list; /* lock to write; atomic */
} __attribute__((aligned(64))) central[LOAM_SPAN_CLASSES];

/* [CENTRAL-2]; false: it is not nobody's any more. */
static bool own(struct loam_cache *cache, struct loam_span *span)
{
	uint16_t nobody = 0;

	/* acquire: what was done to the span comes first; partners: the releases below */
	return __atomic_compare_exchange_n(&span->owner, &nobody, cache->id, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

struct loam_span *loam_central_take(struct loam_cache *cache, unsigned span_class)
{
	struct central *c = &central[span_class];
	struct loam_span *span = NULL;

	/* relaxed: what comes just now is found the next time */
	if (__atomic_load_n(&c->list, __ATOMIC_RELAXED) == 0)
		return NULL;
	loam_gc_lock(&c->lock);
	while (span == NULL && c->list != 0) {
		struct loam_span *first = loam_span_record(c->list);

		loam_spanlist_remove(&c->list, first);
		if (own(cache, first))
			span = first;
	}
	loam_gc_unlock(&c->lock);
	if (span != NULL)
		loam_cache_own(cache, span);
	return span;
}

void loam_central_give(struct loam_cache *cache, struct loam_span *span)
{
	struct central *c = &central[span->span_class];

	LOAM_ASSERT(span->unlisted && !loam_span_current(span));
	loam_cache_disown(cache, span);
	loam_gc_lock(&c->lock);
	if (span->used < span->slots)
		loam_spanlist_push(&c->list, span);
	/* release: all we did to the span comes first; partner: the acquire in own */
	__atomic_store_n(&span->owner, 0, __ATOMIC_RELEASE);
	loam_gc_unlock(&c->lock);
}

bool loam_central_adopt(struct loam_cache *cache, struct loam_span *span)
{
	struct central *c;

	LOAM_PLACE("adopt");
	if (!own(cache, span))
		return false;
	c = &central[span->span_class];
	loam_gc_lock(&c->lock);
	if (!span->unlisted)
		loam_spanlist_remove(&c->list, span);
	loam_gc_unlock(&c->lock);
	loam_cache_own(cache, span);
	if (span->used < span->slots)
		loam_spanlist_push(&loam_bin_of(cache, span)->partial, span);
	loam_remote_apply(cache, span);
	return true;
}

void loam_central_reset(void)
{
	for (unsigned i = 0; i < LOAM_SPAN_CLASSES; i++)
		central[i].list = 0;
}

void loam_central_put_swept(struct loam_span *span)
{
	struct central *c = &central[span->span_class];

	loam_gc_lock(&c->lock);
	if (span->magic != 0 && span->used < span->slots)
		loam_spanlist_push(&c->list, span);
	/* release: partners: own, and loam_sweep_ensure */
	if (span->magic != 0)
		__atomic_store_n(&span->owner, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&span->swept, loam_heap.sweep_cycle, __ATOMIC_RELEASE);
	loam_gc_unlock(&c->lock);
}
