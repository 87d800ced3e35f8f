/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_SNAPSHOT_H
#define ATOLL_CMD_SNAPSHOT_H

#include "cmd/table.h"

/* cmd_vm_snapshot_exec - `atoll vm snapshot`. Returns the exit status. Thread: the first. */
int cmd_vm_snapshot_exec(const struct cmd_call *call);

#endif
