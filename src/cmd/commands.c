/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs can be asked to do. Help, man pages, completion and the parser all read these
 * tables; an option that is not here does not exist.
 */
#include "cmd/commands.h"

#include "base/attr.h"

static const struct opt run_options[] = {
	{
		.name = "kernel",
		.letter = 'k',
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Kernel: a Linux bzImage, an ELF vmlinux with a PVH note, or a multiboot "
			"image",
		.required = true,
		OPT_AT(struct run_opts, kernel),
	},
	{
		.name = "initrd",
		.letter = 'i',
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Initial RAM disk, handed to the kernel as it is",
		OPT_AT(struct run_opts, initrd),
	},
	{
		.name = "append",
		.letter = 'a',
		.type = OPT_STR,
		.arg = "TEXT",
		.help = "Kernel command line",
		.def = "",
		OPT_AT(struct run_opts, append),
	},
	{
		.name = "memory",
		.letter = 'm',
		.type = OPT_SIZE,
		.arg = "SIZE",
		.help = "Guest memory",
		.def = "512M",
		.min = UINT64_C(2) << 20,
		.max = UINT64_C(512) << 30,
		OPT_AT(struct run_opts, memory_bytes),
	},
	{
		.name = "cpus",
		.letter = 'c',
		.type = OPT_U64,
		.arg = "N",
		.help = "Virtual CPUs",
		.def = "1",
		.min = 1,
		.max = 64,
		OPT_AT(struct run_opts, nr_cpus),
	},
	{
		.name = "engine",
		.letter = 'e',
		.type = OPT_ENUM,
		.arg = "ENGINE",
		.help = "What executes the guest's instructions; auto takes the fastest that works "
			"here",
		.def = "auto",
		.choices = { "auto", "interp", "dbt", "kvm" },
		OPT_AT(struct run_opts, engine),
	},
	{
		.name = "cpu",
		.type = OPT_STR,
		.arg = "MODEL",
		.help = "CPU model: baseline, v2, v3, or host (what this machine and the engine "
			"both have), with features added and taken away as in v2,+x2apic,-pcid",
		.def = "host",
		.choices = { "baseline", "v2", "v3", "host" },
		OPT_AT(struct run_opts, cpu),
	},
	{
		.name = "serial",
		.letter = 's',
		.type = OPT_LIST,
		.arg = "WHERE",
		.help = "Where a serial port leads: stdio, none, pty, file:PATH or unix:PATH; the "
			"first is COM1, given again COM2 and so on; stdio for COM1 when not given",
		.choices = { "stdio", "none", "pty", "file:", "unix:" },
		OPT_AT(struct run_opts, serial),
	},
	{
		.name = "debug-exit",
		.type = OPT_FLAG,
		.help = "Add the isa-debug-exit port 0xf4 and the kvm-unit-tests devices: a write "
			"of V ends the program with status (V << 1) | 1",
		OPT_AT(struct run_opts, debug_exit),
	},
	{
		.name = "no-reboot",
		.type = OPT_FLAG,
		.help = "End the program when the guest resets, instead of starting it again",
		OPT_AT(struct run_opts, no_reboot),
	},
	{
		.name = "stats",
		.type = OPT_FLAG,
		.help = "At the end, print exits and events by kind on standard error",
		OPT_AT(struct run_opts, stats),
	},
	{
		.name = "stats-json",
		.type = OPT_FLAG,
		.help = "As --stats, as one JSON object",
		OPT_AT(struct run_opts, stats_json),
	},
	{
		.name = "gdb",
		.letter = 'g',
		.type = OPT_U64,
		.arg = "PORT",
		.help = "Wait for gdb on this TCP port of the local host before the first "
			"instruction",
		.min = 1,
		.max = 65535,
		OPT_AT(struct run_opts, gdb_port),
	},
	{
		.name = "log",
		.type = OPT_ENUM,
		.arg = "LEVEL",
		.help = "What is logged on standard error",
		.def = "info",
		.choices = { "error", "warn", "info", "debug" },
		OPT_AT(struct run_opts, log_level),
	},
	{ 0 },
};

const struct cmd cmd_run = {
	.name = "run",
	.summary = "Run one virtual machine in the foreground",
	.description =
		"Boots a kernel and connects its first serial port to standard input and output. On "
		"a terminal, Ctrl-A x leaves, Ctrl-A h lists the other escapes.\n"
		"\n"
		"No hardware virtualization, privileges or kernel modules are needed: the interp "
		"engine executes the guest's instructions in software.",
	.opts = run_options,
	.opts_size = sizeof(struct run_opts),
	.exit_status =
		"0 when the guest powers off (with --no-reboot, also when it resets); (V << 1) | 1 "
		"when it writes V to the debug-exit port; 1 on a triple fault, a wrong command "
		"line, or when the machine cannot be built, with the reason on standard error.",
	.examples = "atoll run --kernel vmlinuz --initrd initrd.img --append console=ttyS0\n"
		    "atoll run -k vmlinuz -m 1G -c 4 --stats -a 'console=ttyS0 panic=-1' "
		    "--no-reboot",
};
