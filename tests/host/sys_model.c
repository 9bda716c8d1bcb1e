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
	enum loam_owner owner = LOAM_OWNER_HEAP + (enum loam_owner)rng_below(rng, 4);
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
	for (unsigned s = 0; s < steps; s++) {
		unsigned at, n;

		random_range(&rng, &at, &n);
		switch (rng_below(&rng, 17)) {
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
	printf("# steps with a huge leaf: %u of %u\n", huge_seen, steps);
	assert_true(huge_seen > steps / 100 || env->memory_may_run_out);
	/* all of it back */
	for (unsigned i = 0; i < pages; i++) {
		if (page[i].state != LOAM_STATE_NONE)
			do_free(i, 1);
	}
	check_sums();
	loam_sys_verify();
}

/* ---- the n-th request fails ---- */

#define SNAP_PAGES 1100u

struct snapshot {
	struct loam_sys_stats stats;
	uint64_t frames;
	struct {
		enum loam_err err;
		struct loam_sys_info info;
		uint64_t value;
		bool readable;
	} page[SNAP_PAGES];
};

static void take(struct snapshot *s, uintptr_t base, unsigned n)
{
	memset(s, 0, sizeof(*s));
	loam_sys_stats(&s->stats);
	s->frames = env->frames != NULL ? env->frames() : 0;
	for (unsigned i = 0; i < n; i++) {
		s->page[i].err = loam_sys_query(base + i * LOAM_PAGE_SIZE, &s->page[i].info);
		s->page[i].info.dirty = false; /* looking makes no difference, writing stamps did */
		s->page[i].readable = env->read(base + i * LOAM_PAGE_SIZE, &s->page[i].value);
	}
}

/* [SYS-3] A failed call changed nothing. */
static void same(const struct snapshot *a, const struct snapshot *b)
{
	/* both were zeroed first: padding compares equal */
	assert_memory_equal(a, b, sizeof(*a));
}

enum attempt {
	TRY_RESERVE,
	TRY_MAP,
	TRY_USED,
	TRY_USED_HUGE,
	TRY_USED_PARTLY_READY,
	TRY_UNUSED_PART_OF_HUGE,
	TRY_FAULT_PART,
	TRY_FREE_MIDDLE,
	TRY_ALLOC,
	TRY_HUGEPAGE,
	TRY_COLLAPSE,
	ATTEMPTS,
};

static void must(enum loam_err err)
{
	assert_int_equal(err, LOAM_OK);
}

/* The state that the attempt starts from: 4 MiB and a bit, aligned. */
static uintptr_t prepare(enum attempt what, size_t size)
{
	uintptr_t base;

	must(loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base));
	if (what == TRY_MAP || what == TRY_HUGEPAGE || what == TRY_FREE_MIDDLE)
		return base;
	must(loam_sys_map(base, size, LOAM_OWNER_TEST));
	if (what == TRY_USED_HUGE || what == TRY_UNUSED_PART_OF_HUGE)
		must(loam_sys_hugepage(base, size));
	if (what == TRY_USED_PARTLY_READY)
		must(loam_sys_used(base + 16 * LOAM_PAGE_SIZE, 16 * LOAM_PAGE_SIZE, NULL));
	if (what == TRY_UNUSED_PART_OF_HUGE || what == TRY_FAULT_PART || what == TRY_COLLAPSE) {
		must(loam_sys_used(base, size, NULL));
		for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE)
			assert_true(env->write(base + at, at | 1));
	}
	return base;
}

static enum loam_err attempt(enum attempt what, uintptr_t base, size_t size, void **extra)
{
	uintptr_t other;
	enum loam_err err;

	switch (what) {
	case TRY_RESERVE:
		err = loam_sys_reserve(0, LOAM_HUGE_SIZE, 0, &other);
		if (err == LOAM_OK)
			*extra = (void *)other;
		return err;
	case TRY_MAP:
		return loam_sys_map(base, size, LOAM_OWNER_TEST);
	case TRY_USED:
	case TRY_USED_HUGE:
	case TRY_USED_PARTLY_READY:
		return loam_sys_used(base, size, NULL);
	case TRY_UNUSED_PART_OF_HUGE:
		return loam_sys_unused(base + 5 * LOAM_PAGE_SIZE, 3 * LOAM_PAGE_SIZE);
	case TRY_FAULT_PART:
		return loam_sys_fault(base + 5 * LOAM_PAGE_SIZE, 3 * LOAM_PAGE_SIZE);
	case TRY_FREE_MIDDLE:
		return loam_sys_free(base + 5 * LOAM_PAGE_SIZE, LOAM_PAGE_SIZE);
	case TRY_ALLOC:
		return loam_sys_alloc(LOAM_HUGE_SIZE, LOAM_OWNER_TEST, extra);
	case TRY_HUGEPAGE:
		return loam_sys_hugepage(base + LOAM_HUGE_SIZE, LOAM_HUGE_SIZE);
	default:
		return loam_sys_collapse(base, size);
	}
}

