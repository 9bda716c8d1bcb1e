/* SPDX-License-Identifier: MIT */
/*
 * Who marks, and what waits.
 *
 * Threads mark for a slice of time (collect.c); for that they take a worker record, of which there is one a CPU.
 * What a worker marks waits with it: spans in a ring, first in, first out, for the longer a span waits the more of it
 * is scanned at once; single objects on a stack. What does not fit goes to all: spans to a list
 * through their records, which needs no memory, and objects to a stack of fixed size. A worker
 * takes from all first, where spans have waited longest, then from its own ring, and else steals half of another's. When its slice ends, everything it has goes to
 * all: nobody's work waits for a thread that does something else.
 *
 *   [WORK-1] What waits is in one place: with a worker that is taken, or with all.
 *   [WORK-2] A span waits once: who makes its `queue` other than 0 puts it, who takes it out makes it 0.
 *
 *   [WORK-3] While a worker is `solo`, no other thread touches mark bits, scan bits, queues or rings.
 *
 * Concurrency: a ring has one producer and many consumers: its thread fills a place and then moves `tail`
 * (release); whoever takes reads `head`, the places, and then moves `head` by compare-and-swap, so what
 * was read is taken by one alone. `head` and `tail` wrap at 2^32, and a ring can go round while a thief looks
 * only if its compare-and-swap then fails. The rest is under a lock. Threads here are inside, so in a stop every record is given back, or, if not attached, hold heap.collecting, so none comes. Model: tests/model/markdone.pml.
 */
#include "gc/check.h"
#include "gc/work.h"

#define STACK_BYTES ((uint64_t)256 << 10)
#define BATCH	    64u /* objects taken at once */

static struct loam_worker *workers; /* init */
static unsigned worker_count;	    /* init */
static uint64_t workers_bytes;	    /* init */

static struct {
	struct loam_gc_lock lock;
	uint32_t first, last; /* lock; atomic to look: spans, by queue_next; 0: none */
	uintptr_t *object;    /* init */
	uint64_t count;	      /* lock; atomic to look: objects */
	uint64_t limit;	      /* of each stack */
	uint32_t active;      /* atomic: workers taken */
	uint32_t alone;	      /* atomic: one of them marks without atomic operations, [WORK-3] */
} all;

/* ---- records ---- */

/*
 * A worker that nobody can disturb sets bits without atomic operations, which cost more than all else. Either this sees that
 * another thread is attached, or that thread sees `alone` and waits for the slice's end. Who has set it clears it: one that had to
 * take it back, and then detached, could else take ours back, and we would see that we are alone. Model: tests/model/alone.pml.
 */
static bool be_alone(void)
{
	/* seq_cst, in this order; partner: loam_work_not_alone */
	if (__atomic_exchange_n(&all.alone, 1, __ATOMIC_SEQ_CST) != 0)
		return false;
	LOAM_PLACE("alone");
	if (__atomic_load_n(&loam_heap.thread_count, __ATOMIC_SEQ_CST) == 1) {
		LOAM_ASSERT(__atomic_load_n(&all.active, __ATOMIC_RELAXED) == 1); /* [WORK-3] */
		return true;
	}
	__atomic_store_n(&all.alone, 0, __ATOMIC_RELEASE);
	return false;
}

void loam_work_not_alone(void)
{
	/* seq_cst: after thread_count was written; partners: be_alone, and the release in loam_worker_give */
	while (__atomic_load_n(&all.alone, __ATOMIC_SEQ_CST) != 0)
		loam_cpu_relax();
}

struct loam_worker *loam_worker_take(uint64_t enough_bytes, const uint32_t *stop, bool stopped)
{
	for (unsigned i = 0; i < worker_count; i++) {
		struct loam_worker *w = &workers[i];

		/* acquire: partner of the release in loam_worker_give */
		if (__atomic_load_n(&w->taken, __ATOMIC_RELAXED) == 0 &&
		    __atomic_exchange_n(&w->taken, 1, __ATOMIC_ACQUIRE) == 0) {
			__atomic_add_fetch(&all.active, 1, __ATOMIC_SEQ_CST);
			w->enough_bytes = enough_bytes;
			w->stop = stop;
			w->object_most = all.limit < LOAM_WORKER_OBJECTS ? (uint32_t)all.limit
									 : LOAM_WORKER_OBJECTS;
			w->solo = stopped || be_alone();
			return w;
		}
	}
	return NULL;
}

static void list_locked(uint32_t number)
{
	loam_span_record(number)->queue_next = 0;
	if (all.last != 0)
		loam_span_record(all.last)->queue_next = number;
	else
		__atomic_store_n(&all.first, number, __ATOMIC_SEQ_CST);
	all.last = number;
}

