/* SPDX-License-Identifier: MIT */
/*
 * When marking is done, if several threads mark in slices of time that they donate, and steal from each other: the
 * protocol of the collector (gc/work.c, gc/collect.c).
 *
 * Three threads: the first donates, the second donates and is a mutator, the third is a mutator. A mutator has two
 * registers, and notes what a store overwrites and what it stores before it stores it (hybrid.pml); notes stay with it
 * until it flushes them, and only then are those objects marked, and the new ones among them put into the global
 * queue. Objects have one word, but the first has two and is scanned in two pieces, each an entry of its own.
 *
 *   slice   a donor takes a free record, which has a queue, and then entry after entry: from its own queue, from the
 *           global one, or from that of another record in use, of which it may take more and queue them. What it took
 *           it scans next: it marks what the word points to, and queues that if it was not marked before. The rest of
 *           an object is queued before its first piece is scanned. Or it marks a root, here a mutator's registers, if
 *           that stands still just then: no slice waits for another. A slice ends at any time, but not with an
 *           entry in hand; then its queue goes to the global one, and the record is free
 *   look    a donor whose slice found nothing takes the door, of which there is one, and looks again: marking is not
 *           over yet, the global queue is empty, no root is left, no queue of a record in use has anything in it. What
 *           is on its way between queues is not seen: a look only says whether it is worth a stop
 *   stop    all others stand still, outside of slices, stores and flushes: whoever is inside is waited for
 *   check   under the stop, all notes are flushed. If there is anything in the global queue then, the world starts
 *           again, or all that is left is marked here. No record is in use, so no other queue has anything in it
 *   end     under the same stop, if nothing is left
 *
 * Safe: in the end, everything that can be reached from registers is marked, no entry is left anywhere, and marking has
 * not ended before. Live: no invalid end state; if a stop does not end marking, something was marked or scanned since the
 * one before it; and an entry is not stolen to and fro unscanned. Each BROKEN_ variant leaves out one step and must fail.
 *
 * Two that scan the same entry do no harm, nor two that mark the same object. A mark or an entry that is lost does.
 */
#define THREADS	 3
#define RECORDS	 2
#define MUTATES	 (me > 0)
#ifdef MORE_DONORS
#define STEPS	 1
#define DONATES	 true
#else
#define STEPS	 2		/* loads, stores and drops of all mutators */
#define DONATES	 (me < 2)
#endif

/* Sets, as bits: of objects 1 to 4; of entries, which are those and the rest of object 1. Object 0 is NULL. */
#define BIT(n)	 (1 << (n))
#define REST	 5
#define OBJECTS	 (BIT(1) | BIT(2) | BIT(3) | BIT(4))

byte word[6];			/* by entry */
byte reg[2 * THREADS];
byte marked = 0;
byte global = 0;
byte queue[RECORDS] = 0;
bool used[RECORDS] = false;
byte notes[THREADS] = 0;
byte roots = BIT(1) | BIT(2);	/* threads whose registers are not marked yet */
bool inside[THREADS] = false;	/* waited for by who stops the world */
bool door = false;
bool stop = false;
bool moved = false;		/* something was marked or scanned since the last stop */
byte steals = 0;		/* since something was scanned */
bool over = false;
byte steps = 0;

#define HELD_BY(t) (BIT(reg[2 * (t)]) | BIT(reg[2 * (t) + 1]))
#define WHITE(set) ((set) & OBJECTS & ~marked)

/* In an atomic sequence. Which entry is next is anybody's guess. */
inline take(set, entry) {
	if
	:: set & BIT(1) -> entry = 1
	:: set & BIT(2) -> entry = 2
	:: set & BIT(3) -> entry = 3
	:: set & BIT(4) -> entry = 4
	:: set & BIT(5) -> entry = 5
	fi;
	set = set & ~BIT(entry)
}

/* ---- the program ---- */

#define FIRST	 reg[2 * me]
#define SECOND	 reg[2 * me + 1]
#define MAY_STEP (MUTATES && !stop && !over && steps < STEPS)

inline note(to, value) {
	steps++;
	inside[me] = true;
	notes[me] = notes[me] | ((BIT(value) | BIT(word[to])) & OBJECTS)
}

