/* SPDX-License-Identifier: MIT */
/*
 * The replay of a recorded trace (format: replay.h). The input is a boot module, so it is not
 * trusted: every length is checked, every operation must make sense (no block allocated twice,
 * none freed that is not there), and the checksum must fit before anything is done.
 *
 * The table of blocks is one collected object, held by the stack; a block's word there is its only
 * reference, so in GC mode overwriting it is what frees the block.
 */
#include "boot/replay.h"

#include "mm/print.h"

#include <loam/loam.h>

struct entry {
	uint64_t *block;
	uint64_t bytes;
	uint64_t salt;
};

static const uint64_t entry_pointers = 1; /* only the first word is a pointer */
static const struct loam_type entry_type = {
	.size = sizeof(struct entry), .ptr_words = 1, .ptr_bits = &entry_pointers, .name = "entry"};

/* ---- the format ---- */

static uint64_t get64(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

const char *loam_trace_open(const void *data, size_t size, struct loam_trace *trace)
{
	const uint8_t *p = data;
	uint64_t hash = UINT64_C(0xcbf29ce484222325), bytes;

	if (size < LOAM_TRACE_HEADER)
		return "trace: shorter than its header";
	for (unsigned i = 0; i < 8; i++) {
		if (p[i] != (uint8_t)LOAM_TRACE_MAGIC[i])
			return "trace: not a loam trace";
	}
	bytes = get64(p + 32);
	if (bytes > size - LOAM_TRACE_HEADER)
		return "trace: cut off";
	for (uint64_t i = 0; i < bytes; i++)
		hash = (hash ^ p[LOAM_TRACE_HEADER + i]) * UINT64_C(0x100000001b3);
	if (hash != get64(p + 40))
		return "trace: checksum does not fit";
	if (get64(p + 16) > LOAM_TRACE_SLOTS_MAX)
		return "trace: absurd number of slots";
	*trace = (struct loam_trace){
		.at = p + LOAM_TRACE_HEADER,
		.end = p + LOAM_TRACE_HEADER + bytes,
		.ops = get64(p + 8),
		.slots = get64(p + 16),
		.peak_bytes = get64(p + 24),
	};
	for (unsigned i = 0; i < 16; i++)
		trace->name[i] = p[48 + i] >= ' ' && p[48 + i] < 127 ? (char)p[48 + i] : '\0';
	return NULL;
}

static bool varint(struct loam_trace *t, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 63 && t->at < t->end; shift += 7) {
		uint8_t b = *t->at++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			*value = v;
			return true;
		}
	}
	return false;
}

const char *loam_trace_next(struct loam_trace *trace, struct loam_trace_op *op, bool *more)
{
	uint64_t word;

	*more = trace->at < trace->end;
	if (!*more)
		return NULL;
	if (!varint(trace, &word))
		return "trace: an operation is cut off";
	op->kind = (enum loam_trace_kind)(word & 3);
	op->slot = word >> 2;
	op->bytes = 0;
	if (op->slot >= trace->slots || (word & 3) == 3)
		return "trace: an operation makes no sense";
	if (op->kind != LOAM_TRACE_FREE && !varint(trace, &op->bytes))
		return "trace: an operation is cut off";
	return NULL;
}

/* ---- blocks ---- */

