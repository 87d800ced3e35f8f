/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_SATA_H
#define ATOLL_CMD_VM_SATA_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"
#include "cmd/vm_disks.h"
#include "vm/machine.h"

/*
 * vm_sata_open - give each disk its place: those of --disk with if=sata at the first ports of the controller, then what
 * --cdrom names, which is opened here; the other disks are virtio's.
 *
 * @cfg:   sata, disks and nr_disks are set
 * @disks: opened; v->virtio is set
 * Returns 0, or a negative errno with the story. vm_sata_close() in any case. Thread: owner.
 */
_nodiscard_ int vm_sata_open(struct machine_config *cfg, struct vm_disks *disks,
			     const struct opt_list *cdroms, struct err *err);

/* vm_sata_close - close the CD-ROM images; harmless when nothing is open. Thread: owner, after the machine's end. */
void vm_sata_close(struct machine_config *cfg);

#endif
