/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_COPY_H
#define VM_SNAPSHOT_COPY_H

#include <pthread.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/memory.h"
#include "vm/snapshot/file.h"
#include "vm/snapshot/track.h"

/*
 * The memory of a guest that runs into the file of a snapshot:
 *
 *	running: all that is used, or what was written since the file's base was saved, then what was written meanwhile, until that is little -> still: the rest, into a buffer
 *	-> running: the buffer
 *
 * Zero it; snapshot_copy_done() in any case.
 */
struct snapshot_copy {
	struct memory *m;
	struct snapshot_writer *w;
	struct snapshot_track *track;
	uint64_t *dirty; /* pages of a round, one bit a page of RAM; */
	uint64_t *ours;	 /* all so far, of a file with a base; */
	uint64_t *all;	 /* scratch */
	uint8_t *late;	 /* pages that wait to be written, */
	uint64_t *late_page;
	uint64_t nr_late; /* and which they are */
};

/*
 * snapshot_copy_running - write what the memory has now.
 *
 * @w:       with a base, only what was written since that was saved
 * @track:   of this memory; after its snapshot_track_begin()
 * @resets:  the lock under which memory is cleared and loaded
 * Returns 0; -ESTALE (nobody knows what was written since then); -ENOMEM, -ENOSPC and others of write(2). Thread: the save's;
 * vCPUs and devices run.
 */
_nodiscard_ int snapshot_copy_running(struct snapshot_copy *c, struct snapshot_writer *w,
				      struct snapshot_track *track, pthread_mutex_t *resets,
				      struct err *err);

/* snapshot_copy_rest - what has changed since. Returns 0, or what write(2) says. Thread: the same; nobody writes. */
_nodiscard_ int snapshot_copy_rest(struct snapshot_copy *c, struct err *err);

/* snapshot_copy_end - all of the memory, as it was at snapshot_copy_rest(), is in the file. Returns 0, or what write(2)
 * says. Thread: the same; the guest may run again. */
_nodiscard_ int snapshot_copy_end(struct snapshot_copy *c, struct err *err);

/* snapshot_copy_done - free what it holds. Thread: owner. */
void snapshot_copy_done(struct snapshot_copy *c);

#endif
