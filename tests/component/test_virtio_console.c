/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console device with chardevs in memory, by a driver in virtio_driver.h. */
#include "unit.h"

#include <errno.h>

#include "virtio_driver.h"
#include "vm/virtio/console.h"
#include "vm/virtio/pci.h"

enum { PORT_READY = 3, OPEN = 6, OUT_MAX = 8192 };

struct end {
	struct chardev cd;
	char out[OUT_MAX];
	size_t n, room; /* bytes it has, and takes yet */
	unsigned int nr_again;
	unsigned int nr_opens, nr_closes;
};

struct fixture {
	struct vd v;
	struct virtio_console con;
	struct virtio_pci pci;
	struct end end[3];
};

static ssize_t end_write(struct chardev *cd, const void *buf, size_t n)
{
	struct end *e = container_of(cd, struct end, cd);

	n = MIN(n, e->room);
	if (!n)
		return -EAGAIN;
	memcpy(e->out + e->n, buf, n);
	e->n += n;
	e->room -= n;
	return (ssize_t)n;
}

static void end_again(struct chardev *cd)
{
	container_of(cd, struct end, cd)->nr_again++;
}

static void end_opened(struct chardev *cd, bool is_open)
{
	struct end *e = container_of(cd, struct end, cd);

	e->nr_opens += is_open;
	e->nr_closes += !is_open;
}

/* One that goes by who has the port open. */
static const struct chardev_ops talk_ops = { .write = end_write,
					     .can_receive_again = end_again,
					     .opened = end_opened };
static const struct chardev_ops end_ops = { .write = end_write, .can_receive_again = end_again };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_console_config cfg = { .nr_ports = 3 };
	int r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0)
		return -1;
	for (unsigned int k = 0; k < 3; k++) {
		f->end[k].cd.ops = k == 1 ? &talk_ops : &end_ops;
		f->end[k].room = OUT_MAX;
		cfg.port[k].cd = &f->end[k].cd;
	}
	cfg.port[2].name = "org.test";
	virtio_console_init(&f->con, &cfg, &f->v.b.memory.phys, &f->v.io);
	r = virtio_pci_init(&f->pci, &f->con.dev, &f->v.b.board, &f->v.pci, VD_DEVFN, 0x078000,
			    NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_console_done(&f->con);
	assert_null(f->end[0].cd.receive);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

static size_t type(struct fixture *f, unsigned int port, const char *text)
{
	struct chardev *cd = &f->end[port].cd;
	size_t n = cd->receive(cd->port_arg, (const uint8_t *)text, strlen(text));

	vd_run(&f->v);
	return n;
}

static void say(struct fixture *f, uint32_t port, uint16_t event, uint16_t value)
{
	struct vd_piece p = { VD_DATA + 0x8000, 8, false };
	uint8_t *m = vd_ram(&f->v, p.gpa);

	put_le32(m, port);
	put_le16(m + 4, event);
	put_le16(m + 6, value);
	assert_int_equal(vd_do(&f->v, 3, &p, 1), 0);
}

/* The next control message. */
static void hear_value(struct fixture *f, uint32_t port, uint16_t event, uint16_t value,
		       const char *text)
{
	const uint8_t *m;
	uint32_t len;
	uint16_t id;

	assert_true(vd_used(&f->v, 2, &id, &len));
	m = vd_ram(&f->v, VD_DATA + 0x10000 + 128 * (uint64_t)id);
	assert_int_equal(get_le32(m), port);
	assert_int_equal(get_le16(m + 4), event);
	assert_int_equal(get_le16(m + 6), value);
	assert_int_equal(len, 8 + strlen(text));
	assert_memory_equal(m + 8, text, strlen(text));
}

static void hear(struct fixture *f, uint32_t port, uint16_t event, const char *text)
{
	hear_value(f, port, event, 1, text);
}

static void start_ports(struct fixture *f)
{
	assert_true(vd_start(&f->v, 2, 8, 32));
	for (unsigned int k = 0; k < 16; k++)
		vd_add(&f->v, 2, &(struct vd_piece){ VD_DATA + 0x10000 + 128 * k, 128, true }, 1,
		       false);
}

static void test_single(void **state)
{
	struct fixture *f = *state;
	struct vd_piece out[2] = { { VD_DATA, 6, false }, { VD_DATA + 6, 5, false } },
			in = { VD_DATA + 0x100, 4, true };
	uint32_t len;
	uint16_t id;

	/* Without MULTIPORT: port 0 is there and open. */
	assert_true(vd_start(&f->v, 0, 2, 16));
	memcpy(vd_ram(&f->v, VD_DATA), "hello world", 11);
	assert_int_equal(vd_do(&f->v, 1, out, 2), 0);
	assert_int_equal(f->end[0].n, 11);
	assert_memory_equal(f->end[0].out, "hello world", 11);
	/* Input waits for buffers, and a long one for several. */
	assert_int_equal(type(f, 0, "abcdef"), 6);
	assert_false(vd_used(&f->v, 0, &id, &len));
	vd_add(&f->v, 0, &in, 1, false);
	in.gpa += 4;
	vd_add(&f->v, 0, &in, 1, false);
	vd_kick(&f->v, 0);
	assert_true(vd_used(&f->v, 0, &id, &len));
	assert_int_equal(len, 4);
	assert_true(vd_used(&f->v, 0, &id, &len));
	assert_int_equal(len, 2);
	assert_memory_equal(vd_ram(&f->v, VD_DATA + 0x100), "abcdef", 6);
}

static void test_full(void **state)
{
	struct fixture *f = *state;
	struct vd_piece p = { VD_DATA, 100, false };
	struct end *e = &f->end[0];
	uint32_t len;
	uint16_t id;

	assert_true(vd_start(&f->v, 0, 2, 16));
	/* Nobody reads: the chain stays ours, and comes back when it is written. */
	e->room = 30;
	memset(vd_ram(&f->v, VD_DATA), 'y', 100);
	vd_add(&f->v, 1, &p, 1, false);
	vd_kick(&f->v, 1);
	assert_int_equal(e->n, 30);
	assert_false(vd_used(&f->v, 1, &id, &len));
	e->room = 1000;
	e->cd.writable(e->cd.port_arg);
	vd_run(&f->v);
	assert_int_equal(e->n, 100);
	assert_true(vd_used(&f->v, 1, &id, &len));
	/* A reset meanwhile takes it away. */
	e->room = 0;
	vd_add(&f->v, 1, &p, 1, false);
	vd_kick(&f->v, 1);
	vd_set_status(&f->v, 0);
	assert_int_equal(vd_status(&f->v), 0);
	e->room = 1000;
	e->cd.writable(e->cd.port_arg);
	vd_run(&f->v);
	assert_int_equal(e->n, 100);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct vd_piece in = { VD_DATA, 4096, true };
	char text[6000];
	size_t n;

	assert_true(vd_start(&f->v, 0, 2, 16));
	memset(text, 'z', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	n = type(f, 0, text);
	assert_true(n > 0 && n < sizeof(text) - 1);
	assert_int_equal(f->end[0].nr_again, 0);
	assert_int_equal(vd_do(&f->v, 0, &in, 1), 4096);
	assert_int_equal(f->end[0].nr_again, 1);
	assert_true(type(f, 0, text) > 0);
}

static void test_ports(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 4, false }, in = { VD_DATA + 0x100, 16, true };

	assert_int_equal(vd_in(v, v->config + 4, 4), 3);
	start_ports(f);
	say(f, 0xffffffff, 0, 1);
	for (unsigned int k = 0; k < 3; k++)
		hear(f, k, 1, "");
	say(f, 0, PORT_READY, 1);
	hear(f, 0, 4, "");
	hear(f, 0, OPEN, "");
	say(f, 2, PORT_READY, 1);
	hear(f, 2, 7, "org.test");
	hear(f, 2, OPEN, "");
	say(f, 9, PORT_READY, 1);
	say(f, 2, 99, 1);
	/* Input comes when the port is open. */
	type(f, 2, "x");
	vd_add(v, 6, &in, 1, false);
	vd_kick(v, 6);
	assert_int_equal(*(char *)vd_ram(v, VD_DATA + 0x100), 0);
	say(f, 2, OPEN, 1);
	assert_int_equal(*(char *)vd_ram(v, VD_DATA + 0x100), 'x');
	memcpy(vd_ram(v, VD_DATA), "port", 4);
	assert_int_equal(vd_do(v, 7, &p, 1), 0);
	assert_memory_equal(f->end[2].out, "port", 4);
	assert_int_equal(f->end[0].n, 0);
	/* A guest that asks again and again and takes no answers. */
	for (unsigned int k = 0; k < 100; k++)
		say(f, 0, 0, 1);
	assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, 0);
}