inline store(to, value) {
	d_step { word[to] = value; inside[me] = false }
}

/* With the notes in hand. */
inline flush() {
#ifdef BROKEN_STOP_IN_FLUSH
	inside[me] = false;
	atomic { !stop -> inside[me] = true };
#endif
	d_step { found = WHITE(found); marked = marked | found; moved = moved || found != 0 };
	d_step { global = global | found; found = 0; inside[me] = false }
}

/* ---- a slice ---- */

#ifdef BROKEN_STOP_IN_SLICE
#define WAITED_FOR false
#define RUNS	   !stop
#else
#define WAITED_FOR true
#define RUNS	   true
#endif

/* Asked to stop, a slice scans one entry at most. */
#define MAY_GO_ON  (RUNS && !(stop && fed))
#define HUNGRY	   (MAY_GO_ON && queue[mine] == 0)
#define OTHER	   (1 - mine)
#define MAY_STEAL  (used[OTHER] && queue[OTHER] != 0)
#define STANDS(t)  ((roots & BIT(t)) && (!inside[t] || t == me))

inline mark_registers(t) {
	roots = roots & ~BIT(t);
	queue[mine] = WHITE(HELD_BY(t));
	marked = marked | queue[mine];
	fed = true;
	moved = true
}

/* With an entry in hand. */
inline scan() {
	d_step {
		RUNS -> seen = word[entry];
#ifdef BROKEN_PIECE_DROPPED
		queue[mine] = queue[mine] | (entry == 1 && !stop -> BIT(REST) : 0);
#else
		queue[mine] = queue[mine] | (entry == 1 -> BIT(REST) : 0);
#endif
		entry = 0
	};
#ifdef BROKEN_MARK_NOT_ATOMIC
	found = BIT(seen) & OBJECTS & ~marked;
	old = marked;
	marked = (found != 0 -> old | found : marked);
#else
	d_step { RUNS -> found = WHITE(BIT(seen)); marked = marked | found };
#endif
	d_step {
		RUNS -> queue[mine] = queue[mine] | found;
		seen = 0;
		found = 0;
		old = 0;
		fed = true;
		moved = true;
		steals = 0
	}
}

inline slice() {
	do
	:: if
	   :: atomic { MAY_GO_ON && queue[mine] != 0 -> take(queue[mine], entry) }
	   :: atomic { HUNGRY && global != 0 -> take(global, entry) }
#ifdef BROKEN_STEAL_TORN
	   :: atomic { HUNGRY && MAY_STEAL -> old = queue[OTHER]; take(old, entry) };
	      d_step { queue[OTHER] = old; old = 0 }
#else
	   :: atomic {
		HUNGRY && MAY_STEAL ->
		steals++;
		assert(steals <= RECORDS);
		take(queue[OTHER], entry);
		if
		:: found = queue[OTHER]; queue[OTHER] = 0
		:: true
		fi
	      };
#ifdef BROKEN_STEAL_LOSES
	      inside[me] = false;
	      atomic { !stop -> inside[me] = true };
#endif
#ifdef BROKEN_THIEF_QUEUES
	      d_step { found = found | BIT(entry); entry = 0 };
#endif
	      d_step { RUNS -> queue[mine] = queue[mine] | found; found = 0 }
#endif
	   fi;
#ifdef BROKEN_TURNS_BACK
	   if
	   :: stop -> atomic { queue[mine] = queue[mine] | BIT(entry); entry = 0 }; break
	   :: true
	   fi;
#endif
#ifdef BROKEN_THIEF_QUEUES
	   if
	   :: entry == 0
	   :: else -> scan()
	   fi
#else
	   scan()
#endif
	:: d_step { HUNGRY && STANDS(1) -> mark_registers(1) }
	:: d_step { HUNGRY && STANDS(2) -> mark_registers(2) }
	:: RUNS && fed -> break
	:: HUNGRY && global == 0 && !STANDS(1) && !STANDS(2) && !MAY_STEAL -> break
	od;
#ifndef BROKEN_SLICE_KEEPS
	atomic { RUNS -> found = queue[mine]; queue[mine] = 0 };
	d_step { RUNS -> global = global | found; found = 0 };
#endif
	atomic { RUNS -> used[mine] = false; mine = 0; inside[me] = false }
}

