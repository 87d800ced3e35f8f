/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block device over a raw image, by a driver in virtio_driver.h. The disk's workers are threads: the test waits
 * until the disk says that it is done, and lets the device answer. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "disk/disk.h"
#include "virtio_driver.h"
#include "vm/virtio/blk.h"
#include "vm/virtio/pci.h"

/* clang-format off */
enum {
	SECTORS = 8192,
	T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZEROES = 13,
	HEADER = VD_DATA, STATUS = VD_DATA + 0x100, BUF = VD_DATA + 0x1000,
};
/* clang-format on */

struct fixture {
	struct vd v;
	struct virtio_blk blk;
	struct virtio_pci pci;
	struct disk *disk;
	char path[64];
	struct disk_observer observer;
	_Atomic unsigned int nr_syncs;
	_Atomic int fail;
	_Atomic bool is_held; /* the disk does not come to an end with what it writes */
};

static int observe(struct disk_observer *o, enum disk_event event, const char *path, uint64_t off,
		   uint64_t len, const struct iovec *iov, unsigned nr_iov)
{
	struct fixture *f = container_of(o, struct fixture, observer);

	while (event == DISK_EVENT_WRITE && f->is_held)
		sched_yield();
	f->nr_syncs += event == DISK_EVENT_SYNC;
	return event == DISK_EVENT_WRITE ? f->fail : 0;
}

static int make(void **state, unsigned int flags)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct disk_open_opts opts = { .flags = flags, .format = "raw" };
	struct virtio_blk_config cfg = { .serial = "a-serial-number-of-23-b",
					 .nr_queues = 2,
					 .packed = true };
	int fd, r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0)
		return -1;
	snprintf(f->path, sizeof(f->path), "/tmp/test-virtio-blk-XXXXXX");
	fd = mkstemp(f->path);
	r = fd < 0 ? -1 : ftruncate(fd, SECTORS * 512);
	for (unsigned int k = 0; r == 0 && k < SECTORS; k++)
		if (pwrite(fd, &k, sizeof(k), 512L * k) != sizeof(k))
			r = -1;
	close(fd);
	f->observer.event = observe;
	opts.observer = &f->observer;
	if (r == 0)
		r = disk_open(f->path, &opts, &f->disk, NULL);
	if (r == 0)
		r = disk_async_start(f->disk, 2, NULL);
	cfg.disk = f->disk;
	if (r < 0)
		return r;
	virtio_blk_init(&f->blk, &cfg, &f->v.b.memory.phys, &f->v.io);
	r = virtio_pci_init(&f->pci, &f->blk.dev, &f->v.b.board, &f->v.pci, VD_DEVFN, 0x010000,
			    NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int setup(void **state)
{
	return make(state, DISK_RDWR | DISK_UNMAP);
}

static int setup_readonly(void **state)
{
	return make(state, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	disk_drain(f->disk);
	vd_run(&f->v);
	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_blk_done(&f->blk);
	disk_close(f->disk, NULL);
	unlink(f->path);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

static void settle(struct fixture *f)
{
	vd_run(&f->v);
	disk_drain(f->disk);
	vd_run(&f->v);
}

/* One request on queue @n with @nr data pieces; returns the status byte, 0xff without an answer. */
static uint8_t request_on(struct fixture *f, unsigned int n, uint32_t type, uint64_t sector,
			  const struct vd_piece *data, unsigned int nr, uint32_t *ret_len)
{
	struct vd_piece p[8] = { { HEADER, 16, false } };
	uint8_t *h = vd_ram(&f->v, HEADER), *s = vd_ram(&f->v, STATUS);
	uint16_t id, got;
	uint32_t len;

	put_le32(h, type);
	put_le32(h + 4, 0);
	put_le64(h + 8, sector);
	*s = 0xff;
	for (unsigned int k = 0; k < nr; k++)
		p[1 + k] = data[k];
	p[1 + nr] = (struct vd_piece){ STATUS, 1, true };
	id = vd_add(&f->v, n, p, nr + 2, false);
	vd_notify(&f->v, n);
	settle(f);
	if (!vd_used(&f->v, n, &got, &len) || got != id)
		return 0xff;
	if (ret_len)
		*ret_len = len;
	return *s;
}

static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vd_piece p = { BUF, len, type == T_IN || type == T_GET_ID };

	return request_on(f, 0, type, sector, &p, len ? 1 : 0, NULL);
}

static uint32_t on_file(struct fixture *f, uint64_t sector)
{
	uint32_t v = 0;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &v, sizeof(v), (off_t)sector * 512), sizeof(v));
	close(fd);
	return v;
}

static bool is_used(struct fixture *f)
{
	uint16_t id;
	uint32_t len;

	return vd_used(&f->v, 0, &id, &len);
}

