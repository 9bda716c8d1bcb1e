/* SPDX-License-Identifier: MIT */
/* Theory: sys_model.h. */
#include "tests/host/sys_model.h"

#include "mm/sys.h"

#define PAGES_MAX 4096u
#define STAMPS	  4u

struct page {
	uint8_t state, owner;
	bool huge; /* policy */
	uint32_t reservation;
	uint64_t stamp; /* first word, if Ready */
};

static struct page page[PAGES_MAX];
static const struct sys_env *env;
static unsigned pages;
static uint32_t reservations;
static uint64_t moved_pages;

static uintptr_t addr(unsigned i)
{
	return env->window + i * LOAM_PAGE_SIZE;
}

static unsigned count(unsigned at, unsigned n, enum loam_state s)
{
	unsigned c = 0;

	for (unsigned i = at; i < at + n; i++)
		c += page[i].state == s;
	return c;
}

/* ---- does it agree? ---- */

static void check_page(unsigned i)
{
	struct loam_sys_info info;
	uint64_t value;

	if (page[i].state == LOAM_STATE_NONE) {
		assert_int_equal(loam_sys_query(addr(i), &info), LOAM_NOENT);
	} else {
		assert_int_equal(loam_sys_query(addr(i) + i % LOAM_PAGE_SIZE, &info), LOAM_OK);
		assert_int_equal(info.state, page[i].state);
		assert_int_equal(info.owner, page[i].owner);
		assert_int_equal(info.hugepage, page[i].huge);
		assert_int_equal(info.leaf_bytes != 0, page[i].state == LOAM_STATE_READY);
		assert_true(addr(i) - info.region_base < info.region_size);
	}
	if (page[i].state == LOAM_STATE_READY) {
		assert_true(env->read(addr(i), &value));
		assert_int_equal(value, page[i].stamp);
	} else {
		assert_false(env->read(addr(i), &value));
		assert_false(env->write(addr(i), 1));
	}
}

static void check_sums(void)
{
	uint64_t ready[LOAM_OWNER_COUNT] = {0}, prepared[LOAM_OWNER_COUNT] = {0};
	uint64_t states[LOAM_STATE_COUNT] = {0};
	struct loam_sys_stats s;

	for (unsigned i = 0; i < pages; i++) {
		states[page[i].state] += LOAM_PAGE_SIZE;
		ready[page[i].owner] += page[i].state == LOAM_STATE_READY ? LOAM_PAGE_SIZE : 0;
		prepared[page[i].owner] +=
			page[i].state == LOAM_STATE_PREPARED ? LOAM_PAGE_SIZE : 0;
	}
	loam_sys_stats(&s);
	for (unsigned st = LOAM_STATE_RESERVED; st < LOAM_STATE_COUNT; st++)
		assert_int_equal(s.state_bytes[st], states[st]);
	assert_int_equal(s.state_bytes[LOAM_STATE_NONE],
			 s.window_bytes - states[LOAM_STATE_RESERVED] -
				 states[LOAM_STATE_PREPARED] - states[LOAM_STATE_READY]);
	for (unsigned o = 0; o < LOAM_OWNER_COUNT; o++) {
		assert_int_equal(s.ready_bytes[o], ready[o]);
		assert_int_equal(s.prepared_bytes[o], prepared[o]);
	}
}

/* ---- prediction ---- */

static bool any_none(unsigned at, unsigned n)
{
	return count(at, n, LOAM_STATE_NONE) > 0;
}

/* Is there a gap of n pages whose start is aligned? The answer is its first page, or `pages`. */
static unsigned find_gap(unsigned n, size_t align)
{
	for (unsigned i = 0; i + n <= pages; i++) {
		if (loam_is_aligned(addr(i), align) && count(i, n, LOAM_STATE_NONE) == n)
			return i;
	}
	return pages;
}

