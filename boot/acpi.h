/* SPDX-License-Identifier: MIT */
/* CPUs and nodes from the ACPI tables (ACPI Specification 6.5, sections 5.2.5 to 5.2.12 and 5.2.16). */
#ifndef LOAM_BOOT_ACPI_H
#define LOAM_BOOT_ACPI_H

#include "boot/boot.h"
#include "boot/pvh.h"

/*
 * Fill in the map's CPUs and local APIC address from the MADT, found from the RSDP at
 * `rsdp_pa`, or with 0 by looking for it where a PC keeps it. Every address is followed through
 * `read`, every length is checked. Returns NULL, or what is wrong; then the map is as it was.
 */
const char *loam_acpi_parse(loam_pvh_read *read, void *context, uint64_t rsdp_pa,
			    struct loam_boot_map *map);

/*
 * Then the nodes of those CPUs and of memory, from the SRAT; proximity domains as they stand there. How
 * far nodes are from each other (SLIT) is not read. Returns NULL, also if there is no SRAT, or what is
 * wrong; then the map has no nodes.
 */
const char *loam_acpi_nodes(loam_pvh_read *read, void *context, uint64_t rsdp_pa,
			    struct loam_boot_map *map);

#endif
