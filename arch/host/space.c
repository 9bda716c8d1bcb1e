/* SPDX-License-Identifier: MIT */
/*
 * Address space on Linux: the back end of the ten calls over mmap (contract: mm/space.h).
 *
 * The window is one PROT_NONE, MAP_NORESERVE mapping; a byte map beside it, touched only where
 * the window is used, holds each page's state. Prepared is a note in that map and nothing else;
 * Ready is mprotect(READ|WRITE), and going back is MADV_DONTNEED with mprotect(NONE), so a
 * touch of anything but Ready memory traps, as on the machine, and memory comes back zeroed.
 *
 *   [HOST-1] A page's protection agrees with its state: accessible just when Ready.
 *   [HOST-2] Nothing of the program's adjoins the window from below: the end of a thread's stack, which stands on many stacks, would
 *            be the address of the heap's first object and keep that alive.
 *
 * Where huge leaves are wanted, and so the memory too, what becomes Ready by pieces of less than 2 MiB has frames from the
 * start, as on the machine: one fault for each page, and a second with a flush on all CPUs where a page is read before it
 * is written, cost more. Larger pieces come as they are touched, 2 MiB at a time.
 *
 * Huge leaves: the kernel's to make. Aligned 2 MiB of a hugepage region that become Ready at once
 * are advised with MADV_HUGEPAGE and reported as huge leaves; MADV_COLLAPSE serves collapse.
 * Moving is mremap, which leaves an empty mapping behind (MREMAP_DONTUNMAP), so that the window has no hole.
 * Failure: mprotect can fail (too many mappings): what was changed is changed back. NOMEM.
 * Concurrency: the space lock of mm/sys.c.
 */
#include "mm/space.h"

#include "arch/host/host.h"
#include "arch/host/ready.h"
#include "arch/check.h"
#include "mm/vspace.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

#define RECORDS_MAX ((size_t)1 << 30)

enum {
	PAGE_RESERVED = 0,
	PAGE_PREPARED,
	PAGE_READY,
	PAGE_READY_HUGE,
};

static unsigned char *page_state; /* one a page of the window */
static char *mapped;		  /* the window lies in it, above its start */
static uintptr_t window;
static size_t window_size;
static char *records;	    /* pages of region records, side by side */
static size_t record_bytes; /* so much of it was handed out */
static uint64_t fail_countdown, request_count;
static bool fail_armed;

uint64_t loam_host_fail_at(uint64_t n)
{
	uint64_t made = request_count;

	fail_armed = n > 0;
	fail_countdown = n;
	request_count = 0;
	return made;
}

static bool must_fail(void)
{
	request_count++;
	return fail_armed && (fail_countdown <= 1 || --fail_countdown == 0);
}

static size_t page_of(uintptr_t addr)
{
	return (addr - window) >> LOAM_PAGE_SHIFT;
}

static void *map_lazily(size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p != MAP_FAILED ? p : NULL;
}

static void unmap_tables(size_t size)
{
	if (page_state != NULL)
		munmap(page_state, size >> LOAM_PAGE_SHIFT);
	if (records != NULL)
		munmap(records, RECORDS_MAX);
	page_state = NULL;
	records = NULL;
	record_bytes = 0;
}

static bool map_tables(size_t size)
{
	page_state = map_lazily(size >> LOAM_PAGE_SHIFT, PROT_READ | PROT_WRITE);
	records = map_lazily(RECORDS_MAX, PROT_READ | PROT_WRITE);
	if (page_state != NULL && records != NULL)
		return true;
	unmap_tables(size);
	return false;
}

