/* SPDX-License-Identifier: MIT */
/*
 * Text without a libc: a small formatter over loam_host_log.
 *
 * Directives: %d %i %u %x %o %c %s %p %%, with flags `-` `0` `#`, a width (or *), a precision for %s,
 * and lengths l, ll, z. One of our own: %k prints a uint64_t byte count as "512 B", "4 KiB",
 * "1.5 GiB". Checked by no compiler for %k, so that one is passed as uint64_t.
 */
#ifndef LOAM_MM_PRINT_H
#define LOAM_MM_PRINT_H

#include <loam/host.h>
#include <stdarg.h>

/* Format into buf[size], always NUL-terminated if size > 0. Returns the full length. Context: any. */
size_t loam_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
size_t loam_snprintf(char *buf, size_t size, const char *fmt, ...);

/* Format and log at the level given; at most 255 bytes a call. Context: any, locks held. */
void loam_log(enum loam_log_level level, const char *fmt, ...);

#endif
