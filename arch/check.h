/* SPDX-License-Identifier: MIT */
/*
 * Checks, by cause.
 *
 *   LOAM_CHECK(c, msg)  always: going on would be unsafe, or the integration is wrong; `msg`
 *                       names the fix. Never for bad input: that gets a result code.
 *   LOAM_ASSERT(c)      LOAM_DEBUG >= 1: a bug in loam, O(1).
 *   LOAM_VERIFY(stmt)   LOAM_DEBUG >= 2: walk a whole structure.
 *   LOAM_DEBUG >= 3     poison, shadow state, a second marker after each cycle.
 */
#ifndef LOAM_ARCH_CHECK_H
#define LOAM_ARCH_CHECK_H

#include <loam/host.h>

#ifndef LOAM_DEBUG
#define LOAM_DEBUG 1
#endif

#define LOAM_CHECK(c, msg) \
	((__builtin_expect(!(c), 0)) ? loam_host_panic(__FILE__, __LINE__, msg) : (void)0)

#if LOAM_DEBUG >= 1
#define LOAM_ASSERT(c) LOAM_CHECK(c, "assertion failed: " #c)
#else
#define LOAM_ASSERT(c) ((void)sizeof(c))
#endif

#if LOAM_DEBUG >= 2
#define LOAM_VERIFY(stmt) \
	do {              \
		stmt;     \
	} while (0)
#else
#define LOAM_VERIFY(stmt) \
	do {              \
	} while (0)
#endif

#endif
