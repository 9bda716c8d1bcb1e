/* SPDX-License-Identifier: MIT */
/*
 * Marking: what an address keeps, and scanning what is kept.
 *
 * Conservative where nothing better is known: any word of a root, a stack or an untyped object
 * that points into a slot in use, to its start or anywhere inside, keeps that object. A pointer
 * one past the end keeps the next slot, not this one, as in Go. Typed objects are scanned by
 * their pointer bits, noscan ones not at all.
 *
 * Three colours: white is not marked; grey is marked and waits (work.c); black is marked, and scanned or about to be.
 * Slots claimed while marking goes on are black from the start (loam_mark_claimed), or white with the MMU's notes as barrier, for some
 * time: clean.c. What is claimed and nobody's at the end is black in either case.
 *
 * There is no recursion. What is marked waits in one of two ways. A span with marked objects that were not scanned waits, once,
 * however many they are; when its turn comes, all of them are scanned in the order of memory: so pages are visited few
 * times and for many objects (the idea of Go's Green Tea collector). And single objects wait on a stack, the last first: those of 16
 * bytes, large ones, a piece at a time, and those of the span that is being scanned (near.h), so that what leads from one to the next
 * and was made in a row costs no turn each. Where pointers lead anywhere it is spans that wait, where they
 * lead nearby it is objects. When the stacks are full, the object is marked all the same and its span
 * flagged; once nothing waits, the marked objects of flagged spans are scanned again, until no flag
 * is left. Every round marks at least one new object or ends, so it terminates.
 *
 *   [MARK-1] When marking ends, everything that a marked object points to is marked.
 *   [MARK-2] Who sets a scan bit scans that object, but for who claims the slot (it is new, and black); nobody else does.
 *
 * Concurrency: mark and scan bits are set by atomic operations, by any number of workers and by threads that claim
 * slots; by plain ones if there is one thread alone ([WORK-3]). A mark bit is set before `queue` is looked at, and `queue` is cleared before mark bits are; both
 * with sequential consistency, so that one of the two sees the other. Memory of objects is read as it stands
 * while the program writes it: barrier.c and clean.c say why nothing is missed. No span is freed and no record used
 * anew while marking goes on ([SWEEP-2]). A slot claimed after its mark bit was found clear is black in the word that the
 * atomic operation sees: it comes after the look at the alloc bits. Nothing here takes a lock but those of work.c and special.c, or allocates.
 * Reference: Boehm and Weiser, "Garbage Collection in an Uncooperative Environment".
 */
#include "gc/mark.h"
#include "gc/near.h"
#include "gc/words.h"

#define BATCHES	 4u	    /* of single objects that were asked for, */
#define TOGETHER 16u	    /* so many each */
#define SOON	 32u	    /* objects of a span that were asked for */
#define PIECE	 4096u	    /* bytes of a root range or a large object */
#define MANY	 UINT32_MAX /* of a span's `queue`: more than one slot, or nobody knows */
_Static_assert(2 * TOGETHER <= LOAM_WORDS_FOUND, "a batch's words have room");

static bool overflowed; /* atomic */

/* ---- one word ---- */