static void start(struct fixture *f, uint64_t features)
{
	assert_true(vd_start(&f->v, features, 2, 64));
}

/* While the I/O thread sleeps, the thread that notifies does the work itself, but not much of it. */
static void test_at_once(void **state)
{
	struct fixture *f = *state;
	struct vd_piece p[] = { { HEADER, 16, false }, { BUF, 20, true }, { STATUS, 1, true } };
	struct vd *v = &f->v;
	unsigned int n = 0;
	uint32_t len;
	uint16_t id;

	start(f, 0);
	put_le32(vd_ram(v, HEADER), T_GET_ID);
	assert_int_equal(iothread_start(&v->io, NULL), 0);
	for (unsigned int round = 0; round < 2; round++) {
		uint64_t wakes;

		while (!atomic_load(&v->io.is_asleep))
			sched_yield();
		wakes = atomic_load(&v->io.nr_wakes);
		for (unsigned int k = 0; k < (round ? 20 : 1); k++)
			vd_add(v, 0, p, 3, false);
		vd_notify(v, 0);
		/* One is answered when the write of the register is done; of twenty the rest are the thread's. */
		assert_int_equal(atomic_load(&v->io.nr_wakes) - wakes, round);
		while (round && n < 20) {
			n += vd_used(v, 0, &id, &len);
			sched_yield();
		}
		assert_int_equal(vd_used(v, 0, &id, &len), !round);
	}
	iothread_stop(&v->io);
}

/* A request whose device stops to be a bus master while the disk is at work: nothing says that it is done until the device
 * is one again. */
static void test_master(void **state)
{
	struct fixture *f = *state;
	struct vd_piece p[] = { { HEADER, 16, false }, { BUF, 512, false }, { STATUS, 1, true } };
	struct vd *v = &f->v;
	uint8_t *status = vd_ram(v, STATUS), *h = vd_ram(v, HEADER);
	struct err err;
	unsigned int irqs;
	void *before;

	start(f, 0);
	irqs = v->nr_queue_msi[0];
	put_le32(h, T_OUT);
	put_le64(h + 8, 77);
	put_le32(vd_ram(v, BUF), 0x12345678);
	*status = 0xff;
	vd_add(v, 0, p, 3, false);
	f->is_held = true;
	vd_kick(v, 0);
	vd_set_master(v, false);
	f->is_held = false;
	before = vd_picture(v);
	assert_non_null(before);
	settle(f);
	assert_int_equal(on_file(f, 77), 0x12345678);
	assert_int_equal(virtio_settle(&f->blk.dev, &err), -EBUSY);
	assert_non_null(strstr(err.text, "bus master"));
	assert_true(vd_is_as_in(v, before));
	assert_int_equal(v->nr_queue_msi[0], irqs);
	vd_set_master(v, true);
	vd_run(v);
	assert_true(is_used(f));
	assert_int_equal(*status, 0);
	assert_int_equal(v->nr_queue_msi[0], irqs + 1);
	assert_int_equal(virtio_settle(&f->blk.dev, NULL), 0);
	/* One that is made without it. */
	vd_set_master(v, false);
	assert_int_equal(request(f, T_IN, 78, 512), 0xff);
	assert_int_equal(get_le32(vd_ram(v, BUF)), 0x12345678);
	vd_set_master(v, true);
	settle(f);
	assert_int_equal(*status, 0);
	assert_int_equal(get_le32(vd_ram(v, BUF)), 78);
	assert_true(is_used(f));
	/* A reset with one at the disk: its end is told to nobody. */
	put_le32(h, T_OUT);
	vd_add(v, 0, p, 3, false);
	f->is_held = true;
	vd_kick(v, 0);
	vd_set_master(v, false);
	vd_set_status(v, 0);
	memcpy(before, vd_ram(v, VD_RINGS), VD_PICTURE);
	f->is_held = false;
	settle(f);
	assert_int_equal(vd_status(v), 0);
	assert_true(vd_is_as_in(v, before));
	free(before);
}

