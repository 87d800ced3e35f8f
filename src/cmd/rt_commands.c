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
