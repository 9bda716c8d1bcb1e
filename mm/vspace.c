/* SPDX-License-Identifier: MIT */
/*
 * Which addresses are reserved.
 *
 * Regions tile the window: every address is in exactly one, which is free or belongs to a
 * reservation. Reserving cuts a free region, freeing makes one free and merges it with free
 * neighbours, and a change of owner or policy over part of a region cuts that. So there is one
 * structure for "what is here" and "where is room".
 *
 * The regions form a treap: a search tree by base, a heap by a priority made from the base, so
 * it is balanced whatever the order of operations (Seidel and Aragon, "Randomized Search
 * Trees"). Each node knows the largest free region of its subtree, so the lowest gap that is
 * big enough is found in O(log n); a gap that is big enough but badly aligned is passed over.
 *
 *   [VSPACE-1] Regions tile the window: no gap, no overlap, none empty.
 *   [VSPACE-2] Search order by base, heap order by priority, parents agree with children.
 *   [VSPACE-3] max_free is the largest free region of the subtree.
 *   [VSPACE-4] No two free regions touch.
 *
 * Records come from loam_space_record_page and go back at shutdown: they are type-stable, so the
 * fatal report may look without the lock. Stocking them beforehand is what makes a cut unable to
 * fail. Concurrency: the space lock of mm/sys.c.
 */
#include "mm/vspace.h"

#include "arch/check.h"
#include "mm/space.h"

static struct loam_region *root;
static struct loam_region *spare; /* linked through `right` */
static size_t spare_count;
static uint64_t record_pages;
static uint64_t reservation_serial, reserved_count;
static uintptr_t window_base;
static size_t window_bytes;

/* ---- records ---- */

enum loam_err loam_vspace_stock(size_t count)
{
	while (spare_count < count) {
		struct loam_region *page = loam_space_record_page();

		if (page == NULL)
			return LOAM_NOMEM;
		record_pages++;
		for (size_t i = 0; i < LOAM_PAGE_SIZE / sizeof(*page); i++) {
			page[i].right = spare;
			spare = &page[i];
			spare_count++;
		}
	}
	return LOAM_OK;
}

static struct loam_region *record_take(uintptr_t base, size_t size)
{
	struct loam_region *r = spare;
	uint64_t mix = base;

	LOAM_CHECK(r != NULL, "region records ran dry: stock before cutting");
	spare = r->right;
	spare_count--;
	/* any good mixing of bits makes the treap balanced in expectation */
	mix = (mix ^ (mix >> 31)) * UINT64_C(0x7fb5d329728ea185);
	mix = (mix ^ (mix >> 27)) * UINT64_C(0x81dadef4bc2dd44d);
	*r = (struct loam_region){.base = base, .size = size, .priority = mix ^ (mix >> 33)};
	return r;
}

static void record_drop(struct loam_region *r)
{
	r->right = spare;
	spare = r;
	spare_count++;
}

/* ---- the treap ---- */

static size_t max_free_of(const struct loam_region *r)
{
	return r != NULL ? r->max_free : 0;
}

static void update(struct loam_region *r)
{
	size_t best = r->reservation == 0 ? r->size : 0;

	if (max_free_of(r->left) > best)
		best = max_free_of(r->left);
	if (max_free_of(r->right) > best)
		best = max_free_of(r->right);
	r->max_free = best;
}

static void update_path(struct loam_region *r)
{
	for (; r != NULL; r = r->parent)
		update(r);
}

static void replace_child(struct loam_region *parent, struct loam_region *old,
			  struct loam_region *new)
{
	if (parent == NULL)
		root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new != NULL)
		new->parent = parent;
}

/* `r` goes up one level, its parent down on the other side. */
static void rotate_up(struct loam_region *r)
{
	struct loam_region *p = r->parent;

	replace_child(p->parent, p, r);
	if (p->left == r) {
		p->left = r->right;
		if (r->right != NULL)
			r->right->parent = p;
		r->right = p;
	} else {
		p->right = r->left;
		if (r->left != NULL)
			r->left->parent = p;
		r->left = p;
	}
	p->parent = r;
	update(p);
	update(r);
}

static void tree_insert(struct loam_region *r)
{
	struct loam_region *parent = NULL, **link = &root;

	while (*link != NULL) {
		parent = *link;
		link = r->base < parent->base ? &parent->left : &parent->right;
	}
	*link = r;
	r->parent = parent;
	update_path(r);
	while (r->parent != NULL && r->priority > r->parent->priority)
		rotate_up(r);
}

