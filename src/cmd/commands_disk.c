/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of `atoll disk`, as data. An image named on the command line may have its format guessed: the
 * user of a tool can see what comes out, and a backing file's format is never guessed.
 */
#include "cmd/commands_priv.h"

/* --- info ------------------------------------------------------------------------------------- */

static const struct opt info_options[] = {
	OPTION_FORMAT(struct disk_info_opts),
	OPTION_BACKING_FORMAT(struct disk_info_opts),
	{
		.name = "backing-chain",
		.letter = 'b',
		.type = OPT_FLAG,
		.help = "Also show the backing files",
		OPT_AT(struct disk_info_opts, backing_chain),
	},
	OPTION_SHARE(struct disk_info_opts),
	OPTION_JSON(struct disk_info_opts),
	{ 0 },
};

const struct cmd cmd_disk_info = {
	.name = "disk info",
	.summary = "Show what a disk image is",
	.description = "Shows format, sizes, backing file, options and snapshots of an image. The "
		       "backing file need not be there.",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.args_are_files = true,
	.opts = info_options,
	.opts_size = sizeof(struct disk_info_opts),
	.examples = "atoll disk info debian.qcow2\n"
		    "atoll disk info --json --backing-chain overlay.qcow2",
};

/* --- create ----------------------------------------------------------------------------------- */

static const struct opt create_options[] = {
	{
		.name = "format",
		.letter = 'f',
		.type = OPT_STR,
		.arg = "FORMAT",
		.help = "Format of the new image",
		.def = "qcow2",
		.choices = FORMATS,
		OPT_AT(struct disk_create_cmd_opts, image.format),
	},
	OPTION_OPTION(struct disk_create_cmd_opts),
	{
		.name = "backing",
		.letter = 'b',
		.type = OPT_STR,
		.arg = "FILE",
		.help = "Backing file; a relative name is taken relative to the new image",
		OPT_AT(struct disk_create_cmd_opts, backing),
	},
	{
		.name = "backing-format",
		.letter = 'F',
		.type = OPT_STR,
		.arg = "FORMAT",
		.help = "Format of the backing file; required with --backing",
		.choices = FORMATS,
		OPT_AT(struct disk_create_cmd_opts, image.backing_format),
	},
	{ 0 },
};

const struct cmd cmd_disk_create = {
	.name = "disk create",
	.summary = "Make a new disk image",
	.description =
		"A file that is there is replaced, unless it is in use. SIZE takes units: 512M, 20G; "
		"with a backing file it may be left out.",
	.args = "IMAGE [SIZE]",
	.args_min = 1,
	.args_max = 2,
	.args_are_files = true,
	.opts = create_options,
	.opts_size = sizeof(struct disk_create_cmd_opts),
	.examples = "atoll disk create disk.qcow2 20G\n"
		    "atoll disk create -o cluster_size=2M,extended_l2=on disk.qcow2 20G\n"
		    "atoll disk create -b debian.qcow2 -F qcow2 overlay.qcow2",
};

/* --- convert ---------------------------------------------------------------------------------- */

static const struct opt convert_options[] = {
	OPTION_FORMAT(struct disk_convert_opts),
	OPTION_BACKING_FORMAT(struct disk_convert_opts),
	{
		.name = "output-format",
		.letter = 'O',
		.type = OPT_STR,
		.arg = "FORMAT",
		.help = "Format of the new image",
		.def = "qcow2",
		.choices = FORMATS,
		OPT_AT(struct disk_convert_opts, out_format),
	},
	OPTION_OPTION(struct disk_convert_opts),
	{
		.name = "compress",
		.letter = 'c',
		.type = OPT_FLAG,
		.help = "Compress what gets smaller by it, where the format can",
		OPT_AT(struct disk_convert_opts, compress),
	},
	{
		.name = "snapshot",
		.letter = 'l',
		.type = OPT_STR,
		.arg = "SNAPSHOT",
		.help = "Convert this internal snapshot of the source, by id or name",
		OPT_AT(struct disk_convert_opts, snapshot),
	},
	{
		.name = "no-create",
		.letter = 'n',
		.type = OPT_FLAG,
		.help = "The target is there already; only its content is replaced",
		OPT_AT(struct disk_convert_opts, no_create),
	},
	OPTION_THREADS(struct disk_convert_opts),
	OPTION_PROGRESS(struct disk_convert_opts),
	OPTION_DIRECT(struct disk_convert_opts),
	OPTION_SHARE(struct disk_convert_opts),
	{ 0 },
};