/* What was offered to one who had the port open is not for the next one, where the back end knows the difference. */
static void test_opened(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece in = { VD_DATA + 0x100, 16, true };
	struct end *e = &f->end[1];
	uint32_t len;
	uint16_t id;

	start_ports(f);
	type(f, 1, "early");
	say(f, 1, OPEN, 1);
	assert_int_equal(e->nr_opens, 1);
	type(f, 1, "one");
	say(f, 1, OPEN, 0);
	assert_int_equal(e->nr_closes, 1);
	say(f, 1, OPEN, 1);
	type(f, 1, "two");
	vd_add(v, 4, &in, 1, false);
	vd_kick(v, 4);
	assert_true(vd_used(v, 4, &id, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(vd_ram(v, VD_DATA + 0x100), "two", 3);
	/* A reset closes it, too, once. */
	vd_set_status(v, 0);
	assert_int_equal(e->nr_closes, 2);
	vd_set_status(v, 0);
	assert_int_equal(e->nr_closes, 2);
}

/* Out of a snapshot the port has another back end: the guest is told to close it and to open it anew. */
static void test_restored(void **state)
{
	struct fixture *f = *state;
	struct virtio_dev *d = &f->con.dev;

	start_ports(f);
	say(f, 1, OPEN, 1);
	say(f, 2, OPEN, 1);
	for (int k = 0; k < 2; k++) { /* also when it has not answered yet */
		d->ops->restored(d);
		vd_run(&f->v);
		vd_kick(&f->v, 3);
		hear_value(f, 1, OPEN, 0, "");
	}
	assert_int_equal(f->con.hung, 1 << 1);
	say(f, 1, OPEN, 0);
	hear(f, 1, OPEN, "");
	assert_int_equal(f->con.hung, 0);
	say(f, 1, OPEN, 1);
	assert_int_equal(f->end[1].nr_opens, 2);
	/* Nobody has it open: nothing to say. The other one does not care. */
	say(f, 1, OPEN, 0);
	d->ops->restored(d);
	assert_int_equal(f->con.nr_messages, 0);
	assert_true(f->con.port[2].is_open);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_single, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restored, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio-console", tests, NULL, NULL);
}
