/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_AHCI_PRIV_H
#define VM_DEV_AHCI_PRIV_H

#include "disk/disk.h"
#include "vm/dev/ahci.h"

/* ATA's status and error registers. */
enum {
	ATA_ERR = 0x01,
	ATA_DRQ = 0x08,
	ATA_DSC = 0x10,
	ATA_DRDY = 0x40,
	ATA_BSY = 0x80,
	ATA_OK = ATA_DRDY | ATA_DSC,
	ATA_ABORTED = 0x04,
	ATA_NOT_FOUND = 0x10,
	ATA_UNCORRECTABLE = 0x40,

	ATA_SECTOR = 512,
	CD_SECTOR = 2048,
};

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
	uint32_t moved; /* bytes in all */
};

/* A command as it came, and what becomes of it. Worked on without the lock: port fields used here do not change while
 * a command is under way. */
struct ata_command {
	struct ahci *ahci;
	struct ahci_port *port;
	unsigned int epoch; /* of the port, when it was taken */
	uint8_t *buffer;    /* AHCI_BUFFER bytes */
	struct prd_cursor prd;
	/* In. */
	uint8_t command, control;
	uint16_t features;
	uint8_t device;
	uint64_t lba; /* 48 bits */
	uint16_t count;
	uint8_t packet[16];
	/* Out: status and error; is_pio: data went without DMA; is_queued: its end
	 * is told by its tag; lba and count as the registers are afterwards. */
	uint8_t status, error;
	bool is_pio, is_queued;
};

/* ata_tag - of a queued command, 0 to 31. */
static inline unsigned int ata_tag(const struct ata_command *c)
{
	return c->count >> 3 & 31;
}

/*
 * ata_put, ata_get - move bytes to and from the guest's descriptors.
 *
 * Returns 0; -EFAULT: a descriptor does not name RAM, or there are none left (an interface error).
 */
_nodiscard_ int ata_put(struct ata_command *c, const void *buf, size_t n);
_nodiscard_ int ata_get(struct ata_command *c, void *buf, size_t n);

/*
 * ahci_move - a request to the port's disk, through c->buffer, and its end: limits are waited for, and space.
 *
 * Returns 0; -ECANCELED: there was a reset, or the controller stops, and nothing of the guest's is to be touched any more;
 * else as disk_readv() and so on. Thread: the worker's.
 */
_nodiscard_ int ahci_move(struct ata_command *c, enum disk_op op, uint64_t off, uint64_t len);

/* ata_run, atapi_run - carry out a command of a disk, or of a CD-ROM drive. Returns 0, also for a command that ended in
 * an error, or what ata_put() says. */
_nodiscard_ int ata_run(struct ata_command *c);
_nodiscard_ int atapi_run(struct ata_command *c);

/* ata_fail - the command ends with an error. Returns 0. */
int ata_fail(struct ata_command *c, uint8_t error);

/* ahci_next_port - one with a command that can be carried out; NULL: there is none. Under the lock. */
struct ahci_port *ahci_next_port(struct ahci *a);

/* ahci_hurry - what a disk makes wait for its limits, or for space, does not any more. */
void ahci_hurry(struct ahci *a);

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

/* ata_string - text as IDENTIFY has it: padded with spaces, bytes of each word swapped. */
void ata_string(uint8_t *to, const char *text, size_t n);

#endif
