/* SPDX-License-Identifier: MIT */
/*
 * The operations.
 *
 * Objects are picked by walking from the roots, so what an operation touches is reachable without a
 * walk over everything. NULL is a failure unless memory may be out: inside a window (op_window) in
 * which the n-th request to the system or a limit fails, or all along in a soak.
 */
#include "tests/fuzz/ops.h"

#include "tests/fuzz/input.h"
#include "tests/fuzz/shadow.h"
#include "tests/host/heap_setup.h"

/*
 * Objects that stale words of the stack may keep, with what hangs on them: so many that nothing known points to.
 * One word can keep a whole dead graph, and pointers in it be forgotten with records thrown away: hence more if
 * more is kept.
 */
#define STRAY_MAX(kept) (24 + (kept) / 32)

#define DECOY_MAX 4 /* of them, beyond as many that did go */
#define ABSURD	  ((size_t)1 << 47)

/* ---- objects ---- */

static void check_zero(const unsigned char *p, size_t from, size_t to)
{
	static const unsigned char zero[4096];

	for (size_t i = from, n; i < to; i += n) {
		n = to - i < sizeof(zero) ? to - i : sizeof(zero);
		REQUIRE(memcmp(p + i, zero, n) == 0,
			"byte %zu of the %zu at %p is not zero or one near it", i, to,
			(const void *)p);
	}
}

static bool may_be_null(void)
{
	return run.soak || run.window > 0;
}

static void took_null(size_t size)
{
	REQUIRE(may_be_null(), "no memory for %zu bytes, with %zu live", size, graph.live_bytes);
	run.nulls++;
}

/* An object, looked over, with its record; -1: none. Not reachable yet: the next thing that the caller does
 * is to store it somewhere. */
static int make(const struct order *o)
{
	uint32_t words[SHADOW_LINKS];
	unsigned char *p;
	unsigned count;

	if (o->size == 0) {
		REQUIRE(loam_free(order_call(o)) == LOAM_OK,
			"an object of no bytes cannot be freed");
		return -1;
	}
	p = order_call(o);
	if (p == NULL) {
		took_null(o->size);
		return -1;
	}
	run.made++;
	REQUIRE(loam_is_aligned((uintptr_t)p, o->align > 16 ? o->align : 16),
		"%p (%zu bytes) is not aligned to %zu", (void *)p, o->size, o->align);
	REQUIRE(loam_object_base(p) == p && loam_object_base(p + o->size - 1) == p &&
			loam_object_size(p) >= o->size,
		"%p (%zu bytes): base %p, size %zu", (void *)p, o->size, loam_object_base(p),
		loam_object_size(p));
	if (order_is_zeroed(o))
		check_zero(p, 0, o->size);
	count = order_links(o, words);
	return shadow_add(p, o, words, count);
}

/* Is there room for another object? If not, something is dropped. */
static bool room_for(size_t size)
{
	struct shadow_ref ref = {-1, (unsigned)(run.ops % SHADOW_ROOTS)};

	if (shadow_has_room() && graph.live_bytes + size <= run.cap)
		return true;
	shadow_settle();
	if (shadow_has_room() && graph.live_bytes + size <= run.cap)
		return true;
	for (unsigned n = 0; n < 4; n++) {
		shadow_store(ref, -1, 0);
		ref.slot = (ref.slot + 17) % SHADOW_ROOTS;
	}
	return false;
}

static unsigned some_root(unsigned b)
{
	return b % (graph.extra ? SHADOW_ROOTS : SHADOW_EXTRA);
}

static size_t offset_in(int i, unsigned how)
{
	const struct shadow *s = &graph.at[i];

	if (how < 128)
		return 0;
	return how < 160 ? s->asked - 1 : (how * 40503u) % s->asked;
}

/* An address as a number where the collector must not look. */
static void set_decoy(int from, int to, unsigned b)
{
	const struct shadow *s = &graph.at[from];
	size_t words = s->asked / 8, word = words == 0 ? 0 : b % words;

	if (words == 0 || (s->type != NULL && order_is_pointer(s->type, word)))
		return;
	shadow_decoy(from, UINT32_MAX, 0);
	shadow_decoy(from, (uint32_t)word, (uintptr_t)shadow_address(to));
}