const struct cmd cmd_disk_convert = {
	.name = "disk convert",
	.summary = "Copy a disk image into another format",
	.description =
		"The source with its backing files becomes one image. Zeros take no space in it. On a "
		"terminal a bar shows how far it is.",
	.args = "SOURCE TARGET",
	.args_min = 2,
	.args_max = 2,
	.args_are_files = true,
	.opts = convert_options,
	.opts_size = sizeof(struct disk_convert_opts),
	.examples = "atoll disk convert -O qcow2 disk.raw disk.qcow2\n"
		    "atoll disk convert -c -o compression_type=zstd disk.raw small.qcow2",
};

/* --- check, resize, snapshot ------------------------------------------------------------------ */

static const struct opt check_options[] = {
	OPTION_FORMAT(struct disk_check_opts),
	{
		.name = "repair",
		.letter = 'r',
		.type = OPT_ENUM,
		.arg = "WHAT",
		.help = "Repair what is found",
		.def = "none",
		.choices = { "none", "leaks", "all" },
		OPT_AT(struct disk_check_opts, repair),
	},
	OPTION_SHARE(struct disk_check_opts),
	OPTION_JSON(struct disk_check_opts),
	{ 0 },
};

const struct cmd cmd_disk_check = {
	.name = "disk check",
	.summary = "Test the tables of a disk image, and repair them",
	.description = "Leaks are space that nothing uses; they do no harm. Errors are "
		       "contradictions that can destroy data when the image is written.",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.args_are_files = true,
	.opts = check_options,
	.opts_size = sizeof(struct disk_check_opts),
	.exit_status =
		"0 when nothing is wrong (any more), 1 when the check was not possible, 2 when "
		"there are errors, 3 when there are leaks only.",
	.examples = "atoll disk check disk.qcow2\natoll disk check --repair all disk.qcow2",
};

static const struct opt resize_options[] = {
	OPTION_FORMAT(struct disk_resize_opts),
	OPTION_BACKING_FORMAT(struct disk_resize_opts),
	{
		.name = "shrink",
		.type = OPT_FLAG,
		.help = "Allow a smaller size; what is behind it is lost",
		OPT_AT(struct disk_resize_opts, shrink),
	},
	{ 0 },
};

const struct cmd cmd_disk_resize = {
	.name = "disk resize",
	.summary = "Make the disk in an image larger or smaller",
	.description = "SIZE is the new size, or +SIZE or -SIZE for a change. File systems and "
		       "partitions in the disk are not touched.",
	.args = "IMAGE SIZE",
	.args_min = 2,
	.args_max = 2,
	.args_are_files = true,
	.opts = resize_options,
	.opts_size = sizeof(struct disk_resize_opts),
	.examples = "atoll disk resize disk.qcow2 +10G",
};

static const struct opt snapshot_options[] = {
	OPTION_FORMAT(struct disk_info_opts),
	OPTION_BACKING_FORMAT(struct disk_info_opts),
	OPTION_JSON(struct disk_info_opts),
	{ 0 },
};

const struct cmd cmd_disk_snapshot = {
	.name = "disk snapshot",
	.summary = "List, make, apply and delete snapshots inside an image",
	.description = "list IMAGE shows them; create IMAGE NAME keeps the present content; apply "
		       "IMAGE NAME goes back to it; delete IMAGE NAME forgets it.",
	.args = "list|create|apply|delete IMAGE [NAME]",
	.args_min = 2,
	.args_max = 3,
	.args_are_files = true,
	.opts = snapshot_options,
	.opts_size = sizeof(struct disk_info_opts),
	.examples = "atoll disk snapshot create disk.qcow2 before-upgrade\n"
		    "atoll disk snapshot apply disk.qcow2 before-upgrade",
};

/* --- commit, stream --------------------------------------------------------------------------- */

