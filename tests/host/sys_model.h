/* SPDX-License-Identifier: MIT */
/*
 * The ten calls against a table of states, written once and run on every back end: on Linux
 * (tests/host/test_sys.c) and on the fake machine of each ISA (tests/fake/test_sys.c). sys_model.c has the
 * random calls, sys_fail.c what must fail.
 */
#ifndef LOAM_TESTS_SYS_MODEL_H
#define LOAM_TESTS_SYS_MODEL_H

#include "tests/host/support.h"

/* What a back end's test supplies. */
struct sys_env {
	/* the model covers [window, window + window_bytes); `exact`: nothing may be handed out
	 * beyond, so NOVIRT can be predicted */
	uintptr_t window;
	size_t window_bytes;
	bool exact;
	bool memory_may_run_out;		     /* NOMEM may come by itself */
	bool (*read)(uintptr_t va, uint64_t *value); /* false if it traps */
	bool (*write)(uintptr_t va, uint64_t value);
	void (*settled)(void);	     /* after each call; NULL: nothing to check */
	void (*fail_at)(uint64_t n); /* the n-th request for memory fails; 0: none */
	uint64_t (*frames)(void);    /* free frames and those of owner META; NULL: not countable */
};

/* loam_mm_init has been called; the window is all None. Steps of random calls with random
 * arguments, good and bad; every result, state, owner, content and sum is predicted. */
void sys_model_run(const struct sys_env *env, uint64_t seed, unsigned steps);

/* Every call, with the n-th request for memory failing, for every n: NOMEM, and nothing changed. */
void sys_model_nth_failure(const struct sys_env *env);

/* Bad input to each call; with SYS_TABLE=1 in the environment the table is printed as Markdown.
 * Turns huge pages off at the end. Returns the number of rows. */
unsigned sys_model_bad_input(const struct sys_env *env);

#endif
