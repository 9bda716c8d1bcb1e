/* SPDX-License-Identifier: MIT */
/* memset in words: a string instruction is several times slower under emulation. */
#include <stddef.h>
#include <stdint.h>

void *memset(void *dst, int c, size_t n);

typedef uint64_t __attribute__((may_alias)) word;

void *memset(void *dst, int c, size_t n)
{
	unsigned char *d = dst;
	uint64_t fill = (unsigned char)c * UINT64_C(0x0101010101010101);

	for (; n > 0 && ((uintptr_t)d & 7) != 0; n--)
		*d++ = (unsigned char)c;
	for (; n >= 8; n -= 8, d += 8)
		*(word *)(void *)d = fill;
	for (; n > 0; n--)
		*d++ = (unsigned char)c;
	return dst;
}
