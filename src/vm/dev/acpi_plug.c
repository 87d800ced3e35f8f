/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers behind hot plug of CPUs and of devices in PCI slots. The interface is our own, and as small as it can be: one
 * bit each, no selector that two CPUs could fight for, no state between two accesses. QEMU's for CPUs has a selector and
 * commands, because it carries more of them and their properties; firmware that looks for that one finds nothing here and
 * asks fw_cfg instead.
 *
 *	absent --in--> present, inserted --method has told the OS--> present
 *	present --ask--> remove --method has told the OS--> present --OS lets go (_EJ0)--> absent
 *
 * Source: ACPI 6.4, 5.6.6 (device object notifications), 6.3 (_EJ0, _STA).
 */
#include "vm/dev/acpi_plug.h"

#include <errno.h>

#include "sys/thread.h"
#include "vm/snapshot/state.h"

static uint64_t read_set(void *arg, uint64_t off, unsigned int size)
{
	struct acpi_plug *p = arg;
	uint64_t set = 0;

	mutex_guard(&p->lock);
	switch (off & ~UINT64_C(7)) {
	case ACPI_PLUG_PRESENT:
		set = p->present;
		break;
	case ACPI_PLUG_INSERTED:
		set = p->inserted;
		break;
	case ACPI_PLUG_REMOVE:
		set = p->remove;
		break;
	default:
		break;
	}
	return set >> (8 * (off & 7));
}

static void write_set(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct acpi_plug *p = arg;
	uint64_t bits = (size < 8 ? value & ((UINT64_C(1) << (8 * size)) - 1) : value)
			<< (8 * (off & 7));
	uint64_t gone = 0;

	mutex_lock(&p->lock);
	switch (off & ~UINT64_C(7)) {
	case ACPI_PLUG_INSERTED:
		p->inserted &= ~bits;
		break;
	case ACPI_PLUG_REMOVE:
		p->remove &= ~bits;
		break;
	case ACPI_PLUG_EJECT:
		gone = bits & p->present & ~p->cfg.fixed;
		p->present &= ~gone;
		p->inserted &= ~gone;
		p->remove &= ~gone;
		break;
	default:
		break;
	}
	mutex_unlock(&p->lock);
	for (; gone; gone &= gone - 1)
		p->cfg.ejected(p->cfg.arg, (unsigned int)__builtin_ctzll(gone));
}

void acpi_plug_in(struct acpi_plug *p, unsigned int nr)
{
	mutex_guard(&p->lock);
	p->present |= UINT64_C(1) << nr;
	p->inserted |= UINT64_C(1) << nr;
	p->remove &= ~(UINT64_C(1) << nr);
}

void acpi_plug_ask(struct acpi_plug *p, unsigned int nr)
{
	mutex_guard(&p->lock);
	p->remove |= (UINT64_C(1) << nr) & p->present & ~p->cfg.fixed;
}

uint64_t acpi_plug_present(struct acpi_plug *p)
{
	mutex_guard(&p->lock);
	return p->present;
}

void acpi_plug_reset(struct acpi_plug *p, uint64_t present)
{
	mutex_guard(&p->lock);
	p->present = present;
	p->inserted = p->remove = 0;
}

int acpi_plug_init(struct acpi_plug *p, const struct board *board,
		   const struct acpi_plug_config *cfg, struct err *err)
{
	int r;

	*p = (struct acpi_plug){
		.cfg = *cfg,
		.pio = board->pio,
		.range = { .name = cfg->name,
			   .base = cfg->base,
			   .len = ACPI_PLUG_LEN,
			   .read = read_set,
			   .write = write_set,
			   .arg = p },
		.present = cfg->present,
	};
	mutex_init(&p->lock);
	r = bus_add(p->pio, &p->range, err);
	if (r < 0)
		acpi_plug_done(p);
	return r;
}

void acpi_plug_done(struct acpi_plug *p)
{
	if (!p->pio)
		return;
	bus_del(p->pio, &p->range);
	pthread_mutex_destroy(&p->lock);
	p->pio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ANY(struct acpi_plug, present),
	STATE_ANY(struct acpi_plug, inserted),
	STATE_ANY(struct acpi_plug, remove),
};

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct acpi_plug *p = next;

	if ((p->cfg.fixed & ~p->present) || ((p->inserted | p->remove) & ~p->present))
		return err_set(err, -EINVAL,
			       "what is not there is plugged in or out, or cannot go and has gone");
	return 0;
}

/* Who is there, the machine has to know as well: machine_snapshot.c. */
const struct state_desc acpi_plug_state = {
	.name = "acpi-plug",
	.version = 1,
	STATE_LOCK(struct acpi_plug, lock),
	STATE_TABLE(struct acpi_plug, fields),
	.check = check,
};
