/* SPDX-License-Identifier: MIT */
/* memmove: aligned pointers move as whole words, so a concurrent reader never sees a torn one. */
#include <stddef.h>
#include <stdint.h>

void *memmove(void *dst, const void *src, size_t n);

typedef uint64_t __attribute__((may_alias)) word;

void *memmove(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;
	int words = (((uintptr_t)d ^ (uintptr_t)s) & 7) == 0;

	if ((uintptr_t)d - (uintptr_t)s >= n) {
		for (; words && n > 0 && ((uintptr_t)d & 7) != 0; n--)
			*d++ = *s++;
		for (; words && n >= 8; n -= 8, d += 8, s += 8)
			*(word *)(void *)d = *(const word *)(const void *)s;
		for (; n > 0; n--)
			*d++ = *s++;
		return dst;
	}
	d += n;
	s += n;
	for (; words && n > 0 && ((uintptr_t)d & 7) != 0; n--)
		*--d = *--s;
	for (; words && n >= 8; n -= 8) {
		d -= 8;
		s -= 8;
		*(word *)(void *)d = *(const word *)(const void *)s;
	}
	for (; n > 0; n--)
		*--d = *--s;
	return dst;
}
