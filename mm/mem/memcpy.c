/* SPDX-License-Identifier: MIT */
/* memcpy: words where both sides are aligned alike. A kernel's own definition wins at link time. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);

typedef uint64_t __attribute__((may_alias)) word;

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if ((((uintptr_t)d ^ (uintptr_t)s) & 7) == 0) {
		for (; n > 0 && ((uintptr_t)d & 7) != 0; n--)
			*d++ = *s++;
		for (; n >= 8; n -= 8, d += 8, s += 8)
			*(word *)(void *)d = *(const word *)(const void *)s;
	}
	for (; n > 0; n--)
		*d++ = *s++;
	return dst;
}