void sys_model_nth_failure(const struct sys_env *e)
{
	static struct snapshot before, after;
	const size_t size = 2 * LOAM_HUGE_SIZE + 8 * LOAM_PAGE_SIZE;
	const unsigned n_pages = (unsigned)(size / LOAM_PAGE_SIZE);

	env = e;
	for (unsigned what = 0; what < ATTEMPTS; what++) {
		/* every n at first, then with growing steps: most fail inside one long list */
		for (uint64_t n = 1;; n += n < 24 ? 1 : n / 3) {
			uintptr_t base = prepare(what, size);
			void *extra = NULL;
			enum loam_err err;

			take(&before, base, n_pages);
			env->fail_at(n);
			err = attempt(what, base, size, &extra);
			env->fail_at(0);
			if (env->settled != NULL)
				env->settled();
			/* collapse keeps what it has done before it fails: only bytes are compared */
			if (err != LOAM_OK && what != TRY_COLLAPSE) {
				assert_int_equal(err, LOAM_NOMEM);
				take(&after, base, n_pages);
				same(&before, &after);
			}
			for (unsigned i = 0; what == TRY_COLLAPSE && i < n_pages; i++) {
				uint64_t value;

				assert_true(env->read(base + i * LOAM_PAGE_SIZE, &value));
				assert_int_equal(value, i * LOAM_PAGE_SIZE | 1);
			}
			loam_sys_verify();
			if (extra != NULL)
				must(loam_sys_free((uintptr_t)extra, LOAM_HUGE_SIZE));
			if (what == TRY_FREE_MIDDLE && err == LOAM_OK) {
				must(loam_sys_free(base, 5 * LOAM_PAGE_SIZE));
				must(loam_sys_free(base + 6 * LOAM_PAGE_SIZE,
						   size - 6 * LOAM_PAGE_SIZE));
			} else {
				must(loam_sys_free(base, size));
			}
			if (err == LOAM_OK)
				break;
			assert_true(n < 100000);
		}
	}
}

/* ---- bad input ---- */

static unsigned rows;

static void row(const char *call, const char *input, enum loam_err want, enum loam_err got)
{
	if (got != want)
		fail_msg("%s, %s: %s, want %s", call, input, loam_err_name(got),
			 loam_err_name(want));
	if (getenv("SYS_TABLE") != NULL)
		fprintf(stderr, "| `%s` | %s | `%s` |\n", call, input, loam_err_name(want));
	rows++;
}

/* One row: the call has this result, and changes nothing, its out-parameters included. */
#define ROW(call, input, want, expression)                           \
	do {                                                         \
		take(&before, base, snap);                           \
		out = 4711;                                          \
		pointer = &out;                                      \
		zeroed = true;                                       \
		memset(&info, 0x5a, sizeof(info));                   \
		row(call, input, want, expression);                  \
		take(&after, base, snap);                            \
		same(&before, &after);                               \
		assert_int_equal(out, 4711);                         \
		assert_ptr_equal(pointer, &out);                     \
		assert_true(zeroed);                                 \
		assert_int_equal(((unsigned char *)&info)[0], 0x5a); \
	} while (0)

#define P ((size_t)LOAM_PAGE_SIZE)

