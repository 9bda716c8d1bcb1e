/* SPDX-License-Identifier: MIT */
/*
 * One heap for the threads of all CPUs, and stopping them. With one CPU there is nobody to stop, and most
 * of this passes at once. With soak=SECONDS on the command line all work together for that long.
 *
 * A test that breaks what another CPU still uses would break the tests behind it too: so what is wrong is
 * noted in `bad`, and looked at when everybody is done.
 */
#include "arch/cpu.h"
#include "boot/smp.h"
#include "boot/world.h"
#include "gc/heap.h"
#include "mm/frame.h"
#include "mm/print.h"
#include "tests/kernel/selftest.h"

#include <loam/cpu.h>

#define SHARED	  64u
#define STEPS	  400u /* with no time given */
#define LIST_MAX  200u
#define LIMIT_NS  UINT64_C(20000000000) /* something hangs */
#define LARGE_MAX (128u << 10)

static struct loam_thread thread[LOAM_BOOT_CPUS] LOAM_BOOT_NO_ROOTS;
static const char *bad; /* atomic: the first thing that went wrong */
static uint32_t phase;	/* atomic: what each test makes of it */

static void must(bool ok, const char *what)
{
	const char *none = NULL;

	if (!ok)
		__atomic_compare_exchange_n(&bad, &none, what, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
}

static void phase_set(uint32_t n)
{
	__atomic_store_n(&phase, n, __ATOMIC_RELEASE);
}

static void phase_wait(uint32_t n)
{
	uint64_t start = loam_host_now_ns();

	while (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) < n) {
		loam_cpu_poll();
		loam_cpu_relax();
		if (loam_host_now_ns() - start > LIMIT_NS) {
			must(false, "another CPU was waited for in vain");
			return;
		}
	}
}

static void attach(void)
{
	struct loam_thread *self = &thread[loam_host_cpu_id()];

	must(loam_thread_attach(self, loam_smp_stack_base()) == LOAM_OK, "attach failed");
	must(loam_host_thread() == self, "another thread is attached than was");
}

static void detach(void)
{
	must(loam_thread_detach(&thread[loam_host_cpu_id()]) == LOAM_OK, "detach failed");
	must(loam_host_thread() == NULL, "a thread is attached still");
}

static void begin(void (*fn)(void *), unsigned first, unsigned end)
{
	bad = NULL;
	phase = 0;
	for (unsigned cpu = first; cpu < end; cpu++)
		loam_smp_post(cpu, fn, NULL);
}

static volatile uint64_t progress[LOAM_BOOT_CPUS];

/* On all but this one; returns when each has got somewhere. */
static void begin_all(void (*fn)(void *))
{
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++)
		progress[cpu] = 0;
	begin(fn, 1, loam_smp_count());
	for (unsigned cpu = 1; cpu < loam_smp_count(); cpu++) {
		while (progress[cpu] == 0)
			loam_cpu_relax();
	}
}

static void spin_ns(uint64_t ns)
{
	uint64_t start = loam_host_now_ns();

	while (loam_host_now_ns() - start < ns)
		loam_cpu_relax();
}

/* ---- registers ---- */

extern const uint32_t loam_test_hold_count;
uintptr_t loam_test_hold(unsigned n, uintptr_t hidden);
uint64_t loam_test_hold_hidden;
uint32_t loam_test_hold_ready, loam_test_hold_go; /* atomic */

#define HELD_WORDS 6u

__attribute__((noinline)) static uintptr_t make_hidden(unsigned n)
{
	uint64_t *p = loam_alloc_noscan(HELD_WORDS * 8);

	for (unsigned i = 0; p != NULL && i < HELD_WORDS; i++)
		p[i] = 1000u * n + i;
	return ~(uintptr_t)p;
}

__attribute__((noinline)) static void check_hidden(unsigned n, uintptr_t hidden)
{
	uint64_t *p = (uint64_t *)~hidden;

	must(loam_object_base(p) == p, "an object that a register points to was freed");
	for (unsigned i = 0; i < HELD_WORDS; i++)
		must(p[i] == 1000u * n + i, "an object that a register points to has changed");
}

