/* SPDX-License-Identifier: MIT */
/* The two hooks every kernel writes: here the log goes to the serial console, and a panic ends
 * the machine with status 3. */
#include "boot/boot.h"
#include "mm/print.h"

void loam_host_log(enum loam_log_level level, const char *buf, size_t len)
{
	(void)level;
	for (size_t i = 0; i < len; i++) {
		if (buf[i] == '\n')
			loam_machine_putc('\r');
		loam_machine_putc(buf[i]);
	}
}

void loam_host_panic(const char *file, int line, const char *msg)
{
	loam_log(LOAM_LOG_ERROR, "\nloam: panic: %s:%d: %s\n", file, line, msg);
	loam_machine_exit(3);
}
