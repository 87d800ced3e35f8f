/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands that tell about the host, as data: what `atoll doctor` can be asked. */
#include "base/attr.h"
#include "cmd/commands.h"

static const struct opt doctor_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write JSON objects, one a line: name, state (ok, partly, missing), what, "
			"detail, cost, next",
		OPT_AT(struct doctor_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_doctor = {
	.name = "doctor",
	.summary = "Say what this host can do, what is missing and what that costs",
	.description =
		"Looks at memory and CPUs, hardware virtualization, what confines machines (user "
		"namespaces, system call filters, Landlock), control groups, huge pages, merging "
		"of equal pages, io_uring, and what networks need. Where it can be tried, it is "
		"tried, as the user who asks; nothing is changed. What is missing comes with what "
		"that costs and what the next step is.",
	.opts = doctor_options,
	.opts_size = sizeof(struct doctor_opts),
	.exit_status = "0, whatever was found.",
	.examples = "atoll doctor\n"
		    "atoll doctor --json | jq -r 'select(.state != \"ok\").name'",
};
