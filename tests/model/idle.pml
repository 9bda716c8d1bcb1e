/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs may sleep while a cycle marks: slice and end of gc/collect.c, by loam_gc_work.
 *
 *   cpu  says that it is active, and takes something that waits, if anything does; that may lead to more, which waits; then it is not
 *        active any more. If it found nothing, it tries the lock; who has it looks whether nobody is active and then whether
 *        nothing waits. If so the world stops, and that is looked at exactly: marking is over, or the CPU asks again. If not, it
 *        sleeps, for others mark. Who does not get the lock asks again
 *
 * Who sleeps is woken by nobody (in a kernel, by the next interrupt). Safe: when all sleep, marking is over. BROKEN_LOSER_SLEEPS: who does
 * not get the lock sleeps, too.
 */
#define CPUS	3
#define MOST	3	/* things that ever wait */

byte waiting = 1, made = 1, busy = 0, asleep = 0;
bool lock = false, over = false;

active [CPUS] proctype cpu() {
	bool found, got, seems;

	do
	:: over -> break
	:: else ->
		busy++;
		atomic { found = waiting > 0; waiting = waiting - found };
		if
		:: found && made < MOST -> atomic { made++; waiting++ }
		:: true
		fi;
		atomic { busy--; seems = false; got = false };
		if
		:: found
		:: else ->
			atomic { got = !lock; lock = true };
			if
			:: !got ->
#ifdef BROKEN_LOSER_SLEEPS
				break
#else
				skip
#endif
			:: else ->
				seems = busy == 0;
				seems = seems && waiting == 0;
				if
				:: seems -> atomic { over = busy == 0 && waiting == 0; lock = false }
				:: else -> lock = false; break
				fi
			fi
		fi
	od;
	atomic { asleep++; assert(asleep < CPUS || over) }
}
