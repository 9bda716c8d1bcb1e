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
 *   [EPOCH-5] Whoever makes it true that all have passed, by passing, resting or going offline, looks
 *             whether it is; so no frame waits for a moment that has been.
 *
 * Why [EPOCH-3] suffices: the CPU stores `idle` and then loads `epoch`; the one that frees moves
 * `epoch` on and then loads `idle`; all four sequentially consistent. So either the CPU sees the
 * new epoch and flushes, after the entries were cleared, or the one that frees sees it
 * awake and waits for it. [EPOCH-5] is the same between two CPUs that pass at once: each stores its own
 * `passed` or `idle` and then loads the other's, and one of them must see both. Hence those
 * are sequentially consistent too, and `oldest`. tests/model/epoch.pml has all of it.
 *
 * What waits is bounded, in pieces and in frames; when it is full, or something needs the address
 * or the memory, one shootdown settles all of it.
 *
 * Concurrency: `piece` and what belongs to it by the space lock; `passed` and `idle` by their CPU, with
 * IRQs off from asking for its number on: a thread that moved in between would say of one CPU what
 * it did on another.
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
static const struct loam_mmu *mmu_used; /* written once, before `epoch` first moves */
static uint64_t deferred, reaped;	/* space lock: frames that ever waited, went by epoch */

/* All four: seq_cst where [EPOCH-3] or [EPOCH-5] says so. */
static uint64_t epoch;	/* atomic: of the youngest piece that ever was */
static uint64_t oldest; /* atomic: of piece[0]; 0 nothing waits */
static struct {
	uint64_t passed; /* atomic: by the CPU itself; at joining, under the lock */
	uint32_t idle;	 /* atomic: likewise */
	uint32_t pad[13];
} cpu_state[LOAM_CPU_MAX];

static void pass(unsigned cpu, uint64_t now)
{
	loam_tlb_local_all(mmu_used);
	/* release: [EPOCH-1]; partner: all_passed */
	__atomic_store_n(&cpu_state[cpu].passed, now, __ATOMIC_SEQ_CST);
}

/* Has every CPU forgotten what was cleared before `stamp`? */
static bool all_passed(uint64_t stamp)
{
	for (unsigned cpu = 0; cpu < LOAM_CPU_MAX; cpu++) {
		if (loam_tlb_has(cpu) &&
		    __atomic_load_n(&cpu_state[cpu].passed, __ATOMIC_SEQ_CST) < stamp &&
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

	if (list->count == 0)
		return;
	if (mmu_used == NULL)
		mmu_used = mmu;
	if (limit == 0)
		limit = frames_max();
	if (piece_count == PIECES || frame_count + list->count > limit)
		(void)loam_epoch_settle_all();
	deferred += list->count;
	frame_count += list->count;
	piece[piece_count++] = (struct piece){
		.base = base,
		.size = size,
		/* the cleared entries come before; partner: the load in catch_up */
		.epoch = __atomic_add_fetch(&epoch, 1, __ATOMIC_SEQ_CST),
		.list = *list,
	};
	*list = (struct loam_frame_list){0};
	if (piece_count == 1)
		__atomic_store_n(&oldest, piece[0].epoch, __ATOMIC_SEQ_CST);
	pass(self, piece[piece_count - 1].epoch); /* IRQs are off */
	if (frame_count > limit)		  /* more came at once than may ever wait */
		(void)loam_epoch_settle_all();
	else
		reap(); /* the others may be idle */
}

/* ---- what the CPUs say ---- */

/* [EPOCH-5]. Frames and their records are not reached through the window: an idle CPU may. */
static void reap_if_ripe(void)
{
	uint64_t first = __atomic_load_n(&oldest, __ATOMIC_SEQ_CST);
	uintptr_t irq;

	if (first == 0 || !all_passed(first))
		return;
	irq = loam_sys_enter();
	reap();
	(void)loam_sys_leave(irq, LOAM_OK);
}

/* A CPU that loam_cpu_online has refused may still say that it is idle. */
static bool takes_part(unsigned cpu)
{
	return cpu < LOAM_CPU_MAX && loam_tlb_has(cpu);
}

/* This CPU, with IRQs off, passes what there is to pass. False: nothing. */
static bool catch_up(unsigned cpu)
{
	/* seq_cst: [EPOCH-3]. The flush depends on what is loaded, so it cannot come first. */
	uint64_t now = __atomic_load_n(&epoch, __ATOMIC_SEQ_CST);

	/* relaxed: only this CPU writes it */
	if (__atomic_load_n(&cpu_state[cpu].passed, __ATOMIC_RELAXED) == now)
		return false;
	pass(cpu, now);
	return true;
}

void loam_cpu_quiescent(void)
{
	bool passed = false;
	uintptr_t irq;
	unsigned cpu;

	/* relaxed: a piece that comes right now is passed next time */
	if (__atomic_load_n(&oldest, __ATOMIC_RELAXED) == 0)
		return;
	irq = loam_irq_save();
	cpu = loam_host_cpu_id();
	if (takes_part(cpu))
		passed = catch_up(cpu);
	loam_irq_restore(irq);
	if (passed)
		reap_if_ripe();
}

void loam_cpu_idle_enter(void)
{
	uintptr_t irq = loam_irq_save();
	unsigned cpu = loam_host_cpu_id();

	if (takes_part(cpu)) {
		(void)catch_up(cpu);
		/* release: what it did to memory comes before; seq_cst: [EPOCH-5] */
		__atomic_store_n(&cpu_state[cpu].idle, 1, __ATOMIC_SEQ_CST);
	}
	loam_irq_restore(irq);
	reap_if_ripe();
}

void loam_cpu_idle_leave(void)
{
	uintptr_t irq = loam_irq_save();
	unsigned cpu = loam_host_cpu_id();
	bool passed = false;

	if (takes_part(cpu)) {
		__atomic_store_n(&cpu_state[cpu].idle, 0, __ATOMIC_SEQ_CST);
		passed = catch_up(cpu); /* [EPOCH-3] */
	}
	loam_irq_restore(irq);
	/* another may have passed while this one was neither idle nor had passed */
	if (passed)
		reap_if_ripe();
}

void loam_epoch_join(unsigned cpu)
{
	/* The space lock is held: no frame goes back before its TLB is empty. */
	__atomic_store_n(&cpu_state[cpu].passed, __atomic_load_n(&epoch, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
	__atomic_store_n(&cpu_state[cpu].idle, 0, __ATOMIC_RELEASE);
}

void loam_epoch_leave(void)
{
	reap(); /* [EPOCH-5] */
}

void loam_epoch_reset(void)
{
	LOAM_CHECK(piece_count == 0, "frames still wait for an epoch to pass");
	epoch = 0;
	oldest = 0;
	limit = 0;
	mmu_used = NULL;
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
