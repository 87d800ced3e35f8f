/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_RT_H
#define ATOLL_CMD_RT_H

#include "cmd/table.h"

/*
 * The commands of `atoll-rt` as data, with the command line of runc, which container engines call: options before the command,
 * then the command, its options and operands.
 */
struct rt_globals {
	const char *root;    /* folder of the containers' states */
	const char *log;     /* or NULL: standard error */
	unsigned log_format; /* index in the choices: 1 is json */
};

struct rt_spec_opts {
	const char *bundle;
};

extern const struct cmd rt_globals, rt_cmd_spec;

/* rt_complain - an error of a command: on standard error, and in the file of --log. Returns the exit status 1. Thread: the
 * first. */
int rt_complain(const struct cmd_call *call, const struct err *err);

#endif
