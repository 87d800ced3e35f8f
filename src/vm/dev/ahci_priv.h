/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_AHCI_PRIV_H
#define VM_DEV_AHCI_PRIV_H

#include "vm/dev/ahci.h"
#include "vm/dev/ata_priv.h"

/* Bits of a port's registers that more than the registers know. */
enum {
	CMD_ST = 1 << 0,
	CMD_FRE = 1 << 4,
	CMD_CCS_SHIFT = 8,

	IS_DHRS = 1 << 0,
	IS_PSS = 1 << 1,
	IS_SDBS = 1 << 3,
	IS_IFS = 1 << 27,
	IS_TFES = 1 << 30,
};

/* Where a command's data is in the guest: the descriptors, one after the other. */
struct prd_cursor {
	const struct physmem *mem;
	uint64_t next; /* address of the next descriptor */
	uint32_t nr;   /* descriptors left */
	uint64_t addr; /* the rest of the present one */
	uint32_t left;
};

struct ahci_command {
	struct ata_command ata; /* first */
	struct ahci *ahci;
	struct ahci_port *port;
	unsigned int slot;
	uint64_t list; /* of the port, when it was taken */
	uint8_t fis[20];
	bool is_command; /* that FIS has one */
	struct prd_cursor prd;
};

/* ahci_work_ops - what the controller does for its worker. */
extern const struct ata_worker_ops ahci_work_ops;

/* ahci_prd_move - the worker's way into the guest's memory: bytes by a command's descriptors. Returns 0; -EFAULT: a descriptor
 * does not name RAM, or there are none left (an interface error). */
int ahci_prd_move(struct ata_command *c, uint8_t *buf, size_t n, bool to_guest);

/* ahci_next_port - one with a command that can be carried out; NULL: there is none. Under the lock. */
struct ahci_port *ahci_next_port(struct ahci *a);

/* ahci_update_irq - the interrupt line as the registers say: under the lock, so that two threads cannot set it in another order. */
void ahci_update_irq(struct ahci *a);

/* ahci_signature - what the device at a port is, as PxSIG says it. */
uint32_t ahci_signature(const struct ahci_port *p);

/*
 * ahci_send_... - a FIS where the guest receives them, if it does, and what it changes in the port's registers: the device's
 * registers; the announcement of a transfer without DMA, whose end needs nothing more; the end of a queued command (of one
 * that failed the guest reads the tag out of a log); what the device is, after a reset. Under the lock.
 */
void ahci_send_d2h(struct ahci *a, struct ahci_port *p, const struct ata_command *c);
void ahci_send_pio_setup(struct ahci *a, struct ahci_port *p, const struct ata_command *c);
void ahci_send_set_bits(struct ahci *a, struct ahci_port *p, const struct ata_command *c);
void ahci_send_signature(struct ahci *a, struct ahci_port *p);

#endif
