/* SPDX-License-Identifier: MIT */
/* The collector: threads, roots, and when to collect. */
#ifndef LOAM_GC_H
#define LOAM_GC_H

#include <loam/err.h>
#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A thread that uses the heap: memory of the caller's (15 KiB), 64-byte aligned, untouched by it between
 * attach and detach. The contents are loam's.
 */
struct loam_thread {
	uint64_t opaque[1920] __attribute__((aligned(64)));
};

/*
 * Bind `thread` to the running thread, whose stack starts (highest address) at `stack_base`.
 * Everything between the stack pointer and stack_base is a conservative root.
 * Fails: EXIST this thread is attached already; INVAL stack_base not above the stack pointer
 * or not pointer-aligned. Context: thread.
 */
LOAM_MUST_USE enum loam_err loam_thread_attach(struct loam_thread *thread, void *stack_base);

/* Undo, from the same thread: its cache goes back to the heap. Fails: NOENT not attached. */
LOAM_MUST_USE enum loam_err loam_thread_detach(struct loam_thread *thread);

/*
 * May the attached `thread` be stopped where it is now? False inside the allocator: the host
 * then calls loam_thread_request_stop and lets it run on; on its way out of the allocator it
 * calls loam_host_thread_parked. Context: any, also a signal handler of that thread.
 */
bool loam_thread_may_stop(const struct loam_thread *thread);
void loam_thread_request_stop(struct loam_thread *thread);

/*
 * [lo, hi) holds pointers: scanned conservatively at each collection. Pointer-aligned inward.
 * At most 1,024 ranges. Fails: INVAL empty or reversed; EXIST overlaps another; LIMIT too many.
 */
LOAM_MUST_USE enum loam_err loam_root_add(void *lo, void *hi);

/* Remove a range that was added with just these bounds. Fails: NOENT. */
LOAM_MUST_USE enum loam_err loam_root_remove(void *lo, void *hi);

/*
 * Collect now, wholly: what is unreachable when it is called is free when it returns. Stacks and registers are
 * scanned conservatively: a stale word there, of a function that has returned or a variable that is dead, reaches
 * an object as well as a live one.
 */
void loam_gc(void);

/*
 * Collect, and give all memory back that is free: of the heap, and pooled stacks. Returns bytes of the heap
 * that went back. Source: Go's debug.FreeOSMemory.
 */
uint64_t loam_release(void);

/*
 * Donate up to `budget_ns` nanoseconds to the collector: marking, sweeping, giving memory back; and
 * finalizers and cleanups that are due, of which the last may take as long as it likes. Returns
 * true if there is more to do; false: there is not, or others are at all of it, and who is idle may
 * sleep. Context: thread, with no lock held that a finalizer may want.
 */
bool loam_gc_work(uint64_t budget_ns);

/*
 * Keep the object around `p` alive, and refuse to free it, until it is unpinned as often: for
 * memory that a device works on. Fails: NOENT no object; NOMEM. Source: Go's runtime.Pinner.
 */
LOAM_MUST_USE enum loam_err loam_pin(void *p);

/* Undo one loam_pin. Fails: NOENT not pinned. */
enum loam_err loam_unpin(void *p);

/*
 * What is to happen when an object dies. All of these take an object of the heap, not a tiny one; where `p` may point
 * into it, any byte will do. "Dies" means that a collection finds it unreachable. loam_free is not dying: it drops
 * finalizer and cleanups without running them, weak pointers to the object read NULL from then on, ephemerons with that
 * key too. loam_realloc that has to move an object with a finalizer or cleanups fails; weak pointers and ephemerons
 * see the old block as freed.
 *
 * Finalizers and cleanups run in loam_finalizers_run and loam_gc_work, on the stack of whoever calls, one at a time in
 * the whole system, in the order in which they became due. They may do everything, also allocate, collect, and set
 * finalizers. One that waits for another waits for ever. At shutdown none is run.
 * Source: Go's runtime.SetFinalizer, runtime.AddCleanup, package weak; Hayes, "Ephemerons" (OOPSLA 1997).
 * Context of all: thread (attached).
 */

