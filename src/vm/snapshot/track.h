/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_SNAPSHOT_TRACK_H
#define VM_SNAPSHOT_TRACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "vm/memory.h"
#include "vm/snapshot/file.h"

/*
 * What a machine has written since each of its last saves, so that a later one needs only that: sets of pages, into which
 * goes what the dirty log is found to have. The log runs from the first save on. Several are kept because the caller of a save may
 * not have given the last one a name, or wants a base before it.
 *
 * Zero it. One thread at a time, which snapshot_track_begin() sees to.
 */
enum { SNAPSHOT_KEPT = 4 };

struct snapshot_track {
	struct memory *m;
	atomic_bool is_saving;
	bool is_logging; /* the dirty log is ours */
	struct {
		struct snapshot_ref ref;
		uint64_t *set; /* one bit a page of RAM; NULL: none */
	} kept[SNAPSHOT_KEPT];
	unsigned int next; /* the oldest */
	uint64_t *spare;   /* for the save that is under way */
};

/*
 * snapshot_track_begin - a save begins: the dirty log runs from now on.
 *
 * Returns 0, and snapshot_track_end() has to follow; -EBUSY (a save is under way, or somebody else has the log); -ENOMEM.
 * Thread: any.
 */
_nodiscard_ int snapshot_track_begin(struct snapshot_track *t, struct memory *m, struct err *err);

/* snapshot_track_fetch - memory_log_fetch(), and it is remembered. Thread: the save's. */
uint64_t snapshot_track_fetch(struct snapshot_track *t, uint64_t *ret);

/* snapshot_track_since - the set of pages that were written since that save, as far as they were fetched; NULL: it is not
 * known. Thread: the save's. */
const uint64_t *snapshot_track_since(const struct snapshot_track *t,
				     const struct snapshot_ref *ref);

/* snapshot_track_stop - the save is not going to be: the log ends if nobody needs it. While the machine stands still. Thread:
 * the save's. */
void snapshot_track_stop(struct snapshot_track *t);

/* snapshot_track_end - the save is done. @saved: what it has become, of the moment of the last fetch; NULL: nothing. Thread: the
 * save's. */
void snapshot_track_end(struct snapshot_track *t, const struct snapshot_ref *saved);

/* snapshot_track_done - free what it holds; the log, if it runs, goes on. Thread: owner. */
void snapshot_track_done(struct snapshot_track *t);

#endif
