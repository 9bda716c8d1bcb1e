/* SPDX-License-Identifier: MIT */
/*
 * Tables beside the heap. Each is one reserved range, indexed by arithmetic on heap addresses, and
 * backed from its start as far as the heap has grown; so a look-up is a shift and an add, and a
 * mutator's overrun cannot reach it. What is backed is never given back before shutdown:
 * readers without the lock may look at it at any time.
 */
#include "gc/heap.h"

enum loam_err loam_table_reserve(struct loam_table *table, uint64_t bytes)
{
	enum loam_err err;

	*table = (struct loam_table){0};
	bytes = loam_align_up(bytes, LOAM_PAGE_SIZE);
	err = loam_sys_reserve(0, bytes, LOAM_PAGE_SIZE, &table->base);
	if (err == LOAM_OK)
		table->size = bytes;
	return err;
}

enum loam_err loam_table_back(struct loam_table *table, uint64_t at, uint64_t bytes)
{
	enum loam_err err = loam_sys_map(table->base + at, bytes, LOAM_OWNER_GC);

	if (err != LOAM_OK)
		return err;
	err = loam_sys_used(table->base + at, bytes, NULL);
	if (err != LOAM_OK) {
		/* as it was: mapped again next time */
		enum loam_err undone = loam_sys_fault(table->base + at, bytes);

		LOAM_CHECK(undone == LOAM_OK, "a range just mapped could not be revoked");
	}
	return err;
}

enum loam_err loam_table_grow(struct loam_table *table, uint64_t bytes)
{
	uint64_t want = loam_align_up(bytes, LOAM_PAGE_SIZE);
	enum loam_err err;

	if (want <= table->ready)
		return LOAM_OK;
	LOAM_ASSERT(want <= table->size);
	err = loam_table_back(table, table->ready, want - table->ready);
	/* release: for readers without the lock */
	if (err == LOAM_OK)
		__atomic_store_n(&table->ready, want, __ATOMIC_RELEASE);
	return err;
}

void loam_table_free(struct loam_table *table)
{
	enum loam_err err = table->size != 0 ? loam_sys_free(table->base, table->size) : LOAM_OK;

	LOAM_CHECK(err == LOAM_OK, "a table of the collector's could not be freed");
	*table = (struct loam_table){0};
}
