/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --vsock: the guest's number, and the Unix socket by which the host's programs reach the guest. Only this user may: the
 * socket is made with no rights for others.
 */
#include "cmd/vm_vsock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "sys/fd.h"
#include "sys/sandbox/outside.h"
#include "sys/ipc.h"

enum { BACKLOG = 16, PATH_MAX_BYTES = sizeof(((struct vm_vsock *)0)->path) - 1 };

static int parse(struct vm_vsock *v, const char *spec, uint64_t *ret_cid, struct err *err)
{
	struct str rest = str_of(spec), part, key;
	int r = 0;

	*ret_cid = 0;
	while (r == 0 && str_cut(&rest, ',', &part)) {
		str_cut(&part, '=', &key);
		if (str_eq(key, STR("cid")))
			r = str_parse_u64(part, 3, UINT32_MAX - 1, ret_cid, err);
		else if (str_eq(key, STR("path")) && part.n && part.n <= PATH_MAX_BYTES)
			snprintf(v->path, sizeof(v->path), "%.*s", STR_ARG(part));
		else
			r = err_set(err, -EINVAL,
				    "'%.*s' is none of cid=NUMBER, path=PATH (1 to %d bytes)",
				    (int)MIN(key.n, (size_t)40), key.p, PATH_MAX_BYTES);
	}
	if (r == 0 && !*ret_cid)
		r = err_set(err, -EINVAL, "cid=NUMBER is missing: the guest's, from 3 on");
	return r;
}

static int listen_at(struct vm_vsock *v, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_(fd_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old;
	int r;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", v->path);
	ipc_unlink_abandoned(&a);
	old = umask(0077);
	r = fd < 0 ? fd : bind(fd, (const struct sockaddr *)&a, sizeof(a));
	umask(old);
	if (r < 0 || listen(fd, BACKLOG) < 0)
		return err_set_errno(err, "listen at '%s'", v->path);
	v->fd = fd_take(&fd);
	r = outside_will_remove(v->path, err);
	return r < 0 ? r : outside_will_dial(v->path, err);
}

int vm_vsock_open(struct vm_vsock *v, const char *spec, struct machine_vsock *ret, struct err *err)
{
	uint64_t cid;
	int r;

	ret->listen_fd = -EBADF;
	if (!spec)
		return 0;
	r = parse(v, spec, &cid, err);
	if (r == 0 && v->path[0])
		r = listen_at(v, err);
	if (r < 0)
		return err_wrap(err, r, "--vsock %.100s", spec);
	ret->cid = cid;
	ret->path = v->path[0] ? v->path : NULL;
	ret->listen_fd = v->fd;
	return 0;
}

void vm_vsock_close(struct vm_vsock *v)
{
	if (v->fd >= 0)
		outside_remove(v->path);
	fd_closep(&v->fd);
}
