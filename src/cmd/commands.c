/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs can be asked to do. Help, man pages, completion and the parser all read these
 * tables; an option that is not here does not exist.
 */
#include "cmd/commands.h"

#include "base/attr.h"

static const struct opt run_options[] = {
#include "cmd/run_options.def"
	{ 0 },
};

const struct cmd cmd_run = {
	.name = "run",
	.summary = "Run one virtual machine in the foreground",
	.description =
		"Boots a kernel, or what firmware finds on the disks, and connects the machine's first serial port to standard input and output. On "
		"a terminal, Ctrl-A x leaves, Ctrl-A h lists the other escapes.\n"
		"\n"
		"No hardware virtualization, privileges or kernel modules are needed: the dbt engine "
		"translates the guest's instructions for the host, the interp engine executes them "
		"one by one. The kvm engine uses the host's /dev/kvm; the guest's CPU then has the "
		"features that KVM has, too.\n"
		"\n"
		"While it runs, 'atoll ps' lists the machine, and 'atoll stats' and 'atoll trace' "
		"show what it does. They reach it by a socket in the user's runtime folder: "
		"$ATOLL_RUNTIME_DIR, else atoll in $XDG_RUNTIME_DIR, else /run/atoll for root and "
		"/tmp/atoll-UID for others.",
	.opts = run_options,
	.opts_size = sizeof(struct run_opts),
	.exit_status =
		"0 when the guest powers off (with --no-reboot, also when it resets); (V << 1) | 1 "
		"when it writes V to the debug-exit port; 1 on a triple fault, a wrong command "
		"line, when the guest is ended by --watchdog or --on-panic, or when the machine cannot be built, with the reason on standard error.",
	.examples = "atoll run --kernel vmlinuz --initrd initrd.img --append console=ttyS0\n"
		    "atoll run -k vmlinuz -m 1G -c 4 --stats -a 'console=ttyS0 panic=-1' "
		    "--no-reboot",
};

static const struct opt trace_options[] = {
#include "cmd/run_options.def"
	{
		.name = "top",
		.letter = 't',
		.type = OPT_U64,
		.arg = "N",
		.help = "How many blocks are shown",
		.def = "20",
		.min = 1,
		.max = 1000,
		OPT_AT(struct trace_opts, top),
	},
	{
		.name = "address",
		.type = OPT_STR,
		.arg = "ADDRESS",
		.help = "Show only blocks that hold the instruction at this linear address of the "
			"guest (0x...)",
		OPT_AT(struct trace_opts, address),
	},
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object",
		OPT_AT(struct trace_opts, json),
	},
	{
		.name = "for",
		.letter = 'f',
		.type = OPT_DURATION,
		.arg = "TIME",
		.help = "With MACHINE: how long executions are counted",
		.def = "5s",
		.min = UINT64_C(1000000),
		.max = UINT64_C(86400000000000),
		OPT_AT(struct trace_opts, for_ns),
	},
	{ 0 },
};

const struct cmd cmd_trace = {
	.name = "trace",
	.summary = "Show the hottest code of a machine and what it is translated to",
	.description =
		"Runs a machine like 'atoll run' does, with the dbt engine, counts how often each "
		"translated block is executed, and at the end prints the hottest ones on standard "
		"error: the guest's instructions beside those of the host that stand for them, how "
		"often each was executed, how much longer the translation is, and which "
		"instructions are sensitive (S) or privileged (P).\n"
		"\n"
		"With MACHINE, a name or number that 'atoll ps' shows, does the same with a machine "
		"that is running already, and prints on standard output. Its translations are made "
		"anew before and after.",
	.args = "[MACHINE]",
	.args_max = 1,
	.opts = trace_options,
	.opts_size = sizeof(struct trace_opts),
	.exit_status = "As of 'atoll run'; with MACHINE 0, or 1 when it cannot be reached.",
	.examples = "atoll trace -k vmlinuz -a 'console=ttyS0 panic=-1' --no-reboot --top 5\n"
		    "atoll trace --for 2s --json web",
};