void op_alloc(void)
{
	struct order o = order_take(run.profile);
	unsigned where = input_byte();
	struct shadow_ref ref;
	int i, from, old;

	if (!room_for(o.size) || (i = make(&o)) < 0)
		return;
	if (!order_is_scanned(o.kind) && (from = shadow_pick(where * 257, &ref)) >= 0)
		set_decoy(i, from, where);
	/* a root takes it, or a link of another object */
	if ((where & 192) == 0 && (from = shadow_pick(input_two(), &ref)) >= 0 &&
	    graph.at[from].link_count > 0)
		ref = (struct shadow_ref){from, where % graph.at[from].link_count};
	else
		ref = (struct shadow_ref){-1, some_root(where)};
	/* what was there is garbage now, perhaps; a hoarder hangs it on the new one */
	old = run.hoard ? shadow_target(ref) : -1;
	if (old >= 0 && graph.at[i].link_count == 0)
		return; /* or lets go of that */
	if (old >= 0)
		shadow_store((struct shadow_ref){i, 0}, old, 0);
	shadow_store(ref, i, offset_in(i, where * 7 & 255));
}

void op_free(void)
{
	unsigned where = input_two(), again = input_byte();
	struct shadow_ref ref;
	int i = shadow_pick(where, &ref), next;
	unsigned char *p;
	enum loam_err err;

	if (i < 0 || (run.hoard && again < 128))
		return;
	p = shadow_address(i);
	shadow_check(i, p, graph.at[i].asked);
	next = shadow_next(i);
	shadow_unlink_all(i, ref, false);
	if (run.hoard && next >= 0 && ref.from != i)
		shadow_store(ref, next, 0);
	err = loam_free(p);
	REQUIRE(err == LOAM_OK, "free of %p: %s", (void *)p, loam_err_name(err));
	run.freed++;
	if (again % 4 == 0) {
		err = loam_free(p + (again % 64 == 0 ? graph.at[i].asked - 1 : 0));
		REQUIRE(err == LOAM_NOENT || err == LOAM_INVAL, "second free of %p: %s", (void *)p,
			loam_err_name(err));
		REQUIRE(loam_object_base(p) == NULL && loam_object_size(p) == 0, "%p was freed",
			(void *)p);
	}
	shadow_remove(i);
}

/* Freed, while pointers to it stay behind: they point to no object, or to the next one there. */
void op_free_stale(void)
{
	struct shadow_ref ref;
	int i = shadow_pick(input_two(), &ref);
	unsigned char *p;

	if (i < 0 || !run.stale)
		return;
	p = shadow_address(i);
	shadow_unlink_all(i, ref, true);
	REQUIRE(loam_free(p) == LOAM_OK, "free of %p", (void *)p);
	run.freed++;
	shadow_remove(i);
}

static void refer(struct shadow_ref ref, int to)
{
	unsigned offset = input_byte();

	if (!run.hoard || shadow_target(ref) < 0)
		shadow_store(ref, to, offset_in(to, offset));
}

void op_link(void)
{
	struct shadow_ref ref;
	int from = shadow_pick(input_two(), &ref), to = shadow_pick(input_two(), &ref);
	unsigned b = input_byte();

	if (from < 0)
		return;
	if (!order_is_scanned(graph.at[from].kind) || (graph.at[from].type != NULL && b >= 128))
		set_decoy(from, to, b);
	else if (graph.at[from].link_count > 0)
		refer((struct shadow_ref){from, b % graph.at[from].link_count}, to);
}

void op_unlink(void)
{
	struct shadow_ref ref;
	int from = shadow_pick(input_two(), &ref);
	unsigned b = input_byte();

	if (from >= 0 && graph.at[from].link_count > 0 && (!run.hoard || b < 16))
		shadow_store((struct shadow_ref){from, b % graph.at[from].link_count}, -1, 0);
}

void op_root(void)
{
	struct shadow_ref ref;
	int i = shadow_pick(input_two(), &ref);
	unsigned b = input_byte();

	if (i >= 0)
		refer((struct shadow_ref){-1, some_root(b)}, i);
}

void op_drop(void)
{
	unsigned b = input_byte();

	if (run.hoard && b < 64)
		shadow_pop(b % SHADOW_ROOTS);
	else if (!run.hoard || b > 250)
		shadow_store((struct shadow_ref){-1, b % SHADOW_ROOTS}, -1, 0);
}

/* ---- realloc ---- */

