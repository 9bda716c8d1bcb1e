/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one heap, marked while they run: each changes a graph of its own and hands parts of it to the
 * others, while some donate time and all assist. An object that is freed too early is poisoned (LOAM_DEBUG 3), and the
 * one that holds it sees that; and a second marker looks after each cycle, and once the MMU at the barrier.
 * [BARRIER-1], [MARK-2], [WORK-1], [WORK-2], [SWEEP-2] to [SWEEP-4], [CYCLE-1] to [CYCLE-3], [CHECK-1], [AUDIT-2].
 */
#include "gc/check.h"
#include "tests/host/thread_setup.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define MUTATORS 3
#define DONORS	 2
#define SLOTS	 64
#define CHILDREN 3
#define SHARED	 16
#define OPS	 20000

struct node {
	uint64_t id;
	struct node *child[CHILDREN];
	uint64_t check; /* ~id */
};

static struct node *slots[MUTATORS][SLOTS]; /* registered */
static struct node *shared[SHARED];	    /* registered */
static bool over;

static struct node *make(struct rng *rng)
{
	struct node *n =
		loam_alloc(sizeof(*n) + (rng_below(rng, 8) == 0 ? rng_below(rng, 60000) : 0));

	CHECK(n != NULL && n->check == 0);
	n->id = rng_next(rng);
	n->check = ~n->id;
	return n;
}

static void check(const struct node *n)
{
	CHECK(n->check == ~n->id);
}

/* Only one thread at a time can reach a node: new ones are handed over, by an exchange. So no two store to a slot. */

/* A node somewhere in the graph of a root; the root's own if there is nothing below. */
static struct node *descend(struct rng *rng, struct node *n)
{
	for (unsigned i = 0; i < 12; i++) {
		struct node *next = n->child[rng_below(rng, CHILDREN)];

		check(n);
		if (next == NULL)
			break;
		n = next;
	}
	return n;
}

__attribute__((noinline)) static void step(struct rng *rng, struct node **mine)
{
	struct node **root = &mine[rng_below(rng, SLOTS)], *n, *other;
	unsigned c = (unsigned)rng_below(rng, CHILDREN);

	if (*root == NULL) {
		loam_store(root, make(rng));
		return;
	}
	n = descend(rng, *root);
	switch (rng_below(rng, 8)) {
	case 0: /* a new one */
		loam_store(&n->child[c], make(rng));
		break;
	case 1: /* what hangs there moves elsewhere, by way of a register alone */
		other = n->child[c];
		loam_store(&n->child[c], NULL);
		n = make(rng);
		loam_store(&n->child[c], other);
		loam_store(&mine[rng_below(rng, SLOTS)], n);
		break;
	case 2: /* two roots hold the same */
		loam_store(&mine[rng_below(rng, SLOTS)], n);
		break;
	case 3: /* gone */
		loam_store(root, NULL);
		break;
	case 4: /* to others, and theirs to us */
		loam_store(root, NULL);
		other = loam_store_exchange(&shared[rng_below(rng, SHARED)], make(rng));
		if (other != NULL)
			check(other);
		loam_store(root, other);
		break;
	case 5: { /* many at once */
		struct node *copy[CHILDREN];

		memcpy(copy, n->child, sizeof(copy));
		loam_store_zero(n->child, sizeof(copy));
		n = make(rng);
		loam_store_move(n->child, copy, sizeof(copy));
		loam_store(root, n);
		break;
	}
	case 6: /* a vector that grows, and is freed */
		other = loam_alloc(40);
		loam_store(&other->child[0], n);
		other = loam_realloc(other, 40 + rng_below(rng, 100000));
		CHECK(other->child[0] == n);
		check(n);
		CHECK(loam_free(other) == LOAM_OK);
		break;
	default:
		check(n);
	}
}

struct job {
	pthread_t thread;
	uint64_t seed;
	unsigned number;
};

