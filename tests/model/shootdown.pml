/* SPDX-License-Identifier: MIT */
/*
 * TLB shootdown before frame reuse: mm/tlb.c and mm/lock.h.
 *
 * One page, two frames. CPUs touch the page at any time, which fills their TLB from the entry.
 * Initiators take the space lock, change the entry to the other frame, move the generation on,
 * interrupt the others, forget it themselves, wait until every other CPU has seen the
 * generation, and then the old frame is free: somebody else's. An interrupt is taken only with
 * interrupts on; a CPU that spins for the lock has them off and looks for requests instead.
 *
 * Safe: when a frame becomes free no CPU's TLB leads to it, and none is used that is free. Live: nobody waits for ever (no invalid end state).
 * Each BROKEN_ variant leaves out one step and must fail.
 */
#define CPUS 3
#define INITIATORS 2

byte entry = 0;			/* the frame that the page maps */
bool free[2] = false;		/* frame 1 is the spare, not used by anybody else */
byte tlb[CPUS] = 2;		/* 2: nothing cached */
byte generation = 0;
byte seen[CPUS] = 0;
bool pending[CPUS] = false;	/* interrupt sent */
bool lock = false;
byte done = 0;

inline serve(me) {
	if
	:: seen[me] != generation ->
		byte wanted = generation;
#ifdef BROKEN_ACK_FIRST
		seen[me] = wanted;
		tlb[me] = 2
#else
		tlb[me] = 2;
		seen[me] = wanted
#endif
	:: else
	fi
}

inline touch(me) {
	if
	:: tlb[me] == 2 -> tlb[me] = entry
	:: else
	fi;
	assert(!free[tlb[me]])
}

inline ask(me) {
	generation++;
	i = 0;
	do
	:: i < CPUS -> pending[i] = (i != me); i++
	:: else -> break
	od
}

inline change(me) {
	free[1 - old] = false;		/* the other frame is taken for the page */
	entry = 1 - old
}

inline shoot(me) {
	byte old, i;

	/* the lock, with interrupts off from here to the end */
	do
	:: atomic { !lock -> lock = true }; break
#ifndef BROKEN_DEAF_SPINNER
	:: lock && seen[me] != generation -> serve(me)
#endif
	od;
	old = entry;
#ifdef BROKEN_LATE_CHANGE
	ask(me);
	change(me);
#else
	change(me);
	ask(me);
#endif
	seen[me] = generation;
	tlb[me] = 2;
#ifndef BROKEN_NO_WAIT
	i = 0;
	do
	:: i < CPUS -> seen[i] == generation; i++
	:: else -> break
	od;
#endif
	/* [TLB-1] and the next owner may do with it what it likes */
	assert(tlb[0] != old && tlb[1] != old && tlb[2] != old);
	free[old] = true;
	lock = false
}

/* A CPU that touches, takes interrupts, and, for the first ones, shoots down once. */
proctype cpu(byte me) {
	byte steps = 0;
	bool shot = (me >= INITIATORS);

	do
	:: pending[me] -> pending[me] = false; serve(me)
	:: steps < 2 -> touch(me); steps++
	:: !shot -> shoot(me); shot = true; done++
	:: shot && steps == 2 && done == INITIATORS && !pending[me] -> break
	od
}

init {
	atomic {
		free[1] = true;
		run cpu(0);
		run cpu(1);
		run cpu(2)
	}
}
