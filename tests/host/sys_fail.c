/* SPDX-License-Identifier: MIT */
/* The ten calls when they must fail: for want of memory, and on bad input. Theory: sys_model.h. */
#include "tests/host/sys_model.h"

#include "mm/sys.h"

static const struct sys_env *env;

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
	TRY_MOVE_PARTS,	     /* of two huge leaves */
	TRY_MOVE_MISALIGNED, /* a whole one */
	ATTEMPTS,
};

static void must(enum loam_err err)
{
	assert_int_equal(err, LOAM_OK);
}

static bool moves(enum attempt what)
{
	return what == TRY_MOVE_PARTS || what == TRY_MOVE_MISALIGNED;
}

/* The state that the attempt starts from: 4 MiB and a bit, aligned. */
static uintptr_t prepare(enum attempt what, size_t size)
{
	uintptr_t base;

	must(loam_sys_reserve(0, size, LOAM_HUGE_SIZE, &base));
	if (what == TRY_MAP || what == TRY_HUGEPAGE || what == TRY_FREE_MIDDLE)
		return base;
	must(loam_sys_map(base, size, LOAM_OWNER_TEST));
	if (what == TRY_USED_HUGE || what == TRY_UNUSED_PART_OF_HUGE || moves(what))
		must(loam_sys_hugepage(base, size));
	if (what == TRY_USED_PARTLY_READY)
		must(loam_sys_used(base + 16 * LOAM_PAGE_SIZE, 16 * LOAM_PAGE_SIZE, NULL));
	if (what == TRY_UNUSED_PART_OF_HUGE || what == TRY_FAULT_PART || what == TRY_COLLAPSE) {
		must(loam_sys_used(base, size, NULL));
		for (size_t at = 0; at < size; at += LOAM_PAGE_SIZE)
			assert_true(env->write(base + at, at | 1));
	}
	if (moves(what)) {
		size_t ready = what == TRY_MOVE_PARTS ? 2 * LOAM_HUGE_SIZE : LOAM_HUGE_SIZE;

		must(loam_sys_used(base, ready, NULL));
		for (size_t at = 0; at < ready; at += LOAM_PAGE_SIZE)
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
	case TRY_MOVE_PARTS:
		return loam_sys_move(base + LOAM_HUGE_SIZE - 4 * LOAM_PAGE_SIZE,
				     base + 2 * LOAM_HUGE_SIZE, 8 * LOAM_PAGE_SIZE);
	case TRY_MOVE_MISALIGNED:
		return loam_sys_move(base, base + LOAM_HUGE_SIZE + LOAM_PAGE_SIZE, LOAM_HUGE_SIZE);
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
	uintptr_t base, out, resv, prep, ready, none, other;
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

	ROW("move", "source not page-aligned", LOAM_INVAL, loam_sys_move(ready + 1, prep, P));
	ROW("move", "target not page-aligned", LOAM_INVAL, loam_sys_move(ready, prep + 1, P));
	ROW("move", "size not page-aligned", LOAM_INVAL, loam_sys_move(ready, prep, P + 1));
	ROW("move", "size 0", LOAM_INVAL, loam_sys_move(ready, prep, 0));
	ROW("move", "range that wraps", LOAM_INVAL, loam_sys_move(ready, prep, SIZE_MAX - P + 1));
	ROW("move", "source not reserved", LOAM_INVAL, loam_sys_move(none, prep, P));
	ROW("move", "target not reserved", LOAM_INVAL, loam_sys_move(ready, none, P));
	ROW("move", "source runs past the reservation", LOAM_INVAL,
	    loam_sys_move(ready + 31 * P, prep, 2 * P));
	ROW("move", "source partly Prepared", LOAM_INVAL, loam_sys_move(ready - P, prep, 2 * P));
	ROW("move", "target Reserved", LOAM_INVAL, loam_sys_move(ready, resv, P));
	ROW("move", "first page of the target Reserved", LOAM_INVAL,
	    loam_sys_move(ready, prep - P, 2 * P));
	ROW("move", "target Ready", LOAM_INVAL, loam_sys_move(ready, ready + P, P));
	ROW("move", "last page of the target Ready", LOAM_INVAL,
	    loam_sys_move(ready + 8 * P, ready - P, 2 * P));
	ROW("move", "to itself", LOAM_INVAL, loam_sys_move(ready, ready, P));
	ROW("move", "ranges that overlap", LOAM_INVAL, loam_sys_move(ready, ready - P, 32 * P));
	/* behind them a page each: Ready, Ready of another owner, Prepared, Prepared of the other */
	must(loam_sys_reserve(none, 4 * P, 0, &other));
	must(loam_sys_map(other, P, LOAM_OWNER_TEST));
	must(loam_sys_map(other + P, P, LOAM_OWNER_HEAP));
	must(loam_sys_map(other + 2 * P, P, LOAM_OWNER_TEST));
	must(loam_sys_map(other + 3 * P, P, LOAM_OWNER_HEAP));
	must(loam_sys_used(other, 2 * P, NULL));
	ROW("move", "target of another owner", LOAM_INVAL, loam_sys_move(ready, other + 3 * P, P));
	ROW("move", "last page of the source of another owner", LOAM_INVAL,
	    loam_sys_move(other, prep, 2 * P));
	ROW("move", "last page of the target of another owner", LOAM_INVAL,
	    loam_sys_move(ready, other + 2 * P, 2 * P));
	must(loam_sys_free(other, 4 * P));

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
