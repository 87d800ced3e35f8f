/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_AHCI_H
#define VM_DEV_AHCI_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/thread.h"
#include "vm/board.h"
#include "vm/dev/pci.h"
#include "vm/snapshot/state.h"

/*
 * A serial-ATA controller like that of Intel's ICH9 (PCI 8086:2922, AHCI 1.0 with 32 command slots and native
 * queuing) with disks and CD-ROM drives at its ports.
 *
 * Registers are served on the vCPU's thread; commands are carried out by a thread of the controller's own, one after
 * the other, through a buffer: what the guest's descriptors name is read and written by physmem_*() only.
 */
enum { AHCI_PORTS = 6, AHCI_DEVFN = 0x1f << 3 | 2, AHCI_BUFFER = 128 << 10 };

struct disk;
struct ahci;

struct ahci_port {
	struct disk *disk; /* the caller's; NULL: nothing is plugged in */
	bool has_drive;
	bool is_cd; /* a CD-ROM drive, which has DISK as its medium */
	bool is_readonly;
	char serial[21];

	uint64_t list, fis; /* command list and where received FISes go */
	uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	bool in_reset;	    /* COMRESET, or a software reset by command */
	bool is_halted;	    /* after an error, until ST is cleared */
	int running;	    /* slot whose command is being carried out; negative: none */
	unsigned int epoch; /* counts resets: results of commands from before are dropped */
	struct {
		uint8_t tag, status, error;
		uint64_t lba;
		uint16_t count;
	} failed;	     /* disk: the last queued command that failed, for the log */
	uint8_t sense[3];    /* CD: key, code, qualifier of the last failed command */
	bool medium_changed; /* CD: to be told by the next command */
};

struct ahci {
	struct pci_dev pci; /* first */
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct physmem *mem;
	uint32_t ghc, is;
	struct ahci_port port[AHCI_PORTS];
	uint8_t *buffer; /* the worker's */
	struct thread thread;
	unsigned int pauses; /* > 0: no command is begun */
	bool has_thread, stop, is_working;
	bool is_settling; /* the command that is under way ends although there are pauses */
	bool is_moving; /* is_working, and the disk has the request: nothing of the guest's is touched */
	pthread_mutex_t move_lock; /* of a request's end; innermost */
	pthread_cond_t moved;
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

/* ahci_start - let commands be carried out. Returns 0; -EAGAIN. ahci_stop() ends that; harmless when not started. */
_nodiscard_ int ahci_start(struct ahci *a, struct err *err);
void ahci_stop(struct ahci *a);

/* ahci_pause, ahci_resume - wait until no command is under way, but at its disk, and begin none until then; nests. While
 * paused, nothing is written into guest memory. Not with a lock held that a vCPU waits for. Thread: any. */
void ahci_pause(struct ahci *a);
void ahci_resume(struct ahci *a);

/* ahci_settle - wait until the command that is under way has ended. While paused; limits of its disk do not hold. Thread: the one
 * that has paused it. */
void ahci_settle(struct ahci *a);

/* The registers and drives; while paused and settled. */
extern const struct state_desc ahci_state;

/* ahci_work - carry out what waits, on the calling thread: for tests. Returns the number of commands. Not while
 * started. */
unsigned int ahci_work(struct ahci *a);

/* ahci_reset - the reset pin; waits for a command that is being carried out. No vCPU runs. */
void ahci_reset(struct ahci *a);

#endif
