/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_ACPI_CPUS_H
#define VM_DEV_ACPI_CPUS_H

#include <pthread.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

/*
 * Which of the possible CPUs are there: four sets of 64 bits at ports, which our own ACPI methods read and write
 * (acpi/dsdt.c). A change is announced by general-purpose event ACPI_CPUS_GPE, which the caller raises.
 */
enum {
	ACPI_CPUS_BASE = 0xaf00,
	ACPI_CPUS_PRESENT = 0x00,  /* is there */
	ACPI_CPUS_INSERTED = 0x08, /* is new; writing 1: seen */
	ACPI_CPUS_REMOVE = 0x10,   /* is to be given back; writing 1: seen */
	ACPI_CPUS_EJECT = 0x18,	   /* writing 1: given back */
	ACPI_CPUS_LEN = 0x20,
	ACPI_CPUS_GPE = 2,
};

struct acpi_cpus {
	pthread_mutex_t lock;
	struct bus *pio;
	struct bus_range range;
	uint64_t first, present, inserted, remove;
	void (*ejected)(void *arg, unsigned int cpu);
	void *arg;
};

/*
 * acpi_cpus_init - the sets at their ports; @first: those that are there at power-on, CPU 0 among them.
 *
 * @ejected: the guest has given a CPU back; called on a vCPU's thread, without the device's mutex. Uses of @board: pio.
 * Returns 0, or what bus_add() says.
 */
_nodiscard_ int acpi_cpus_init(struct acpi_cpus *c, const struct board *board, uint64_t first,
			       void (*ejected)(void *arg, unsigned int cpu), void *arg,
			       struct err *err);
void acpi_cpus_done(struct acpi_cpus *c);
/* acpi_cpus_reset - those of power-on again. */
void acpi_cpus_reset(struct acpi_cpus *c);

/* acpi_cpus_plug - a CPU is there from now on. acpi_cpus_ask - the guest is asked to give one back; CPU 0 never is. Thread:
 * any. */
void acpi_cpus_plug(struct acpi_cpus *c, unsigned int cpu);
void acpi_cpus_ask(struct acpi_cpus *c, unsigned int cpu);

/* acpi_cpus_present - which are there. Thread: any. */
uint64_t acpi_cpus_present(struct acpi_cpus *c);

#endif
