/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_LIVE_H
#define ATOLL_CMD_LIVE_H

#include "cmd/table.h"

/* The commands of `atoll live`: disks of a running machine. Return the exit status. Thread: the first. */
int cmd_live_disks_exec(const struct cmd_call *call);
int cmd_live_snapshot_exec(const struct cmd_call *call);
int cmd_live_commit_exec(const struct cmd_call *call);
int cmd_live_stream_exec(const struct cmd_call *call);
int cmd_live_backup_exec(const struct cmd_call *call);
int cmd_live_cancel_exec(const struct cmd_call *call);
int cmd_live_speed_exec(const struct cmd_call *call);
int cmd_live_limit_exec(const struct cmd_call *call);
int cmd_live_resize_exec(const struct cmd_call *call);
int cmd_live_retry_exec(const struct cmd_call *call);

#endif
