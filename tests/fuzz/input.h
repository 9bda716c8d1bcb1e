/* SPDX-License-Identifier: MIT */
/* The bytes of a program: a string, or as many random ones as are asked for. */
#ifndef LOAM_TESTS_INPUT_H
#define LOAM_TESTS_INPUT_H

#include "tests/host/support.h"

struct input {
	const unsigned char *at, *end;
	bool endless; /* bytes come from rng */
	bool over;    /* the string is at its end: zeros from here on */
	struct rng rng;
	uint64_t seed, word;
	unsigned left; /* bytes of `word` */
	size_t taken;
};

extern struct input input;

void input_string(const unsigned char *bytes, size_t size);
void input_seed(uint64_t seed);
unsigned input_byte(void);
uint32_t input_two(void);

/* Write what was taken so far to a file. */
void input_save(const char *path);

#endif
