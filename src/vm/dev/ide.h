/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_IDE_H
#define VM_DEV_IDE_H

#include <stdatomic.h>

#include "vm/board.h"
#include "vm/dev/ata.h"
#include "vm/dev/pci.h"
#include "vm/snapshot/state.h"

/*
 * An IDE controller like that of Intel's PIIX3 (PCI 8086:7010): two channels at the ports and interrupts that every PC
 * had, with two disks or CD-ROM drives each, for systems that know nothing newer. Data goes through a port (PIO), or by
 * DMA of the controller (bus master IDE).
 *
 * Registers are served on the vCPU's thread; commands are carried out by the thread of @worker (ata.h), which is
 * started, paused and stopped with it.
 *
 * Source: 82371SB (PIIX3) data sheet; Programming interface for bus master IDE 1.0; ATA/ATAPI-6.
 */
enum {
	IDE_DEVFN = 0x1f << 3 | 1,
	IDE_CHANNELS = 2,
	IDE_DRIVES = 2 * IDE_CHANNELS,
	IDE_BUFFER = 8 << 10, /* of data that goes through the port */
	IDE_PACKET = 12,
};

struct ide_command;

struct ide_drive {
	struct ata_drive ata;
	uint8_t status, error;
	/* The registers of a command: [0] as written last, [1] before that, for 48 bits. */
	uint8_t features[2], count[2], low[2], mid[2], high[2];
};

/* What the channel does with the command in its registers; see ide.c. */
enum ide_phase { IDE_IDLE, IDE_WORK, IDE_IN, IDE_OUT, IDE_PACKET_OUT, IDE_NR_PHASES };

struct ide_channel {
	struct ide_drive drive[2];
	uint8_t device, control;
	uint8_t phase; /* enum ide_phase */
	uint8_t command, packet[IDE_PACKET];
	bool is_running;  /* the worker has it */
	bool needs_start; /* the worker waits for the bus master */
	bool has_more;	  /* what is in @buffer is not the rest */
	bool has_irq;
	uint32_t first; /* sectors that are done */
	uint32_t at, block,
		len;	/* in @buffer: next byte, end of the block that the guest moves, end */
	uint16_t limit; /* bytes of such a block; of a CD-ROM drive's */
	uint8_t buffer[IDE_BUFFER];
	uint8_t bm_command, bm_status; /* bus master */
	uint32_t bm_table;
	bool bm_active;
	unsigned int bm_starts; /* counts them */
	struct irq_line irq;
	struct bus_range command_ports, control_port;
	struct ide *ide;
};

struct ide {
	struct pci_dev pci; /* first */
	struct ata_worker worker;
	struct physmem *mem;
	struct bus *pio;
	struct ide_channel channel[IDE_CHANNELS];
	struct ide_command *command;  /* the one that is under way */
	_Atomic unsigned int decoded; /* channels that are switched on, one bit each */
};

/* ide_init - the controller in its slot, nothing plugged in. Uses of @board: mem, pio, irqs. Returns 0; what
 * pci_dev_plug() and bus_add() say. */
_nodiscard_ int ide_init(struct ide *i, const struct board *board, struct pci_bus *pci,
			 struct err *err);
void ide_done(struct ide *i);

/*
 * ide_plug - a drive at a place: 0 and 1 are at the first channel, 2 and 3 at the second; before the machine runs.
 *
 * @disk: the caller's until ide_done(); disk_async_start() was called. @serial: up to 20 characters.
 * Returns 0; -EEXIST (place taken); -EINVAL (place number).
 */
_nodiscard_ int ide_plug(struct ide *i, unsigned int place, struct disk *disk, bool is_cd,
			 bool is_readonly, const char *serial, struct err *err);

/* The registers and drives; while paused and settled. */
extern const struct state_desc ide_state;

/* ide_reset - the reset pin; waits for a command that is being carried out. No vCPU runs. */
void ide_reset(struct ide *i);

#endif
