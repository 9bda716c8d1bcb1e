/* SPDX-License-Identifier: MIT */
/*
 * Marking while the program runs, with the MMU's dirty bits as the write barrier: the protocol of the collector's MMU
 * mode (gc/clean.c), which may run several rounds.
 *
 * Two mutators with two registers each load pointers, store them and drop them, and make one new object, which is white, (with
 * MORE_BLACK: black, once the round has begun); objects have one word, and a page each.
 * A store sets the page's dirty bit, unless the CPU's TLB knows that it is set; then the bit in the table is not looked
 * at. Stores wait in a buffer, as on x86; what makes the bit dirty is done before the store gets there, and no interrupt comes
 * between the two. A CPU that answers a shootdown, or parks, has drained its buffer.
 *
 *   start   world stopped: dirty bits cleared, TLBs forgotten, registers marked
 *   mark    the program runs: grey objects are scanned, until there are none
 *   clean   the program runs: of each dirty page the bit is cleared, then every TLB forgets the page, and then
 *           its marked objects are scanned again
 *   finish  world stopped: registers are marked again, marked objects of dirty pages are scanned again, and
 *           everything that hangs on them
 *
 * Safe: in the end, everything that can be reached from registers is marked. Live: no invalid end state.
 * Each BROKEN_ variant leaves out one step and must fail.
 */
#define MUTATORS 2
#define REGS	 4		/* two of each mutator */
#define OBJECTS	 5		/* number 0 is NULL; the last one is new */
#define STEPS	 4		/* loads, stores and drops of a mutator */

byte word[OBJECTS];
byte reg[REGS];
bool marked[OBJECTS], grey[OBJECTS];
bool dirty[OBJECTS];
bool tlb[MUTATORS * OBJECTS];	/* known to be dirty */
byte buffer[MUTATORS] = 0;	/* the object whose word's store waits; 0: none */
byte buffered[MUTATORS] = 0;	/* its value */
bool stop = false;
bool parked[MUTATORS] = false;
byte forget = 0;		/* page that all TLBs are to forget; 0: none */
bool forgotten[MUTATORS] = false;
bool made = false;
bool black = false;
bool over = false;

#define TLB(me, page) tlb[(me) * OBJECTS + (page)]

/* ---- the program ---- */


inline load(me, to, from) {
	atomic {
		if
		:: buffer[me] == reg[from] -> reg[to] = buffered[me]
		:: else -> reg[to] = word[reg[from]]
		fi
	}
}

inline store(me, to, value) {
	atomic {
		if
		:: !TLB(me, reg[to]) -> dirty[reg[to]] = true; TLB(me, reg[to]) = true
		:: else
		fi;
		buffer[me] = reg[to];
		buffered[me] = value
	}
}

#define MAY_STEP (!stop && steps < STEPS)
#define FIRST	 reg[2 * me]
#define SECOND	 reg[2 * me + 1]

proctype mutator(byte me) {
	byte steps = 0;

	do
	:: atomic { buffer[me] != 0 -> word[buffer[me]] = buffered[me]; buffer[me] = 0; buffered[me] = 0 }
	:: stop && buffer[me] == 0 -> parked[me] = true; !stop; parked[me] = false
	:: atomic { forget != 0 && !forgotten[me] && buffer[me] == 0 -> TLB(me, forget) = false; forgotten[me] = true }
	:: atomic { MAY_STEP && FIRST != 0 -> steps++; load(me, 2 * me + 1, 2 * me) }
	:: atomic { MAY_STEP && FIRST != 0 && buffer[me] == 0 -> steps++; store(me, 2 * me, SECOND) }
	:: atomic { MAY_STEP && SECOND != 0 && buffer[me] == 0 -> steps++; store(me, 2 * me + 1, 0) }
	:: atomic { MAY_STEP && SECOND != 0 -> steps++; SECOND = 0 }
	:: atomic { MAY_STEP && SECOND != 0 -> steps++; FIRST = SECOND }
	:: atomic { MAY_STEP && me == 0 && !made -> steps++; made = true; SECOND = OBJECTS - 1; marked[OBJECTS - 1] = black }
	:: over -> break
	od
}

