/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_SCREENSHOT_H
#define ATOLL_CMD_SCREENSHOT_H

#include "cmd/table.h"

/* cmd_screenshot_exec - `atoll screenshot`: a machine's screen into a file. Returns the exit status. Thread: the
 * first. */
int cmd_screenshot_exec(const struct cmd_call *call);

#endif
