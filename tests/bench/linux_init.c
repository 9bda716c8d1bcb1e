/* SPDX-License-Identifier: MIT */
/*
 * The Linux half of `make bench-vm`: init of a machine that has nothing else. The same workloads as
 * boot/vmbench.c over the same 8 MiB, best of several rounds, ns per 4 KiB; then power off.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define BYTES  ((size_t)8 << 20)
#define HUGE   ((size_t)2 << 20)
#define PAGE   ((size_t)4096)
#define ROUNDS 7

enum { DEMAND, POPULATE, UNMAP, GIVE_BACK, PROTECT, HUGE_FAULT, WORKLOADS };
static const char *const name[WORKLOADS] = {"demand-fault", "populate", "unmap",
					    "give-back",    "protect",	"huge-fault"};
static uint64_t best[WORKLOADS];

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(int what, uint64_t ns)
{
	if (best[what] == 0 || ns < best[what])
		best[what] = ns;
}

static char *map(int flags)
{
	/* 2 MiB aligned, so that huge pages can be had */
	char *p = mmap(NULL, BYTES + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	char *at = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));

	munmap(p, BYTES + HUGE);
	p = mmap(at, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags,
		 -1, 0);
	return p;
}

static void touch_all(char *p, size_t step)
{
	for (size_t at = 0; at < BYTES; at += step)
		*(volatile char *)(p + at) = 1;
}

static void one_round(void)
{
	uint64_t start;
	char *p = map(0);

	madvise(p, BYTES, MADV_NOHUGEPAGE);
	start = now();
	touch_all(p, PAGE);
	note(DEMAND, now() - start);
	start = now();
	mprotect(p, BYTES, PROT_READ);
	mprotect(p, BYTES, PROT_READ | PROT_WRITE);
	note(PROTECT, (now() - start) / 2);
	start = now();
	madvise(p, BYTES, MADV_DONTNEED);
	note(GIVE_BACK, now() - start);
	munmap(p, BYTES);
	p = map(0);
	madvise(p, BYTES, MADV_HUGEPAGE);
	start = now();
	touch_all(p, HUGE);
	note(HUGE_FAULT, now() - start);
	munmap(p, BYTES);
	/* small pages, to compare like with like */
	start = now();
	p = mmap(NULL, BYTES - PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	note(POPULATE, now() - start);
	start = now();
	munmap(p, BYTES - PAGE);
	note(UNMAP, now() - start);
}

/* AnonHugePages of one touched huge area, in KiB; 0: transparent huge pages did not happen. */
static long huge_kib(void)
{
	char line[256], *p = map(0);
	long kib, sum = 0;
	FILE *f;

	madvise(p, BYTES, MADV_HUGEPAGE);
	touch_all(p, HUGE);
	f = fopen("/proc/self/smaps", "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "AnonHugePages: %ld kB", &kib) == 1)
			sum += kib;
	}
	if (f != NULL)
		fclose(f);
	munmap(p, BYTES);
	return sum;
}

int main(void)
{
	struct utsname u;
	FILE *thp;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	/* populate must not use huge pages; the huge-fault round asks for its own */
	thp = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "w");
	if (thp != NULL) {
		fputs("madvise", thp);
		fclose(thp);
	}
	uname(&u);
	printf("linux %s\n", u.release);
	for (int round = 0; round < ROUNDS; round++)
		one_round();
	for (int w = 0; w < WORKLOADS; w++)
		printf("bench %s %llu ns/page\n", name[w],
		       (unsigned long long)(best[w] / (BYTES / PAGE)));
	printf("huge pages in the huge-fault round: %ld KiB\n", huge_kib());
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
