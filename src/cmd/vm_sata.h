/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_SATA_H
#define ATOLL_CMD_VM_SATA_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"
#include "vm/machine.h"

/*
 * vm_sata_open - open what --cdrom names, the first at the first port of the controller.
 *
 * @ret: MACHINE_SATA elements; vm_sata_close() in any case. Returns 0, or a negative errno with the story. Thread: owner.
 */
_nodiscard_ int vm_sata_open(struct machine_sata *ret, const struct opt_list *cdroms,
			     struct err *err);

/* vm_sata_close - close them; harmless when nothing is open. Thread: owner, after the machine's end. */
void vm_sata_close(struct machine_sata *sata);

#endif
