/* SPDX-License-Identifier: MIT */
/*
 * Audit: the MMU checks the software barrier. When marking begins, in the stop, all memory of spans that are scanned is
 * copied to a shadow, a range as long as the heap's. While marking goes on, loam_store and its kin record each slot they
 * store to. When it ends, the dirty bits tell which pages were written, and there each word that differs from the
 * shadow and has no record was stored past the barrier: told by name, before the object it hid is missed.
 *
 *   [AUDIT-1] Every pointer of an object that was there when marking began is, when it ends, as it was then, or was
 *             stored by the barrier, or is reported.
 *   [AUDIT-2] Nothing else is reported.
 *   [AUDIT-3] A page that is not told is as it was. (All of them are compared at LOAM_DEBUG 3.)
 *
 * The comparison is exact, for nothing is freed or used anew while marking goes on ([SWEEP-2]): an address means the same
 * object at both ends. Objects younger than that are black, and need no barrier; so they are exempt, with the slots that were
 * claimed for them already. What loam itself writes to an old object goes by the barrier (realloc.c), and what
 * it hands out is zero from the start (heap.exact). A store is before the copy or after it, never under way: barrier.c.
 *
 * What is a pointer: in a typed object the type tells. In an untyped one any word is, if its old value or its new one is the
 * address of an object: so a number that looks like one can be a false alarm, as it can keep garbage.
 *
 * One bit a slot: what is stored by the barrier once may be stored past it afterwards unseen. The other way round it is
 * seen: the first record of a slot looks whether its word is still the shadow's. Not so for slots of loam_store_exchange
 * and _compare, to which others may store at the same time. Unseen is also what is as it was again at the end. Root
 * ranges and stacks are not audited: the dirty bits are of the heap alone.
 *
 * Memory: the shadow, made Ready as needed and kept; a bit a word; 64 bytes and 3 bits a heap page. If there is none, the
 * cycle goes without audit; that is counted, and told. What is found is told after the last stop, and waits in memory
 * that is no root (checkmark.c).
 *
 * Concurrency: stopped, but for loam_audit_record: there spans stay what they are, and bits are atomic.
 * Model of the barrier: tests/model/hybrid.pml.
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "mm/print.h"

void *memset(void *dst, int c, size_t n);

#define TELL_MOST 16u /* misses a cycle that are told one by one */

struct miss {
	uintptr_t slot, object, old, now;
};

uint64_t loam_audit_covered;

static bool on;			/* init */
static uintptr_t shadow;	/* init */
static uint64_t prepared_bytes; /* stopped: of the shadow, from its start */
static struct loam_table
	old; /* 64 bytes a heap page, as alloc bits: slots in use when marking began */
static struct loam_table copied; /* bit a heap page: it is in the shadow */
static struct loam_table known;	 /* bit a word; atomic: the barrier has stored there */
static struct loam_table told;	 /* bit a 4 KiB page: written */
static struct miss *misses;	 /* init; each its finder's */
static uint64_t miss_count;	 /* atomic: of this cycle */
static bool skipped;		 /* to be told */
static struct loam_gc_audit sum; /* stopped, but for `missed`: atomic */

/* ---- bits ---- */

static uint64_t *word_of(const struct loam_table *table, uint64_t i)
{
	return (uint64_t *)table->base + i / 64;
}

static bool test(const struct loam_table *table, uint64_t i)
{
	return (__atomic_load_n(word_of(table, i), __ATOMIC_RELAXED) >> (i % 64) & 1) != 0;
}

LOAM_NO_SANITIZE static uintptr_t load(uintptr_t at)
{
	return __atomic_load_n((const uintptr_t *)at, __ATOMIC_RELAXED);
}

static uintptr_t shadow_of(uintptr_t at)
{
	return shadow + (at - loam_heap.base);
}

/* ---- judging ---- */

static bool is_object(uintptr_t value)
{
	const struct loam_span *span = loam_span_of(value);
	uint64_t slot;

	if (span == NULL || value < span->base)
		return false;
	slot = loam_span_slot(span, value);
	return slot < span->slots && loam_span_slot_used(span, slot);
}

/* The old object that has a pointer at `at`, if anything; 0: none. */
static uintptr_t holder(uintptr_t at)
{
	const struct loam_span *span = loam_span_of(at);
	uint64_t slot, first;
	uintptr_t base;

	if (span == NULL || at < span->base || !test(&copied, loam_page_index(at)))
		return 0;
	slot = (at - span->base) / span->slot_bytes;
	first = loam_page_index(loam_span_start(span)) * 512;
	if (slot >= span->slots || !test(&old, first + slot))
		return 0;
	base = span->base + slot * span->slot_bytes;
	if (span->scan == LOAM_SCAN_TYPED && !loam_pointer_bit(span, slot, (at - base) / 8))
		return 0;
	return base;
}

