/* SPDX-License-Identifier: MIT */
/*
 * The world stop by signals: arch/host/host.c, with "inside" and "stop_request" of gc/cache.h and gc/thread.c. What differs
 * from boot/world.c (worldstop.pml): the request is written by the stopper, on another CPU than the thread's.
 *
 *   here       stands for
 *   stopper    loam_host_world_stop and _start, three times; between stops it need not wait for the thread to wake
 *   thread     goes in and out of the allocator
 *   handler    on_stop_signal: may come between any two steps
 *   park_at    the function of that name
 *   leave      loam_cache_leave, loam_cache_park
 *
 * The thread's stores to the request wait in a buffer, as on x86 and more so on aarch64: they are seen later than what it loads
 * next, unless it waits for them. Its handler is the same CPU's. (The stopper's own stores are in order: each
 * stop begins with a locked instruction, and the request is a release.)
 *
 * Safe: while the world is stopped the thread stands, outside. Live: the stopper does not wait for ever (no invalid end state).
 * BROKEN_STORE_WAITS: the request's end may be seen after the look at `world`; then it can undo the next stop's request, which
 * the signal did not need, for the thread was in the allocator when it came: nobody asks again.
 */
#define STOPS  3
#define ROUNDS 4		/* of the thread through the allocator */

byte world = 0;		/* odd while stopped */
byte parked_for = 0;
byte posts = 0;
bool request = false;
bool clearing = false;	/* the thread's buffer: request = false */
bool pending = false;	/* a signal is sent */
bool inside = false;
bool stands = false;
bool over = false;

inline drain() {
	atomic {
		if
		:: clearing -> clearing = false; request = false
		:: else
		fi
	}
}

/* Whoever moves parked_for on parks. */
#define PARK_AT(before, now, between)								\
	before = parked_for;									\
	between;										\
	do											\
	:: now = world;										\
	   between;										\
	   if											\
	   :: (now & 1) == 0 || before == now -> break						\
	   :: else										\
	   fi;											\
	   atomic {										\
		if										\
		:: parked_for == before -> drain(); parked_for = now; stands = true		\
		:: else -> before = parked_for; now = 0						\
		fi										\
	   }											\
	   if											\
	   :: now != 0 ->									\
		posts++;									\
		atomic { world != now -> stands = false };					\
		break										\
	   :: else										\
	   fi											\
	od;											\
	before = 0;										\
	now = 0

/* A handler is not interrupted by itself. */
inline signal() {
	if
	:: pending ->
		pending = false;
		if
		:: inside
		:: else -> PARK_AT(hbefore, hnow, skip)
		fi
	:: true
	fi
}

proctype thread() {
	byte before, now, hbefore, hnow, rounds = 0;

	do
	:: rounds == ROUNDS -> break
	:: else ->
		rounds++;
		signal();
		inside = true;
		signal();
		inside = false;
		signal();
		if
		:: request && !clearing ->
			clearing = true;
#ifndef BROKEN_STORE_WAITS
			drain();
#endif
			signal();
			PARK_AT(before, now, signal())
		:: else
		fi
	od;
	/* outside, until nobody stops the world any more */
	do
	:: pending -> signal()
	:: over && !pending -> break
	od
}

/* The buffer empties by itself, at any time. */
active proctype buffer() {
	do
	:: clearing -> drain()
	:: over && !clearing -> break
	od
}

proctype stopper() {
	byte stops = 0;

	do
	:: stops == STOPS -> break
	:: else ->
		world++;
		request = true;
		pending = true;
		atomic { posts == 1 -> posts = 0 };
		assert(stands && !inside && parked_for == world);
		assert(stands && !inside && parked_for == world);
		world++;
		stops++
	od;
	over = true
}

init {
	atomic {
		run thread();
		run stopper()
	}
}