static void became_ready(struct rng *rng, unsigned at, unsigned n)
{
	for (unsigned i = at; i < at + n; i++) {
		uint64_t value;

		if (page[i].state == LOAM_STATE_READY)
			continue;
		page[i].state = LOAM_STATE_READY;
		page[i].stamp = 0;
		assert_true(env->read(addr(i), &value));
		assert_int_equal(value, 0);
		if (rng_below(rng, 2) == 0) {
			page[i].stamp = rng_next(rng) | 1;
			assert_true(env->write(addr(i), page[i].stamp));
		}
	}
}

static void do_reserve(struct rng *rng)
{
	unsigned n = 1 + (unsigned)rng_below(rng, rng_below(rng, 8) == 0 ? pages / 2 : 300);
	size_t align = rng_below(rng, 4) == 0 ? LOAM_PAGE_SIZE << rng_below(rng, 10) : 0;
	unsigned hint = (unsigned)rng_below(rng, pages);
	bool hinted = rng_below(rng, 3) == 0, fits;
	size_t real_align = align != 0 ? align : LOAM_PAGE_SIZE;
	uintptr_t base = 1;
	enum loam_err err;
	unsigned gap = find_gap(n, real_align), at;

	hinted = hinted && hint + n <= pages; /* or it might lie half outside the model */
	fits = hinted && loam_is_aligned(addr(hint), real_align) &&
	       count(hint, n, LOAM_STATE_NONE) == n;
	err = loam_sys_reserve(hinted ? addr(hint) : 0, n * LOAM_PAGE_SIZE - rng_below(rng, 4096),
			       align, &base);
	if (err == LOAM_NOMEM && env->memory_may_run_out)
		return;
	if (gap == pages && env->exact) {
		assert_int_equal(err, LOAM_NOVIRT);
		assert_int_equal(base, 1);
		return;
	}
	assert_int_equal(err, LOAM_OK);
	assert_true(loam_is_aligned(base, real_align));
	if (gap == pages && !fits) {
		/* beyond the model: not ours to follow */
		assert_true(base + n * LOAM_PAGE_SIZE > addr(pages));
		assert_int_equal(loam_sys_free(base, n * LOAM_PAGE_SIZE), LOAM_OK);
		return;
	}
	at = (unsigned)((base - env->window) / LOAM_PAGE_SIZE);
	assert_int_equal(at, fits ? hint : gap);
	reservations++;
	for (unsigned i = at; i < at + n; i++) {
		assert_int_equal(page[i].state, LOAM_STATE_NONE);
		page[i] = (struct page){.state = LOAM_STATE_RESERVED, .reservation = reservations};
	}
}

static void do_alloc(struct rng *rng)
{
	unsigned n = 1 + (unsigned)rng_below(rng, 40), gap = find_gap(n, LOAM_PAGE_SIZE), at;
	void *p = &n;
	enum loam_err err = loam_sys_alloc(n * LOAM_PAGE_SIZE, LOAM_OWNER_STACK, &p);

	if (err == LOAM_NOMEM && env->memory_may_run_out)
		return;
	if (gap == pages) {
		if (env->exact)
			assert_int_equal(err, LOAM_NOVIRT);
		else
			assert_int_equal(loam_sys_free((uintptr_t)p, n * LOAM_PAGE_SIZE), LOAM_OK);
		return;
	}
	assert_int_equal(err, LOAM_OK);
	at = (unsigned)(((uintptr_t)p - env->window) / LOAM_PAGE_SIZE);
	assert_int_equal(at, gap);
	reservations++;
	for (unsigned i = at; i < at + n; i++)
		page[i] = (struct page){.state = LOAM_STATE_PREPARED,
					.owner = LOAM_OWNER_STACK,
					.reservation = reservations};
	became_ready(rng, at, n);
}

static void do_map(struct rng *rng, unsigned at, unsigned n)
{
	enum loam_owner owner =
		LOAM_OWNER_HEAP + (enum loam_owner)(rng_below(rng, 2) * rng_below(rng, 4));
	enum loam_err err = loam_sys_map(addr(at), n * LOAM_PAGE_SIZE, owner);

	if (any_none(at, n)) {
		assert_int_equal(err, LOAM_INVAL);
	} else if (count(at, n, LOAM_STATE_RESERVED) != n) {
		assert_int_equal(err, LOAM_EXIST);
	} else if (err != LOAM_NOMEM || !env->memory_may_run_out) {
		assert_int_equal(err, LOAM_OK);
		for (unsigned i = at; i < at + n; i++) {
			page[i].state = LOAM_STATE_PREPARED;
			page[i].owner = (uint8_t)owner;
		}
	}
}

