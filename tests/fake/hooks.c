/* SPDX-License-Identifier: MIT */
/* The host's hooks on the fake machine, as far as mm calls them, the set-up half of arch/mmu.h, and what can be
 * made of the rest. */
#include "mm/tlb.h"
#include "tests/fake/fake.h"
#include "tests/host/support.h"

#include <loam/cpu.h>

static loam_host_panic_handler *on_panic;
static loam_host_log_handler *on_log;

static unsigned migrate_to = FAKE_CPUS;
static void (*meanwhile)(void);
static void (*between)(void);

uintptr_t fake_irqs_masked;
uint64_t fake_completed;
unsigned fake_stack_touches;

void loam_host_on_panic(loam_host_panic_handler *handler)
{
	on_panic = handler;
}

void loam_host_on_log(loam_host_log_handler *handler)
{
	on_log = handler;
}

void loam_host_panic(const char *file, int line, const char *msg)
{
	if (on_panic != NULL)
		on_panic(file, line, msg);
	fprintf(stderr, "loam: panic: %s:%d: %s\n", file, line, msg);
	abort();
}

void loam_host_log(enum loam_log_level level, const char *buf, size_t len)
{
	if (on_log != NULL)
		on_log(level, buf, len);
	else if (level != LOAM_LOG_DEBUG)
		fwrite(buf, 1, len, stderr);
}

/* ---- which CPU runs the code under test ---- */

static unsigned running;
static unsigned deaf = FAKE_CPUS;

void fake_run_on(unsigned cpu)
{
	running = cpu;
}

unsigned fake_running(void)
{
	return running;
}

void fake_deafen(unsigned cpu)
{
	deaf = cpu;
}

void fake_interrupt(unsigned cpu)
{
	unsigned initiator = running;

	if (cpu == deaf)
		return;
	running = cpu;
	loam_cpu_poll();
	running = initiator;
}

void fake_join(void)
{
	for (running = 0; running < fake_cpu_count(); running++)
		loam_tlb_join(fake_mmu(), running);
	running = 0;
}

void fake_migrate(unsigned to)
{
	migrate_to = to;
}

void fake_meanwhile(void (*others)(void))
{
	meanwhile = others;
}

void fake_others_act(void)
{
	void (*others)(void) = meanwhile;

	meanwhile = NULL;
	if (others != NULL)
		others();
}

void fake_between(void (*others)(void))
{
	between = others;
}

void fake_unmasked(void)
{
	void (*others)(void) = between;

	if (others == NULL)
		return;
	between = NULL;
	others();
	between = others;
}

unsigned loam_host_cpu_id(void)
{
	unsigned cpu = fake_running();

	if (fake_irqs_masked == 0 && migrate_to < FAKE_CPUS) {
		fake_run_on(migrate_to);
		migrate_to = FAKE_CPUS;
	}
	return cpu;
}

unsigned loam_host_cpu_count(void)
{
	return fake_cpu_count();
}

/* The other CPU takes the interrupt now, or when the initiator waits for it at the latest. */
void loam_host_ipi(unsigned cpu)
{
	fake_interrupt(cpu);
}

uint64_t loam_host_now_ns(void)
{
	static uint64_t now;

	return now += 1000000; /* time passes as it is looked at */
}

/* ---- CPUs that touch memory ---- */

bool fake_read(unsigned cpu, uint64_t va, uint64_t *value)
{
	struct loam_paddr pa;

	if (!fake_touch(cpu, va, LOAM_ACCESS_READ, &pa))
		return false;
	*value = *(uint64_t *)loam_frame_ptr(pa);
	return true;
}

bool fake_write(unsigned cpu, uint64_t va, uint64_t value)
{
	struct loam_paddr pa;

	if (!fake_touch(cpu, va, LOAM_ACCESS_WRITE, &pa))
		return false;
	*(uint64_t *)loam_frame_ptr(pa) = value;
	return true;
}

void fake_spread(uint64_t va, uint64_t size)
{
	for (unsigned c = 0; c < fake_cpu_count(); c++) {
		for (uint64_t at = 0; at < size; at += LOAM_PAGE_SIZE)
			(void)fake_touch(c, va + at, LOAM_ACCESS_READ, NULL);
	}
}

/* ---- the rest of arch/mmu.h ---- */

void loam_mmu_detect(struct loam_mmu *m)
{
	*m = *fake_mmu();
}

void loam_mmu_cpu_init(const struct loam_mmu *m)
{
	(void)m;
}

struct loam_paddr loam_mmu_root_get(void)
{
	return fake_root();
}

void loam_direct_map_set(uintptr_t offset)
{
	(void)offset;
}

void fake_up_default(const struct loam_mmu *m, uint64_t seed)
{
	/* 24 MiB and 40 MiB with a hole between, neither end on a big boundary */
	static const struct fake_range range[] = {
		{UINT64_C(0x40013000), 24 << 20},
		{UINT64_C(0x4211d000), 40 << 20},
	};

	fake_up(m, range, 2, seed);
}
