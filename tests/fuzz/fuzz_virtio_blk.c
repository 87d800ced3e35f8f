/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block device over a small raw image in memory. */
#include <sys/mman.h>
#include <unistd.h>

#include "disk/disk.h"
#include "fuzz_virtio.h"
#include "vm/virtio/blk.h"

struct world {
	struct virtio_blk blk;
	struct disk *disk;
};

static void event(void *arg, unsigned int what)
{
	struct world *b = arg;

	if (what & 1)
		virtio_blk_resized(&b->blk);
	else
		disk_drain(b->disk);
}

static void settle(void *arg)
{
	struct world *b = arg;

	disk_drain(b->disk);
}

/* A header with a known type, some data, a status. */
static void request(struct fuzz_virtio *w, struct fuzz_input *in)
{
	static const uint8_t types[] = { 0, 1, 4, 8, 11, 13, 0, 1 };
	struct vd_piece p[3] = { { VD_DATA, 16, false },
				 { VD_DATA + 0x1000, 0, false },
				 { VD_DATA + 0x100, 1, true } };
	uint8_t *h = vd_ram(&w->v, VD_DATA);
	uint8_t type = types[fuzz_take(in, 1) & 7];

	put_le32(h, type);
	put_le64(h + 8, fuzz_take(in, 2));
	p[1].len = type > 8 ? 16 : 512 * (uint32_t)(fuzz_take(in, 1) & 15);
	p[1].is_write = type == 0 || type == 8;
	put_le64((uint8_t *)vd_ram(&w->v, VD_DATA + 0x1000), fuzz_take(in, 1));
	put_le64((uint8_t *)vd_ram(&w->v, VD_DATA + 0x1008), fuzz_take(in, 1));
	if (!w->v.q[0].size)
		return;
	vd_add(&w->v, 0, p, 3, false);
	vd_notify(&w->v, 0);
	iothread_run(&w->v.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct disk *disk, *readonly;
	static struct fuzz_virtio w;
	static struct world b;
	struct fuzz_input in = { data, n };
	struct virtio_blk_config cfg = { .serial = "fuzz", .nr_queues = 2, .packed = true };

	if (!disk) {
		struct disk_open_opts opts = { .flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
					       .format = "raw" };
		int fd = memfd_create("disk", MFD_CLOEXEC);

		fuzz_must(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
		fuzz_must(disk_open_fd(dup(fd), "disk", &opts, &disk, NULL) == 0);
		opts.flags = DISK_NO_LOCK;
		fuzz_must(disk_open_fd(fd, "disk", &opts, &readonly, NULL) == 0);
		fuzz_must(disk_async_start(disk, 1, NULL) == 0);
		fuzz_must(disk_async_start(readonly, 1, NULL) == 0);
	}
	fuzz_virtio_init(&w);
	b.disk = cfg.disk = fuzz_take(&in, 1) & 1 ? readonly : disk;
	virtio_blk_init(&b.blk, &cfg, &w.v.b.memory.phys, &w.v.io);
	w.dev = &b.blk.dev;
	w.event = event;
	w.request = request;
	w.settle = settle;
	w.arg = &b;
	fuzz_virtio_run(&w, &in);
	virtio_blk_done(&b.blk);
	fuzz_virtio_done(&w);
	return 0;
}
