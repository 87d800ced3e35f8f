/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_COPY_H
#define VM_SNAPSHOT_COPY_H

#include <pthread.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/memory.h"
#include "vm/snapshot/file.h"

/*
 * The memory of a guest that runs into the file of a snapshot:
 *
 *	running: all that is used, then what was written meanwhile, until that is little -> still: the rest, into a buffer
 *	-> running: the buffer
 *
 * Zero it; snapshot_copy_done() in any case.
 */
struct snapshot_copy {
	struct memory *m;
	struct snapshot_writer *w;
	uint64_t *dirty; /* one bit a page of RAM */
	uint8_t *late;	 /* pages that wait to be written, */
	uint64_t *late_page;
	uint64_t nr_late; /* and which they are */
};

/*
 * snapshot_copy_running - write what the memory has now, and begin to log what changes.
 *
 * @resets:  the lock under which memory is cleared and loaded
 * Returns 0; -EBUSY, -ENOMEM (no log), -ENOSPC and others of write(2). The log runs in any case unless it could not be
 * started: memory_log_stop() follows. Thread: any, vCPUs and devices run.
 */
_nodiscard_ int snapshot_copy_running(struct snapshot_copy *c, struct memory *m,
				      struct snapshot_writer *w, pthread_mutex_t *resets,
				      struct err *err);

/* snapshot_copy_rest - what has changed since. Returns 0, or what write(2) says. Thread: the same; nobody writes. */
_nodiscard_ int snapshot_copy_rest(struct snapshot_copy *c, struct err *err);

/* snapshot_copy_end - all of the memory, as it was at snapshot_copy_rest(), is in the file. Returns 0, or what write(2)
 * says. Thread: the same; the guest may run again. */
_nodiscard_ int snapshot_copy_end(struct snapshot_copy *c, struct err *err);

/* snapshot_copy_done - free what it holds; the log, if it runs, goes on. Thread: owner. */
void snapshot_copy_done(struct snapshot_copy *c);

#endif
