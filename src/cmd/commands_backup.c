/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `atoll disk bitmap` and `atoll disk backup`, as data: what has changed since a backup, and backups. */
#include "cmd/commands_priv.h"

static const char *const bitmap_words[] = { "list",   "add",	 "remove", "clear",
					    "enable", "disable", "merge",  NULL };

static const struct opt bitmap_options[] = {
	OPTION_FORMAT(struct disk_bitmap_cmd_opts),
	OPTION_BACKING_FORMAT(struct disk_bitmap_cmd_opts),
	{
		.name = "granularity",
		.letter = 'g',
		.type = OPT_SIZE,
		.arg = "SIZE",
		.help = "With add: how much of the disk a mark stands for, a power of two",
		.def = "64K",
		.min = 512,
		.max = UINT64_C(2) << 30,
		OPT_AT(struct disk_bitmap_cmd_opts, granularity),
	},
	{
		.name = "disabled",
		.type = OPT_FLAG,
		.help = "With add: do not follow writes",
		OPT_AT(struct disk_bitmap_cmd_opts, disabled),
	},
	OPTION_SHARE(struct disk_bitmap_cmd_opts),
	OPTION_JSON(struct disk_bitmap_cmd_opts),
	{ 0 },
};

const struct cmd cmd_disk_bitmap = {
	.name = "disk bitmap",
	.summary = "List, add, change and remove bitmaps of a qcow2 image",
	.description =
		"A bitmap notes which parts of a disk have changed, so that a backup can hold just "
		"them. list IMAGE shows the bitmaps; add, remove, clear, enable and disable take IMAGE "
		"NAME; merge IMAGE NAME FROM marks in NAME what FROM has marked. An enabled bitmap "
		"follows all writes to the image, by machines, too; a disabled one stays as it is.\n"
		"\n"
		"A bitmap is out of date after a crash, and after writes of a program that does not "
		"know bitmaps. Such a one can only be removed.",
	.args = "list|add|remove|clear|enable|disable|merge IMAGE [NAME [FROM]]",
	.args_min = 2,
	.args_max = 4,
	.args_choices = bitmap_words,
	.args_are_files = true,
	.opts = bitmap_options,
	.opts_size = sizeof(struct disk_bitmap_cmd_opts),
	.examples = "atoll disk bitmap add disk.qcow2 since-monday\n"
		    "atoll disk bitmap list --json disk.qcow2",
};

static const struct opt backup_options[] = {
	OPTION_FORMAT(struct disk_backup_cmd_opts),
	OPTION_BACKING_FORMAT(struct disk_backup_cmd_opts),
	OPTIONS_BACKUP(struct disk_backup_cmd_opts),
	OPTION_PROGRESS(struct disk_backup_cmd_opts),
	OPTION_DIRECT(struct disk_backup_cmd_opts),
	{ 0 },
};

const struct cmd cmd_disk_backup = {
	.name = "disk backup",
	.summary = "Copy a disk, or what has changed of it since the last time",
	.description =
		"TARGET is a new image, or with --update the one of the backup before. With --bitmap the "
		"next backup can be an increment: it holds what was written since this one.\n"
		"\n"
		"The bitmap begins anew when the backup is complete and on the medium. After a failure it "
		"says what it said before, so another attempt misses nothing; a new target of a failed "
		"backup is removed. For the disk of a running machine: 'atoll live backup'.",
	.args = "IMAGE TARGET",
	.args_min = 2,
	.args_max = 2,
	.args_are_files = true,
	.opts = backup_options,
	.opts_size = sizeof(struct disk_backup_cmd_opts),
	.examples = "atoll disk backup -B daily disk.qcow2 monday.qcow2\n"
		    "atoll disk backup -B daily --onto monday.qcow2 disk.qcow2 tuesday.qcow2\n"
		    "atoll disk backup -B daily -O raw --update disk.qcow2 copy.raw",
};
