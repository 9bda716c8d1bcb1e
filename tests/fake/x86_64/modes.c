/* SPDX-License-Identifier: MIT */
/* Modes of x86_64, and entries worked out by hand from the Intel SDM, volume 3A, tables "Format of
 * a Page-Table Entry that Maps a 4-KByte Page", "... Page-Directory Entry that Maps a 2-MByte
 * Page", "... that Maps a 1-GByte Page". */
#include "tests/fake/fake.h"

#define X86(l, v, mask, g)                                                                     \
	{                                                                                      \
		.levels = (l), .va_bits = (v), .pa_bits = 46, .leaf_mask = (mask), .nx = true, \
		.hw_access = true, .hw_dirty = true, .table_write = true, .global = (g),       \
		.va_min = ~UINT64_C(0) << ((v)-1), .va_max = ~UINT64_C(0),                     \
	}

const struct fake_mode fake_modes[] = {
	{"x86_64 4 levels", X86(4, 48, 7, true)},
	{"x86_64 5 levels", X86(5, 57, 7, true)},
	{"x86_64 4 levels, no 1 GiB leaves, no global pages", X86(4, 48, 3, false)},
};
const unsigned fake_mode_count = sizeof(fake_modes) / sizeof(fake_modes[0]);

const struct fake_golden fake_goldens[] = {
	/* XD, address, G 0x100, D 0x40, A 0x20, RW 2, P 1 */
	{0, 0, 0x1234567000, LOAM_ATTR_DATA, 0x8000001234567163},
	/* read-only, executable: G, A, P */
	{0, 0, 0x0000200000, LOAM_ATTR_ACCESSED | LOAM_ATTR_EXEC, 0x0000000000200121},
	/* 2 MiB: PS 0x80 besides */
	{0, 1, 0x0040000000, LOAM_ATTR_DATA, 0x80000000400001e3},
	/* 1 GiB, not accessed, not dirty */
	{0, 2, 0x0080000000, LOAM_ATTR_WRITE, 0x8000000080000183},
	/* user pages are not global: US 4 */
	{0, 0, 0x0000001000, LOAM_ATTR_DATA | LOAM_ATTR_USER, 0x8000000000001067},
	/* uncached device: PCD 0x10 and PWT 8; uncached PCD; write-combining PWT */
	{0, 0, 0x00fee00000, LOAM_ATTR_DATA | LOAM_ATTR_MEM_DEV, 0x80000000fee0017b},
	{0, 0, 0x00fee00000, LOAM_ATTR_DATA | LOAM_ATTR_MEM_UC, 0x80000000fee00173},
	{0, 0, 0x00fee00000, LOAM_ATTR_DATA | LOAM_ATTR_MEM_WC, 0x80000000fee0016b},
	/* the highest frame of 46 bits */
	{1, 0, 0x3ffffffff000, LOAM_ATTR_DATA, 0x80003ffffffff163},
	/* without PGE no G */
	{2, 0, 0x1234567000, LOAM_ATTR_DATA, 0x8000001234567063},
};
const unsigned fake_golden_count = sizeof(fake_goldens) / sizeof(fake_goldens[0]);
