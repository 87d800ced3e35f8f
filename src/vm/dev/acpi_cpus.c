/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers behind hot plug of CPUs. The interface is our own, and as small as it can be: one bit a CPU, no selector
 * that two CPUs could fight for, no state between two accesses. QEMU's has a selector and commands, because it carries more
 * CPUs and their properties; firmware that looks for that one finds nothing here and asks fw_cfg instead.
 *
 *	absent --plug--> present, inserted --method has told the OS--> present
 *	present --ask--> remove --method has told the OS--> present --OS lets go (_EJ0)--> absent
 *
 * Source: ACPI 6.4, 5.6.6 (device object notifications), 6.3 (_EJ0, _STA).
 */
#include "vm/dev/acpi_cpus.h"

#include "sys/thread.h"

static uint64_t read_set(void *arg, uint64_t off, unsigned int size)
{
	struct acpi_cpus *c = arg;
	uint64_t set = 0;

	mutex_guard(&c->lock);
	switch (off & ~UINT64_C(7)) {
	case ACPI_CPUS_PRESENT:
		set = c->present;
		break;
	case ACPI_CPUS_INSERTED:
		set = c->inserted;
		break;
	case ACPI_CPUS_REMOVE:
		set = c->remove;
		break;
	default:
		break;
	}
	return set >> (8 * (off & 7));
}

static void write_set(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct acpi_cpus *c = arg;
	uint64_t bits = (size < 8 ? value & ((UINT64_C(1) << (8 * size)) - 1) : value)
			<< (8 * (off & 7));
	uint64_t gone = 0;

	mutex_lock(&c->lock);
	switch (off & ~UINT64_C(7)) {
	case ACPI_CPUS_INSERTED:
		c->inserted &= ~bits;
		break;
	case ACPI_CPUS_REMOVE:
		c->remove &= ~bits;
		break;
	case ACPI_CPUS_EJECT:
		gone = bits & c->present & ~UINT64_C(1);
		c->present &= ~gone;
		c->inserted &= ~gone;
		c->remove &= ~gone;
		break;
	default:
		break;
	}
	mutex_unlock(&c->lock);
	for (; gone; gone &= gone - 1)
		c->ejected(c->arg, (unsigned int)__builtin_ctzll(gone));
}

void acpi_cpus_plug(struct acpi_cpus *c, unsigned int cpu)
{
	mutex_guard(&c->lock);
	c->present |= UINT64_C(1) << cpu;
	c->inserted |= UINT64_C(1) << cpu;
	c->remove &= ~(UINT64_C(1) << cpu);
}

void acpi_cpus_ask(struct acpi_cpus *c, unsigned int cpu)
{
	mutex_guard(&c->lock);
	if (cpu)
		c->remove |= (UINT64_C(1) << cpu) & c->present;
}

uint64_t acpi_cpus_present(struct acpi_cpus *c)
{
	mutex_guard(&c->lock);
	return c->present;
}

void acpi_cpus_reset(struct acpi_cpus *c)
{
	mutex_guard(&c->lock);
	c->present = c->first;
	c->inserted = c->remove = 0;
}

int acpi_cpus_init(struct acpi_cpus *c, const struct board *board, uint64_t first,
		   void (*ejected)(void *arg, unsigned int cpu), void *arg, struct err *err)
{
	int r;

	*c = (struct acpi_cpus){
		.pio = board->pio,
		.range = { .name = "acpi-cpus",
			   .base = ACPI_CPUS_BASE,
			   .len = ACPI_CPUS_LEN,
			   .read = read_set,
			   .write = write_set,
			   .arg = c },
		.first = first,
		.ejected = ejected,
		.arg = arg,
	};
	mutex_init(&c->lock);
	acpi_cpus_reset(c);
	r = bus_add(c->pio, &c->range, err);
	if (r < 0)
		acpi_cpus_done(c);
	return r;
}

void acpi_cpus_done(struct acpi_cpus *c)
{
	if (!c->pio)
		return;
	bus_del(c->pio, &c->range);
	pthread_mutex_destroy(&c->lock);
	c->pio = NULL;
}
