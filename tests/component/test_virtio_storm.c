/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests that do everything wrong, on every device: chains that no driver makes in each of its queues, and several CPUs that
 * write any register at any time while the queues run and the host's side is busy. Nothing may crash or hang; and
 * afterwards a reset makes a device that works.
 */
#include "unit.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "disk/disk.h"
#include "sys/fd.h"
#include "sys/thread.h"
#include "virtio_driver.h"
#include "vm/net/net.h"
#include "vm/virtio/balloon.h"
#include "vm/virtio/blk.h"
#include "vm/virtio/console.h"
#include "vm/virtio/fs.h"
#include "vm/virtio/net.h"
#include "vm/virtio/pci.h"
#include "vm/virtio/rng.h"
#include "vm/virtio/vsock.h"

enum { CPUS = 3, STEPS = 30000, BAR_SIZE = 0x4000, BUF = VD_DATA, CID = 42 };

struct fixture {
	struct vd v;
	struct virtio_pci pci;
	struct virtio_dev *dev;
	const struct kind *kind;
	uint32_t saved[16]; /* PCI configuration */
	_Atomic unsigned int nr_running, nr_msi;

	struct virtio_rng rng;
	struct virtio_blk blk;
	struct disk *disk;
	char path[64];
	struct virtio_net net;
	struct net_end ours, theirs;
	struct virtio_console con;
	struct chardev end[2];
	struct virtio_balloon balloon;
	struct virtio_fs fs;
	struct virtio_vsock vsock;
	int fd[2]; /* fs: a pair of sockets */
	struct thread server;
};

struct kind {
	const char *name;
	int (*make)(struct fixture *f);
	void (*done)(struct fixture *f);
	uint32_t pops; /* queues from which chains are taken as soon as they are there */
	/* The host's side does something. */
	void (*event)(struct fixture *f, uint32_t x);
	/* A request after a start. */
	void (*works)(struct fixture *f);
};

/* --- devices ------------------------------------------------------------------------------------------------------- */

static int make_rng(struct fixture *f)
{
	virtio_rng_init(&f->rng, &f->v.b.memory.phys, &f->v.io);
	f->dev = &f->rng.dev;
	return 0;
}

static void done_rng(struct fixture *f)
{
	virtio_rng_done(&f->rng);
}

static void rng_works(struct fixture *f)
{
	struct vd_piece p = { BUF, 8, true };

	assert_int_equal(vd_do(&f->v, 0, &p, 1), 8);
}

static int make_blk(struct fixture *f)
{
	struct disk_open_opts opts = { .flags = DISK_RDWR | DISK_UNMAP, .format = "raw" };
	struct virtio_blk_config cfg = { .nr_queues = 3, .packed = true };
	int fd, r;

	snprintf(f->path, sizeof(f->path), "/tmp/test-virtio-storm-XXXXXX");
	fd = mkstemp(f->path);
	r = fd < 0 ? -1 : ftruncate(fd, 1 << 20);
	close(fd);
	if (r == 0)
		r = disk_open(f->path, &opts, &f->disk, NULL);
	if (r == 0)
		r = disk_async_start(f->disk, 2, NULL);
	cfg.disk = f->disk;
	virtio_blk_init(&f->blk, &cfg, &f->v.b.memory.phys, &f->v.io);
	f->dev = &f->blk.dev;
	return r;
}

static void done_blk(struct fixture *f)
{
	virtio_blk_done(&f->blk);
	ignore_result(disk_close(f->disk, NULL)); /* what a storm wrote need not be kept */
	unlink(f->path);
}

static void blk_works(struct fixture *f)
{
	struct vd_piece p[] = { { BUF, 16, false },
				{ BUF + 0x100, 512, true },
				{ BUF + 16, 1, true } };
	uint8_t *m = vd_ram(&f->v, BUF);
	uint32_t len;
	uint16_t id;

	memset(m, 0, 16);
	m[16] = 0xff;
	vd_add(&f->v, 0, p, 3, false);
	vd_notify(&f->v, 0);
	while (!vd_used(&f->v, 0, &id, &len))
		vd_run(&f->v);
	assert_int_equal(m[16], 0);
	assert_int_equal(len, 513);
}

