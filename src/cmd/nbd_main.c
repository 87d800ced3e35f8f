/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `atoll-nbd` program, which `atoll disk serve` becomes: opens the disk, says where it is, serves until a signal
 * comes, and leaves everything on the medium. Once all is open, and before the first client, it gives up what it does not need
 * (cmd/confine.h).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/attr.h"
#include "cmd/commands.h"
#include "cmd/confine.h"
#include "nbd/server.h"
#include "sys/fd.h"
#include "sys/sandbox/outside.h"

enum { WORKERS = 8, FDS_OF_CLIENT = 2, FDS_KEPT = 64 };

static int open_disk(const struct disk_serve_opts *o, const char *path, struct disk **ret,
		     struct err *err)
{
	const char *format = o->image.format ? o->image.format : disk_format_of_name(path);
	const struct disk_open_opts open = {
		.flags = (o->read_only ? 0 : DISK_RDWR | DISK_UNMAP) |
			 (o->image.direct ? DISK_DIRECT : 0),
		.format = format,
		.backing_format = o->image.backing_format,
		.snapshot = o->snapshot,
		.reconnect_ns = o->reconnect_ns,
	};
	int r;

	if (!format)
		return err_set(err, -EINVAL,
			       "the name '%s' does not tell the format of the image: add "
			       "--format raw or what it is",
			       path);
	if (o->snapshot && !o->read_only)
		return err_set(err, -EINVAL, "a snapshot can only be served with --read-only");
	r = disk_open(path, &open, ret, err);
	return r < 0 ? r : disk_async_start(*ret, WORKERS, err);
}

/* Readable when somebody wants us to end; blocked in all threads. */
static int catch_signals(struct err *err)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set_errno(err, "signalfd") : fd;
}

/* Descriptors for as many clients as may come; later there is no way to more. */
static int allow_clients(uint64_t nr, struct err *err)
{
	rlim_t needed = (rlim_t)nr * FDS_OF_CLIENT + FDS_KEPT;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return err_set_errno(err, "limit of descriptors");
	if (l.rlim_max < needed)
		return err_set(err, -EMFILE,
			       "--max-conn %llu takes %llu descriptors, the limit is %llu",
			       (unsigned long long)nr, (unsigned long long)needed,
			       (unsigned long long)l.rlim_max);
	l.rlim_cur = MAX(l.rlim_cur, needed);
	return setrlimit(RLIMIT_NOFILE, &l) < 0 ? err_set_errno(err, "limit of descriptors") : 0;
}

static int give_up_rights(struct disk *disk, bool must_hold, struct err *err)
{
	const struct confine_opts o = {
		.program = "atoll-nbd",
		.kind = "nbd",
		.event = "nbd.sandbox",
		.servers = disk_servers(disk),
		.must_hold = must_hold,
	};

	return confine(&o, err);
}

static int run(const struct cmd_call *call, struct err *err)
{
	const struct disk_serve_opts *o = call->opts;
	struct nbd_server_opts server = {
		.export = { .name = o->name, .read_only = o->read_only },
		.listen = o->listen,
		.tls = { .certificates = o->tls_certificates,
			 .psk = o->tls_psk,
			 .verify_peer = o->tls_verify_peer },
		.max_clients = (unsigned)o->max_clients,
		.clock = clock_real(),
	};
	_cleanup_(fd_closep) int stop = catch_signals(err);
	struct nbd_server *s = NULL;
	int r = stop < 0 ? stop : confine_begin(err), closed;

	if (r == 0)
		r = allow_clients(o->max_clients, err);
	if (r == 0)
		r = open_disk(o, call->args[0], &server.export.disk, err);
	if (r == 0)
		r = nbd_server_new(&server, &s, err);
	if (r == 0)
		r = give_up_rights(server.export.disk, o->sandbox, err);
	if (r == 0) {
		printf("%s\n", nbd_server_uri(s));
		fflush(stdout);
		r = nbd_server_run(s, stop, err);
	}
	nbd_server_free(s);
	/* The thread that answered a request last may not be done with it. */
	if (server.export.disk)
		disk_drain(server.export.disk);
	closed = disk_close(server.export.disk, r < 0 ? NULL : err);
	outside_stop();
	return r < 0 ? r : closed;
}

static int serve(const struct cmd_call *call)
{
	struct err err = ERR_INIT;

	if (run(call, &err) == 0)
		return 0;
	fprintf(stderr, "atoll disk serve: %s\n", err_text(&err));
	return 1;
}

int main(int argc, char **argv)
{
	static const struct cmd_binding binding = { &cmd_disk_serve, serve };
	static const struct cmd_program program = {
		.name = "atoll-nbd",
		.summary = "Offer a disk image to others by NBD",
		.sole = &binding,
	};

	confine_prepare();
	return cmd_main(&program, argc, argv);
}
