/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file system device, with a guest and a server that both say what the input says. */
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz_virtio.h"
#include "vm/virtio/fs.h"

struct server {
	int fd;
	uint8_t last[40]; /* the last message's header */
};

/* Answers the last message, with a wrong length, or with some bytes of something. */
static void event(void *arg, unsigned int what)
{
	struct server *s = arg;
	static uint8_t a[4096];
	ssize_t n;

	if (what == 0xffff) {
		shutdown(s->fd, SHUT_RDWR);
		return;
	}
	while ((n = recv(s->fd, a, sizeof(a), MSG_DONTWAIT)) > 0)
		if (n >= 40)
			memcpy(s->last, a, 40);
	memset(a, 0x33, sizeof(a));
	put_le32(a, what & 1 ? 16 + (what >> 4 & 0x3ff) : what >> 4);
	put_le32(a + 4, what & 2 ? (uint32_t)-5 : 0);
	memcpy(a + 8, s->last + 8, 8);
	if (what & 4)
		a[8] = (uint8_t)(what >> 8);
	ignore_result(send(s->fd, a, what & 8 ? what >> 8 & 31 : 16 + (what >> 4 & 0x3ff),
			   MSG_DONTWAIT | MSG_NOSIGNAL));
}

static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	unsigned int q = (unsigned int)fuzz_take(in, 1) % w->nr_queues;
	uint32_t len = 40 + (uint32_t)fuzz_take(in, 1), room = (uint32_t)fuzz_take(in, 2);
	struct vd_piece p[] = { { VD_DATA, len, false }, { VD_DATA + 0x1000, room, true } };
	uint8_t *m = vd_ram(&w->v, VD_DATA);

	put_le32(m, len);
	put_le32(m + 4, (uint32_t)fuzz_take(in, 1) & 63);
	if (!w->v.q[q].size)
		return;
	vd_add(&w->v, q, p, 2, false);
	vd_notify(&w->v, q);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct virtio_fs fs;
	static struct fuzz_virtio w;
	struct fuzz_input in = { data, n };
	struct virtio_fs_config cfg = { .tag = "tag" };
	struct server s = { 0 };
	int fds[2];

	fuzz_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	cfg.fd = fds[0];
	s.fd = fds[1];
	fuzz_virtio_init(&w);
	fuzz_must(virtio_fs_init(&fs, &cfg, &w.v.b.memory.phys, &w.v.io, NULL) == 0);
	w.dev = &fs.dev;
	w.event = event;
	w.request = request;
	w.arg = &s;
	fuzz_virtio_run(&w, &in);
	virtio_fs_done(&fs);
	fuzz_virtio_done(&w);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