static void do_used(struct rng *rng, unsigned at, unsigned n)
{
	bool zeroed = false, fresh = count(at, n, LOAM_STATE_PREPARED) == n;
	enum loam_err err = loam_sys_used(addr(at), n * LOAM_PAGE_SIZE, &zeroed);

	if (any_none(at, n) || count(at, n, LOAM_STATE_RESERVED) > 0) {
		assert_int_equal(err, LOAM_INVAL);
	} else if (err != LOAM_NOMEM || !env->memory_may_run_out) {
		assert_int_equal(err, LOAM_OK);
		assert_int_equal(zeroed, fresh);
		became_ready(rng, at, n);
	}
}

static void do_unused(unsigned at, unsigned n)
{
	enum loam_err err = loam_sys_unused(addr(at), n * LOAM_PAGE_SIZE);

	if (any_none(at, n) || count(at, n, LOAM_STATE_RESERVED) > 0) {
		assert_int_equal(err, LOAM_INVAL);
		return;
	}
	assert_int_equal(err, LOAM_OK);
	for (unsigned i = at; i < at + n; i++)
		page[i].state = LOAM_STATE_PREPARED;
}

static void do_fault(unsigned at, unsigned n)
{
	enum loam_err err = loam_sys_fault(addr(at), n * LOAM_PAGE_SIZE);

	assert_int_equal(err, any_none(at, n) ? LOAM_INVAL : LOAM_OK);
	for (unsigned i = at; err == LOAM_OK && i < at + n; i++)
		page[i].state = LOAM_STATE_RESERVED;
}

static void do_free(unsigned at, unsigned n)
{
	enum loam_err err = loam_sys_free(addr(at), n * LOAM_PAGE_SIZE);

	if (err == LOAM_NOMEM && env->memory_may_run_out)
		return;
	assert_int_equal(err, any_none(at, n) ? LOAM_INVAL : LOAM_OK);
	for (unsigned i = at; err == LOAM_OK && i < at + n; i++)
		page[i] = (struct page){0};
}

static void do_policy(unsigned at, unsigned n, bool huge)
{
	enum loam_err err = huge ? loam_sys_hugepage(addr(at), n * LOAM_PAGE_SIZE)
				 : loam_sys_nohugepage(addr(at), n * LOAM_PAGE_SIZE);

	if (err == LOAM_NOMEM && env->memory_may_run_out)
		return;
	assert_int_equal(err, any_none(at, n) ? LOAM_INVAL : LOAM_OK);
	for (unsigned i = at; err == LOAM_OK && i < at + n; i++)
		page[i].huge = huge;
}

static void do_collapse(unsigned at, unsigned n)
{
	enum loam_err err = loam_sys_collapse(addr(at), n * LOAM_PAGE_SIZE), want = LOAM_OK;

	if (any_none(at, n)) {
		assert_int_equal(err, LOAM_INVAL);
		return;
	}
	for (unsigned i = at; i + 512 <= at + n && want == LOAM_OK; i++) {
		if (!loam_is_aligned(addr(i), LOAM_HUGE_SIZE))
			continue;
		if (count(i, 512, LOAM_STATE_READY) != 512)
			want = LOAM_BUSY;
		for (unsigned k = i; k < i + 512; k++)
			want = page[k].owner != page[i].owner ? LOAM_BUSY : want;
	}
	/* finding 2 MiB in one piece depends on the history of the frames; a Linux kernel may not
	 * know MADV_COLLAPSE */
	if (err == LOAM_NOMEM || (err == LOAM_NOTSUP && !env->exact))
		return;
	assert_int_equal(err, want);
}

