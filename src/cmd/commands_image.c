/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of `atoll image`, as data: what help, man pages, completion and the parser read. */
#include "base/attr.h"
#include "cmd/commands.h"

static const struct opt build_options[] = {
	{
		.name = "size",
		.letter = 's',
		.type = OPT_SIZE,
		.arg = "SIZE",
		.help = "Size of the disk, a multiple of 1M; the file is as large as what is in it",
		.def = "4G",
		.min = UINT64_C(1) << 30,
		.max = UINT64_C(1) << 44,
		OPT_AT(struct image_build_opts, size_bytes),
	},
	{
		.name = "format",
		.letter = 'O',
		.type = OPT_STR,
		.arg = "FORMAT",
		.help = "Format of the image; that of the end of its name when not given",
		.choices = { "raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi" },
		OPT_AT(struct image_build_opts, format),
	},
	{
		.name = "package",
		.letter = 'p',
		.type = OPT_LIST,
		.arg = "NAME",
		.help = "A Debian package to install, too",
		OPT_AT(struct image_build_opts, package),
	},
	{
		.name = "release",
		.type = OPT_STR,
		.arg = "NAME",
		.help = "Debian's release, such as bookworm; the host's when not given",
		OPT_AT(struct image_build_opts, release),
	},
	{
		.name = "mirror",
		.type = OPT_STR,
		.arg = "URL",
		.help = "Where the packages come from; where the host's come from when not given",
		OPT_AT(struct image_build_opts, mirror),
	},
	{
		.name = "date",
		.type = OPT_STR,
		.arg = "DATE",
		.help = "No file is younger: YYYY-MM-DD, or seconds since 1970; the same packages, "
			"size and date give the same image; $SOURCE_DATE_EPOCH or now when not given",
		OPT_AT(struct image_build_opts, date),
	},
	{
		.name = "progress",
		.type = OPT_FLAG,
		.help = "Show how far it is, also when standard error is not a terminal",
		OPT_AT(struct image_build_opts, progress),
	},
	{ 0 },
};

const struct cmd cmd_image_build = {
	.name = "image build",
	.summary = "Make a bootable Debian disk image",
	.description =
		"Installs Debian from the package sources of the host into a new image that boots "
		"by BIOS and by UEFI, with systemd, SSH, cloud-init and a console on the screen and "
		"on the first serial port. Its root takes the whole disk at the first start.\n"
		"\n"
		"Nobody can log in to it until it is told who may: by user data for cloud-init, "
		"which 'atoll run --cloud-init' gives it.\n"
		"\n"
		"Needs mmdebstrap, and either root or user namespaces with subordinate ids "
		"(/etc/subuid).",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.opts = build_options,
	.opts_size = sizeof(struct image_build_opts),
	.examples = "atoll image build debian.qcow2\n"
		    "atoll image build -s 20G -p nginx --date 2026-01-01 web.vmdk",
};
