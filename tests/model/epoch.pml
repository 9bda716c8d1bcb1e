/* SPDX-License-Identifier: MIT */
/*
 * Epoch reclamation: mm/epoch.c, with loam_space_drop_later and loam_space_commit of mm/space.c,
 * loam_cpu_online and _offline of mm/cpu.c.
 *
 *   here             stands for
 *   unuse            loam_space_drop_later, loam_epoch_defer
 *   use              loam_epoch_settle, loam_epoch_settle_all, loam_space_commit
 *   quiescent        loam_cpu_quiescent
 *   idle_enter       loam_cpu_idle_enter
 *   idle_leave       loam_cpu_idle_leave
 *   go, come         loam_cpu_offline, loam_cpu_online (loam_epoch_leave, loam_epoch_join)
 *   catch_up, pass   the functions of that name
 *   all_passed, reap, reap_if_ripe   the functions of that name
 *
 * One page, two frames, of which one is somebody else's at first. CPU 0 gives the page's frame
 * back and takes a frame for the page again; all CPUs touch the page, the others pass, sleep and wake
 * as they like; the last one goes and comes. An entry that is in the table may get into any TLB at any time,
 * also into that of a CPU that sleeps. Memory is as on x86: a store waits in its CPU's buffer, in
 * order, and its own CPU sees it before the others do; an atomic read-modify-write, and what the code
 * calls sequentially consistent, wait for the buffer to drain. (That a shootdown empties all TLBs
 * is shootdown.pml's affair.)
 *
 * Safe: no CPU uses a frame that is somebody else's, and none uses another than the one that the
 * page has. Nothing is forgotten: when all CPUs have passed or sleep and nobody is at work, no frame
 * waits [EPOCH-5]. Live: nobody waits for ever (no invalid end state).
 * Each BROKEN_ variant leaves out one step and must fail. MORE_EPOCHS: the page goes and comes twice,
 * and only one CPU sleeps.
 */
#define CPUS  3
#define NONE  2			/* no frame */
#if defined(MORE_EPOCHS) || defined(BROKEN_EPOCH_AFTER_FLUSH)
#define EPOCHS 2		/* how often the page is given back */
#define SLEEPS(cpu) (cpu == 1)
#else
#define EPOCHS 1
#define SLEEPS(cpu) (cpu != 0)
#endif

byte entry = 0;			/* the frame that the page maps */
bool foreign[2] = false;	/* the frame is somebody else's */
byte tlb[CPUS] = NONE;
byte waits = NONE;		/* the piece: its frame */
byte stamp = 0;			/*            its epoch */
byte epoch = 0;
byte oldest = 0;
byte passed[CPUS] = 0;
bool idle[CPUS] = false;
bool online[CPUS] = true;
byte lock = 0;			/* the space lock */
bool busy[CPUS] = false;	/* inside one of the calls */

/* ---- memory: `buffer` has what the others do not see yet, `own_` what a CPU itself stored last ---- */

mtype = {IDLE, PASSED, OLDEST, ENTRY, EPOCH, LOCK};
chan buffer[CPUS] = [3] of {mtype, byte};
byte own_passed[CPUS] = 0;
bool own_idle[CPUS] = false;

#define DRAINED(me) (len(buffer[me]) == 0)

inline drain(c) {
	d_step {
		if
		:: buffer[c]?IDLE(value) -> idle[c] = value
		:: buffer[c]?PASSED(value) -> passed[c] = value
		:: buffer[c]?OLDEST(value) -> oldest = value
		:: buffer[c]?ENTRY(value) -> entry = value
		:: buffer[c]?EPOCH(value) -> epoch = value
		:: buffer[c]?LOCK(value) -> lock = value
		fi;
		value = 0
	}
}

active proctype hardware() {
	byte value;
end:
	do
	:: !DRAINED(0) -> drain(0)
	:: !DRAINED(1) -> drain(1)
	:: !DRAINED(2) -> drain(2)
	:: tlb[1] == NONE && entry != NONE -> tlb[1] = entry
	:: tlb[2] == NONE && entry != NONE -> tlb[2] = entry
	od
}

