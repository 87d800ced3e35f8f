/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of `atoll-rt`, as data. Names and letters of options are runc's: engines have them built in. */
#include "cmd/rt.h"

static const struct opt global_options[] = {
	{
		.name = "root",
		.type = OPT_PATH,
		.arg = "FOLDER",
		.help = "Where the states of containers are kept",
		.def = "/run/atoll-rt",
		OPT_AT(struct rt_globals, root),
	},
	{
		.name = "log",
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Append errors to a file, besides standard error",
		OPT_AT(struct rt_globals, log),
	},
	{
		.name = "log-format",
		.type = OPT_ENUM,
		.arg = "FORMAT",
		.help = "What a line of that file is",
		.def = "text",
		.choices = { "text", "json" },
		OPT_AT(struct rt_globals, log_format),
	},
	{ 0 },
};

const struct cmd rt_globals = {
	.name = "atoll-rt",
	.summary = "Options of the program",
	.args = "COMMAND",
	.args_max = SIZE_MAX,
	.stops_at_args = true,
	.opts = global_options,
	.opts_size = sizeof(struct rt_globals),
};

static const struct opt spec_options[] = {
	{
		.name = "bundle",
		.letter = 'b',
		.type = OPT_PATH,
		.arg = "FOLDER",
		.help = "Where it is written",
		.def = ".",
		OPT_AT(struct rt_spec_opts, bundle),
	},
	{ 0 },
};

const struct cmd rt_cmd_spec = {
	.name = "spec",
	.summary = "Write a config.json to begin with",
	.description =
		"Writes config.json, which must not exist, for a shell in the folder \"rootfs\" "
		"beside it.",
	.opts = spec_options,
	.opts_size = sizeof(struct rt_spec_opts),
	.examples = "atoll-rt spec --bundle web",
};

#define CREATE_OPTIONS                                                                                                         \
	{                                                                                                                      \
		.name = "bundle",                                                                                              \
		.letter = 'b',                                                                                                 \
		.type = OPT_PATH,                                                                                              \
		.arg = "FOLDER",                                                                                               \
		.help = "Folder with config.json",                                                                             \
		.def = ".",                                                                                                    \
		OPT_AT(struct rt_create_opts, bundle),                                                                         \
	},                                                                                                                     \
		{                                                                                                              \
			.name = "console-socket",                                                                              \
			.type = OPT_PATH,                                                                                      \
			.arg = "SOCKET",                                                                                       \
			.help = "Unix socket that gets the terminal of a container that has one",                              \
			OPT_AT(struct rt_create_opts, console_socket),                                                         \
		},                                                                                                             \
		{                                                                                                              \
			.name = "pid-file",                                                                                    \
			.type = OPT_PATH,                                                                                      \
			.arg = "FILE",                                                                                         \
			.help = "Write the number of the container's first process to it",                                     \
			OPT_AT(struct rt_create_opts, pid_file),                                                               \
		},                                                                                                             \
		{                                                                                                              \
			.name = "no-pivot",                                                                                    \
			.type = OPT_FLAG,                                                                                      \
			.help = "Do not exchange the root, which one on a ramdisk cannot be; mounts of the host stay beneath", \
			OPT_AT(struct rt_create_opts, no_pivot),                                                               \
		},                                                                                                             \
		{                                                                                                              \
			.name = "no-new-keyring",                                                                              \
			.type = OPT_FLAG,                                                                                      \
			.help = "The container keeps the caller's session keyring",                                            \
			OPT_AT(struct rt_create_opts, no_new_keyring),                                                         \
		},                                                                                                             \
		{                                                                                                              \
			.name = "preserve-fds",                                                                                \
			.type = OPT_U64,                                                                                       \
			.arg = "N",                                                                                            \
			.help = "Descriptors 3 to N + 2 stay open in the container",                                           \
			.max = 1000,                                                                                           \
			.def = "0",                                                                                            \
			OPT_AT(struct rt_create_opts, preserve_fds),                                                           \
		},

