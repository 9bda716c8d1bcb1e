/* SPDX-License-Identifier: MIT */
/*
 * Stopping the world: one thread a CPU, which is whatever that CPU runs.
 *
 * Each CPU has a record of the thread that is attached there, if any. Whoever stops the world takes
 * `door`, makes `world` odd, interrupts every other CPU that has a thread, and waits until each is
 * parked. The interrupt handler there looks whether `world` is odd. If so, it asks the collector whether
 * the thread may be stopped where it is. If it may, the handler says where the registers and the stack
 * are, and waits until `world` has another value. If not (the thread is in the allocator), the handler
 * leaves a request and returns: on its way out of the allocator the thread finds the request, and
 * parks by loam_host_thread_parked, its registers spilled to its stack.
 *
 *   running --interrupt, may stop-----------------> parked --world is even, or odd anew--> running
 *   running --interrupt, in the allocator--> asked --leaves it--> parked
 *
 *   [WORLD-1] From the return of loam_host_world_stop to loam_host_world_start each attached thread but
 *             the stopper's is parked, at a point where loam_thread_may_stop is true.
 *   [WORLD-2] Nobody attaches, detaches, or stops the world while it is stopped: all three take `door`.
 *             Who waits for it and is attached can itself be parked meanwhile.
 *   [WORLD-3] All that a parked thread can reach memory by is in what loam_host_stacks visits of it: the
 *             registers, all of them if it was interrupted, and the stack from there to its base.
 *   [WORLD-4] A CPU that is parked, or that waits for `door` or for others to park, answers shootdowns.
 *   [WORLD-5] Only a CPU with an attached thread is waited for.
 *
 * Why nobody waits for ever. The stopper waits for threads to leave the allocator. What these wait
 * for is heap.lock, whose holder is in the allocator too, or mm's locks, which are held with
 * interrupts off and so by no parked CPU, or the answer to a shootdown [WORLD-4]. `door` is held while
 * waiting by the stopper alone. A thread that the next stop finds still on its way out of the last one
 * has its interrupt pending and parks again: `parked_for` says for which stop.
 *
 * What fails: a CPU that keeps interrupts off, or stays in the allocator. After a second it is named in the
 * log, then every five; nothing else can be done about it. A CPU that takes no interrupts at all
 * cannot attach (loam_percpu.irqs).
 *
 * Limits: a thread stays on its CPU, and, while it is attached, on that CPU's stack.
 *
 * Concurrency: `world` and each `parked_for` are atomic. `stopper` and `began` are written by the holder of
 * `door`. The rest of a `place` is its CPU's, and the stopper's while that is parked. The signal version of
 * this protocol is arch/host/host.c.
 */
#include "boot/world.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "boot/smp.h"
#include "mm/print.h"

#include <loam/cpu.h>
#include <loam/gc.h>

#define NOBODY	      UINT32_MAX
#define PATIENCE_NS   UINT64_C(1000000000)
#define SPINS_A_CLOCK 1024u

/* A cache line for each CPU. */
struct place {
	uint64_t parked_for; /* atomic: the value of `world` that it parked for */
	uint64_t heard;	     /* atomic: the last one that its interrupt handler saw */
	const void *regs, *regs_end;
	uintptr_t sp;
	uint64_t pad[3];
} __attribute__((aligned(64)));

static struct place place[LOAM_BOOT_CPUS];
static uint32_t door_next; /* atomic: the ticket for whoever comes next */
static uint32_t
	door_now;      /* atomic: the ticket that is in; release on leaving, acquire on entering */
static uint64_t world; /* atomic: odd while stopped */
static uint32_t stopper = NOBODY; /* atomic: the CPU that stops, while it does */
static uint64_t patience_ns = PATIENCE_NS;
static struct loam_world_stats stats; /* door */

/* ---- the one that is stopped ---- */

