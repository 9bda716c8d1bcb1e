/* SPDX-License-Identifier: MIT */
/*
 * The buddy against a bitmap. [BUDDY-1] to [BUDDY-4] are verified by loam_buddy_verify and, for
 * whole machines' worth of operations, against a model that knows nothing of buddies.
 */
#include "mm/buddy.h"
#include "tests/host/support.h"

static struct loam_buddy buddy;
static void *meta;

static void up(uint64_t base, uint64_t count)
{
	meta = malloc(loam_buddy_meta_bytes(loam_pfn(base), count));
	assert_non_null(meta);
	memset(meta, 0xee, loam_buddy_meta_bytes(loam_pfn(base), count)); /* it may hold anything */
	loam_buddy_init(&buddy, loam_pfn(base), count, meta);
}

static void down(void)
{
	loam_buddy_verify(&buddy);
	free(meta);
}

#define FRAMES (1u << 16)
#define RUNS   8192u

/* 10^7 operations on 256 MiB of frames, at an odd base: no frame is lost or owned twice. */
static void ten_million_operations(void **state)
{
	static struct {
		uint64_t pfn;
		unsigned order;
	} run[RUNS];
	static uint64_t owned[FRAMES / 64];
	const uint64_t base = 0x12345;
	struct rng rng = {test_seed()};
	uint64_t free_frames = FRAMES, tried = 0, failed = 0;
	unsigned count = 0;

	(void)state;
	up(base, FRAMES);
	assert_int_equal(buddy.free_frames, 0);
	loam_buddy_add(&buddy, loam_pfn(base), FRAMES);
	for (unsigned n = 0; n < 10000000; n++) {
		uint64_t r = rng_next(&rng);

		/* more taking in one stretch, more giving in the next */
		if (count < RUNS && (count == 0 || (r & 7) < ((n >> 16 & 1) != 0 ? 5u : 3u))) {
			unsigned order = (unsigned)(__builtin_ctzll((r >> 8) | 1u << 11));
			struct loam_pfn pfn = loam_pfn(0);

			tried++;
			if (loam_buddy_alloc(&buddy, order, &pfn) != LOAM_OK) {
				failed++;
				assert_int_equal(pfn.raw, 0);
				continue;
			}
			assert_true(loam_is_aligned(pfn.raw, UINT64_C(1) << order));
			assert_true(pfn.raw >= base &&
				    pfn.raw + (UINT64_C(1) << order) <= base + FRAMES);
			for (uint64_t f = pfn.raw - base;
			     f < pfn.raw - base + (UINT64_C(1) << order); f++) {
				if ((owned[f / 64] >> (f % 64) & 1) != 0)
					fail_msg("frame %llu given twice", (unsigned long long)f);
				owned[f / 64] |= UINT64_C(1) << (f % 64);
			}
			free_frames -= UINT64_C(1) << order;
			run[count].pfn = pfn.raw;
			run[count++].order = order;
		} else {
			unsigned at = (unsigned)((r >> 20) % count);

			for (uint64_t f = run[at].pfn - base;
			     f < run[at].pfn - base + (UINT64_C(1) << run[at].order); f++)
				owned[f / 64] &= ~(UINT64_C(1) << (f % 64));
			loam_buddy_free(&buddy, loam_pfn(run[at].pfn), run[at].order);
			free_frames += UINT64_C(1) << run[at].order;
			run[at] = run[--count];
		}
		if (buddy.free_frames != free_frames)
			fail_msg("free frames: %llu, want %llu",
				 (unsigned long long)buddy.free_frames,
				 (unsigned long long)free_frames);
		if (n % 500000 == 0) {
			loam_buddy_verify(&buddy);
			for (unsigned f = 0; f < FRAMES; f += 7)
				assert_int_equal(loam_buddy_is_free(&buddy, loam_pfn(base + f)),
						 (owned[f / 64] >> (f % 64) & 1) == 0);
		}
	}
	assert_true(tried > 4000000 && failed > 0);
	while (count > 0) {
		count--;
		loam_buddy_free(&buddy, loam_pfn(run[count].pfn), run[count].order);
	}
	assert_int_equal(buddy.free_frames, FRAMES);
	memset(owned, 0, sizeof(owned));
	down();
}