/* Two ways to store: into the buffer, or sequentially consistent, which is an exchange on x86. */
inline idle_relaxed(me, what) {
	atomic { busy[me] = true; buffer[me]!IDLE(what); own_idle[me] = what }
}

inline idle_exchange(me, what) {
	d_step { DRAINED(me) -> busy[me] = true; idle[me] = what; own_idle[me] = what }
}

inline passed_relaxed(me, what) {
	atomic { buffer[me]!PASSED(what); own_passed[me] = what }
}

inline passed_exchange(me, what) {
	d_step { DRAINED(me) -> passed[me] = what; own_passed[me] = what }
}

inline lock_space(me) {
	atomic { busy[me] = true; DRAINED(me) && lock == 0 -> lock = 1 }
}

inline unlock_space(me) {
	/* with nothing before it in the buffer, seen late is as good as done late */
	atomic {
		if
		:: DRAINED(me) -> lock = 0
		:: else -> buffer[me]!LOCK(0)
		fi
	}
}

/* ---- mm/epoch.c ---- */

inline pass(me, now) {
#ifndef BROKEN_NO_FLUSH
	tlb[me] = NONE;
#endif
#if defined(BROKEN_MIGRATES)
	/* the thread was on another CPU when it asked which one this is */
	if
	:: passed_exchange(me, now)
	:: passed_exchange((me + 1) % CPUS, now)
	fi
#elif defined(BROKEN_RELAXED_PASSED) || defined(BROKEN_RELAXED_EPOCH)
	passed_relaxed(me, now)
#else
	passed_exchange(me, now)
#endif
}

/* ok = has every CPU forgotten what was cleared before `when`? */
inline all_passed(me, when) {
	do
	:: atomic { c < CPUS && (!online[c] || (c == me -> own_passed[c] : passed[c]) >= when) -> c++ }
	:: else ->
		if
		:: atomic { c < CPUS && (c == me -> own_idle[c] : idle[c]) -> c++ }
		:: else -> break
		fi
	od;
	atomic { ok = (c == CPUS); c = 0 }
}

inline drop(me) {
	atomic { buffer[me]!OLDEST(0); foreign[waits] = true; waits = NONE; stamp = 0 }
}

inline reap(me) {
	if
	:: waits != NONE ->
#ifdef BROKEN_EPOCH_EARLY
		all_passed(me, stamp - 1);
#else
		all_passed(me, stamp);
#endif
		if
		:: ok -> drop(me)
		:: else
		fi
	:: else
	fi
}

inline reap_if_ripe(me) {
	if
	:: atomic { oldest != 0 -> first = oldest };
		all_passed(me, first);
		if
		:: ok -> lock_space(me); reap(me); unlock_space(me)
		:: else
		fi;
		atomic { first = 0; ok = false }
	:: else
	fi
}

/* moved = it passed an epoch */
inline catch_up(me) {
	if
	:: atomic { epoch != own_passed[me] -> now = epoch; moved = true; busy[me] = true };
#ifdef BROKEN_EPOCH_AFTER_FLUSH
		tlb[me] = NONE;
		now = epoch;
		passed_exchange(me, now);
#else
		pass(me, now);
#endif
		now = 0
	:: else
	fi
}

inline quiescent(me) {
	if
	:: atomic { oldest != 0 -> busy[me] = true };
		catch_up(me);
		if
		:: moved -> reap_if_ripe(me)
		:: else
		fi
	:: else
	fi
}

inline idle_enter(me) {
	catch_up(me);
#ifdef BROKEN_RELAXED_ENTER
	idle_relaxed(me, true);
#else
	idle_exchange(me, true);
#endif
	reap_if_ripe(me)
}

inline idle_leave(me) {
#ifdef BROKEN_RELAXED_LEAVE
	idle_relaxed(me, false);
#else
	idle_exchange(me, false);
#endif
#ifdef BROKEN_LEAVE_WITHOUT_FLUSH
	skip
#else
	catch_up(me);
#ifndef BROKEN_LEAVE_WITHOUT_REAP
	if
	:: moved -> reap_if_ripe(me)
	:: else
	fi
#endif
#endif
}

