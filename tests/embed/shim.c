/* SPDX-License-Identifier: MIT */
/* What the README's example expects of its kernel, from our boot stub. */
#include "boot/boot.h"

int kernel_main(const struct loam_mem_entry *map, size_t count, void *stack_base);
void console_write(const char *text, size_t len);

void console_write(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		loam_machine_putc(text[i]);
}

int loam_kernel_main(const struct loam_boot_info *info)
{
	return kernel_main(info->config.memmap, info->config.memmap_count, info->stack_base);
}
