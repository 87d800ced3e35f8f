/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_CONSOLE_H
#define ATOLL_CMD_CONSOLE_H

#include "cmd/table.h"

/* cmd_console_exec - `atoll console`. Returns the exit status. Thread: the first. */
int cmd_console_exec(const struct cmd_call *call);

#endif
