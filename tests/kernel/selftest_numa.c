/* SPDX-License-Identifier: MIT */
/*
 * Nodes of the real machine. Most have one, and then what is left to check is what a node's number
 * means. The other CPUs are kept from their idle loops meanwhile: those zero frames ahead.
 */
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "boot/smp.h"
#include "mm/frame.h"
#include "tests/kernel/selftest.h"

/* ---- each CPU for itself ---- */

static const char *bad[LOAM_BOOT_CPUS];

static bool node_is(struct loam_pfn pfn, unsigned want)
{
	unsigned node;

	return loam_frame_node(pfn, &node) == LOAM_OK && node == want;
}

/* What is freed far from its node does not stay there: the next round sees to it. */
static bool far_away_and_back(unsigned node)
{
	struct loam_pfn pfn;

	return loam_frame_alloc(0, LOAM_FRAME_NODE(node), LOAM_OWNER_TEST, &pfn) == LOAM_OK &&
	       loam_frame_free(pfn, 0) == LOAM_OK;
}

static void take_here(void *arg)
{
	unsigned cpu = loam_host_cpu_id(), node = loam_percpu[cpu].node;
	struct loam_node_stats stats;
	struct loam_pfn pfn[3];

	(void)arg;
	bad[cpu] = NULL;
	if (loam_node_stats(node, &stats) != LOAM_OK || stats.free < 64)
		node = LOAM_NODE_MAX; /* its memory, if any, is gone: others help out */
	for (unsigned round = 0; round < 64; round++) {
		if (loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn[0]) != LOAM_OK ||
		    loam_frame_alloc(0, LOAM_FRAME_ZERO, LOAM_OWNER_TEST, &pfn[1]) != LOAM_OK ||
		    loam_frame_alloc(3, 0, LOAM_OWNER_TEST, &pfn[2]) != LOAM_OK) {
			bad[cpu] = "no memory";
			return;
		}
		for (unsigned i = 0; i < 3; i++) {
			if (node != LOAM_NODE_MAX && !node_is(pfn[i], node))
				bad[cpu] = "a frame of another node";
			if (loam_frame_free(pfn[i], i < 2 ? 0 : 3) != LOAM_OK)
				bad[cpu] = "a frame could not be freed";
		}
		if (!far_away_and_back(round % loam_node_count()))
			bad[cpu] = "a frame of another node could not be had or freed";
	}
}

static void frames_are_near(const struct loam_boot_info *info)
{
	(void)info;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, take_here, NULL);
	take_here(NULL);
	loam_smp_wait();
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++)
		EXPECT(bad[cpu] == NULL);
}

/* ---- a node that is full ---- */

static uint32_t release, held; /* atomic */

static void hold(void *arg)
{
	(void)arg;
	__atomic_fetch_add(&held, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&release, __ATOMIC_ACQUIRE) == 0) {
		loam_cpu_poll();
		loam_cpu_relax();
	}
}

static void hold_others(void)
{
	release = 0;
	held = 0;
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		loam_smp_post(cpu, hold, NULL);
	while (__atomic_load_n(&held, __ATOMIC_ACQUIRE) + 1 < loam_smp_count())
		loam_cpu_relax();
}

/* A run on a list of its own, which stands in the runs. */
struct taken {
	struct taken *next;
	struct loam_pfn pfn;
	unsigned order;
};

static struct taken *take_all(unsigned flags)
{
	struct taken *list = NULL;
	struct loam_pfn pfn;

	for (unsigned order = LOAM_ORDER_MAX + 1; order-- > 0;) {
		while (loam_frame_alloc(order, flags, LOAM_OWNER_TEST, &pfn) == LOAM_OK) {
			struct taken *t = loam_frame_ptr(loam_pfn_to_paddr(pfn));

			*t = (struct taken){list, pfn, order};
			list = t;
		}
	}
	return list;
}

/* Are they all of the node? They are freed either way. */
static bool free_all(struct taken *list, unsigned node)
{
	bool good = true;

	while (list != NULL) {
		struct taken t = *list;

		good = node_is(t.pfn, node) && loam_frame_free(t.pfn, t.order) == LOAM_OK && good;
		list = t.next;
	}
	return good;
}

/* All of a node goes: strictly there is no more, otherwise another helps out, where one has any. */
static bool node_can_be_full(unsigned node)
{
	const unsigned prefer = LOAM_FRAME_NODE(node), strict = prefer | LOAM_FRAME_STRICT;
	struct loam_frame_stats before, after;
	struct taken *list;
	struct loam_pfn pfn;
	bool good = true;

	loam_frame_stats(&before);
	list = take_all(strict);
	loam_frame_stats(&after);
	good = good && loam_frame_alloc(0, strict, LOAM_OWNER_TEST, &pfn) == LOAM_NOMEM;
	good = good && loam_frame_alloc(0, strict | LOAM_FRAME_ZERO | LOAM_FRAME_IRQ,
					LOAM_OWNER_TEST, &pfn) == LOAM_NOMEM;
	if (after.free > 1024) { /* more than any reserve: some other node has it */
		good = good && loam_frame_alloc(0, prefer, LOAM_OWNER_TEST, &pfn) == LOAM_OK &&
		       !node_is(pfn, node) && loam_frame_free(pfn, 0) == LOAM_OK;
		good = good && loam_frame_alloc(3, prefer, LOAM_OWNER_TEST, &pfn) == LOAM_OK &&
		       !node_is(pfn, node) && loam_frame_free(pfn, 3) == LOAM_OK;
	}
	good = free_all(list, node) && good;
	loam_frame_stats(&after);
	return good && after.free == before.free &&
	       after.owner_frames[LOAM_OWNER_TEST] == before.owner_frames[LOAM_OWNER_TEST];
}

static void full_nodes(const struct loam_boot_info *info)
{
	bool good = true;

	(void)info;
	hold_others();
	for (unsigned node = 0; node < loam_node_count(); node++)
		good = node_can_be_full(node) && good;
	__atomic_store_n(&release, 1, __ATOMIC_RELEASE);
	loam_smp_wait();
	EXPECT(good);
}

static void nodes_add_up(const struct loam_boot_info *info)
{
	struct loam_node_stats stats = {0};
	struct loam_frame_stats all;
	struct loam_pfn pfn = {0};
	uint64_t total = 0;
	unsigned node = 0;

	(void)info;
	for (; node < loam_node_count(); node++) {
		EXPECT(loam_node_stats(node, &stats) == LOAM_OK);
		EXPECT(stats.free <= stats.total);
		total += stats.total;
	}
	loam_frame_stats(&all);
	EXPECT(total == all.total);
	EXPECT(loam_node_stats(node, &stats) == LOAM_INVAL);
	EXPECT(loam_frame_alloc(0, LOAM_FRAME_NODE(node), LOAM_OWNER_TEST, &pfn) == LOAM_INVAL);
	EXPECT(loam_frame_node(loam_pfn(UINT64_MAX), &node) == LOAM_NOENT);
}

const struct selftest loam_selftest_numa[] = {
	{"numa: each CPU's frames are of its node", frames_are_near},
	{"numa: a full node: strict requests fail, others are helped out", full_nodes},
	{"numa: nodes add up, and there are no others", nodes_add_up},
	{NULL, NULL},
};
