/* SPDX-License-Identifier: MIT */
/* loam_host_now_ns on a PC: the TSC, measured once against the 8254. */
#include <loam/host.h>

static void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

/* TSC ticks in 10 ms of the 8254's channel 2 (1,193,182 Hz), which port 0x61 gates and shows. */
static uint64_t tsc_per_10ms(void)
{
	const unsigned count = 11932;
	uint64_t start;

	outb(0x61, (uint8_t)((inb(0x61) & ~2u) | 1u));
	outb(0x43, 0xb0); /* channel 2, both bytes, mode 0: output rises at the end */
	outb(0x42, count & 0xff);
	outb(0x42, count >> 8);
	start = rdtsc();
	while ((inb(0x61) & 0x20) == 0)
		;
	return rdtsc() - start;
}

uint64_t loam_host_now_ns(void)
{
	static uint64_t per_10ms, first;
	uint64_t ticks;

	if (per_10ms == 0) {
		first = rdtsc();
		per_10ms = tsc_per_10ms();
	}
	ticks = rdtsc() - first;
	return ticks / per_10ms * 10000000 + ticks % per_10ms * 10000000 / per_10ms;
}
