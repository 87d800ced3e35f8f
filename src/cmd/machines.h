/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_MACHINES_H
#define ATOLL_CMD_MACHINES_H

#include "cmd/table.h"

/*
 * Subcommands about machines that are running: cmd_ps_exec lists them, cmd_stats_exec shows one's counters,
 * cmd_trace_exec the hottest code of one, or of one that it starts. Return the exit status. Thread: the first.
 */
int cmd_ps_exec(const struct cmd_call *call);
int cmd_stats_exec(const struct cmd_call *call);
int cmd_trace_exec(const struct cmd_call *call);

#endif
