/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/order.h"

#include "tests/fuzz/input.h"

/* ---- sizes and types ---- */

static size_t class_size[128];
static unsigned class_count;

/* The size classes are asked of the heap: objects get the room of the next class. */
void order_learn(void)
{
	size_t size = 1;

	for (class_count = 0; class_count < COUNT_OF(class_size) && size <= 65536; class_count++) {
		class_size[class_count] = loam_object_size(loam_alloc_noscan(size));
		size = class_size[class_count] + 1;
	}
}

size_t order_size(enum order_profile profile)
{
	unsigned how = input_byte(), boundary = class_count - 1;
	size_t size;

	if (profile == PROFILE_SMALL) {
		while (boundary > 0 && class_size[boundary] > 1024)
			boundary--;
		return how < 128 ? how : class_size[input_byte() % (boundary + 1)] + how % 3 - 1;
	}
	if (how < 100)
		return how * 4 + input_byte() % 5;
	if (how < 180)
		return class_size[input_byte() % class_count] + how % 3 - 1;
	if (how < 224)
		return input_two() % 4096;
	if (how < 250 - 3 * (unsigned)profile)
		return input_two() % 40000;
	/* large: around multiples of a heap page, up to 512 KiB, or 4 MiB */
	size = ((size_t)input_byte() + 1) * (profile == PROFILE_LARGE && how == 255 ? 16384 : 2048);
	return size + input_byte() % 3 - 1;
}

static const uint64_t bits_first[] = {1}, bits_some[] = {0x16}, bits_all[] = {~UINT64_C(0)},
		      bits_wide[] = {UINT64_C(0x8000000000000001), 0x8001},
		      bits_big[] = {0, 0, 0, 0, 0, 0, 0, UINT64_C(1) << 63};
static const struct loam_type types[] = {
	{.size = 8, .ptr_words = 1, .ptr_bits = bits_first, .name = "word"},
	{.size = 16, .ptr_words = 1, .ptr_bits = bits_first, .name = "pair"},
	{.size = 24, .ptr_words = 3, .ptr_bits = bits_some, .name = "triple"},
	{.size = 48, .ptr_words = 5, .ptr_bits = bits_some, .name = "six"},
	{.size = 64, .ptr_words = 8, .ptr_bits = bits_all, .name = "eight pointers"},
	{.size = 640, .ptr_words = 80, .ptr_bits = bits_wide, .name = "two words of bits"},
	{.size = 4104, .ptr_words = 512, .ptr_bits = bits_big, .name = "the last but one"},
	{.size = 32, .ptr_words = 0, .ptr_bits = NULL, .name = "no pointers"},
};

bool order_is_pointer(const struct loam_type *t, size_t word)
{
	word %= t->size / 8;
	return word < t->ptr_words && (t->ptr_bits[word / 64] >> (word % 64) & 1) != 0;
}

struct order order_take(enum order_profile profile)
{
	static const size_t align[] = {16, 32, 64, 128, 256, 512, 1024, 4096};
	static const enum order_kind kind_of[] = {KIND_SCANNED, KIND_NOSCAN,  KIND_TYPED,
						  KIND_ALIGNED, KIND_SCANNED, KIND_NOSCAN,
						  KIND_TYPED,	KIND_TYPED};
	struct order o = {.align = 1};
	unsigned b = input_byte();

	o.kind = kind_of[b % 8];
	if (o.kind == KIND_TYPED) {
		unsigned n = input_byte();

		o.type = &types[(b >> 3) % COUNT_OF(types)];
		o.size = o.type->size * (n < 200 ? n % 8 + 1 : (n - 199) * ((unsigned)profile + 1));
	} else {
		o.size = order_size(profile);
		o.align = o.kind == KIND_ALIGNED ? align[b >> 3 & 7] : 1;
	}
	return o;
}

/* ---- one row a kind: the call, and what may be said of the memory it gives ---- */

void *order_call(const struct order *o)
{
	switch (o->kind) {
	case KIND_SCANNED:
		return loam_alloc(o->size);
	case KIND_NOSCAN:
		return loam_alloc_noscan(o->size);
	case KIND_TYPED:
		return loam_alloc_type(o->type, o->size / o->type->size);
	case KIND_ALIGNED:
		return loam_alloc_aligned(o->size, o->align);
	case KIND_COUNT:
		break;
	}
	fail_msg("no such kind");
	return NULL;
}

static const struct {
	bool scanned; /* it may hold links */
	bool zeroed;
} kinds[KIND_COUNT] = {
	[KIND_SCANNED] = {.scanned = true, .zeroed = true},
	[KIND_NOSCAN] = {.scanned = false, .zeroed = true},
	[KIND_TYPED] = {.scanned = true, .zeroed = true},
	[KIND_ALIGNED] = {.scanned = true, .zeroed = true},
};

bool order_is_zeroed(const struct order *o)
{
	return kinds[o->kind].zeroed;
}

bool order_is_scanned(enum order_kind kind)
{
	return kinds[kind].scanned;
}

unsigned order_links(const struct order *o, uint32_t *words)
{
	uint32_t all = (uint32_t)(o->size / 8),
		 at[ORDER_LINKS] = {0, all / 3, all - all / 4, all - 1};
	unsigned n = 0;

	if (all == 0 || !kinds[o->kind].scanned)
		return 0;
	for (unsigned k = 0; k < ORDER_LINKS; k++) {
		uint32_t w = at[k] < all ? at[k] : all - 1;

		for (uint32_t tries = 0; o->type != NULL && !order_is_pointer(o->type, w);
		     tries++) {
			if (tries == all)
				return n;
			w = (w + 1) % all;
		}
		for (unsigned j = 0; j < n; j++)
			w = words[j] == w ? UINT32_MAX : w;
		if (w != UINT32_MAX)
			words[n++] = w;
	}
	return n;
}