/* This CPU is asked to stop, by the stop that is returned; 0: it is not. IRQs are off. */
static uint64_t asked(const struct loam_percpu *self)
{
	/* acquire: partner of the increment in loam_host_world_stop: `stopper` is seen with it */
	uint64_t now = __atomic_load_n(&world, __ATOMIC_ACQUIRE);

	return (now & 1) != 0 && self->thread != NULL &&
			       __atomic_load_n(&stopper, __ATOMIC_RELAXED) != self->id
		       ? now
		       : 0;
}

/* IRQs are off: nothing comes between the registers and the wait. */
static void park(const struct loam_percpu *self, uint64_t now, const void *regs,
		 const void *regs_end, uintptr_t sp)
{
	struct place *p = &place[self->id];

	LOAM_CHECK(sp >= self->stack_low && sp < self->stack_high,
		   "an attached thread left its CPU's stack: detach it first");
	p->regs = regs;
	p->regs_end = regs_end;
	p->sp = loam_align_down(sp, sizeof(void *));
	/* what the MMU has noted of the thread's stores too, which no release orders: loam_sys_dirty_look */
	loam_cpu_complete();
	/* release: all of the above and all that the thread did; partner: is_parked */
	__atomic_store_n(&p->parked_for, now, __ATOMIC_RELEASE);
	/* acquire: partner of loam_host_world_start; what the collector did is seen after */
	while (__atomic_load_n(&world, __ATOMIC_ACQUIRE) == now) {
		loam_cpu_poll(); /* [WORLD-4] */
		loam_cpu_relax();
	}
}

void loam_world_interrupt(const void *regs, const void *regs_end, uintptr_t sp)
{
	const struct loam_percpu *self = &loam_percpu[loam_machine_cpu_id()];
	uint64_t now = asked(self);

	if (now == 0)
		return;
	/* relaxed: for the complaint only */
	__atomic_store_n(&place[self->id].heard, now, __ATOMIC_RELAXED);
	if (loam_thread_may_stop(self->thread))
		park(self, now, regs, regs_end, sp);
	else
		loam_thread_request_stop(self->thread);
}

static void park_here(void *unused, const void *sp)
{
	const struct loam_percpu *self = &loam_percpu[loam_machine_cpu_id()];
	uint64_t now = asked(self);

	(void)unused;
	if (now != 0)
		park(self, now, NULL, NULL, (uintptr_t)sp);
}

void loam_host_thread_parked(void)
{
	uintptr_t irq = loam_irq_save();

	loam_cpu_spill(park_here, NULL);
	loam_irq_restore(irq);
}

/* ---- the door ---- */

/*
 * One after the other, in the order in which they come: one that collects all the time must not keep
 * others from attaching. Returns with IRQs off, and the state they were in.
 */
static uintptr_t enter(void)
{
	uint32_t ticket = __atomic_fetch_add(&door_next, 1, __ATOMIC_RELAXED);

	/* acquire: partner of leave */
	while (__atomic_load_n(&door_now, __ATOMIC_ACQUIRE) != ticket) {
		/* if the caller has interrupts off, nobody else does these two */
		loam_host_thread_parked(); /* [WORLD-2] */
		loam_cpu_poll();	   /* [WORLD-4] */
		loam_cpu_relax();
	}
	return loam_irq_save();
}

static void leave(void)
{
	/* who is in is the only one who writes it */
	__atomic_store_n(&door_now, __atomic_load_n(&door_now, __ATOMIC_RELAXED) + 1,
			 __ATOMIC_RELEASE);
}

void loam_host_thread_set(struct loam_thread *thread)
{
	uintptr_t irq = enter();
	struct loam_percpu *self = &loam_percpu[loam_machine_cpu_id()];

	LOAM_CHECK(thread == NULL || self->id == 0 || self->irqs,
		   "no thread can be attached here: nobody can interrupt this CPU");
	self->thread = thread;
	leave();
	loam_irq_restore(irq);
}

/* ---- the one that stops ---- */

static bool is_parked(unsigned cpu, uint64_t now)
{
	return __atomic_load_n(&place[cpu].parked_for, __ATOMIC_ACQUIRE) == now;
}

