/* SPDX-License-Identifier: MIT */
/*
 * When a round may begin, if others look for pages of the last one: gc/collect.c (quiet) and gc/clean.c.
 *
 * Pages that are to be scanned again are bits in words. Workers take a word at a time, under a lock that the round does not take: it
 * may begin only when no bits are left and nobody looks for some.
 *
 *   worker  says that it is active; if pages are left, it goes from word to word, from the first that nobody has looked at, until it finds
 *           one with bits, and takes them; it scans those pages, of which fewer are left then, or puts some back; then
 *           it is not active any more
 *   round   one thread at a time: no pages are left, and, looked at after that, nobody is active. Then all words may have bits again,
 *           and the first is the first that nobody has looked at; in the end it says how many are left
 *
 * Safe: nobody takes a word while a round runs. What is left is found: at the end of a round as many bits are set as it says, and none
 * of them is before the first word that nobody has looked at. Each BROKEN_ variant must fail.
 */
#define WORDS	2
#define ROUNDS	2

byte page[WORDS] = 0;		/* one a word will do */
byte first = WORDS;		/* words before it have been looked at */
byte left = 0;			/* set, or in somebody's hand */
byte busy = 0;
bool lock = false;
bool round = false;
byte rounds = 0;

proctype worker() {
	byte word = WORDS, at;

	do
	:: rounds < ROUNDS || left != 0 ->
		atomic { busy++ };
		if
		:: left == 0
		:: else ->
			atomic { !lock -> lock = true };
			do
			:: word == WORDS && first < WORDS ->
				assert(!round);
				at = first;
				first = at + 1;
				if
				:: page[at] != 0 -> word = at
				:: else
				fi;
				page[at] = 0
			:: else -> break
			od;
			lock = false;
			if
			:: word < WORDS ->	/* scanned */
				word = WORDS;
				atomic { left-- }
			:: word < WORDS ->	/* enough for now */
				atomic { !lock -> lock = true };
				page[word] = 1;
				if
				:: word < first -> first = word
				:: else
				fi;
				word = WORDS;
				lock = false
			:: else
			fi
		fi;
		atomic { busy-- }
	:: rounds == ROUNDS && left == 0 && busy == 0 && !round -> break
	od
}

proctype rounder() {
	byte told, i;
	bool none;

	do
	:: rounds == ROUNDS -> break
	:: else ->
#ifdef BROKEN_ACTIVE_FIRST
		none = busy == 0;
		none = none && left == 0;
#else
		none = left == 0;
#ifndef BROKEN_ACTIVE_NOT_ASKED
		none = none && busy == 0;
#endif
#endif
		if
		:: none ->
			round = true;
			told = 0;
			first = 0;
			i = 0;
			do
			:: i < WORDS ->
				if
				:: page[i] = 1; told++
				:: true
				fi;
				i++
			:: else -> break
			od;
			atomic {
				assert(page[0] + page[1] == told && first == 0);
				round = false;
				rounds++;
				left = told
			}
		:: else
		fi
	od
}

init {
	atomic {
		run worker();
		run worker();
		run rounder()
	}
}
