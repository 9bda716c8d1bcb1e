/* SPDX-License-Identifier: MIT */
/*
 * Epoch reclamation: giving frames back without a remote invalidation.
 *
 * A shootdown stops every CPU because one of them frees memory. Often nobody needs to know now:
 * when the scavenger gives pages back, a CPU that still reaches the old frame for a while does no
 * harm, as long as the frame has no new owner and the address no new frame. So the frames wait,
 * stamped with a new epoch. Each CPU, at a moment of its own choice between two pieces of work,
 * notes the epoch, empties its own TLB and says so. When all have passed a stamp, the frames
 * under it go back.
 *
 *   [EPOCH-1] A CPU says that it has passed an epoch only after it has emptied its TLB, and names
 *             the epoch that it read before that.
 *   [EPOCH-2] A frame goes back only when every CPU that is online has passed its stamp or is idle.
 *   [EPOCH-3] An idle CPU touches no memory of loam's before it is idle no more, and empties its
 *             TLB on the way out, after it has said so.
 *   [EPOCH-4] No page whose old frame waits gets a new one.
 *
 * Why [EPOCH-3] suffices: the CPU stores `idle` and then loads `epoch`; the one that frees moves
 * `epoch` on and then loads `idle`; all four sequentially consistent. So either the CPU sees the
 * new epoch and flushes, after the entries were cleared, or the one that frees sees it
 * awake and waits for it. tests/model/epoch.pml has all of it.
 *
 * What waits is bounded, in pieces and in frames; when it is full, or something needs the address
 * or the memory, one shootdown settles all of it.
 *
 * Concurrency: `piece` and what belongs to it by the space lock; `passed` and `idle` by their CPU.
 */
#include "mm/epoch.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "mm/sys.h"

#include <loam/cpu.h>

#define PIECES	   64u
#define FRAMES_MAX 4096u /* 16 MiB */
#define SHARE	   16u	 /* at most this part of all memory waits */

static struct piece {
	uintptr_t base;
	size_t size;
	uint64_t epoch;
	struct loam_frame_list list;
} piece[PIECES]; /* oldest first */
static uint32_t piece_count;
static uint64_t frame_count, limit;
static const struct loam_mmu *mmu_used; /* of what waits */
static uint64_t deferred, reaped;	/* space lock: frames that ever waited, went by epoch */

static uint64_t epoch;	/* atomic: of the youngest piece that ever was */
static uint64_t oldest; /* atomic: of piece[0]; 0 nothing waits */
static struct {
	uint64_t passed; /* atomic: release by the CPU itself */
	uint32_t idle;	 /* atomic */
	uint32_t pad[13];
} cpu_state[LOAM_CPU_MAX];

/*
 * Between "I have passed" and the look whether all have: of two CPUs that pass at the same time at
 * least one must see the other, or neither gives anything back and the frames wait for ever. A
 * store and a later load are kept in order by a full fence alone. Partner: the same fence elsewhere.
 */
static void last_one_sees_all(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void pass(unsigned cpu, uint64_t now)
{
	loam_tlb_local_all(mmu_used);
	__atomic_store_n(&cpu_state[cpu].passed, now, __ATOMIC_RELEASE); /* [EPOCH-1] */
	last_one_sees_all();
}

/* Has every CPU forgotten what was cleared before `stamp`? */
static bool all_passed(uint64_t stamp)
{
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++) {
		if (loam_tlb_has(cpu) &&
		    __atomic_load_n(&cpu_state[cpu].passed, __ATOMIC_ACQUIRE) < stamp &&
		    __atomic_load_n(&cpu_state[cpu].idle, __ATOMIC_SEQ_CST) == 0)
			return false; /* [EPOCH-2] */
	}
	return true;
}

/* The first `n` pieces go back. */
static void drop_first(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		frame_count -= piece[i].list.count;
		loam_frame_list_free(&piece[i].list);
	}
	for (uint32_t i = n; i < piece_count; i++)
		piece[i - n] = piece[i];
	piece_count -= n;
	__atomic_store_n(&oldest, piece_count > 0 ? piece[0].epoch : 0, __ATOMIC_RELEASE);
}

static void reap(void)
{
	uint32_t n = 0;

	while (n < piece_count && all_passed(piece[n].epoch))
		reaped += piece[n++].list.count;
	if (n > 0)
		drop_first(n);
}

bool loam_epoch_settle_all(void)
{
	if (piece_count == 0)
		return false;
	reap();
	if (piece_count > 0) {
		loam_tlb_everywhere_all(mmu_used);
		drop_first(piece_count);
	}
	return true;
}

