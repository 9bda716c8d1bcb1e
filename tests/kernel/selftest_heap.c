/* SPDX-License-Identifier: MIT */
/* The heap and the collector on the real machine. */
#include "gc/heap.h"
#include "tests/kernel/selftest.h"

#define NODES 2000u

struct node {
	struct node *next;
	uint64_t value;
};

static struct node *head; /* a root: .bss is one */

/* Overwrite dead stack below us, so that no stale pointer keeps an object alive. */
__attribute__((noinline)) static void clear_stack(void)
{
	uint64_t junk[256] = {0};

	__asm__ volatile("" : : "r"(junk) : "memory");
}

__attribute__((noinline)) static bool build(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		struct node *n = loam_alloc(sizeof(*n));

		if (n == NULL || n->next != NULL || n->value != 0)
			return false;
		loam_store(&n->next, head);
		n->value = i;
		loam_store(&head, n);
	}
	return true;
}

static void collector_keeps_and_frees(const struct loam_boot_info *info)
{
	struct loam_stats before, held, after;
	unsigned i = NODES;

	(void)info;
	loam_gc();
	loam_stats_read(&before);
	EXPECT(build());
	loam_gc();
	loam_stats_read(&held);
	EXPECT(held.heap_objects >= before.heap_objects + NODES);
	for (struct node *n = head; n != NULL; n = n->next)
		EXPECT(n->value == --i);
	EXPECT(i == 0);
	loam_heap_verify();
	head = NULL;
	clear_stack();
	loam_gc();
	loam_stats_read(&after);
	EXPECT(after.heap_objects <= before.heap_objects + 16); /* conservative: a few may stay */
	loam_heap_verify();
}

/* A pointer that lives in a callee-saved register or on the stack alone keeps its object. */
static void registers_are_roots(const struct loam_boot_info *info)
{
	uint64_t *p = loam_alloc(64);

	(void)info;
	EXPECT(p != NULL);
	p[0] = 4711;
	p++; /* interior */
	loam_gc();
	for (unsigned i = 0; i < 500; i++)
		EXPECT(loam_alloc(64) != NULL);
	EXPECT(p[-1] == 4711);
	EXPECT(loam_object_base(p) == p - 1);
}

/* [CHECK-1] with what the machine has for a barrier, and its stacks. */
static void marks_are_checked(const struct loam_boot_info *info)
{
	struct loam_gc_check before, after;

	(void)info;
	EXPECT(loam_gc_set_check(true) == LOAM_OK);
	loam_gc_check_read(&before);
	loam_gc_set_steps(3, 2000);
	EXPECT(build());
	loam_gc_set_steps(0, 0);
	loam_gc();
	loam_gc_check_read(&after);
	EXPECT(after.cycles > before.cycles && after.skipped == before.skipped);
	EXPECT(after.objects >= NODES);
	head = NULL;
	EXPECT(loam_gc_set_check(false) == LOAM_OK);
	loam_gc();
}

static bool is_root(const void *p)
{
	const char *c = p;

	return (c >= loam_data_roots && c < loam_data_roots_end) ||
	       (c >= loam_bss_roots && c < loam_bss_roots_end);
}

/* What the collector knows keeps nothing alive; what the kernel knows does. */
static void own_data_is_no_root(const struct loam_boot_info *info)
{
	(void)info;
	EXPECT(!is_root(&loam_heap));
	EXPECT(is_root(&head));
}

static void free_is_checked(const struct loam_boot_info *info)
{
	char *p = loam_alloc(100);

	(void)info;
	EXPECT(p != NULL);
	loam_selftest_provokes("three reports of wrong frees");
	EXPECT(loam_free(p + 16) == LOAM_INVAL);
	EXPECT(loam_free(p) == LOAM_OK);
	EXPECT(loam_free(p) == LOAM_NOENT);
	EXPECT(loam_free(loam_image_start) == LOAM_INVAL);
}