/* Somewhere: a run of at most 700 pages in one state, of one owner (or any: COUNT). */
static bool find_run(struct rng *rng, enum loam_state s, unsigned owner, unsigned *at, unsigned *n)
{
	unsigned start = (unsigned)rng_below(rng, pages);

	for (unsigned k = 0; k < pages; k++) {
		unsigned i = (start + k) % pages, end = i;

		while (end < pages && end < i + 700 && page[end].state == s &&
		       page[end].owner == page[i].owner)
			end++;
		if (end > i && (owner == LOAM_OWNER_COUNT || owner == page[i].owner)) {
			*at = i;
			*n = end - i;
			return true;
		}
	}
	return false;
}

static bool can_move(unsigned from, unsigned to, unsigned n)
{
	bool apart = from + n <= to || to + n <= from;

	for (unsigned i = 0; i < n; i++) {
		if (page[from + i].owner != page[from].owner ||
		    page[to + i].owner != page[from].owner)
			return false;
	}
	return apart && count(from, n, LOAM_STATE_READY) == n &&
	       count(to, n, LOAM_STATE_PREPARED) == n;
}

/* Often what can be moved, and often to where it is aligned as it was. */
static void do_move(struct rng *rng, unsigned at, unsigned n)
{
	unsigned to = (unsigned)rng_below(rng, pages), room = pages - to, skip;
	enum loam_err err;

	if (rng_below(rng, 8) != 0) {
		if (!find_run(rng, LOAM_STATE_READY, LOAM_OWNER_COUNT, &at, &n))
			return;
		if (!find_run(rng, LOAM_STATE_PREPARED, page[at].owner, &to, &room)) {
			do_unused(at + n / 2, n - n / 2); /* for the next time */
			return;
		}
	}
	skip = (at - to) % 512;
	if (rng_below(rng, 2) == 0 && skip < room) {
		to += skip;
		room -= skip;
	}
	n = n < room ? n : room;
	n = rng_below(rng, 2) == 0 ? 1 + (unsigned)rng_below(rng, n) : n;
	err = loam_sys_move(addr(at), addr(to), n * LOAM_PAGE_SIZE);
	if (err == LOAM_NOMEM && env->memory_may_run_out && can_move(at, to, n))
		return;
	assert_int_equal(err, can_move(at, to, n) ? LOAM_OK : LOAM_INVAL);
	for (unsigned i = 0; err == LOAM_OK && i < n; i++) {
		page[to + i].state = LOAM_STATE_READY;
		page[to + i].stamp = page[at + i].stamp;
		page[at + i].state = LOAM_STATE_PREPARED;
		page[at + i].stamp = 0;
	}
	if (err == LOAM_OK) {
		moved_pages += n;
		check_page(at);
		check_page(at + n - 1);
		for (unsigned i = 0; i < n; i += 1 + n / 16)
			check_page(to + i);
		check_page(to + n - 1);
	}
}

/* The block becomes one reservation, whatever was there. */
static void reserve_whole(unsigned at, unsigned n)
{
	uintptr_t base;

	for (unsigned i = at; i < at + n; i++) {
		if (page[i].state != LOAM_STATE_NONE)
			do_free(i, 1);
	}
	if (count(at, n, LOAM_STATE_NONE) != n ||
	    loam_sys_reserve(addr(at), n * LOAM_PAGE_SIZE, 0, &base) != LOAM_OK)
		return; /* out of memory, where that may happen */
	assert_int_equal(base, addr(at));
	reservations++;
	for (unsigned i = at; i < at + n; i++)
		page[i] = (struct page){.state = LOAM_STATE_RESERVED, .reservation = reservations};
}

static bool one_reservation(unsigned at, unsigned n)
{
	for (unsigned i = at; i < at + n; i++) {
		if (page[i].reservation == 0 || page[i].reservation != page[at].reservation)
			return false;
	}
	return true;
}