static void test_rw(void **state)
{
	static const uint64_t kinds[] = { UINT64_C(0xffffffff),
					  UINT64_C(0xffffffff) | VD_F_PACKED };
	struct fixture *f = *state;
	struct vd *v = &f->v;
	uint32_t len;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct vd_piece p[2] = { { BUF, 512, true }, { BUF + 0x1000, 1024, true } };

		start(f, kinds[k]);
		assert_int_equal(vd_in(v, v->config, 8), SECTORS);
		assert_int_equal(vd_in(v, v->config + 34, 2), 2);
		assert_int_equal(request_on(f, k % 2, T_IN, 100, p, 2, &len), 0);
		assert_int_equal(len, 1537);
		assert_int_equal(get_le32((uint8_t *)vd_ram(v, BUF)), 100);
		assert_int_equal(get_le32((uint8_t *)vd_ram(v, BUF + 0x1000)), 101);
		assert_int_equal(get_le32((uint8_t *)vd_ram(v, BUF + 0x1200)), 102);
		put_le32((uint8_t *)vd_ram(v, BUF), 0xabcd0000 + (uint32_t)k);
		assert_int_equal(request(f, T_OUT, 200 + k, 512), 0);
		assert_int_equal(on_file(f, 200 + k), 0xabcd0000 + (uint32_t)k);
		assert_int_equal(on_file(f, 201 + k), 201 + k);
		/* The last sector, and beyond. */
		assert_int_equal(request(f, T_IN, SECTORS - 1, 512), 0);
		assert_int_equal(request(f, T_IN, SECTORS - 1, 1024), 1);
		assert_int_equal(request(f, T_IN, SECTORS, 512), 1);
		assert_int_equal(request(f, T_IN, UINT64_MAX / 512 + 1, 512), 1);
		assert_int_equal(request(f, T_OUT, UINT64_MAX, 512), 1);
		assert_int_equal(request(f, T_IN, 0, 100), 1);
		assert_int_equal(request(f, 77, 0, 512), 2);
		assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, 0);
	}
}

static void test_flush_cache(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	unsigned int syncs;

	start(f, UINT64_C(0xffffffff));
	syncs = f->nr_syncs;
	assert_int_equal(request(f, T_OUT, 1, 512), 0);
	assert_int_equal(f->nr_syncs, syncs);
	assert_int_equal(request(f, T_FLUSH, 0, 0), 0);
	assert_true(f->nr_syncs > syncs);
	/* The cache switched off: each write is on the medium. */
	vd_out(v, v->config + 32, 1, 0);
	assert_int_equal(vd_in(v, v->config + 32, 1), 0);
	syncs = f->nr_syncs;
	assert_int_equal(request(f, T_OUT, 1, 512), 0);
	assert_true(f->nr_syncs > syncs);
	/* Nothing else in there can be written. */
	vd_out(v, v->config, 8, 1);
	assert_int_equal(vd_in(v, v->config, 8), SECTORS);
	/* A driver that cannot flush. */
	start(f, UINT64_C(0xffffffff) & ~UINT64_C(0xa00));
	syncs = f->nr_syncs;
	assert_int_equal(request(f, T_OUT, 1, 512), 0);
	assert_true(f->nr_syncs > syncs);
}

static void test_discard(void **state)
{
	struct fixture *f = *state;
	uint8_t *s = vd_ram(&f->v, BUF);

	start(f, UINT64_C(0xffffffff));
	put_le64(s, 16);
	put_le32(s + 8, 16);
	put_le32(s + 12, 0);
	assert_int_equal(request(f, T_DISCARD, 0, 16), 0);
	assert_int_equal(on_file(f, 15), 15);
	assert_int_equal(on_file(f, 32), 32);
	put_le64(s, 41);
	put_le32(s + 8, 3);
	assert_int_equal(request(f, T_ZEROES, 0, 16), 0);
	assert_int_equal(on_file(f, 40), 40);
	for (unsigned int k = 41; k < 44; k++)
		assert_int_equal(on_file(f, k), 0);
	assert_int_equal(on_file(f, 44), 44);
	put_le32(s + 12, 1);
	assert_int_equal(request(f, T_ZEROES, 0, 16), 0);
	/* A flag that discard does not have, one that nothing has, sizes and places that are wrong. */
	assert_int_equal(request(f, T_DISCARD, 0, 16), 2);
	put_le32(s + 12, 2);
	assert_int_equal(request(f, T_ZEROES, 0, 16), 2);
	put_le32(s + 12, 0);
	assert_int_equal(request(f, T_ZEROES, 0, 15), 2);
	assert_int_equal(request(f, T_ZEROES, 0, 32), 2);
	put_le32(s + 8, SECTORS);
	assert_int_equal(request(f, T_ZEROES, 0, 16), 1);
	put_le32(s + 8, UINT32_MAX);
	assert_int_equal(request(f, T_ZEROES, 0, 16), 1);
	put_le32(s + 8, 1);
	put_le64(s, UINT64_MAX);
	assert_int_equal(request(f, T_ZEROES, 0, 16), 1);
	assert_int_equal(on_file(f, 100), 100);
	/* Not negotiated. */
	start(f, 0x200);
	put_le64(s, 16);
	assert_int_equal(request(f, T_DISCARD, 0, 16), 2);
}