static void running_out_is_null(const struct loam_boot_info *info)
{
	struct loam_sys_stats sys;

	(void)info;
	EXPECT(loam_alloc(LOAM_ALLOC_MAX) == NULL);
	loam_sys_stats(&sys);
	loam_sys_set_limit(sys.state_bytes[LOAM_STATE_READY] + (1 << 20));
	EXPECT(loam_alloc_noscan(2 << 20) == NULL);
	loam_sys_set_limit(UINT64_MAX);
	EXPECT(loam_alloc(1000) != NULL);
	loam_heap_verify();
}

/* What a large object took goes back to the frame allocator. */
static void memory_is_given_back(const struct loam_boot_info *info)
{
	struct loam_frame_stats before, held, after;
	char *p;

	(void)info;
	loam_gc();
	loam_frame_stats(&before);
	p = loam_alloc_noscan(4 << 20);
	EXPECT(p != NULL);
	p[0] = 1;
	p[(4 << 20) - 1] = 1;
	loam_frame_stats(&held);
	EXPECT(held.owner_frames[LOAM_OWNER_HEAP] >= before.owner_frames[LOAM_OWNER_HEAP] + 512);
	EXPECT(loam_free(p) == LOAM_OK);
	EXPECT(loam_release() >= 4 << 20);
	loam_frame_stats(&after);
	EXPECT(after.owner_frames[LOAM_OWNER_HEAP] <= before.owner_frames[LOAM_OWNER_HEAP] + 256);
}

static uint64_t heap_ready(uint64_t *huge)
{
	struct loam_sys_stats sys;

	loam_sys_stats(&sys);
	*huge = sys.huge_ready_bytes;
	return sys.ready_bytes[LOAM_OWNER_HEAP];
}

/* From 4 MiB on, and never more than 2 MiB ahead of the program. */
static void small_objects_lie_on_huge_leaves(const struct loam_boot_info *info)
{
	uint64_t before, ready, huge_before, huge;
	unsigned count = 3000; /* pages */
	char **page;

	(void)info;
	if (loam_sys_memory_bytes() / 4 < count * LOAM_PAGE_SIZE)
		return; /* too small a machine to spend memory on speed */
	loam_gc();
	loam_release();
	before = heap_ready(&huge_before);
	loam_heap.pages.huge_again_ns = 0;
	page = loam_alloc(count * sizeof(*page));
	EXPECT(page != NULL);
	for (unsigned i = 0; i < count; i++) {
		page[i] = loam_alloc_noscan(LOAM_PAGE_SIZE);
		EXPECT(page[i] != NULL && page[i][0] == 0 && page[i][LOAM_PAGE_SIZE - 1] == 0);
		page[i][0] = page[i][LOAM_PAGE_SIZE - 1] = 1;
	}
	ready = heap_ready(&huge);
	EXPECT(ready < before + (count + 64) * LOAM_PAGE_SIZE + 2 * LOAM_HUGE_SIZE);
	if ((loam_sys_huge_sizes() & LOAM_HUGE_SIZE) != 0) /* fewer if a busy host made one slow */
		EXPECT(huge >=
		       huge_before + (loam_heap.pages.huge_again_ns != 0 ? 1 : 2) * LOAM_HUGE_SIZE);
	else
		EXPECT(huge == 0);
	for (unsigned i = 0; i < count; i++)
		EXPECT(page[i][0] == 1 && loam_free(page[i]) == LOAM_OK);
	EXPECT(loam_free(page) == LOAM_OK);
	loam_heap_verify();
	loam_release();
	EXPECT(heap_ready(&huge) <= before + LOAM_HUGE_SIZE);
}

const struct selftest loam_selftest_heap[] = {
	{"heap: the collector keeps what is reachable and frees the rest",
	 collector_keeps_and_frees},
	{"heap: registers and interior pointers are roots", registers_are_roots},
	{"heap: another marker finds all that is marked", marks_are_checked},
	{"heap: the collector's own data is no root", own_data_is_no_root},
	{"heap: a wrong free is refused", free_is_checked},
	{"heap: running out gives NULL", running_out_is_null},
	{"heap: memory goes back to the frames", memory_is_given_back},
	{"heap: small objects come to lie on huge leaves", small_objects_lie_on_huge_leaves},
	{NULL, NULL},
};
