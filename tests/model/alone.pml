/* SPDX-License-Identifier: MIT */
/*
 * Who marks without atomic operations: be_alone, loam_work_not_alone and loam_worker_give of gc/work.c, with the count of attached
 * threads of gc/thread.c.
 *
 *   slice    be_alone: `alone` is set, unless it is; who has set it looks at the count, and is solo if that is 1, or takes it back. It
 *            marks; who is solo takes `alone` back in the end
 *   attach   the count, then loam_work_not_alone: waits until `alone` is 0
 *   detach   the count
 *
 * Three threads that are attached, mark and detach; the first two are attached in the beginning, the third comes, and the first stays.
 * What a thread takes back waits in a buffer, and is seen later than what it loads next; its locked instructions wait for it.
 *
 * Safe [WORK-3]: while one is solo, no other thread marks. Live: who attaches itself does not wait for ever (no invalid end state).
 * BROKEN_OTHERS_TAKE_BACK: `alone` is set in any case, and so one that is not solo takes back what another has set; if it is gone when that
 * one looks at the count, a third does not wait. BROKEN_STORE_WAITS: `alone` may be seen after the look at the count.
 */
#define THREADS	 3
#define SLICES	 2

byte alone = 0;
byte attached = 2;
byte solo = 0, marking = 0;	/* how many are */
byte over = 0;

/* Buffers: `alone` becomes 0; or 1. */
bool clears[THREADS] = false;
bool sets[THREADS] = false;

inline drain(me) {
	if
	:: clears[me] -> clears[me] = false; alone = 0
	:: else
	fi;
	if
	:: sets[me] -> sets[me] = false; alone = 1
	:: else
	fi
}

inline be_alone(me) {
#ifdef BROKEN_STORE_WAITS
	atomic { drain(me); was = alone; sets[me] = (was == 0) };
#else
	atomic {
		drain(me);
#ifdef BROKEN_OTHERS_TAKE_BACK
		was = 0;
#else
		was = alone;
#endif
		alone = 1
	};
#endif
	if
	:: was == 0 ->
		if
		:: attached == 1 -> is_solo = true
		:: else -> atomic { drain(me); clears[me] = true }
		fi
	:: else
	fi;
	was = 0
}

inline slice(me) {
	be_alone(me);
	atomic { marking++; solo = solo + is_solo; assert(solo == 0 || marking == 1) };
	atomic { marking--; solo = solo - is_solo; if :: is_solo -> drain(me); clears[me] = true :: else fi };
	is_solo = false
}

/* What is in the buffer is seen in the end, whatever its thread does. */
active [THREADS] proctype buffer() {
	do
	:: atomic { clears[_pid] || sets[_pid] -> drain(_pid) }
	:: over == THREADS && !clears[_pid] && !sets[_pid] -> break
	od
}

proctype thread(byte me; bool comes, goes) {
	byte was = 0, slices = 0;
	bool is_solo = false;

	if
	:: comes ->
		atomic { drain(me); attached++ };
		alone == 0
	:: else
	fi;
	do
	:: slices < SLICES -> slice(me); slices++
	:: break
	od;
	if
	:: goes -> atomic { drain(me); attached-- }
	:: else
	fi;
	over++
}

init {
	atomic {
		run thread(0, false, false);
		run thread(1, false, true);
		run thread(2, true, true)
	}
}