static uint64_t pattern(const struct entry *e, uint64_t i)
{
	return (e->salt + i) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Whole words; the odd bytes at the end take the low bytes of one more. Patterns must not look like
 * heap pointers: the top bit is clear, and the heap of a kernel is in the upper half. */
static void fill(const struct entry *e, uint64_t from_byte)
{
	uint8_t *p = (uint8_t *)e->block;

	for (uint64_t i = from_byte; i < e->bytes; i++) {
		if (i % 8 == 0 && e->bytes - i >= 8) {
			e->block[i / 8] = pattern(e, i / 8) >> 1;
			i += 7;
		} else {
			p[i] = (uint8_t)(pattern(e, i / 8) >> 1 >> (i % 8 * 8));
		}
	}
}

static bool intact(const struct entry *e, uint64_t bytes)
{
	const uint8_t *p = (const uint8_t *)e->block;

	for (uint64_t i = 0; i < bytes; i++) {
		if (i % 8 == 0 && bytes - i >= 8) {
			if (e->block[i / 8] != pattern(e, i / 8) >> 1)
				return false;
			i += 7;
		} else if (p[i] != (uint8_t)(pattern(e, i / 8) >> 1 >> (i % 8 * 8))) {
			return false;
		}
	}
	return true;
}

struct replay {
	struct entry *table;
	enum loam_replay_mode mode;
	struct loam_replay_result *result;
};

static const char *do_alloc(struct replay *r, const struct loam_trace_op *op)
{
	struct entry *e = &r->table[op->slot];

	if (e->block != NULL)
		return "trace: a slot is allocated twice";
	e->block = loam_alloc(op->bytes);
	if (e->block == NULL)
		return "out of memory";
	e->bytes = op->bytes;
	e->salt = r->result->ops * 4096;
	fill(e, 0);
	r->result->allocs++;
	r->result->alloc_bytes += op->bytes;
	r->result->live++;
	r->result->live_bytes += op->bytes;
	return NULL;
}

static const char *do_free(struct replay *r, const struct loam_trace_op *op)
{
	struct entry *e = &r->table[op->slot];

	if (e->block == NULL)
		return "trace: a slot is freed that holds nothing";
	if (!intact(e, e->bytes))
		return "a block was damaged";
	r->result->checked_bytes += e->bytes;
	if (r->mode == LOAM_REPLAY_FREE && loam_free(e->block) != LOAM_OK)
		return "a block could not be freed";
	e->block = NULL;
	r->result->live--;
	r->result->live_bytes -= e->bytes;
	return NULL;
}

static const char *do_realloc(struct replay *r, const struct loam_trace_op *op)
{
	struct entry *e = &r->table[op->slot];
	uint64_t keep = op->bytes < e->bytes ? op->bytes : e->bytes;
	uint64_t *block;

	if (e->block == NULL)
		return "trace: a slot is reallocated that holds nothing";
	if (op->bytes == 0)
		return "trace: reallocation to nothing";
	block = loam_realloc(e->block, op->bytes);
	if (block == NULL)
		return "out of memory";
	e->block = block;
	if (!intact(e, keep / 8 * 8))
		return "a block was damaged by realloc";
	r->result->live_bytes += op->bytes - e->bytes;
	r->result->alloc_bytes += op->bytes;
	e->bytes = op->bytes;
	/* whole again: the odd bytes of the old end belong to another word now */
	fill(e, keep / 8 * 8);
	return NULL;
}

static const char *check_rest(struct replay *r, uint64_t slots)
{
	for (uint64_t i = 0; i < slots; i++) {
		if (r->table[i].block == NULL)
			continue;
		if (!intact(&r->table[i], r->table[i].bytes))
			return "a block was damaged";
		r->result->checked_bytes += r->table[i].bytes;
		if (r->mode == LOAM_REPLAY_FREE && loam_free(r->table[i].block) != LOAM_OK)
			return "a block could not be freed";
		r->table[i].block = NULL;
	}
	return NULL;
}

static const char *run(struct replay *r, struct loam_trace *trace, bool progress)
{
	uint64_t tenth = trace->ops / 10 + 1;
	const char *bad = NULL;
	bool more = true;

	while (bad == NULL) {
		struct loam_trace_op op;

		bad = loam_trace_next(trace, &op, &more);
		if (bad != NULL || !more)
			break;
		r->result->ops++;
		bad = op.kind == LOAM_TRACE_ALLOC  ? do_alloc(r, &op)
		      : op.kind == LOAM_TRACE_FREE ? do_free(r, &op)
						   : do_realloc(r, &op);
		if (progress && r->result->ops % tenth == 0)
			loam_log(LOAM_LOG_INFO, "  %3u %%  %llu blocks, %k live\n",
				 (unsigned)(r->result->ops / tenth * 10),
				 (unsigned long long)r->result->live,
				 (uint64_t)r->result->live_bytes);
	}
	if (bad == NULL && r->result->ops != trace->ops)
		bad = "trace: has another number of operations than its header says";
	return bad != NULL ? bad : check_rest(r, trace->slots);
}

const char *loam_replay(const void *data, size_t size, enum loam_replay_mode mode, bool progress,
			struct loam_replay_result *result)
{
	uint64_t start = loam_host_now_ns();
	struct replay r = {.mode = mode, .result = result};
	struct loam_trace trace;
	const char *bad = loam_trace_open(data, size, &trace);

	*result = (struct loam_replay_result){0};
	if (bad != NULL)
		return bad;
	r.table = loam_alloc_type(&entry_type, trace.slots > 0 ? trace.slots : 1);
	if (r.table == NULL)
		return "out of memory";
	bad = run(&r, &trace, progress);
	if (mode == LOAM_REPLAY_FREE && loam_free(r.table) != LOAM_OK)
		bad = bad != NULL ? bad : "the table could not be freed";
	result->ns = loam_host_now_ns() - start;
	return bad;
}
