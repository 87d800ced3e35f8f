/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_BALLOON_H
#define ATOLL_CMD_BALLOON_H

#include "cmd/table.h"

/* cmd_balloon_exec - `atoll balloon`: how much memory a running machine's guest keeps. Returns the exit status. Thread:
 * the first. */
int cmd_balloon_exec(const struct cmd_call *call);

#endif
