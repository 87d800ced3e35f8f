/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_COMMANDS_PRIV_H
#define ATOLL_CMD_COMMANDS_PRIV_H

#include "base/attr.h"
#include "cmd/commands.h"

/* Options that several commands about images have; @opts: the command's struct, with an `image` in it. */

#define FORMATS                                                                                    \
	{                                                                                          \
		"raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi"                                       \
	}

#define OPTION_FORMAT(opts)                                                                        \
	{                                                                                          \
		.name = "format", .letter = 'f', .type = OPT_STR, .arg = "FORMAT",                 \
		.help = "Format of the image; guessed from its content when not given",            \
		.choices = FORMATS, OPT_AT(opts, image.format),                                    \
	}
#define OPTION_BACKING_FORMAT(opts)                                                                \
	{                                                                                          \
		.name = "backing-format", .type = OPT_STR, .arg = "FORMAT",                        \
		.help = "Format of the backing file, where the image does not say it",             \
		.choices = FORMATS, OPT_AT(opts, image.backing_format),                            \
	}
#define OPTION_JSON(opts)                                                                          \
	{                                                                                          \
		.name = "json", .letter = 'j', .type = OPT_FLAG,                                   \
		.help = "Write JSON instead of text", OPT_AT(opts, image.json),                    \
	}
#define OPTION_SHARE(opts)                                                                         \
	{                                                                                          \
		.name = "force-share", .letter = 'U', .type = OPT_FLAG,                            \
		.help = "Look also at an image that is being written; what is seen may be old",    \
		OPT_AT(opts, image.force_share),                                                   \
	}
#define OPTION_DIRECT(opts)                                                                        \
	{                                                                                          \
		.name = "direct", .type = OPT_FLAG,                                                \
		.help = "Read and write past the host's page cache", OPT_AT(opts, image.direct),   \
	}
#define OPTION_OPTION(opts)                                                                        \
	{                                                                                          \
		.name = "option", .letter = 'o', .type = OPT_LIST, .arg = "NAME=VALUE",            \
		.help = "Option of the new image's format, several with commas between them; "     \
			"'help' lists them",                                                       \
		OPT_AT(opts, options),                                                             \
	}
#define OPTION_PROGRESS(opts)                                                                      \
	{                                                                                          \
		.name = "progress", .letter = 'p', .type = OPT_FLAG,                               \
		.help = "Show how far it is, also when standard error is not a terminal",          \
		OPT_AT(opts, progress),                                                            \
	}
#define OPTION_THREADS(opts)                                                                       \
	{                                                                                          \
		.name = "threads", .letter = 't', .type = OPT_U64, .arg = "N",                     \
		.help = "Threads to work with; 0: as many as the host has CPUs, 2 at least",       \
		.def = "0", .max = 64, OPT_AT(opts, threads),                                      \
	}
/* What a backup is; @opts has a `backup` in it. */
#define OPTIONS_BACKUP(opts)                                                                       \
	{                                                                                          \
		.name = "output-format",                                                           \
		.letter = 'O',                                                                     \
		.type = OPT_STR,                                                                   \
		.arg = "FORMAT",                                                                   \
		.help = "Format of the target",                                                    \
		.def = "qcow2",                                                                    \
		.choices = FORMATS,                                                                \
		OPT_AT(opts, backup.format),                                                       \
	},                                                                                         \
		{                                                                                  \
			.name = "bitmap",                                                          \
			.letter = 'B',                                                             \
			.type = OPT_STR,                                                           \
			.arg = "NAME",                                                             \
			.help = "Note from now on in this bitmap what changes; it is made when "   \
				"there is none",                                                   \
			OPT_AT(opts, backup.bitmap),                                               \
		},                                                                                 \
		{                                                                                  \
			.name = "onto",                                                            \
			.type = OPT_PATH,                                                          \
			.arg = "FILE",                                                             \
			.help = "Only what the bitmap has noted, in an image on top of FILE, the " \
				"backup before",                                                   \
			OPT_AT(opts, backup.onto),                                                 \
		},                                                                                 \
		{                                                                                  \
			.name = "onto-format",                                                     \
			.type = OPT_STR,                                                           \
			.arg = "FORMAT",                                                           \
			.help = "Format of that backup",                                           \
			.def = "qcow2",                                                            \
			.choices = FORMATS,                                                        \
			OPT_AT(opts, backup.onto_format),                                          \
		},                                                                                 \
	{                                                                                          \
		.name = "update", .type = OPT_FLAG,                                                \
		.help = "Only what the bitmap has noted, into the backup that the target is",      \
		OPT_AT(opts, backup.update),                                                       \
	}

#endif
