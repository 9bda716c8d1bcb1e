/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/input.h"

struct input input;

void input_string(const unsigned char *bytes, size_t size)
{
	input = (struct input){.at = bytes, .end = bytes + size};
}

void input_seed(uint64_t seed)
{
	input = (struct input){.endless = true, .seed = seed, .rng = {seed}};
}

static unsigned random_byte(void)
{
	unsigned b;

	if (input.left == 0) {
		input.word = rng_next(&input.rng);
		input.left = 8;
	}
	b = input.word & 255;
	input.word >>= 8;
	input.left--;
	return b;
}

unsigned input_byte(void)
{
	if (!input.endless && input.at == input.end) {
		input.over = true;
		return 0;
	}
	input.taken++;
	return input.endless ? random_byte() : *input.at++;
}

uint32_t input_two(void)
{
	uint32_t low = input_byte();

	return low | input_byte() << 8;
}

void input_save(const char *path)
{
	FILE *f = fopen(path, "wb");
	size_t size = input.taken;

	if (f == NULL)
		return;
	if (input.endless) {
		input_seed(input.seed);
		while (input.taken < size)
			fputc((int)input_byte(), f);
	} else {
		fwrite(input.at - size, 1, size, f);
	}
	fclose(f);
}
