/* SPDX-License-Identifier: MIT */
/*
 * Check-mark: a second marker, which has nothing in common with the first but the records of spans. When marking is
 * over, still in the last stop, it walks the graph from the roots, with a bit map and a stack of its own, and looks
 * whether all that it comes by is marked (Go's GODEBUG=gccheckmark=1). Simple on purpose: one object at a time, one
 * word at a time, slots by division.
 *
 *   [CHECK-1] What can be reached when marking ends is marked.
 *   [CHECK-2] A pointer in a typed object leads to an object in use, or out of the heap. Else it is a zombie: its object
 *             was freed explicitly and is still pointed to. The program's fault, so it is told and counted, no more.
 *             A conservative word proves nothing. Nor does a look at an unlucky moment, between the free of an object and
 *             the clearing of the pointer to it; or a pointer to the end of an object, which is the start of the next.
 *
 * Stacks. With LOAM_BARRIER_SOFTWARE they are looked at when marking begins, and not again. What is then in a
 * dead word of a frame can be the address of an object that died since: such a word is stale, and counted. Whatever a
 * marked object or a root range leads to must be marked all the same.
 *
 * Slots that are claimed and not handed out ([CACHE-1]) are marked, and hold old bytes: not scanned.
 *
 * When the stack is full, objects are reached without a place on it; once it is empty, a pass over all that is
 * reached and was not scanned fills it again. Each pass scans one object at least, or is the last.
 *
 * Memory: two bits a granule of 16 bytes, 1/64 of the heap, backed in the stop as far as the heap has grown; and 64 KiB.
 * When there is none the cycle goes unchecked; that is counted, and told. What is found is told after the stop, for a
 * thread may have been stopped amid a line of the log. It waits in memory that is no root.
 *
 * Concurrency: all of it stopped, or with heap.collecting held.
 * Reference: Go, src/runtime/mgcmark.go (checkmark mode) and mgcsweep.go (reportZombies).
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "mm/print.h"

void *memset(void *dst, int c, size_t n);

#define STACK_MOST 8000u /* objects */
#define TELL_MOST  8u	 /* zombies a cycle that are told one by one */

struct zombie {
	uintptr_t at, object, to;
	const char *how;
	bool end; /* it may be the end of the object before */
};

/* No root, so it may hold addresses. */
struct memory {
	uintptr_t stack[STACK_MOST]; /* objects that are reached, to be scanned */
	struct zombie zombie[TELL_MOST];
};

/* Where a word was found: in an object, or object 0. */
struct place {
	uintptr_t at, object;
	bool exact; /* it is a pointer, nothing else */
};

/* The slot around an address. */
struct target {
	struct loam_span *span;
	uint64_t slot;
	uintptr_t base;
};

static bool on;
static struct loam_table reached, scanned; /* bit a granule: at the start of objects */
static struct memory *memory;
static uint32_t depth;	 /* of the stack */
static bool overflowed;	 /* the stack was full */
static bool forgiving;	 /* what is found now need not be marked */
static bool unchecked;	 /* to be told: there was no memory */
static uint64_t to_tell; /* zombies of the last cycle */
static struct loam_gc_check figures;

/* ---- bits, slots ---- */

static bool test(const uint64_t *bits, uint64_t i)
{
	return (bits[i / 64] >> (i % 64) & 1) != 0;
}

/* True: it was clear. */
static bool set(const struct loam_table *table, uintptr_t object)
{
	uint64_t *bits = (uint64_t *)table->base, i = (object - loam_heap.base) / LOAM_GRANULE;

	if (test(bits, i))
		return false;
	bits[i / 64] |= (uint64_t)1 << (i % 64);
	return true;
}

/* False: there is no object in use around `addr`; t->span is NULL if there is no slot either. */
static bool find(uintptr_t addr, struct target *t)
{
	t->span = loam_span_of(addr);
	if (t->span == NULL)
		return false;
	t->slot = (addr - t->span->base) / t->span->slot_bytes;
	t->base = t->span->base + t->slot * t->span->slot_bytes;
	if (addr < t->span->base || t->slot >= t->span->slots) {
		t->span = NULL;
		return false;
	}
	return loam_span_slot_used(t->span, t->slot);
}

static bool claimed(const struct target *t)
{
	return loam_span_current(t->span) &&
	       loam_bin_holds(loam_bin_of(loam_cache_by_id(t->span->owner), t->span), t->span,
			      t->slot);
}

/* ---- what is wrong ---- */

/* May `addr` be the end of the object before? */
static bool is_end(uintptr_t addr)
{
	struct target before, at;

	return find(addr - 1, &before) && (find(addr, &at), at.span == NULL || at.base == addr);
}