/* All 19 orders, 4 KiB to 1 GiB, on 4 GiB of frames that are never touched. */
static void every_order(void **state)
{
	const uint64_t frames = 4u << 18;

	(void)state;
	up(0, frames);
	loam_buddy_add(&buddy, loam_pfn(0), frames);
	assert_int_equal(buddy.order[LOAM_ORDER_MAX].free_blocks, 4);
	for (unsigned order = 0; order <= LOAM_ORDER_MAX; order++) {
		struct loam_pfn a, b;

		assert_int_equal(loam_buddy_alloc(&buddy, order, &a), LOAM_OK);
		assert_int_equal(loam_buddy_alloc(&buddy, order, &b), LOAM_OK);
		assert_true(loam_is_aligned(a.raw | b.raw, UINT64_C(1) << order));
		assert_int_equal(buddy.free_frames, frames - (UINT64_C(2) << order));
		loam_buddy_verify(&buddy);
		loam_buddy_free(&buddy, a, order);
		loam_buddy_free(&buddy, b, order);
		assert_int_equal(buddy.order[LOAM_ORDER_MAX].free_blocks, 4);
	}
	down();
}

/* The smallest order that serves, and of that the lowest address: so the high end stays whole. */
static void lowest_first(void **state)
{
	struct loam_pfn pfn;

	(void)state;
	up(0, 4096);
	loam_buddy_add(&buddy, loam_pfn(0), 4096);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(loam_buddy_alloc(&buddy, 0, &pfn), LOAM_OK);
		assert_int_equal(pfn.raw, i);
	}
	loam_buddy_free(&buddy, loam_pfn(70), 0);
	assert_int_equal(loam_buddy_alloc(&buddy, 0, &pfn), LOAM_OK);
	assert_int_equal(pfn.raw, 70);
	down();
}

/* Any stretch, any length, with holes: what was added can be had, to the last frame. */
static void odd_shapes(void **state)
{
	struct rng rng = {test_seed()};

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		uint64_t base = rng_below(&rng, 100000), count = 1 + rng_below(&rng, 3000);
		uint64_t hole = rng_below(&rng, count), hole_n = rng_below(&rng, count - hole + 1);
		uint64_t got = 0;
		struct loam_pfn pfn;

		up(base, count);
		if (hole > 0)
			loam_buddy_add(&buddy, loam_pfn(base), hole);
		if (hole + hole_n < count)
			loam_buddy_add(&buddy, loam_pfn(base + hole + hole_n),
				       count - hole - hole_n);
		loam_buddy_verify(&buddy);
		while (loam_buddy_alloc(&buddy, 0, &pfn) == LOAM_OK) {
			assert_true(pfn.raw >= base && pfn.raw < base + count);
			assert_false(pfn.raw >= base + hole && pfn.raw < base + hole + hole_n);
			got++;
		}
		assert_int_equal(got, count - hole_n);
		down();
	}
}

static void a_given_block_can_be_had(void **state)
{
	struct loam_pfn pfn;

	(void)state;
	up(0, 1024);
	loam_buddy_add(&buddy, loam_pfn(0), 1024);
	assert_int_equal(loam_buddy_alloc_at(&buddy, loam_pfn(512), 5), LOAM_OK);
	assert_int_equal(loam_buddy_alloc_at(&buddy, loam_pfn(512), 0), LOAM_NOMEM);
	assert_int_equal(loam_buddy_alloc_at(&buddy, loam_pfn(512 + 31), 0), LOAM_NOMEM);
	assert_int_equal(loam_buddy_alloc_at(&buddy, loam_pfn(512 + 32), 5), LOAM_OK);
	assert_int_equal(buddy.free_frames, 1024 - 64);
	loam_buddy_verify(&buddy);
	loam_buddy_free(&buddy, loam_pfn(512), 5);
	loam_buddy_free(&buddy, loam_pfn(512 + 32), 5);
	assert_int_equal(loam_buddy_alloc(&buddy, 10, &pfn), LOAM_OK); /* merged all the way */
	assert_int_equal(loam_buddy_alloc(&buddy, 0, &pfn), LOAM_NOMEM);
	loam_buddy_free(&buddy, loam_pfn(0), 10);
	down();
}