/* Overwrite dead stack below us, so that no stale pointer keeps an object alive. */
__attribute__((noinline)) static void clear_stack(void)
{
	uint64_t junk[1024];

	for (unsigned i = 0; i < 1024; i++)
		junk[i] = i;
	__asm__ volatile("" : : "r"(junk) : "memory");
}

static void hold_one_by_one(void *arg)
{
	(void)arg;
	attach();
	for (unsigned n = 0; n < loam_test_hold_count; n++) {
		uintptr_t hidden = make_hidden(n);

		clear_stack();
		check_hidden(n, loam_test_hold(n, hidden));
		__atomic_store_n(&loam_test_hold_go, 0, __ATOMIC_RELEASE);
	}
	detach();
}

/* What was freed, others get, and overwrite. */
static void make_junk(void)
{
	for (unsigned i = 0; i < 400; i++) {
		uint64_t *p = loam_alloc_noscan(HELD_WORDS * 8);

		for (unsigned w = 0; p != NULL && w < HELD_WORDS; w++)
			p[w] = UINT64_MAX;
	}
}

/* [WORLD-3] Each general register in turn holds the only pointer while another CPU collects. */
static void registers_of_others_are_roots(const struct loam_boot_info *info)
{
	(void)info;
	if (loam_smp_count() < 2)
		return;
	begin(hold_one_by_one, 1, 2);
	for (unsigned n = 0; n < loam_test_hold_count; n++) {
		while (__atomic_load_n(&loam_test_hold_ready, __ATOMIC_ACQUIRE) == 0)
			loam_cpu_relax();
		loam_test_hold_ready = 0;
		loam_gc();
		make_junk();
		__atomic_store_n(&loam_test_hold_go, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&loam_test_hold_go, __ATOMIC_ACQUIRE) != 0)
			loam_cpu_relax();
	}
	loam_smp_wait();
	EXPECT(bad == NULL);
}

/* ---- in the allocator ---- */

static void allocate_all_the_time(void *arg)
{
	unsigned self = loam_host_cpu_id();

	(void)arg;
	attach();
	/* zeroing takes most of the time: in the allocator, interrupts on */
	while (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == 0) {
		void *p = loam_alloc_noscan(LARGE_MAX);

		progress[self]++;
		if (p != NULL)
			must(loam_free(p) == LOAM_OK, "free failed");
	}
	detach();
}

static bool touch(uintptr_t va)
{
	(void)*(volatile char *)va;
	return true;
}

/* An address goes: every CPU must forget it, also those that are parked. */
static void shoot_down(void)
{
	struct loam_pfn pfn;
	uintptr_t va;

	if (loam_frame_alloc(0, 0, LOAM_OWNER_TEST, &pfn) != LOAM_OK)
		return;
	must(loam_vm_map(0, loam_pfn_to_paddr(pfn), LOAM_PAGE_SIZE, LOAM_VM_READ,
			 LOAM_VM_WRITE_BACK, &va) == LOAM_OK &&
		     touch(va) && loam_vm_unmap(va, LOAM_PAGE_SIZE) == LOAM_OK,
	     "map and unmap failed");
	must(loam_frame_free(pfn, 0) == LOAM_OK, "a frame could not be freed");
}

/* [WORLD-1], [WORLD-4]: stopped threads do nothing, and are not in the allocator; their CPUs answer. */
static void whoever_is_in_the_allocator_is_waited_for(const struct loam_boot_info *info)
{
	struct loam_world_stats before, after;
	uint64_t seen[LOAM_BOOT_CPUS];
	const unsigned rounds = 30;
	unsigned cpus = loam_smp_count();

	(void)info;
	begin_all(allocate_all_the_time);
	loam_world_stats(&before);
	for (unsigned i = 0; i < rounds; i++) {
		loam_host_world_stop();
		for (unsigned cpu = 1; cpu < cpus; cpu++) {
			must(loam_thread_may_stop(&thread[cpu]), "stopped in the allocator");
			seen[cpu] = progress[cpu];
		}
		shoot_down();
		spin_ns(50000);
		for (unsigned cpu = 1; cpu < cpus; cpu++)
			must(seen[cpu] == progress[cpu], "a stopped thread goes on");
		loam_host_world_start();
		spin_ns(loam_selftest_random() % 200000);
	}
	loam_world_stats(&after);
	phase_set(1);
	loam_smp_wait();
	EXPECT(bad == NULL);
	EXPECT(after.stops - before.stops >= rounds); /* the others may have collected */
	loam_log(LOAM_LOG_INFO,
		 "# %u CPUs: threads in the allocator stop within %llu us, at most %llu\n", cpus,
		 (unsigned long long)((after.stop_ns - before.stop_ns) /
				      (after.stops - before.stops) / 1000),
		 (unsigned long long)(after.longest_ns / 1000));
}

