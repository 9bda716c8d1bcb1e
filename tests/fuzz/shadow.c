/* SPDX-License-Identifier: MIT */
/* The shadow graph. Theory: shadow.h. */
#include "tests/fuzz/shadow.h"

#define BUCKETS 4096u
#define NOTHING UINT32_MAX
#define WHOLE	512u /* words up to which an object is filled and checked whole */

struct shadow_graph graph;
static int32_t bucket[BUCKETS];
static int32_t spare;
static uint32_t last_tag;

void shadow_reset(int limit)
{
	memset(&graph, 0, sizeof(graph));
	graph.limit = limit;
	memset(bucket, 0xff, sizeof(bucket));
	spare = -1;
	for (int i = limit - 1; i >= 0; i--) {
		graph.at[i].next = spare;
		spare = i;
	}
	for (unsigned r = 0; r < SHADOW_ROOTS; r++)
		graph.root[r] = (struct shadow_link){.to = -1, .stale = ~(uintptr_t)0};
	last_tag = 0;
}

/* ---- records by address ---- */

static int32_t *bucket_of(uintptr_t hidden)
{
	return &bucket[((hidden >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 52];
}

int shadow_find(const void *p)
{
	uintptr_t hidden = ~(uintptr_t)p;
	int i = *bucket_of(hidden);

	while (i >= 0 && graph.at[i].hidden != hidden)
		i = graph.at[i].next;
	return i;
}

static void take_out(int i)
{
	int32_t *at = bucket_of(graph.at[i].hidden);

	while (*at != i)
		at = &graph.at[*at].next;
	*at = graph.at[i].next;
}

static void put_in(int i)
{
	int32_t *at = bucket_of(graph.at[i].hidden);

	graph.at[i].next = *at;
	*at = i;
}

/* ---- contents ---- */

static uint64_t pattern(uint32_t tag, size_t word)
{
	return (((uint64_t)tag << 32 | tag) ^ (word * UINT64_C(0x9e3779b97f4a7c15))) |
	       UINT64_C(1) << 63;
}

static uint64_t link_value(const struct shadow_link *l)
{
	return l->to >= 0 ? (uint64_t)(uintptr_t)shadow_address(l->to) + l->offset : ~l->stale;
}

/* Of the dead we know what their pointers were; where those lead may have moved or gone since. */
static uint64_t value_in(const struct shadow *s, unsigned k)
{
	return s->state == SHADOW_DEAD ? ~s->link[k].stale : link_value(&s->link[k]);
}

/* What stands in the word. */
static uint64_t expected(const struct shadow *s, size_t word)
{
	for (unsigned k = 0; k < s->link_count; k++) {
		if (s->link[k].word == word)
			return value_in(s, k);
	}
	return word == s->decoy_word ? ~s->decoy : pattern(s->tag, word);
}

/* The next stripe of `words` words from *at on: [*at, end); false behind the last. */
static bool stripe(size_t words, size_t *at, size_t *end)
{
	if (*at >= words)
		return false;
	if (words <= WHOLE) {
		*end = words;
	} else if (*at + 32 >= words) {
		*at = words - 32 > *at ? words - 32 : *at;
		*end = words;
	} else {
		*end = *at == 0 ? 128 : *at + 8;
		*end = *end < words ? *end : words;
	}
	return true;
}

static size_t next_stripe(size_t words, size_t end)
{
	size_t at = (end + 511) / 512 * 512;

	/* the last one ends with the object, whatever its size is */
	return end < words && at + 32 > words ? (words - 32 > end ? words - 32 : end) : at;
}

void shadow_fill(int i)
{
	const struct shadow *s = &graph.at[i];
	uint64_t *p = (uint64_t *)(void *)shadow_address(i), last;
	size_t words = s->asked / 8;

	for (size_t at = 0, end; stripe(words, &at, &end); at = next_stripe(words, end)) {
		for (size_t w = at; w < end; w++)
			p[w] = pattern(s->tag, w);
	}
	for (unsigned k = 0; k < s->link_count; k++)
		p[s->link[k].word] = link_value(&s->link[k]);
	if (s->decoy_word != NOTHING)
		p[s->decoy_word] = ~s->decoy;
	last = pattern(s->tag, words);
	memcpy(p + words, &last, s->asked % 8);
}

void shadow_check(int i, const void *q, size_t bytes)
{
	const struct shadow *s = &graph.at[i];
	const uint64_t *p = q;
	size_t words = s->asked / 8;
	uint64_t last = pattern(s->tag, words);

	for (size_t at = 0, end; stripe(words, &at, &end); at = next_stripe(words, end)) {
		for (size_t w = at; w < end && w < bytes / 8; w++)
			REQUIRE(p[w] == pattern(s->tag, w) || p[w] == expected(s, w),
				"word %zu of %p (%zu bytes, kind %d) is %#llx, not %#llx", w, q,
				s->asked, s->kind, (unsigned long long)p[w],
				(unsigned long long)expected(s, w));
	}
	for (unsigned k = 0; k < s->link_count; k++)
		REQUIRE(s->link[k].word >= bytes / 8 || p[s->link[k].word] == value_in(s, k),
			"the pointer in word %u of %p is lost", s->link[k].word, q);
	REQUIRE(s->decoy_word == NOTHING || s->decoy_word >= bytes / 8 ||
			p[s->decoy_word] == ~s->decoy,
		"the number in word %u of %p is lost", s->decoy_word, q);
	if (bytes >= s->asked)
		REQUIRE(memcmp(p + words, &last, s->asked % 8) == 0,
			"the last bytes of %p (%zu bytes) are lost", q, s->asked);
}

/* ---- life and death ---- */

static void free_record(int i)
{
	struct shadow *s = &graph.at[i];

	graph.live -= s->state == SHADOW_LIVE;
	graph.dead -= s->state == SHADOW_DEAD;
	graph.live_bytes -= s->state == SHADOW_LIVE ? s->usable : 0;
	take_out(i);
	s->state = SHADOW_FREE;
	s->tag = 0;
	s->next = spare;
	spare = i;
}

static void uncount(const struct shadow_link *l)
{
	if (l->to >= 0)
		graph.at[l->to].refs--;
	else if (l->stale != ~(uintptr_t)0)
		graph.stale--;
}

/* Links out of a record that is LIVE no more count no more. They stay, for the census. */
static void drop_links(struct shadow *s)
{
	for (unsigned k = 0; k < s->link_count; k++) {
		uncount(&s->link[k]);
		s->link[k].stale = ~(uintptr_t)link_value(&s->link[k]);
	}
}

static void forget_dead(void)
{
	for (int i = 0; i < graph.limit; i++) {
		if (graph.at[i].state == SHADOW_DEAD)
			free_record(i);
	}
	graph.forgot = true;
}

bool shadow_has_room(void)
{
	if (spare < 0)
		shadow_settle();
	if (spare < 0 && graph.dead > 0)
		forget_dead();
	return spare >= 0;
}

/* Nobody may have the address any more: a record there must be of an object that is garbage. */
static void claim(const void *p)
{
	int i = shadow_find(p);

	if (i >= 0 && graph.at[i].state == SHADOW_LIVE)
		shadow_settle();
	REQUIRE(i < 0 || graph.at[i].state == SHADOW_DEAD, "%p was handed out and is in use", p);
	if (i >= 0)
		free_record(i);
}

int shadow_add(void *p, const struct order *o, const uint32_t *words, unsigned count)
{
	struct shadow *s;
	int i;

	claim(p);
	i = spare;
	REQUIRE(i >= 0, "the shadow is full: ask shadow_has_room");
	s = &graph.at[i];
	spare = s->next;
	*s = (struct shadow){.hidden = ~(uintptr_t)p,
			     .asked = o->size,
			     .type = o->type,
			     .usable = loam_object_size(p),
			     .tag = ++last_tag,
			     .state = SHADOW_LIVE,
			     .kind = (uint8_t)o->kind,
			     .decoy_word = NOTHING,
			     .link_count = count};
	for (unsigned k = 0; k < count; k++)
		s->link[k] =
			(struct shadow_link){.word = words[k], .to = -1, .stale = ~(uintptr_t)0};
	put_in(i);
	graph.live++;
	graph.live_bytes += s->usable;
	shadow_fill(i);
	return i;
}

void shadow_decoy(int i, uint32_t word, uintptr_t value)
{
	struct shadow *s = &graph.at[i];
	uint64_t *p = (uint64_t *)(void *)shadow_address(i);

	if (s->decoy_word != NOTHING)
		p[s->decoy_word] = pattern(s->tag, s->decoy_word);
	s->decoy_word = word;
	s->decoy = ~value;
	if (word != NOTHING)
		p[word] = value;
}

void shadow_remove(int i)
{
	REQUIRE(graph.at[i].refs == 0, "the shadow removes what is referred to");
	drop_links(&graph.at[i]);
	free_record(i);
}

void shadow_settle(void)
{
	static int stack[SHADOW_MAX];
	int n = 0;

	for (int i = 0; i < graph.limit; i++)
		graph.at[i].reached = false;
	for (unsigned r = 0; r < SHADOW_ROOTS; r++) {
		int to = graph.root[r].to;

		if (to >= 0 && !graph.at[to].reached) {
			graph.at[to].reached = true;
			stack[n++] = to;
		}
	}
	while (n > 0) {
		const struct shadow *s = &graph.at[stack[--n]];

		for (unsigned k = 0; k < s->link_count; k++) {
			int to = s->link[k].to;

			if (to >= 0 && !graph.at[to].reached) {
				graph.at[to].reached = true;
				stack[n++] = to;
			}
		}
	}
	for (int i = 0; i < graph.limit; i++) {
		struct shadow *s = &graph.at[i];

		if (s->state != SHADOW_LIVE || s->reached)
			continue;
		drop_links(s);
		s->state = SHADOW_DEAD;
		graph.live--;
		graph.dead++;
		graph.live_bytes -= s->usable;
	}
}

/* ---- references ---- */

int shadow_pick(uint32_t where, struct shadow_ref *ref)
{
	unsigned r = where % SHADOW_ROOTS, tries = 0;
	int i;

	while (graph.root[r].to < 0) {
		if (++tries == SHADOW_ROOTS)
			return -1;
		r = (r + 1) % SHADOW_ROOTS;
	}
	*ref = (struct shadow_ref){-1, r};
	i = graph.root[r].to;
	for (unsigned steps = where >> 6 & 3; steps > 0; steps--) {
		const struct shadow *s = &graph.at[i];
		unsigned k = where >> (8 + 2 * steps) & 3;

		if (k >= s->link_count || s->link[k].to < 0)
			break;
		*ref = (struct shadow_ref){i, k};
		i = s->link[k].to;
	}
	return i;
}

static struct shadow_link *link_at(struct shadow_ref ref)
{
	return ref.from < 0 ? &graph.root[ref.slot] : &graph.at[ref.from].link[ref.slot];
}

int shadow_target(struct shadow_ref ref)
{
	return link_at(ref)->to;
}

/* The word in memory follows the shadow. */
static void write_through(struct shadow_ref ref)
{
	const struct shadow_link *l = link_at(ref);
	uintptr_t value = (uintptr_t)link_value(l);

	if (ref.from < 0)
		graph.slot[ref.slot] = (void *)value;
	else
		((uintptr_t *)(void *)shadow_address(ref.from))[l->word] = value;
}

void shadow_store(struct shadow_ref ref, int to, size_t offset)
{
	struct shadow_link *l = link_at(ref);

	uncount(l);
	l->to = to;
	l->offset = (uint32_t)offset;
	l->stale = ~(uintptr_t)0;
	if (to >= 0) {
		l->tag = graph.at[to].tag;
		graph.at[to].refs++;
	}
	write_through(ref);
}

int shadow_next(int i)
{
	const struct shadow *s = &graph.at[i];

	return s->link_count > 0 && s->link[0].to != i ? s->link[0].to : -1;
}

void shadow_pop(unsigned root)
{
	int i = graph.root[root].to;

	shadow_store((struct shadow_ref){-1, root}, i >= 0 ? shadow_next(i) : -1, 0);
}

/* Visit every reference to `i` from a reachable record or a root, and do what is asked. */
enum change {
	CHANGE_CLEAR,
	CHANGE_LEAVE_STALE,
	CHANGE_FOLLOW,
};

static void change_one(int i, struct shadow_ref ref, enum change how)
{
	struct shadow_link *l = link_at(ref);

	if (l->to != i)
		return;
	switch (how) {
	case CHANGE_CLEAR:
		shadow_store(ref, -1, 0);
		break;
	case CHANGE_LEAVE_STALE:
		l->stale = ~(uintptr_t)link_value(l);
		l->to = -1;
		graph.at[i].refs--;
		graph.stale++;
		break;
	case CHANGE_FOLLOW:
		l->offset = l->offset < graph.at[i].asked ? l->offset : 0;
		write_through(ref);
		break;
	}
}

/* If there is but one reference, it is `known`, unless that is the object's own. */
static void change_all(int i, struct shadow_ref known, enum change how)
{
	if (graph.at[i].refs > 1 || known.from == i) {
		for (unsigned r = 0; r < SHADOW_ROOTS; r++)
			change_one(i, (struct shadow_ref){-1, r}, how);
		for (int from = 0; from < graph.limit; from++) {
			for (unsigned k = 0; k < graph.at[from].link_count; k++) {
				if (graph.at[from].state == SHADOW_LIVE)
					change_one(i, (struct shadow_ref){from, k}, how);
			}
		}
	} else {
		change_one(i, known, how);
	}
	REQUIRE(how == CHANGE_FOLLOW || graph.at[i].refs == 0, "the shadow's counts are wrong");
}

void shadow_unlink_all(int i, struct shadow_ref known, bool leave_stale)
{
	if (graph.at[i].refs > 1)
		shadow_settle(); /* what is garbage must not be written to */
	change_all(i, known, leave_stale ? CHANGE_LEAVE_STALE : CHANGE_CLEAR);
}

/* Links of the record that lie behind its end go. */
static void cut_links(struct shadow *s)
{
	unsigned n = 0;

	for (unsigned k = 0; k < s->link_count; k++) {
		struct shadow_link *l = &s->link[k];

		if (l->word < s->asked / 8)
			s->link[n++] = *l;
		else
			uncount(l);
	}
	s->link_count = n;
	if (s->decoy_word != NOTHING && s->decoy_word >= s->asked / 8)
		s->decoy_word = NOTHING;
}

void shadow_moved(int i, void *p, size_t asked, struct shadow_ref known)
{
	struct shadow *s = &graph.at[i];
	bool shorter = asked < s->asked, away = s->hidden != ~(uintptr_t)p;

	if (s->refs > 1 && (shorter || away))
		shadow_settle(); /* likewise: it keeps the old address */
	if (away) {
		take_out(i);
		claim(p);
		s->hidden = ~(uintptr_t)p;
		put_in(i);
	}
	s->asked = asked;
	graph.live_bytes += loam_object_size(p) - s->usable;
	s->usable = loam_object_size(p);
	if (shorter)
		cut_links(s);
	if (s->refs > 0 && (shorter || away))
		change_all(i, known, CHANGE_FOLLOW);
	shadow_fill(i);
}

/* ---- after a collection ---- */

static bool still_there(int i)
{
	return loam_object_base(shadow_address(i)) == (void *)shadow_address(i) &&
	       loam_object_size(shadow_address(i)) == graph.at[i].usable;
}

/* What a kept object points to was kept as well. */
static void explain(const struct shadow *s)
{
	for (unsigned k = 0; k < s->link_count; k++) {
		const struct shadow_link *l = &s->link[k];

		if (l->to < 0 || graph.at[l->to].tag != l->tag ||
		    graph.at[l->to].state == SHADOW_FREE ||
		    ~l->stale - (uintptr_t)shadow_address(l->to) >= graph.at[l->to].asked)
			continue; /* freed since, or forgotten, or moved, or shorter */
		REQUIRE(graph.at[l->to].state == SHADOW_LIVE || graph.at[l->to].kept,
			"%p was kept, what it points to was not", (void *)~s->hidden);
		graph.at[l->to].explained = true;
	}
}

/* Addresses that stand where the collector must not look: what becomes of the dead ones? */
static void count_decoys(struct shadow_census *census)
{
	for (int i = 0; i < graph.limit; i++) {
		const struct shadow *s = &graph.at[i];
		int to = s->state == SHADOW_LIVE && s->decoy_word != NOTHING
				 ? shadow_find((void *)~s->decoy)
				 : -1;

		if (to < 0 || graph.at[to].state != SHADOW_DEAD || graph.at[to].explained)
			continue;
		census->decoys_kept += graph.at[to].kept;
		census->decoys_gone += !graph.at[to].kept;
	}
}

struct shadow_census shadow_census(void)
{
	struct shadow_census census = {0};

	shadow_settle();
	for (int i = 0; i < graph.limit; i++) {
		struct shadow *s = &graph.at[i];

		s->explained = false;
		s->kept = s->state == SHADOW_DEAD && still_there(i);
		if (s->state == SHADOW_LIVE)
			REQUIRE(still_there(i), "%p (%zu bytes, kind %d) is reachable and gone",
				(void *)shadow_address(i), s->asked, s->kind);
		if (s->state == SHADOW_LIVE || s->kept)
			shadow_check(i, shadow_address(i), s->asked);
	}
	for (int i = 0; i < graph.limit; i++) {
		if (graph.at[i].kept)
			explain(&graph.at[i]);
	}
	count_decoys(&census);
	for (int i = 0; i < graph.limit; i++) {
		const struct shadow *s = &graph.at[i];

		census.live += s->state == SHADOW_LIVE;
		census.kept += s->kept;
		census.unexplained += s->kept && !s->explained;
		if (s->state == SHADOW_DEAD && !s->kept)
			free_record(i);
	}
	return census;
}