static int make_net(struct fixture *f)
{
	struct virtio_net_config cfg = { .nr_pairs = 2,
					 .packed = true,
					 .mac = { 2, 0, 0, 0, 0, 1 } };
	int r = net_pair(&f->ours, &f->theirs, NULL);

	cfg.end = f->ours;
	if (r == 0)
		r = virtio_net_init(&f->net, &cfg, &f->v.b.memory.phys, &f->v.io, NULL);
	f->dev = &f->net.dev;
	return r;
}

static void done_net(struct fixture *f)
{
	virtio_net_done(&f->net);
	net_end_close(&f->ours);
	net_end_close(&f->theirs);
}

static void net_event(struct fixture *f, uint32_t x)
{
	static uint8_t packet[4096];

	memset(packet + NET_HDR, 0xff, 6);
	if (x & 1)
		ignore_result(write(f->theirs.fd, packet, NET_HDR + 14 + (x >> 8 & 2047)));
	else
		ignore_result(read(f->theirs.fd, packet, sizeof(packet)));
}

static void net_works(struct fixture *f)
{
	struct vd_piece p = { BUF, NET_HDR + 60, false };
	uint8_t packet[4096];

	while (read(f->theirs.fd, packet, sizeof(packet)) > 0)
		;
	memset(vd_ram(&f->v, BUF), 0, p.len);
	*(uint8_t *)vd_ram(&f->v, BUF + NET_HDR + 20) = 77;
	assert_int_equal(vd_do(&f->v, 1, &p, 1), 0);
	assert_int_equal(read(f->theirs.fd, packet, sizeof(packet)), p.len);
	assert_int_equal(packet[NET_HDR + 20], 77);
}

static _Atomic size_t written;

static ssize_t end_write(struct chardev *cd, const void *buf, size_t n)
{
	atomic_fetch_add(&written, n);
	return (ssize_t)n;
}

static void end_again(struct chardev *cd)
{
}

static int make_console(struct fixture *f)
{
	static const struct chardev_ops ops = { .write = end_write,
						.can_receive_again = end_again };
	struct virtio_console_config cfg = {
		.nr_ports = 2, .port = { { &f->end[0], NULL }, { &f->end[1], "x" } }
	};

	f->end[0] = f->end[1] = (struct chardev){ .ops = &ops };
	virtio_console_init(&f->con, &cfg, &f->v.b.memory.phys, &f->v.io);
	f->dev = &f->con.dev;
	return 0;
}

static void done_console(struct fixture *f)
{
	virtio_console_done(&f->con);
}

static void console_event(struct fixture *f, uint32_t x)
{
	static const uint8_t bytes[256];
	struct chardev *cd = &f->end[x & 1];

	if (x & 2)
		cd->receive(cd->port_arg, bytes, x >> 8 & 255);
	else
		cd->writable(cd->port_arg);
}

static void console_works(struct fixture *f)
{
	struct vd_piece p = { BUF, 9, false };
	size_t before = atomic_load(&written);

	assert_int_equal(vd_do(&f->v, 1, &p, 1), 0);
	assert_int_equal(atomic_load(&written) - before, 9);
}

static int make_balloon(struct fixture *f)
{
	virtio_balloon_init(&f->balloon, false, &f->v.b.memory.phys, &f->v.io);
	f->dev = &f->balloon.dev;
	return 0;
}

static void done_balloon(struct fixture *f)
{
	virtio_balloon_done(&f->balloon);
}

static void balloon_event(struct fixture *f, uint32_t x)
{
	struct virtio_balloon_info info;

	if (x & 1)
		virtio_balloon_set(&f->balloon, (uint64_t)x << 12);
	else
		virtio_balloon_info(&f->balloon, &info);
}

static void balloon_works(struct fixture *f)
{
	struct vd_piece p = { BUF, 4, false };
	uint8_t *page = vd_ram(&f->v, 0x900000);

	put_le32((uint8_t *)vd_ram(&f->v, BUF), 0x900);
	*page = 1;
	assert_int_equal(vd_do(&f->v, 0, &p, 1), 0);
	assert_int_equal(*page, 0);
}

/* Answers everything with success and nothing. */
static void serve(void *arg)
{
	struct fixture *f = arg;
	static uint8_t m[VIRTIO_FS_MESSAGE];

	while (fd_read_full(f->fd[1], m, 40) == 40) {
		uint32_t len = get_le32(m), opcode = get_le32(m + 4);

		assert_true(len >= 40 && len <= sizeof(m));
		if (fd_read_full(f->fd[1], m + 40, len - 40) != (ssize_t)len - 40)
			break;
		if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET)
			continue;
		put_le32(m, 16);
		put_le32(m + 4, 0);
		if (send(f->fd[1], m, 16, MSG_NOSIGNAL) != 16)
			break;
	}
}

