/* SPDX-License-Identifier: MIT */
/* The second marker: every child of a marked object is marked. Simple on purpose; for LOAM_DEBUG 3. */
#include "gc/mark.h"

void loam_mark_check_word(uintptr_t word)
{
	struct loam_span *span;
	uint64_t slot;

	if (word - loam_heap.base >= loam_heap.mapped_bytes)
		return;
	span = loam_span_of(word);
	if (span == NULL)
		return;
	slot = loam_span_slot(span, word);
	if (slot >= span->slots || !loam_span_slot_used(span, slot))
		return;
	LOAM_CHECK((span->bits[slot / 64].mark >> (slot % 64) & 1) != 0,
		   "[MARK-1] a marked object points to one that is not marked");
}

LOAM_NO_SANITIZE static void check_object(const struct loam_span *span, uint64_t slot)
{
	uintptr_t base = span->base + slot * span->slot_bytes;

	if (loam_span_current(span) &&
	    loam_bin_holds(loam_bin_of(loam_cache_by_id(span->owner), span), span, slot))
		return; /* nobody's yet: never scanned */
	for (uint64_t i = 0; i < span->slot_bytes / 8; i++) {
		if (span->scan == LOAM_SCAN_WORDS || loam_pointer_bit(span, slot, i))
			loam_mark_check_word(((const uintptr_t *)base)[i]);
	}
}

void loam_mark_check(void)
{
	for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
		for (uint64_t slot = 0; s->scan != LOAM_SCAN_NONE && slot < s->slots; slot++) {
			if (!loam_span_slot_used(s, slot))
				continue; /* claimed by a thread that has gone: marked, and no object */
			if ((s->bits[slot / 64].mark >> (slot % 64) & 1) != 0 ||
			    (s->special && loam_special_scanned(s->base + slot * s->slot_bytes)))
				check_object(s, slot);
		}
	}
	loam_specials_mark_check();
}
