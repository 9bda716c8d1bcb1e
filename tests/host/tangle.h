/* SPDX-License-Identifier: MIT */
/* A graph that changes at random, and dies in part: for tests in which something else knows what is right. */
#ifndef LOAM_TESTS_TANGLE_H
#define LOAM_TESTS_TANGLE_H

#include "tests/host/heap_setup.h"

#define TANGLE_EDGES 4u
#define TANGLE_ROOTS 32u

struct node {
	uint64_t id;
	struct node *edge[TANGLE_EDGES];
	uint64_t check; /* ~id */
};

static struct node *tangle_root[TANGLE_ROOTS];
static const uint64_t node_bits[1] = {0x1e}; /* words 1 to 4 */
static const struct loam_type node_type = {
	.size = sizeof(struct node), .ptr_words = 5, .ptr_bits = node_bits, .name = "node"};

static inline struct node *node_make(struct rng *rng)
{
	struct node *n = rng_below(rng, 2)
				 ? loam_alloc_type(&node_type, 1)
				 : loam_alloc(sizeof(struct node) +
					      (rng_below(rng, 8) == 0 ? rng_below(rng, 40000) : 0));

	assert_non_null(n);
	assert_null(n->edge[0]);
	n->id = rng_next(rng) >> 1; /* no address */
	n->check = ~n->id;
	return n;
}

static inline struct node *node_below(struct rng *rng, struct node *n)
{
	for (unsigned i = 0; i < 10; i++) {
		struct node *next = n->edge[rng_below(rng, TANGLE_EDGES)];

		assert_int_equal(n->check, ~n->id);
		if (next == NULL)
			break;
		n = next;
	}
	return n;
}

static inline void tangle_step(struct rng *rng)
{
	struct node **root = &tangle_root[rng_below(rng, TANGLE_ROOTS)], *n, *other;
	unsigned e = (unsigned)rng_below(rng, TANGLE_EDGES);

	if (*root == NULL) {
		loam_store(root, node_make(rng));
		return;
	}
	n = node_below(rng, *root);
	switch (rng_below(rng, 10)) {
	case 0: /* what hangs there moves, by way of a register */
		other = n->edge[e];
		loam_store(&n->edge[e], NULL);
		n = node_make(rng);
		loam_store(&n->edge[e], other);
		loam_store(root, n);
		break;
	case 1: /* gone */
		if (rng_below(rng, 4) == 0)
			loam_store(root, NULL);
		break;
	case 2: /* shared */
		other = tangle_root[rng_below(rng, TANGLE_ROOTS)];
		loam_store_exchange(&n->edge[e], other);
		break;
	case 8: /* from the graph to a root, and the other way round */
		other = n->edge[e];
		loam_store(&n->edge[e], *root);
		loam_store(root, other);
		break;
	case 3: /* many at once, and a block that grows, shrinks in its place, and is freed */
		other = loam_alloc(sizeof(n->edge) + 40);
		loam_store_move(other, n->edge, sizeof(n->edge));
		other = loam_realloc(other, 1000 + rng_below(rng, 60000));
		loam_store((char *)other + 992, n);
		other = loam_realloc(other, sizeof(n->edge));
		assert_ptr_equal(*(struct node **)(void *)other, n->edge[0]);
		loam_store_zero(n->edge, sizeof(n->edge[0]));
		assert_int_equal(loam_free(other), LOAM_OK);
		break;
	default:
		other = node_make(rng);
		if (!loam_store_compare(&n->edge[e], NULL, other))
			loam_store(&n->edge[e], other);
	}
}

static inline void tangle_up(void)
{
	memset(tangle_root, 0, sizeof(tangle_root));
	assert_int_equal(loam_root_add(tangle_root, tangle_root + TANGLE_ROOTS), LOAM_OK);
}

static inline void tangle_down(void)
{
	for (unsigned i = 0; i < TANGLE_ROOTS; i++)
		loam_store(&tangle_root[i], NULL);
	assert_int_equal(loam_root_remove(tangle_root, tangle_root + TANGLE_ROOTS), LOAM_OK);
}

/* A cycle has just begun to mark, when this returns; its stop was here. */
static inline void until_marking(void)
{
	loam_gc();
	begin_cycle();
	assert_true(loam_marking());
}

static inline void finish_marking(void)
{
	while (loam_marking())
		loam_gc_work(1000);
}

#endif
