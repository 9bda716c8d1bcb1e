/* SPDX-License-Identifier: MIT */
/* For tests with threads: what fails is counted, for cmocka's asserts are the main thread's; and attaching one. */
#ifndef LOAM_TESTS_THREAD_SETUP_H
#define LOAM_TESTS_THREAD_SETUP_H

#include "tests/host/heap_setup.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned failures; /* atomic */

#define CHECK(c)                                                                     \
	do {                                                                         \
		if (!(c) && __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) < 10) \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c);      \
	} while (0)

/* The running thread, with all of its stack. */
static inline void attach(struct loam_thread *thread)
{
	pthread_attr_t attr;
	void *low;
	size_t size;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &low, &size);
	pthread_attr_destroy(&attr);
	CHECK(loam_thread_attach(thread, (char *)low + size) == LOAM_OK);
}

/* A thread that is attached from when it makes *over false until somebody makes it true again. */
__attribute__((unused)) static void *be_attached(void *over)
{
	struct loam_thread *thread = aligned_alloc(64, sizeof(*thread));

	attach(thread);
	__atomic_store_n((bool *)over, false, __ATOMIC_RELEASE);
	while (!__atomic_load_n((bool *)over, __ATOMIC_ACQUIRE))
		;
	CHECK(loam_thread_detach(thread) == LOAM_OK);
	free(thread);
	return NULL;
}

#endif
