/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll disk serve`, as data. It stands alone because the program that serves, atoll-nbd, parses its options by the same
 * table.
 */
#include "cmd/commands_priv.h"

#define AT(member) OPT_AT(struct disk_serve_opts, member)

static const struct opt serve_options[] = {
	{
		.name = "listen",
		.letter = 'l',
		.type = OPT_STR,
		.arg = "WHERE",
		.help = "tcp:ADDRESS:PORT (port 0: any that is free), or unix:PATH",
		.def = "tcp:127.0.0.1:10809",
		AT(listen),
	},
	{
		.name = "name",
		.letter = 'x',
		.type = OPT_STR,
		.arg = "EXPORT",
		.help = "Name of the export",
		.def = "",
		AT(name),
	},
	{
		.name = "format",
		.letter = 'f',
		.type = OPT_STR,
		.arg = "FORMAT",
		.help = "Format of the image; what its name ends in when not given, never its "
			"content, which clients write",
		.choices = FORMATS,
		AT(image.format),
	},
	OPTION_BACKING_FORMAT(struct disk_serve_opts),
	{
		.name = "read-only",
		.letter = 'r',
		.type = OPT_FLAG,
		.help = "Clients cannot change the disk",
		AT(read_only),
	},
	{
		.name = "snapshot",
		.type = OPT_STR,
		.arg = "SNAPSHOT",
		.help = "Serve this internal snapshot, by id or name; with --read-only",
		AT(snapshot),
	},
	OPTION_DIRECT(struct disk_serve_opts),
	{
		.name = "max-conn",
		.letter = 'e',
		.type = OPT_U64,
		.arg = "N",
		.help = "How many clients may be connected at a time; more wait",
		.def = "16",
		.min = 1,
		.max = 1000,
		AT(max_clients),
	},
	{
		.name = "reconnect",
		.type = OPT_DURATION,
		.arg = "TIME",
		.help = "How long another server is tried again when the image is its, and it was lost",
		.def = "10s",
		.max = 86400 * UINT64_C(1000000000),
		AT(reconnect_ns),
	},
	{
		.name = "tls-certificates",
		.type = OPT_PATH,
		.arg = "FOLDER",
		.help = "Only by TLS, with server-cert.pem and server-key.pem of this folder",
		AT(tls_certificates),
	},
	{
		.name = "tls-verify-peer",
		.type = OPT_FLAG,
		.help = "Clients need a certificate that ca-cert.pem of that folder signed",
		AT(tls_verify_peer),
	},
	{
		.name = "tls-psk",
		.type = OPT_PATH,
		.arg = "FILE",
		.help = "Only by TLS, for who knows a key of this file (lines USER:HEXKEY, as psktool "
			"makes them), which is read once, at the start",
		AT(tls_psk),
	},
	{
		.name = "sandbox",
		.type = OPT_ENUM,
		.arg = "WORD",
		.help = "The server gives up every right that the host lets it give up before it "
			"takes clients ('atoll doctor' tells which); require: it does not start "
			"where one of them cannot be given up",
		.def = "best",
		.choices = { "best", "require" },
		AT(sandbox),
	},
	{ 0 },
};

const struct cmd cmd_disk_serve = {
	.name = "disk serve",
	.summary = "Offer a disk image to others by NBD",
	.description =
		"Serves until it gets SIGINT or SIGTERM; then what clients wrote is on the medium. "
		"The first line on standard output is how clients name the disk, written when "
		"they can connect. All clients see one disk and may write to it at once.\n\n"
		"Without TLS whoever reaches the socket has the disk: a unix socket is only for its "
		"owner, an address beyond 127.0.0.1 is for everybody.",
	.args = "IMAGE",
	.args_min = 1,
	.args_max = 1,
	.args_are_files = true,
	.opts = serve_options,
	.opts_size = sizeof(struct disk_serve_opts),
	.examples = "atoll disk serve --listen unix:/tmp/disk.sock disk.qcow2\n"
		    "atoll disk serve --name backup --tls-psk keys.psk --listen tcp:0.0.0.0:10809 "
		    "disk.qcow2\n"
		    "qemu-img convert nbd://127.0.0.1:10809/ copy.raw",
};