static void tree_remove(struct loam_region *r)
{
	struct loam_region *parent;

	while (r->left != NULL && r->right != NULL)
		rotate_up(r->left->priority > r->right->priority ? r->left : r->right);
	parent = r->parent;
	replace_child(parent, r, r->left != NULL ? r->left : r->right);
	update_path(parent);
}

bool loam_vspace_covers(uintptr_t addr)
{
	return addr - window_base < window_bytes;
}

struct loam_region *loam_vspace_find(uintptr_t addr)
{
	struct loam_region *r = root;

	while (r != NULL && addr - r->base >= r->size)
		r = addr < r->base ? r->left : r->right;
	return r;
}

static struct loam_region *leftmost(struct loam_region *r)
{
	while (r != NULL && r->left != NULL)
		r = r->left;
	return r;
}

struct loam_region *loam_vspace_next(struct loam_region *r)
{
	if (r->right != NULL)
		return leftmost(r->right);
	while (r->parent != NULL && r->parent->right == r)
		r = r->parent;
	return r->parent;
}

static struct loam_region *previous(struct loam_region *r)
{
	return r->base == window_base ? NULL : loam_vspace_find(r->base - 1);
}

/* ---- room ---- */

/* Where an aligned block fits in a free region, or 0. */
static uintptr_t fit(const struct loam_region *r, size_t size, size_t align)
{
	uintptr_t base = loam_align_up(r->base, align);

	if (r->reservation != 0 || base < r->base || base - r->base > r->size ||
	    r->size - (base - r->base) < size)
		return 0;
	return base;
}

/* The lowest region with room: in-order, but only into subtrees with a gap of that size. */
static struct loam_region *find_room(size_t size, size_t align)
{
	struct loam_region *r = root;
	bool descend = true;

	while (r != NULL) {
		if (descend) {
			while (max_free_of(r->left) >= size)
				r = r->left;
		}
		if (fit(r, size, align) != 0)
			return r;
		descend = max_free_of(r->right) >= size;
		if (descend) {
			r = r->right;
			continue;
		}
		while (r->parent != NULL && r->parent->right == r)
			r = r->parent;
		r = r->parent;
	}
	return NULL;
}

void loam_vspace_cut(uintptr_t addr)
{
	struct loam_region *r = loam_vspace_find(addr), *high;

	if (r == NULL || r->base == addr)
		return;
	high = record_take(addr, r->size - (addr - r->base));
	high->reservation = r->reservation;
	high->owner = r->owner;
	high->hugepage = r->hugepage;
	high->lazy = r->lazy;
	high->mapped = r->mapped;
	high->pooled = r->pooled;
	for (unsigned i = 0; i < LOAM_REGION_HISTORY; i++)
		high->history[i] = r->history[i];
	reserved_count += r->reservation != 0;
	r->size = addr - r->base;
	update_path(r);
	tree_insert(high);
}

enum loam_err loam_vspace_reserve(uintptr_t hint, size_t size, size_t align,
				  struct loam_region **region)
{
	struct loam_region *r =
		hint != 0 && loam_is_aligned(hint, align) ? loam_vspace_find(hint) : NULL;
	uintptr_t base = hint;

	if (r == NULL || r->reservation != 0 || r->size - (hint - r->base) < size) {
		r = find_room(size, align);
		if (r == NULL)
			return LOAM_NOVIRT;
		base = fit(r, size, align);
	}
	loam_vspace_cut(base);
	if (base + size - window_base < window_bytes)
		loam_vspace_cut(base + size);
	r = loam_vspace_find(base);
	r->reservation = ++reservation_serial;
	r->owner = LOAM_OWNER_NONE;
	r->hugepage = false;
	r->lazy = false;
	r->mapped = false;
	r->pooled = false;
	for (unsigned i = 0; i < LOAM_REGION_HISTORY; i++)
		r->history[i] = LOAM_CALL_NONE;
	reserved_count++;
	update_path(r);
	*region = r;
	return LOAM_OK;
}

void loam_vspace_release(struct loam_region *r)
{
	LOAM_ASSERT(r->reservation != 0);
	r->reservation = 0;
	r->owner = LOAM_OWNER_NONE;
	r->hugepage = false;
	r->lazy = false;
	r->mapped = false;
	r->pooled = false;
	reserved_count--;
	update_path(r);
}

static bool alike(const struct loam_region *a, const struct loam_region *b)
{
	return a->reservation == b->reservation && a->owner == b->owner &&
	       a->hugepage == b->hugepage && a->lazy == b->lazy && a->mapped == b->mapped &&
	       a->pooled == b->pooled;
}

