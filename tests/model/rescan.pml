/* SPDX-License-Identifier: MIT */
/*
 * Objects that are marked and cannot be made to wait, while others are recovered: gc/mark.c (flag, rescan_span).
 *
 *   marker    marks an object; there is no room for it to wait, so it flags the span, and then says that some span is flagged
 *   recovery  when some span is said to be flagged: says that none is, clears the flag if it is set, and then scans what is
 *             marked. A plain store would wait in its CPU's buffer, and clear the flag only after it has looked at the marks
 *
 * Safe: in the end, when no span is said to be flagged, what is marked has been scanned. The BROKEN_ variant must fail.
 */
#define OBJECTS 2

bool mark[OBJECTS], scanned[OBJECTS];
bool flag = true, some = true;	/* of an object that was marked before */
bool buffered = false;		/* the clearing store */
byte over = 0;

proctype marker(byte object) {
	mark[object] = true;
	flag = true;
	some = true;
	over++
}

proctype recovery() {
	do
	:: some ->
		some = false;
		if
		:: flag ->
#ifdef BROKEN_FLAG_STORED
			buffered = true;
#else
			flag = false;
#endif
			scanned[0] = scanned[0] || mark[0];
			scanned[1] = scanned[1] || mark[1];
			if
			:: buffered -> flag = false; buffered = false
			:: else
			fi
		:: else
		fi
	:: over == OBJECTS && !some -> break
	od;
	assert(scanned[0] && scanned[1])
}

init {
	atomic {
		run marker(0);
		run marker(1);
		run recovery()
	}
}
