/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `atoll disk bitmap`, as data: what has changed since a backup. */
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