/* The word at `at` is not the shadow's any more, and nobody has said so. */
static void judge(uintptr_t at, uintptr_t was, uintptr_t now)
{
	uintptr_t object = holder(at);
	uint64_t n;

	if (object == 0 || (!is_object(was) && !is_object(now)))
		return;
	n = __atomic_fetch_add(&miss_count, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&sum.missed, 1, __ATOMIC_RELAXED);
	if (n < TELL_MOST)
		misses[n] = (struct miss){.slot = at, .object = object, .old = was, .now = now};
}

/* ---- while marking ---- */

void loam_audit_record(const void *to, size_t size, bool racing)
{
	uintptr_t at = loam_align_down((uintptr_t)to, sizeof(at)), end = (uintptr_t)to + size;

	for (; at < end; at += sizeof(at)) {
		uint64_t i = (at - loam_heap.base) / sizeof(at), bit = (uint64_t)1 << (i % 64);

		if (at - loam_heap.base >= loam_audit_covered ||
		    !test(&copied, loam_page_index(at)))
			continue;
		/* relaxed: read in the stop */
		if ((__atomic_fetch_or(word_of(&known, i), bit, __ATOMIC_RELAXED) & bit) == 0 &&
		    !racing && load(at) != load(shadow_of(at)))
			judge(at, load(shadow_of(at)), load(at));
	}
}

/* ---- marking begins ---- */

static bool prepare(uint64_t bytes)
{
	uint64_t pages = bytes >> LOAM_HEAP_PAGE_SHIFT;

	if (loam_table_grow(&old, pages * 64) != LOAM_OK ||
	    loam_table_grow(&copied, pages / 8 + 8) != LOAM_OK ||
	    loam_table_grow(&known, bytes / 64) != LOAM_OK ||
	    loam_table_grow(&told, (bytes >> LOAM_PAGE_SHIFT) / 8 + 8) != LOAM_OK)
		return false;
	if (bytes > prepared_bytes) {
		if (loam_sys_map(shadow + prepared_bytes, bytes - prepared_bytes, LOAM_OWNER_GC) !=
		    LOAM_OK)
			return false;
		prepared_bytes = bytes;
	}
	memset((void *)old.base, 0, pages * 64);
	memset((void *)copied.base, 0, pages / 8 + 8);
	memset((void *)known.base, 0, bytes / 64);
	memset((void *)told.base, 0, (bytes >> LOAM_PAGE_SHIFT) / 8 + 8);
	return true;
}

static void copy_bits(struct loam_span *span)
{
	uint64_t *to = word_of(&old, loam_page_index(loam_span_start(span)) * 512);
	uint64_t claimed = 0;

	if (loam_span_current(span))
		claimed = loam_bin_claimed(loam_bin_of(loam_cache_by_id(span->owner), span));
	for (uint32_t w = 0; w < loam_span_words(span); w++)
		to[w] = loam_span_alloc_word(span, w) & ~(w == span->window_word ? claimed : 0);
}

LOAM_NO_SANITIZE static bool copy(struct loam_span *span)
{
	uintptr_t start = loam_span_start(span);
	uint64_t bytes = (uint64_t)span->pages << LOAM_HEAP_PAGE_SHIFT;

	if (loam_sys_used(shadow_of(start), bytes, NULL) != LOAM_OK)
		return false;
	copy_bits(span);
	for (uintptr_t at = start; at < start + bytes; at += sizeof(at))
		*(uintptr_t *)shadow_of(at) = load(at);
	for (uint64_t page = loam_page_index(start), n = span->pages; n > 0; page++, n--)
		*word_of(&copied, page) |= (uint64_t)1 << (page % 64);
	return true;
}

void loam_audit_begin(void)
{
	uint64_t bytes = loam_heap.mapped_bytes;

	if (!on)
		return;
	miss_count = 0;
	skipped = !prepare(bytes);
	for (struct loam_span *s = loam_span_next(NULL); s != NULL && !skipped;
	     s = loam_span_next(s)) {
		if (s->scan != LOAM_SCAN_NONE)
			skipped = !copy(s);
	}
	loam_audit_covered = skipped ? 0 : bytes;
	sum.skipped += skipped;
}

/* ---- marking has ended ---- */

/* Under mm's locks, so it writes down, no more. */
static void note(void *unused, uintptr_t base, size_t size)
{
	uint64_t page = (base - loam_heap.base) >> LOAM_PAGE_SHIFT;

	(void)unused;
	for (uint64_t end = page + (size >> LOAM_PAGE_SHIFT); page < end; page++)
		*word_of(&told, page) |= (uint64_t)1 << (page % 64);
}

