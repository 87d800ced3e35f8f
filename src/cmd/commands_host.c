/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands that tell about the host, as data: what it can do, and what machines cost it. */
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

static const struct opt top_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object a look, with the machines in an array",
		OPT_AT(struct top_opts, json),
	},
	{
		.name = "once",
		.letter = '1',
		.type = OPT_FLAG,
		.help = "Look once; CPU% is then the average since a machine's start",
		OPT_AT(struct top_opts, once),
	},
	{
		.name = "interval",
		.letter = 'i',
		.type = OPT_DURATION,
		.arg = "TIME",
		.help = "Time between two looks",
		.def = "2s",
		.min = UINT64_C(100000000),
		.max = UINT64_C(3600000000000),
		OPT_AT(struct top_opts, interval_ns),
	},
	{ 0 },
};

const struct cmd cmd_top = {
	.name = "top",
	.summary = "Show what the running machines cost: CPU time, real and shared memory",
	.description =
		"Goes on until interrupted. MEMORY is what the guest was given. REAL is what the "
		"process takes of the host's, where a page that it shares counts in parts (PSS), so "
		"that the sum is what all machines take together; SHARED is what somebody else has, "
		"too; MERGED of it is what the kernel found to be equal (KSM). CPU% is of one CPU, "
		"since the look before.",
	.opts = top_options,
	.opts_size = sizeof(struct top_opts),
	.examples = "atoll top\n"
		    "atoll top --once --json | jq .real_bytes",
};
