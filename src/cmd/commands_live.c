/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of `atoll live`, as data: disks of a machine that goes on running meanwhile. */
#include "cmd/commands_priv.h"

#define WHICH                                                                                      \
	"\n\nMACHINE is a name or number that 'atoll ps' shows; it may be left out when only one " \
	"machine is running. DISK is the number that 'atoll live disks' shows; sata0 ... and "     \
	"ide0 ... at those controllers."

#define CMD(var, cmd_name, text, more, operands, nr, options, example)                             \
	const struct cmd var = {                                                                   \
		.name = cmd_name,                                                                  \
		.summary = text,                                                                   \
		.description = more WHICH,                                                         \
		.args = operands,                                                                  \
		.args_min = nr,                                                                    \
		.args_max = (nr) + 1,                                                              \
		.opts = options,                                                                   \
		.opts_size = sizeof(struct live_opts),                                             \
		.examples = example,                                                               \
	}

static const struct opt none[] = { { 0 } };

static const struct opt disks_options[] = {
	{
		.name = "json",
		.letter = 'j',
		.type = OPT_FLAG,
		.help = "Write JSON instead of text",
		OPT_AT(struct live_opts, json),
	},
	{ 0 },
};

static const struct opt resize_options[] = {
	{
		.name = "shrink",
		.type = OPT_FLAG,
		.help = "Allow a smaller size; what is behind it is lost",
		OPT_AT(struct live_opts, shrink),
	},
	{ 0 },
};

#define OPTION_BASE(text)                                                                          \
	{                                                                                          \
		.name = "base", .letter = 'b', .type = OPT_PATH, .arg = "FILE", .help = text,      \
		OPT_AT(struct live_opts, base),                                                    \
	}
#define JOB_OPTIONS                                                                                \
	{                                                                                          \
		.name = "speed",                                                                   \
		.letter = 's',                                                                     \
		.type = OPT_SIZE,                                                                  \
		.arg = "SIZE",                                                                     \
		.help = "Copy at most so many bytes a second",                                     \
		OPT_AT(struct live_opts, speed),                                                   \
	},                                                                                         \
		{                                                                                  \
			.name = "background",                                                      \
			.type = OPT_FLAG,                                                          \
			.help = "Do not wait for the end",                                         \
			OPT_AT(struct live_opts, background),                                      \
		},                                                                                 \
	{                                                                                          \
		.name = "progress", .letter = 'p', .type = OPT_FLAG,                               \
		.help = "Show how far it is, also when standard error is not a terminal",          \
		OPT_AT(struct live_opts, progress),                                                \
	}

static const struct opt commit_options[] = {
	{
		.name = "top",
		.letter = 't',
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "The topmost image to write down; the disk's top when not given",
		OPT_AT(struct live_opts, top),
	},
	OPTION_BASE("Backing file to write to; the one right below when not given"),
	JOB_OPTIONS,
	{ 0 },
};

static const struct opt stream_options[] = {
	OPTION_BASE("Backing file to keep; none when not given"),
	JOB_OPTIONS,
	{ 0 },
};

static const struct opt backup_options[] = {
	OPTIONS_BACKUP(struct live_opts),
	JOB_OPTIONS,
	{ 0 },
};

CMD(cmd_live_disks, "live disks", "Show the disks of a running machine",
    "Each disk with its images from the top down, its limits, and the work that goes on at it.",
    "[MACHINE]", 0, disks_options, "atoll live disks web --json");

CMD(cmd_live_snapshot, "live snapshot", "Keep a disk's content, and go on in a new image",
    "The image that the disk has is kept as it is now and becomes the backing file of FILE, a new "
    "qcow2 image, which the disk is from then on: also for the next start of the machine. Writing "
    "to the old image, or starting a machine from it, would destroy what is in FILE.",
    "[MACHINE] DISK FILE", 2, none, "atoll live snapshot web 0 web-2.qcow2");

CMD(cmd_live_commit, "live commit", "Write what a disk's image holds into its backing file",
    "The machine goes on. When the top image was written down, the backing file is the disk "
    "from then on, and the former image is empty. It is shown how far the work is; who stops "
    "waiting does not stop it ('atoll live cancel' does, and the disk stays what it was).\n"
    "\n"
    "Other images with the same backing file see it change: they are lost.",
    "[MACHINE] DISK", 1, commit_options,
    "atoll live commit web 0\natoll live commit web 0 --top web-2.qcow2 --base web-1.qcow2");

CMD(cmd_live_stream, "live stream", "Copy what backing files hold into a disk's image",
    "The machine goes on, and needs the backing files no more at the end.", "[MACHINE] DISK", 1,
    stream_options, "atoll live stream web 0 --speed 50M");

CMD(cmd_live_backup, "live backup", "Copy a disk, or what has changed of it, while it is in use",
    "TARGET shows the disk of the moment when this begins, whatever the machine writes meanwhile. It "
    "is a new image, or with --update the one of the backup before. With --bitmap the next backup "
    "can be an increment. The bitmap is kept in the disk's image (qcow2), also when the machine is "
    "shut down; a machine that crashes leaves it out of date, and then the next backup is a full "
    "one. It begins anew only when the backup is complete: nothing is missed after a failure.\n"
    "\n"
    "It is shown how far the work is. A new target of a failed backup is removed, unless nobody "
    "waits for it any more: 'atoll live disks' says what became of it.",
    "[MACHINE] DISK TARGET", 2, backup_options,
    "atoll live backup web 0 monday.qcow2 -B daily\n"
    "atoll live backup web 0 tuesday.qcow2 -B daily --onto monday.qcow2 --speed 50M");

CMD(cmd_live_cancel, "live cancel", "Stop a commit, stream or backup of a disk",
    "The disk stays as it is; what was copied already does no harm.", "[MACHINE] DISK", 1, none,
    "atoll live cancel web 0");

CMD(cmd_live_speed, "live speed", "Change the speed of a commit, stream or backup",
    "SPEED is in bytes a second (20M); 0 means no limit.", "[MACHINE] DISK SPEED", 2, none,
    "atoll live speed web 0 20M");

CMD(cmd_live_limit, "live limit", "Limit operations and bytes a second of a disk",
    "LIMITS is iops=N,bps=N and so on, as for --disk of 'atoll run'; what is not named stays, and 0 "
    "means no limit.",
    "[MACHINE] DISK LIMITS", 2, none, "atoll live limit web 0 iops=500,bps-wr=20M");

CMD(cmd_live_resize, "live resize", "Make a disk larger or smaller while the guest uses it",
    "The guest is told at once. File systems and partitions in the disk are not touched.",
    "[MACHINE] DISK SIZE", 2, resize_options, "atoll live resize web 0 40G");

CMD(cmd_live_retry, "live retry", "Let writes go on that wait for space on the host",
    "They try again by themselves each second.", "[MACHINE] DISK", 1, none,
    "atoll live retry web 0");
