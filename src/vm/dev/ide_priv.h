/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_IDE_PRIV_H
#define VM_DEV_IDE_PRIV_H

#include "vm/dev/ata_priv.h"
#include "vm/dev/ide.h"

enum {
	/* Device control. */
	IDE_NO_IRQ = 0x02,
	IDE_SRST = 0x04,
	IDE_HOB = 0x80, /* registers read as they were before they were written last */

	/* Bus master. */
	BM_START = 1 << 0,
	BM_TO_MEMORY = 1 << 3,
	BM_ACTIVE = 1 << 0,
	BM_ERROR = 1 << 1,
	BM_INTERRUPT = 1 << 2,

	/* A packet command's interrupt reason, in the count register. */
	REASON_COMMAND = 1,
	REASON_TO_HOST = 2,
	REASON_STATUS = 3,
};

struct ide_command {
	struct ata_command ata; /* first */
	struct ide_channel *channel;
	bool is_dma;
	/* The bus master's table, once the first byte is moved. */
	bool has_table, is_last;
	unsigned int starts; /* of the channel, then */
	uint32_t next, nr;   /* address of the next entry; entries left */
	uint32_t addr, left; /* the rest of the present one */
};

/* ide_command_of - the channel's view of the worker's command. */
static inline struct ide_command *ide_command_of(struct ata_command *c)
{
	return container_of(c, struct ide_command, ata);
}

/* ide_selected - the drive that the guest talks to. */
static inline struct ide_drive *ide_selected(struct ide_channel *ch)
{
	return &ch->drive[ch->device >> 4 & 1];
}

/* ide_is_dma - does the command in the registers move its data by DMA? */
bool ide_is_dma(const struct ide_channel *ch, const struct ide_drive *d);

/* ide_nr_out - sectors that the guest is to write into the port for the command in the registers. */
uint32_t ide_nr_out(const struct ide_channel *ch, const struct ide_drive *d);

/* ide_update_irq, ide_interrupt - the line as the registers say; the drive wants an interrupt. Under the lock. */
void ide_update_irq(struct ide_channel *ch);
void ide_interrupt(struct ide_channel *ch);

/* ide_begin_block - let the guest move the next block of the buffer. Under the lock. */
void ide_begin_block(struct ide_channel *ch);

/* ide_begin_out - let the guest write the next sectors of a command that takes some. Under the lock. */
void ide_begin_out(struct ide_channel *ch);

/* ide_end - the command has ended, with the drive's status and error as given. Under the lock. */
void ide_end(struct ide_channel *ch, uint8_t status, uint8_t error);

/* ide_bm_read, ide_bm_write - the bus master's registers, of struct ide. */
uint64_t ide_bm_read(void *arg, uint64_t off, unsigned int size);
void ide_bm_write(void *arg, uint64_t off, unsigned int size, uint64_t value);

/*
 * ide_dma_move - ata_command.move() by the bus master.
 *
 * Returns 0; -EAGAIN: it is not started, or has been stopped meanwhile; -EFAULT: see ide_dma.c; -ECANCELED.
 */
int ide_dma_move(struct ata_command *ata, uint8_t *buf, size_t n, bool to_guest);

/* ide_work_ops - what the controller does for its worker. */
extern const struct ata_worker_ops ide_work_ops;

#endif
