/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket device by a driver in virtio_driver.h: connections of both sides, credit, ends, and packets that make no
 * sense. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio_driver.h"
#include "vm/virtio/pci.h"
#include "vm/virtio/vsock.h"

/* clang-format off */
enum {
	RX, TX, EVENT, NR, CID = 42, HEADER = 44, RX_ROOM = 4096,
	REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST,
	OUT = VD_DATA, IN = VD_DATA + 0x20000,
};
/* clang-format on */

struct fixture {
	struct vd v;
	struct virtio_vsock s;
	struct virtio_pci pci;
	char path[64];
	int listener; /* of the host's program, at PATH_7 */
	unsigned int nr_rx;
};

struct packet {
	uint16_t op;
	uint32_t guest_port, host_port, len, flags, alloc, fwd;
	const uint8_t *data;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct virtio_vsock_config cfg = { .cid = CID, .listen_fd = -1 };
	int r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0)
		return -1;
	snprintf(f->path, sizeof(f->path), "/tmp/test-vsock-%d", (int)getpid());
	snprintf(a.sun_path, sizeof(a.sun_path), "%s_7", f->path);
	unlink(a.sun_path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(f->listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(f->listener, 100) < 0)
		return -1;
	cfg.path = f->path;
	r = virtio_vsock_init(&f->s, &cfg, &f->v.b.memory.phys, &f->v.io, NULL);
	if (r == 0)
		r = virtio_pci_init(&f->pci, &f->s.dev, &f->v.b.board, &f->v.pci, VD_DEVFN,
				    0x028000, NULL);
	return r < 0 || !vd_probe(&f->v) || !vd_start(&f->v, 0, NR, 64) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[80];

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_vsock_done(&f->s);
	vd_bench_done(&f->v);
	close(f->listener);
	snprintf(path, sizeof(path), "%s_7", f->path);
	unlink(path);
	free(f);
	return 0;
}

/* Gives the device a buffer, and tells what comes in it. Returns whether anything does. */
static bool hear(struct fixture *f, struct packet *ret)
{
	struct vd_piece p = { IN, RX_ROOM, true };
	const uint8_t *h = vd_ram(&f->v, IN);
	uint32_t len;
	uint16_t id;

	if (f->nr_rx == 0) {
		vd_add(&f->v, RX, &p, 1, false);
		f->nr_rx++;
	}
	vd_kick(&f->v, RX);
	if (!vd_used(&f->v, RX, &id, &len))
		return false;
	f->nr_rx--;
	assert_true(len >= HEADER);
	assert_int_equal(get_le64(h), 2);
	assert_int_equal(get_le64(h + 8), CID);
	assert_int_equal(get_le16(h + 28), 1);
	*ret = (struct packet){ .op = get_le16(h + 30),
				.host_port = get_le32(h + 16),
				.guest_port = get_le32(h + 20),
				.len = get_le32(h + 24),
				.flags = get_le32(h + 32),
				.alloc = get_le32(h + 36),
				.fwd = get_le32(h + 40),
				.data = h + HEADER };
	assert_int_equal(len, HEADER + ret->len);
	return true;
}

static struct packet expect(struct fixture *f, uint16_t op)
{
	struct packet p = { 0 };

	assert_true(hear(f, &p));
	assert_int_equal(p.op, op);
	return p;
}

static void silence(struct fixture *f)
{
	struct packet p;

	assert_false(hear(f, &p));
}

#define NO_ROOM UINT32_MAX

/* @p: len: of the data at @data, which may be NULL; alloc, fwd: the guest's. What is 0 is the usual. */
static void say(struct fixture *f, struct packet p)
{
	struct vd_piece piece = { OUT, HEADER + p.len, false };
	uint8_t *h = vd_ram(&f->v, OUT);

	memset(h, 0, HEADER);
	put_le64(h, CID);
	put_le64(h + 8, 2);
	put_le32(h + 16, p.guest_port ? p.guest_port : 1000);
	put_le32(h + 20, p.host_port ? p.host_port : 7);
	put_le32(h + 24, p.len);
	put_le16(h + 28, 1);
	put_le16(h + 30, p.op);
	put_le32(h + 32, p.flags);
	put_le32(h + 36, p.alloc == NO_ROOM ? 0 : p.alloc ? p.alloc : 100000);
	put_le32(h + 40, p.fwd);
	if (p.data)
		memcpy(h + HEADER, p.data, p.len);
	assert_int_equal(vd_do(&f->v, TX, &piece, 1), 0);
}

#define SAY(f, o, ...) say((f), (struct packet){ .op = (o), ##__VA_ARGS__ })