static void resize(int i, struct shadow_ref ref, size_t size)
{
	size_t old = graph.at[i].asked, keep = size < old ? size : old;
	unsigned char *p = shadow_address(i), *q;

	/* a typed block that moves is scanned by words from then on: numbers become pointers */
	if (graph.at[i].kind == KIND_TYPED)
		shadow_decoy(i, UINT32_MAX, 0);
	q = loam_realloc(p, size);
	if (q == NULL) {
		took_null(size);
		shadow_check(i, p, old);
		return;
	}
	shadow_check(i, q, keep);
	check_zero(q, keep, size);
	if (q != p) {
		run.made++;
		run.freed++;
		/* scanned by words from now on */
		if (graph.at[i].kind == KIND_TYPED || graph.at[i].kind == KIND_ALIGNED)
			graph.at[i].kind = KIND_SCANNED;
		graph.at[i].type = NULL;
	}
	REQUIRE(loam_object_base(q) == q && loam_object_size(q) >= size,
		"realloc of %p to %zu bytes: %p, base %p, size %zu", (void *)p, size, (void *)q,
		loam_object_base(q), loam_object_size(q));
	shadow_moved(i, q, size, ref);
}

void op_realloc(void)
{
	unsigned where = input_two(), how = input_byte();
	struct shadow_ref ref;
	int i = shadow_pick(where, &ref);
	size_t size = how < 64	  ? order_size(run.profile)
		      : i < 0	  ? how
		      : how < 128 ? graph.at[i].asked + how - 64
		      : how < 192 ? graph.at[i].asked * (how % 8 + 1) / 4
				  : graph.at[i].usable + how % 3 - 1;

	if (i < 0 || size == 0 || (size > graph.at[i].asked && !room_for(size)) ||
	    graph.at[i].state != SHADOW_LIVE)
		return;
	/* room_for may have dropped it */
	if (shadow_pick(where, &ref) == i)
		resize(i, ref, size);
}

/* ---- wrong ones ---- */

static unsigned char foreign[64];

/* An address that is the start of no object. */
static void *wrong_address(unsigned how)
{
	struct shadow_ref ref;
	int i = shadow_pick(input_two(), &ref);
	const struct shadow *s = i >= 0 ? &graph.at[i] : NULL;
	unsigned char *p;

	switch (how % 8) {
	case 0:
		return foreign + how / 8;
	case 1:
		return (void *)(uintptr_t)(how / 8 + 1);
	case 2:
		return (void *)((uintptr_t)1 << 63 | how);
	case 3:
		return (void *)(uintptr_t)&wrong_address;
	default:
		break;
	}
	if (s == NULL)
		return foreign;
	p = shadow_address(i);
	switch (how % 8) {
	case 4:
		return p + 1 + how / 8 % s->usable;
	case 5:
		return p + s->usable;
	case 6:
		return p + s->usable + 8192 * (how / 8);
	default:
		return p - 1 - how / 8;
	}
}

void op_bad_free(void)
{
	unsigned char *p = wrong_address(input_byte());
	enum loam_err err;

	if (loam_object_base(p) == p)
		return; /* a neighbour: a right one */
	err = loam_free(p);
	REQUIRE(err == LOAM_INVAL || err == LOAM_NOENT, "free of %p: %s", (void *)p,
		loam_err_name(err));
}

void op_bad_realloc(void)
{
	unsigned char *p = wrong_address(input_byte());
	size_t size = order_size(run.profile);

	if (loam_object_base(p) == p)
		return;
	REQUIRE(loam_realloc(p, size) == NULL, "realloc of %p gave memory", (void *)p);
}

void op_bad_argument(void)
{
	static const uint64_t bits[] = {7};
	static const struct loam_type pair = {.size = 16, .ptr_words = 1, .ptr_bits = bits};
	static const struct loam_type crooked = {.size = 12, .ptr_words = 1, .ptr_bits = bits},
				      too_many = {.size = 16, .ptr_words = 3, .ptr_bits = bits};
	unsigned b = input_byte();
	struct shadow_ref ref;
	int i;

	REQUIRE(loam_alloc_aligned(b, 3 + 3 * (size_t)b) == NULL, "alignment of %u", 3 + 3 * b);
	REQUIRE(loam_alloc_aligned(b, 2 * LOAM_ALIGN_MAX << b % 30) == NULL,
		"alignment past the most");
	REQUIRE(loam_alloc_type(&crooked, 1 + b) == NULL, "a type of 12 bytes");
	REQUIRE(loam_alloc_type(&too_many, 1 + b) == NULL, "more pointers than words");
	REQUIRE(loam_alloc_type(&pair, SIZE_MAX / 8 - b) == NULL, "sizes wrap");
	REQUIRE(loam_alloc(SIZE_MAX - b) == NULL && loam_alloc_noscan(ABSURD + b) == NULL &&
			loam_alloc_aligned(SIZE_MAX - b, 64) == NULL,
		"absurd sizes");
	REQUIRE(loam_free(NULL) == LOAM_OK, "free of NULL");
	REQUIRE(loam_object_base(NULL) == NULL && loam_object_size(NULL) == 0, "NULL is no object");
	i = shadow_pick(b, &ref);
	if (i < 0)
		return;
	REQUIRE(loam_realloc(shadow_address(i), SIZE_MAX - b) == NULL, "an absurd realloc");
	shadow_check(i, shadow_address(i), graph.at[i].asked);
}

