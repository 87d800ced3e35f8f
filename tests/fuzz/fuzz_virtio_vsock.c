/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket device, with programs of the host that connect, talk, half close and leave as the input says. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz_virtio.h"
#include "vm/virtio/vsock.h"

enum { PROGRAMS = 8 };

struct host {
	struct virtio_vsock *v;
	int listener, fd[PROGRAMS];
};

static void leave(struct host *h, unsigned int k)
{
	if (h->fd[k] >= 0)
		close(h->fd[k]);
	h->fd[k] = -1;
}

static void event(void *arg, unsigned int what)
{
	struct host *h = arg;
	static char text[8192];
	unsigned int k = what >> 3 & 7;
	int fds[2], n;

	switch (what & 7) {
	case 0:
		leave(h, k);
		fuzz_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
		h->fd[k] = fds[1];
		n = snprintf(text, sizeof(text), "%s %u\n", what & 64 ? "CONNECT" : "CON",
			     what >> 7);
		fuzz_must(write(fds[1], text, (size_t)n) == n);
		mutex_lock(&h->v->dev.lock);
		vsock_adopt(h->v, fds[0]);
		mutex_unlock(&h->v->dev.lock);
		break;
	case 1:
		leave(h, k);
		h->fd[k] = accept4(h->listener, NULL, NULL, SOCK_NONBLOCK);
		break;
	case 2:
		leave(h, k);
		break;
	case 3:
		shutdown(h->fd[k], what & 64 ? SHUT_WR : SHUT_RD);
		break;
	case 4:
		ignore_result(read(h->fd[k], text, what >> 6));
		break;
	default:
		ignore_result(send(h->fd[k], text, what >> 5, MSG_NOSIGNAL | MSG_DONTWAIT));
		break;
	}
}

static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	uint8_t op = (uint8_t)fuzz_take(in, 1), *h = vd_ram(&w->v, VD_DATA);
	uint32_t len = (uint32_t)fuzz_take(in, 1) * 64;
	struct vd_piece p[] = { { VD_DATA, 44 + len, false }, { VD_DATA + 0x10000, 4096, true } };
	bool is_rx = op & 0x80;

	memset(h, 0, 44);
	put_le64(h, 42);
	put_le64(h + 8, 2);
	put_le32(h + 16, (uint32_t)fuzz_take(in, 1) & 15);
	put_le32(h + 20, op & 0x40 ? 7 : (1 << 30) + ((uint32_t)op >> 3 & 7));
	put_le32(h + 24, len);
	put_le16(h + 28, 1);
	put_le16(h + 30, op & 7);
	put_le32(h + 32, (uint32_t)fuzz_take(in, 1));
	put_le32(h + 36, (uint32_t)fuzz_take(in, 2));
	put_le32(h + 40, (uint32_t)fuzz_take(in, 1) << 6);
	if (w->nr_queues < 2 || !w->v.q[!is_rx].size)
		return;
	vd_add(&w->v, !is_rx, &p[is_rx], 1, false);
	vd_notify(&w->v, !is_rx);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct virtio_vsock v;
	static struct fuzz_virtio w;
	static char path[64];
	struct virtio_vsock_config cfg = { .cid = 42, .path = path, .listen_fd = -1 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct fuzz_input in = { data, n };
	struct host h = { .v = &v };

	snprintf(path, sizeof(path), "/dev/shm/fuzz-vsock-%d", (int)getpid());
	snprintf(a.sun_path, sizeof(a.sun_path), "%s_7", path);
	unlink(a.sun_path);
	h.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	fuzz_must(h.listener >= 0 && bind(h.listener, (struct sockaddr *)&a, sizeof(a)) == 0 &&
		  listen(h.listener, 8) == 0);
	for (unsigned int k = 0; k < PROGRAMS; k++)
		h.fd[k] = -1;
	fuzz_virtio_init(&w);
	fuzz_must(virtio_vsock_init(&v, &cfg, &w.v.b.memory.phys, &w.v.io, NULL) == 0);
	w.dev = &v.dev;
	w.event = event;
	w.request = request;
	w.arg = &h;
	fuzz_virtio_run(&w, &in);
	virtio_vsock_done(&v);
	fuzz_virtio_done(&w);
	for (unsigned int k = 0; k < PROGRAMS; k++)
		leave(&h, k);
	close(h.listener);
	unlink(a.sun_path);
	return 0;
}
