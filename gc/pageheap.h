/* SPDX-License-Identifier: MIT */
/* The page heap: which heap pages are in a span, which are backed. Theory: pageheap.c. */
#ifndef LOAM_GC_PAGEHEAP_H
#define LOAM_GC_PAGEHEAP_H

#include <loam/types.h>

#include "gc/sizeclass.h"

/* Free pages of one aligned block of 64, taken by a thread for itself. */
struct loam_pagecache {
	uint64_t base_page;
	uint64_t free, scavenged;
};

/* `pages` heap pages, all Ready, aligned to `align_pages` (0 or 1: any). *zeroed: known to be
 * zero. 0: no memory or no address space, nothing changed. */
uintptr_t loam_pages_alloc(struct loam_pagecache *pc, uint64_t pages, uint64_t align_pages,
			   bool *zeroed);
void loam_pages_free(struct loam_pagecache *pc, uintptr_t base, uint64_t pages);
/* Take `more` pages from just `end` on, if all are free. */
bool loam_pages_extend(uintptr_t end, uint64_t more, bool *zeroed);
void loam_pagecache_flush(struct loam_pagecache *pc);

/* Give free Ready pages back until at most `keep` of them are left, highest first; at most `most`
 * pages. Returns how many went. heap.lock is held. */
uint64_t loam_pages_release_locked(uint64_t keep, uint64_t most);

#endif
