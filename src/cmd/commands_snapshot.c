/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `atoll vm snapshot` as data: saving a machine, and looking after the files. */
#include "base/attr.h"
#include "cmd/commands.h"

static const struct opt options[] = {
	{
		.name = "base",
		.letter = 'b',
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Save only the memory that has changed since this snapshot of the machine was saved",
		OPT_AT(struct snapshot_opts, base),
	},
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write JSON instead of text",
		OPT_AT(struct snapshot_opts, json),
	},
	{ 0 },
};

static const char *const verbs[] = { "save", "list", "check", "rm", NULL };

const struct cmd cmd_vm_snapshot = {
	.name = "vm snapshot",
	.summary = "Save a running machine to a file, and look after such files",
	.description =
		"save [MACHINE] FILE writes memory, CPUs and devices of a running machine to FILE. "
		"The guest runs meanwhile, and stands still for a moment at the end, which the snapshot "
		"is of. Disks that are written to are copied as they are in that moment, to files beside it "
		"(FILE.XXXXXXXX.diskN.qcow2), which belong to it. 'atoll run --restore "
		"FILE' starts another machine from there, as often as you like; what it "
		"writes to its disks ends with it, unless they are named anew (--disk).\n"
		"\n"
		"With --base BASE, one of the last four saves of the same run of the machine, FILE gets only the memory that was "
		"written since, and disks, CPUs and devices as ever. It needs BASE, in the same folder and under that "
		"name, for as long as it is there; up to eight can follow each other.\n"
		"\n"
		"list [FILE...] shows what snapshots hold; without FILE, those of the present folder.\n"
		"\n"
		"check FILE... compares all memory in them, and in what they are based on, with its checksums, and looks whether "
		"their disks are there.\n"
		"\n"
		"rm FILE... deletes snapshots with their disks, and nothing that is none, or that another one "
		"is based on. Machines that were started "
		"from them go on.\n"
		"\n"
		"MACHINE is a name or number that 'atoll ps' shows; it may be left out when only one "
		"machine is running.",
	.args = "save|list|check|rm [MACHINE] [FILE...]",
	.args_min = 1,
	.args_max = 4096,
	.args_choices = verbs,
	.opts = options,
	.opts_size = sizeof(struct snapshot_opts),
	.examples = "atoll vm snapshot save web web.snapshot\n"
		    "atoll vm snapshot save --base web.snapshot web web-2.snapshot\n"
		    "atoll run --restore web.snapshot --name web-2\n"
		    "atoll vm snapshot list --json web.snapshot",
};
