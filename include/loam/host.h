/* SPDX-License-Identifier: MIT */
/*
 * What a host kernel supplies: link-time functions. A missing one is a link error.
 *
 * With one of its locks held loam calls only loam_host_panic, loam_host_log, loam_host_cpu_id,
 * loam_host_ipi and loam_host_now_ns: they take no loam lock, wait for nothing and allocate
 * nothing.
 * A kernel with one CPU and one thread writes loam_host_panic and loam_host_log, and links
 * boot/host_up.c and boot/<isa>/clock.c for the rest: they need these headers alone. One that switches
 * threads on its CPU writes loam_host_thread, loam_host_thread_set, loam_host_thread_parked,
 * loam_host_world_stop, loam_host_world_start and loam_host_stacks itself; boot/world.c has them for a thread a CPU.
 */
#ifndef LOAM_HOST_H
#define LOAM_HOST_H

#include <loam/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loam_thread;

enum loam_log_level {
	LOAM_LOG_ERROR,
	LOAM_LOG_INFO,
	LOAM_LOG_DEBUG,
};

/*
 * An unrecoverable error: a bug in loam or a wrong integration. `msg` says what and, where one
 * is known, the fix. Must not return.
 * Context: any, locks held, IRQs on or off.
 */
__attribute__((noreturn)) void loam_host_panic(const char *file, int line, const char *msg);

/*
 * One piece of log text, `len` bytes, not NUL-terminated; a line may come in pieces and ends
 * with '\n'.
 * Context: any, locks held, IRQs on or off.
 */
void loam_host_log(enum loam_log_level level, const char *buf, size_t len);

/* Index of the running CPU, 0 to loam_host_cpu_count() - 1. Context: any. */
unsigned loam_host_cpu_id(void);

/* Number of CPUs that run loam code; constant after loam_init. Context: any. */
unsigned loam_host_cpu_count(void);

/*
 * Interrupt `cpu`; the handler there calls loam_cpu_poll (<loam/cpu.h>). Used where invalidations
 * are not broadcast in hardware (x86_64), for CPUs that are online. It only sends: it is called with
 * loam's locks held. Context: IRQs off.
 */
void loam_host_ipi(unsigned cpu);

/* Monotonic time in nanoseconds since some fixed point. Context: any. */
uint64_t loam_host_now_ns(void);

/*
 * The record that loam_thread_attach bound to the running thread, or NULL. Kept by the host
 * wherever it keeps its own per-thread data. Who compiles loam may have the look-up inline, which
 * spares each allocation and free a call: -DLOAM_THREAD_HEADER='"name.h"', a header that defines
 *   static inline struct loam_thread *loam_thread_self(void)
 * with the same result; this function is wanted all the same. Context: any.
 */
struct loam_thread *loam_host_thread(void);
void loam_host_thread_set(struct loam_thread *thread);

/*
 * Stop every other thread that may touch the heap, at a point where loam_thread_may_stop() is
 * true for it, and start them again. Calls nest no deeper than one. On aarch64 each CPU that ran one has
 * executed DSB ISH (DSB SY) after the thread's last store and before the stop returns: a store-release or a DMB makes the
 * stores visible, but not that the MMU noted them (dirty bits), and the collector looks for those next. x86_64 needs
 * nothing more.
 * Context: thread, IRQs on, none of loam's locks held by the caller.
 */
void loam_host_world_stop(void);
void loam_host_world_start(void);

/*
 * A stop request arrived while this thread was inside the allocator (loam_thread_request_stop),
 * and now it has left: stop here until the world starts again.
 * Context: thread, at the end of a heap call.
 */
void loam_host_thread_parked(void);

/*
 * Visit the live stack words and the saved registers of every *other* attached thread:
 * visit(arg, lo, hi) for each range, both pointer-aligned. The caller's own is loam's affair.
 * Context: stopped. Must not allocate.
 */
void loam_host_stacks(void (*visit)(void *arg, const void *lo, const void *hi), void *arg);

#ifdef __cplusplus
}
#endif

#endif
