/* SPDX-License-Identifier: MIT */
/* What the Linux host offers besides the hooks of <loam/host.h>, for programs and tests. */
#ifndef LOAM_ARCH_HOST_HOST_H
#define LOAM_ARCH_HOST_HOST_H

#include <loam/host.h>

/* Sees every panic first; may longjmp away. If it returns, the process aborts. NULL: none. */
typedef void loam_host_panic_handler(const char *file, int line, const char *msg);
void loam_host_on_panic(loam_host_panic_handler *handler);

/* Gets the log instead of stderr. NULL: stderr, INFO and ERROR. */
typedef void loam_host_log_handler(enum loam_log_level level, const char *buf, size_t len);
void loam_host_on_log(loam_host_log_handler *handler);

/*
 * Tests: the n-th request to the back end (prepare, commit, record page) from now on fails with
 * NOMEM, and all later ones, until loam_host_fail_at(0). Returns the requests since the last call.
 */
uint64_t loam_host_fail_at(uint64_t n);

#endif
