/* SPDX-License-Identifier: MIT */
/*
 * The world stop: boot/world.c, with "inside" of gc/cache.h and gc/thread.c.
 *
 *   here              stands for
 *   handler           loam_world_interrupt
 *   parked_here       loam_host_thread_parked
 *   park              the function of that name
 *   knock             enter (the door)
 *   stop_and_start    loam_host_world_stop, a collection, loam_host_world_start
 *   allocate          a slow way through the allocator: loam_cache_enter, heap.lock, a call of mm, loam_cache_leave
 *   touch             the program, and the fast path of loam_alloc
 *
 * Three CPUs with a thread each, which allocate and touch memory; the first two stop the world once as well, the
 * second of them with interrupts off. An interrupt is taken at any time later, when interrupts are on. In the
 * allocator a thread holds heap.lock, and for a while mm's lock with interrupts off. Memory is sequentially consistent:
 * what CPUs tell each other here goes through `world`, `parked_for`, `door_now` and locks, with release and acquire;
 * `inside` and `request` are of one CPU and its own handler.
 *
 * Safe: while the world is stopped [WORLD-1] all others are parked outside the allocator, heap.lock is free, and
 * nobody touches memory; one stops at a time [WORLD-2]. Live: nobody waits for ever (no invalid end state).
 * Each BROKEN_ variant leaves out one step and must fail.
 */
#define CPUS	 3
#define STOPPERS 2
#define NOBODY	 CPUS

byte world = 0;			/* odd while stopped */
byte stopper = NOBODY;
byte parked_for[CPUS] = 0;
byte door_next = 0, door_now = 0;
bool pending[CPUS] = false;	/* an interrupt is sent */
bool off[CPUS] = false;		/* interrupts are off */
bool inside[CPUS] = false;
bool request[CPUS] = false;
bool heap_lock = false, mm_lock = false;
bool stopped = false;		/* the collector is at work */
byte ended = 0;			/* CPUs that have nothing more to do */

#define ASKED(me) ((world & 1) == 1 && stopper != me)

/* Interrupts are off. */
inline park(me) {
	byte now;

	atomic { now = world; parked_for[me] = now };
	world != now;
	now = 0
}

inline parked_here(me) {
	bool was;

	was = off[me];
	off[me] = true;
	if
	:: ASKED(me) -> park(me)
	:: else
	fi;
	off[me] = was;
	was = false
}

inline handler(me) {
	atomic { pending[me] = false; off[me] = true };
	if
	:: ASKED(me) ->
		if
#ifndef BROKEN_PARK_INSIDE
		:: inside[me] ->
#ifndef BROKEN_NO_REQUEST
			request[me] = true
#else
			skip
#endif
#endif
		:: else -> park(me)
		fi
	:: else
	fi;
	off[me] = false
}

#define INTERRUPT(me) pending[me] && !off[me]

/* Between any two steps an interrupt may come, or wait. */
inline maybe(me) {
	if
	:: INTERRUPT(me) -> handler(me)
	:: true
	fi
}

inline touch(me) {
	assert(!stopped || stopper == me)
}

inline allocate(me) {
	inside[me] = true;
	maybe(me);
	do
	:: atomic { !heap_lock -> heap_lock = true }; break
	:: INTERRUPT(me) -> handler(me)
	od;
	touch(me);
	maybe(me);
	off[me] = true;
	atomic { !mm_lock -> mm_lock = true };
	mm_lock = false;
	off[me] = false;
	maybe(me);
	heap_lock = false;
	maybe(me);
	inside[me] = false;
	maybe(me);
	if
	:: request[me] -> request[me] = false; maybe(me); parked_here(me)
	:: else
	fi
}

inline knock(me) {
	atomic { ticket = door_next; door_next++ };
	do
	:: door_now == ticket -> break
#ifndef BROKEN_DEAF_AT_THE_DOOR
	:: ASKED(me) && door_now != ticket -> parked_here(me)
#endif
	:: INTERRUPT(me) -> handler(me)
	od
}

inline send(me) {
	i = 0;
	do
	:: i < CPUS -> pending[i] = pending[i] || (i != me); i++
	:: else -> break
	od
}

#ifdef BROKEN_ANY_PARK
#define IS_PARKED(cpu, now) (parked_for[cpu] != 0)
#else
#define IS_PARKED(cpu, now) (parked_for[cpu] == now)
#endif

inline stop_and_start(me) {
	byte ticket, i, mine;

	off[me] = (me == 1);	/* as the caller had them */
	knock(me);
	assert(stopper == NOBODY);
#ifdef BROKEN_INTERRUPT_FIRST
	send(me);
#endif
	stopper = me;
	world++;
	mine = world;
#ifndef BROKEN_INTERRUPT_FIRST
	send(me);
#endif
	i = 0;
	do
	:: i < CPUS && (i == me || IS_PARKED(i, mine)) -> i++
	:: i == CPUS -> break
	:: i < CPUS && INTERRUPT(me) -> handler(me)
	od;
	stopped = true;
	assert(!heap_lock);	/* collect_stopped */
	i = 0;
	do
	:: i < CPUS -> assert(i == me || (!inside[i] && parked_for[i] == mine && world == mine)); i++
	:: else -> break
	od;
	stopped = false;
	stopper = NOBODY;
	world++;
	door_now++;
	off[me] = false;
	ticket = 0;
	i = 0;
	mine = 0
}

proctype cpu(byte me) {
	allocate(me);
	touch(me);
	maybe(me);
	if
	:: me < STOPPERS -> stop_and_start(me)
	:: else -> allocate(me)
	fi;
	touch(me);
	ended++;
	/* idle, attached, until nobody stops the world any more */
	do
	:: INTERRUPT(me) -> handler(me)
	:: ended == CPUS && !pending[me] -> break
	od
}

init {
	atomic {
		run cpu(0);
		run cpu(1);
		run cpu(2)
	}
}
