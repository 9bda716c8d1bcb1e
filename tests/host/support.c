/* SPDX-License-Identifier: MIT */
#include "tests/host/support.h"

jmp_buf test_panic_jump;
char test_panic_message[512];

uint64_t rng_next(struct rng *rng)
{
	uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_next(rng) % n;
}

uint64_t test_seed(void)
{
	static uint64_t seed;
	static int known;

	if (!known) {
		const char *text = getenv("SEED");
		seed = text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : 20261124;
		known = 1;
		printf("# SEED=%llu\n", (unsigned long long)seed);
	}
	return seed;
}

static void on_panic(const char *file, int line, const char *msg)
{
	snprintf(test_panic_message, sizeof(test_panic_message), "%s:%d: %s", file, line, msg);
	longjmp(test_panic_jump, 1);
}

void test_panic_arm(void)
{
	test_panic_message[0] = '\0';
	loam_host_on_panic(on_panic);
}

void test_panic_disarm(void)
{
	loam_host_on_panic(NULL);
}
