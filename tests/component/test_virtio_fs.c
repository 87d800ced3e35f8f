/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file system device by a driver in virtio_driver.h, and a server that the test itself is. */
#include "unit.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio_driver.h"
#include "vm/virtio/fs.h"
#include "vm/virtio/pci.h"

enum { HIPRIO, REQUEST, NR, HEADER = 40, ANSWER = 16, IN = VD_DATA, OUT = VD_DATA + 0x100000 };

struct fixture {
	struct vd v;
	struct virtio_fs fs;
	struct virtio_pci pci;
	int server;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_fs_config cfg = { .tag = "a-tag" };
	int fds[2], r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	cfg.fd = fds[0];
	f->server = fds[1];
	r = virtio_fs_init(&f->fs, &cfg, &f->v.b.memory.phys, &f->v.io, NULL);
	if (r == 0)
		r = virtio_pci_init(&f->pci, &f->fs.dev, &f->v.b.board, &f->v.pci, VD_DEVFN,
				    0x018000, NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_fs_done(&f->fs);
	vd_bench_done(&f->v);
	close(f->server);
	free(f);
	return 0;
}

/* A message of @len bytes with the guest's number, and room for an answer. Returns its id. */
static uint16_t ask(struct fixture *f, unsigned int q, uint32_t opcode, uint32_t len, uint32_t says,
		    uint32_t room)
{
	struct vd_piece p[] = { { IN, HEADER, false },
				{ IN + HEADER, len - HEADER, false },
				{ OUT, MIN(room, 16u), true },
				{ OUT + 16, room - MIN(room, 16u), true } };
	unsigned int first = len > HEADER ? 0 : 1;
	uint8_t *m = vd_ram(&f->v, IN);
	uint16_t id;

	put_le32(m, says);
	put_le32(m + 4, opcode);
	put_le64(m + 8, UINT64_C(0xfeed000000000001));
	p[1].gpa = first ? IN : p[1].gpa;
	p[1].len = first ? len : p[1].len;
	id = vd_add(&f->v, q, p + first, (room ? room > 16 ? 4 : 3 : 2) - first, false);
	vd_kick(&f->v, q);
	return id;
}

/* What the server got. */
static size_t heard(struct fixture *f, uint8_t *buf, size_t n)
{
	ssize_t got = recv(f->server, buf, n, MSG_DONTWAIT);

	return got < 0 ? 0 : (size_t)got;
}

static void say(struct fixture *f, const void *p, size_t n)
{
	assert_int_equal(send(f->server, p, n, MSG_DONTWAIT), n);
	vd_run(&f->v);
}

static void reply(struct fixture *f, const uint8_t *message, uint32_t len, int32_t error)
{
	uint8_t a[ANSWER + 256];

	memset(a, 0x42, sizeof(a));
	put_le32(a, len);
	put_le32(a + 4, (uint32_t)error);
	memcpy(a + 8, message + 8, 8);
	say(f, a, len);
}

/* One answer came, with this error and length. */
static void answered(struct fixture *f, unsigned int q, int32_t error, uint32_t len)
{
	const uint8_t *a = vd_ram(&f->v, OUT);
	uint32_t written;
	uint16_t id;

	assert_true(vd_used(&f->v, q, &id, &written));
	assert_int_equal(written, len);
	if (!len)
		return;
	assert_int_equal(get_le32(a), len);
	assert_int_equal((int32_t)get_le32(a + 4), error);
	assert_true(get_le64(a + 8) == UINT64_C(0xfeed000000000001));
}

static void nothing(struct fixture *f, unsigned int q)
{
	uint32_t written;
	uint16_t id;

	assert_false(vd_used(&f->v, q, &id, &written));
}

static void test_messages(void **state)
{
	struct fixture *f = *state;
	uint8_t m[256];

	assert_memory_equal(f->fs.dev.config, "a-tag\0", 6);
	assert_true(vd_start(&f->v, 0, NR, 64));
	memcpy(vd_ram(&f->v, IN + HEADER), "name", 5);
	ask(f, REQUEST, FUSE_LOOKUP, HEADER + 5, HEADER + 5, 16 + 128);
	assert_int_equal(heard(f, m, sizeof(m)), HEADER + 5);
	assert_string_equal((char *)m + HEADER, "name");
	assert_true(get_le64(m + 8) != UINT64_C(0xfeed000000000001));
	nothing(f, REQUEST);
	reply(f, m, ANSWER + 100, 0);
	answered(f, REQUEST, 0, ANSWER + 100);
	assert_int_equal(*(uint8_t *)vd_ram(&f->v, OUT + ANSWER + 99), 0x42);
	/* In pieces. */
	ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 16);
	assert_int_equal(heard(f, m, sizeof(m)), HEADER);
	put_le32(m, ANSWER + 16);
	put_le32(m + 4, 0);
	for (unsigned int k = 0; k < ANSWER + 16; k++)
		say(f, m + k, 1);
	answered(f, REQUEST, 0, ANSWER + 16);
	/* Without answers. */
	ask(f, HIPRIO, FUSE_FORGET, HEADER + 8, HEADER + 8, 0);
	assert_int_equal(heard(f, m, sizeof(m)), HEADER + 8);
	answered(f, HIPRIO, 0, 0);
	ask(f, HIPRIO, FUSE_INTERRUPT, HEADER + 8, HEADER + 8, 16);
	assert_int_equal(heard(f, m, sizeof(m)), 0);
	answered(f, HIPRIO, 0, 0);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t m[256];

