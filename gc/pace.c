/* SPDX-License-Identifier: MIT */
/*
 * The heap's pacer and limiter: what they are told, and what is done about what they say. Their arithmetic is in
 * pacer.c and limiter.c.
 *
 * A cycle begins when the live estimate comes to the trigger; with LOAM_BARRIER_STOP to the goal, for nothing is allocated
 * while it marks. Near a memory limit the goal is what is marked, and every allocation would begin a cycle: a
 * sixteenth of that is always left to grow.
 *
 * Who allocates while there is marking owes work for it. Donated work is credit for all, and is used first. The limiter
 * forgives what is owed when a memory limit makes the heap collect all the time.
 * While that is on time, who has helped for a moment rests for three times as long, and owes meanwhile: so the program keeps most of any
 * few milliseconds. Before a round (clean.c) it rests for 5 ms: the round's pages are scanned and the last stop follows in one go, of up to
 * 2 ms, if they are few; what is written during the rest is scanned in less. Once the price has doubled and the pace so far will not do (pacer.c), or the heap is at its goal and several threads run, nobody
 * rests, from the next look on (LOOK_BYTES): the bound on the heap comes first.
 * Past it each allocation would have to pay for all that is left, and wait for as long. It pays for 1 MiB, or 16 times its size: the heap
 * grows by a sixteenth of what is left to scan at most, and by next to nothing if objects are small. If there is nothing to scan and
 * others run, it waits for them, or does parts of rounds, up to 1 ms for each MiB that it owes: threads that allocate on make more pages
 * to scan again than one can scan, and the heap grows without end (Go parks them). Not longer, for the others may need this CPU.
 * A program that writes pages as fast as they are scanned again would never be done: when rounds tell of hardly less each time, nobody rests
 * before them; if that is not enough, allocations help whatever they owe, and rest as long as they have helped; then not at all.
 * Who allocates while there is sweeping sweeps as many pages as the pacer says are due.
 */
#include "gc/pace.h"

#include "gc/limiter.h"
#include "gc/record.h"

#define PERCENT_MAX LOAM_PACER_PERCENT_MAX
#define LEAST_WORK  ((uint64_t)64 << 10) /* of an assist; what is left over is credit */
#define CREDIT_MOST ((uint64_t)64 << 10) /* bytes: who allocates so much scans so much at least */
#define DEBT_WORK   ((uint64_t)64 << 10) /* of an assist: what is owed from before, at most */
#define MOST_WORK   ((uint64_t)1 << 20)	 /* of an assist, whatever the price, */
#define MOST_PRICE  16u			 /* or so much for each byte that is allocated */
#define HELP_NS	    200000u  /* a thread collects about so long at once, while all goes well, */
#define WAIT_NS	    1000000u /* past the goal an allocation waits so long for others that collect */
#define LOOK_BYTES  4096     /* who rests allocates so much between two looks at the clock */
#define REST_ROUND_NS \
	UINT64_C(5000000) /* before a round, for it may end with the last stop, all in one go */
#define LATE \
	8u /* of the room of a cycle that is due, but not begun: a part in so many is no matter */

static struct loam_limiter limiter; /* `limiter_lock` */
static struct loam_gc_lock limiter_lock;
struct loam_pace_told loam_pace_told;
static int64_t donated; /* atomic: work done on donated time that nobody has used */
static unsigned hurry;	/* atomic, relaxed: of the running cycle; loam_pace_more */

#define HURRY_HELP 2u /* from here on allocations help whatever they owe */

/* Who has helped for some time runs so many times as long then, by hurry: it keeps 75 per cent of its time. */
static const unsigned rests[LOAM_PACE_HURRY_MOST + 1] = {3, 3, 1, 0};

