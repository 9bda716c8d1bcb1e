/* SPDX-License-Identifier: MIT */
/* Interrupts between CPUs on Arm: of the GIC, just one software-generated interrupt. */
#ifndef LOAM_BOOT_GIC_H
#define LOAM_BOOT_GIC_H

#include "boot/smp.h"

/* Find it as the device tree says; without one, the rest does nothing. Boot CPU, final tables. */
void loam_gic_init(const struct loam_boot_map *map);

/* On each CPU, the boot CPU included: from here on it takes the interrupt, when unmasked. Returns false
 * if it never will: no controller, or none of its redistributors is this CPU's. */
bool loam_gic_cpu_init(const struct loam_percpu *cpu);

/* Interrupt `cpu`; what this CPU wrote before is visible to the handler there. */
void loam_gic_send(unsigned cpu);

/* In the handler: the interrupt is taken, and may come again. What its sender wrote is visible. */
void loam_gic_take(void);

#endif