/* As much address space as there is, up to 1 TiB, aligned to 1 GiB. */
enum loam_err loam_space_init(const struct loam_config *config, uintptr_t *window_base,
			      size_t *window_bytes)
{
	size_t size = config->window_bytes != 0 ? config->window_bytes : (size_t)1 << 40;

	for (; size >= LOAM_GIANT_SIZE; size /= 2) {
		mapped = map_lazily(size + LOAM_GIANT_SIZE, PROT_NONE);
		if (mapped == NULL)
			continue;
		if (!map_tables(size)) {
			munmap(mapped, size + LOAM_GIANT_SIZE);
			continue;
		}
		window = loam_align_up((uintptr_t)mapped + 1, LOAM_GIANT_SIZE); /* [HOST-2] */
		window_size = size;
		*window_base = window;
		*window_bytes = size;
		return LOAM_OK;
	}
	return LOAM_NOVIRT;
}

uint64_t loam_space_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void loam_space_reset(void)
{
	munmap(mapped, window_size + LOAM_GIANT_SIZE);
	unmap_tables(window_size);
	fail_armed = false;
}

uint64_t loam_space_huge_sizes(void)
{
	return LOAM_HUGE_SIZE;
}

void *loam_space_record_page(void)
{
	if (must_fail() || record_bytes == RECORDS_MAX)
		return NULL;
	record_bytes += LOAM_PAGE_SIZE;
	return records + record_bytes - LOAM_PAGE_SIZE;
}

/* Linux has the frames, and the CPUs. */
bool loam_space_held(const uint64_t *ready_bytes, uint64_t *frame_bytes)
{
	(void)ready_bytes;
	(void)frame_bytes;
	return false;
}

void loam_space_shutdown(void)
{
	loam_space_reset();
}

/* ---- states ---- */

/* Length in pages of the run of one state from page `at` on, not beyond `end`. A run that is
 * Reserved may be all of the window: there the map is looked at a word at a time. */
static size_t run_length(size_t at, size_t end)
{
	size_t i = at + 1;

	while (i < end && page_state[i] == page_state[at])
		i++;
	return i - at;
}

/* The byte map of a region that was never mapped is all holes: mincore would tell, but the
 * regions know it as well. Free and never-mapped regions hold Reserved pages only. */
static bool never_mapped(uintptr_t addr, uintptr_t *end)
{
	const struct loam_region *r = loam_vspace_find(addr);

	*end = r->base + r->size;
	return r->owner == LOAM_OWNER_NONE;
}

void loam_space_count(uintptr_t base, size_t size, struct loam_space_count *count)
{
	uintptr_t end = base + size, stop;

	*count = (struct loam_space_count){0};
	for (uintptr_t at = base; at < end; at = stop) {
		bool empty = never_mapped(at, &stop);

		stop = stop < end ? stop : end;
		if (empty) {
			count->reserved_bytes += stop - at;
			continue;
		}
		for (size_t i = page_of(at), n; i < page_of(stop); i += n) {
			uint64_t bytes;

			n = run_length(i, page_of(stop));
			bytes = n * LOAM_PAGE_SIZE;
			count->reserved_bytes += page_state[i] == PAGE_RESERVED ? bytes : 0;
			count->prepared_bytes += page_state[i] == PAGE_PREPARED ? bytes : 0;
			count->ready_bytes += page_state[i] >= PAGE_READY ? bytes : 0;
			count->huge_bytes += page_state[i] == PAGE_READY_HUGE ? bytes : 0;
		}
	}
}

void loam_space_query(uintptr_t addr, struct loam_sys_info *info)
{
	static const enum loam_state state[] = {LOAM_STATE_RESERVED, LOAM_STATE_PREPARED,
						LOAM_STATE_READY, LOAM_STATE_READY};
	unsigned char s = page_state[page_of(addr)];

	info->state = state[s];
	info->leaf_bytes = s == PAGE_READY_HUGE ? LOAM_HUGE_SIZE
			   : s == PAGE_READY	? LOAM_PAGE_SIZE
						: 0;
	info->dirty = s >= PAGE_READY; /* nobody tells here: assume so */
	info->pa = loam_paddr(0);
}

void *loam_space_plain(uintptr_t addr)
{
	return page_state[page_of(addr)] == PAGE_READY ? (void *)addr : NULL;
}

