/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_SHARES_H
#define ATOLL_CMD_VM_SHARES_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"
#include "sys/child.h"
#include "vm/machine.h"

/* The folders of a machine's --share options, each with the process that serves it. */
struct vm_shares {
	struct child helper[MACHINE_SHARES];
	int fd[MACHINE_SHARES];
	char tag[MACHINE_SHARES][64];
	unsigned int nr;
	bool must_hold; /* a helper does not start where its confinement does not hold */
};

/*
 * vm_shares_open - start what "TAG=DIR[,ro][,owner=UID:GID]" says, and wait until it serves.
 *
 * @s:   zeroed; vm_shares_close() also after a failure
 * @cfg: gets the shares; they point into @s
 * Returns 0 or negative errno. Thread: the first.
 */
_nodiscard_ int vm_shares_open(struct vm_shares *s, const struct opt_list *specs,
			       struct machine_config *cfg, struct err *err);
void vm_shares_close(struct vm_shares *s);

#endif