static void compute(void *arg)
{
	uint64_t sum = 0;

	(void)arg;
	attach();
	while (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == 0)
		progress[loam_host_cpu_id()] = ++sum;
	detach();
}

/* Threads that never call anything are stopped too. The figure is for boot/README.md. */
static void whoever_computes_is_interrupted(const struct loam_boot_info *info)
{
	const unsigned rounds = 50;
	unsigned cpus = loam_smp_count();
	uint64_t sum_ns = 0, least_ns = UINT64_MAX, most_ns = 0;

	(void)info;
	begin_all(compute);
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t start = loam_host_now_ns(), took;

		loam_host_world_stop();
		took = loam_host_now_ns() - start;
		loam_host_world_start();
		sum_ns += took;
		least_ns = took < least_ns ? took : least_ns;
		most_ns = took > most_ns ? took : most_ns;
		spin_ns(20000);
	}
	phase_set(1);
	loam_smp_wait();
	EXPECT(bad == NULL);
	loam_log(LOAM_LOG_INFO,
		 "# %u CPUs: threads that compute stop within %llu us, at least %llu, at most "
		 "%llu\n",
		 cpus, (unsigned long long)(sum_ns / rounds / 1000),
		 (unsigned long long)(least_ns / 1000), (unsigned long long)(most_ns / 1000));
}

/* ---- interrupts off ---- */

static void be_deaf(void *arg)
{
	uint64_t start = loam_host_now_ns(), late = loam_world_late();
	uintptr_t irq;

	(void)arg;
	attach();
	irq = loam_irq_save();
	phase_set(1);
	while (loam_world_late() == late && loam_host_now_ns() - start < LIMIT_NS)
		loam_cpu_poll();
	phase_set(2);
	loam_irq_restore(irq);
	detach();
}

/* The log names the CPU, which is waited for all the same. */
static void a_deaf_cpu_is_named(const struct loam_boot_info *info)
{
	struct loam_world_stats before, after;
	uint64_t patience;

	(void)info;
	if (loam_smp_count() < 2)
		return;
	loam_selftest_provokes("CPU 1 does not stop");
	loam_world_stats(&before);
	patience = loam_world_patience(20000000);
	begin(be_deaf, 1, 2);
	phase_wait(1);
	loam_host_world_stop();
	must(__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == 2,
	     "a CPU with interrupts off was not waited for");
	loam_host_world_start();
	loam_smp_wait();
	(void)loam_world_patience(patience);
	loam_world_stats(&after);
	EXPECT(bad == NULL);
	EXPECT(after.late > before.late && after.late_cpu == 1);
	EXPECT(after.late_deaf && !after.late_inside);
}

static void be_deaf_without_a_thread(void *arg)
{
	uintptr_t irq = loam_irq_save();

	(void)arg;
	phase_set(1);
	phase_wait(2);
	loam_irq_restore(irq);
}

/* [WORLD-5] */
static void without_a_thread_nobody_is_waited_for(const struct loam_boot_info *info)
{
	(void)info;
	if (loam_smp_count() < 2)
		return;
	begin(be_deaf_without_a_thread, 1, 2);
	phase_wait(1);
	loam_gc();
	phase_set(2);
	loam_smp_wait();
	EXPECT(bad == NULL); /* nobody waited in vain */
}

/* ---- coming and going ---- */