static void *mutate(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct job *job = arg;
	struct rng rng = {job->seed};

	attach(thread);
	for (unsigned i = 0; i < OPS; i++) {
		step(&rng, slots[job->number]);
		if (i % 5000 == 2500)
			loam_gc();
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void *donate(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		if (!loam_gc_work(50000))
			sched_yield();
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void graphs_survive_marking(void **state)
{
	struct job job[MUTATORS];
	pthread_t donor[DONORS];
	struct loam_gc_check check;
	struct loam_gc_audit audit;
	struct loam_stats stats;

	(void)state;
	failures = 0;
	over = false;
	memset(slots, 0, sizeof(slots));
	memset(shared, 0, sizeof(shared));
	assert_int_equal(loam_root_add(slots, slots + MUTATORS), LOAM_OK);
	assert_int_equal(loam_root_add(shared, shared + SHARED), LOAM_OK);
	loam_gc_set_percent(20);
	assert_int_equal(loam_gc_set_check(true), LOAM_OK);
	for (unsigned i = 0; i < DONORS; i++)
		assert_int_equal(pthread_create(&donor[i], NULL, donate, NULL), 0);
	for (unsigned i = 0; i < MUTATORS; i++) {
		job[i] = (struct job){.seed = test_seed() + i, .number = i};
		assert_int_equal(pthread_create(&job[i].thread, NULL, mutate, &job[i]), 0);
	}
	for (unsigned i = 0; i < MUTATORS; i++)
		pthread_join(job[i].thread, NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < DONORS; i++)
		pthread_join(donor[i], NULL);
	assert_int_equal(failures, 0);
	loam_stats_read(&stats);
	assert_true(stats.num_gc > stats.num_forced_gc);
	loam_gc_check_read(&check);
	assert_true(check.cycles + check.skipped >= stats.num_gc && check.skipped == 0);
	loam_gc_audit_read(&audit);
	assert_int_equal(audit.missed, 0);
	assert_int_equal(audit.cycles, loam_audit_on() ? stats.num_gc : 0);
	assert_int_equal(loam_root_remove(slots, slots + MUTATORS), LOAM_OK);
	assert_int_equal(loam_root_remove(shared, shared + SHARED), LOAM_OK);
	memset(slots, 0, sizeof(slots));
	memset(shared, 0, sizeof(shared));
	clear_stack();
	loam_gc();
	loam_stats_read(&stats);
	assert_true(stats.heap_objects < 40);
}

static struct {
	void **slot; /* in a page of its own */
	enum { NOWHERE, AMID, BEGUN } state;
} store;

/* Whoever is to write to the slot waits here: till marking has begun, or is found to wait for the store's end. */
static void on_write(int sig)
{
	(void)sig;
	__atomic_store_n(&store.state, AMID, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 1000 && __atomic_load_n(&store.state, __ATOMIC_ACQUIRE) != BEGUN;
	     i++)
		usleep(100);
	mprotect(store.slot, LOAM_PAGE_SIZE, PROT_READ | PROT_WRITE);
}

static void *begin_amid(void *unused)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	(void)unused;
	attach(thread);
	while (__atomic_load_n(&store.state, __ATOMIC_ACQUIRE) != AMID)
		sched_yield();
	begin_cycle();
	__atomic_store_n(&store.state, BEGUN, __ATOMIC_RELEASE);
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

/* Had loam_store asked, and not stored yet, when marking began, then it did no wrong: the audit must not tell it. */
static void marking_begins_amid_a_store(void **state)
{
	struct sigaction old, act = {.sa_handler = on_write};
	struct loam_gc_audit audit;
	pthread_t thread;

	(void)state;
	failures = 0;
	assert_int_equal(loam_root_add(slots, slots + MUTATORS), LOAM_OK);
	slots[0][0] = loam_alloc(4 * LOAM_PAGE_SIZE);
	store.slot = (void **)slots[0][0] + LOAM_PAGE_SIZE / sizeof(void *);
	store.state = NOWHERE;
	*store.slot = slots[0][0];
	assert_int_equal(pthread_create(&thread, NULL, begin_amid, NULL), 0);
	sigaction(SIGSEGV, &act, &old);
	assert_int_equal(mprotect(store.slot, LOAM_PAGE_SIZE, PROT_READ), 0);
	loam_store(store.slot, NULL);
	sigaction(SIGSEGV, &old, NULL);
	pthread_join(thread, NULL);
	loam_gc();
	assert_int_equal(failures, 0);
	loam_gc_audit_read(&audit);
	assert_int_equal(audit.missed, 0);
	assert_true(audit.cycles > 0 || !loam_audit_on());
	assert_int_equal(loam_root_remove(slots, slots + MUTATORS), LOAM_OK);
	memset(slots, 0, sizeof(slots));
}

/* What one thread allocates another frees, while yet others sweep. */
static void *pass_on(void *arg)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));
	struct job *job = arg;
	struct rng rng = {job->seed};

	attach(thread);
	for (unsigned i = 0; i < 5 * OPS; i++) {
		uint64_t *p = loam_alloc_noscan(16 + rng_below(&rng, 100)), *old;

		CHECK(p != NULL && p[0] == 0);
		p[0] = rng_next(&rng);
		p[1] = ~p[0];
		old = loam_store_exchange(&shared[rng_below(&rng, SHARED)], p);
		if (old == NULL)
			continue;
		CHECK(old[0] == ~old[1]);
		CHECK(loam_free(old) == LOAM_OK);
	}
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

static void frees_by_others_and_sweeps(void **state)
{
	struct job job[MUTATORS];
	pthread_t donor[DONORS];
	struct loam_stats stats;

	(void)state;
	failures = 0;
	over = false;
	assert_int_equal(loam_root_add(shared, shared + SHARED), LOAM_OK);
	loam_gc_set_percent(1);
	for (unsigned i = 0; i < DONORS; i++)
		assert_int_equal(pthread_create(&donor[i], NULL, donate, NULL), 0);
	for (unsigned i = 0; i < MUTATORS; i++) {
		job[i] = (struct job){.seed = test_seed() + i, .number = i};
		assert_int_equal(pthread_create(&job[i].thread, NULL, pass_on, &job[i]), 0);
	}
	for (unsigned i = 0; i < 300; i++)
		loam_gc();
	for (unsigned i = 0; i < MUTATORS; i++)
		pthread_join(job[i].thread, NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < DONORS; i++)
		pthread_join(donor[i], NULL);
	assert_int_equal(failures, 0);
	loam_store_zero(shared, sizeof(shared));
	assert_int_equal(loam_root_remove(shared, shared + SHARED), LOAM_OK);
	clear_stack();
	loam_gc();
	loam_stats_read(&stats);
	assert_true(stats.heap_objects < 40);
}

static int heap_up_audit(void **state)
{
	int result;

	heap_config.audit = true;
	result = heap_up_software(state);
	heap_config.audit = false;
	return result;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		heap_test(graphs_survive_marking),
		heap_test_software(graphs_survive_marking),
		cmocka_unit_test_setup_teardown(graphs_survive_marking, heap_up_audit, heap_down),
		cmocka_unit_test_setup_teardown(marking_begins_amid_a_store, heap_up_audit,
						heap_down),
		heap_test(frees_by_others_and_sweeps),
		heap_test_software(frees_by_others_and_sweeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