static const struct opt create_options[] = {
	CREATE_OPTIONS{ 0 },
};

static const struct opt run_options[] = {
	CREATE_OPTIONS{
		.name = "detach",
		.letter = 'd',
		.type = OPT_FLAG,
		.help = "Come back when the program was started",
		OPT_AT(struct rt_create_opts, detach),
	},
	{
		.name = "keep",
		.type = OPT_FLAG,
		.help = "Do not remove the container when its program has ended",
		OPT_AT(struct rt_create_opts, keep),
	},
	{
		.name = "no-subreaper",
		.type = OPT_FLAG,
		.help = "Leave processes that lost their parent to others",
		OPT_AT(struct rt_create_opts, no_subreaper),
	},
	{ 0 },
};

const struct cmd rt_cmd_run = {
	.name = "run",
	.summary = "Make a container, and run its program",
	.description =
		"Stays until the program has ended, hands signals on, and removes the container. A container with a terminal gets that of the caller.",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
	.opts = run_options,
	.opts_size = sizeof(struct rt_create_opts),
	.exit_status =
		"That of the program, 128 and the signal that ended it, or 1 with the reason on standard error; with --detach 0 or 1.",
	.examples = "atoll-rt run --bundle web web1",
};

const struct cmd rt_cmd_create = {
	.name = "create",
	.summary = "Make a container, and let its program wait for start",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
	.opts = create_options,
	.opts_size = sizeof(struct rt_create_opts),
};

static const struct opt exec_options[] = {
	{
		.name = "process",
		.letter = 'p',
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "What the process is to be, as \"process\" of a config.json; options below are not looked at, but detach and what follows it",
		OPT_AT(struct rt_exec_opts, process),
	},
	{
		.name = "cwd",
		.type = OPT_PATH,
		.arg = "FOLDER",
		.help = "Where it works, in the container",
		OPT_AT(struct rt_exec_opts, cwd),
	},
	{
		.name = "env",
		.letter = 'e',
		.type = OPT_LIST,
		.arg = "NAME=VALUE",
		.help = "Also in its environment",
		OPT_AT(struct rt_exec_opts, env),
	},
	{
		.name = "tty",
		.letter = 't',
		.type = OPT_FLAG,
		.help = "Give it a terminal",
		OPT_AT(struct rt_exec_opts, tty),
	},
	{
		.name = "user",
		.letter = 'u',
		.type = OPT_STR,
		.arg = "UID[:GID]",
		.help = "Who it is, by number",
		OPT_AT(struct rt_exec_opts, user),
	},
	{
		.name = "additional-gids",
		.letter = 'g',
		.type = OPT_LIST,
		.arg = "GID",
		.help = "A further group",
		OPT_AT(struct rt_exec_opts, groups),
	},
	{
		.name = "cap",
		.letter = 'c',
		.type = OPT_LIST,
		.arg = "CAPABILITY",
		.help = "Programs of root have this one, too",
		OPT_AT(struct rt_exec_opts, caps),
	},
	{
		.name = "no-new-privs",
		.type = OPT_FLAG,
		.help = "It cannot gain privileges by programs with set-user-ID",
		OPT_AT(struct rt_exec_opts, no_new_privs),
	},
	{
		.name = "detach",
		.letter = 'd',
		.type = OPT_FLAG,
		.help = "Come back when the program was started",
		OPT_AT(struct rt_exec_opts, detach),
	},
	{
		.name = "console-socket",
		.type = OPT_PATH,
		.arg = "SOCKET",
		.help = "Unix socket that gets its terminal",
		OPT_AT(struct rt_exec_opts, console_socket),
	},
	{
		.name = "pid-file",
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Write the number of the process to it",
		OPT_AT(struct rt_exec_opts, pid_file),
	},
	{
		.name = "preserve-fds",
		.type = OPT_U64,
		.arg = "N",
		.help = "Descriptors 3 to N + 2 stay open in it",
		.max = 1000,
		.def = "0",
		OPT_AT(struct rt_exec_opts, preserve_fds),
	},
	{
		.name = "ignore-paused",
		.type = OPT_FLAG,
		.help = "Also in a paused container: it goes on with that",
		OPT_AT(struct rt_exec_opts, ignore_paused),
	},
	{ 0 },
};

