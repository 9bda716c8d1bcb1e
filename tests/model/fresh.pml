/* SPDX-License-Identifier: MIT */
/*
 * A page that comes into a span while a round goes on: gc/clean.c (note, keep_scanned), gc/span.c (set_table), mm/dirty.c.
 *
 * One page, which was written before it was free, or shares a leaf with others that are; the CPU of the program remembers that. A
 * store notes itself in the page table, unless the CPU remembers that it is noted there.
 *
 *   program  takes the page into a span, then stores a pointer there, once
 *   round    if the page is noted: the note is cleared, all CPUs forget it, and then it is asked whether the page is in a span; if so it is
 *            scanned. Some rounds; then the world stops, and if the page is noted, and in a span, it is scanned
 *
 * Safe [CLEAN-1]: in the end, what was stored was scanned. BROKEN_ASKED_EARLY: it is asked when the page is told, before CPUs forget.
 * BROKEN_STORED_FIRST: the page is stored to before the span is seen.
 */
#define ROUNDS	 2

bool noted = true;		/* in the page table */
bool known = true;		/* by the program's CPU: it is noted */
bool span = false;
bool stored = false;
bool found = false;		/* by a scan */
bool forget = false;
bool over = false;		/* the program stands */

inline store() {
	atomic {
		if
		:: !known -> noted = true; known = true
		:: else
		fi;
		stored = true
	}
}

proctype program() {
#ifdef BROKEN_STORED_FIRST
	store();
	span = true;
#else
	span = true;
	store();
#endif
	over = true
}

/* The program's CPU is interrupted at any time. */
active proctype interrupt() {
end:	do
	:: atomic { forget -> known = false; forget = false }
	od
}

inline scan() {
	found = stored
}

proctype collector() {
	bool in_span;
	byte rounds = 0;

	do
	:: rounds < ROUNDS ->
		rounds++;
		if
		:: noted ->
			noted = false;
#ifdef BROKEN_ASKED_EARLY
			in_span = span;
#endif
			forget = true;
			!forget;
#ifndef BROKEN_ASKED_EARLY
			in_span = span;
#endif
			if
			:: in_span -> scan()
			:: else
			fi
		:: else
		fi
	:: rounds > 0 -> break
	od;
	over;
	if
	:: noted && span -> scan()
	:: else
	fi;
	assert(found)
}

init {
	atomic {
		run program();
		run collector()
	}
}
