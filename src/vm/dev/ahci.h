/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_AHCI_H
#define VM_DEV_AHCI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/board.h"
#include "vm/dev/ata.h"
#include "vm/dev/pci.h"
#include "vm/snapshot/state.h"

/*
 * A serial-ATA controller like that of Intel's ICH9 (PCI 8086:2922, AHCI 1.0 with 32 command slots and native
 * queuing) with disks and CD-ROM drives at its ports.
 *
 * Registers are served on the vCPU's thread; commands are carried out by the thread of @worker (ata.h), which is started, paused
 * and stopped with it: what the guest's descriptors name is read and written by physmem_*() only.
 */
enum { AHCI_PORTS = ATA_DRIVES, AHCI_DEVFN = 0x1f << 3 | 2 };

struct disk;
struct ahci_command;

struct ahci_port {
	struct ata_drive drive;
	uint64_t list, fis; /* command list and where received FISes go */
	uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	bool in_reset;	/* COMRESET, or a software reset by command */
	bool is_halted; /* after an error, until ST is cleared */
	int running;	/* slot whose command is being carried out; negative: none */
};

struct ahci {
	struct pci_dev pci; /* first */
	struct ata_worker worker;
	struct physmem *mem;
	uint32_t ghc, is;
	struct ahci_port port[AHCI_PORTS];
	struct ahci_command *command; /* the one that is under way */
};

/* ahci_init - the controller in its slot, nothing plugged in. Uses of @board: mem. Returns 0; what pci_dev_plug()
 * says. */
_nodiscard_ int ahci_init(struct ahci *a, const struct board *board, struct pci_bus *pci,
			  struct err *err);
void ahci_done(struct ahci *a);

/*
 * ahci_plug - a drive at a port; before the machine runs.
 *
 * @disk: the caller's until ahci_done(); disk_async_start() was called. @serial: up to 20 characters.
 * Returns 0; -EEXIST (port taken); -EINVAL (port number).
 */
_nodiscard_ int ahci_plug(struct ahci *a, unsigned int port, struct disk *disk, bool is_cd,
			  bool is_readonly, const char *serial, struct err *err);

/* The registers and drives; while paused and settled. */
extern const struct state_desc ahci_state;

/* ahci_reset - the reset pin; waits for a command that is being carried out. No vCPU runs. */
void ahci_reset(struct ahci *a);

#endif