/* `high` follows `low`: one region, with the younger history of the two kept as low's. */
static void absorb(struct loam_region *low, struct loam_region *high)
{
	low->size += high->size;
	reserved_count -= high->reservation != 0;
	tree_remove(high);
	record_drop(high);
	update_path(low);
}

struct loam_region *loam_vspace_merge(struct loam_region *r)
{
	struct loam_region *before = previous(r), *next;

	/* a call may have made several in a row alike */
	while ((next = loam_vspace_next(r)) != NULL && alike(r, next))
		absorb(r, next);
	if (before != NULL && alike(before, r)) {
		for (unsigned i = 0; i < LOAM_REGION_HISTORY; i++)
			before->history[i] = r->history[i];
		absorb(before, r);
		return before;
	}
	return r;
}

/* ---- the rest ---- */

void loam_region_note(struct loam_region *r, enum loam_call call)
{
	if (r->history[0] == call)
		return; /* a loop over pages is one event */
	for (unsigned i = LOAM_REGION_HISTORY - 1; i > 0; i--)
		r->history[i] = r->history[i - 1];
	r->history[0] = (uint8_t)call;
}

const char *loam_call_name(enum loam_call call)
{
	static const char *const name[LOAM_CALL_COUNT] = {
		[LOAM_CALL_NONE] = "none",	   [LOAM_CALL_RESERVE] = "reserve",
		[LOAM_CALL_MAP] = "map",	   [LOAM_CALL_USED] = "used",
		[LOAM_CALL_UNUSED] = "unused",	   [LOAM_CALL_FAULT] = "fault",
		[LOAM_CALL_FREE] = "free",	   [LOAM_CALL_ALLOC] = "alloc",
		[LOAM_CALL_HUGEPAGE] = "hugepage", [LOAM_CALL_NOHUGEPAGE] = "nohugepage",
		[LOAM_CALL_COLLAPSE] = "collapse", [LOAM_CALL_VM_MAP] = "vm_map",
		[LOAM_CALL_VM_UNMAP] = "vm_unmap", [LOAM_CALL_VM_PROTECT] = "vm_protect",
		[LOAM_CALL_VM_LAZY] = "vm_lazy",   [LOAM_CALL_STACK] = "stack",
		[LOAM_CALL_MOVE] = "move",
	};
	return (unsigned)call < LOAM_CALL_COUNT ? name[call] : "?";
}

enum loam_err loam_vspace_init(uintptr_t base, size_t size)
{
	enum loam_err err = loam_vspace_stock(1);

	if (err != LOAM_OK)
		return err;
	window_base = base;
	window_bytes = size;
	tree_insert(record_take(base, size));
	return LOAM_OK;
}

void loam_vspace_reset(void)
{
	root = NULL;
	spare = NULL;
	spare_count = 0;
	record_pages = 0;
	reserved_count = 0;
	window_bytes = 0;
}

uint64_t loam_vspace_count(void)
{
	return reserved_count;
}

uint64_t loam_vspace_record_pages(void)
{
	return record_pages;
}

void loam_vspace_verify(void)
{
	uintptr_t at = window_base;
	uint64_t reserved = 0;
	bool free_before = false;

	for (struct loam_region *r = leftmost(root); r != NULL; r = loam_vspace_next(r)) {
		size_t best = r->reservation == 0 ? r->size : 0;

		LOAM_CHECK(r->base == at && r->size > 0,
			   "[VSPACE-1] regions do not tile the window");
		for (int side = 0; side < 2; side++) {
			const struct loam_region *child = side == 0 ? r->left : r->right;

			if (child == NULL)
				continue;
			LOAM_CHECK(child->parent == r && child->priority <= r->priority &&
					   (child->base < r->base) == (side == 0),
				   "[VSPACE-2] tree order broken");
			best = child->max_free > best ? child->max_free : best;
		}
		LOAM_CHECK(best == r->max_free, "[VSPACE-3] max_free is wrong");
		LOAM_CHECK(!(free_before && r->reservation == 0),
			   "[VSPACE-4] free regions not merged");
		free_before = r->reservation == 0;
		reserved += r->reservation != 0;
		at += r->size;
	}
	LOAM_CHECK(at - window_base == window_bytes, "[VSPACE-1] regions do not fill the window");
	LOAM_CHECK(reserved == reserved_count, "[VSPACE-1] count of reserved regions is wrong");
}
