/* SPDX-License-Identifier: MIT */
/*
 * Marking while the program runs, with Go's hybrid write barrier, of which the collector's software mode is a variant
 * (gc/barrier.c).
 *
 * Two mutators with two registers each load pointers, store them and drop them; objects have one word. Before a store,
 * while the barrier is on, a mutator notes what the word holds and what it is about to hold; notes stay with the
 * mutator until it flushes them, and only then are those objects marked. Stores wait in a buffer, as on x86.
 *
 *   start   world stopped: the barrier goes on, nothing is marked
 *   mark    the program runs: each mutator's registers are marked once, at a time of its own, while it stands still;
 *           grey objects are scanned until there are none, every mutator has been seen to, and no notes are known of
 *   finish  world stopped: notes are flushed, and everything that hangs on them marked. Registers are not looked
 *           at again
 *
 * With MORE_SNAPSHOT, the way of gc/barrier.c, all registers are marked in the first stop, and the new value is not noted.
 *
 * Safe: in the end, everything that can be reached from registers is marked. Live: no invalid end state.
 * Each BROKEN_ variant leaves out one step and must fail.
 */
#define MUTATORS 2
#define REGS	 4		/* two of each mutator */
#define OBJECTS	 4		/* number 0 is NULL */
#define STEPS	 4		/* loads, stores and drops of a mutator */

byte word[OBJECTS];
byte reg[REGS];
bool marked[OBJECTS], grey[OBJECTS];
bool note[MUTATORS * OBJECTS];
byte buffer[MUTATORS] = 0;	/* the object whose word's store waits; 0: none */
byte buffered[MUTATORS] = 0;	/* its value */
bool barrier[MUTATORS] = false;
bool stop = false;
bool parked[MUTATORS] = false;
byte still = MUTATORS;		/* the mutator that is to stand still for its registers' sake */
bool stands = false;
bool over = false;

#define FIRST	 reg[2 * me]
#define SECOND	 reg[2 * me + 1]
#define MAY_STEP (!stop && still != me && steps < STEPS)

/* ---- the program ---- */

inline shade(object) {
	if
	:: object != 0 && !marked[object] -> marked[object] = true; grey[object] = true
	:: else
	fi
}

inline flush(who) {
	atomic {
		n = 1;
		do
		:: n < OBJECTS && note[(who) * OBJECTS + n] -> note[(who) * OBJECTS + n] = false; shade(n); n++
		:: n < OBJECTS && !note[(who) * OBJECTS + n] -> n++
		:: else -> break
		od;
		n = 0
	}
}

/* What a mutator sees in an object's word. */
#define SEEN(object) (buffer[me] == object -> buffered[me] : word[object])

inline note_old(to) {
	if
#ifndef BROKEN_NO_DELETE
	:: barrier[me] -> note[me * OBJECTS + SEEN(to)] = true
#endif
	:: else
	fi
}

inline note_new(value) {
	if
#if !defined(BROKEN_NO_INSERT) && !defined(MORE_SNAPSHOT)
	:: barrier[me] -> note[me * OBJECTS + value] = true
#endif
	:: else
	fi
}

/* A mutator stands still, or parks, between stores alone. */
inline store(to, value) {
	atomic { note_new(value) };
#ifdef BROKEN_STORE_FIRST
	atomic { buffer[me] == 0 -> buffer[me] = to; buffered[me] = value };
	atomic { note_old(to) }
#else
	atomic { note_old(to) };
	atomic { buffer[me] == 0 -> buffer[me] = to; buffered[me] = value }
#endif
}

proctype drain_buffer(byte me) {
end:	do
	:: atomic { buffer[me] != 0 -> word[buffer[me]] = buffered[me]; buffer[me] = 0; buffered[me] = 0 }
	od
}

proctype mutator(byte me) {
	byte steps = 0, n = 0;

	do
	:: stop && buffer[me] == 0 -> parked[me] = true; !stop; parked[me] = false
	:: still == me && !stop && buffer[me] == 0 -> stands = true; still != me
	:: MAY_STEP -> flush(me); steps++
	:: atomic { MAY_STEP && FIRST != 0 -> steps++; SECOND = SEEN(FIRST) }
	:: atomic { MAY_STEP && FIRST != 0 -> steps++ }; store(FIRST, SECOND)
	:: atomic { MAY_STEP && SECOND != 0 -> steps++ }; store(SECOND, 0)
	:: atomic { MAY_STEP && SECOND != 0 -> steps++; SECOND = 0 }
	:: atomic { MAY_STEP && SECOND != 0 -> steps++; FIRST = SECOND }
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

/* Which grey object is next is anybody's guess. */
inline drain() {
	do
	:: grey[1] -> grey[1] = false; atomic { seen = word[1]; shade(seen); seen = 0 }
	:: grey[2] -> grey[2] = false; atomic { seen = word[2]; shade(seen); seen = 0 }
	:: grey[3] -> grey[3] = false; atomic { seen = word[3]; shade(seen); seen = 0 }
	:: !grey[1] && !grey[2] && !grey[3] -> break
	od
}

inline mark_registers(who) {
	still = who;
	stands;
	atomic { shade(reg[2 * who]); shade(reg[2 * who + 1]) };
	atomic { stands = false; still = MUTATORS }
}

inline reach(object) {
	if
	:: object != 0 && !reached[object] -> reached[object] = true; more = true
	:: else
	fi
}

proctype collector() {
	byte n = 0, seen = 0;
	bool reached[OBJECTS] = false, more = true;

#ifdef BROKEN_RAGGED_START
	barrier[0] = true;
#else
	stop_world();
	barrier[0] = true;
	barrier[1] = true;
#ifdef MORE_SNAPSHOT
	atomic { shade(reg[0]); shade(reg[1]); shade(reg[2]); shade(reg[3]) };
#endif
	start_world();
#endif
#ifndef MORE_SNAPSHOT
	mark_registers(0);
#endif
	drain();
#ifdef BROKEN_RAGGED_START
	barrier[1] = true;
#endif
#ifndef MORE_SNAPSHOT
	mark_registers(1);
	drain();
#endif
	stop_world();
#ifndef BROKEN_NOTES_FORGOTTEN
	flush(0);
	flush(1);
#endif
	drain();
	atomic {
		reach(reg[0]);
		reach(reg[1]);
		reach(reg[2]);
		reach(reg[3]);
		do
		:: more ->
			more = false;
			n = 1;
			do
			:: n < OBJECTS && reached[n] -> reach(word[n]); n++
			:: n < OBJECTS && !reached[n] -> n++
			:: else -> break
			od
		:: else -> break
		od;
		n = 1;
		do
		:: n < OBJECTS -> assert(!reached[n] || marked[n]); n++
		:: else -> break
		od
	}
	barrier[0] = false;
	barrier[1] = false;
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
		run drain_buffer(0);
		run drain_buffer(1);
		run mutator(0);
		run mutator(1);
		run collector()
	}
}