static struct loam_pacer *const pacer = &loam_heap.pacer;

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t live(void)
{
	int64_t bytes = __atomic_load_n(&loam_heap.live, __ATOMIC_RELAXED);

	return bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t loam_pace_threads(void)
{
	uint64_t cpus = loam_host_cpu_count(), have = loam_heap.procs;

	return have < 1 ? 1 : have < cpus ? have : cpus;
}

static struct loam_pacer_memory memory(void)
{
	struct loam_pageheap *pages = &loam_heap.pages;
	uint64_t ready = __atomic_load_n(&pages->ready, __ATOMIC_RELAXED);
	uint64_t used = __atomic_load_n(&pages->used, __ATOMIC_RELAXED);

	return (struct loam_pacer_memory){
		.ready_bytes = loam_sys_ready_bytes(),
		.heap_free_bytes = ready > used ? (ready - used) << LOAM_HEAP_PAGE_SHIFT : 0,
		.heap_alloc_bytes = live(),
	};
}

/* Goal and trigger have changed. */
static void publish(void)
{
	struct loam_heap *h = &loam_heap;
	uint64_t at = h->barrier == LOAM_BARRIER_STOP ? loam_pacer_goal(pacer)
						      : loam_pacer_trigger(pacer);
	uint64_t least = h->marked + h->marked / 16 + LOAM_HEAP_PAGE;

	if (h->limit != UINT64_MAX && at < least)
		at = least;
	__atomic_store_n(&h->due_bytes, at < INT64_MAX ? (int64_t)at : INT64_MAX, __ATOMIC_RELAXED);
}

void loam_pace_init(void)
{
	struct loam_heap *h = &loam_heap;

	h->procs = 1;
	loam_pacer_init(pacer, h->percent, h->limit);
	if (h->barrier == LOAM_BARRIER_MMU)
		loam_pacer_set_early(pacer);
	loam_limiter_init(&limiter, loam_host_now_ns(), loam_pace_threads());
	donated = 0;
	publish();
}

/* The pacer has been told; stopped. */
static void tell_begin(uint64_t most_bytes)
{
	uint64_t goal = loam_pacer_goal(pacer);

	loam_pace_told = (struct loam_pace_told){
		.work_per_byte = __atomic_load_n(&pacer->work_per_byte, __ATOMIC_RELAXED),
		.most_bytes = most_bytes,
		.expected_bytes = pacer->expected_work,
		.triggered_bytes = pacer->triggered_bytes,
		.goal_bytes = goal == LOAM_PACER_NEVER ? 0 : goal,
	};
	for (unsigned i = 0; i < LOAM_PACER_HISTORY; i++) {
		if (pacer->cons_mark[i] > loam_pace_told.cons_mark)
			loam_pace_told.cons_mark = pacer->cons_mark[i];
	}
}

void loam_pace_begin(uint64_t stack_bytes)
{
	struct loam_pacer_work most = {
		.heap_bytes = live(),
		.stack_bytes = stack_bytes,
		.global_bytes = loam_roots_bytes(),
	};

	__atomic_store_n(&donated, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&hurry, 0, __ATOMIC_RELAXED);
	loam_pacer_start(pacer, live(), &most, loam_host_now_ns());
	tell_begin(most.heap_bytes);
}

void loam_pace_end(const struct loam_cycle *c)
{
	struct loam_heap *h = &loam_heap;
	struct loam_pacer_work done = {.stack_bytes = c->stack_bytes,
				       .global_bytes = loam_roots_bytes()};
	struct loam_pacer_memory now = memory();
	uint64_t rest = done.stack_bytes + done.global_bytes, threads = loam_pace_threads();
	uint64_t busy = c->assist_ns + c->donated_ns + c->stopped_ns * threads;
	uint64_t now_ns = loam_host_now_ns();

	done.heap_bytes = h->scanned_bytes > rest ? h->scanned_bytes - rest : 0;
	loam_pace_told.done = done;
	loam_pace_told.live_bytes = live();
	loam_pace_told.percent =
		h->barrier == LOAM_BARRIER_STOP
			? 100
			: loam_record_share(busy, (now_ns - pacer->start_ns) * threads, 100);
	loam_pacer_end(pacer, live(), h->scanned_bytes, busy, now_ns, threads);
	__atomic_store_n(&h->live, (int64_t)h->marked, __ATOMIC_RELAXED);
	now.heap_alloc_bytes = h->marked;
	loam_pacer_commit(pacer, h->marked, &done, &now);
	loam_pacer_sweep_start(pacer, h->sweep_end, h->marked);
	publish();
}

static void update_limiter(uint64_t now_ns)
{
	if (!loam_limiter_need_update(&limiter, now_ns) || !loam_gc_trylock(&limiter_lock))
		return;
	loam_limiter_update(&limiter, now_ns);
	loam_gc_unlock(&limiter_lock);
}

/* ---- what is owed ---- */

/* Without a memory limit the growth of the heap bounds what collecting costs; with one, nothing else would. */
static bool limiting(void)
{
	if (loam_heap.limit == UINT64_MAX || !loam_limiter_limiting(&limiter))
		return false;
	/* while it limits nobody assists: if no time is donated either, nobody else tells it that time passes */
	update_limiter(loam_host_now_ns());
	return loam_limiter_limiting(&limiter);
}

/* Take up to `work` of what was done on donated time. */
static uint64_t use_donated(uint64_t work)
{
	int64_t have = __atomic_load_n(&donated, __ATOMIC_RELAXED), take;

	do {
		if (have <= 0)
			return 0;
		take = have < (int64_t)work ? have : (int64_t)work;
	} while (!__atomic_compare_exchange_n(&donated, &have, have - take, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return (uint64_t)take;
}

/* When the work seems all but done a byte of it is worth much; a thread must not live on that for the rest of the cycle. */
static void add_credit(struct loam_cache *cache, uint64_t work)
{
	uint64_t bytes = loam_pacer_assist_bytes(pacer, work);

	cache->credit += (int64_t)(bytes < CREDIT_MOST ? bytes : CREDIT_MOST);
	if (cache->credit > (int64_t)CREDIT_MOST)
		cache->credit = (int64_t)CREDIT_MOST;
}

/* Does the cycle, or one that is due, come along as it should, so that help may wait a little? */
static bool on_time(void)
{
	int64_t due = __atomic_load_n(&loam_heap.due_bytes, __ATOMIC_RELAXED);
	int64_t goal = (int64_t)least(loam_pacer_goal(pacer), INT64_MAX);

	if (loam_marking()) {
		loam_pace_revise();
		/* the rests of others do not end with one's own */
		if (loam_pace_threads() > 1 && (int64_t)live() >= goal)
			return false;
		return loam_pacer_on_time(pacer);
	}
	return goal > due && (int64_t)live() < due + (goal - due) / LATE;
}

bool loam_pace_waits(uint64_t waited_ns, uint64_t owed)
{
	uint64_t most = owed > MOST_WORK ? owed / MOST_WORK * WAIT_NS : WAIT_NS;

	return loam_pace_threads() > 1 && waited_ns < most && live() >= loam_pacer_goal(pacer);
}

bool loam_pace_enough(uint64_t ns)
{
	return ns >= HELP_NS && on_time();
}

static unsigned hurrying(void)
{
	return loam_marking() ? __atomic_load_n(&hurry, __ATOMIC_RELAXED) : 0;
}

void loam_pace_helped(struct loam_cache *cache, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t until = to_ns + (to_ns - from_ns) * rests[hurrying()];

	cache->rest_until_ns = until > cache->round_ns ? until : cache->round_ns;
	cache->look_credit = cache->credit - LOOK_BYTES;
}

void loam_pace_kept(struct loam_cache *cache, uint64_t ns)
{
	if (cache->rest_until_ns != 0)
		cache->rest_until_ns += ns * rests[hurrying()];
}

bool loam_pace_before_round(struct loam_cache *cache)
{
	uint64_t now = loam_host_now_ns();

	if (cache->round_ns == 0)
		cache->round_ns = now + REST_ROUND_NS;
	if (now < cache->round_ns && hurrying() == 0 && on_time())
		return true;
	cache->round_ns = 0;
	return false;
}

bool loam_pace_rests(struct loam_cache *cache)
{
	if (cache->rest_until_ns == 0)
		return false;
	if (loam_host_now_ns() >= cache->rest_until_ns) {
		cache->rest_until_ns = 0;
		return false;
	}
	return on_time();
}

uint64_t loam_pace_owed(struct loam_cache *cache, uint64_t bytes)
{
	uint64_t work, used;

	cache->credit -= (int64_t)bytes;
	if (cache->credit >= 0 && hurrying() < HURRY_HELP)
		return 0;
	if (cache->rest_until_ns != 0) {
		if (cache->credit > cache->look_credit)
			return 0;
		cache->look_credit = cache->credit - LOOK_BYTES;
		if (loam_pace_rests(cache))
			return 0;
	}
	if (limiting())
		return 0;
	if (hurrying() >= HURRY_HELP)
		return MOST_WORK;
	work = least(loam_pacer_assist_work(pacer, (uint64_t)-cache->credit),
		     loam_pacer_assist_work(pacer, bytes) + DEBT_WORK);
	work = least(work, bytes < MOST_WORK / MOST_PRICE ? MOST_WORK : bytes * MOST_PRICE);
	if (work == 0)
		return 0;
	used = use_donated(work);
	if (used > 0) {
		add_credit(cache, used);
		work -= used;
	}
	return work == 0 ? 0 : work > LEAST_WORK ? work : LEAST_WORK;
}

void loam_pace_did(struct loam_cache *cache, uint64_t work)
{
	add_credit(cache, work);
}

void loam_pace_more(uint64_t bytes, unsigned how_hurried)
{
	__atomic_store_n(&hurry, how_hurried, __ATOMIC_RELAXED);
	loam_pacer_more(pacer, __atomic_load_n(&loam_heap.scanned_bytes, __ATOMIC_RELAXED), bytes);
	loam_pace_revise();
}

void loam_pace_donated(uint64_t work)
{
	__atomic_add_fetch(&donated, (int64_t)work, __ATOMIC_RELAXED);
}

void loam_pace_revise(void)
{
	loam_pacer_revise(pacer, live(),
			  __atomic_load_n(&loam_heap.scanned_bytes, __ATOMIC_RELAXED));
}

uint64_t loam_pace_sweep_pages(uint64_t bytes)
{
	return loam_pacer_sweep_pages(pacer, live() + bytes);
}

/* ---- time ---- */

void loam_pace_spent(uint64_t ns, bool idle, uint64_t now_ns)
{
	if (idle)
		loam_limiter_add_idle(&limiter, ns);
	else
		loam_limiter_add_work(&limiter, ns);
	update_limiter(now_ns);
}

/* heap.collecting is held. */
void loam_pace_stopped(uint64_t from_ns, uint64_t to_ns)
{
	loam_gc_lock(&limiter_lock);
	loam_limiter_set_threads(&limiter, from_ns, loam_pace_threads());
	loam_limiter_world_stopped(&limiter, from_ns);
	loam_limiter_world_started(&limiter, to_ns);
	loam_gc_unlock(&limiter_lock);
}

/* ---- settings ---- */

enum loam_err loam_gc_set_percent(int percent)
{
	if (percent > PERCENT_MAX)
		return LOAM_INVAL;
	loam_gc_lock(&loam_heap.collecting); /* outside: we can be stopped while we wait */
	loam_heap.percent = percent;
	loam_pacer_set_percent(pacer, percent);
	if (loam_marking())
		loam_pace_revise();
	publish();
	loam_gc_unlock(&loam_heap.collecting);
	return LOAM_OK;
}

enum loam_err loam_gc_set_limit(uint64_t bytes)
{
	struct loam_pacer_memory now = memory();

	if (bytes == 0)
		return LOAM_INVAL;
	loam_gc_lock(&loam_heap.collecting);
	loam_heap.limit = bytes;
	loam_pacer_set_memory(pacer, &now);
	loam_pacer_set_limit(pacer, bytes);
	if (loam_marking())
		loam_pace_revise();
	publish();
	loam_gc_unlock(&loam_heap.collecting);
	return LOAM_OK;
}