static void zombie(const struct place *from, uintptr_t to, const char *how)
{
	if (figures.zombies < TELL_MOST)
		memory->zombie[figures.zombies] = (struct zombie){.at = from->at,
								  .object = from->object,
								  .to = to,
								  .how = how,
								  .end = is_end(to)};
	figures.zombies++;
}

static void lost(const struct place *from, const struct target *t)
{
	struct target holder;

	loam_log(LOAM_LOG_ERROR,
		 "loam: check: %p can be reached and is not marked (slot %llu of %llu bytes, class "
		 "%u, span %#llx)\n",
		 (void *)t->base, (unsigned long long)t->slot,
		 (unsigned long long)t->span->slot_bytes, (unsigned)t->span->span_class,
		 (unsigned long long)t->span->base);
	if (from->object != 0 && find(from->object, &holder))
		loam_log(LOAM_LOG_ERROR,
			 "loam: check: found in %p, of the object %p (%llu bytes, class %u)\n",
			 (void *)from->at, (void *)from->object,
			 (unsigned long long)holder.span->slot_bytes,
			 (unsigned)holder.span->span_class);
	else
		loam_log(LOAM_LOG_ERROR, "loam: check: found in %p, a root or a stack\n",
			 (void *)from->at);
	loam_history_tell((void *)t->base);
	LOAM_CHECK(false, "[CHECK-1] an object can be reached and is not marked");
}

/* An exact pointer: does it lead to something? */
static void judge(const struct place *from, uintptr_t to, const struct target *t, bool used)
{
	const struct loam_span *span = loam_span_of(to);

	if (span != NULL && span->offheap)
		return;
	if (!used)
		zombie(from, to, "free");
	else if (claimed(t))
		zombie(from, to, "free, and about to be used again");
	else if (test(t->span->remote_bits, t->slot))
		zombie(from, to, "freed, and waits for its owner or the sweep");
}

/* ---- the walk ---- */

static void push(uintptr_t object)
{
	if (depth < STACK_MOST)
		memory->stack[depth++] = object;
	else
		overflowed = true;
}

static void visit_word(const struct place *from, uintptr_t word)
{
	struct target t;
	bool used;

	if (!loam_heap_has(word))
		return;
	used = find(word, &t);
	if (from->exact)
		judge(from, word, &t, used);
	if (!used || test((uint64_t *)reached.base, (t.base - loam_heap.base) / LOAM_GRANULE))
		return;
	if (!loam_span_slot_marked(t.span, t.slot)) {
		if (!forgiving)
			lost(from, &t);
		figures.stale++;
		return;
	}
	(void)set(&reached, t.base);
	figures.objects++;
	if (t.span->scan != LOAM_SCAN_NONE && !claimed(&t))
		push(t.base);
}

LOAM_NO_SANITIZE static uintptr_t load(uintptr_t at)
{
	return __atomic_load_n((const uintptr_t *)at, __ATOMIC_RELAXED);
}

static void scan_object(uintptr_t object)
{
	struct place from = {.object = object};
	struct target t;
	bool typed;

	if (!find(object, &t) || !set(&scanned, object))
		return;
	typed = t.span->scan == LOAM_SCAN_TYPED;
	/* what is freed may point to what is freed with it */
	from.exact = typed && !test(t.span->remote_bits, t.slot);
	for (uint64_t i = 0; i < t.span->slot_bytes / sizeof(uintptr_t); i++) {
		if (typed && !loam_pointer_bit(t.span, t.slot, i))
			continue;
		from.at = object + i * sizeof(uintptr_t);
		visit_word(&from, load(from.at));
	}
}

static void drain(void)
{
	while (depth > 0)
		scan_object(memory->stack[--depth]);
}

/* What had no place on the stack. */
static void refill(void)
{
	overflowed = false;
	for (struct loam_span *s = loam_span_next(NULL); s != NULL; s = loam_span_next(s)) {
		for (uint64_t slot = 0; s->scan != LOAM_SCAN_NONE && slot < s->slots; slot++) {
			struct target t = {s, slot, s->base + slot * s->slot_bytes};
			uint64_t i = (t.base - loam_heap.base) / LOAM_GRANULE;

			if (test((uint64_t *)reached.base, i) &&
			    !test((uint64_t *)scanned.base, i) && !claimed(&t)) {
				scan_object(t.base);
				drain();
			}
		}
	}
}

/* Records of threads are passed over: they are the collector's. */
static bool in_record(uintptr_t at)
{
	for (const struct loam_cache *t = loam_heap.threads; t != NULL; t = t->next) {
		if (at >= (uintptr_t)t && at < (uintptr_t)(t + 1))
			return true;
	}
	return false;
}

