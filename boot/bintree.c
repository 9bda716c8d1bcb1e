/* SPDX-License-Identifier: MIT */
/*
 * Binary trees, as in the well-known benchmark: a stretch tree, a long-lived tree, and for each
 * even depth as many trees as keep the work equal, each built, counted and dropped. Nodes are two
 * typed pointers. Trees are built and counted with an explicit stack: no recursion in a kernel.
 */
#include "boot/bintree.h"

#include "mm/print.h"

#include <loam/loam.h>

#define DEPTH_MIN 4u
#define DEPTH_MAX 24u

struct node {
	struct node *left, *right;
};

static const uint64_t node_pointers = 3;
static const struct loam_type node_type = {
	.size = sizeof(struct node), .ptr_words = 2, .ptr_bits = &node_pointers, .name = "node"};

/* A full tree: level by level, each node's children are made when it is taken off the stack. */
static struct node *build(unsigned depth)
{
	struct {
		struct node *node;
		unsigned depth;
	} stack[DEPTH_MAX + 2];
	struct node *root = loam_alloc_type(&node_type, 1);
	unsigned n = 0;

	if (root == NULL)
		return NULL;
	stack[n].node = root;
	stack[n++].depth = depth;
	while (n > 0) {
		struct node *node = stack[--n].node;
		unsigned d = stack[n].depth;

		if (d == 0)
			continue;
		node->left = loam_alloc_type(&node_type, 1);
		node->right = loam_alloc_type(&node_type, 1);
		if (node->left == NULL || node->right == NULL)
			return NULL;
		stack[n].node = node->left;
		stack[n++].depth = d - 1;
		stack[n].node = node->right;
		stack[n++].depth = d - 1;
	}
	return root;
}

static uint64_t count(const struct node *root)
{
	const struct node *stack[DEPTH_MAX + 2];
	uint64_t sum = 0;
	unsigned n = 0;

	stack[n++] = root;
	while (n > 0) {
		const struct node *node = stack[--n];

		sum++;
		if (node->left != NULL) {
			stack[n++] = node->left;
			stack[n++] = node->right;
		}
	}
	return sum;
}

static const char *one_depth(unsigned depth, uint64_t trees, bool quiet)
{
	uint64_t sum = 0, want = trees * (((uint64_t)2 << depth) - 1);

	for (uint64_t i = 0; i < trees; i++) {
		const struct node *tree = build(depth);

		if (tree == NULL)
			return "out of memory";
		sum += count(tree);
	}
	if (!quiet)
		loam_log(LOAM_LOG_INFO, "  %6llu trees of depth %2u: %llu nodes\n",
			 (unsigned long long)trees, depth, (unsigned long long)sum);
	return sum == want ? NULL : "a tree has lost nodes";
}

const char *loam_bintree_run(unsigned depth, bool quiet)
{
	const struct node *lasting;
	const char *bad;

	if (depth < DEPTH_MIN || depth > DEPTH_MAX)
		return "depth must be from 4 to 24";
	bad = one_depth(depth + 1 <= DEPTH_MAX ? depth + 1 : depth, 1, quiet);
	if (bad != NULL)
		return bad;
	lasting = build(depth);
	if (lasting == NULL)
		return "out of memory";
	for (unsigned d = DEPTH_MIN; d <= depth; d += 2) {
		bad = one_depth(d, (uint64_t)1 << (depth - d + DEPTH_MIN), quiet);
		if (bad != NULL)
			return bad;
	}
	if (count(lasting) != ((uint64_t)2 << depth) - 1)
		return "the long-lived tree has lost nodes";
	if (!quiet)
		loam_log(LOAM_LOG_INFO, "  the long-lived tree of depth %u is whole\n", depth);
	return NULL;
}