static void wrong_frees_panic(void **state)
{
	static struct loam_pfn pfn;

	(void)state;
	up(16, 1024);
	loam_buddy_add(&buddy, loam_pfn(16), 1024);
	assert_int_equal(loam_buddy_alloc(&buddy, 4, &pfn), LOAM_OK);
	EXPECT_PANIC(loam_buddy_free(&buddy, loam_pfn(pfn.raw + 1), 4), "not aligned");
	EXPECT_PANIC(loam_buddy_free(&buddy, loam_pfn(pfn.raw + 16), 4), "free");
	EXPECT_PANIC(loam_buddy_free(&buddy, loam_pfn(0), 4), "does not have");
	EXPECT_PANIC(loam_buddy_free(&buddy, loam_pfn(1u << 20), 0), "does not have");
	EXPECT_PANIC(loam_buddy_free(&buddy, pfn, LOAM_ORDER_MAX + 1), "beyond the largest");
	EXPECT_PANIC(loam_buddy_add(&buddy, loam_pfn(1000), 200), "does not cover");
	EXPECT_PANIC(loam_buddy_add(&buddy, loam_pfn(100), 10), "free");
	loam_buddy_free(&buddy, pfn, 4);
	EXPECT_PANIC(loam_buddy_free(&buddy, pfn, 4), "free");
	EXPECT_PANIC(loam_buddy_free(&buddy, pfn, 0), "double free");
	down();
}

/* Each invariant, broken by hand, is found and named. */
static void verify_finds_breakage(void **state)
{
	static volatile unsigned how;
	static const char *const tag[] = {"[BUDDY-1]", "[BUDDY-2]", "[BUDDY-3]", "[BUDDY-4]"};

	(void)state;
	for (how = 0; how < 4; how++) {
		up(0, 8192);
		loam_buddy_add(&buddy, loam_pfn(0), 4096);
		switch (how) {
		case 0: /* a frame inside the big block is free by itself as well */
			buddy.order[0].map[0][5] |= 1;
			buddy.order[0].map[1][0] |= 1u << 5;
			buddy.order[0].map[2][0] |= 1;
			buddy.order[0].free_blocks++;
			buddy.free_frames++;
			buddy.order_mask |= 1;
			break;
		case 1: /* two buddies of order 0 beyond it */
			buddy.order[0].map[0][100] |= 3;
			buddy.order[0].map[1][1] |= UINT64_C(1) << 36;
			buddy.order[0].map[2][0] |= 2;
			buddy.order[0].free_blocks += 2;
			buddy.free_frames += 2;
			buddy.order_mask |= 1;
			break;
		case 2: /* a summary bit over nothing */
			buddy.order[0].map[1][0] |= 1;
			break;
		default:
			buddy.free_frames++;
			break;
		}
		EXPECT_PANIC(loam_buddy_verify(&buddy), tag[how]);
		free(meta);
	}
}

/* 2 bits a frame and a little: what the README promises. */
static void metadata_is_small(void **state)
{
	(void)state;
	for (uint64_t frames = 1u << 14; frames <= 1u << 28; frames *= 4)
		assert_true(loam_buddy_meta_bytes(loam_pfn(0), frames) * 8 * 100 <=
			    frames * 206 + 100 * 8 * 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_million_operations),
		cmocka_unit_test(every_order),
		cmocka_unit_test(lowest_first),
		cmocka_unit_test(odd_shapes),
		cmocka_unit_test(a_given_block_can_be_had),
		cmocka_unit_test(wrong_frees_panic),
		cmocka_unit_test(verify_finds_breakage),
		cmocka_unit_test(metadata_is_small),
	};
	return cmocka_run_group_tests_name("buddy", tests, NULL, NULL);
}
