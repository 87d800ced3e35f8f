/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_ACPI_PLUG_H
#define VM_DEV_ACPI_PLUG_H

#include <pthread.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"

struct state_desc; /* vm/snapshot/state.h */

/*
 * Which of the possible CPUs, or of the devices in PCI slots, are there: four sets of 64 bits at ports, which our own ACPI
 * methods read and write (acpi/dsdt.c). A change is announced by a general-purpose event, which the caller raises.
 */
enum {
	ACPI_PLUG_PRESENT = 0x00,  /* is there */
	ACPI_PLUG_INSERTED = 0x08, /* is new; writing 1: seen */
	ACPI_PLUG_REMOVE = 0x10,   /* is to be given back; writing 1: seen */
	ACPI_PLUG_EJECT = 0x18,	   /* writing 1: given back */
	ACPI_PLUG_LEN = 0x20,

	/* CPUs by their number, devices by their slot. */
	ACPI_PLUG_CPUS_BASE = 0xaf00,
	ACPI_PLUG_CPUS_GPE = 2,
	ACPI_PLUG_SLOTS_BASE = 0xae00,
	ACPI_PLUG_SLOTS_GPE = 1,
};

struct acpi_plug_config {
	const char *name;
	uint16_t base;	  /* ACPI_PLUG_..._BASE */
	uint64_t present; /* at power-on */
	uint64_t fixed;	  /* never given back */
	/* The guest has given one back. Called on a vCPU's thread, without the device's mutex. */
	void (*ejected)(void *arg, unsigned int nr);
	void *arg;
};

struct acpi_plug {
	pthread_mutex_t lock;
	struct acpi_plug_config cfg;
	struct bus *pio;
	struct bus_range range;
	uint64_t present, inserted, remove; /* under @lock */
};

/* acpi_plug_init - the sets at their ports. @cfg is copied. Uses of @board: pio. Returns 0, or what bus_add() says. */
_nodiscard_ int acpi_plug_init(struct acpi_plug *p, const struct board *board,
			       const struct acpi_plug_config *cfg, struct err *err);
void acpi_plug_done(struct acpi_plug *p);
/* acpi_plug_reset - those of @present are there, and there is nothing to tell. No vCPU runs. */
void acpi_plug_reset(struct acpi_plug *p, uint64_t present);

/* acpi_plug_in - one is there from now on. acpi_plug_ask - the guest is asked to give one back; those that are fixed never
 * are. Numbers are below 64. Thread: any. */
void acpi_plug_in(struct acpi_plug *p, unsigned int nr);
void acpi_plug_ask(struct acpi_plug *p, unsigned int nr);

/* acpi_plug_present - which are there. Thread: any. */
uint64_t acpi_plug_present(struct acpi_plug *p);

/* acpi_plug_state - what a snapshot keeps of it. */
extern const struct state_desc acpi_plug_state;

#endif