/* The guest has connected; the host's program's end. */
static int connected(struct fixture *f, uint32_t guest_port)
{
	int fd;

	say(f, (struct packet){
		       .op = REQUEST, .guest_port = guest_port, .host_port = 7, .alloc = 100000 });
	expect(f, RESPONSE);
	fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

static int adopted(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	if (!vsock_adopt(&f->s, fds[0])) {
		close(fds[1]);
		return -1;
	}
	return fds[1];
}

static void write_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void read_text(int fd, const char *text)
{
	char buf[64] = "";

	assert_int_equal(read(fd, buf, sizeof(buf)), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void test_guest_connects(void **state)
{
	struct fixture *f = *state;
	int fd = connected(f, 1000);
	struct packet p;
	char c;

	SAY(f, RW, .len = 5, .data = (const uint8_t *)"hello");
	read_text(fd, "hello");
	write_text(fd, "answer");
	p = expect(f, RW);
	assert_int_equal(p.len, 6);
	assert_memory_equal(p.data, "answer", 6);
	assert_int_equal(p.fwd, 5);
	assert_int_equal(p.alloc, VSOCK_BUFFER);
	SAY(f, CREDIT_REQUEST);
	expect(f, CREDIT_UPDATE);
	/* The guest says no more; then it hears no more either. */
	SAY(f, SHUTDOWN, .flags = 2);
	assert_int_equal(read(fd, &c, 1), 0);
	write_text(fd, "more");
	assert_int_equal(expect(f, RW).len, 4);
	SAY(f, SHUTDOWN, .flags = 1);
	expect(f, RST);
	close(fd);
	silence(f);
	/* Nobody is there. */
	say(f, (struct packet){ .op = REQUEST, .guest_port = 1000, .host_port = 8 });
	p = expect(f, RST);
	assert_int_equal(p.guest_port, 1000);
	assert_int_equal(p.host_port, 8);
}

static void test_host_connects(void **state)
{
	struct fixture *f = *state;
	int fd = adopted(f);
	struct packet p;
	char text[32];

	write_text(fd, "CONNECT 10");
	silence(f);
	write_text(fd, "00\nearly");
	p = expect(f, REQUEST);
	assert_int_equal(p.guest_port, 1000);
	silence(f);
	SAY(f, RESPONSE, .host_port = p.host_port);
	snprintf(text, sizeof(text), "OK %u\n", p.host_port);
	read_text(fd, text);
	assert_int_equal(expect(f, RW).len, 5);
	/* All that it said is heard, also when it has gone. */
	write_text(fd, "last words");
	close(fd);
	assert_int_equal(expect(f, RW).len, 10);
	assert_int_equal(expect(f, SHUTDOWN).flags, 2);
	expect(f, RST);
	silence(f);
	/* The guest refuses. */
	fd = adopted(f);
	write_text(fd, "CONNECT 1001\n");
	p = expect(f, REQUEST);
	say(f, (struct packet){ .op = RST, .guest_port = 1001, .host_port = p.host_port });
	assert_int_equal(read(fd, text, 1), 0);
	close(fd);
}

static void test_lines(void **state)
{
	static const char *const bad[] = { "\n",
					   "CONNECT\n",
					   "CONNECT x\n",
					   "CONNECT 4294967296\n",
					   "connect 1\n",
					   "CONNECT 1 2\n",
					   "CONNECT 00000000000000000001\n" };
	struct fixture *f = *state;
	ssize_t n;
	char c;

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		int fd = adopted(f);

		write_text(fd, bad[k]);
		silence(f);
		n = read(fd, &c, 1);
		assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
		close(fd);
	}
}

/* Neither side's haste becomes memory. */
static void test_credit(void **state)
{
	struct fixture *f = *state;
	int fd = connected(f, 1000);
	static uint8_t data[VSOCK_BUFFER];
	uint32_t heard = 0;
	struct packet p;
	size_t taken = 0;
	ssize_t n;

	/* 1000 bytes of room: not one more comes. */
	SAY(f, CREDIT_UPDATE, .alloc = 1000, .fwd = 0);
	assert_true(write(fd, data, sizeof(data)) > 2000);
	while (hear(f, &p))
		heard += p.len;
	assert_int_equal(heard, 1000);
	SAY(f, CREDIT_UPDATE, .alloc = 1000, .fwd = 600);
	while (hear(f, &p))
		heard += p.len;
	assert_int_equal(heard, 1600);
	/* A window that has moved backwards, or was never so large, is no room. */
	SAY(f, CREDIT_UPDATE, .alloc = 1000, .fwd = 100);
	silence(f);
	SAY(f, CREDIT_UPDATE, .alloc = NO_ROOM, .fwd = 5000);
	silence(f);
	/* The guest sends what it may, and the host's program takes it late. */
	for (unsigned int k = 0; k < 8; k++)
		SAY(f, RW, .alloc = NO_ROOM, .len = VSOCK_BUFFER / 8, .data = data);
	vd_run(&f->v);
	while ((n = read(fd, data, sizeof(data))) > 0) {
		taken += (size_t)n;
		vd_run(&f->v);
	}
	assert_int_equal(taken, VSOCK_BUFFER);
	p = expect(f, CREDIT_UPDATE);
	assert_true(p.fwd >= VSOCK_BUFFER / 2);
	close(fd);
}

static void test_too_much(void **state)
{
	struct fixture *f = *state;
	int fd = connected(f, 1000), small = 1;
	static uint8_t data[VSOCK_BUFFER];
	struct packet p;
	unsigned int k;

	ignore_result(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	for (k = 0; k < 100; k++) {
		SAY(f, RW, .len = VSOCK_BUFFER / 2, .data = data);
		if (hear(f, &p) && p.op == RST)
			break;
	}
	assert_true(k < 100);
	close(fd);
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	struct packet p;
	int fd[VSOCK_CONNS];

	for (unsigned int k = 0; k < VSOCK_CONNS; k++)
		fd[k] = connected(f, 1000 + k);
	say(f, (struct packet){ .op = REQUEST, .guest_port = 5000, .host_port = 7 });
	p = expect(f, RST);
	assert_int_equal(p.guest_port, 5000);
	assert_int_equal(adopted(f), -1);
	/* Refusals wait, and while they do no packet is taken. */
	for (unsigned int k = 0; k < 200; k++) {
		struct vd_piece piece = { OUT, HEADER, false };

		vd_add(&f->v, TX, &piece, 1, false);
		if (k % 32 == 31)
			vd_kick(&f->v, TX);
		if (k == 50)
			break;
	}
	/* A reset closes all. */
	assert_true(vd_start(&f->v, 0, NR, 64));
	f->nr_rx = 0;
	for (unsigned int k = 0; k < VSOCK_CONNS; k++) {
		char c;

		assert_int_equal(read(fd[k], &c, 1), 0);
		close(fd[k]);
	}
	while (accept4(f->listener, NULL, NULL, 0) >= 0)
		;
	close(connected(f, 1));
}

static void test_refusals_wait(void **state)
{
	struct fixture *f = *state;
	struct vd_piece piece = { OUT, HEADER, false };
	unsigned int n = 0;
	struct packet p;
	uint32_t len;
	uint16_t id;

	/* No buffers for answers. */
	SAY(f, RW);
	for (unsigned int k = 0; k < VSOCK_RESETS + 20; k++) {
		vd_add(&f->v, TX, &piece, 1, false);
		vd_kick(&f->v, TX);
		if (k < 40)
			assert_true(vd_used(&f->v, TX, &id, &len));
		else if (vd_used(&f->v, TX, &id, &len))
			n++;
		if (k > 62)
			break;
	}
	assert_true(f->s.nr_resets <= VSOCK_RESETS);
	n = 0;
	while (hear(f, &p)) {
		assert_int_equal(p.op, RST);
		n++;
	}
	assert_true(n >= 64);
}

static void test_nonsense(void **state)
{
	struct fixture *f = *state;
	struct vd_piece p = { OUT, HEADER, false };
	uint8_t *h = vd_ram(&f->v, OUT);
	int fd = connected(f, 1000);
	char c;

	/* In another's name; to another; another type; unknown; longer than its chain; shorter than a header. */
	SAY(f, CREDIT_UPDATE);
	put_le64(h, CID + 1);
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	silence(f);
	put_le64(h, CID);
	put_le64(h + 8, 3);
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	expect(f, RST);
	put_le64(h + 8, 2);
	put_le16(h + 28, 2);
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	expect(f, RST);
	put_le16(h + 28, 1);
	put_le32(h + 24, 1);
	put_le16(h + 30, RW);
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	put_le32(h + 24, UINT32_MAX);
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	p.len = HEADER - 1;
	assert_int_equal(vd_do(&f->v, TX, &p, 1), 0);
	silence(f);
	assert_int_equal(read(fd, &c, 1), -1);
	SAY(f, 99);
	expect(f, RST);
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	/* A second request for the same, and an answer that nobody waits for. */
	fd = connected(f, 1000);
	SAY(f, REQUEST);
	expect(f, RST);
	close(fd);
	fd = connected(f, 1000);
	SAY(f, RESPONSE);
	expect(f, RST);
	close(fd);
	SAY(f, RST);
	silence(f);
	/* A buffer that has no room for a header. */
	p = (struct vd_piece){ IN, HEADER, true };
	vd_add(&f->v, RX, &p, 1, false);
	SAY(f, RW);
	expect(f, RST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_guest_connects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_connects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio vsock", tests, NULL, NULL);
}
