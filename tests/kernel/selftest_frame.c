/* SPDX-License-Identifier: MIT */
/* Frames of the real memory map. */
#include "arch/mmu.h"
#include "mm/frame.h"
#include "tests/kernel/selftest.h"

#define RUNS 256u

static struct {
	struct loam_pfn pfn;
	unsigned order;
} run[RUNS];

static bool overlaps_reserved(const struct loam_boot_info *info, uint64_t base, uint64_t size)
{
	for (size_t i = 0; i < info->config.memmap_count; i++) {
		const struct loam_mem_entry *e = &info->config.memmap[i];

		if (e->type != LOAM_MEM_USABLE && e->size > 0 && base <= e->base + (e->size - 1) &&
		    e->base <= base + (size - 1))
			return true;
	}
	return false;
}

/* Runs of mixed orders: apart from each other, aligned, outside what the firmware reserved,
 * and each keeps what is written into it. */
static void runs_are_disjoint(const struct loam_boot_info *info)
{
	struct loam_frame_stats before, after;
	unsigned count = 0;

	loam_frame_stats(&before);
	while (count < RUNS) {
		unsigned order = (unsigned)(loam_selftest_random() % 8);
		uint64_t base;

		loam_frame_stats(&after);
		if (after.free < before.free / 2 ||
		    loam_frame_alloc(order, 0, LOAM_OWNER_TEST, &run[count].pfn) != LOAM_OK)
			break;
		run[count].order = order;
		base = loam_pfn_to_paddr(run[count].pfn).raw;
		EXPECT(loam_is_aligned(base, LOAM_PAGE_SIZE << order));
		EXPECT(!overlaps_reserved(info, base, LOAM_PAGE_SIZE << order));
		for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
			*(uint64_t *)loam_frame_ptr(loam_paddr(base + i * LOAM_PAGE_SIZE)) =
				base + i;
		count++;
	}
	EXPECT(count > 16);
	for (unsigned r = 0; r < count; r++) {
		uint64_t base = loam_pfn_to_paddr(run[r].pfn).raw;

		for (uint64_t i = 0; i < (uint64_t)1 << run[r].order; i++)
			EXPECT(*(uint64_t *)loam_frame_ptr(loam_paddr(base + i * LOAM_PAGE_SIZE)) ==
			       base + i);
	}
	loam_frame_verify(); /* [FRAME-1], [FRAME-2], [BUDDY-1] to [BUDDY-4] */
	for (unsigned r = 0; r < count; r++)
		EXPECT(loam_frame_free(run[r].pfn, run[r].order) == LOAM_OK);
	loam_frame_stats(&after);
	EXPECT(after.free == before.free);
}

static void bad_frees_are_refused(const struct loam_boot_info *info)
{
	struct loam_pfn pfn;

	(void)info;
	EXPECT(loam_frame_alloc(3, 0, LOAM_OWNER_TEST, &pfn) == LOAM_OK);
	EXPECT(loam_frame_free(pfn, 2) == LOAM_INVAL);
	EXPECT(loam_frame_free(loam_pfn(pfn.raw + 1), 0) == LOAM_INVAL);
	EXPECT(loam_frame_free(loam_pfn(0), 0) == LOAM_INVAL);
	EXPECT(loam_frame_free(loam_pfn(UINT64_MAX), 0) == LOAM_INVAL);
	EXPECT(loam_frame_free(pfn, 3) == LOAM_OK);
	EXPECT(loam_frame_free(pfn, 3) == LOAM_INVAL);
}

static void zeroed_frames_are_zero(const struct loam_boot_info *info)
{
	struct loam_pfn pfn;
	uint64_t *p, sum = 0;

	(void)info;
	EXPECT(loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) == LOAM_OK);
	p = loam_frame_ptr(loam_pfn_to_paddr(pfn));
	for (unsigned i = 0; i < LOAM_PAGE_SIZE / 8; i++)
		p[i] = UINT64_MAX;
	EXPECT(loam_frame_free(pfn, 0) == LOAM_OK);
	EXPECT(loam_frame_alloc(2, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn) == LOAM_OK);
	p = loam_frame_ptr(loam_pfn_to_paddr(pfn));
	for (unsigned i = 0; i < 4 * LOAM_PAGE_SIZE / 8; i++)
		sum |= p[i];
	EXPECT(sum == 0);
	EXPECT(loam_frame_free(pfn, 2) == LOAM_OK);
}

const struct selftest loam_selftest_frame[] = {
	{"frame: runs are disjoint, aligned and never reserved memory", runs_are_disjoint},
	{"frame: a wrong free is refused", bad_frees_are_refused},
	{"frame: zeroed frames are zero", zeroed_frames_are_zero},
	{NULL, NULL},
};