static int make_fs(struct fixture *f)
{
	struct virtio_fs_config cfg = { .tag = "tag" };
	int r = socketpair(AF_UNIX, SOCK_STREAM, 0, f->fd);

	cfg.fd = f->fd[0];
	if (r == 0)
		r = virtio_fs_init(&f->fs, &cfg, &f->v.b.memory.phys, &f->v.io, NULL);
	f->dev = &f->fs.dev;
	return r ? r : thread_start(&f->server, "server", serve, f, NULL);
}

static void done_fs(struct fixture *f)
{
	virtio_fs_done(&f->fs);
	shutdown(f->fd[0], SHUT_RDWR);
	thread_join(&f->server);
	close(f->fd[0]);
	close(f->fd[1]);
}

static void fs_works(struct fixture *f)
{
	struct vd_piece p[] = { { BUF, 40, false }, { BUF + 64, 16, true } };
	uint8_t *m = vd_ram(&f->v, BUF);
	uint32_t len;
	uint16_t id;

	memset(m, 0, 80);
	put_le32(m, 40);
	put_le32(m + 4, FUSE_GETATTR);
	put_le64(m + 8, 1234);
	vd_add(&f->v, 1, p, 2, false);
	vd_notify(&f->v, 1);
	while (!vd_used(&f->v, 1, &id, &len))
		vd_run(&f->v);
	assert_int_equal(len, 16);
	assert_int_equal(get_le64(m + 64 + 8), 1234);
}

static int make_vsock(struct fixture *f)
{
	struct virtio_vsock_config cfg = { .cid = CID, .listen_fd = -1 };
	int r = virtio_vsock_init(&f->vsock, &cfg, &f->v.b.memory.phys, &f->v.io, NULL);

	f->dev = &f->vsock.dev;
	return r;
}

static void done_vsock(struct fixture *f)
{
	virtio_vsock_done(&f->vsock);
}

static void vsock_event(struct fixture *f, uint32_t x)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0)
		return;
	ignore_result(write(fd[1], "CONNECT 5\nhello", x & 8 ? 15 : 7));
	iothread_pause(&f->v.io);
	mutex_lock(&f->vsock.dev.lock);
	vsock_adopt(&f->vsock, fd[0]);
	mutex_unlock(&f->vsock.dev.lock);
	iothread_resume(&f->v.io);
	close(fd[1]);
}

static void vsock_works(struct fixture *f)
{
	struct vd_piece in = { BUF + 64, 64, true }, out = { BUF, 44, false };
	uint8_t *h = vd_ram(&f->v, BUF);
	uint32_t len;
	uint16_t id;

	memset(h, 0, 128);
	put_le64(h, CID);
	put_le64(h + 8, 2);
	put_le16(h + 28, 1);
	put_le16(h + 30, 1);
	vd_add(&f->v, 0, &in, 1, false);
	assert_int_equal(vd_do(&f->v, 1, &out, 1), 0);
	assert_true(vd_used(&f->v, 0, &id, &len));
	assert_int_equal(get_le16(h + 64 + 30), 3);
}

static const struct kind kinds[] = {
	{ "rng", make_rng, done_rng, 1, NULL, rng_works },
	{ "blk", make_blk, done_blk, 7, NULL, blk_works },
	{ "net", make_net, done_net, 2 | 16, net_event, net_works },
	{ "console", make_console, done_console, 2 | 8 | 32, console_event, console_works },
	{ "balloon", make_balloon, done_balloon, 31, balloon_event, balloon_works },
	{ "fs", make_fs, done_fs, 3, NULL, fs_works },
	{ "vsock", make_vsock, done_vsock, 2, vsock_event, vsock_works },
};

/* --- the bench ----------------------------------------------------------------------------------------------------- */

static void count_msi(void *arg, uint64_t addr, uint32_t data)
{
	struct fixture *f = arg;

	atomic_fetch_add(&f->nr_msi, 1);
}

