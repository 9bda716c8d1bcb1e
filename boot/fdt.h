/* SPDX-License-Identifier: MIT */
/* The flattened device tree (Devicetree Specification 0.4, chapter 5). */
#ifndef LOAM_BOOT_FDT_H
#define LOAM_BOOT_FDT_H

#include "boot/boot.h"

/* Size that the header at `blob` claims, if at least 40 bytes there are a plausible header; else
 * 0. Nothing but those 40 bytes is read. */
uint32_t loam_fdt_size(const void *blob);

/*
 * Fill in the map from a tree of `size` bytes: memory and reserved-memory nodes, the memory
 * reservation block, initrd, command line (a pointer into the blob), console, PSCI conduit, interrupt controller, CPUs, and the
 * nodes of CPUs and memory ("numa-node-id"; how far they are from each other is not read).
 * Reads nothing outside [blob, blob + size), however corrupt. Returns NULL, or what is wrong.
 */
const char *loam_fdt_parse(const void *blob, size_t size, struct loam_boot_map *map);

#endif