static void complain(unsigned cpu, uint64_t now, uint64_t waited_ns)
{
	const struct loam_thread *thread = loam_percpu[cpu].thread;
	bool deaf = __atomic_load_n(&place[cpu].heard, __ATOMIC_RELAXED) != now;
	bool inside = !loam_thread_may_stop(thread);

	stats.late_cpu = cpu;
	stats.late_deaf = deaf;
	stats.late_inside = inside;
	/* release: a test that sees it sees the rest; partner: loam_world_late */
	__atomic_add_fetch(&stats.late, 1, __ATOMIC_RELEASE);
	loam_log(LOAM_LOG_ERROR, "CPU %u does not stop for %llu ms: thread %p, %s, %s\n", cpu,
		 (unsigned long long)(waited_ns / 1000000), (const void *)thread,
		 deaf ? "has not taken the interrupt: interrupts off?" : "has taken the interrupt",
		 inside ? "in the allocator" : "not in the allocator");
}

static void wait_for(unsigned cpu, uint64_t now, uint64_t began)
{
	uint64_t limit = began + patience_ns;

	for (uint32_t spins = 1; !is_parked(cpu, now); spins++) {
		uint64_t ns;

		loam_cpu_poll(); /* [WORLD-4] */
		loam_cpu_relax();
		if (spins % SPINS_A_CLOCK != 0)
			continue;
		ns = loam_host_now_ns();
		if (ns < limit)
			continue;
		complain(cpu, now, ns - began);
		limit = ns + 5 * patience_ns;
	}
}

void loam_host_world_stop(void)
{
	uint64_t began = loam_host_now_ns(), now, took;
	uintptr_t irq = enter();
	unsigned self = loam_machine_cpu_id();

	__atomic_store_n(&stopper, self, __ATOMIC_RELAXED);
	/* release: `stopper` comes first; partner: asked. The interrupts come after: each way to send
	 * one orders it behind the stores before it. */
	now = __atomic_add_fetch(&world, 1, __ATOMIC_SEQ_CST);
	loam_irq_restore(irq);
	for (unsigned cpu = 0; cpu < LOAM_BOOT_CPUS; cpu++) {
		if (cpu != self && loam_percpu[cpu].thread != NULL) /* [WORLD-5] */
			loam_machine_ipi(cpu);
	}
	for (unsigned cpu = 0; cpu < LOAM_BOOT_CPUS; cpu++) {
		if (cpu != self && loam_percpu[cpu].thread != NULL)
			wait_for(cpu, now, began);
	}
	took = loam_host_now_ns() - began;
	stats.stops++;
	stats.stop_ns += took;
	stats.longest_ns = took > stats.longest_ns ? took : stats.longest_ns;
}

void loam_host_world_start(void)
{
	__atomic_store_n(&stopper, NOBODY, __ATOMIC_RELAXED);
	/* release: the collector's writes come before the threads run on; partner: park */
	__atomic_add_fetch(&world, 1, __ATOMIC_RELEASE);
	leave();
}

void loam_host_stacks(void (*visit)(void *arg, const void *lo, const void *hi), void *arg)
{
	for (unsigned cpu = 0; cpu < LOAM_BOOT_CPUS; cpu++) {
		const struct place *p = &place[cpu];

		if (cpu == loam_machine_cpu_id() || loam_percpu[cpu].thread == NULL)
			continue;
		if (p->regs != NULL)
			visit(arg, p->regs, p->regs_end); /* [WORLD-3] */
		visit(arg, (const void *)p->sp, (const void *)loam_percpu[cpu].stack_high);
	}
}

/* ---- figures ---- */

void loam_world_stats(struct loam_world_stats *to)
{
	uintptr_t irq = enter();

	*to = stats;
	leave();
	loam_irq_restore(irq);
}

uint64_t loam_world_late(void)
{
	return __atomic_load_n(&stats.late, __ATOMIC_ACQUIRE);
}

uint64_t loam_world_patience(uint64_t ns)
{
	uint64_t was = patience_ns;

	patience_ns = ns;
	return was;
}
