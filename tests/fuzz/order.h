/* SPDX-License-Identifier: MIT */
/* What is asked of the heap: kinds, sizes, types. A new way to allocate is a kind here. */
#ifndef LOAM_TESTS_ORDER_H
#define LOAM_TESTS_ORDER_H

#include "tests/host/support.h"

enum order_kind {
	KIND_SCANNED,
	KIND_NOSCAN,
	KIND_TYPED,
	KIND_ALIGNED,
	KIND_COUNT,
};

/* How big objects get. */
enum order_profile {
	PROFILE_SMALL,	/* up to 1 KiB */
	PROFILE_MIXED,	/* seldom large */
	PROFILE_LARGER, /* more of them, up to 512 KiB */
	PROFILE_LARGE,	/* and some of up to 4 MiB */
	PROFILE_COUNT,
};

struct order {
	enum order_kind kind;
	size_t size, align;
	const struct loam_type *type;
};

/* Ask the heap for its size classes, on a heap that is up. */
void order_learn(void);

/* From the program's next bytes. */
struct order order_take(enum order_profile profile);
size_t order_size(enum order_profile profile);

void *order_call(const struct order *o);
bool order_is_zeroed(const struct order *o);
/* Does the type have a pointer there, in an array? */
bool order_is_pointer(const struct loam_type *type, size_t word);
bool order_is_scanned(enum order_kind kind);

/* Words of the object that hold links: at most `most` (4), spread, the first and the last pointer
 * among them. */
#define ORDER_LINKS 4u
unsigned order_links(const struct order *o, uint32_t *words);

#endif
