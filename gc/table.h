/* SPDX-License-Identifier: MIT */
/* Tables beside the heap. Theory: table.c. */
#ifndef LOAM_GC_TABLE_H
#define LOAM_GC_TABLE_H

#include <loam/err.h>
#include <loam/types.h>

/* Reserved whole, backed as the heap grows. */
struct loam_table {
	uintptr_t base; /* init */
	uint64_t ready; /* heap.lock: bytes backed, from the start */
	uint64_t size;	/* init: bytes reserved */
};

LOAM_MUST_USE enum loam_err loam_table_reserve(struct loam_table *table, uint64_t bytes);
/* Back the first `bytes`, zeroed. Fails: NOMEM, LIMIT. */
LOAM_MUST_USE enum loam_err loam_table_grow(struct loam_table *table, uint64_t bytes);
/* Back [at, at + bytes) alone, which begins and ends at pages. Do not mix with _grow. */
LOAM_MUST_USE enum loam_err loam_table_back(struct loam_table *table, uint64_t at, uint64_t bytes);
void loam_table_free(struct loam_table *table);

#endif
