/* SPDX-License-Identifier: MIT */
/*
 * The MMU as write barrier (mostly-parallel marking): the program does nothing, and the page tables tell which pages it has
 * written (<loam/sys.h>, loam_sys_dirty_*).
 *
 *   [CLEAN-1] When marking ends, each page that was written since its marked objects were scanned last, has been
 *                told, and they have been scanned again; so have all stacks, registers and roots.
 *   [CLEAN-2] New objects are white, until ROUNDS_PATIENT rounds or a last stop that was given up show that the cycle would not end:
 *                from there on they are black.
 *
 * White: so what is dropped at once is neither kept nor scanned, and pages full of it need no second look. [CLEAN-1] asks for no more: what is
 * held is found from what holds it. Black: for what only a stack holds is found in the last stop alone, and may be as much as the program
 * makes; then what is left to find there is no more than there was, but each page that is filled with garbage is scanned again. (Where a barrier tells what is stored, new objects are always black: it
 * tells nothing of what is stored in them first.)
 *
 * Before a cycle begins all notes are cleared. When nothing waits, a round tells the pages that were written since, a piece of the
 * heap at a time, so that nobody is kept by it for long; their marked
 * objects are scanned again while the program runs on, and so forth, until a round finds few. Then the world
 * stops; what was written since that round is scanned in the stop, with the stacks and the roots: few pages, too, and after
 * ROUNDS_PATIENT at most LOAM_CLEAN_LAST, or the world runs on for another round. While the only thread there is scans,
 * nobody writes: more pages are few then. A program that writes faster than pages can be
 * scanned again is stopped after ROUNDS_MOST all the same.
 *
 * Huge leaves are told whole, and scanned whole: so those stay huge that were filled before the cycle, or early in it. What a
 * later round finds written is being written now, and is cut into small leaves.
 *
 * What a round tells is written down as a bit a page of 4 KiB, in a table beside the heap, and stays there if anything in the page is
 * marked: nobody marks meanwhile (collect.c, quiet), and what is marked later is scanned later. Whoever marks takes a word of them.
 *
 * A program may have rounds of its own, of other memory: while one runs none can begin here, and a last stop comes to nothing; both are
 * tried again.
 *
 * Concurrency: rounds with heap.collecting held. Between rounds bits are taken under `lock`; during one nobody takes any, for
 * it begins when none are left and whoever looked for some has gone (collect.c, quiet). Models: tests/model/dirty.pml, quiet.pml, fresh.pml.
 * Reference: Boehm, Demers, Shenker, "Mostly Parallel Garbage Collection".
 */
#include "gc/check.h"
#include "gc/mark.h"
#include "gc/pace.h"

#define FEW 16u /* pages: scanned in one go, so soon that the last stop can follow */
#define MORE \
	32u /* the same, if nobody can write meanwhile, or it has not come to that in ROUNDS_FEW */
#define ROUNDS_FEW 8u
#define PIECE	   ((uint64_t)8 << 20) /* bytes of the heap that are asked about at once, */
#define PIECE_MOST \
	((uint64_t)16 << 20) /* in later rounds up to so many: twice as many as before, */
#define PIECE_CALM     ((uint64_t)256 << 20) /* and so many after a round that told of little; but */
#define CALM	       512u		     /* no more pages in a piece, or in a round */
#define PIECES_NS      300000u		     /* as many pieces as can be in this time, */
#define PIECES_CALM_NS 1000000u		     /* or in this: the last stop may be next */
#define ROUNDS_PATIENT 16u
#define ROUNDS_MOST    24u
#define LOOK	       256u /* bytes: to find that nothing in a page is marked is as much work */

static struct loam_table bits;	 /* bit a 4 KiB page of the heap: to be scanned again */
static struct loam_gc_lock lock; /* after none, before none; inside */
static uint64_t next_word;	 /* lock, or a round: bits before are clear */
static uint64_t pages_left;	 /* atomic: bits set, or in somebody's hand */
static uint64_t round_at;    /* heap.collecting: where the running round goes on; 0: none runs */
static uint64_t told;	     /* heap.collecting: pages of the running round */
static uint64_t piece;	     /* heap.collecting: bytes that are asked about next */
static uint64_t noted;	     /* heap.collecting: pages of the last piece */
static uint64_t told_before; /* heap.collecting: of the round before */
static unsigned hurry;	     /* heap.collecting: the cycle does not end by itself */
static struct {
	uint64_t pages;
	uint32_t page[LOAM_CLEAN_LAST]; /* as many as fit */
} last;					/* stopped */

static uint64_t *word_of(uint64_t page)
{
	return (uint64_t *)bits.base + page / 64;
}

/* Is anything in that 4 KiB to be scanned again? What is marked later is scanned later. */
static bool scanned(uint64_t page)
{
	return loam_mark_page_has(loam_heap.base + (page << LOAM_PAGE_SHIFT));
}