/*
 * When `obj` is unreachable run fn(obj, arg), once. `obj` is reachable until then and through the call, and so is all
 * that it points to, and `arg`. Then it has no finalizer, and a later collection frees it, if nothing reaches it
 * again. So a chain of objects is finalized from its head on, a collection each. An object from which a way leads back
 * to itself is never finalized: also a list head that points to itself; a cleanup has no such trouble.
 * `fn` NULL removes the finalizer.
 * Fails: INVAL not the start of an object, or a tiny one; NOENT no object, or no finalizer to remove; EXIST it has one;
 * NOMEM. On failure nothing has changed.
 */
LOAM_MUST_USE enum loam_err loam_finalizer_set(void *obj, void (*fn)(void *obj, void *arg),
					       void *arg);

/* Names one call of loam_cleanup_add. */
struct loam_cleanup {
	uint64_t id;
};

/*
 * When the object around `p` is gone, after its finalizer if it has one, run fn(arg). `arg` is kept until then. Any
 * number an object, in no order. The object must not be reachable from `arg`, or it never dies.
 * *cleanup (which may be NULL) is for loam_cleanup_stop; untouched on failure.
 * Fails: INVAL a tiny object, `fn` NULL, or `arg` points into the object; NOENT no object; NOMEM.
 */
LOAM_MUST_USE enum loam_err loam_cleanup_add(const void *p, void (*fn)(void *arg), void *arg,
					     struct loam_cleanup *cleanup);

/* It shall not run. Fails: NOENT it is due already, has run, was stopped, or its object was freed by loam_free. */
enum loam_err loam_cleanup_stop(struct loam_cleanup cleanup);

/* A pointer that keeps nothing alive. Equal ids are equal pointers; id 0 is never one. */
struct loam_weak {
	uint64_t id;
};

/*
 * A weak pointer to `p`. For one address there is one, as long as its object lives: made again it has the same id, and
 * is to be freed as often. *weak is untouched on failure.
 * Fails: INVAL a tiny object; NOENT no object; NOMEM.
 */
LOAM_MUST_USE enum loam_err loam_weak_make(const void *p, struct loam_weak *weak);

/* The address it was made of; NULL if the object has been found dead, also if its finalizer has brought it back, or
 * was freed; or if `weak` is none. Takes no lock, unless its object is owed a sweep. */
void *loam_weak_get(struct loam_weak weak);

/* Undo one loam_weak_make. Fails: NOENT not a weak pointer, or freed as often as made. */
enum loam_err loam_weak_free(struct loam_weak weak);

/* A value that lives only as long as its key. */
struct loam_ephemeron {
	uint64_t id;
};

/*
 * Keep `value` (any pointer) as long as the object around `key` is reachable otherwise than through values of ephemerons
 * whose own keys are not. `value` may point to the key.
 * Fails: INVAL the key is a tiny object; NOENT it is no object; NOMEM. *ephemeron is then untouched.
 */
LOAM_MUST_USE enum loam_err loam_ephemeron_make(const void *key, void *value,
						struct loam_ephemeron *ephemeron);

/* The value; NULL if the key has been found dead or was freed, or if it is no ephemeron. */
void *loam_ephemeron_get(struct loam_ephemeron ephemeron);

/* Fails: NOENT no ephemeron. */
enum loam_err loam_ephemeron_free(struct loam_ephemeron ephemeron);

/*
 * Run up to `max` finalizers and cleanups that are due. Returns how many; 0 also if one is running just now, in this
 * thread or another. Call it, or loam_gc_work, where the program's own locks are not held.
 */
uint64_t loam_finalizers_run(uint64_t max);

/*
 * How the collector learns what the program changes while it marks; chosen at loam_init, config.barrier.
 *   MMU       it asks the page tables which pages were written. The program does nothing. Where they tell (see
 *             loam_sys_dirty_can); else as STOP. The first write to 2 MiB after they were asked traps: the
 *             kernel's page-fault handler calls loam_fault_handle (<loam/vm.h>), on a stack of its own
 *   SOFTWARE  the program stores pointers by loam_store: into objects of the heap, and into root ranges
 *   STOP      it does not: the world stands still while it marks. The program does nothing
 * DEFAULT is MMU.
 */
enum loam_barrier {
	LOAM_BARRIER_DEFAULT,
	LOAM_BARRIER_MMU,
	LOAM_BARRIER_SOFTWARE,
	LOAM_BARRIER_STOP,
};

/* Not 0 while loam_store has to do more than store where a pointer was; above 1: in any case. loam's alone. */
extern uint32_t loam_barrier_on;
void loam_store_noted(void *slot, void *value);

