/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console device, whose chardevs take and offer what the input says. */
#include <errno.h>

#include "fuzz_virtio.h"
#include "vm/virtio/console.h"

static struct virtio_console con;
static struct chardev ends[2];
static unsigned int room;

static ssize_t end_write(struct chardev *cd, const void *buf, size_t n)
{
	n = MIN(n, (size_t)room);
	room -= (unsigned int)n;
	return n ? (ssize_t)n : -EAGAIN;
}

static void end_again(struct chardev *cd)
{
	static const uint8_t more[100];

	(void)cd->receive(cd->port_arg, more, sizeof(more));
}

static void end_opened(struct chardev *cd, bool is_open)
{
}

static void event(void *arg, unsigned int what)
{
	struct chardev *cd = &ends[what & 1];

	if (what == 0xff) {
		mutex_lock(&con.dev.lock);
		con.dev.ops->restored(&con.dev);
		mutex_unlock(&con.dev.lock);
	} else if (what & 2) {
		room = what >> 2;
		cd->writable(cd->port_arg);
	} else {
		static const uint8_t bytes[8192];

		fuzz_must(cd->receive(cd->port_arg, bytes, what >> 3) <= what >> 3);
	}
}

static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	struct vd_piece p = { VD_DATA, 8, false };
	uint8_t *m = vd_ram(&w->v, VD_DATA);

	put_le32(m, (uint32_t)fuzz_take(in, 1) & 3);
	put_le16(m + 4, (uint16_t)fuzz_take(in, 1) & 7);
	put_le16(m + 6, 1);
	if (w->nr_queues < 4 || !w->v.q[3].size)
		return;
	vd_add(&w->v, 3, &p, 1, false);
	vd_notify(&w->v, 3);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct chardev_ops ops = { .write = end_write,
						.can_receive_again = end_again },
					talk = { .write = end_write,
						 .can_receive_again = end_again,
						 .opened = end_opened };
	struct virtio_console_config cfg = { .nr_ports = 2,
					     .port = { { &ends[0], NULL }, { &ends[1], "name" } } };
	static struct fuzz_virtio w;
	struct fuzz_input in = { data, n };

	ends[0].ops = &ops;
	ends[1].ops = &talk;
	room = 100;
	fuzz_virtio_init(&w);
	virtio_console_init(&con, &cfg, &w.v.b.memory.phys, &w.v.io);
	w.dev = &con.dev;
	w.event = event;
	w.request = request;
	fuzz_virtio_run(&w, &in);
	virtio_console_done(&con);
	fuzz_virtio_done(&w);
	return 0;
}