/* Under mm's locks, so it writes down, no more. */
static void note(void *unused, uintptr_t base, size_t size)
{
	uint64_t page = (base - loam_heap.base) >> LOAM_PAGE_SHIFT;

	(void)unused;
	noted += size >> LOAM_PAGE_SHIFT;
	for (uint64_t end = page + (size >> LOAM_PAGE_SHIFT); page < end; page++)
		*word_of(page) |= (uint64_t)1 << (page % 64);
}

/*
 * Of the pages from `page` to `end` that were noted, those that are scanned stay. Not before all CPUs have forgotten that they are
 * written: who takes a page into a span until then, and writes there, may note nothing. Model: tests/model/fresh.pml.
 */
static void keep_scanned(uint64_t page, uint64_t end)
{
	for (; page < end; page += 64) {
		uint64_t *word = word_of(page);

		for (uint64_t rest = *word; rest != 0; rest &= rest - 1) {
			if (scanned(page + (unsigned)__builtin_ctzll(rest)))
				told++;
			else
				*word &= ~(rest & -rest);
		}
	}
}

static void ignore(void *unused, uintptr_t base, size_t size)
{
	(void)unused;
	(void)base;
	(void)size;
}

/*
 * The running round goes on for some time, unless the program has one; true: it has been everywhere. `later`: not the first of its cycle,
 * which may tell of much after little. A round that takes long tells of much, and so the next one takes long, unless pieces grow: that all
 * CPUs forget what is written costs as much for a small piece as for a large one.
 */
static bool round_some(void (*visit)(void *arg, uintptr_t base, size_t size), bool later)
{
	struct loam_heap *h = &loam_heap;
	uint64_t start = loam_host_now_ns();

	for (;;) {
		uint64_t end = __atomic_load_n(&h->mapped_bytes, __ATOMIC_RELAXED), bytes;
		enum loam_err err;

		if (round_at >= end)
			break;
		bytes = end - round_at < piece ? end - round_at : piece;
		noted = 0;
		err = loam_sys_dirty_round(h->base + round_at, bytes, later, visit, NULL);
		if (err == LOAM_BUSY)
			return false;
		LOAM_CHECK(err == LOAM_OK, "the page tables do not tell what was written");
		if (visit == note)
			keep_scanned(round_at >> LOAM_PAGE_SHIFT,
				     (round_at + bytes) >> LOAM_PAGE_SHIFT);
		round_at += bytes;
		piece = !later || noted > CALM ? PIECE : piece < PIECE_MOST ? 2 * piece : piece;
		if (round_at < end &&
		    loam_host_now_ns() - start >= (piece > PIECE_MOST ? PIECES_CALM_NS : PIECES_NS))
			return false;
	}
	round_at = 0;
	return true;
}

bool loam_clean_begin_some(void)
{
	piece = PIECE;
	return round_some(ignore, false);
}

/* Another step if a round tells of hardly less than the one before, or there have been so many that it matters no more. */
static void set_hurry(uint64_t rounds)
{
	if (rounds == 1)
		hurry = 0;
	else if (rounds >= ROUNDS_PATIENT || (rounds >= ROUNDS_FEW && told > told_before / 4 * 3))
		hurry += hurry < LOAM_PACE_HURRY_MOST;
	told_before = told;
}

bool loam_clean_round_some(uint64_t rounds)
{
	/* nobody looks at the bits: none is set */
	LOAM_CHECK(__atomic_load_n(&pages_left, __ATOMIC_ACQUIRE) == 0,
		   "[CLEAN-1] a round before the last one's pages are scanned");
	if (round_at == 0)
		told = 0;
	if (rounds > ROUNDS_PATIENT)
		loam_clean_blacken();
	next_word = 0;
	LOAM_PLACE("a round begins");
	if (!round_some(note, rounds > 1))
		return false;
	if (told <= CALM)
		piece = PIECE_CALM;
	set_hurry(rounds);
	/* release: the bits come first; partner: loam_clean_scan_some */
	__atomic_store_n(&pages_left, told, __ATOMIC_RELEASE);
	return true;
}

bool loam_clean_running(void)
{
	return round_at != 0;
}

/* While the only thread scans, nobody writes. */
bool loam_clean_few(uint64_t rounds)
{
	bool many = loam_pace_threads() > 1 && rounds < ROUNDS_FEW;

	return told <= (many ? FEW : MORE) || rounds >= ROUNDS_MOST;
}

unsigned loam_clean_hurry(void)
{
	return hurry;
}

uint64_t loam_clean_pages(void)
{
	return __atomic_load_n(&pages_left, __ATOMIC_RELAXED);
}

bool loam_clean_left(void)
{
	/* seq_cst: before `active` is asked; partner: loam_clean_scan_some, in an active slice */
	return __atomic_load_n(&pages_left, __ATOMIC_SEQ_CST) != 0;
}

