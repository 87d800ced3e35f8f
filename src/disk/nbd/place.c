/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding a lost server again from a sandbox. A confined process resolves no name and opens no socket; so the address is noted
 * while it is connected, before the sandbox is entered, and the process outside connects.
 */
#include "disk/nbd/place_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/str.h"
#include "disk/nbd/library_priv.h"
#include "sys/fd.h"
#include "sys/sandbox/outside.h"

bool nbd_place_socket(const char *uri, char *ret, size_t size)
{
	const char *p = strchr(uri, '?');
	size_t n = 0;

	while (p && !str_starts(str_of(p + 1), STR("socket=")))
		p = strpbrk(p + 1, "&;");
	if (!p)
		return false;
	for (p += 1 + strlen("socket="); *p && !strchr("&;#", *p); p++) {
		int high = *p == '%' ? str_hex_digit(p[1]) : -1;
		int low = high >= 0 ? str_hex_digit(p[2]) : -1;

		if (n + 1 >= size)
			return false;
		ret[n++] = low < 0 ? *p : (char)(high << 4 | low);
		if (!ret[n - 1])
			return false;
		p += low < 0 ? 0 : 2;
	}
	ret[n] = 0;
	return n > 0;
}

/* A TCP server keeps the address that its name has now. A unix socket's address, as its peer sees it, is what it was called in
 * the folder of the server: not that, but what we call it. */
void nbd_place_note(struct nbd_handle *h, const char *uri, struct nbd_place *ret)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX };
	struct sockaddr_storage peer;
	socklen_t n = sizeof(peer);

	if (nbd_lib.get_tls(h) != LIBNBD_TLS_DISABLE)
		return;
	ret->export = nbd_lib.get_export_name(h);
	if (!ret->export || getpeername(nbd_lib.aio_get_fd(h), (struct sockaddr *)&peer, &n) < 0)
		return;
	if (peer.ss_family != AF_UNIX)
		ret->server = outside_will_reach((const struct sockaddr *)&peer, n);
	else if (nbd_place_socket(uri, local.sun_path, sizeof(local.sun_path)))
		ret->server = outside_will_reach((const struct sockaddr *)&local, sizeof(local));
}

int nbd_place_connect(const struct nbd_place *place, uint64_t deadline_ns, struct err *err)
{
	_cleanup_(fd_closep) int fd = outside_reach((unsigned int)place->server);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint64_t now = clock_now(clock_real());
	socklen_t n = sizeof(int);
	int e = 0;

	if (fd < 0)
		return err_set(err, fd, "connect from outside");
	if (poll(&p, 1, now < deadline_ns ? (int)((deadline_ns - now) / NS_PER_MS) + 1 : 0) == 0)
		return err_set(err, -ETIMEDOUT, "no answer");
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0 || e)
		return err_set(err, e ? -e : -errno, "connect");
	return fd_take(&fd);
}
