/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_ATA_PRIV_H
#define VM_DEV_ATA_PRIV_H

#include "disk/disk.h"
#include "vm/dev/ata.h"

/* ATA's status and error registers, and commands that more than the drives know. */
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

	ATA_CMD_DEVICE_RESET = 0x08,
	ATA_CMD_DIAGNOSTIC = 0x90,
	ATA_CMD_PACKET = 0xa0,

	ATA_SECTOR = 512,
	CD_SECTOR = 2048,
	ATA_MULTIPLE_MAX = 16,
	ATAPI_PACKET = 12,
	ATAPI_SIGNATURE = 0xeb14, /* in the upper two of the LBA registers */
};

/* A command as it came, and what becomes of it. Worked on without the lock: fields of the drive that are used here do
 * not change while a command is under way. */
struct ata_command {
	struct ata_worker *worker;
	struct ata_drive *drive;
	unsigned int epoch; /* of the drive, when it was taken */
	/* Moves bytes to and from the guest. Returns 0; negative, which the controller's finish() gets. */
	int (*move)(struct ata_command *c, uint8_t *buf, size_t n, bool to_guest);
	/* In. @first, @most: of a command that reads or writes sectors, those that were done before, and how many are done now
	 * (0: all). */
	uint8_t command, control;
	uint16_t features;
	uint8_t device;
	uint64_t lba; /* 48 bits */
	uint16_t count;
	uint8_t packet[16];
	uint32_t first, most;
	/* Out: status and error; is_pio: data went without DMA; is_queued: its end is told by its tag; has_more: there are
	 * sectors after these; lba, count and device as the registers are afterwards. */
	uint32_t moved; /* bytes in all */
	uint8_t status, error;
	bool is_pio, is_queued, has_more;
};

/* ata_tag - of a queued command, 0 to 31. */
static inline unsigned int ata_tag(const struct ata_command *c)
{
	return c->count >> 3 & 31;
}

/* ata_put, ata_get - move bytes to and from the guest. Returns 0, or what the controller's move() says. */
_nodiscard_ int ata_put(struct ata_command *c, const void *buf, size_t n);
_nodiscard_ int ata_get(struct ata_command *c, void *buf, size_t n);

/* ata_piece - of the sectors of a command those that are to be done now; sets has_more. */
void ata_piece(struct ata_command *c, uint64_t *lba, uint64_t *n);

/*
 * ata_move - a request to the drive's disk, through the worker's buffer, and its end: limits are waited for, and space.
 *
 * Returns 0; -ECANCELED: there was a reset, or the controller stops, and nothing of the guest's is to be touched any more;
 * else as disk_readv() and so on. Thread: the worker's.
 */
_nodiscard_ int ata_move(struct ata_command *c, enum disk_op op, uint64_t off, uint64_t len);

/* ata_is_dropped - nobody will hear of the command. Under the lock. */
bool ata_is_dropped(const struct ata_command *c);

/* ata_run - carry out a command of a drive. Returns 0, also for a command that ended in an error; -ECANCELED, or what
 * ata_put() says. */
_nodiscard_ int ata_run(struct ata_command *c);

/* ata_is_dma - does it move its data by DMA? Of PACKET the features say it. */
bool ata_is_dma(uint8_t command);

/* ata_block - sectors of a block of a transfer without DMA; at least 1. */
unsigned int ata_block(const struct ata_drive *d, uint8_t command);

/* ata_nr_out - sectors that the guest is to send for a command without DMA; 0: none. */
uint32_t ata_nr_out(const struct ata_drive *d, uint8_t command, uint16_t count);

/* atapi_run - the same as ata_run() for a CD-ROM drive. */
_nodiscard_ int atapi_run(struct ata_command *c);

/* ata_fail - the command ends with an error. Returns 0. */
int ata_fail(struct ata_command *c, uint8_t error);

/* ata_string - text as IDENTIFY has it: padded with spaces, bytes of each word swapped. */
void ata_string(uint8_t *to, const char *text, size_t n);

#endif