/* ---- the collector ---- */

inline stop_world() {
	stop = true;
	parked[0] && parked[1]
}

inline start_world() {
	stop = false;
	!parked[0] && !parked[1]
}

inline shade(object) {
	if
	:: object != 0 && !marked[object] -> marked[object] = true; grey[object] = true
	:: else
	fi
}

inline mark_registers() {
	atomic {
		i = 0;
		do
		:: i < REGS -> shade(reg[i]); i++
		:: else -> break
		od;
		i = 0
	}
}

/* Which grey object is next is anybody's guess. */
inline drain() {
	do
	:: grey[1] -> grey[1] = false; atomic { seen = word[1]; shade(seen); seen = 0 }
	:: grey[2] -> grey[2] = false; atomic { seen = word[2]; shade(seen); seen = 0 }
	:: grey[3] -> grey[3] = false; atomic { seen = word[3]; shade(seen); seen = 0 }
	:: grey[4] -> grey[4] = false; atomic { seen = word[4]; shade(seen); seen = 0 }
	:: !grey[1] && !grey[2] && !grey[3] && !grey[4] -> break
	od
}

inline forget_everywhere(page) {
	atomic { forgotten[0] = false; forgotten[1] = false; forget = page };
	forgotten[0] && forgotten[1];
	forget = 0
}

inline scan_again(page) {
	if
	:: marked[page] -> grey[page] = true
	:: else
	fi
}

inline clean() {
	page = 1;
	do
	:: page < OBJECTS ->
		if
		:: dirty[page] ->
#if defined(BROKEN_SCAN_FIRST)
			scan_again(page);
			drain();
			dirty[page] = false;
			forget_everywhere(page)
#elif defined(BROKEN_FORGET_FIRST)
			forget_everywhere(page);
			dirty[page] = false;
			scan_again(page)
#elif defined(BROKEN_NO_FORGET)
			dirty[page] = false;
			scan_again(page)
#else
			dirty[page] = false;
			forget_everywhere(page);
			scan_again(page)
#endif
		:: else
		fi;
		drain();
		page++
	:: else -> page = 0; break
	od
}

proctype collector() {
	byte i = 0, seen = 0, page = 0;

	stop_world();
	atomic {
		i = 0;
		do
		:: i < MUTATORS * OBJECTS -> tlb[i] = false; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < OBJECTS -> dirty[i] = false; i++
		:: else -> break
		od;
		i = 0
	}
	mark_registers();
	start_world();
	drain();
#ifdef MORE_BLACK
	black = true;
#endif
	clean();
	stop_world();
#ifndef BROKEN_REGISTERS_ONCE
	mark_registers();
#endif
#ifndef BROKEN_NO_LAST_SCAN
	atomic {
		i = 1;
		do
		:: i < OBJECTS && dirty[i] && marked[i] -> grey[i] = true; i++
		:: i < OBJECTS && !(dirty[i] && marked[i]) -> i++
		:: else -> break
		od;
		i = 0
	}
#endif
	drain();
	/* what can be reached is marked: every marked object's word, and every register, leads to a marked one */
	atomic {
		i = 0;
		do
		:: i < REGS -> assert(reg[i] == 0 || marked[reg[i]]); i++
		:: else -> break
		od;
		i = 1;
		do
		:: i < OBJECTS -> assert(!marked[i] || word[i] == 0 || marked[word[i]]); i++
		:: else -> break
		od;
		i = 0
	}
	over = true;
	start_world()
}

init {
	atomic {
		/* the first holds the head of a chain, the second its middle */
		reg[0] = 1;
		word[1] = 2;
		word[2] = 3;
		reg[2] = 2;
		run mutator(0);
		run mutator(1);
		run collector()
	}
}