static struct fixture *begin(const struct kind *kind)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	f->kind = kind;
	assert_int_equal(vd_bench_init(&f->v), 0);
	f->v.b.board.msi = count_msi;
	f->v.b.board.msi_arg = f;
	assert_int_equal(kind->make(f), 0);
	assert_int_equal(virtio_pci_init(&f->pci, f->dev, &f->v.b.board, &f->v.pci, VD_DEVFN,
					 0x00ff00, NULL),
			 0);
	assert_true(vd_probe(&f->v));
	for (unsigned int k = 0; k < 16; k++)
		f->saved[k] = vd_cfg(&f->v, 4 * k, 4);
	return f;
}

static void finish(struct fixture *f)
{
	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	f->kind->done(f);
	vd_bench_done(&f->v);
	free(f);
}

static unsigned int nr_queues(const struct fixture *f)
{
	return MIN(f->dev->nr_queues, (unsigned int)VD_MAX_QUEUES);
}

/* A reset, a start, and a request. */
static void must_work(struct fixture *f, const char *after)
{
	vd_set_status(&f->v, 0);
	for (unsigned int k = 0; vd_status(&f->v) && k < 1000000; k++)
		vd_run(&f->v);
	if (!vd_start(&f->v, 0, nr_queues(f), 8))
		fail_msg("%s does not start after %s", f->kind->name, after);
	f->kind->works(f);
}

/* --- chains -------------------------------------------------------------------------------------------------------- */

enum { NR_CHAINS = 14 };

/* Makes the wrong chain @which in queue @q. Returns what it is. */
static const char *wrong_chain(struct fixture *f, unsigned int q, unsigned int which)
{
	struct vd *v = &f->v;
	uint64_t d = v->q[q].desc, table = VD_TABLES;
	uint16_t head = 0, jump = 1;

	/* A device must not find anything good in it. */
	memset(vd_ram(v, BUF), 0, 0x1000);
#define DESC(i, gpa, len, flags, next)                                                             \
	vd_desc(v, d + 16 * (uint64_t)(i), (gpa), (len), (flags), (next))
	DESC(0, BUF, 64, VD_NEXT, 1);
	DESC(1, BUF + 64, 64, VD_WRITE, 0);
	switch (which) {
	case 0:
		DESC(0, BUF, 64, VD_NEXT, 0);
		break;
	case 1:
		DESC(1, BUF, 64, VD_NEXT, 0);
		break;
	case 2:
		DESC(1, BUF, 64, VD_WRITE | VD_NEXT, 8);
		break;
	case 3:
		DESC(1, f->v.common, 64, VD_WRITE, 0);
		break;
	case 4:
		DESC(1, f->v.notify, 4, VD_WRITE, 0);
		break;
	case 5:
		DESC(0, f->v.config, 64, VD_NEXT, 1);
		break;
	case 6:
		DESC(1, VD_RAM - 8, 64, VD_WRITE, 0);
		break;
	case 7:
		DESC(1, UINT64_MAX - 7, 64, VD_WRITE, 0);
		break;
	case 8:
		DESC(0, BUF, 64, VD_WRITE | VD_NEXT, 1);
		DESC(1, BUF, 64, 0, 0);
		break;
	case 9:
		DESC(0, BUF, UINT32_MAX, VD_NEXT, 1);
		break;
	case 10:
		DESC(0, d, 16, VD_INDIRECT, 0);
		break;
	case 11:
		DESC(0, table, 16 * 8, VD_INDIRECT, 0);
		for (unsigned int k = 0; k < 8; k++)
			vd_desc(v, table + 16 * (uint64_t)k, BUF, 8, VD_NEXT,
				(uint16_t)((k + 1) % 8));
		break;
	case 12:
		head = 0x8000;
		break;
	default:
		jump = 1000;
		break;
	}
#undef DESC
	put_le16((uint8_t *)vd_ram(v, v->q[q].avail + 4), head);
	put_le16((uint8_t *)vd_ram(v, v->q[q].avail + 2), jump);
	return "a wrong chain";
}