/*
 * *slot = value, for a pointer-aligned slot of an object of the heap or of a root range, so that a collector with
 * LOAM_BARRIER_SOFTWARE knows; right with the others too. Not needed for variables on a stack, and for slots of
 * memory that is not scanned. Two threads must not store to one slot at the same time without an order of their own.
 * Source: the deletion half of Go's hybrid write barrier (proposal 17503). Context: thread (attached).
 */
static inline void loam_store(void *slot, void *value)
{
	/* If the world stops between the question and the store, the old value is in a register, and kept. */
	void *old = *(void *volatile *)slot;
	uint32_t on = __atomic_load_n(&loam_barrier_on, __ATOMIC_RELAXED);

	if (__builtin_expect(on != 0, 0) && (old != NULL || on > 1))
		loam_store_noted(slot, value);
	else
		*(void *volatile *)slot = value;
	__asm__ volatile("" : : "r"(old));
}

/*
 * The same for many: memmove and memset, of whole pointer-aligned words. Context: thread (attached).
 */
void loam_store_move(void *to, const void *from, size_t size);
void loam_store_zero(void *to, size_t size);

/*
 * Atomically, acquire and release, for slots that several threads store to: exchange, which returns what was there; and compare
 * and exchange, which stores only if `expected` was there, and says so. Context: thread (attached).
 */
void *loam_store_exchange(void *slot, void *value);
bool loam_store_compare(void *slot, void *expected, void *value);

/* A point where this thread may be stopped; call it in long loops that never allocate. */
void loam_gc_safepoint(void);

/*
 * GOGC: collect when the heap has grown by `percent` over what survived the last collection.
 * Negative: only on loam_gc or when memory runs out. Fails: INVAL above 100,000.
 */
enum loam_err loam_gc_set_percent(int percent);

/* Soft limit on bytes mapped by loam (Go's GOMEMLIMIT); UINT64_MAX: none. Fails: INVAL 0. */
enum loam_err loam_gc_set_limit(uint64_t bytes);

/*
 * Check the collector: when a cycle has marked, before the world runs on, another and simpler marker walks the graph, and
 * panics if it comes to an object that is not marked, after a word to the log about it. That makes the last
 * stop as long as all of the marking, and takes 1/64 of the heap and 68 KiB. Also config.check.
 * In passing it tells the log of zombies: objects that were freed explicitly while a typed object still points to them.
 * Fails: NOMEM, NOVIRT, LIMIT, it stays off; NOENT no loam_init. Source: Go's GODEBUG=gccheckmark. Context: thread.
 */
LOAM_MUST_USE enum loam_err loam_gc_set_check(bool on);

struct loam_gc_check {
	uint64_t cycles;  /* that were checked, since loam_init */
	uint64_t skipped; /* that were not, though it was on: no memory */
	/* of the last that was */
	uint64_t objects; /* that can be reached */
	uint64_t
		stale; /* words on stacks that point to a dead object; LOAM_BARRIER_SOFTWARE alone */
	uint64_t zombies; /* pointers in typed objects to what is free, or waits to be */
};

/* Context: thread. */
void loam_gc_check_read(struct loam_gc_check *check);

/*
 * What the audit of the software barrier has found (config.audit, with LOAM_BARRIER_SOFTWARE, where loam_sys_dirty_can). When marking
 * begins the objects are copied. When it ends, the MMU tells which pages were written meanwhile; a pointer in an object there that
 * differs from the copy, and was not stored by loam_store or its kin, was stored past the barrier: the collector may
 * free a live object. The log has slot, object, old value and new (16 a cycle). It takes as much memory
 * again as the heap. Objects that are younger than the cycle need no barrier. In untyped objects a word counts as a pointer
 * if its old value or its new one is the address of an object.
 * Not found is what is undone before anybody looks, and what is stored to a slot after loam_store was.
 */
struct loam_gc_audit {
	uint64_t cycles;  /* that were audited, since loam_init; the others too */
	uint64_t skipped; /* that were not: no memory */
	uint64_t
		checked_pages; /* of 4 KiB: written while marking, and with objects that are scanned */
	uint64_t changed_words; /* of objects on them, that differ from the copy */
	uint64_t missed;	/* stores past the barrier */
};

/* All 0 without an audit. Context: thread. */
void loam_gc_audit_read(struct loam_gc_audit *audit);

#ifdef __cplusplus
}
#endif

#endif
