/* SPDX-License-Identifier: MIT */
/*
 * Replaying a real program's allocations.
 *
 * A trace is a header of 64 bytes, all numbers little-endian, and then operations.
 *
 *   0  magic "loamtrc1"      8  operations        16  slots (most blocks live at once)
 *   24 peak bytes live       32 bytes of operations   40 FNV-1a of those, 64 bits
 *   48 program's name, 16 bytes, NUL-padded
 *
 * An operation is a varint (7 bits a byte, low first, high bit: more) of slot << 2 | kind, and
 * for kinds 0 and 2 a varint of bytes:
 *
 *   0 allocate slot, bytes     1 free slot     2 reallocate slot, bytes
 *
 * tests/tools/record.c writes such traces.
 */
#ifndef LOAM_BOOT_REPLAY_H
#define LOAM_BOOT_REPLAY_H

#include <loam/types.h>

#define LOAM_TRACE_HEADER    64u
#define LOAM_TRACE_MAGIC     "loamtrc1"
#define LOAM_TRACE_SLOTS_MAX ((uint64_t)1 << 24)

enum loam_trace_kind {
	LOAM_TRACE_ALLOC,
	LOAM_TRACE_FREE,
	LOAM_TRACE_REALLOC,
};

struct loam_trace_op {
	enum loam_trace_kind kind;
	uint64_t slot;
	uint64_t bytes;
};

struct loam_trace {
	const uint8_t *at, *end;
	uint64_t ops, slots, peak_bytes;
	char name[17];
};

/* Look at `size` bytes of untrusted input. Returns NULL, or what is wrong with them. */
const char *loam_trace_open(const void *data, size_t size, struct loam_trace *trace);

/* The next operation, checked for shape (not for sense). Returns NULL, or what is wrong; at the
 * end *more is false. */
const char *loam_trace_next(struct loam_trace *trace, struct loam_trace_op *op, bool *more);

struct loam_replay_result {
	uint64_t ops, allocs, alloc_bytes, live, live_bytes, checked_bytes;
	uint64_t ns;
};

enum loam_replay_mode {
	LOAM_REPLAY_GC,	  /* a free drops the reference */
	LOAM_REPLAY_FREE, /* a free is loam_free */
};

/*
 * Replay: fill each block with a pattern of its own, check it when it is reallocated or freed and
 * at the end. Blocks are kept in a collected array. `progress` prints a line per tenth. Returns
 * NULL, or what went wrong: a corrupt trace, memory that ran out, or a block that was damaged.
 * Context: thread (attached).
 */
const char *loam_replay(const void *data, size_t size, enum loam_replay_mode mode, bool progress,
			struct loam_replay_result *result);

#endif