static const struct opt stats_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write JSON objects, one a line",
		OPT_AT(struct stats_opts, json),
	},
	{
		.name = "watch",
		.letter = 'w',
		.type = OPT_FLAG,
		.help = "Go on until interrupted, with rates",
		OPT_AT(struct stats_opts, watch),
	},
	{
		.name = "count",
		.letter = 'c',
		.type = OPT_FLAG,
		.help = "Meanwhile let translated code count its executions, for instructions by "
			"class and the hits of the TLB; slows the machine down, makes sense with "
			"--watch",
		OPT_AT(struct stats_opts, count),
	},
	{
		.name = "interval",
		.letter = 'i',
		.type = OPT_DURATION,
		.arg = "TIME",
		.help = "Time between two looks of --watch",
		.def = "1s",
		.min = UINT64_C(50000000),
		.max = UINT64_C(3600000000000),
		OPT_AT(struct stats_opts, interval_ns),
	},
	{ 0 },
};

const struct cmd cmd_stats = {
	.name = "stats",
	.summary = "Show what a running machine does: exits and events by kind",
	.description = "MACHINE is a name or number that 'atoll ps' shows; it may be left out when "
		       "only one machine is running. Where time goes is sampled from the first "
		       "look on.",
	.args = "[MACHINE]",
	.args_max = 1,
	.opts = stats_options,
	.opts_size = sizeof(struct stats_opts),
	.examples = "atoll stats --watch\n"
		    "atoll stats --json web",
};

static const struct opt ps_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write JSON objects, one a line",
		OPT_AT(struct ps_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_ps = {
	.name = "ps",
	.summary = "List the running machines of this user",
	.description = "Sockets that killed machines left behind are removed on the way.",
	.opts = ps_options,
	.opts_size = sizeof(struct ps_opts),
	.examples = "atoll ps",
};

static const struct opt console_options[] = {
	{
		.name = "port",
		.letter = 'p',
		.type = OPT_U64,
		.arg = "N",
		.help = "Serial port: 1 is COM1",
		.def = "1",
		.min = 1,
		.max = 4,
		OPT_AT(struct console_opts, port),
	},
	{ 0 },
};

const struct cmd cmd_console = {
	.name = "console",
	.summary = "Watch a serial port of a running machine, and type",
	.description =
		"Shows what the guest has written to the port lately and writes from now on, and "
		"sends what is typed. Several may watch one port, besides what --serial connects it "
		"to; leaving stops nothing. On a terminal, Ctrl-A x leaves, Ctrl-A h lists the other "
		"escapes.\n"
		"\n"
		"Who does not read for a second misses what the guest writes meanwhile. MACHINE is a "
		"name or number that 'atoll ps' shows; it may be left out when only one machine is "
		"running.",
	.args = "[MACHINE]",
	.args_max = 1,
	.opts = console_options,
	.opts_size = sizeof(struct console_opts),
	.exit_status = "0 when the user leaves or the machine ends, 1 when it cannot be reached.",
	.examples = "atoll console web",
};

static const struct opt screenshot_options[] = {
	{
		.name = "text",
		.letter = 't',
		.type = OPT_FLAG,
		.help = "Write the characters of a text mode instead of a picture",
		OPT_AT(struct screenshot_opts, text),
	},
	{ 0 },
};

const struct cmd cmd_screenshot = {
	.name = "screenshot",
	.summary = "Save what the display of a running machine shows",
	.description =
		"Writes a PNG file; FILE may be -, standard output. MACHINE is a name or number "
		"that 'atoll ps' shows; it may be left out when only one machine is running.",
	.args = "[MACHINE] FILE",
	.args_min = 1,
	.args_max = 2,
	.opts = screenshot_options,
	.opts_size = sizeof(struct screenshot_opts),
	.examples = "atoll screenshot web web.png\n"
		    "atoll screenshot --text web -",
};

static const struct opt balloon_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object",
		OPT_AT(struct balloon_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_balloon = {
	.name = "balloon",
	.summary = "Ask a running machine's guest for memory, or give it back",
	.description =
		"With SIZE, the guest is asked to keep only so much of its memory; it gives the rest "
		"to the host, when it can. With the whole memory's size it has all again. With auto, it "
		"is asked for what it can spare whenever the host has little memory left, as by 'atoll "
		"run --balloon auto'. Shows what the guest keeps and how it uses it; what is asked for "
		"takes a moment to happen.\n"
		"\n"
		"MACHINE is a name or number that 'atoll ps' shows; it may be left out when only one "
		"machine is running and nothing is asked for.",
	.args = "[MACHINE [SIZE|auto]]",
	.args_max = 2,
	.opts = balloon_options,
	.opts_size = sizeof(struct balloon_opts),
	.examples = "atoll balloon web 256M\n"
		    "atoll balloon web auto\n"
		    "atoll balloon --json web",
};