static void test_serial(void **state)
{
	struct fixture *f = *state;
	uint32_t len;
	struct vd_piece p = { BUF, 20, true };

	start(f, 0);
	memset(vd_ram(&f->v, BUF), 0xee, 32);
	assert_int_equal(request_on(f, 0, T_GET_ID, 0, &p, 1, &len), 0);
	assert_memory_equal(vd_ram(&f->v, BUF), "a-serial-number-of-2", 20);
	assert_int_equal(len, 21);
	p.len = 4;
	assert_int_equal(request_on(f, 0, T_GET_ID, 0, &p, 1, &len), 0);
}

/* The header and the status may be cut anywhere. */
static void test_framing(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p[4] = { { HEADER, 5, false },
				 { HEADER + 5, 11, false },
				 { BUF, 300, true },
				 { BUF + 300, 213, true } };
	uint8_t *h = vd_ram(v, HEADER);

	start(f, VD_F_INDIRECT);
	put_le64(h, 0);
	put_le64(h + 8, 7);
	*(uint8_t *)vd_ram(v, BUF + 512) = 0xff;
	vd_add(v, 0, p, 4, true);
	vd_notify(v, 0);
	settle(f);
	assert_int_equal(get_le32((uint8_t *)vd_ram(v, BUF)), 7);
	assert_int_equal(*(uint8_t *)vd_ram(v, BUF + 512), 0);
	/* Without a status, and without a whole header: answered, once. */
	start(f, 0);
	assert_int_equal(vd_do(v, 0, p, 1), 0);
	assert_int_equal(vd_do(v, 0, p, 2), 0);
	assert_int_equal(vd_do(v, 0, p + 2, 1), 0);
	assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, 0);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;

	start(f, UINT64_C(0xffffffff));
	f->fail = -ENOSPC;
	assert_int_equal(request(f, T_OUT, 3, 512), 1);
	f->fail = 0;
	assert_int_equal(request(f, T_OUT, 3, 512), 0);
	assert_int_equal(f->blk.nr_errors, 1);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;

	start(f, UINT64_C(0xffffffff));
	assert_true(vd_offered(&f->v) & 1 << 5);
	assert_int_equal(request(f, T_IN, 3, 512), 0);
	assert_int_equal(request(f, T_OUT, 3, 512), 1);
	assert_int_equal(on_file(f, 3), 3);
}

/* A reset with requests in flight: it is done when they are, and nothing is completed after it. */
static void test_reset(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p[3] = { { HEADER, 16, false },
				 { BUF, 0x10000, true },
				 { STATUS, 1, true } };
	uint16_t id;
	uint32_t len;

	for (unsigned int round = 0; round < 20; round++) {
		start(f, 0);
		memset(vd_ram(v, HEADER), 0, 16);
		for (unsigned int k = 0; k < 16; k++)
			vd_add(v, round % 2, p, 3, false);
		vd_notify(v, round % 2);
		iothread_run(&v->io);
		vd_set_status(v, 0);
		/* Whatever was answered was answered before; the rest never is. */
		while (vd_used(v, round % 2, &id, &len))
			;
		while (vd_status(v))
			settle(f);
		assert_false(vd_used(v, round % 2, &id, &len));
		settle(f);
		assert_false(vd_used(v, round % 2, &id, &len));
	}
}

static void test_resize(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	unsigned int irqs;
	uint8_t generation;

	start(f, UINT64_C(0xffffffff));
	irqs = v->nr_queue_msi[2];
	generation = (uint8_t)vd_in(v, v->common + 21, 1);
	assert_int_equal(disk_resize(f->disk, 2 * SECTORS * 512, false, NULL), 0);
	virtio_blk_resized(&f->blk);
	assert_int_equal(vd_in(v, v->config, 8), 2 * SECTORS);
	assert_int_equal(v->nr_queue_msi[2], irqs + 1);
	assert_int_not_equal(vd_in(v, v->common + 21, 1), generation);
	assert_int_equal(request(f, T_IN, SECTORS, 512), 0);
}

/* More requests than the device has room for. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p[3] = { { HEADER, 16, false }, { BUF, 512, true }, { STATUS, 1, true } };
	unsigned int n = 0;
	uint16_t id;
	uint32_t len;

	assert_true(vd_start(v, VD_F_INDIRECT | VD_F_EVENT_IDX, 2, 256));
	memset(vd_ram(v, HEADER), 0, 16);
	for (unsigned int k = 0; k < 256; k++) {
		vd_add(v, 0, p, 3, true);
		vd_add(v, 1, p, 3, true);
	}
	vd_notify(v, 0);
	vd_notify(v, 1);
	for (unsigned int k = 0; k < 10; k++)
		settle(f);
	while (vd_used(v, 0, &id, &len) || vd_used(v, 1, &id, &len))
		n++;
	assert_int_equal(n, 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rw, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flush_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_serial, setup, teardown),
		cmocka_unit_test_setup_teardown(test_framing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup_readonly, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resize, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio-blk", tests, NULL, NULL);
}
