/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_RUN_H
#define ATOLL_CMD_RUN_H

#include "cmd/table.h"

/*
 * cmd_run_exec - `atoll run`, `atoll trace`: become atoll-vm, the program beside this one, with the same options.
 *
 * Returns only on failure, with 1, the reason on standard error. Thread: the first.
 */
int cmd_run_exec(const struct cmd_call *call);

#endif
