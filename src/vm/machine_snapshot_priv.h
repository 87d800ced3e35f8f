/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_SNAPSHOT_PRIV_H
#define VM_MACHINE_SNAPSHOT_PRIV_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "vm/machine_priv.h"

enum { SNAPSHOT_DISKS = DISK_NR_BUSES * MACHINE_VIRTIO_MAX };

/* The disks of a machine that is being saved: those that are written to, and where each is copied to. Zero it. */
struct snapshot_disks {
	unsigned int nr, nr_begun; /* the first ones' jobs run */
	struct {
		unsigned int n;	     /* its bus times MACHINE_VIRTIO_MAX, and its number there */
		struct disk *target; /* NULL: the job's */
		const char *name;    /* of struct machine_save */
	} disk[SNAPSHOT_DISKS];
};

/* snapshot_disks_open - the targets; @to has as many as there are disks. Returns 0, -EINVAL, those of disk_open_fd().
 * snapshot_disks_done() in any case. Thread: one that holds m->control. */
_nodiscard_ int snapshot_disks_open(struct snapshot_disks *s, struct machine *m,
				    const struct machine_save *to, struct err *err);

/* snapshot_disks_full - is there one for which the host has no space? Returns 0, or -EBUSY with which. Thread: the same. */
_nodiscard_ int snapshot_disks_full(const struct machine *m, struct err *err);

/* snapshot_disks_begin - the disks as they are now begin to be copied. Returns 0; -EBUSY (there are others than before, or one
 * has a job already), others of disk_job_start(). Thread: the same, while the machine stands still. */
_nodiscard_ int snapshot_disks_begin(struct snapshot_disks *s, struct machine *m, struct err *err);

/* snapshot_disks_tell - append which disk's copy is in which file, as JSON. Thread: any. */
void snapshot_disks_tell(const struct snapshot_disks *s, struct strbuf *out);

/* snapshot_disks_done - close what no job has; @is_failed: the jobs end, too. Thread: the same, without m->control. */
void snapshot_disks_done(struct snapshot_disks *s, struct machine *m, bool is_failed);

#endif