	assert_true(vd_start(&f->v, 0, NR, 64));
	ask(f, REQUEST, FUSE_LOOKUP, HEADER, HEADER + 1, 16);
	answered(f, REQUEST, -EINVAL, ANSWER);
	ask(f, REQUEST, FUSE_LOOKUP, HEADER, 0, 16);
	answered(f, REQUEST, -EINVAL, ANSWER);
	ask(f, REQUEST, FUSE_LOOKUP, HEADER, UINT32_MAX, 16);
	answered(f, REQUEST, -EINVAL, ANSWER);
	ask(f, REQUEST, FUSE_LOOKUP, HEADER - 1, HEADER - 1, 16);
	answered(f, REQUEST, -EINVAL, ANSWER);
	ask(f, REQUEST, FUSE_LOOKUP, VIRTIO_FS_MESSAGE + 1, VIRTIO_FS_MESSAGE + 1, 16);
	answered(f, REQUEST, -EINVAL, ANSWER);
	/* No room for an answer. */
	ask(f, REQUEST, FUSE_LOOKUP, HEADER, HEADER, 15);
	answered(f, REQUEST, 0, 0);
	assert_int_equal(heard(f, m, sizeof(m)), 0);
	/* Less room than the answer has. */
	ask(f, REQUEST, FUSE_LOOKUP, HEADER, HEADER, 16 + 10);
	assert_int_equal(heard(f, m, sizeof(m)), HEADER);
	reply(f, m, ANSWER + 11, 0);
	answered(f, REQUEST, -EIO, ANSWER);
	ask(f, REQUEST, FUSE_LOOKUP, HEADER, HEADER, 16 + 11);
	assert_int_equal(heard(f, m, sizeof(m)), HEADER);
	reply(f, m, ANSWER + 11, 0);
	answered(f, REQUEST, 0, ANSWER + 11);
}