static void compare_page(uintptr_t page)
{
	for (uintptr_t at = page; at < page + LOAM_PAGE_SIZE; at += sizeof(at)) {
		uintptr_t was = load(shadow_of(at)), now = load(at);

		if (was == now || holder(at) == 0)
			continue;
		sum.changed_words++;
		if (!test(&known, (at - loam_heap.base) / sizeof(at)))
			judge(at, was, now);
	}
}

static void check_untold(uintptr_t page)
{
	for (uintptr_t at = page; at < page + LOAM_PAGE_SIZE; at += sizeof(at))
		LOAM_CHECK(load(shadow_of(at)) == load(at),
			   "[AUDIT-3] a page was written, and the page tables do not tell");
}

void loam_audit_end(void)
{
	uint64_t bytes = loam_audit_covered;
	enum loam_err err = LOAM_OK;

	if (bytes == 0)
		return;
	loam_audit_covered = 0;
	err = loam_sys_dirty_look(loam_heap.base, bytes, note, NULL);
	LOAM_CHECK(err == LOAM_OK, "the page tables do not tell what was written");
	for (uint64_t at = 0; at < bytes; at += LOAM_PAGE_SIZE) {
		if (!test(&copied, at >> LOAM_HEAP_PAGE_SHIFT))
			continue;
		if (test(&told, at >> LOAM_PAGE_SHIFT)) {
			compare_page(loam_heap.base + at);
			sum.checked_pages++;
		} else if (LOAM_DEBUG >= 3) {
			check_untold(loam_heap.base + at);
		}
	}
	sum.cycles++;
}

void loam_audit_tell(void)
{
	if (skipped)
		loam_log(LOAM_LOG_ERROR,
			 "loam: audit: no memory for a copy of the heap: a cycle without\n");
	skipped = false;
	for (uint64_t i = 0; i < miss_count && i < TELL_MOST; i++) {
		loam_log(LOAM_LOG_ERROR, "loam: barrier missed: slot %p in object %p: %p -> %p\n",
			 (void *)misses[i].slot, (void *)misses[i].object, (void *)misses[i].old,
			 (void *)misses[i].now);
		loam_history_tell((void *)misses[i].object);
	}
	if (miss_count > TELL_MOST)
		loam_log(LOAM_LOG_ERROR, "loam: barrier missed: and %llu more\n",
			 (unsigned long long)(miss_count - TELL_MOST));
	miss_count = 0;
}

void loam_gc_audit_read(struct loam_gc_audit *audit)
{
	loam_gc_lock(&loam_heap.collecting); /* outside: we can be stopped while we wait */
	*audit = sum;
	audit->missed = __atomic_load_n(&sum.missed, __ATOMIC_RELAXED);
	loam_gc_unlock(&loam_heap.collecting);
}

/* ---- start and end ---- */

bool loam_audit_on(void)
{
	return on;
}

void loam_audit_want(bool want)
{
	on = want && loam_heap.barrier == LOAM_BARRIER_SOFTWARE && loam_sys_dirty_can();
	if (want && !on)
		loam_log(LOAM_LOG_INFO, "loam: no audit: it takes LOAM_BARRIER_SOFTWARE, and page "
					"tables that tell what is written\n");
}

enum loam_err loam_audit_init(void)
{
	uint64_t bytes = loam_heap.reserved_bytes, pages = bytes >> LOAM_HEAP_PAGE_SHIFT;
	enum loam_err err;
	void *p = NULL;

	sum = (struct loam_gc_audit){0};
	if (!on)
		return LOAM_OK;
	err = loam_sys_reserve(0, bytes, LOAM_PAGE_SIZE, &shadow);
	if (err == LOAM_OK)
		err = loam_table_reserve(&old, pages * 64);
	if (err == LOAM_OK)
		err = loam_table_reserve(&copied, pages / 8 + 8);
	if (err == LOAM_OK)
		err = loam_table_reserve(&known, bytes / 64);
	if (err == LOAM_OK)
		err = loam_table_reserve(&told, (bytes >> LOAM_PAGE_SHIFT) / 8 + 8);
	if (err == LOAM_OK)
		err = loam_sys_alloc(TELL_MOST * sizeof(*misses), LOAM_OWNER_GC, &p);
	misses = p;
	return err;
}

void loam_audit_reset(void)
{
	enum loam_err err = LOAM_OK;

	if (shadow != 0)
		err = loam_sys_free(shadow, loam_heap.reserved_bytes);
	if (err == LOAM_OK && misses != NULL)
		err = loam_sys_free((uintptr_t)misses, LOAM_PAGE_SIZE);
	LOAM_CHECK(err == LOAM_OK, "the memory of the audit could not be freed");
	loam_table_free(&old);
	loam_table_free(&copied);
	loam_table_free(&known);
	loam_table_free(&told);
	shadow = prepared_bytes = loam_audit_covered = 0;
	misses = NULL;
	on = skipped = false;
	miss_count = 0;
}
