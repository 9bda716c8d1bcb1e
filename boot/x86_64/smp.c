/* SPDX-License-Identifier: MIT */
/*
 * Local APIC: starting CPUs, interrupting them. Source: Intel SDM volume 3A, "Advanced
 * Programmable Interrupt Controller" and "Multiple-Processor (MP) Initialization".
 */
#include "boot/smp.h"

#include "arch/check.h"
#include "arch/mmu.h"

#define LAPIC_ID  0x020u
#define LAPIC_EOI 0x0b0u
#define LAPIC_SVR 0x0f0u
#define LAPIC_ICR 0x300u

#define ICR_INIT     0x4500u /* assert, INIT */
#define ICR_STARTUP  0x4600u
#define ICR_FIXED    0x4000u
#define ICR_BUSY     0x1000u
#define VECTOR_KNOCK 33u
#define VECTOR_SHOOT 32u

extern const uint32_t loam_x86_early_cr4, loam_x86_early_cr3;
extern const char loam_ap_early_cr4[], loam_ap_early_cr3[];
extern const char loam_ap_trampoline[], loam_ap_trampoline_end[], loam_ap_far[], loam_ap_gdt_ptr[];

void loam_x86_lapic_enable(void);
void loam_x86_lapic_eoi(void);

/* For trampoline.S: of the CPU that is being started. */
uint64_t loam_ap_root;
uintptr_t loam_ap_cpu, loam_ap_stack;

static volatile uint32_t *lapic;
static uint64_t trampoline_pa;

static void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static void write_lapic(uint32_t reg, uint32_t value)
{
	lapic[reg / 4] = value;
}

static uint32_t read_lapic(uint32_t reg)
{
	return lapic[reg / 4];
}

static void send(uint64_t hw_id, uint32_t command)
{
	while ((read_lapic(LAPIC_ICR) & ICR_BUSY) != 0)
		__asm__ volatile("pause");
	write_lapic(LAPIC_ICR + 0x10, (uint32_t)hw_id << 24);
	write_lapic(LAPIC_ICR, command); /* writing the low half sends */
}

static void wait_ns(uint64_t ns)
{
	uint64_t start = loam_host_now_ns();

	while (loam_host_now_ns() - start < ns)
		__asm__ volatile("pause");
}

void loam_x86_lapic_enable(void)
{
	write_lapic(LAPIC_SVR, 0x1ff); /* on; spurious vector 255 */
}

void loam_x86_lapic_eoi(void)
{
	write_lapic(LAPIC_EOI, 0);
}

static void put32(char *at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (char)(value >> (8 * i));
}

static uint32_t get32(const char *at)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++)
		v |= (uint32_t)(uint8_t)at[i] << (8 * i);
	return v;
}

void loam_machine_smp_init(const struct loam_boot_map *map)
{
	size_t size = (size_t)(loam_ap_trampoline_end - loam_ap_trampoline);
	char *page = loam_frame_ptr(loam_paddr(map->trampoline_pa)), *at;

	if (map->lapic_pa == 0 || map->trampoline_pa == 0)
		return;
	lapic = (volatile uint32_t *)loam_frame_ptr(loam_paddr(map->lapic_pa));
	trampoline_pa = map->trampoline_pa;
	loam_percpu[0].hw_id = read_lapic(LAPIC_ID) >> 24;
	loam_ap_root = loam_mmu_root_get().raw;
	for (size_t i = 0; i < size; i++)
		page[i] = loam_ap_trampoline[i];
	put32(page + (loam_ap_early_cr4 - loam_ap_trampoline), loam_x86_early_cr4);
	put32(page + (loam_ap_early_cr3 - loam_ap_trampoline), loam_x86_early_cr3);
	/* two addresses in it are the page's own */
	at = page + (loam_ap_gdt_ptr + 2 - loam_ap_trampoline);
	put32(at, get32(at) + (uint32_t)trampoline_pa);
	at = page + (loam_ap_far - loam_ap_trampoline);
	put32(at, get32(at) + (uint32_t)trampoline_pa);
	loam_x86_lapic_enable();
	loam_percpu[0].irqs = true;
	/* the old interrupt controllers would send their timer to vector 8 */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	loam_machine_irqs_on();
}

/* INIT, 10 ms, startup, 200 us, startup again: a CPU that runs ignores the second. */
void loam_machine_cpu_start(struct loam_percpu *cpu)
{
	if (trampoline_pa == 0)
		return;
	loam_ap_stack = cpu->stack_high;
	__atomic_store_n(&loam_ap_cpu, (uintptr_t)cpu, __ATOMIC_SEQ_CST); /* partner: xchg there */
	send(cpu->hw_id, ICR_INIT);
	wait_ns(10000000);
	for (unsigned i = 0; i < 2 && __atomic_load_n(&cpu->running, __ATOMIC_ACQUIRE) == 0; i++) {
		send(cpu->hw_id, ICR_STARTUP | (uint32_t)(trampoline_pa >> 12));
		wait_ns(200000);
	}
}

bool loam_machine_cpu_give_up(struct loam_percpu *cpu)
{
	(void)cpu;
	return __atomic_exchange_n(&loam_ap_cpu, 0, __ATOMIC_ACQ_REL) != 0;
}

/* A store to uncached memory, which the APIC's registers are, comes after all stores before it. */
void loam_machine_ipi(unsigned cpu)
{
	uint64_t flags;

	/* the two halves of the command must not be torn by an interrupt that sends as well */
	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	send(loam_percpu[cpu].hw_id, ICR_FIXED | VECTOR_SHOOT);
	if ((flags & 0x200) != 0)
		__asm__ volatile("sti" : : : "memory");
}

void loam_machine_cpu_wake(unsigned cpu)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	send(loam_percpu[cpu].hw_id, ICR_FIXED | VECTOR_KNOCK);
	if ((flags & 0x200) != 0)
		__asm__ volatile("sti" : : : "memory");
}

void loam_machine_irqs_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

/* STI takes effect after the next instruction: no interrupt slips between the two. */
void loam_machine_cpu_idle(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}
