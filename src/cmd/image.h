/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_IMAGE_H
#define ATOLL_CMD_IMAGE_H

#include "cmd/table.h"

/* The commands of `atoll image`. Return the exit status. Thread: the first. */
int cmd_image_build_exec(const struct cmd_call *call);

#endif
