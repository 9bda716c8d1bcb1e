/* SPDX-License-Identifier: MIT */
/* Words of the kernel command line: name=value, separated by spaces. */
#include "boot/boot.h"

/* The text behind `name=` of the last word that has it (as with most kernels), or NULL. */
static const char *value_of(const char *cmdline, const char *name)
{
	const char *found = NULL;

	for (const char *word = cmdline; *word != '\0';) {
		const char *p = word, *n = name;

		while (*n != '\0' && *p == *n) {
			p++;
			n++;
		}
		if (*n == '\0' && *p == '=')
			found = p + 1;
		while (*word != '\0' && *word != ' ')
			word++;
		while (*word == ' ')
			word++;
	}
	return found;
}

uint64_t loam_cmdline_number(const char *cmdline, const char *name, uint64_t otherwise)
{
	const char *p = value_of(cmdline, name);
	uint64_t n = 0;

	if (p == NULL || *p < '0' || *p > '9')
		return otherwise;
	for (; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	return n;
}

bool loam_cmdline_has(const char *cmdline, const char *name)
{
	return value_of(cmdline, name) != NULL;
}

bool loam_cmdline_is(const char *cmdline, const char *name, const char *value)
{
	const char *p = value_of(cmdline, name);

	if (p == NULL)
		return false;
	while (*value != '\0' && *p == *value) {
		p++;
		value++;
	}
	return *value == '\0' && (*p == '\0' || *p == ' ');
}