static void come_late(void *arg)
{
	(void)arg;
	phase_set(1);
	attach();
	phase_set(2);
	detach();
}

/* [WORLD-2] */
static void nobody_attaches_amid_a_stop(const struct loam_boot_info *info)
{
	(void)info;
	if (loam_smp_count() < 2)
		return;
	for (unsigned i = 0; i < 5; i++) {
		loam_host_world_stop();
		begin(come_late, 1, 2);
		phase_wait(1);
		spin_ns(2000000);
		must(__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == 1,
		     "a thread was attached amid a stop");
		loam_host_world_start();
		loam_smp_wait();
		EXPECT(bad == NULL && phase == 2);
	}
}

static void come_and_go(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; __atomic_load_n(&phase, __ATOMIC_ACQUIRE) == 0; i++) {
		uint64_t *p, *q;

		attach();
		p = loam_alloc(32);
		q = loam_alloc(3000);
		if (p != NULL && q != NULL) {
			p[0] = (uintptr_t)q;
			q[0] = i;
			loam_gc_safepoint();
			must(*(uint64_t *)p[0] == i, "an object has changed");
		}
		progress[loam_host_cpu_id()] = i + 1;
		detach();
		must(loam_thread_detach(&thread[loam_host_cpu_id()]) == LOAM_NOENT,
		     "a thread was detached twice");
	}
}

/* [WORLD-2] No thread is lost, and nobody waits for ever, when all attach and detach and one collects. */
static void threads_come_and_go_amid_collections(const struct loam_boot_info *info)
{
	unsigned cpus = loam_smp_count();
	uint64_t rounds = 0;

	(void)info;
	begin_all(come_and_go);
	for (unsigned i = 0; i < 8; i++) {
		loam_gc();
		spin_ns(loam_selftest_random() % 500000);
	}
	phase_set(1);
	loam_smp_wait();
	EXPECT(bad == NULL);
	for (unsigned cpu = 1; cpu < cpus; cpu++)
		rounds += progress[cpu];
	loam_log(LOAM_LOG_INFO, "# %u CPUs: %llu times a thread came and went amid collections\n",
		 cpus, (unsigned long long)rounds);
	loam_heap_verify();
}

/* ---- everybody at once ---- */

struct list {
	struct list *next;
	uint64_t value, check;
};

static const uint64_t list_pointers = 1;
static const struct loam_type list_type = {
	.size = sizeof(struct list), .ptr_words = 1, .ptr_bits = &list_pointers, .name = "list"};

/* From CPU to CPU: roots, exchanged atomically. */
static uint64_t *mailbox[SHARED];
static uint64_t rng[LOAM_BOOT_CPUS], ran[LOAM_BOOT_CPUS], until_ns;

