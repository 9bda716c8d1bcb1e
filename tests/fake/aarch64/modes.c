/* SPDX-License-Identifier: MIT */
/* Modes of aarch64, and descriptors worked out by hand from the Arm ARM (DDI 0487), "VMSAv8-64
 * translation table format descriptors", stage 1, 4 KiB granule. */
#include "tests/fake/fake.h"

#define ARM(l, v, p, large, hd, bbm)                                                       \
	{                                                                                  \
		.levels = (l), .va_bits = (v), .pa_bits = (p), .leaf_mask = 7, .nx = true, \
		.lpa2 = (large), .hw_access = (hd), .hw_dirty = (hd), .contig = true,      \
		.table_write = true, .bbm2 = (bbm), .broadcast = true, .global = true,     \
		.va_min = ~UINT64_C(0) << (v), .va_max = ~UINT64_C(0),                     \
	}

const struct fake_mode fake_modes[] = {
	{"aarch64 48 bits", ARM(4, 48, 44, false, true, false)},
	{"aarch64 52 bits (LPA2)", ARM(5, 52, 52, true, true, false)},
	{"aarch64 48 bits, no dirty bits in hardware", ARM(4, 48, 40, false, false, false)},
	{"aarch64 48 bits, FEAT_BBM level 2", ARM(4, 48, 46, false, true, true)},
};
const unsigned fake_mode_count = sizeof(fake_modes) / sizeof(fake_modes[0]);

const struct fake_golden fake_goldens[] = {
	/* UXN, PXN 0x60 << 48; DBM 8 << 48; address; AF 0x400, SH inner 0x300, page 3 */
	{0, 0, 0x1234567000, LOAM_ATTR_DATA, 0x0068001234567703},
	/* clean: AP[2] 0x80 as well */
	{0, 0, 0x1234567000, LOAM_ATTR_WRITE | LOAM_ATTR_ACCESSED, 0x0068001234567783},
	/* read-only, executable by the kernel: UXN alone, AP[2] */
	{0, 0, 0x0040200000, LOAM_ATTR_ACCESSED | LOAM_ATTR_EXEC, 0x0040000040200783},
	/* block of 2 MiB: bit 1 clear */
	{0, 1, 0x0040000000, LOAM_ATTR_DATA, 0x0068000040000701},
	/* block of 1 GiB, not accessed, clean */
	{0, 2, 0x0080000000, LOAM_ATTR_WRITE, 0x0068000080000381},
	/* EL0's data: AP[1] 0x40, nG 0x800 */
	{0, 0, 0x0000001000, LOAM_ATTR_DATA | LOAM_ATTR_USER, 0x0068000000001f43},
	/* EL0's text: PXN alone */
	{0, 0, 0x0000001000, LOAM_ATTR_ACCESSED | LOAM_ATTR_EXEC | LOAM_ATTR_USER,
	 0x0020000000001fc3},
	/* AttrIndx 3, 2, 1 */
	{0, 0, 0x0009000000, LOAM_ATTR_DATA | LOAM_ATTR_MEM_DEV, 0x006800000900070f},
	{0, 0, 0x0009000000, LOAM_ATTR_DATA | LOAM_ATTR_MEM_UC, 0x006800000900070b},
	{0, 0, 0x0009000000, LOAM_ATTR_DATA | LOAM_ATTR_MEM_WC, 0x0068000009000707},
	/* contiguous: bit 52 */
	{0, 0, 0x0000010000, LOAM_ATTR_DATA | LOAM_ATTR_CONTIG, 0x0078000000010703},
	/* LPA2: address bits 51:50 in bits 9:8, no SH; 49:48 where they are */
	{1, 0, 0xf000000001000, LOAM_ATTR_DATA, 0x006b000000001703},
	{1, 0, 0x8000000001000, LOAM_ATTR_DATA, 0x0068000000001603},
	{1, 1, 0x4000000200000, LOAM_ATTR_DATA, 0x0068000000200501},
};
const unsigned fake_golden_count = sizeof(fake_goldens) / sizeof(fake_goldens[0]);