static void test_chains(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct fixture *f = begin(&kinds[k]);

		for (unsigned int q = 0; q < nr_queues(f); q++)
			for (unsigned int which = 0; which < NR_CHAINS; which++) {
				bool has_stopped;

				assert_true(vd_start(&f->v, ~(VD_F_PACKED | VD_F_EVENT_IDX),
						     nr_queues(f), 8));
				wrong_chain(f, q, which);
				vd_kick(&f->v, q);
				has_stopped = vd_status(&f->v) & VD_S_NEEDS_RESET;
				if ((f->kind->pops >> q & 1) && !has_stopped)
					fail_msg("%s: queue %u took chain %u", f->kind->name, q,
						 which);
				if (f->kind->event)
					f->kind->event(f, 0x1ff1);
				vd_run(&f->v);
				if (which == NR_CHAINS - 1)
					must_work(f, "wrong chains");
			}
		finish(f);
	}
}

/* --- the storm ----------------------------------------------------------------------------------------------------- */

struct cpu_thread {
	struct fixture *f;
	struct thread thread;
	uint64_t seed;
	unsigned int number;
};

static uint32_t rnd(struct cpu_thread *t, uint32_t n)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return (uint32_t)(t->seed >> 32) % n;
}

static uint64_t any(struct cpu_thread *t)
{
	switch (rnd(t, 4)) {
	case 0:
		return rnd(t, 4);
	case 1:
		return rnd(t, 0x10000);
	case 2:
		return VD_RINGS + rnd(t, 0x80000);
	default:
		return (uint64_t)rnd(t, UINT32_MAX) << 32 | rnd(t, UINT32_MAX);
	}
}

/* The way of a driver, whatever others do meanwhile. */
static void start_somehow(struct cpu_thread *t)
{
	struct fixture *f = t->f;
	struct vd *v = &f->v;
	static const uint8_t steps[] = { 0, 1, 3 };

	for (size_t k = 0; k < ARRAY_SIZE(steps); k++)
		vd_out(v, v->common + 20, 1, steps[k]);
	for (unsigned int half = 0; half < 2; half++) {
		uint64_t offered;

		vd_out(v, v->common, 4, half);
		offered = vd_in(v, v->common + 4, 4);
		vd_out(v, v->common + 8, 4, half);
		vd_out(v, v->common + 12, 4,
		       offered & (half ? ~(rnd(t, 2) << 2) : rnd(t, UINT32_MAX)));
	}
	vd_out(v, v->common + 20, 1, 11);
	for (unsigned int q = 0; q < nr_queues(f); q++) {
		uint64_t at = VD_RINGS + (uint64_t)q * VD_RING_STEP;

		memset(vd_ram(v, at), 0, VD_RING_STEP);
		vd_out(v, v->common + 22, 2, q);
		vd_out(v, v->common + 24, 2, rnd(t, 8) ? 64 : 1u << rnd(t, 7));
		vd_out(v, v->common + 26, 2, rnd(t, nr_queues(f) + 2));
		vd_out(v, v->common + 32, 8, at);
		vd_out(v, v->common + 40, 8, at + 0x4000);
		vd_out(v, v->common + 48, 8, at + 0x6000);
		vd_out(v, v->common + 28, 2, 1);
	}
	vd_out(v, v->common + 20, 1, 15);
}

static void add_somehow(struct cpu_thread *t)
{
	struct vd *v = &t->f->v;
	unsigned int q = rnd(t, nr_queues(t->f));
	uint64_t at = VD_RINGS + (uint64_t)q * VD_RING_STEP, places[] = { BUF, v->common, at, 0 };
	uint8_t *idx = vd_ram(v, at + 0x4002);
	/* Mostly what a driver could write, so that it goes on for a while. */
	bool is_wild = !rnd(t, 40);
	uint64_t gpa;

	places[3] = any(t);
	gpa = (is_wild ? places[rnd(t, 4)] : BUF) + rnd(t, 4096);
	vd_desc(v, at + 16 * (uint64_t)rnd(t, 64), gpa, is_wild ? (uint32_t)any(t) : rnd(t, 2048),
		(uint16_t)(is_wild ? rnd(t, 0x100) : (VD_WRITE * rnd(t, 2) | rnd(t, 2) << 7)),
		(uint16_t)rnd(t, 64));
	put_le16((uint8_t *)vd_ram(v, at + 0x4004 + 2 * (uint64_t)rnd(t, 64)),
		 (uint16_t)rnd(t, is_wild ? 0x10000 : 64));
	put_le16(idx, (uint16_t)(get_le16(idx) + rnd(t, 3)));
	vd_out(v, v->notify + 4 * (uint64_t)q, 2, q);
}

