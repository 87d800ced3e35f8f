/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_TABLE_PRIV_H
#define ATOLL_CMD_TABLE_PRIV_H

#include "cmd/table.h"

/* opt_count - options of a subcommand, without the end mark. Thread: any. */
_pure_ size_t opt_count(const struct cmd *cmd);

/* opt_nr_choices - choices of an option. Thread: any. */
_pure_ size_t opt_nr_choices(const struct opt *opt);

/* cmd_group_len - characters of the group in "group name", 0 for a command of its own. Thread: any. */
_pure_ size_t cmd_group_len(const struct cmd *cmd);

/* The subcommands that every program with subcommands has; cmd_main() carries them out. */
extern const struct cmd cmd_builtin_help, cmd_builtin_completion;

#endif