unsigned sys_model_bad_input(const struct sys_env *e)
{
	static struct snapshot before, after;
	const unsigned snap = 96;
	struct loam_sys_info info;
	struct loam_sys_stats stats;
	uintptr_t base, out, resv, prep, ready, none;
	void *pointer;
	bool zeroed;

	env = e;
	rows = 0;
	/* 32 pages Reserved, 32 Prepared, 32 Ready, and behind them nothing */
	must(loam_sys_reserve(0, 96 * P, 0, &base));
	resv = base;
	prep = base + 32 * P;
	ready = base + 64 * P;
	none = base + 96 * P;
	must(loam_sys_map(prep, 64 * P, LOAM_OWNER_TEST));
	must(loam_sys_used(ready, 32 * P, NULL));
	assert_true(env->write(ready, 42));

	ROW("reserve", "size 0", LOAM_INVAL, loam_sys_reserve(0, 0, 0, &out));
	ROW("reserve", "size that wraps when rounded up", LOAM_INVAL,
	    loam_sys_reserve(0, SIZE_MAX, 0, &out));
	ROW("reserve", "alignment that is no power of two", LOAM_INVAL,
	    loam_sys_reserve(0, P, 3 * P, &out));
	ROW("reserve", "alignment below a page", LOAM_INVAL, loam_sys_reserve(0, P, 64, &out));
	ROW("reserve", "no place for the result", LOAM_INVAL, loam_sys_reserve(0, P, 0, NULL));
	ROW("reserve", "more than the window has", LOAM_NOVIRT,
	    loam_sys_reserve(0, SIZE_MAX / 2, 0, &out));
	ROW("reserve", "alignment that nothing in the window has", LOAM_NOVIRT,
	    loam_sys_reserve(0, P, (size_t)1 << 63, &out));

	ROW("map", "base not page-aligned", LOAM_INVAL, loam_sys_map(resv + 1, P, LOAM_OWNER_TEST));
	ROW("map", "size not page-aligned", LOAM_INVAL, loam_sys_map(resv, P + 1, LOAM_OWNER_TEST));
	ROW("map", "size 0", LOAM_INVAL, loam_sys_map(resv, 0, LOAM_OWNER_TEST));
	ROW("map", "range that wraps", LOAM_INVAL,
	    loam_sys_map(resv, SIZE_MAX - P + 1, LOAM_OWNER_TEST));
	ROW("map", "null pointer", LOAM_INVAL, loam_sys_map(0, P, LOAM_OWNER_TEST));
	ROW("map", "outside the window", LOAM_INVAL, loam_sys_map(P, P, LOAM_OWNER_TEST));
	ROW("map", "not reserved", LOAM_INVAL, loam_sys_map(none, P, LOAM_OWNER_TEST));
	ROW("map", "partly not reserved", LOAM_INVAL,
	    loam_sys_map(ready + 31 * P, 2 * P, LOAM_OWNER_TEST));
	ROW("map", "owner none", LOAM_INVAL, loam_sys_map(resv, P, LOAM_OWNER_NONE));
	ROW("map", "owner out of range", LOAM_INVAL, loam_sys_map(resv, P, LOAM_OWNER_COUNT));
	ROW("map", "Prepared already", LOAM_EXIST, loam_sys_map(prep, P, LOAM_OWNER_TEST));
	ROW("map", "Ready already", LOAM_EXIST, loam_sys_map(ready, P, LOAM_OWNER_TEST));
	ROW("map", "last page Prepared already", LOAM_EXIST,
	    loam_sys_map(resv, 33 * P, LOAM_OWNER_TEST));

	ROW("used", "base not page-aligned", LOAM_INVAL, loam_sys_used(prep + 8, P, &zeroed));
	ROW("used", "size not page-aligned", LOAM_INVAL, loam_sys_used(prep, 100, &zeroed));
	ROW("used", "size 0", LOAM_INVAL, loam_sys_used(prep, 0, &zeroed));
	ROW("used", "range that wraps", LOAM_INVAL, loam_sys_used(prep, SIZE_MAX - P + 1, &zeroed));
	ROW("used", "not reserved", LOAM_INVAL, loam_sys_used(none, P, &zeroed));
	ROW("used", "Reserved, not mapped", LOAM_INVAL, loam_sys_used(resv, P, &zeroed));
	ROW("used", "first page Reserved", LOAM_INVAL, loam_sys_used(prep - P, 2 * P, &zeroed));
	loam_sys_stats(&stats);
	loam_sys_set_limit(stats.state_bytes[LOAM_STATE_READY] + P);
	ROW("used", "more than `loam_sys_set_limit` allows", LOAM_LIMIT,
	    loam_sys_used(prep, 2 * P, &zeroed));
	ROW("alloc", "more than `loam_sys_set_limit` allows", LOAM_LIMIT,
	    loam_sys_alloc(2 * P, LOAM_OWNER_TEST, &pointer));
	loam_sys_set_limit(UINT64_MAX);

	ROW("unused", "base not page-aligned", LOAM_INVAL, loam_sys_unused(ready + 1, P));
	ROW("unused", "size 0", LOAM_INVAL, loam_sys_unused(ready, 0));
	ROW("unused", "range that wraps", LOAM_INVAL, loam_sys_unused(ready, SIZE_MAX - P + 1));
	ROW("unused", "not reserved", LOAM_INVAL, loam_sys_unused(none, P));
	ROW("unused", "Reserved, not mapped", LOAM_INVAL, loam_sys_unused(resv, P));
	ROW("unused", "runs past the reservation", LOAM_INVAL, loam_sys_unused(ready, 33 * P));

	ROW("fault", "base not page-aligned", LOAM_INVAL, loam_sys_fault(ready + 1, P));
	ROW("fault", "size 0", LOAM_INVAL, loam_sys_fault(ready, 0));
	ROW("fault", "not reserved", LOAM_INVAL, loam_sys_fault(none, P));
	ROW("fault", "runs past the reservation", LOAM_INVAL, loam_sys_fault(ready, 33 * P));

	ROW("free", "base not page-aligned", LOAM_INVAL, loam_sys_free(base + 1, P));
	ROW("free", "size not page-aligned", LOAM_INVAL, loam_sys_free(base, P - 1));
	ROW("free", "size 0", LOAM_INVAL, loam_sys_free(base, 0));
	ROW("free", "not reserved, or free already", LOAM_INVAL, loam_sys_free(none, P));
	ROW("free", "runs past the reservation", LOAM_INVAL, loam_sys_free(ready, 33 * P));
	ROW("free", "outside the window", LOAM_INVAL,
	    loam_sys_free((uintptr_t)&rows & ~(P - 1), P));

	ROW("alloc", "size 0", LOAM_INVAL, loam_sys_alloc(0, LOAM_OWNER_TEST, &pointer));
	ROW("alloc", "size that wraps when rounded up", LOAM_INVAL,
	    loam_sys_alloc(SIZE_MAX, LOAM_OWNER_TEST, &pointer));
	ROW("alloc", "owner none", LOAM_INVAL, loam_sys_alloc(P, LOAM_OWNER_NONE, &pointer));
	ROW("alloc", "no place for the result", LOAM_INVAL,
	    loam_sys_alloc(P, LOAM_OWNER_TEST, NULL));
	ROW("alloc", "more than the window has", LOAM_NOVIRT,
	    loam_sys_alloc(SIZE_MAX / 2, LOAM_OWNER_TEST, &pointer));

	ROW("hugepage", "base not page-aligned", LOAM_INVAL, loam_sys_hugepage(base + 1, P));
	ROW("hugepage", "size 0", LOAM_INVAL, loam_sys_hugepage(base, 0));
	ROW("hugepage", "not reserved", LOAM_INVAL, loam_sys_hugepage(none, P));
	ROW("nohugepage", "base not page-aligned", LOAM_INVAL, loam_sys_nohugepage(base + 1, P));
	ROW("nohugepage", "size 0, base not 0", LOAM_INVAL, loam_sys_nohugepage(base, 0));
	ROW("nohugepage", "not reserved", LOAM_INVAL, loam_sys_nohugepage(none, P));
	ROW("collapse", "base not page-aligned", LOAM_INVAL, loam_sys_collapse(base + 1, P));
	ROW("collapse", "size 0", LOAM_INVAL, loam_sys_collapse(base, 0));
	ROW("collapse", "not reserved", LOAM_INVAL, loam_sys_collapse(none, P));

	ROW("query", "not reserved", LOAM_NOENT, loam_sys_query(none, &info));
	ROW("query", "outside the window", LOAM_NOENT, loam_sys_query(16, &info));

	must(loam_sys_free(base, 96 * P));
	/* 2 MiB, of which one page is missing */
	must(loam_sys_reserve(0, LOAM_HUGE_SIZE, LOAM_HUGE_SIZE, &base));
	must(loam_sys_map(base, LOAM_HUGE_SIZE, LOAM_OWNER_TEST));
	must(loam_sys_used(base, LOAM_HUGE_SIZE - P, NULL));
	ROW("collapse", "a page of an aligned 2 MiB is not Ready", LOAM_BUSY,
	    loam_sys_collapse(base, LOAM_HUGE_SIZE));
	assert_int_not_equal(loam_sys_huge_sizes() & LOAM_HUGE_SIZE, 0);
	must(loam_sys_nohugepage(0, 0));
	assert_int_equal(loam_sys_huge_sizes(), 0);
	ROW("hugepage", "huge pages are off", LOAM_NOTSUP, loam_sys_hugepage(base, LOAM_HUGE_SIZE));
	ROW("collapse", "huge pages are off", LOAM_NOTSUP, loam_sys_collapse(base, LOAM_HUGE_SIZE));
	must(loam_sys_free(base, LOAM_HUGE_SIZE));
	return rows;
}
