/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be done to a running machine as a whole: the buttons of its case, as subcommands. */
#include "cmd/commands.h"

#include "base/attr.h"

#define WHICH                                                                                      \
	"MACHINE is a name or number that 'atoll ps' shows; it may be left out when only "         \
	"one machine is running."

static const struct opt stop_options[] = {
	{
		.name = "force",
		.letter = 'f',
		.type = OPT_FLAG,
		.help = "Switch off without asking the guest; with --timeout, only if it is still "
			"running then",
		OPT_AT(struct stop_opts, force),
	},
	{
		.name = "timeout",
		.letter = 't',
		.type = OPT_DURATION,
		.arg = "TIME",
		.help = "How long the guest may take",
		.def = "60s",
		.min = UINT64_C(1000000),
		.max = UINT64_C(86400000000000),
		OPT_AT(struct stop_opts, timeout_ns),
	},
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object: name, state, forced",
		OPT_AT(struct stop_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_stop = {
	.name = "stop",
	.summary = "Shut a running machine down, as by its power button",
	.description =
		"Presses the power button, which asks the guest to shut down, and waits until the "
		"machine has ended and its disks are closed. A guest may ignore the button, or have "
		"nobody who heeds it; --force does not ask.\n"
		"\n" WHICH,
	.args = "[MACHINE]",
	.args_max = 1,
	.opts = stop_options,
	.opts_size = sizeof(struct stop_opts),
	.exit_status = "0 when the machine has ended; 2 when it is still running after the time "
		       "it may take; 1 when it cannot be reached.",
	.examples = "atoll stop web\n"
		    "atoll stop --timeout 30s --force web",
};

static const struct opt power_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object: name, state",
		OPT_AT(struct power_opts, json),
	},
	{ 0 },
};

#define ONE_MACHINE                                                                                \
	.args = "[MACHINE]", .args_max = 1, .opts = power_options,                                 \
	.opts_size = sizeof(struct power_opts)

const struct cmd cmd_reset = {
	.name = "reset",
	.summary = "Start a running machine anew, as by its reset button",
	.description = "The guest is not asked. A machine that was started with --no-reboot ends; "
		       "one that is paused stays paused.\n"
		       "\n" WHICH,
	ONE_MACHINE,
	.examples = "atoll reset web",
};

const struct cmd cmd_pause = {
	.name = "pause",
	.summary = "Let a running machine execute nothing until it is resumed",
	.description = "The guest's clocks go on, because they are the host's: when it is resumed, "
		       "it finds that time has passed.\n"
		       "\n" WHICH,
	ONE_MACHINE,
	.examples = "atoll pause web",
};

const struct cmd cmd_resume = {
	.name = "resume",
	.summary = "Let a machine go on that was paused",
	.description = WHICH,
	ONE_MACHINE,
	.examples = "atoll resume web",
};

static const struct opt cpus_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object: vcpus, vcpus_max",
		OPT_AT(struct cpus_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_cpus = {
	.name = "cpus",
	.summary = "Plug virtual CPUs into a running machine, or ask for some back",
	.description =
		"With N, the machine has N of the CPUs that --max-cpus lets it have: new ones are "
		"plugged in, and the guest is told and takes them; for fewer, the guest is asked to "
		"let the last ones go, which takes a moment, or does not happen. A reset gives the "
		"number of the start again. Shows how many there are.\n"
		"\n"
		"MACHINE is a name or number that 'atoll ps' shows; it may be left out when only one "
		"machine is running and nothing is asked for.",
	.args = "[MACHINE [N]]",
	.args_max = 2,
	.opts = cpus_options,
	.opts_size = sizeof(struct cpus_opts),
	.examples = "atoll cpus web 4\n"
		    "atoll cpus --json web",
};
