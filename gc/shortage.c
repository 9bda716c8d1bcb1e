/* SPDX-License-Identifier: MIT */
/*
 * Who finds no memory: the queue of such threads.
 *
 * What one thread's collection frees another could take before the first looks again, so that it would be told that there is no
 * memory while what there is goes round among others. So those who find none take a number, and one after the other has its turn: it
 * looks, collects, looks, gives back what is free in other places, and looks once more. From when it collects until it goes the heap is shut: whoever else
 * wants memory that is no thread's yet takes a number too; slots of spans that it owns a thread still takes, and nothing else. Whose turn it is either gets
 * memory or is told that there is none, and goes: so each waits for those before it alone, and there is always an end.
 *
 *   [SHORT-1] An allocation gives NULL only if what was reachable when a cycle began, amid that call, left no room for it, and nobody has taken
 *             memory since then out of turn.
 *
 * The cycle begins when the heap is shut: before that others may have taken, and dropped again, what an earlier one has freed. Who has
 * found it open is inside, and done before that cycle's stop. But if the turn before ended without memory, after a cycle that began when we
 * waited already, that one tells for us too, for the heap stays shut in between: threads of which each finds that all is live share cycles. If the turn
 * before ended with memory the heap is open until we have looked in vain: else threads that are short often would all go through the queue for
 * everything, each waiting until a CPU comes to the one before it.
 *
 * Concurrency: numbers are taken and waited for outside, where a thread can be stopped, so who has its turn can stop the world. Who waits
 * helps to mark. Single-threaded, the turn is there at once. Nobody who waits holds a lock of the heap; those of the program are its own affair, for
 * whose turn it is waits for no lock of the program.
 *
 * References: none that does so. Go's mheap.alloc throws; jemalloc tries once more.
 */
#include "gc/check.h"
#include "gc/record.h"

#include "arch/cpu.h"

static struct loam_queue *const queue = &loam_heap.queue;

struct loam_shortage loam_shortage(void)
{
	return (struct loam_shortage){.fresh = loam_collect_fresh()};
}

bool loam_shortage_others(const struct loam_shortage *s)
{
	/* relaxed: who misses that it is just shut is done before the stop of the cycle that follows */
	return !s->queued && __atomic_load_n(&queue->shut, __ATOMIC_RELAXED);
}

/* Take a number and wait for its turn; false: there was nobody to wait for. Outside. */
static bool wait_for_turn(struct loam_cache *cache, struct loam_shortage *s)
{
	uint64_t number = __atomic_fetch_add(&queue->next, 1, __ATOMIC_RELAXED);
	bool waited = __atomic_load_n(&queue->turn, __ATOMIC_RELAXED) != number;

	LOAM_PLACE("a number is taken");
	/* acquire: what the turn before has learnt; partner: the release in next_turn */
	while (__atomic_load_n(&queue->turn, __ATOMIC_ACQUIRE) != number)
		loam_collect_help(cache);
	s->queued = true;
	return waited;
}

static void next_turn(struct loam_shortage *s)
{
	s->queued = false;
	__atomic_store_n(&queue->turn, queue->turn + 1, __ATOMIC_RELEASE);
}

void loam_shortage_wait(struct loam_cache *cache, struct loam_shortage *s)
{
	bool waited;

	loam_cache_leave(cache);
	waited = wait_for_turn(cache, s);
	loam_cache_enter(cache);
	s->all = waited && queue->lacked >= s->fresh; /* [SHORT-1]: one look is left */
}

static void open_heap(void)
{
	queue->lacked = 0; /* what is taken may be dropped before those behind us look */
	__atomic_store_n(&queue->shut, false, __ATOMIC_RELAXED);
}

void loam_shortage_over(struct loam_shortage *s)
{
	if (__builtin_expect(!s->queued, 1))
		return;
	open_heap();
	next_turn(s);
}

/* There is no memory. Who is behind us, if anybody, opens the heap. */
static void give_up(struct loam_shortage *s)
{
	if (queue->lacked < s->fresh)
		queue->lacked = s->fresh;
	if (__atomic_load_n(&queue->next, __ATOMIC_RELAXED) == queue->turn + 1)
		open_heap();
	next_turn(s);
}

/* It is our turn, and we have looked: the next best. Inside, but not meanwhile. */
static void free_memory(struct loam_cache *cache, struct loam_shortage *s)
{
	uint64_t cycles = __atomic_load_n(&loam_heap.cycles, __ATOMIC_RELAXED);

	if (!s->shut) {
		__atomic_store_n(&queue->shut, true, __ATOMIC_RELAXED);
		s->shut = true;
		s->fresh = loam_collect_fresh();
	}
	loam_cache_leave(cache);
	if (cycles < s->fresh) {
		loam_collect_complete(cache, cycles + 1, LOAM_WHY_SHORTAGE);
	} else {
		loam_sweep_finish(cache);
		loam_collect_release(cache);
		s->all = true;
	}
	LOAM_PLACE("memory was freed");
	loam_cache_enter(cache);
}

bool loam_shortage_helped(struct loam_cache *cache, struct loam_shortage *s)
{
	uint64_t start = loam_host_now_ns();

	if (s->all) {
		give_up(s);
		return false;
	}
	if (s->queued)
		free_memory(cache, s);
	else
		loam_shortage_wait(cache, s);
	loam_record_stall(start);
	return true;
}
