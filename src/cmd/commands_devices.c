/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and network devices of a running machine that come and go, as subcommands. */
#include "base/attr.h"
#include "cmd/commands.h"

#define WHICH                                                                                      \
	"\n\nMACHINE is a name or number that 'atoll ps' shows; it may be left out when only one " \
	"machine is running."

static const struct opt attach_options[] = {
	{
		.name = "disk",
		.letter = 'd',
		.type = OPT_STR,
		.arg = "FILE[,...]",
		.help = "A disk, with the words of --disk of 'atoll run' but if=sata and if=ide",
		OPT_AT(struct attach_opts, disk),
	},
	{
		.name = "net",
		.letter = 'n',
		.type = OPT_STR,
		.arg = "KIND[,...]",
		.help = "A network device, as --net of 'atoll run' takes it",
		OPT_AT(struct attach_opts, net),
	},
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object: name, slot",
		OPT_AT(struct attach_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_attach = {
	.name = "attach",
	.summary = "Give a running machine a disk or a network device",
	.description =
		"The device comes into a free PCI slot, and the guest is told by ACPI. Writes the name "
		"by which 'atoll detach' and 'atoll devices' know it; disks have the same number at "
		"'atoll live'. It stays through resets, and until the machine ends." WHICH,
	.args = "[MACHINE]",
	.args_max = 1,
	.opts = attach_options,
	.opts_size = sizeof(struct attach_opts),
	.examples = "atoll attach web --disk data.qcow2\n"
		    "atoll attach web --net user,hostfwd=tcp:127.0.0.1:8080-:80",
};

static const struct opt detach_options[] = {
	{
		.name = "timeout",
		.letter = 't',
		.type = OPT_DURATION,
		.arg = "TIME",
		.help = "How long the guest may take",
		.def = "10s",
		.min = UINT64_C(1000000),
		.max = UINT64_C(86400000000000),
		OPT_AT(struct detach_opts, timeout_ns),
	},
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write one JSON object: name, state",
		OPT_AT(struct detach_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_detach = {
	.name = "detach",
	.summary = "Take a disk or network device from a running machine",
	.description =
		"Asks the guest to let the device go, and waits until it has; the image is written and "
		"closed then. NAME is what 'atoll devices' shows; devices of the machine's start can "
		"go as well. A guest may not answer: then the device stays, marked 'leaving', until the "
		"guest lets it go or is reset. Linux lets go also of a disk with a mounted file system, "
		"which is to be unmounted before." WHICH,
	.args = "[MACHINE] NAME",
	.args_min = 1,
	.args_max = 2,
	.opts = detach_options,
	.opts_size = sizeof(struct detach_opts),
	.exit_status = "0 when it is gone; 2 when the guest has not let it go in time; 1 when "
		       "something is wrong.",
	.examples = "atoll detach web disk1\n"
		    "atoll detach --timeout 30s web net0",
};

static const struct opt devices_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write a JSON array",
		OPT_AT(struct devices_opts, json),
	},
	{ 0 },
};

const struct cmd cmd_devices = {
	.name = "devices",
	.summary = "List the disks and network devices of a running machine",
	.description =
		"Those that can be detached: name, PCI slot, whether it is attached or leaving, "
		"and what is behind it." WHICH,
	.args = "[MACHINE]",
	.args_max = 1,
	.opts = devices_options,
	.opts_size = sizeof(struct devices_opts),
	.examples = "atoll devices web",
};
