/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The controller in a snapshot: between two commands, so that what a worker knows of one is not in it. */
#include <errno.h>

#include "vm/dev/ahci_priv.h"

static const struct state_field port_fields[] = {
	STATE_BOOL(struct ahci_port, drive.has_drive),
	STATE_BOOL(struct ahci_port, drive.is_cd),
	STATE_ANY(struct ahci_port, list),
	STATE_ANY(struct ahci_port, fis),
	STATE_ANY(struct ahci_port, is),
	STATE_ANY(struct ahci_port, ie),
	STATE_ANY(struct ahci_port, cmd),
	STATE_ANY(struct ahci_port, tfd),
	STATE_ANY(struct ahci_port, sig),
	STATE_ANY(struct ahci_port, ssts),
	STATE_ANY(struct ahci_port, sctl),
	STATE_ANY(struct ahci_port, serr),
	STATE_ANY(struct ahci_port, sact),
	STATE_ANY(struct ahci_port, ci),
	STATE_BOOL(struct ahci_port, in_reset),
	STATE_BOOL(struct ahci_port, is_halted),
	STATE_MAX(struct ahci_port, drive.failed.tag, 31),
	STATE_ANY(struct ahci_port, drive.failed.status),
	STATE_ANY(struct ahci_port, drive.failed.error),
	STATE_ANY(struct ahci_port, drive.failed.lba),
	STATE_ANY(struct ahci_port, drive.failed.count),
	STATE_BYTES(struct ahci_port, drive.sense),
	STATE_BOOL(struct ahci_port, drive.medium_changed),
};

static const struct state_desc port_state = {
	.name = "SATA port",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct ahci_port, port_fields),
};

static const struct state_field fields[] = {
	STATE_ANY(struct ahci, ghc),
	STATE_ANY(struct ahci, is),
	STATE_STRUCT(struct ahci, port, &port_state),
};

/* What a drive is the guest knows already. */
static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct ahci *n = next, *p = present;

	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		if (n->port[k].drive.has_drive != p->port[k].drive.has_drive ||
		    n->port[k].drive.is_cd != p->port[k].drive.is_cd)
			return err_set(err, -EINVAL,
				       "SATA port %u had %s when the machine was saved", k,
				       !n->port[k].drive.has_drive ? "nothing"
				       : n->port[k].drive.is_cd	   ? "a CD-ROM drive"
								   : "a disk");
	return 0;
}

static void loaded(void *obj)
{
	struct ahci *a = obj;

	mutex_guard(&a->worker.lock);
	ahci_update_irq(a);
	pthread_cond_broadcast(&a->worker.work);
}

const struct state_desc ahci_state = {
	.name = "ahci",
	.version = 1,
	STATE_LOCK(struct ahci, worker.lock),
	STATE_TABLE(struct ahci, fields),
	.check = check,
	.loaded = loaded,
};