/* One CPU moves the device away and back; the others' accesses hit it or nothing. */
static void configure_somehow(struct cpu_thread *t)
{
	struct fixture *f = t->f;

	if (t->number)
		return;
	for (unsigned int k = rnd(t, 4); k; k--) {
		unsigned int size = 1u << rnd(t, 3);

		pci_config_write(&f->v.pci, VD_DEVFN, (uint16_t)(rnd(t, 256) & ~(size - 1)), size,
				 (uint32_t)any(t));
	}
	for (unsigned int k = 1; k < 16; k++)
		pci_config_write(&f->v.pci, VD_DEVFN, (uint16_t)(4 * k), 4, f->saved[k]);
}

static void storm(void *arg)
{
	struct cpu_thread *t = arg;
	struct fixture *f = t->f;
	struct vd *v = &f->v;

	for (unsigned int k = 0; k < STEPS; k++) {
		unsigned int size = 1u << rnd(t, 4);

		/* The I/O thread shall have its share also where there are fewer processors than threads. */
		if (k % 128 == 0)
			sched_yield();
		switch (rnd(t, 16)) {
		case 0:
			if (rnd(t, 4))
				break;
			vd_out(v, v->common + (rnd(t, 0x38) & ~(size - 1)), size, any(t));
			break;
		case 3:
			(void)vd_in(v, v->common + (rnd(t, BAR_SIZE) & ~(size - 1)), size);
			break;
		case 4:
			vd_out(v, v->config + (rnd(t, 0x100) & ~(size - 1)), size, any(t));
			break;
		case 5:
			vd_out(v, v->msix + (rnd(t, 0x200) & ~3u), 4, any(t));
			break;
		case 6:
			configure_somehow(t);
			break;
		case 7:
			put_le64((uint8_t *)vd_ram(v, VD_RINGS + (rnd(t, 0x40000) & ~7u)), any(t));
			break;
		case 8:
			/* One CPU is a driver more often than the others, or nobody ever comes to the end of it. */
			if (!t->number || !rnd(t, 32))
				start_somehow(t);
			break;
		case 9:
			vd_out(v, v->common + 20, 1, rnd(t, 32) ? rnd(t, 256) | 1 : 0);
			break;
		case 10:
			vd_out(v, v->notify + (any(t) & 0xffc), 2, any(t));
			break;
		default:
			add_somehow(t);
			break;
		}
	}
	atomic_fetch_sub(&f->nr_running, 1);
}

struct total {
	uint64_t chains, broken;
};

static void run_storm(const struct kind *kind, uint64_t seed, struct total *total)
{
	struct fixture *f = begin(kind);
	struct cpu_thread t[CPUS] = { 0 }, host = { .f = f, .seed = seed };

	assert_int_equal(iothread_start(&f->v.io, NULL), 0);
	atomic_store(&f->nr_running, CPUS);
	for (unsigned int k = 0; k < CPUS; k++) {
		t[k] = (struct cpu_thread){ .f = f, .seed = seed * 1000 + k + 1, .number = k };
		assert_int_equal(thread_start(&t[k].thread, "storm", storm, &t[k], NULL), 0);
	}
	while (atomic_load(&f->nr_running))
		if (kind->event)
			kind->event(f, rnd(&host, UINT32_MAX));
	for (unsigned int k = 0; k < CPUS; k++)
		thread_join(&t[k].thread);
	for (unsigned int k = 1; k < 16; k++)
		pci_config_write(&f->v.pci, VD_DEVFN, (uint16_t)(4 * k), 4, f->saved[k]);
	/* The reset pin, which waits for what is in flight. */
	virtio_pci_reset(&f->pci);
	assert_int_equal(vd_status(&f->v), 0);
	iothread_stop(&f->v.io);
	total->chains += f->dev->nr_chains;
	total->broken += f->dev->nr_broken;
	must_work(f, "the storm");
	finish(f);
}

static void test_storm(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct total total = { 0 };

		for (uint64_t seed = 1; seed <= 2; seed++)
			run_storm(&kinds[k], seed, &total);
		/* Or it was no storm. */
		if (!total.chains || !total.broken)
			fail_msg("%s had %llu chains and %llu broken rings", kinds[k].name,
				 (unsigned long long)total.chains,
				 (unsigned long long)total.broken);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests_name("virtio storm", tests, NULL, NULL);
}
