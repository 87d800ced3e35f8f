/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_TOP_H
#define ATOLL_CMD_TOP_H

#include "cmd/table.h"

/* cmd_top_exec - `atoll top`. Returns the exit status. Thread: the first. */
int cmd_top_exec(const struct cmd_call *call);

#endif
