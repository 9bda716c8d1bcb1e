/* SPDX-License-Identifier: MIT */
/*
 * Starting the other CPUs and giving them work. Their stacks are loam's own: the CPU's stack with
 * guards, committed whole because there is no fault handler before it runs, and one block for its
 * trap stacks. A CPU joins loam (loam_cpu_online) before it says that it runs.
 */
#include "boot/smp.h"

#include "arch/check.h"
#include "arch/cpu.h"
#include "mm/print.h"

#define STACK_BYTES    0x10000u
#define START_LIMIT_NS UINT64_C(2000000000)
#define TRY_LIMIT_NS   UINT64_C(100000000) /* for one that may not be there */

struct loam_percpu loam_percpu[LOAM_BOOT_CPUS];

static const struct loam_boot_map *firmware;
static unsigned count = 1;

void loam_boot_smp_map(const struct loam_boot_map *map)
{
	firmware = map;
}

unsigned loam_smp_count(void)
{
	return count;
}

static bool stacks(struct loam_percpu *cpu)
{
	struct loam_stack stack;
	void *trap;

	if (loam_stack_alloc(STACK_BYTES, &stack) != LOAM_OK ||
	    loam_sys_used(stack.low, STACK_BYTES, NULL) != LOAM_OK ||
	    loam_sys_alloc(LOAM_TRAP_BYTES, LOAM_OWNER_STACK, &trap) != LOAM_OK)
		return false;
	cpu->stack_low = stack.low;
	cpu->stack_high = stack.high;
	cpu->trap_high = (uintptr_t)trap + LOAM_TRAP_BYTES;
	return true;
}

static void set_node(unsigned cpu, uint64_t node)
{
	enum loam_err err = loam_cpu_set_node(cpu, (unsigned)node);

	loam_percpu[cpu].node = (unsigned)node;
	LOAM_CHECK(err == LOAM_OK, "the firmware's nodes were not settled");
}

static bool comes_within(struct loam_percpu *cpu, uint64_t limit_ns)
{
	uint64_t start = loam_host_now_ns();

	/* acquire: the new CPU's release in loam_smp_main */
	while (__atomic_load_n(&cpu->running, __ATOMIC_ACQUIRE) == 0) {
		if (loam_host_now_ns() - start > limit_ns)
			return false;
		loam_cpu_relax();
	}
	return true;
}

static bool start(struct loam_percpu *cpu, uint64_t limit_ns)
{
	loam_machine_cpu_start(cpu);
	return comes_within(cpu, limit_ns) ||
	       (!loam_machine_cpu_give_up(cpu) && comes_within(cpu, START_LIMIT_NS));
}

unsigned loam_smp_start(unsigned limit)
{
	loam_percpu[0].stack_low = (uintptr_t)loam_stack_low;
	loam_percpu[0].stack_high = (uintptr_t)loam_stack_base;
	loam_machine_smp_init(firmware);
	for (unsigned i = 0; i < firmware->cpu_count; i++) {
		if (firmware->cpu_hw_id[i] == loam_percpu[0].hw_id)
			set_node(0, firmware->cpu_node[i]);
	}
	limit = limit < firmware->cpu_count ? limit : firmware->cpu_count;
	limit = limit < LOAM_BOOT_CPUS ? limit : LOAM_BOOT_CPUS;
	for (unsigned i = 0; i < firmware->cpu_count && count < limit; i++) {
		struct loam_percpu *cpu = &loam_percpu[count];

		if (firmware->cpu_hw_id[i] == loam_percpu[0].hw_id)
			continue;
		set_node(count, firmware->cpu_node[i]);
		cpu->id = count;
		cpu->hw_id = firmware->cpu_hw_id[i];
		if (cpu->stack_high == 0 && !stacks(cpu)) {
			loam_log(LOAM_LOG_ERROR, "no memory for CPU %u\n", count);
			break;
		}
		if (!start(cpu, firmware->cpu_guessed ? TRY_LIMIT_NS : START_LIMIT_NS)) {
			if (firmware->cpu_guessed)
				continue;
			loam_log(LOAM_LOG_ERROR, "CPU %u (hardware id %#llx) did not start\n",
				 count, (unsigned long long)cpu->hw_id);
			break;
		}
		count++;
	}
	return count;
}

void loam_smp_main(struct loam_percpu *cpu)
{
	enum loam_err err;

	loam_machine_cpu_init(cpu);
	err = loam_cpu_online();
	LOAM_CHECK(err == LOAM_OK, "a new CPU could not join loam");
	loam_machine_irqs_on();
	/* release: everything above, to loam_smp_start */
	__atomic_store_n(&cpu->running, 1, __ATOMIC_RELEASE);
	for (;;) {
		uintptr_t irq = loam_irq_save();
		/* acquire: partner of the release in loam_smp_post */
		void (*fn)(void *) = __atomic_load_n(&cpu->fn, __ATOMIC_ACQUIRE);

		if (fn == NULL && !loam_frame_idle()) {
			loam_cpu_idle_enter();
			loam_machine_cpu_idle(); /* wakes with interrupts as they were */
			loam_cpu_idle_leave();
		}
		loam_irq_restore(irq);
		loam_cpu_quiescent(); /* also between two helpings of idle work */
		if (fn != NULL) {
			fn(cpu->arg);
			LOAM_CHECK(cpu->thread == NULL,
				   "work that attached a thread must detach it");
			loam_cpu_quiescent();
			/* release: what fn did, to loam_smp_wait */
			__atomic_store_n(&cpu->fn, NULL, __ATOMIC_RELEASE);
		}
	}
}

void loam_smp_post(unsigned cpu, void (*fn)(void *arg), void *arg)
{
	LOAM_CHECK(cpu > 0 && cpu < count, "no such CPU");
	loam_percpu[cpu].arg = arg;
	__atomic_store_n(&loam_percpu[cpu].fn, fn, __ATOMIC_RELEASE);
	loam_machine_cpu_wake(cpu);
}

void *loam_smp_stack_base(void)
{
	return (void *)loam_percpu[loam_machine_cpu_id()].stack_high;
}

void loam_smp_wait(void)
{
	for (unsigned cpu = 1; cpu < count; cpu++) {
		while (__atomic_load_n(&loam_percpu[cpu].fn, __ATOMIC_ACQUIRE) != NULL)
			loam_cpu_relax();
	}
}