/* The page's frame is to go, but it waits. */
inline unuse(me) {
	lock_space(me);
	old = entry;
#if defined(BROKEN_EPOCH_FIRST)
	atomic { DRAINED(me) -> epoch++; waits = old; stamp = epoch };
	buffer[me]!ENTRY(NONE);
#elif defined(BROKEN_RELAXED_EPOCH)
	buffer[me]!ENTRY(NONE);
	atomic { buffer[me]!EPOCH(epoch + 1); waits = old; stamp = epoch + 1 };
#else
	buffer[me]!ENTRY(NONE);
	atomic { DRAINED(me) -> epoch++; waits = old; stamp = epoch };
#endif
#if defined(BROKEN_RELAXED_EPOCH) || defined(BROKEN_RELAXED_PASSED)
	buffer[me]!OLDEST(stamp);
#else
	atomic { DRAINED(me) -> oldest = stamp };
#endif
	pass(me, stamp);
	reap(me);
	unlock_space(me);
	atomic { old = 0; ok = false }
}

/* The page gets a frame, whichever is to be had. */
inline use(me) {
	lock_space(me);
#ifndef BROKEN_TWO_FRAMES
	reap(me);
	if
	:: waits != NONE ->
#ifndef BROKEN_SETTLE_WITHOUT_FLUSH
		/* each at another moment; none has a way to what left the table before */
		tlb[0] = NONE;
		tlb[1] = NONE;
		tlb[2] = NONE;
#endif
		drop(me)
	:: else
	fi;
#endif
	atomic {
		if
		:: foreign[0] -> old = 0
		:: foreign[1] -> old = 1
		fi;
		foreign[old] = false
	};
	buffer[me]!ENTRY(old);
	unlock_space(me);
	atomic { old = 0; ok = false }
}

/* ---- mm/cpu.c ---- */

inline go(me) {
	lock_space(me);
	online[me] = false;
#ifndef BROKEN_GO_WITHOUT_REAP
	reap(me);
#endif
	unlock_space(me)
}

inline come(me) {
	lock_space(me);
#ifdef BROKEN_COME_LATE
	online[me] = true;
	passed_exchange(me, epoch);
#else
	passed_exchange(me, epoch);
	online[me] = true;
#endif
#ifndef BROKEN_COME_WITHOUT_FLUSH
	tlb[me] = NONE;
#endif
	unlock_space(me)
}

/* ---- CPUs ---- */

inline touch(me) {
	atomic {
		if
		:: tlb[me] == NONE && entry != NONE -> tlb[me] = entry
		:: else
		fi;
		if
		:: tlb[me] == NONE	/* it faults */
		:: else ->
			assert(!foreign[tlb[me]]);
			assert(entry == NONE || entry == tlb[me])	/* [EPOCH-4] */
		fi
	}
}

#define END(me)	  atomic { busy[me] = false; moved = false; ok = false }

proctype cpu(byte me) {
	byte now, c, first, old;
	bool ok, moved;

end:
	do
	:: touch(me)
	:: me != 0 -> quiescent(me); END(me)
	:: SLEEPS(me) ->
		idle_enter(me); END(me);
end_asleep:
		idle_leave(me); END(me)
	:: me == CPUS - 1 ->
		go(me); END(me);
end_gone:
		come(me); END(me)
	:: me == 0 && entry != NONE && waits == NONE && epoch < EPOCHS ->
		unuse(me); END(me)
	:: me == 0 && entry == NONE && DRAINED(0) ->
		use(me); END(me)
	od
}

/* Whose turn would it be to see that all have passed? */
#define DONE(c) (!busy[c] && DRAINED(c) && (!online[c] || passed[c] >= stamp || idle[c]))
active proctype nothing_is_forgotten() {
end:
	atomic {
		waits != NONE && DONE(0) && DONE(1) && DONE(2) -> assert(false)
	}
}

init {
	atomic {
		foreign[1] = true;
		run cpu(0);
		run cpu(1);
		run cpu(2)
	}
}