#define JOB_OPTIONS(what)                                                                          \
	OPTION_FORMAT(struct disk_job_cmd_opts), OPTION_BACKING_FORMAT(struct disk_job_cmd_opts),  \
		{                                                                                  \
			.name = "base",                                                            \
			.letter = 'b',                                                             \
			.type = OPT_PATH,                                                          \
			.arg = "FILE",                                                             \
			.help = what,                                                              \
			OPT_AT(struct disk_job_cmd_opts, base),                                    \
		},                                                                                 \
		OPTION_PROGRESS(struct disk_job_cmd_opts), OPTION_DIRECT(struct disk_job_cmd_opts)

static const struct opt commit_options[] = {
	JOB_OPTIONS("Backing file to write to; the one right below the image when not given"),
	{ 0 },
};

const struct cmd cmd_disk_commit = {
	.name = "disk commit",
	.summary = "Write what an image holds into its backing file",
	.description =
		"Afterwards the image is empty and shows the backing file, which may be used by itself. "
		"Interrupted at any moment, the image still shows the disk; the backing file alone "
		"does only at the end.\n"
		"\n"
		"Other images with the same backing file, or with one of those between, see it change: "
		"they are lost. For the disk of a running machine: 'atoll live commit'.",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.args_are_files = true,
	.opts = commit_options,
	.opts_size = sizeof(struct disk_job_cmd_opts),
	.examples = "atoll disk commit overlay.qcow2",
};

static const struct opt stream_options[] = {
	JOB_OPTIONS("Backing file to keep; none when not given"),
	{ 0 },
};

const struct cmd cmd_disk_stream = {
	.name = "disk stream",
	.summary = "Copy what an image's backing files hold into it",
	.description =
		"Afterwards the image needs them no more. Backing files are only read. Interrupted at any "
		"moment, the image shows the disk. For the disk of a running machine: 'atoll live "
		"stream'.",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.args_are_files = true,
	.opts = stream_options,
	.opts_size = sizeof(struct disk_job_cmd_opts),
	.examples = "atoll disk stream overlay.qcow2",
};

/* --- compare, map ----------------------------------------------------------------------------- */

static const struct opt compare_options[] = {
	OPTION_FORMAT(struct disk_compare_opts),
	{
		.name = "second-format",
		.letter = 'F',
		.type = OPT_STR,
		.arg = "FORMAT",
		.help = "Format of the second image; guessed when not given",
		.choices = FORMATS,
		OPT_AT(struct disk_compare_opts, second_format),
	},
	OPTION_BACKING_FORMAT(struct disk_compare_opts),
	OPTION_THREADS(struct disk_compare_opts),
	OPTION_PROGRESS(struct disk_compare_opts),
	OPTION_SHARE(struct disk_compare_opts),
	{ 0 },
};

const struct cmd cmd_disk_compare = {
	.name = "disk compare",
	.summary = "Tell whether two images hold the same disk",
	.description = "Content is compared, not how it is stored. A longer disk is the same when "
		       "the rest of it is zero.",
	.args = "IMAGE IMAGE",
	.args_min = 2,
	.args_max = 2,
	.args_are_files = true,
	.opts = compare_options,
	.opts_size = sizeof(struct disk_compare_opts),
	.exit_status = "0 when they are the same, 1 when they differ, 2 when they could not be "
		       "compared.",
	.examples = "atoll disk compare disk.raw disk.qcow2",
};

static const struct opt map_options[] = {
	OPTION_FORMAT(struct disk_info_opts),
	OPTION_BACKING_FORMAT(struct disk_info_opts),
	{
		.name = "snapshot",
		.letter = 'l',
		.type = OPT_STR,
		.arg = "SNAPSHOT",
		.help = "Look at this internal snapshot, by id or name",
		OPT_AT(struct disk_info_opts, snapshot),
	},
	OPTION_SHARE(struct disk_info_opts),
	OPTION_JSON(struct disk_info_opts),
	{ 0 },
};

const struct cmd cmd_disk_map = {
	.name = "disk map",
	.summary = "Show where the bytes of a disk are stored",
	.description = "One line an extent: offset and length in the disk, what it is (data, zero, "
		       "hole, packed), how deep in the chain of backing files, and for data the "
		       "offset in which file.",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.args_are_files = true,
	.opts = map_options,
	.opts_size = sizeof(struct disk_info_opts),
	.examples = "atoll disk map --json disk.qcow2",
};
