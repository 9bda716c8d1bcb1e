/* SPDX-License-Identifier: MIT */
/* What the tests of finalizers, weak pointers and their kin share: a fresh heap with roots for each barrier, objects
 * that are known by hidden addresses, functions that tell when they run. */
#ifndef LOAM_TESTS_SPECIAL_SETUP_H
#define LOAM_TESTS_SPECIAL_SETUP_H

#include "tests/host/heap_setup.h"

static void *root[64];
static void **list; /* something to mark, so that marking takes its time */

static struct {
	const char *name[64];
	unsigned count;
} ran;

static inline int begin(void **state, int (*up)(void **))
{
	int r = up(state);

	memset(root, 0, sizeof(root));
	memset(&ran, 0, sizeof(ran));
	list = NULL;
	assert_int_equal(loam_root_add(root, root + 64), LOAM_OK);
	assert_int_equal(loam_root_add(&list, &list + 1), LOAM_OK);
	/* the last test's heap was at the same addresses, and the test's frame will stand below ours */
	clear_stack();
	return r;
}

static inline int up(void **state)
{
	return begin(state, heap_up);
}

static inline int up_software(void **state)
{
	return begin(state, heap_up_software);
}

static inline int up_stop(void **state)
{
	return begin(state, heap_up_stop);
}

static inline int down(void **state)
{
	assert_int_equal(loam_root_remove(root, root + 64), LOAM_OK);
	assert_int_equal(loam_root_remove(&list, &list + 1), LOAM_OK);
	return heap_down(state);
}

static inline uintptr_t hide(const void *p)
{
	return ~(uintptr_t)p;
}

static inline void *shown(uintptr_t hidden)
{
	return (void *)~hidden;
}

/* Not inline, or an address stays in a register of the test's. */
__attribute__((noinline, unused)) static bool lives(uintptr_t hidden)
{
	return loam_object_base(shown(hidden)) != NULL;
}

__attribute__((noinline, unused)) static bool reads(struct loam_weak w)
{
	return loam_weak_get(w) != NULL;
}

/* loam_store has the old value in a register. */
__attribute__((noinline, unused)) static void clear_root(unsigned i)
{
	loam_store(&root[i], NULL);
}

__attribute__((noinline, unused)) static void collect_here(void)
{
	loam_gc();
	__asm__ volatile(""); /* so it is no jump */
}

/* Inline: what a compiler leaves empty in the frame between the test's and the collector's, or fills with a register, has
 * been cleared. */
__attribute__((always_inline, unused)) static inline void collect(void)
{
	clear_stack();
	collect_here();
}

__attribute__((noinline, unused)) static uint64_t run_due(void)
{
	uint64_t count = loam_finalizers_run(UINT64_MAX);

	clear_stack();
	return count;
}

/* ---- functions that run ---- */

#define NAME(text) ((void *)(uintptr_t)(text))

static inline void say(const char *name)
{
	assert_true(ran.count < COUNT_OF(ran.name));
	ran.name[ran.count++] = name;
}

/* The argument is a string in the heap or out of it. */
static inline void on_final(void *obj, void *arg)
{
	assert_non_null(loam_object_base(obj));
	say(arg);
}

static inline void on_clean(void *arg)
{
	say(arg);
}

static inline void on_final_keep(void *obj, void *arg)
{
	say(arg);
	loam_store(&root[40], obj);
}

struct node {
	struct node *next;
	uint64_t id, pad[4];
};

__attribute__((noinline, unused)) static struct node *make(uint64_t id, struct node *next)
{
	struct node *n = loam_alloc(sizeof(*n));

	assert_non_null(n);
	n->id = id;
	loam_store(&n->next, next);
	return n;
}

/* Of the object; of the one it points to. */
__attribute__((noinline, unused)) static uint64_t id_of(uintptr_t hidden)
{
	return ((struct node *)shown(hidden))->id;
}

__attribute__((noinline, unused)) static uint64_t next_id_of(uintptr_t hidden)
{
	return ((struct node *)shown(hidden))->next->id;
}
static inline void make_list(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void **p = loam_alloc(48);

		loam_store(&p[0], list);
		loam_store(&list, p);
	}
}

static inline uint64_t cycles(void)
{
	return loam_heap.cycles;
}

/* Until marking has got somewhere; false: it never does, it stops the world. */
__attribute__((noinline, unused)) static bool into_marking(unsigned steps)
{
	if (loam_heap.barrier == LOAM_BARRIER_STOP)
		return false;
	for (unsigned i = 0; !loam_marking(); i++) {
		assert_true(i <
			    100000); /* an allocation's assist does it all: the list is too short */
		loam_alloc_noscan(16);
	}
	for (unsigned i = 0; i < steps && loam_marking(); i++)
		loam_alloc_noscan(16);
	return loam_marking();
}
__attribute__((noinline, unused)) static uint64_t value_id(struct loam_ephemeron e)
{
	struct node *n = loam_ephemeron_get(e);

	return n != NULL ? n->id : 0;
}

/* A test with each barrier. */
#define EACH(f)                                                                                 \
	{#f, f, up, down, NULL}, {#f " with the software barrier", f, up_software, down, NULL}, \
	{                                                                                       \
#f " without a barrier", f, up_stop, down, NULL                                 \
	}

#endif
