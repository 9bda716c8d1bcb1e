/* SPDX-License-Identifier: MIT */
/*
 * One call, again and again, for Valgrind to count the instructions of:
 *
 *   instructions-<subject> CALL COUNT [BEFORE]      CALL: alloc zero scan typed free pair, nothing, load
 *
 * tests/bench/instructions.py collects in `measured` alone, with COUNT calls and with twice as many;
 * half of the difference is theirs, and the loop's own share is that of "nothing" (which stores a
 * pointer, as the allocations do) or "load" (which loads one, as freeing does). BEFORE calls are made
 * first, so that the ones measured find the thread's cache filled. Blocks have 16 bytes. No block is
 * used twice, but by "pair" (allocate, contents undefined, and free at once): all memory is fresh from
 * the system, and nobody has to zero it.
 */
#include HEAP_SUBJECT

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE 16

#ifndef HEAP_CALL_TYPED
static inline void *heap_alloc_typed(void)
{
	return NULL;
}
#endif

/* Repeats; `p` must exist in a register, so nobody is optimised away. */
#define REPEAT(expression)                                           \
	do {                                                         \
		for (uint64_t n = 0; n < count; n++) {               \
			void *p = (expression);                      \
                                                                     \
			__asm__ volatile("" : "+r"(p) : : "memory"); \
			at[n] = p;                                   \
		}                                                    \
	} while (0)

static __attribute__((noinline, used)) void measured(const char *call, void **at, uint64_t count)
{
	switch (call[0]) {
	case 'a':
		REPEAT(heap_alloc(SIZE));
		break;
	case 'z':
		REPEAT(heap_alloc_zero(SIZE));
		break;
	case 's':
		REPEAT(heap_alloc_scan(SIZE));
		break;
	case 't':
		REPEAT(heap_alloc_typed());
		break;
	case 'n':
		REPEAT(NULL);
		break;
	case 'p':
		for (uint64_t n = 0; n < count; n++) {
			at[n] = heap_alloc(SIZE);
			heap_free(at[n]);
		}
		break;
	case 'f':
		for (uint64_t n = 0; n < count; n++)
			heap_free(at[n]);
		break;
	default:
		for (uint64_t n = 0; n < count; n++) {
			void *p = at[n];

			__asm__ volatile("" : "+r"(p) : : "memory");
		}
	}
}

int main(int argc, char **argv)
{
	static struct heap_thread thread;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t before = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	const char *call = argc > 2 ? argv[1] : "";
	void **at;

	at = mmap(NULL, (before + count + 1) * sizeof(*at), PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (count == 0 || at == MAP_FAILED || strchr("azstpnfl", call[0]) == NULL)
		return 1;
	heap_begin(&thread, __builtin_frame_address(0));
	for (uint64_t n = 0; n < before; n++)
		at[n] = call[0] == 'z'	 ? heap_alloc_zero(SIZE)
			: call[0] == 's' ? heap_alloc_scan(SIZE)
			: call[0] == 't' ? heap_alloc_typed()
					 : heap_alloc(SIZE);
	if (call[0] == 'f') {
		for (uint64_t n = 0; n < count; n++)
			at[before + n] = heap_alloc(SIZE);
		if (before > 0)
			heap_free(at[0]);
	}
	measured(call, at + before, count);
	printf("version %s\n", heap_version());
#ifdef HEAP_CALL_TYPED
	printf("typed %s\n", HEAP_CALL_TYPED);
#endif
	printf("alloc %s\nzero %s\nscan %s\nfree %s\n", HEAP_CALL_ALLOC, HEAP_CALL_ZERO,
	       HEAP_CALL_SCAN, HEAP_CALL_FREE);
	return 0;
}
