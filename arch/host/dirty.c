/* SPDX-License-Identifier: MIT */
/*
 * Write tracking on Linux (contract: <loam/sys.h>), by what the kernel has for it since 6.7: user-fault
 * write protection that it lifts by itself at the first write (UFFD_FEATURE_WP_ASYNC), and an ioctl on
 * /proc/self/pagemap that tells which pages are not protected and protects them again, at once for each page,
 * before it returns and with the TLBs told (PAGEMAP_SCAN with PM_SCAN_WP_MATCHING). That is a dirty bit: no
 * signal, no thread, no call on the way of a write.
 *
 * A page counts as written if it is not protected, is present or swapped out, and is more than the page of zeros
 * that a read gives. So memory that is fresh, or that went and came again, needs no care of ours: what is there was written, or is
 * told once too often. Memory that moves is taken out of the tracking first, and so loses all protection
 * (loam_host_untrack, which arch/host/space.c calls before mremap; mremap itself promises nothing). Ranges are
 * registered at each round, just where they are Ready: mmap over them, and moving, have undone it.
 *
 * Huge leaves: the kernel splits one itself at the first write to it, so there is nothing for `split` to do. A look goes through
 * the kernel's own tables, all of them: 512 MiB take it less than a millisecond.
 *
 * No two addresses of the window show the same memory, so there are no aliases.
 * Concurrency: the space lock, for at most CHUNK at a time.
 * Failure: where the kernel refuses to register or to tell, all of the run is told as written.
 * Reference: Linux, Documentation/admin-guide/mm/pagemap.rst and userfaultfd.rst.
 */
#include "arch/host/ready.h"
#include "mm/sys.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What headers older than the kernel lack. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define FEATURE_WP_UNPOPULATED (UINT64_C(1) << 13)
#define FEATURE_WP_ASYNC       (UINT64_C(1) << 15)

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
_Static_assert(sizeof(struct scan_arg) == 96, "struct pm_scan_arg of linux/fs.h");

#define SCAN		_IOWR('f', 16, struct scan_arg) /* PAGEMAP_SCAN */
#define SCAN_WP		(UINT64_C(1) << 0)		/* PM_SCAN_WP_MATCHING */
#define SCAN_CHECK	(UINT64_C(1) << 1)		/* PM_SCAN_CHECK_WPASYNC */
#define PAGE_IS_WRITTEN (UINT64_C(1) << 1)
#define PAGE_IS_PRESENT (UINT64_C(1) << 3)
#define PAGE_IS_SWAPPED (UINT64_C(1) << 4)
#define PAGE_IS_PFNZERO (UINT64_C(1) << 5)

#define CHUNK	((size_t)64 << 20)
#define REGIONS 256u

/* Space lock. */
static enum { UNKNOWN, CAN, CANNOT } kernel;
static int uffd = -1, pagemap = -1;
static bool in_round;

static int scan(uint64_t flags, uintptr_t base, uintptr_t end, struct scan_region *region,
		uintptr_t *reached)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags,
		.start = base,
		.end = end,
		.vec = (uintptr_t)region,
		.vec_len = REGIONS,
		.category_inverted = PAGE_IS_PFNZERO,
		.category_mask = PAGE_IS_WRITTEN | PAGE_IS_PFNZERO,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int n = ioctl(pagemap, SCAN, &arg);

	*reached = arg.walk_end;
	return n;
}

static bool probe(void)
{
	struct uffdio_api api = {.api = UFFD_API,
				 .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
	struct scan_region region[REGIONS];
	uintptr_t here = loam_align_down((uintptr_t)&api, LOAM_PAGE_SIZE), reached;

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return uffd >= 0 && pagemap >= 0 && ioctl(uffd, UFFDIO_API, &api) == 0 &&
	       scan(0, here, here + LOAM_PAGE_SIZE, region, &reached) >= 0;
}

static bool can(void)
{
	if (kernel == UNKNOWN)
		kernel = probe() ? CAN : CANNOT;
	return kernel == CAN;
}

bool loam_sys_dirty_can(void)
{
	uintptr_t irq = loam_sys_enter();
	bool yes = loam_sys_is_up() && can();

	(void)loam_sys_leave(irq, LOAM_OK);
	return yes;
}

static bool register_run(uintptr_t base, size_t size)
{
	struct uffdio_register reg = {.range = {.start = base, .len = size},
				      .mode = UFFDIO_REGISTER_MODE_WP};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) == 0;
}

