/* SPDX-License-Identifier: MIT */
/*
 * What happened to objects lately, for reports of bad frees and bad touches: a ring of the last
 * events, each with the place in the program it came from. Kept at LOAM_DEBUG 2 and up; below that
 * nothing is noted and nothing is told.
 *
 *   [HISTORY-1] An event is written whole before its number is; a reader skips what is being
 *               overwritten.
 */
#include "gc/heap.h"
#include "mm/print.h"

#define EVENTS (LOAM_DEBUG >= 2 ? 4096u : 1u)

struct event {
	uint64_t number; /* atomic; 0: none, or being written */
	uintptr_t object;
	uint64_t size;
	uintptr_t pc;
	uint32_t kind, thread;
};

static struct event ring[EVENTS];
static uint64_t last; /* atomic */

void loam_history_note(enum loam_history_kind kind, const void *p, size_t size, const void *pc)
{
	const struct loam_cache *cache = loam_cache_mine();
	uint64_t number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
	struct event *e = &ring[number % EVENTS];

	if (LOAM_DEBUG < 2)
		return;
	/* release, each: who sees something of this event sees the 0 after it; partners: the acquires in tell */
	__atomic_store_n(&e->number, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->object, (uintptr_t)p, __ATOMIC_RELEASE);
	__atomic_store_n(&e->size, size, __ATOMIC_RELEASE);
	__atomic_store_n(&e->pc, (uintptr_t)pc, __ATOMIC_RELEASE);
	__atomic_store_n(&e->kind, kind, __ATOMIC_RELEASE);
	__atomic_store_n(&e->thread, cache != NULL ? cache->id : 0, __ATOMIC_RELEASE);
	/* release: the event comes first; partner: the acquire in loam_history_tell */
	__atomic_store_n(&e->number, number, __ATOMIC_RELEASE);
}

static void tell(const struct event *e, uint64_t number, uintptr_t addr)
{
	static const char *const what[] = {"allocated", "freed", "collected"};
	/* acquire, each: the number is looked at once more after it */
	uintptr_t object = __atomic_load_n(&e->object, __ATOMIC_ACQUIRE);
	uint64_t size = __atomic_load_n(&e->size, __ATOMIC_ACQUIRE);
	uintptr_t pc = __atomic_load_n(&e->pc, __ATOMIC_ACQUIRE);
	uint32_t kind = __atomic_load_n(&e->kind, __ATOMIC_ACQUIRE);
	uint32_t thread = __atomic_load_n(&e->thread, __ATOMIC_ACQUIRE);

	if (addr != object && addr - object >= size)
		return;
	if (__atomic_load_n(&e->number, __ATOMIC_RELAXED) != number || kind >= 3)
		return; /* overwritten while we looked */
	loam_log(LOAM_LOG_ERROR, "  event %llu: %p %s by thread %u at %#llx (%llu bytes)\n",
		 (unsigned long long)number, (void *)object, what[kind], (unsigned)thread,
		 (unsigned long long)pc, (unsigned long long)size);
}

void loam_history_tell(const void *p)
{
	uint64_t to = __atomic_load_n(&last, __ATOMIC_RELAXED);

	if (LOAM_DEBUG < 2)
		return;
	for (uint64_t n = to > EVENTS ? to - EVENTS + 1 : 1; n <= to; n++) {
		if (__atomic_load_n(&ring[n % EVENTS].number, __ATOMIC_ACQUIRE) == n)
			tell(&ring[n % EVENTS], n, (uintptr_t)p);
	}
}
