/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_POWER_H
#define ATOLL_CMD_POWER_H

#include "cmd/table.h"

/* The buttons of a machine's case, for a machine that runs. Each returns the program's exit status. */
int cmd_stop_exec(const struct cmd_call *call);
int cmd_reset_exec(const struct cmd_call *call);
int cmd_pause_exec(const struct cmd_call *call);
int cmd_resume_exec(const struct cmd_call *call);

/* The machine's vCPUs, plugged and unplugged. Returns the program's exit status. */
int cmd_cpus_exec(const struct cmd_call *call);

#endif