static void visit_range(void *unused, const void *lo, const void *hi)
{
	uintptr_t end = loam_align_down((uintptr_t)hi, sizeof(uintptr_t));

	(void)unused;
	for (uintptr_t at = loam_align_up((uintptr_t)lo, sizeof(uintptr_t)); at < end;
	     at += sizeof(uintptr_t)) {
		uintptr_t word = load(at);

		if (loam_heap_has(word) && !in_record(at))
			visit_word(&(struct place){.at = at}, word);
	}
}

static void walk(const void *sp)
{
	loam_roots_visit(visit_range, NULL);
	loam_pins_visit(visit_range, NULL);
	loam_specials_visit(visit_range, NULL);
	drain(); /* first: a word of a stack says less of where it came from */
	forgiving = loam_heap.barrier == LOAM_BARRIER_SOFTWARE;
	visit_range(NULL, sp, loam_cache_self()->stack_base);
	loam_host_stacks(visit_range, NULL);
	forgiving = false;
	drain();
	while (overflowed)
		refill();
}

/* Two empty maps of the heap. */
static bool prepare(void)
{
	uint64_t bytes = loam_heap.mapped_bytes / LOAM_GRANULE / 8 + 8;

	if (loam_table_grow(&reached, bytes) != LOAM_OK ||
	    loam_table_grow(&scanned, bytes) != LOAM_OK)
		return false;
	memset((void *)reached.base, 0, bytes);
	memset((void *)scanned.base, 0, bytes);
	depth = 0;
	overflowed = false;
	return true;
}

void loam_checkmark_run(const void *sp)
{
	if (!on)
		return;
	unchecked = !prepare();
	if (unchecked) {
		figures.skipped++;
		return;
	}
	figures.objects = figures.stale = figures.zombies = 0;
	walk(sp);
	figures.cycles++;
	to_tell = figures.zombies;
}

void loam_checkmark_tell(void)
{
	if (unchecked)
		loam_log(LOAM_LOG_ERROR, "loam: check: no memory for it: a cycle goes unchecked\n");
	unchecked = false;
	for (uint64_t i = 0; i < to_tell && i < TELL_MOST; i++) {
		const struct zombie *z = &memory->zombie[i];

		loam_log(LOAM_LOG_ERROR,
			 "loam: check: zombie: %p in the object %p points to %p, which is %s%s\n",
			 (void *)z->at, (void *)z->object, (void *)z->to, z->how,
			 z->end ? " (unless it means the end of the object before)" : "");
		loam_history_tell((void *)z->to);
	}
	if (to_tell > TELL_MOST)
		loam_log(LOAM_LOG_ERROR, "loam: check: and %llu more\n",
			 (unsigned long long)(to_tell - TELL_MOST));
	to_tell = 0;
}

/* ---- on and off ---- */

static void turn_off(void)
{
	enum loam_err err = LOAM_OK;

	on = false;
	to_tell = 0;
	loam_table_free(&reached);
	loam_table_free(&scanned);
	if (memory != NULL)
		err = loam_sys_free((uintptr_t)memory,
				    loam_align_up(sizeof(*memory), LOAM_PAGE_SIZE));
	LOAM_CHECK(err == LOAM_OK, "the memory of the check could not be freed");
	memory = NULL;
}

static enum loam_err turn_on(void)
{
	uint64_t bytes = loam_heap.reserved_bytes / LOAM_GRANULE / 8 + 8;
	enum loam_err err = loam_table_reserve(&reached, bytes);
	void *p = NULL;

	if (err == LOAM_OK)
		err = loam_table_reserve(&scanned, bytes);
	if (err == LOAM_OK)
		err = loam_sys_alloc(sizeof(*memory), LOAM_OWNER_GC, &p);
	memory = p;
	on = err == LOAM_OK;
	if (!on)
		turn_off();
	return err;
}

enum loam_err loam_gc_set_check(bool want)
{
	enum loam_err err = LOAM_OK;

	if (!loam_heap.initialised)
		return LOAM_NOENT;
	loam_gc_lock(&loam_heap.collecting); /* outside: we can be stopped while we wait */
	if (want && !on)
		err = turn_on();
	else if (!want && on)
		turn_off();
	/* relaxed: what is copied to just now is at worst a false alarm */
	__atomic_store_n(&loam_heap.exact, on || loam_audit_on(), __ATOMIC_RELAXED);
	loam_gc_unlock(&loam_heap.collecting);
	return err;
}

void loam_gc_check_read(struct loam_gc_check *check)
{
	loam_gc_lock(&loam_heap.collecting);
	*check = figures;
	loam_gc_unlock(&loam_heap.collecting);
}

enum loam_err loam_checkmark_init(bool want)
{
	figures = (struct loam_gc_check){0};
	loam_heap.exact = want || loam_audit_on();
	return want ? turn_on() : LOAM_OK;
}

void loam_checkmark_reset(void)
{
	turn_off();
}