/* ---- the end ---- */

#define NEXT(n, object) (reached & BIT(object) -> BIT(word[n]) : 0)
#define REACHED		(reached | NEXT(1, 1) | NEXT(REST, 1) | NEXT(2, 2) | NEXT(3, 3) | NEXT(4, 4))

inline end() {
	atomic {
		reached = HELD_BY(1) | HELD_BY(2);
		reached = REACHED;
		reached = REACHED;
		reached = REACHED;
		assert(WHITE(reached) == 0);
		assert(roots == 0 && global == 0 && queue[0] == 0 && queue[1] == 0);
		assert(!over);
		over = true;
		reached = 0
	}
}

inline flush_notes() {
#ifndef BROKEN_NOTES_FORGOTTEN
	found = WHITE(notes[1] | notes[2]);
	moved = moved || found != 0;
	marked = marked | found;
	global = global | found;
	notes[1] = 0;
	notes[2] = 0;
	found = 0
#else
	skip
#endif
}

inline drain() {
	do
	:: global != 0 ->
		take(global, entry);
		global = global | (entry == 1 -> BIT(REST) : 0) | WHITE(BIT(word[entry]));
		marked = marked | (BIT(word[entry]) & OBJECTS)
	:: else -> break
	od;
	entry = 0
}

inline check() {
	stop = true;
	!inside[0] && !inside[1] && !inside[2];
#ifdef BROKEN_NO_EXACT_CHECK
	end();
#else
	atomic {
		flush_notes();
		if
		:: global == 0 -> end()
#ifdef BROKEN_RESTART_ENDS
		:: global != 0 -> end()
#else
		:: global != 0 -> assert(moved); moved = false
		:: global != 0 -> drain(); end()
#endif
		fi
	};
#endif
	stop = false
}

inline look() {
	atomic { !door -> door = true };
	if
#ifndef BROKEN_ENDS_TWICE
	:: over
#endif
#ifndef BROKEN_STALE_LOOK
	:: global != 0
#endif
	:: else ->
		if
		:: roots != 0 || (used[0] && queue[0] != 0) || (used[1] && queue[1] != 0)
		:: else -> check()
		fi
	fi;
	door = false
}

proctype thread(byte me) {
	byte entry = 0, seen = 0, found = 0, mine = 0, old = 0, reached = 0;
	bool fed = false;		/* the slice has scanned something */

	do
	:: d_step { MAY_STEP && FIRST != 0 -> SECOND = word[FIRST]; steps++ }
	:: d_step { MAY_STEP && FIRST == 1 -> SECOND = word[REST]; steps++ }
	:: d_step { MAY_STEP && FIRST != 0 -> note(FIRST, SECOND) }; store(FIRST, SECOND)
	:: d_step { MAY_STEP && FIRST == 1 -> note(REST, SECOND) }; store(REST, SECOND)
	:: d_step { MAY_STEP && FIRST == 1 -> note(REST, 0) }; store(REST, 0)
	:: d_step { MAY_STEP && SECOND != 0 -> note(SECOND, 0) }; store(SECOND, 0)
	:: d_step { MAY_STEP && SECOND != 0 -> SECOND = 0; steps++ }
	:: d_step { MAY_STEP && SECOND != 0 -> FIRST = SECOND; steps++ }
	:: d_step { !stop && !over && notes[me] != 0 -> found = notes[me]; notes[me] = 0; inside[me] = true }; flush()
	:: d_step {
		DONATES && !stop && !over && !(used[0] && used[1]) ->
		inside[me] = WAITED_FOR;
		mine = (used[0] -> 1 : 0);
		used[mine] = true
	   };
	   slice();
	   if
	   :: fed -> fed = false
	   :: else -> look()
	   fi
	:: over -> break
	od
}

init {
	atomic {
		/* the first has 2 and 3 in its words, and nothing in memory leads to 4 yet */
		reg[2] = 1;
		word[1] = 2;
		word[REST] = 3;
		reg[4] = 2;
		reg[5] = 4;
		run thread(2);
		run thread(1);
		run thread(0)
	}
}