static inline void enqueue(struct loam_worker *w, struct loam_span *span, uint64_t slot)
{
	uint32_t was = __atomic_load_n(&span->queue, __ATOMIC_SEQ_CST), want;

	do {
		if (was == MANY)
			return;
		want = was == 0 ? (uint32_t)slot + 1 : MANY;
	} while (!__atomic_compare_exchange_n(&span->queue, &was, want, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	if (was == 0)
		loam_work_put_span(w, loam_span_number(span)); /* [WORK-2] */
}

static void flag(struct loam_span *span)
{
	/* exchanged: the mark bit comes first, and no flag gets lost to a clearing one; partner: rescan_span */
	(void)__atomic_exchange_n(&span->rescan, true, __ATOMIC_ACQ_REL);
	/* release: the span's flag comes first; partner: loam_mark_recover */
	__atomic_store_n(&overflowed, true, __ATOMIC_RELEASE);
}

void loam_mark_again(uintptr_t addr)
{
	flag(loam_span_at_page(loam_page_index(addr)));
}

/* How an object that waits by itself is written down. */
static inline uintptr_t single(const struct loam_span *span, uint64_t slot)
{
	uintptr_t base = span->base + slot * span->slot_bytes;

	if (span->magic == 0)
		return base;
	if (span->scan == LOAM_SCAN_TYPED)
		return base |
		       (loam_pointer_bit(span, slot, 1) ? LOAM_WORDS_SECOND : LOAM_WORDS_FIRST);
	return base | LOAM_WORDS_BOTH;
}

/* Mark what `word` points to, if anything; returns the span it points to. `w` NULL: what waits then goes to all. */
static inline __attribute__((always_inline)) const struct loam_span *
mark_word(struct loam_worker *w, uintptr_t word)
{
	struct loam_span *span = loam_span_at_page(loam_page_index(word));
	uint64_t slot = loam_span_slot(span, word), bit = (uint64_t)1 << (slot % 64), *marks, bytes;

	if (slot >= span->slots)
		return span;
	marks = &span->bits[slot / 64].mark;
	if ((__atomic_load_n(marks, __ATOMIC_RELAXED) & bit) != 0 ||
	    !loam_span_slot_used(span, slot) ||
	    (loam_mark_set_bits(marks, bit, w != NULL && w->solo) & bit) != 0)
		return span;
	bytes = __atomic_load_n(&span->slot_bytes, __ATOMIC_RELAXED);
	if (w != NULL)
		w->marked_bytes += bytes;
	else
		__atomic_add_fetch(&loam_heap.marking_bytes, bytes, __ATOMIC_RELAXED);
	/* relaxed: set before the cycle, or the value has been shaded */
	if (__builtin_expect(__atomic_load_n(&span->keys, __ATOMIC_RELAXED), 0))
		loam_special_key_marked(span->base + slot * span->slot_bytes);
	if (span->scan == LOAM_SCAN_NONE)
		return span;
	if (loam_span_batched(span))
		enqueue(w, span, slot);
	else if (!loam_work_put_object(w, single(span, slot)))
		flag(span);
	return span;
}

void loam_mark_shade(struct loam_worker *w, uintptr_t word)
{
	if (loam_heap_has(word))
		mark_word(w, word);
}

/* ---- memory ---- */

/* A scan: whose it is, what was found, and what is nearby. */
struct scan {
	struct loam_worker *w;
	struct loam_near home; /* the batched span that was scanned last */
	struct loam_near
		granules; /* the untyped span of 16-byte objects that was pointed to last */
	struct loam_words words;
};

static void begin(struct scan *s, struct loam_worker *w)
{
	s->w = w;
	s->home = s->granules = (struct loam_near){0};
	loam_words_begin(&s->words);
}

static inline __attribute__((always_inline)) void mark_words(struct scan *s, bool solo)
{
	const uintptr_t *word = s->words.found, *end = word + s->words.count;
	struct loam_worker *w = s->w;
	bool room = w->object_most - w->object_count >= s->words.count;

	while (word < end) {
		if (room && loam_near_has(&s->granules, *word)) {
			word = loam_near_mark(&s->granules, w, word, end, solo, true);
		} else if (room && loam_near_has(&s->home, *word)) {
			word = loam_near_mark(&s->home, w, word, end, solo, false);
		} else {
			const struct loam_span *span = mark_word(w, *word++);

			if (span->slot_bytes == LOAM_GRANULE && span->scan == LOAM_SCAN_WORDS)
				s->granules = loam_near_of(span);
		}
	}
}

/* What was found is marked. */
static __attribute__((noinline)) void mark_found(struct scan *s)
{
	if (s->w->solo)
		mark_words(s, true);
	else
		mark_words(s, false);
	s->words.count = 0;
}

/* Words of [lo, hi), a chunk at most, of an object of the span; or of a root or a stack: then it is NULL. */
static inline __attribute__((always_inline)) void
scan_chunk(struct scan *s, const struct loam_span *span, uintptr_t lo, uintptr_t hi)
{
	if (__builtin_expect(loam_words_full(&s->words), 0))
		mark_found(s);
	if (span != NULL && span->scan == LOAM_SCAN_TYPED)
		loam_words_read_typed(&s->words, span, lo, hi);
	else
		loam_words_read(&s->words, lo, hi);
}

/* The same of any length. */
static void scan_on(struct scan *s, const struct loam_span *span, uintptr_t lo, uintptr_t hi)
{
	s->w->scanned_bytes += hi - lo;
	for (; hi - lo > LOAM_WORDS_CHUNK; lo += LOAM_WORDS_CHUNK)
		scan_chunk(s, span, lo, lo + LOAM_WORDS_CHUNK);
	scan_chunk(s, span, lo, hi);
}

static void scan_part(struct loam_worker *w, const struct loam_span *span, uintptr_t lo,
		      uintptr_t hi)
{
	struct scan s;

	begin(&s, w);
	scan_on(&s, span, lo, hi);
	mark_found(&s);
}

/* ---- objects that wait ---- */

/* One whose span knows how it is scanned. Of a large one a piece; the rest waits anew, for anybody. */
static void scan_single(struct scan *s, uintptr_t at)
{
	struct loam_span *span = loam_span_at_page(loam_page_index(at));
	uintptr_t size = __atomic_load_n(&span->slot_bytes, __ATOMIC_RELAXED), end;

	if (span->magic != 0) {
		if (s->home.base != span->base)
			s->home = loam_near_of(span);
		end = at + size;
	} else {
		end = span->base + size;
		if (end - at > PIECE) {
			end = at + PIECE;
			if (!loam_work_put_object(s->w, end))
				flag(span);
		}
	}
	scan_on(s, span, at, end);
}

/* Single objects that were asked for. */
struct batch {
	unsigned count;
	uintptr_t tags; /* those that all of them have */
	uintptr_t single[TOGETHER];
};

/* The last ones that wait: so that their memory is on the way while others are scanned. */
static inline void ask(struct loam_worker *w, struct batch *b)
{
	unsigned count = w->object_count < TOGETHER ? w->object_count : TOGETHER;
	const uintptr_t *from = &w->object[w->object_count - count];
	uintptr_t tags = LOAM_WORDS_BOTH;

	LOAM_ASSERT(w->object_count <= w->object_most);
	for (size_t i = 0; i < count; i++) {
		__builtin_prefetch((void *)from[i]);
		tags &= b->single[i] = from[i];
	}
	w->object_count -= count;
	b->count = count;
	b->tags = tags;
}

/* Scan those that were asked for. */
static inline void scan_batch(struct scan *s, const struct batch *b)
{
	if (__builtin_expect(b->tags == LOAM_WORDS_BOTH, 1)) {
		loam_words_read_singles(&s->words, b->single, b->count);
		s->w->scanned_bytes += b->count * LOAM_GRANULE;
		return;
	}
	for (unsigned i = 0; i < b->count; i++) {
		uintptr_t single = b->single[i], bytes = loam_words_bytes(single);

		if (bytes == 0) {
			scan_single(s, single);
			continue;
		}
		s->w->scanned_bytes += bytes;
		if (__builtin_expect(loam_words_full(&s->words), 0))
			mark_found(s);
		if (bytes == LOAM_GRANULE) {
			loam_words_read_single(&s->words, single);
		} else {
			single = loam_align_down(single, LOAM_GRANULE);
			loam_words_read(&s->words, single, single + bytes);
		}
	}
}

/* Single objects, until none waits here or it is enough; what was found before is marked first. Each is asked for three batches
 * before its turn. */
static void drain_objects(struct scan *s)
{
	struct batch batch[BATCHES], *b = batch;
	struct loam_worker *w = s->w;

	for (unsigned i = 0; i < BATCHES; i++)
		batch[i].count = 0;
	for (;;) {
		mark_found(s);
		/* fill up, as far as the one that was filled first */
		for (unsigned i = 0; i < BATCHES && b->count == 0; i++) {
			if (w->object_count > 0 && !loam_mark_enough(w))
				ask(w, b);
			b = b + 1 < batch + BATCHES ? b + 1 : batch;
		}
		if (b->count == 0)
			return;
		scan_batch(s, b);
		b->count = 0;
	}
}

/* A large one waits as if it was marked. */
void loam_mark_inside(struct loam_worker *w, uintptr_t base)
{
	const struct loam_span *span = loam_span_at_page(loam_page_index(base));

	if (loam_mark_is(base) || span->scan == LOAM_SCAN_NONE)
		return;
	if (span->magic != 0 || !loam_work_put_object(w, base))
		scan_part(w, span, base,
			  base + __atomic_load_n(&span->slot_bytes, __ATOMIC_RELAXED));
}

/* Is what is in use in the slot scanned? Marked objects are, and those with finalizers. */
static bool is_scanned(const struct loam_span *span, uint64_t slot)
{
	if (loam_span_slot_marked(span, slot))
		return true;
	return __atomic_load_n(&span->special, __ATOMIC_RELAXED) &&
	       loam_span_slot_used(span, slot) &&
	       loam_special_scanned(span->base + slot * span->slot_bytes);
}

/* ---- spans that wait ---- */

/* The memory of an object that is scanned soon. */
static inline void ask_for(const struct loam_span *span, uint64_t slot)
{
	uintptr_t at = span->base + slot * span->slot_bytes;

	for (uint64_t i = 0; i < span->slot_bytes && i < 512; i += 64)
		__builtin_prefetch((void *)(at + i));
}

static void scan_waiting(struct scan *s, const struct loam_span *span, uint32_t word,
			 uint64_t waiting)
{
	uint64_t asked = waiting, size = span->slot_bytes;
	uintptr_t base = span->base + (uintptr_t)word * 64 * size;

	if (size <= LOAM_WORDS_CHUNK)
		s->w->scanned_bytes += loam_popcount(waiting) * size;
	for (unsigned i = 0; i < SOON && asked != 0; i++, asked &= asked - 1)
		ask_for(span, word * 64 + (unsigned)__builtin_ctzll(asked));
	for (; waiting != 0; waiting &= waiting - 1) {
		uintptr_t at = base + (unsigned)__builtin_ctzll(waiting) * size;

		if (asked != 0)
			ask_for(span, word * 64 + (unsigned)__builtin_ctzll(asked));
		asked &= asked - 1;
		if (size <= LOAM_WORDS_CHUNK)
			scan_chunk(s, span, at, at + size);
		else
			scan_on(s, span, at, at + size);
	}
}

/* Scan what is marked in the span and was not scanned yet, upwards through memory. What was found last is not marked yet. */
static void scan_span(struct scan *s, struct loam_span *span)
{
	/* seq_cst: before the mark bits are read; what is marked meanwhile is for the next turn */
	uint32_t queue = __atomic_exchange_n(&span->queue, 0, __ATOMIC_SEQ_CST);
	uint64_t *scanned = loam_span_scan_bits(span);
	bool some = false;

	s->home = loam_near_of(span);
	if (queue != MANY) {
		uint64_t slot = queue - 1, bit = (uint64_t)1 << (slot % 64);

		/* [MARK-2] */
		if ((loam_mark_set_bits(&scanned[slot / 64], bit, s->w->solo) & bit) == 0)
			scan_on(s, span, span->base + slot * span->slot_bytes,
				span->base + (slot + 1) * span->slot_bytes);
		return;
	}
	for (uint32_t i = 0; i < loam_span_words(span); i++) {
		uint64_t waiting = __atomic_load_n(&span->bits[i].mark, __ATOMIC_SEQ_CST) &
				   ~__atomic_load_n(&scanned[i], __ATOMIC_RELAXED);

		if (waiting == 0)
			continue;
		/* the rest waits again; but never all of it, or a busy stopper could keep it waiting for ever */
		if (some && loam_mark_enough(s->w)) {
			if (__atomic_exchange_n(&span->queue, MANY, __ATOMIC_SEQ_CST) == 0)
				loam_work_put_span(s->w, loam_span_number(span));
			return;
		}
		waiting &=
			~__atomic_fetch_or(&scanned[i], waiting, __ATOMIC_RELAXED); /* [MARK-2] */
		scan_waiting(s, span, i, waiting);
		some = true;
	}
}

/* Single objects first, everybody's: the longer a span waits, the more of it is scanned at once. */
bool loam_mark_drain(struct loam_worker *w)
{
	struct scan s;
	uint32_t number;

	begin(&s, w);
	for (;;) {
		drain_objects(&s);
		if (loam_mark_enough(w))
			return true;
		if (loam_work_get_objects(w))
			continue;
		number = loam_work_get_span(w);
		if (number == 0)
			return false;
		scan_span(&s, loam_span_record(number));
	}
}

/* ---- roots ---- */

void loam_mark_range(struct loam_worker *w, const void *lo, const void *hi)
{
	uintptr_t from = loam_align_up((uintptr_t)lo, sizeof(uintptr_t)), end = (uintptr_t)hi;

	while (from < end) {
		const struct loam_cache *first = NULL;

		/* Records of attached threads may lie in it, in a kernel's .bss for instance. They hold addresses of
		 * slots, and are passed over: the collector's own data is not a root. */
		for (struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next) {
			if ((uintptr_t)t < end && (uintptr_t)(t + 1) > from &&
			    (first == NULL || t < first))
				first = t;
		}
		if (first == NULL || (uintptr_t)first > from)
			scan_part(w, NULL, from, first != NULL ? (uintptr_t)first : end);
		from = first != NULL ? (uintptr_t)(first + 1) : end;
	}
}

LOAM_NO_SANITIZE void loam_mark_words_apart(uintptr_t lo, uintptr_t hi)
{
	for (; lo < hi; lo += sizeof(uintptr_t))
		loam_mark_shade(NULL, __atomic_load_n((const uintptr_t *)lo, __ATOMIC_RELAXED));
}

/* ---- what was scanned, and is to be scanned once more ---- */

/* Of 16 bytes, with one bit for both words: read one by one. */
static bool single_typed(const struct loam_span *span)
{
	return span->scan == LOAM_SCAN_TYPED && span->slot_bytes == LOAM_GRANULE;
}

/* What is ever scanned of a page: bytes [lo, hi), which are in slots `first` to `last`, of `size` bytes. */
struct part {
	const struct loam_span *span;
	uintptr_t lo, hi;
	uint64_t first, last, size;
};

/* False: nothing is. */
static bool part_of(uintptr_t page, struct part *p)
{
	const struct loam_span *span = loam_span_at_page(loam_page_index(page));

	p->span = span;
	p->size = __atomic_load_n(&span->slot_bytes, __ATOMIC_RELAXED);
	p->lo = page > span->base ? page : span->base;
	p->hi = page + LOAM_PAGE_SIZE;
	if (p->hi > span->base + span->slots * p->size)
		p->hi = span->base + span->slots * p->size;
	if (span->scan == LOAM_SCAN_NONE || p->hi <= p->lo)
		return false;
	p->first = loam_span_slot(span, p->lo);
	p->last = loam_span_slot(span, p->hi - 1);
	return true;
}

/* Are all slots marked; is any? */
static void ask_marks(const struct part *p, bool *all, bool *any)
{
	*all = true;
	*any = false;
	for (uint64_t i = p->first / 64; i <= p->last / 64; i++) {
		uint64_t lo = i == p->first / 64 ? p->first % 64 : 0,
			 hi = i == p->last / 64 ? p->last % 64 : 63;
		uint64_t want = ~(uint64_t)0 >> (63 - hi) & ~(uint64_t)0 << lo;
		uint64_t is = __atomic_load_n(&p->span->bits[i].mark, __ATOMIC_RELAXED) & want;

		*all = *all && is == want;
		*any = *any || is != 0;
	}
}

bool loam_mark_page_has(uintptr_t page)
{
	struct part p;
	bool all, any;

	if (!part_of(page, &p))
		return false;
	ask_marks(&p, &all, &any);
	return any || __atomic_load_n(&p.span->special, __ATOMIC_RELAXED);
}

void loam_mark_page(struct loam_worker *w, uintptr_t page)
{
	struct scan s;
	struct part p;
	bool all, any;

	if (!part_of(page, &p))
		return;
	ask_marks(&p, &all, &any);
	begin(&s, w);
	if (all && !single_typed(p.span)) { /* mostly: they are as one */
		scan_on(&s, p.span, p.lo, p.hi);
	} else {
		for (uint64_t slot = p.first; slot <= p.last; slot++) {
			uintptr_t base = p.span->base + slot * p.size, end = base + p.size;

			if (is_scanned(p.span, slot))
				scan_on(&s, p.span, base > p.lo ? base : p.lo,
					end < p.hi ? end : p.hi);
		}
	}
	mark_found(&s);
}

/* Scan the marked objects of a span whose turn was lost. */
static void rescan_span(struct loam_worker *w, struct loam_span *span)
{
	/* others mark meanwhile: before the mark bits are read; partner: flag */
	(void)__atomic_exchange_n(&span->rescan, false, __ATOMIC_ACQ_REL);
	for (uint64_t slot = 0; slot < span->slots; slot++) {
		if (!is_scanned(span, slot))
			continue;
		for (uintptr_t at = 0; at < span->slot_bytes; at += PIECE) {
			uintptr_t base = span->base + slot * span->slot_bytes,
				  rest = span->slot_bytes - at;

			scan_part(w, span, base + at, base + at + (rest < PIECE ? rest : PIECE));
			loam_mark_drain(w);
		}
	}
}

bool loam_mark_overflowed(void)
{
	return __atomic_load_n(&overflowed, __ATOMIC_RELAXED);
}

void loam_mark_recover(struct loam_worker *w)
{
	(void)__atomic_exchange_n(&overflowed, false, __ATOMIC_ACQUIRE);
	for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
		/* acquire: partner of flag */
		if (__atomic_load_n(&s->rescan, __ATOMIC_ACQUIRE))
			rescan_span(w, s);
	}
}

/* ---- black from the start ---- */

void loam_mark_claimed(struct loam_span *span, uint32_t word, uint64_t slots)
{
	/* before the alloc bits: who finds the slot in use finds it marked; partner: loam_span_slot_used */
	uint64_t was = __atomic_fetch_or(&span->bits[word].mark, slots, __ATOMIC_RELAXED);

	if (loam_span_batched(span))
		__atomic_fetch_or(&loam_span_scan_bits(span)[word], slots, __ATOMIC_RELAXED);
	/* if they were white for a while, some word may have led there */
	__atomic_add_fetch(&loam_heap.marking_bytes, loam_popcount(slots & ~was) * span->slot_bytes,
			   __ATOMIC_RELAXED);
}
