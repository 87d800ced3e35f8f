/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --share: a folder, and the process that serves it. Only the tag is ours; the rest is handed on to atoll-share, which knows
 * what it means, and says on its socket that it serves, or why not: a text that ends with a NUL, empty when all is well.
 */
#include "cmd/vm_shares.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "share/share.h"
#include "sys/fd.h"
#include "sys/sandbox/sandbox.h"
#include "vm/virtio/fs.h"

_Static_assert((int)VIRTIO_FS_MESSAGE == (int)SHARE_MESSAGE_MAX, "both ends of the socket");

enum { READY_MS = 10000, TEXT = 512 };

static int wait_ready(int fd, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[TEXT];
	size_t n = 0;

	for (;;) {
		ssize_t got;

		if (poll(&p, 1, READY_MS) <= 0)
			return err_set(err, -ETIMEDOUT, "atoll-share does not answer");
		/* Byte by byte: what follows is not ours. */
		got = read(fd, text + n, 1);
		if (got <= 0)
			return err_set(err, -EPIPE, "atoll-share ended");
		if (!text[n])
			return n ? err_set(err, -EINVAL, "%s", text) : 0;
		if (++n == sizeof(text))
			return err_set(err, -EPIPE, "atoll-share talks nonsense");
	}
}

static int start(struct child *helper, const char *what, bool must_hold, int *ret_fd,
		 struct err *err)
{
	_cleanup_(fd_closep) int ours = -EBADF, theirs = -EBADF;
	char path[2048];
	const char *argv[] = { path, must_hold ? SANDBOX_MUST_HOLD : what, must_hold ? what : NULL,
			       NULL };
	struct child_opts opts = { .argv = argv,
				   .in = -1,
				   .out = -1,
				   .err = STDERR_FILENO,
				   .keep = &theirs,
				   .nr_keep = 1,
				   .flags = CHILD_DIES_WITH_US | CHILD_OWN_GROUP };
	int fds[2], r = child_beside_us("atoll-share", path, sizeof(path), err);

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set_errno(err, "a pair of sockets");
	ours = fds[0];
	theirs = fds[1];
	r = child_start(&opts, helper, err);
	if (r == 0) {
		fd_closep(&theirs);
		r = wait_ready(ours, err);
	}
	if (r == 0)
		r = fd_nonblock(ours, 1);
	if (r == 0)
		*ret_fd = fd_take(&ours);
	return r;
}

static int open_one(struct vm_shares *s, const char *spec, struct err *err)
{
	const char *equals = strchr(spec, '=');
	size_t n = equals ? (size_t)(equals - spec) : 0;

	if (s->nr == MACHINE_SHARES)
		return err_set(err, -EINVAL, "more than %d shared folders", MACHINE_SHARES);
	if (!n || n > VIRTIO_FS_TAG || memchr(spec, ',', n) || memchr(spec, '/', n))
		return err_set(err, -EINVAL,
			       "TAG=DIR is what is expected, TAG with 1 to %d bytes and no '/' or "
			       "','",
			       VIRTIO_FS_TAG);
	snprintf(s->tag[s->nr], sizeof(s->tag[s->nr]), "%.*s", (int)n, spec);
	for (unsigned int k = 0; k < s->nr; k++)
		if (!strcmp(s->tag[k], s->tag[s->nr]))
			return err_set(err, -EEXIST, "the tag '%s' is there already", s->tag[k]);
	s->helper[s->nr] = CHILD_INIT;
	s->fd[s->nr] = -EBADF;
	s->nr++;
	return start(&s->helper[s->nr - 1], equals + 1, s->must_hold, &s->fd[s->nr - 1], err);
}

int vm_shares_open(struct vm_shares *s, const struct opt_list *specs, struct machine_config *cfg,
		   struct err *err)
{
	for (size_t i = 0; i < specs->n; i++) {
		int r = open_one(s, specs->v[i], err);

		if (r < 0)
			return err_wrap(err, r, "--share %.100s", specs->v[i]);
		cfg->shares[i] =
			(struct machine_share){ .fd = s->fd[s->nr - 1], .tag = s->tag[s->nr - 1] };
		cfg->nr_shares++;
	}
	return 0;
}

void vm_shares_close(struct vm_shares *s)
{
	while (s->nr) {
		s->nr--;
		fd_closep(&s->fd[s->nr]);
		child_done(&s->helper[s->nr]);
	}
}