/* What is not registered counts as written, if it is there at all. */
void loam_host_untrack(uintptr_t base, size_t size)
{
	struct uffdio_range range = {.start = base, .len = size};

	if (kernel == CAN)
		(void)ioctl(uffd, UFFDIO_UNREGISTER, &range);
}

/* One Ready run. */
static void tell_run(uintptr_t base, size_t size, bool clear,
		     void (*visit)(void *arg, uintptr_t base, size_t size), void *arg)
{
	struct scan_region region[REGIONS];
	uintptr_t at = base, end = base + size, reached;

	if (clear && !register_run(base, size)) {
		visit(arg, base, size);
		return;
	}
	while (at < end) {
		int n = scan(clear ? SCAN_WP | SCAN_CHECK : 0, at, end, region, &reached);

		if (n < 0 || reached <= at) {
			visit(arg, at, end - at);
			return;
		}
		for (int i = 0; i < n; i++)
			visit(arg, region[i].start, region[i].end - region[i].start);
		at = reached;
	}
}

/* The first Ready run from `at` on, CHUNK at most. Returns where to go on. */
static uintptr_t tell_some(uintptr_t at, uintptr_t end, bool clear,
			   void (*visit)(void *arg, uintptr_t base, size_t size), void *arg)
{
	uintptr_t base;
	size_t size;

	if (!loam_host_next_ready(at, end, &base, &size))
		return end;
	size = size < CHUNK ? size : CHUNK;
	tell_run(base, size, clear, visit, arg);
	return base + size;
}

static enum loam_err begin(uintptr_t base, size_t size, bool clear,
			   void (*visit)(void *arg, uintptr_t base, size_t size))
{
	if (!loam_sys_is_up() || !can())
		return LOAM_NOTSUP;
	if (visit == NULL || size == 0 || !loam_is_aligned(base | size, LOAM_PAGE_SIZE) ||
	    base + (size - 1) < base || loam_vspace_find(base) == NULL ||
	    loam_vspace_find(base + (size - 1)) == NULL)
		return LOAM_INVAL;
	if (in_round)
		return LOAM_BUSY;
	in_round = clear;
	return LOAM_OK;
}

enum loam_err loam_sys_dirty_round(uintptr_t base, size_t size, bool split,
				   void (*visit)(void *arg, uintptr_t base, size_t size), void *arg)
{
	uintptr_t irq = loam_sys_enter(), at = base;
	enum loam_err err = begin(base, size, true, visit);

	(void)split;
	if (err != LOAM_OK)
		return loam_sys_leave(irq, err);
	while (at < base + size) {
		at = tell_some(at, base + size, true, visit, arg);
		(void)loam_sys_leave(irq, LOAM_OK);
		irq = loam_sys_enter();
	}
	in_round = false;
	return loam_sys_leave(irq, LOAM_OK);
}

enum loam_err loam_sys_dirty_look(uintptr_t base, size_t size,
				  void (*visit)(void *arg, uintptr_t base, size_t size), void *arg)
{
	uintptr_t irq = loam_sys_enter(), at = base;
	enum loam_err err = begin(base, size, false, visit);

	while (err == LOAM_OK && at < base + size)
		at = tell_some(at, base + size, false, visit, arg);
	return loam_sys_leave(irq, err);
}

enum loam_err loam_sys_dirty_alias(uintptr_t base, size_t size, uintptr_t alias)
{
	(void)base;
	(void)size;
	(void)alias;
	return LOAM_NOTSUP;
}

enum loam_err loam_sys_dirty_alias_remove(uintptr_t alias)
{
	(void)alias;
	return LOAM_NOTSUP;
}
