/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_DRIVES_H
#define ATOLL_CMD_VM_DRIVES_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"
#include "cmd/vm_disks.h"
#include "vm/machine.h"

/*
 * vm_drives_open - give each disk its place: those of --disk with if=sata or if=ide at the first places of their controller,
 * then what --cdrom names at the next ones of SATA, which is opened here; the other disks are virtio's.
 *
 * @cfg:   sata, ide, disks and nr_disks are set
 * @disks: opened; v->virtio is set
 * Returns 0, or a negative errno with the story. vm_drives_close() in any case. Thread: owner.
 */
_nodiscard_ int vm_drives_open(struct machine_config *cfg, struct vm_disks *disks,
			       const struct opt_list *cdroms, struct err *err);

/* vm_drives_close - close the images of --cdrom; harmless when nothing is open. Thread: owner, after the machine's end and
 * before vm_disks_close(). */
void vm_drives_close(struct machine_config *cfg, const struct vm_disks *disks);

#endif
