/* SPDX-License-Identifier: MIT */
/*
 * TLB shootdown before a frame or a table is used again: mm/tlb.c and mm/lock.h.
 *
 *   here             stands for
 *   change           the operations of mm/ptab.c that clear entries and unlink tables
 *   ask, shoot       everywhere (loam_tlb_everywhere), called by loam_tlb_batch_finish; loam_lock
 *   serve            loam_cpu_poll, from the interrupt or from loam_cpu_poll_or_relax
 *   forget           loam_tlb_local with `tables` set, loam_tlb_local_all
 *   free[], junk[]   loam_frame_free after that, and what the next owner does
 *
 * One page, two frames to map there, two tables to do it with. CPUs touch the page at any time, which
 * fills their cache of tables from the upper entry and their TLB from the lower one.
 * Initiators take the space lock, change both entries to the other table and frame, move the
 * generation on, interrupt the others, forget it themselves, wait until every other CPU has seen
 * the generation, and then the old ones are free: somebody else's. An interrupt is taken only with
 * interrupts on; a CPU that spins for the lock has them off and looks for requests instead.
 *
 * Safe: when a frame or a table becomes free no CPU's caches lead to it, and none is used that is free.
 * Live: nobody waits for ever (no invalid end state).
 * Each BROKEN_ variant leaves out one step and must fail.
 */
#define CPUS 3
#define INITIATORS 2

byte entry = 0;			/* the frame that the page maps */
bool free[2] = false;		/* frame 1 is the spare, not used by anybody else */
byte tlb[CPUS] = 2;		/* 2: nothing cached */
byte table = 0;			/* where the upper entry leads */
bool junk[2] = false;		/* the table is somebody else's, who writes there what he likes */
byte walk[CPUS] = 2;		/* the upper entry, as cached */
byte generation = 0;
byte seen[CPUS] = 0;
bool pending[CPUS] = false;	/* interrupt sent */
bool lock = false;
byte done = 0;

inline forget(me) {
#ifndef BROKEN_LEAVES_ONLY
	walk[me] = 2;
#endif
	tlb[me] = 2
}

inline serve(me) {
	if
	:: seen[me] != generation ->
		byte wanted = generation;
#ifdef BROKEN_ACK_FIRST
		seen[me] = wanted;
		forget(me)
#else
		forget(me);
		seen[me] = wanted
#endif
	:: else
	fi
}

inline touch(me) {
	if
	:: tlb[me] == 2 ->
		/* a hit in the cache of tables goes on from there, whatever the upper entry is by now */
		atomic {
			if
			:: walk[me] == 2 -> walk[me] = table
			:: else
			fi;
			assert(!junk[walk[me]]);
			tlb[me] = entry
		}
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
	entry = 1 - old;
	junk[1 - old_table] = false;
	table = 1 - old_table
}

inline shoot(me) {
	byte old, old_table, i;

	/* the lock, with interrupts off from here to the end */
	do
	:: atomic { !lock -> lock = true }; break
#ifndef BROKEN_DEAF_SPINNER
	:: lock && seen[me] != generation -> serve(me)
#endif
	od;
	old = entry;
	old_table = table;
#ifdef BROKEN_LATE_CHANGE
	ask(me);
	change(me);
#else
	change(me);
	ask(me);
#endif
	seen[me] = generation;
	forget(me);
#ifndef BROKEN_NO_WAIT
	i = 0;
	do
	:: i < CPUS -> seen[i] == generation; i++
	:: else -> break
	od;
#endif
	/* [TLB-1] and the next owner may do with it what it likes */
	assert(tlb[0] != old && tlb[1] != old && tlb[2] != old);
	assert(walk[0] != old_table && walk[1] != old_table && walk[2] != old_table);
	free[old] = true;
	junk[old_table] = true;
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
		junk[1] = true;
		run cpu(0);
		run cpu(1);
		run cpu(2)
	}
}