/* The oldest of its own spans; 0: none. */
static uint32_t pop(struct loam_worker *w)
{
	/* acquire: nothing is read before; partner: the swap of a thief */
	uint32_t head = __atomic_load_n(&w->head, __ATOMIC_ACQUIRE), number;

	if (w->solo) {
		if (head == w->tail)
			return 0;
		w->head = head + 1;
		return w->span[head % LOAM_WORKER_SPANS];
	}
	do {
		if (head == __atomic_load_n(&w->tail, __ATOMIC_RELAXED))
			return 0;
		number = __atomic_load_n(&w->span[head % LOAM_WORKER_SPANS], __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(&w->head, &head, head + 1, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return number;
}

static void push(struct loam_worker *w, uint32_t number)
{
	uint32_t tail = __atomic_load_n(&w->tail, __ATOMIC_RELAXED);

	__atomic_store_n(&w->span[tail % LOAM_WORKER_SPANS], number, __ATOMIC_RELAXED);
	/* release: the place is filled; partner: the acquire of a thief */
	__atomic_store_n(&w->tail, tail + 1, __ATOMIC_RELEASE);
}

static uint32_t held(const struct loam_worker *w)
{
	return __atomic_load_n(&w->tail, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(&w->head, __ATOMIC_ACQUIRE);
}

/* The first `count` objects, which have waited longest, go to all. Returns how many had room. */
static uint32_t give_objects_locked(struct loam_worker *w, uint32_t count)
{
	uint64_t room = all.limit - all.count;

	if (count > room)
		count = (uint32_t)room;
	for (uint32_t i = 0; i < count; i++)
		all.object[all.count + i] = w->object[i];
	__atomic_store_n(&all.count, all.count + count, __ATOMIC_SEQ_CST);
	for (uint32_t i = count; i < w->object_count; i++)
		w->object[i - count] = w->object[i];
	w->object_count -= count;
	return count;
}

static void put_back_locked(struct loam_worker *w);

void loam_worker_give(struct loam_worker *w)
{
	uint32_t number;

	if (held(w) > 0 || w->object_count > 0 || w->hand_at < w->hand_count) {
		loam_gc_lock(&all.lock);
		put_back_locked(w);
		while ((number = pop(w)) != 0)
			list_locked(number);
		give_objects_locked(w, w->object_count);
		loam_gc_unlock(&all.lock);
	}
	while (w->object_count > 0) /* no room: the span is scanned again in the end */
		loam_mark_again(w->object[--w->object_count]);
	__atomic_add_fetch(&loam_heap.marking_bytes, w->marked_bytes, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loam_heap.scanned_bytes, w->scanned_bytes, __ATOMIC_RELAXED);
	w->marked_bytes = w->scanned_bytes = 0;
	LOAM_ASSERT(held(w) == 0 && w->object_count == 0 &&
		    w->hand_at == w->hand_count); /* [WORK-1] */
	if (w->solo)
		__atomic_store_n(&all.alone, 0, __ATOMIC_RELEASE);
	/* in this order: who sees nobody active sees the lists as they are; partner: loam_work_none */
	__atomic_sub_fetch(&all.active, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&w->taken, 0, __ATOMIC_RELEASE);
}

/* ---- putting ---- */

void loam_work_put_span(struct loam_worker *w, uint32_t number)
{
	if (w != NULL && held(w) < LOAM_WORKER_SPANS) {
		push(w, number);
		return;
	}
	loam_gc_lock(&all.lock);
	list_locked(number);
	for (unsigned i = 0; w != NULL && i < LOAM_WORKER_SPANS / 2 && (number = pop(w)) != 0; i++)
		list_locked(number);
	loam_gc_unlock(&all.lock);
}

bool loam_work_put_far(struct loam_worker *w, uintptr_t single)
{
	bool room;

	loam_gc_lock(&all.lock);
	if (w != NULL)
		give_objects_locked(w, w->object_count / 2);
	room = all.count < all.limit;
	if (room) {
		all.object[all.count] = single;
		__atomic_store_n(&all.count, all.count + 1, __ATOMIC_SEQ_CST);
	}
	loam_gc_unlock(&all.lock);
	return room;
}

/* ---- taking ---- */

/* What has waited longest, of all's. False: nothing has. */
static bool take_listed(struct loam_worker *w)
{
	w->hand_at = w->hand_count = 0;
	if (__atomic_load_n(&all.first, __ATOMIC_RELAXED) == 0)
		return false;
	loam_gc_lock(&all.lock);
	while (w->hand_count < LOAM_WORKER_HAND && all.first != 0) {
		uint32_t number = all.first, next = loam_span_record(number)->queue_next;

		__atomic_store_n(&all.first, next, __ATOMIC_SEQ_CST);
		if (next == 0)
			all.last = 0;
		w->hand[w->hand_count++] = number;
	}
	loam_gc_unlock(&all.lock);
	return w->hand_count > 0;
}

/* What is left of those, back to where they were. */
static void put_back_locked(struct loam_worker *w)
{
	while (w->hand_count > w->hand_at) {
		uint32_t number = w->hand[--w->hand_count];

		loam_span_record(number)->queue_next = all.first;
		if (all.first == 0)
			all.last = number;
		__atomic_store_n(&all.first, number, __ATOMIC_SEQ_CST);
	}
}

/* Half of what another worker has. */
static uint32_t steal_from(struct loam_worker *w, struct loam_worker *victim)
{
	for (;;) {
		/* acquire, in this order: partners: the release in push, the swaps of others */
		uint32_t head = __atomic_load_n(&victim->head, __ATOMIC_ACQUIRE);
		uint32_t have = __atomic_load_n(&victim->tail, __ATOMIC_ACQUIRE) - head;
		uint32_t number, count = have - have / 2,
				 tail = __atomic_load_n(&w->tail, __ATOMIC_RELAXED);

		if (have == 0)
			return 0;
		if (have > LOAM_WORKER_SPANS) /* the two are of different moments */
			continue;
		/* the first stays in hand: two thieves could else take it from each other for ever */
		number = __atomic_load_n(&victim->span[head % LOAM_WORKER_SPANS], __ATOMIC_RELAXED);
		for (uint32_t i = 1; i < count; i++) {
			uint32_t loot = __atomic_load_n(
				&victim->span[(head + i) % LOAM_WORKER_SPANS], __ATOMIC_RELAXED);

			__atomic_store_n(&w->span[(tail + i - 1) % LOAM_WORKER_SPANS], loot,
					 __ATOMIC_RELAXED);
		}
		if (!__atomic_compare_exchange_n(&victim->head, &head, head + count, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		/* release: the places are filled */
		__atomic_store_n(&w->tail, tail + count - 1, __ATOMIC_RELEASE);
		return number;
	}
}

/* All's come first, for they have waited longer than its own. */
uint32_t loam_work_get_span(struct loam_worker *w)
{
	uint32_t number;

	if (w->hand_at < w->hand_count || take_listed(w))
		return w->hand[w->hand_at++];
	number = pop(w);
	for (unsigned i = 0; i < worker_count && number == 0; i++) {
		if (&workers[i] != w)
			number = steal_from(w, &workers[i]);
	}
	return number;
}

bool loam_work_get_objects(struct loam_worker *w)
{
	uint64_t most = BATCH < all.limit ? BATCH : all.limit, count;

	if (__atomic_load_n(&all.count, __ATOMIC_RELAXED) == 0)
		return false;
	loam_gc_lock(&all.lock);
	count = all.count;
	while (count > 0 && w->object_count < most)
		w->object[w->object_count++] = all.object[--count];
	__atomic_store_n(&all.count, count, __ATOMIC_SEQ_CST);
	loam_gc_unlock(&all.lock);
	return true;
}

/* ---- questions ---- */

bool loam_work_none(void)
{
	/* seq_cst, in this order: a worker that was active has given its work before */
	return __atomic_load_n(&all.active, __ATOMIC_SEQ_CST) == 0 &&
	       __atomic_load_n(&all.first, __ATOMIC_SEQ_CST) == 0 &&
	       __atomic_load_n(&all.count, __ATOMIC_SEQ_CST) == 0;
}

/* ---- start and end ---- */

enum loam_err loam_work_init(void)
{
	enum loam_err err;
	void *p;

	worker_count =
		loam_host_cpu_count() < LOAM_WORKER_MAX ? loam_host_cpu_count() : LOAM_WORKER_MAX;
	workers_bytes = loam_align_up(worker_count * sizeof(*workers), LOAM_PAGE_SIZE);
	err = loam_sys_alloc(workers_bytes + STACK_BYTES, LOAM_OWNER_GC, &p);
	if (err != LOAM_OK)
		return err;
	workers = p;
	all.object = (uintptr_t *)((uintptr_t)p + workers_bytes);
	all.first = all.last = 0;
	all.count = 0;
	all.active = 0;
	loam_work_limit(0);
	return LOAM_OK;
}

void loam_work_reset(void)
{
	enum loam_err err = LOAM_OK;

	if (workers != NULL)
		err = loam_sys_free((uintptr_t)workers, workers_bytes + STACK_BYTES);
	LOAM_CHECK(err == LOAM_OK, "the mark's workers could not be freed");
	workers = NULL;
	worker_count = 0;
}

void loam_work_limit(uint64_t entries)
{
	uint64_t most = STACK_BYTES / sizeof(*all.object);

	all.limit = entries == 0 || entries > most ? most : entries;
}