/* An aligned 2 MiB becomes a huge leaf, or one that is there loses a page. */
static void do_huge(struct rng *rng)
{
	unsigned first = (unsigned)((loam_align_up(env->window, LOAM_HUGE_SIZE) - env->window) /
				    LOAM_PAGE_SIZE);
	unsigned at = first + 512 * (unsigned)rng_below(rng, (pages - first) / 512);

	if (!one_reservation(at, 512)) {
		reserve_whole(at, 512);
		return;
	}
	if (count(at, 512, LOAM_STATE_READY) == 512) {
		do_unused(at + (unsigned)rng_below(rng, 512), 1);
		return;
	}
	do_fault(at, 512);
	do_map(rng, at, 512);
	do_policy(at, 512, true);
	do_used(rng, at, 512);
}

static void random_range(struct rng *rng, unsigned *at, unsigned *n)
{
	*at = (unsigned)rng_below(rng, pages);
	*n = 1 + (unsigned)rng_below(rng, rng_below(rng, 4) == 0 ? pages - *at : 40);
	/* often a run of pages in one state, so that calls succeed */
	if (rng_below(rng, 2) == 0) {
		unsigned end = *at;

		while (end < pages && end < *at + 600 && page[end].state == page[*at].state)
			end++;
		*n = 1 + (unsigned)rng_below(rng, end - *at);
	}
	/* and often a whole aligned 2 MiB */
	if (rng_below(rng, 6) == 0) {
		uintptr_t huge = loam_align_up(addr(*at), LOAM_HUGE_SIZE);

		if (huge + LOAM_HUGE_SIZE <= addr(pages)) {
			*at = (unsigned)((huge - env->window) / LOAM_PAGE_SIZE);
			*n = 512;
		}
	}
	*n = *at + *n > pages ? pages - *at : *n;
}

void sys_model_run(const struct sys_env *e, uint64_t seed, unsigned steps)
{
	struct rng rng = {seed};
	struct loam_sys_stats stats;
	unsigned huge_seen = 0;

	env = e;
	pages = (unsigned)(env->window_bytes / LOAM_PAGE_SIZE);
	assert_true(pages <= PAGES_MAX);
	memset(page, 0, sizeof(page));
	reservations = 0;
	moved_pages = 0;
	for (unsigned s = 0; s < steps; s++) {
		unsigned at, n;

		random_range(&rng, &at, &n);
		switch (rng_below(&rng, 19)) {
		case 0:
		case 1:
			do_reserve(&rng);
			break;
		case 2:
			do_alloc(&rng);
			break;
		case 3:
		case 4:
		case 5:
			do_map(&rng, at, n);
			break;
		case 6:
		case 7:
		case 8:
			do_used(&rng, at, n);
			break;
		case 9:
			do_unused(at, n);
			break;
		case 10:
			do_fault(at, n < 64 ? n : 64);
			break;
		case 11:
			do_free(at, n < 128 ? n : 128);
			break;
		case 12:
			do_policy(at, n, rng_below(&rng, 3) != 0);
			break;
		case 13:
			do_collapse(at, n);
			break;
		case 14:
		case 15:
			do_move(&rng, at, n);
			break;
		default:
			do_huge(&rng);
			break;
		}
		loam_sys_stats(&stats);
		huge_seen += stats.huge_ready_bytes > 0;
		if (env->settled != NULL)
			env->settled();
		check_page(at);
		check_page(at + n - 1);
		for (unsigned i = 0; i < 6; i++)
			check_page((unsigned)rng_below(&rng, pages));
		if (s % 50 == 0) {
			check_sums();
			loam_sys_verify();
		}
	}
	for (unsigned i = 0; i < pages; i++)
		check_page(i);
	check_sums();
	loam_sys_verify();
	printf("# steps with a huge leaf: %u of %u; pages moved: %llu\n", huge_seen, steps,
	       (unsigned long long)moved_pages);
	assert_true(moved_pages > steps / 2);
	assert_true(huge_seen > steps / 100 || env->memory_may_run_out);
	/* all of it back */
	for (unsigned i = 0; i < pages; i++) {
		if (page[i].state != LOAM_STATE_NONE)
			do_free(i, 1);
	}
	check_sums();
	loam_sys_verify();
}