/* More messages than can be under way, and more bytes than the socket takes. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	static uint8_t m[1 << 20];
	size_t n = 0, got;
	unsigned int done = 0;

	assert_true(vd_start(&f->v, 0, NR, 256));
	for (unsigned int k = 0; k < 60; k++)
		ask(f, REQUEST, FUSE_WRITE, 30000, 30000, 16);
	for (unsigned int idle = 0; done < 60 && idle < 1000; idle++) {
		got = heard(f, m + n, sizeof(m) - n);
		n += got;
		vd_run(&f->v);
		while (n >= 30000) {
			assert_int_equal(get_le32(m), 30000);
			reply(f, m, ANSWER, -(int32_t)done);
			memmove(m, m + 30000, n -= 30000);
			answered(f, REQUEST, -(int32_t)done, ANSWER);
			done++;
			idle = 0;
		}
	}
	assert_int_equal(done, 60);
	nothing(f, REQUEST);
}

/* Answers to what was asked before a reset are nobody's. */
static void test_reset(void **state)
{
	struct fixture *f = *state;
	uint8_t m[3][256];

	for (unsigned int k = 0; k < 3; k++) {
		assert_true(vd_start(&f->v, 0, NR, 64));
		memset(vd_ram(&f->v, OUT), 0, 256);
		ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 64);
		assert_int_equal(heard(f, m[k], sizeof(m[k])), HEADER);
		assert_true(!k || get_le64(m[k] + 8) != get_le64(m[k - 1] + 8));
		/* Half of an answer. */
		if (k == 1) {
			put_le32(m[k], ANSWER + 64);
			say(f, m[k], ANSWER + 10);
		}
	}
	memset(vd_ram(&f->v, OUT), 0, 256);
	say(f, m[1], 54);
	reply(f, m[0], ANSWER + 64, 0);
	nothing(f, REQUEST);
	assert_int_equal(*(uint8_t *)vd_ram(&f->v, OUT + ANSWER), 0);
	reply(f, m[2], ANSWER + 64, 0);
	answered(f, REQUEST, 0, ANSWER + 64);
}

static void test_server_ends(void **state)
{
	struct fixture *f = *state;
	uint8_t m[256] = { 0 };

	log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	assert_true(vd_start(&f->v, 0, NR, 64));
	ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 64);
	/* An answer that is shorter than its header. */
	put_le32(m, 15);
	say(f, m, 16);
	answered(f, REQUEST, -ENOTCONN, ANSWER);
	ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 64);
	answered(f, REQUEST, -ENOTCONN, ANSWER);
	ask(f, HIPRIO, FUSE_FORGET, HEADER + 8, HEADER + 8, 0);
	answered(f, HIPRIO, 0, 0);
	assert_true(vd_start(&f->v, 0, NR, 64));
	ask(f, REQUEST, FUSE_INIT, HEADER, HEADER, 16 + 64);
	answered(f, REQUEST, -ENOTCONN, ANSWER);
}

static void test_server_is_killed(void **state)
{
	struct fixture *f = *state;

	log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	assert_true(vd_start(&f->v, 0, NR, 64));
	ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 64);
	close(f->server);
	f->server = -1;
	vd_run(&f->v);
	answered(f, REQUEST, -ENOTCONN, ANSWER);
}

/* No bus master: an answer waits in the socket, and so does the news of the server's end. */
static void test_master(void **state)
{
	struct fixture *f = *state;
	uint8_t m[256], a[ANSWER + 16] = { ANSWER + 16 };
	void *before;

	log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	assert_true(vd_start(&f->v, 0, NR, 64));
	ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 16);
	assert_int_equal(heard(f, m, sizeof(m)), HEADER);
	memcpy(a + 8, m + 8, 8);
	memset(a + ANSWER, 0x42, 16);
	vd_set_master(&f->v, false);
	before = vd_picture(&f->v);
	assert_non_null(before);
	say(f, a, sizeof(a));
	assert_true(vd_is_as_in(&f->v, before));
	nothing(f, REQUEST);
	vd_set_master(&f->v, true);
	vd_run(&f->v);
	answered(f, REQUEST, 0, ANSWER + 16);
	assert_int_equal(*(uint8_t *)vd_ram(&f->v, OUT + ANSWER), 0x42);

	ask(f, REQUEST, FUSE_GETATTR, HEADER, HEADER, 16 + 16);
	vd_set_master(&f->v, false);
	memcpy(before, vd_ram(&f->v, VD_RINGS), VD_PICTURE);
	close(f->server);
	f->server = -1;
	vd_run(&f->v);
	assert_true(vd_is_as_in(&f->v, before));
	free(before);
	vd_set_master(&f->v, true);
	vd_run(&f->v);
	answered(f, REQUEST, -ENOTCONN, ANSWER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio fs", tests, NULL, NULL);
}
