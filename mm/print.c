/* SPDX-License-Identifier: MIT */
/*
 * A small formatter: no floating point, no allocation, no state. Output beyond the buffer is
 * counted but not stored, as C99's snprintf does.
 */
#include "mm/print.h"

struct out {
	char *buf;
	size_t size;
	size_t len;
};

struct spec {
	bool left, zero, alt;
	int width;
	int precision; /* -1: none */
};

static void put(struct out *out, char c)
{
	if (out->len + 1 < out->size)
		out->buf[out->len] = c;
	out->len++;
}

static void put_padded(struct out *out, const struct spec *spec, const char *text, size_t len)
{
	size_t width = spec->width > 0 ? (size_t)spec->width : 0;
	size_t fill = width > len ? width - len : 0;

	for (size_t i = 0; !spec->left && i < fill; i++)
		put(out, ' ');
	for (size_t i = 0; i < len; i++)
		put(out, text[i]);
	for (size_t i = 0; spec->left && i < fill; i++)
		put(out, ' ');
}

static void put_number(struct out *out, const struct spec *spec, uint64_t value, unsigned radix,
		       bool negative)
{
	char digits[24], text[64];
	size_t n = 0, len = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % radix];
		value /= radix;
	} while (value != 0);
	if (negative)
		text[len++] = '-';
	if (spec->alt && radix == 16) {
		text[len++] = '0';
		text[len++] = 'x';
	}
	while (spec->zero && !spec->left && (int)(len + n) < spec->width && len + n < 40)
		text[len++] = '0';
	while (n > 0)
		text[len++] = digits[--n];
	put_padded(out, spec, text, len);
}

/* %k: bytes with a binary unit and one decimal where it says something. */
static void put_bytes(struct out *out, const struct spec *spec, uint64_t bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	const struct spec plain = {.precision = -1};
	char text[40];
	struct out inner = {text, sizeof(text), 0};
	unsigned u = 0;
	uint64_t whole = bytes, tenth = 0;

	while (whole >= 1024 && u < 6) {
		tenth = (whole & 1023) * 10 / 1024;
		whole >>= 10;
		u++;
	}
	put_number(&inner, &plain, whole, 10, false);
	if (tenth != 0) {
		put(&inner, '.');
		put_number(&inner, &plain, tenth, 10, false);
	}
	put(&inner, ' ');
	for (const char *c = unit[u]; *c != '\0'; c++)
		put(&inner, *c);
	put_padded(out, spec, text, inner.len);
}

static void put_string(struct out *out, const struct spec *spec, const char *s)
{
	size_t len = 0;

	if (s == NULL)
		s = "(null)";
	while (s[len] != '\0' && (spec->precision < 0 || len < (size_t)spec->precision))
		len++;
	put_padded(out, spec, s, len);
}

static int parse_number(const char **fmt)
{
	int n = 0;

	while (**fmt >= '0' && **fmt <= '9')
		n = n * 10 + (*(*fmt)++ - '0');
	return n;
}

size_t loam_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out out = {buf, size, 0};

	while (*fmt != '\0') {
		struct spec spec = {.precision = -1};
		unsigned longs = 0;

		if (*fmt != '%') {
			put(&out, *fmt++);
			continue;
		}
		fmt++;
		for (;; fmt++) {
			if (*fmt == '-')
				spec.left = true;
			else if (*fmt == '0')
				spec.zero = true;
			else if (*fmt == '#')
				spec.alt = true;
			else
				break;
		}
		if (*fmt == '*') {
			spec.width = va_arg(ap, int);
			fmt++;
		} else {
			spec.width = parse_number(&fmt);
		}
		if (*fmt == '.') {
			fmt++;
			if (*fmt == '*') {
				spec.precision = va_arg(ap, int);
				fmt++;
			} else {
				spec.precision = parse_number(&fmt);
			}
		}
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			longs++;
		switch (*fmt) {
		case 'd':
		case 'i': {
			int64_t v = longs ? va_arg(ap, long long) : va_arg(ap, int);
			put_number(&out, &spec, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0);
			break;
		}
		case 'u':
		case 'x':
		case 'o': {
			uint64_t v = longs ? va_arg(ap, unsigned long long) : va_arg(ap, unsigned);
			put_number(&out, &spec, v, *fmt == 'u' ? 10 : *fmt == 'x' ? 16 : 8, false);
			break;
		}
		case 'p':
			spec.alt = true;
			put_number(&out, &spec, (uintptr_t)va_arg(ap, void *), 16, false);
			break;
		case 'k':
			put_bytes(&out, &spec, va_arg(ap, uint64_t));
			break;
		case 'c':
			put(&out, (char)va_arg(ap, int));
			break;
		case 's':
			put_string(&out, &spec, va_arg(ap, const char *));
			break;
		case '%':
			put(&out, '%');
			break;
		case '\0':
			continue;
		default:
			put(&out, '%');
			put(&out, *fmt);
			break;
		}
		fmt++;
	}
	if (size > 0)
		buf[out.len < size ? out.len : size - 1] = '\0';
	return out.len;
}

size_t loam_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	size_t len = loam_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return len;
}

void loam_log(enum loam_log_level level, const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	size_t len = loam_vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	loam_host_log(level, buf, len < sizeof(buf) ? len : sizeof(buf) - 1);
}