/* The next word with bits, and its number; 0: there is none. */
static uint64_t take_word(uint64_t *number)
{
	uint64_t end = __atomic_load_n(&bits.ready, __ATOMIC_RELAXED) / 8, word = 0;

	loam_gc_lock(&lock);
	while (word == 0 && next_word < end) {
		*number = next_word++;
		word = *word_of(*number * 64);
		*word_of(*number * 64) = 0;
	}
	loam_gc_unlock(&lock);
	return word;
}

static void put_back(uint64_t number, uint64_t word)
{
	loam_gc_lock(&lock);
	*word_of(number * 64) = word;
	if (number < next_word)
		next_word = number;
	loam_gc_unlock(&lock);
}

bool loam_clean_scan_some(struct loam_worker *w)
{
	uint64_t number, word;

	/* seq_cst: acquire, partner of the release in loam_clean_round_some; and after `active` was raised */
	if (__atomic_load_n(&pages_left, __ATOMIC_SEQ_CST) == 0)
		return false;
	LOAM_PLACE("pages are left");
	word = take_word(&number);
	if (word == 0)
		return false;
	while (word != 0 && !loam_mark_enough(w)) {
		uint64_t page = number * 64 + (unsigned)__builtin_ctzll(word);

		word &= word - 1;
		loam_mark_page(w, loam_heap.base + (page << LOAM_PAGE_SHIFT));
		w->scanned_bytes += LOOK;
		__atomic_sub_fetch(&pages_left, 1, __ATOMIC_RELAXED);
	}
	if (word != 0)
		put_back(number, word);
	return true;
}

/* ---- the last stop ---- */

static void note_last(void *unused, uintptr_t base, size_t size)
{
	uint64_t page = (base - loam_heap.base) >> LOAM_PAGE_SHIFT;

	(void)unused;
	for (uint64_t end = page + (size >> LOAM_PAGE_SHIFT); page < end; page++) {
		if (!scanned(page))
			continue;
		if (last.pages < LOAM_CLEAN_LAST)
			last.page[last.pages] = (uint32_t)page;
		last.pages++;
	}
}

uint64_t loam_clean_last(struct loam_worker *w, uint64_t rounds)
{
	struct loam_heap *h = &loam_heap;
	enum loam_err err = LOAM_OK;

	last.pages = 0;
	if (h->mapped_bytes != 0)
		err = loam_sys_dirty_look(h->base, h->mapped_bytes, note_last, NULL);
	if (err == LOAM_BUSY)
		return LOAM_CLEAN_UNKNOWN;
	if (err == LOAM_OK && last.pages > LOAM_CLEAN_LAST && rounds >= ROUNDS_MOST) {
		/* no more patience: as a round, but in the stop */
		told = 0;
		next_word = 0;
		err = loam_sys_dirty_look(h->base, h->mapped_bytes, note, NULL);
		keep_scanned(0, h->mapped_bytes >> LOAM_PAGE_SHIFT);
		pages_left = told;
	} else if (!loam_clean_too_many(last.pages, rounds)) {
		for (uint64_t i = 0; i < last.pages; i++)
			loam_mark_page(w, h->base + ((uintptr_t)last.page[i] << LOAM_PAGE_SHIFT));
	}
	LOAM_CHECK(err == LOAM_OK, "the page tables do not tell what was written");
	return last.pages;
}

bool loam_clean_too_many(uint64_t pages, uint64_t rounds)
{
	if (pages == LOAM_CLEAN_UNKNOWN)
		return true;
	return pages > (rounds < ROUNDS_PATIENT ? FEW : LOAM_CLEAN_LAST) && rounds < ROUNDS_MOST;
}

void loam_clean_blacken(void)
{
	__atomic_store_n(&loam_heap.black, true, __ATOMIC_RELAXED);
}

bool loam_clean_patient(uint64_t rounds)
{
	return rounds < ROUNDS_MOST;
}

/* ---- start and end ---- */

enum loam_err loam_clean_grow(uint64_t pages)
{
	if (loam_heap.barrier != LOAM_BARRIER_MMU)
		return LOAM_OK;
	return loam_table_grow(&bits,
			       loam_align_up(pages * (LOAM_HEAP_PAGE / LOAM_PAGE_SIZE), 64) / 8);
}

enum loam_err loam_clean_init(uint64_t pages)
{
	pages_left = next_word = round_at = 0;
	bits = (struct loam_table){0};
	if (loam_heap.barrier != LOAM_BARRIER_MMU)
		return LOAM_OK;
	return loam_table_reserve(&bits, pages * (LOAM_HEAP_PAGE / LOAM_PAGE_SIZE) / 8 + 8);
}

void loam_clean_reset(void)
{
	loam_table_free(&bits);
}