bool loam_host_next_ready(uintptr_t at, uintptr_t end, uintptr_t *base, size_t *size)
{
	for (uintptr_t stop; at < end; at = stop) {
		const struct loam_region *r = loam_vspace_find(at);
		bool empty = never_mapped(at, &stop) || r->owner == LOAM_OWNER_STACK;
		size_t i = page_of(at);

		stop = stop < end ? stop : end;
		while (!empty && i < page_of(stop) && page_state[i] < PAGE_READY)
			i += run_length(i, page_of(stop));
		if (empty || i >= page_of(stop))
			continue;
		*base = window + (i << LOAM_PAGE_SHIFT);
		while (i < page_of(stop) && page_state[i] >= PAGE_READY)
			i += run_length(i, page_of(stop));
		*size = window + (i << LOAM_PAGE_SHIFT) - *base;
		return true;
	}
	return false;
}

/* ---- changes ---- */

enum loam_err loam_space_prepare(uintptr_t base, size_t size)
{
	if (must_fail())
		return LOAM_NOMEM;
	memset(&page_state[page_of(base)], PAGE_PREPARED, size >> LOAM_PAGE_SHIFT);
	return LOAM_OK;
}

/* Apply `prot` to every Prepared run of the range; how far it came. */
static uintptr_t protect_prepared(uintptr_t base, uintptr_t end, int prot)
{
	for (size_t i = page_of(base), n; i < page_of(end); i += n) {
		uintptr_t at = window + (i << LOAM_PAGE_SHIFT);

		n = run_length(i, page_of(end));
		if (page_state[i] == PAGE_PREPARED &&
		    mprotect((void *)at, n << LOAM_PAGE_SHIFT, prot) != 0)
			return at;
	}
	return end;
}

static bool block_wants_huge(uintptr_t at, uintptr_t end)
{
	const struct loam_region *r = loam_vspace_find(at);

	return loam_is_aligned(at, LOAM_HUGE_SIZE) && r->hugepage && end - at >= LOAM_HUGE_SIZE &&
	       r->size - (at - r->base) >= LOAM_HUGE_SIZE &&
	       page_state[page_of(at)] == PAGE_PREPARED &&
	       run_length(page_of(at), page_of(at + LOAM_HUGE_SIZE)) ==
		       LOAM_HUGE_SIZE / LOAM_PAGE_SIZE;
}

enum loam_err loam_space_commit(uintptr_t base, size_t size, uint64_t prepared_bytes)
{
	uintptr_t end = base + size, reached;

	(void)prepared_bytes;
	if (must_fail())
		return LOAM_NOMEM;
	reached = protect_prepared(base, end, PROT_READ | PROT_WRITE);
	if (reached != end) {
		protect_prepared(base, reached, PROT_NONE);
		return LOAM_NOMEM;
	}
	for (uintptr_t at = base; at < end;) {
		if (block_wants_huge(at, end)) {
			madvise((void *)at, LOAM_HUGE_SIZE, MADV_HUGEPAGE);
			memset(&page_state[page_of(at)], PAGE_READY_HUGE,
			       LOAM_HUGE_SIZE / LOAM_PAGE_SIZE);
			at += LOAM_HUGE_SIZE;
			continue;
		}
		if (page_state[page_of(at)] == PAGE_PREPARED)
			page_state[page_of(at)] = PAGE_READY;
		at += LOAM_PAGE_SIZE;
	}
	if (size < LOAM_HUGE_SIZE && loam_vspace_find(base)->hugepage)
		madvise((void *)base, size, MADV_POPULATE_WRITE);
	return LOAM_OK;
}

/* A huge leaf that the range cuts becomes small ones. */
static void split_at(uintptr_t addr)
{
	uintptr_t block = loam_align_down(addr, LOAM_HUGE_SIZE);

	if (addr == block || addr - window >= window_size ||
	    page_state[page_of(addr)] != PAGE_READY_HUGE)
		return;
	memset(&page_state[page_of(block)], PAGE_READY, LOAM_HUGE_SIZE / LOAM_PAGE_SIZE);
}