static bool overlaps(uintptr_t base, size_t size)
{
	for (uint32_t i = 0; i < piece_count; i++) {
		if (base - piece[i].base < piece[i].size || piece[i].base - base < size)
			return true;
	}
	return false;
}

void loam_epoch_settle(uintptr_t base, size_t size)
{
	if (piece_count > 0 && overlaps(base, size))
		(void)loam_epoch_settle_all(); /* [EPOCH-4] */
}

static uint64_t frames_max(void)
{
	struct loam_frame_stats stats;

	loam_frame_stats(&stats);
	return stats.total / SHARE < FRAMES_MAX ? stats.total / SHARE : FRAMES_MAX;
}

void loam_epoch_defer(const struct loam_mmu *mmu, uintptr_t base, size_t size,
		      struct loam_frame_list *list)
{
	unsigned self = loam_host_cpu_id();

	mmu_used = mmu;
	if (list->count == 0)
		return;
	if (limit == 0)
		limit = frames_max();
	if (piece_count == PIECES || frame_count + list->count > limit)
		(void)loam_epoch_settle_all();
	deferred += list->count;
	frame_count += list->count;
	piece[piece_count++] = (struct piece){
		.base = base,
		.size = size,
		/* the cleared entries come before; partner: the acquire in loam_cpu_quiescent */
		.epoch = __atomic_add_fetch(&epoch, 1, __ATOMIC_SEQ_CST),
		.list = *list,
	};
	*list = (struct loam_frame_list){0};
	if (piece_count == 1)
		__atomic_store_n(&oldest, piece[0].epoch, __ATOMIC_RELEASE);
	pass(self, piece[piece_count - 1].epoch); /* IRQs are off */
	if (frame_count > limit)		  /* more came at once than may ever wait */
		(void)loam_epoch_settle_all();
	else
		reap(); /* the others may be idle */
}

/* ---- what the CPUs say ---- */

static void reap_if_ripe(void)
{
	uint64_t first = __atomic_load_n(&oldest, __ATOMIC_ACQUIRE);
	uintptr_t irq;

	if (first == 0 || !all_passed(first))
		return;
	irq = loam_sys_enter();
	reap();
	(void)loam_sys_leave(irq, LOAM_OK);
}

void loam_cpu_quiescent(void)
{
	uintptr_t irq;
	uint64_t now;
	unsigned cpu;
	bool passes;

	if (__atomic_load_n(&oldest, __ATOMIC_ACQUIRE) == 0)
		return;
	/* interrupts off first: a thread that moved to another CPU would flush that one's TLB and speak
	 * for the one it left */
	irq = loam_irq_save();
	cpu = loam_host_cpu_id();
	now = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
	passes = __atomic_load_n(&cpu_state[cpu].passed, __ATOMIC_RELAXED) != now &&
		 loam_tlb_has(cpu);
	if (passes)
		pass(cpu, now);
	loam_irq_restore(irq);
	if (passes)
		reap_if_ripe();
}

void loam_cpu_idle_enter(void)
{
	loam_cpu_quiescent();
	__atomic_store_n(&cpu_state[loam_host_cpu_id()].idle, 1, __ATOMIC_RELEASE);
	last_one_sees_all();
	reap_if_ripe();
}

void loam_cpu_idle_leave(void)
{
	unsigned cpu = loam_host_cpu_id();
	uint64_t now;

	/* seq_cst, both: see [EPOCH-3] */
	__atomic_store_n(&cpu_state[cpu].idle, 0, __ATOMIC_SEQ_CST);
	now = __atomic_load_n(&epoch, __ATOMIC_SEQ_CST);
	if (now != __atomic_load_n(&cpu_state[cpu].passed, __ATOMIC_RELAXED) && loam_tlb_has(cpu)) {
		pass(cpu, now); /* [EPOCH-3] */
		/* somebody may have looked between the two, and counted on us to be the last */
		reap_if_ripe();
	}
}

void loam_epoch_join(unsigned cpu)
{
	/* its TLB is empty, and the space lock is held */
	__atomic_store_n(&cpu_state[cpu].passed, __atomic_load_n(&epoch, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
	__atomic_store_n(&cpu_state[cpu].idle, 0, __ATOMIC_RELEASE);
}

void loam_epoch_reset(void)
{
	LOAM_CHECK(piece_count == 0, "frames still wait for an epoch to pass");
	epoch = 0;
	oldest = 0;
	limit = 0;
	deferred = 0;
	reaped = 0;
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++) {
		cpu_state[cpu].passed = 0;
		cpu_state[cpu].idle = 0;
	}
}

void loam_epoch_stats(struct loam_cpu_stats *stats)
{
	stats->deferred_frames = deferred;
	stats->epoch_frames = reaped;
	stats->waiting_frames = frame_count;
}