/* ---- looking ---- */

void op_verify(void)
{
	struct shadow_ref ref;
	int i = shadow_pick(input_two(), &ref);

	if (i >= 0)
		shadow_check(i, shadow_address(i), graph.at[i].asked);
}

void op_query(void)
{
	unsigned how = input_byte();
	unsigned char *p = wrong_address(how), *base = loam_object_base(p);
	size_t size = loam_object_size(p);
	struct shadow_ref ref;
	int i;

	REQUIRE((base == NULL) == (size == 0), "%p: base %p, size %zu", (void *)p, (void *)base,
		size);
	REQUIRE(base == NULL || (base <= p && p < base + size), "%p: base %p, size %zu", (void *)p,
		(void *)base, size);
	REQUIRE(how % 8 > 3 || base == NULL, "%p is not of the heap", (void *)p);
	i = shadow_pick(input_two(), &ref);
	if (i < 0)
		return;
	p = shadow_address(i);
	base = p + (how * 40503u) % graph.at[i].usable;
	REQUIRE(loam_object_base(base) == p && loam_object_size(base) == graph.at[i].usable,
		"%p is in %p (%zu bytes): base %p, size %zu", (void *)base, (void *)p,
		graph.at[i].usable, loam_object_base(base), loam_object_size(base));
}

/* [HEAP-1] to [HEAP-3], and what we know better. */
static void check_stats(void)
{
	struct loam_stats s;

	loam_stats_read(&s);
	REQUIRE(s.heap_sys == s.heap_inuse + s.heap_idle, "[HEAP-1]");
	REQUIRE(s.heap_idle >= s.heap_released, "[HEAP-2]");
	REQUIRE(s.heap_objects == s.mallocs - s.frees, "[HEAP-3]");
	REQUIRE(s.alloc <= s.total_alloc && s.alloc <= s.heap_inuse,
		"alloc %llu of %llu, %llu in spans", (unsigned long long)s.alloc,
		(unsigned long long)s.total_alloc, (unsigned long long)s.heap_inuse);
	REQUIRE(s.num_gc >= s.num_forced_gc, "collections");
	shadow_settle();
	REQUIRE(s.alloc >= graph.live_bytes && s.heap_objects >= (uint64_t)graph.live,
		"%llu bytes in %llu objects, but %zu in %d are reachable",
		(unsigned long long)s.alloc, (unsigned long long)s.heap_objects, graph.live_bytes,
		graph.live);
	REQUIRE(run.had_window || s.mallocs == run.made, "%llu objects were made, %llu counted",
		(unsigned long long)run.made, (unsigned long long)s.mallocs);
	REQUIRE(s.frees >= run.freed, "%llu objects were freed, %llu counted",
		(unsigned long long)run.freed, (unsigned long long)s.frees);
}

void op_heap_verify(void)
{
	loam_heap_verify();
	check_stats();
}

/* ---- the collector ---- */

/* After loam_gc: what is reachable is intact, and what is not is gone, but for what stale words keep. */
static void take_census(void)
{
	struct shadow_census census = shadow_census();
	struct loam_stats s;
	uint64_t unknown;

	loam_stats_read(&s);
	REQUIRE(s.heap_objects >= (uint64_t)(census.live + census.kept),
		"%llu objects, but %d reachable and %d kept", (unsigned long long)s.heap_objects,
		census.live, census.kept);
	REQUIRE(s.heap_marked >= graph.live_bytes, "%llu bytes marked, %zu reachable",
		(unsigned long long)s.heap_marked, graph.live_bytes);
	/* objects without a record: kept before, when their records were thrown away, or now */
	unknown = s.heap_objects - (uint64_t)(census.live + census.kept);
	if (graph.stale == 0) {
		REQUIRE(census.unexplained <= STRAY_MAX(census.kept),
			"%d unreachable objects are left, %d of them pointed to by none",
			census.kept, census.unexplained);
		REQUIRE(census.decoys_kept <= census.decoys_gone + DECOY_MAX,
			"%d unreachable objects are left whose addresses are numbers somewhere",
			census.decoys_kept);
		REQUIRE(graph.forgot || run.had_window || unknown <= run.unknown,
			"%llu objects are left that nobody has", (unsigned long long)unknown);
	}
	run.unknown = graph.stale > 0 || run.had_window ? UINT64_MAX : unknown;
	graph.forgot = false;
}