void loam_space_drop(uintptr_t base, size_t size, enum loam_state to)
{
	uintptr_t end = base + size, stop;

	split_at(base);
	split_at(end);
	for (uintptr_t at = base; at < end; at = stop) {
		bool empty = never_mapped(at, &stop);

		stop = stop < end ? stop : end;
		for (size_t i = page_of(at), n; !empty && i < page_of(stop); i += n) {
			void *p = (void *)(window + (i << LOAM_PAGE_SHIFT));

			n = run_length(i, page_of(stop));
			if (page_state[i] >= PAGE_READY) {
				int bad = madvise(p, n << LOAM_PAGE_SHIFT, MADV_DONTNEED);

				bad |= mprotect(p, n << LOAM_PAGE_SHIFT, PROT_NONE);
				LOAM_CHECK(bad == 0, "the kernel would not take memory back");
			}
			if (page_state[i] != PAGE_RESERVED)
				memset(&page_state[i],
				       to == LOAM_STATE_PREPARED ? PAGE_PREPARED : PAGE_RESERVED,
				       n);
		}
	}
}

void loam_space_drop_later(uintptr_t base, size_t size)
{
	loam_space_drop(base, size, LOAM_STATE_PREPARED);
}

enum loam_err loam_space_collapse(uintptr_t base, enum loam_owner owner)
{
	(void)owner;
	if (page_state[page_of(base)] == PAGE_READY_HUGE)
		return LOAM_OK;
	if (must_fail())
		return LOAM_NOMEM;
	if (madvise((void *)base, LOAM_HUGE_SIZE, MADV_COLLAPSE) != 0)
		return LOAM_NOTSUP;
	memset(&page_state[page_of(base)], PAGE_READY_HUGE, LOAM_HUGE_SIZE / LOAM_PAGE_SIZE);
	return LOAM_OK;
}

/* ---- move ---- */

/*
 * The kernel moves what is one mapping of its own, and will not say where one ends: halve until it does. What
 * it will not move at all is copied. `to` was accessible; a failed call may have taken it away. From 6.17 on it moves several
 * mappings, and may have moved some when it fails at one that is tracked: those would be moved again, empty. So none is.
 */
static void move_pages(char *from, char *to, size_t size)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	loam_host_untrack((uintptr_t)from, size);
	loam_host_untrack((uintptr_t)to, size);
	for (size_t n = size; size > 0; n = size) {
		while (mremap(from, n, n, flags, to) == MAP_FAILED) {
			void *p;

			if (errno == EFAULT && n > LOAM_PAGE_SIZE) {
				n = loam_align_up(n / 2, LOAM_PAGE_SIZE);
				continue;
			}
			p = mmap(to, n, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
			LOAM_CHECK(p == to, "the kernel would not give memory to copy to");
			memcpy(to, from, n);
			break;
		}
		from += n;
		to += n;
		size -= n;
	}
}

enum loam_err loam_space_move(uintptr_t from, uintptr_t to, size_t size)
{
	bool alike = loam_is_aligned(from ^ to, LOAM_HUGE_SIZE);
	size_t pages = size >> LOAM_PAGE_SHIFT;
	int bad;

	if (must_fail() || mprotect((void *)to, size, PROT_READ | PROT_WRITE) != 0)
		return LOAM_NOMEM;
	split_at(from);
	split_at(from + size);
	move_pages((char *)from, (char *)to, size);
	bad = madvise((void *)from, size, MADV_DONTNEED);
	bad |= mprotect((void *)from, size, PROT_NONE);
	LOAM_CHECK(bad == 0, "the kernel would not take memory back");
	if (alike)
		memcpy(&page_state[page_of(to)], &page_state[page_of(from)], pages);
	else
		memset(&page_state[page_of(to)], PAGE_READY, pages);
	memset(&page_state[page_of(from)], PAGE_PREPARED, pages);
	return LOAM_OK;
}
