/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_ATTACH_H
#define ATOLL_CMD_ATTACH_H

#include "cmd/table.h"

/* cmd_attach_exec, cmd_detach_exec, cmd_devices_exec - disks and network devices of a running machine. Return its exit
 * status. Thread: the first. */
int cmd_attach_exec(const struct cmd_call *call);
int cmd_detach_exec(const struct cmd_call *call);
int cmd_devices_exec(const struct cmd_call *call);

#endif