const struct cmd rt_cmd_exec = {
	.name = "exec",
	.summary = "Run one more program in a container",
	.description =
		"The program is as the container's own, with its user, environment and rights, but for what options say. Stays until it has ended, and hands signals on.",
	.args = "ID [PROGRAM [ARGUMENT...]]",
	.args_min = 1,
	.args_max = SIZE_MAX,
	.stops_at_args = true,
	.opts = exec_options,
	.opts_size = sizeof(struct rt_exec_opts),
	.exit_status =
		"That of the program, 128 and the signal that ended it, or 255 with the reason on standard error; with --detach 0 or 255.",
	.examples = "atoll-rt exec --tty web1 sh",
};

const struct cmd rt_cmd_start = {
	.name = "start",
	.summary = "Start the program of a container that was created",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
};

const struct cmd rt_cmd_state = {
	.name = "state",
	.summary = "Show the state of a container as JSON",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
};

static const struct opt kill_options[] = {
	{
		.name = "all",
		.letter = 'a',
		.type = OPT_FLAG,
		.help = "To all processes of the container, not its first alone",
		OPT_AT(struct rt_kill_opts, all),
	},
	{ 0 },
};

const struct cmd rt_cmd_kill = {
	.name = "kill",
	.summary = "Send a signal to a container",
	.description =
		"SIGNAL is a name, with or without SIG, or a number; TERM when it is not given.",
	.args = "ID [SIGNAL]",
	.args_min = 1,
	.args_max = 2,
	.opts = kill_options,
	.opts_size = sizeof(struct rt_kill_opts),
};

static const struct opt delete_options[] = {
	{
		.name = "force",
		.letter = 'f',
		.type = OPT_FLAG,
		.help = "Also one that runs, or was left half made: its processes are killed",
		OPT_AT(struct rt_delete_opts, force),
	},
	{ 0 },
};

const struct cmd rt_cmd_delete = {
	.name = "delete",
	.summary = "Remove what is left of a container",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
	.opts = delete_options,
	.opts_size = sizeof(struct rt_delete_opts),
};

static const struct opt list_options[] = {
	{
		.name = "format",
		.letter = 'f',
		.type = OPT_ENUM,
		.arg = "FORMAT",
		.help = "How they are shown",
		.def = "table",
		.choices = { "table", "json" },
		OPT_AT(struct rt_list_opts, format),
	},
	{
		.name = "quiet",
		.letter = 'q',
		.type = OPT_FLAG,
		.help = "Names only",
		OPT_AT(struct rt_list_opts, quiet),
	},
	{ 0 },
};

const struct cmd rt_cmd_list = {
	.name = "list",
	.summary = "List the containers below --root",
	.args_max = 0,
	.opts = list_options,
	.opts_size = sizeof(struct rt_list_opts),
};

static const struct opt ps_options[] = {
	{
		.name = "format",
		.letter = 'f',
		.type = OPT_ENUM,
		.arg = "FORMAT",
		.help = "How they are shown",
		.def = "table",
		.choices = { "table", "json" },
		OPT_AT(struct rt_list_opts, format),
	},
	{ 0 },
};

const struct cmd rt_cmd_ps = {
	.name = "ps",
	.summary = "List a container's processes, by their numbers on the host",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
	.opts = ps_options,
	.opts_size = sizeof(struct rt_list_opts),
};

const struct cmd rt_cmd_pause = {
	.name = "pause",
	.summary = "Stop all processes of a container where they are",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
};

const struct cmd rt_cmd_resume = {
	.name = "resume",
	.summary = "Let the processes of a paused container go on",
	.args = "ID",
	.args_min = 1,
	.args_max = 1,
};