static uint64_t below(unsigned cpu, uint64_t n)
{
	uint64_t z = (rng[cpu] += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (z ^ (z >> 27)) % n;
}

/* A block knows its size and is filled with its own mark. Some are large. */
static uint64_t *make_block(unsigned cpu)
{
	uint64_t words = below(cpu, 50) == 0 ? 5000 + below(cpu, 5000) : 2 + below(cpu, 60);
	uint64_t *p = below(cpu, 2) != 0 ? loam_alloc(words * 8) : loam_alloc_noscan(words * 8);

	if (p == NULL)
		return NULL;
	for (uint64_t i = 0; i < words; i++)
		must(p[i] == 0, "a new object is not zero");
	p[0] = words;
	for (uint64_t i = 1; i < words; i++)
		p[i] = words * 1000 + i;
	return p;
}

static void check_block(const uint64_t *p)
{
	for (uint64_t i = 1; i < p[0]; i++)
		must(p[i] == p[0] * 1000 + i, "an object that was handed over has changed");
}

/* Made here, freed there, or dropped there. */
static void hand_over(unsigned cpu)
{
	uint64_t *p = make_block(cpu), *old;

	if (p == NULL)
		return;
	/* both ways: what is in the block goes with it */
	old = loam_store_exchange(&mailbox[below(cpu, SHARED)], p);
	if (old == NULL)
		return;
	check_block(old);
	if (below(cpu, 2) != 0)
		must(loam_free(old) == LOAM_OK, "what another CPU made could not be freed");
}

/* A list that lives on this CPU's stack alone. */
static void grow_list(unsigned cpu, struct list **head, uint64_t *length)
{
	if (below(cpu, LIST_MAX) < *length) {
		uint64_t n = 0;

		for (struct list *l = *head; l != NULL; l = l->next, n++)
			must(l->check == ~l->value, "a node of a list has changed");
		must(n == *length, "a list has lost nodes");
		*head = NULL;
		*length = 0;
	}
	for (unsigned i = 0; i < 8; i++) {
		struct list *l = loam_alloc_type(&list_type, 1);

		if (l == NULL)
			return;
		must(l->next == NULL && l->value == 0 && l->check == 0, "a new object is not zero");
		l->next = *head;
		l->value = below(cpu, UINT64_MAX);
		l->check = ~l->value;
		*head = l;
		++*length;
	}
}

static void work_on_the_heap(void)
{
	unsigned cpu = loam_host_cpu_id();
	struct list *head = NULL;
	uint64_t length = 0;

	while (bad == NULL && (ran[cpu] < STEPS || loam_host_now_ns() < until_ns)) {
		hand_over(cpu);
		grow_list(cpu, &head, &length);
		if (below(cpu, 200) == 0)
			loam_gc();
		if (below(cpu, 10) == 0)
			loam_cpu_quiescent();
		loam_gc_safepoint();
		ran[cpu]++;
	}
}

static void work_as_a_thread(void *arg)
{
	(void)arg;
	attach();
	work_on_the_heap();
	detach();
}

/* [WORLD-1], [WORLD-3] */
static void everybody_allocates_hands_over_and_collects(const struct loam_boot_info *info)
{
	uint64_t seconds = loam_cmdline_number(info->cmdline, "soak", 0), steps = 0;
	struct loam_world_stats before, after;
	struct loam_stats stats[2];

	until_ns = seconds > 0 ? loam_host_now_ns() + seconds * 1000000000 : 0;
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++) {
		rng[cpu] = loam_selftest_random();
		ran[cpu] = 0;
	}
	loam_stats_read(&stats[0]);
	loam_world_stats(&before);
	begin(work_as_a_thread, 1, loam_smp_count());
	work_on_the_heap();
	loam_smp_wait();
	loam_world_stats(&after);
	loam_stats_read(&stats[1]);
	for (unsigned i = 0; i < SHARED; i++) {
		if (mailbox[i] != NULL)
			check_block(mailbox[i]);
		mailbox[i] = NULL;
	}
	EXPECT(bad == NULL);
	loam_heap_verify();
	loam_gc();
	for (unsigned cpu = 0; cpu < loam_smp_count(); cpu++)
		steps += ran[cpu];
	loam_log(LOAM_LOG_INFO,
		 "# %u CPUs on one heap: %llu steps, %llu allocations, %llu collections; "
		 "they stop within %llu us\n",
		 loam_smp_count(), (unsigned long long)steps,
		 (unsigned long long)(stats[1].mallocs - stats[0].mallocs),
		 (unsigned long long)(stats[1].num_gc - stats[0].num_gc),
		 (unsigned long long)((after.stop_ns - before.stop_ns) /
				      (after.stops - before.stops + (after.stops == before.stops)) /
				      1000));
}

const struct selftest loam_selftest_world[] = {
	{"world: each register of a stopped thread is a root", registers_of_others_are_roots},
	{"world: whoever is in the allocator is waited for",
	 whoever_is_in_the_allocator_is_waited_for},
	{"world: whoever computes is interrupted", whoever_computes_is_interrupted},
	{"world: a CPU with interrupts off is waited for, and named", a_deaf_cpu_is_named},
	{"world: a CPU without a thread is not waited for", without_a_thread_nobody_is_waited_for},
	{"world: nobody attaches amid a stop", nobody_attaches_amid_a_stop},
	{"world: threads come and go amid collections", threads_come_and_go_amid_collections},
	{"world: everybody allocates, hands over and collects",
	 everybody_allocates_hands_over_and_collects},
	{NULL, NULL},
};
