/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_DEV_ATA_H
#define VM_DEV_ATA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "sys/thread.h"

/*
 * Disks and CD-ROM drives as ATA and ATAPI know them, and the thread that carries their commands out: what the
 * controllers (ahci.h, ide.h) have in common.
 */
enum { ATA_BUFFER = 128 << 10, ATA_SERIAL = 20, ATA_DRIVES = 6 };

struct disk;
struct ata_command;

struct ata_drive {
	struct disk *disk; /* the caller's; NULL: nothing is plugged in */
	bool has_drive;
	bool is_cd; /* a CD-ROM drive, which has DISK as its medium */
	bool is_readonly;
	bool is_parallel; /* at a parallel bus: older commands, cylinders and heads, no queue */
	char serial[ATA_SERIAL + 1];
	unsigned int epoch; /* counts resets: results of commands from before are dropped */
	struct {
		uint8_t tag, status, error;
		uint64_t lba;
		uint16_t count;
	} failed;	     /* disk: the last queued command that failed, for the log */
	uint8_t sense[3];    /* CD: key, code, qualifier of the last failed command */
	bool medium_changed; /* CD: to be told by the next command */
	/* At a parallel bus: the geometry that the guest has chosen, sectors of a block of READ MULTIPLE (0: it has none), the
	 * transfer mode as SET FEATURES has it. */
	uint8_t heads, sectors, multiple, mode;
};

struct ata_worker;

/* What a controller does for its worker. */
struct ata_worker_ops {
	/* The next command that can be carried out, filled in but for its worker and epoch, and marked as being worked on; NULL: there
	 * is none. Under the lock. */
	struct ata_command *(*take)(struct ata_worker *w);
	/* Do it. Returns 0, also for a command that ended in an error; negative for finish(). */
	int (*run)(struct ata_command *c);
	/* Its end in the registers; @is_dropped: there was a reset meanwhile, nobody is to hear of it. Under the lock. */
	void (*finish)(struct ata_command *c, int r, bool is_dropped);
};

/* The thread of a controller; one command at a time. @lock guards all of the controller, too. */
struct ata_worker {
	const struct ata_worker_ops *ops;
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct ata_drive *drive[ATA_DRIVES];
	unsigned int nr_drives;
	uint8_t *buffer; /* ATA_BUFFER bytes, of the command that is under way */
	struct thread thread;
	unsigned int pauses; /* > 0: no command is begun */
	bool has_thread, stop, is_working;
	bool is_settling; /* the command that is under way ends although there are pauses */
	bool is_moving; /* is_working, and the disk has the request: nothing of the guest's is touched */
	pthread_mutex_t move_lock; /* of a request's end; innermost */
	pthread_cond_t moved;
};

/* ata_worker_init - without drives; ata_worker_done() ends it, and takes one of which only zeros were written. */
void ata_worker_init(struct ata_worker *w, const struct ata_worker_ops *ops);
void ata_worker_done(struct ata_worker *w);

/* ata_worker_add - a place for a drive, which outlives the worker. At most ATA_DRIVES. */
void ata_worker_add(struct ata_worker *w, struct ata_drive *d);

/* ata_drive_plug - a drive in an empty place. @disk: the caller's for longer than the controller's life; disk_async_start()
 * was called. @serial: up to ATA_SERIAL characters. */
void ata_drive_plug(struct ata_drive *d, struct disk *disk, bool is_cd, bool is_readonly,
		    const char *serial);

/* ata_start - let commands be carried out. Returns 0; -EAGAIN. ata_stop() ends that; harmless when not started. */
_nodiscard_ int ata_start(struct ata_worker *w, struct err *err);
void ata_stop(struct ata_worker *w);

/* ata_pause, ata_resume - wait until no command is under way, but at its disk, and begin none until then; nests. While
 * paused, nothing is written into guest memory. Not with a lock held that a vCPU waits for. Thread: any. */
void ata_pause(struct ata_worker *w);
void ata_resume(struct ata_worker *w);

/* ata_settle - wait until the command that is under way has ended. While paused; limits of its disk do not hold. Thread: the
 * one that has paused it. */
void ata_settle(struct ata_worker *w);

/* ata_work - carry out what waits, on the calling thread: for tests. Returns the number of commands. Not while
 * started. */
unsigned int ata_work(struct ata_worker *w);

/* ata_power_on - the reset pin for the drives: waits for a command that is being carried out, whose result the controller
 * has seen to be dropped. Under the lock. */
void ata_power_on(struct ata_worker *w);

#endif