void collect_and_count(void)
{
	clear_stack();
	loam_gc();
	take_census();
	check_stats();
}

/* Random programs would do little else, so it is rarer than a byte's value can say. */
void op_gc(void)
{
	if (input_byte() < 96)
		collect_and_count();
}

void op_gc_work(void)
{
	loam_gc_work((uint64_t)input_byte() * 64);
}

void op_percent(void)
{
	static const int percent[] = {-1, 0, 5, 50, 100, 100, 400, 100000};

	REQUIRE(loam_gc_set_percent(percent[input_byte() % 8]) == LOAM_OK, "set_percent");
	REQUIRE(loam_gc_set_percent(100001) == LOAM_INVAL, "set_percent takes anything");
}

void op_limit(void)
{
	unsigned b = input_byte();

	if (run.soak)
		return;
	REQUIRE(loam_gc_set_limit(b < 128 ? UINT64_MAX : (uint64_t)(b - 127) << 18) == LOAM_OK,
		"set_limit");
	REQUIRE(loam_gc_set_limit(0) == LOAM_INVAL, "set_limit takes 0");
}

/* For some operations there is no memory, or little. */
void op_window(void)
{
	unsigned how = input_byte(), length = input_byte() % 64 + 1;
	struct loam_sys_stats sys;

	if (run.profile == PROFILE_SMALL || run.soak)
		return;
	run.window = length;
	run.had_window = true;
	if (how < 128) {
		loam_host_fail_at(how % 32 + 1);
	} else {
		loam_sys_stats(&sys);
		loam_sys_set_limit(sys.state_bytes[LOAM_STATE_READY] +
				   (uint64_t)(how - 128) * 4096);
	}
}

void close_window(void)
{
	loam_host_fail_at(0);
	loam_sys_set_limit(UINT64_MAX);
	run.window = 0;
}

void op_extra_roots(void)
{
	void **lo = graph.slot + SHADOW_EXTRA, **hi = graph.slot + SHADOW_ROOTS;

	if (run.hoard && graph.extra && input_byte() >= 16)
		return;
	REQUIRE(loam_root_add(lo + 1, lo + 1) == LOAM_INVAL, "an empty range of roots");
	REQUIRE(loam_root_add(graph.slot + 3, hi) == LOAM_EXIST, "roots twice");
	REQUIRE(loam_root_remove(lo + 1, hi) == LOAM_NOENT, "roots that are not there");
	if (graph.extra) {
		for (unsigned r = SHADOW_EXTRA; r < SHADOW_ROOTS; r++) {
			void *was = graph.slot[r];

			shadow_store((struct shadow_ref){-1, r}, -1, 0);
			graph.slot[r] = was; /* nobody looks there any more */
		}
		REQUIRE(loam_root_remove(lo, hi) == LOAM_OK, "root_remove");
	} else {
		memset(lo, 0, (SHADOW_ROOTS - SHADOW_EXTRA) * sizeof(*lo));
		REQUIRE(loam_root_add(lo, hi) == LOAM_OK, "root_add");
	}
	graph.extra = !graph.extra;
}

/* A pointer on the stack alone, into the object, keeps it through a collection. */
void op_stack_hold(void)
{
	struct order o = {.kind = KIND_SCANNED, .align = 1, .size = order_size(run.profile)};
	unsigned char *volatile inside;
	int i;

	o.kind = o.size % 2 != 0 ? KIND_NOSCAN : KIND_SCANNED;
	if (input_byte() >= 96 || !room_for(o.size) || (i = make(&o)) < 0)
		return;
	inside = shadow_address(i) + o.size * 5 / 8;
	loam_gc();
	REQUIRE(loam_object_base(inside) == shadow_address(i), "%p was held by the stack",
		(void *)inside);
	shadow_check(i, shadow_address(i), o.size);
	shadow_store((struct shadow_ref){-1, some_root(input_byte())}, i, o.size * 5 / 8);
	take_census();
}

void op_reattach(void)
{
	struct loam_thread *thread = loam_host_thread();

	REQUIRE(loam_thread_attach(thread, run.stack_base) == LOAM_EXIST, "attached twice");
	REQUIRE(loam_thread_detach(thread) == LOAM_OK, "detach");
	REQUIRE(loam_thread_detach(thread) == LOAM_NOENT, "detached twice");
	REQUIRE(loam_thread_attach(thread, run.stack_base) == LOAM_OK, "attach");
	loam_gc_safepoint();
}
