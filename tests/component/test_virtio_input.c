/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tablet by a driver in virtio_driver.h: what it says that it is, and what the driver hears. */
#include "unit.h"

#include "virtio_driver.h"
#include "vm/virtio/input.h"
#include "vm/virtio/pci.h"

enum {
	EVENTS,
	STATUS,
	NR,
	SIZE = 32,
	/* Of the specification and of evdev. */
	KEY = 1,
	REL = 2,
	ABS = 3,
	X = 0,
	Y = 1,
	WHEEL = 8,
	LEFT = 0x110,
	RIGHT = 0x111,
};

struct fixture {
	struct vd v;
	struct virtio_input t;
	struct virtio_pci pci;
	unsigned int nr; /* buffers that were given */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0)
		return -1;
	virtio_input_init(&f->t, &f->v.b.memory.phys, &f->v.io);
	r = virtio_pci_init(&f->pci, &f->t.dev, &f->v.b.board, &f->v.pci, VD_DEVFN, 0x098000, NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_input_done(&f->t);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

/* The answer's length; its first 64 bytes are copied. */
static unsigned int ask(struct fixture *f, unsigned int select, unsigned int subsel,
			uint8_t *answer)
{
	vd_out(&f->v, f->v.config, 1, select);
	vd_out(&f->v, f->v.config + 1, 1, subsel);
	for (unsigned int k = 0; k < 64; k++)
		answer[k] = (uint8_t)vd_in(&f->v, f->v.config + 8 + k, 1);
	return (unsigned int)vd_in(&f->v, f->v.config + 2, 1);
}

static void test_what_it_is(void **state)
{
	struct fixture *f = *state;
	uint8_t a[64];

	assert_int_equal(vd_cfg(&f->v, 2, 2), 0x1040 + 18);
	assert_int_equal(ask(f, 1, 0, a), 12);
	assert_memory_equal(a, "Atoll tablet", 13);
	assert_int_equal(ask(f, 2, 0, a), 0); /* no serial number */
	assert_int_equal(ask(f, 3, 0, a), 8);
	assert_int_equal(get_le16(a), 6);
	assert_int_equal(ask(f, 0x10, 0, a), 0); /* no properties */
	assert_int_equal(ask(f, 0x11, KEY, a), 35);
	assert_int_equal(a[34], 0x0f); /* 0x110 to 0x113 */
	assert_int_equal(ask(f, 0x11, REL, a), 2);
	assert_int_equal(a[1], 1);
	assert_int_equal(ask(f, 0x11, ABS, a), 1);
	assert_int_equal(a[0], 3);
	assert_int_equal(ask(f, 0x11, 4, a), 0);
	assert_int_equal(ask(f, 0x12, Y, a), 20);
	assert_int_equal(get_le32(a), 0);
	assert_int_equal(get_le32(a + 4), 0x7fff);
	assert_int_equal(ask(f, 0x12, 2, a), 0);
	/* Nothing of an answer stays behind, and it cannot be written to. */
	assert_int_equal(ask(f, 1, 1, a), 0);
	assert_int_equal(a[0], 0);
	assert_int_equal(ask(f, 0xff, 0xff, a), 0);
	vd_out(&f->v, f->v.config + 2, 1, 9);
	vd_out(&f->v, f->v.config + 8, 1, 9);
	assert_int_equal(vd_in(&f->v, f->v.config + 2, 1), 0);
	assert_int_equal(vd_in(&f->v, f->v.config + 8, 1), 0);
	assert_int_equal(vd_in(&f->v, f->v.config + 135, 1), 0);
}

/* Buffers of the driver, one behind the other. */
static void give(struct fixture *f, unsigned int n)
{
	for (; n; n--, f->nr++) {
		struct vd_piece p = { VD_DATA + 8 * (uint64_t)f->nr, 8, true };

		vd_add(&f->v, EVENTS, &p, 1, false);
	}
	vd_kick(&f->v, EVENTS);
}

/* The next event is this one. */
static void expect(struct fixture *f, unsigned int type, unsigned int code, int value)
{
	const uint8_t *e = vd_ram(&f->v, VD_DATA + 8 * (uint64_t)f->v.q[EVENTS].used_idx);
	uint32_t len;
	uint16_t id;

	assert_true(vd_used(&f->v, EVENTS, &id, &len));
	assert_int_equal(len, 8);
	assert_int_equal(get_le16(e), type);
	assert_int_equal(get_le16(e + 2), code);
	assert_int_equal((int)get_le32(e + 4), value);
}

static bool has_more(struct fixture *f)
{
	uint32_t len;
	uint16_t id;

	return vd_used(&f->v, EVENTS, &id, &len);
}

static void point(struct fixture *f, unsigned int x, unsigned int y, unsigned int buttons,
		  int wheel)
{
	const struct virtio_input_frame frame = { (uint16_t)x, (uint16_t)y, (uint8_t)buttons,
						  wheel };

	assert_true(virtio_input_point(&f->t, &frame));
}

static void test_events(void **state)
{
	static const struct virtio_input_frame nowhere = { 1, 2, 0, 0 };
	struct fixture *f = *state;

	assert_false(virtio_input_point(&f->t, &nowhere));
	assert_true(vd_start(&f->v, 0, NR, SIZE));
	give(f, 25);
	assert_false(has_more(f));
	point(f, 100, 200, 0, 0);
	vd_run(&f->v);
	expect(f, ABS, X, 100);
	expect(f, ABS, Y, 200);
	expect(f, 0, 0, 0);
	/* Only what is new; nothing new is not told. */
	point(f, 100, 201, VIRTIO_INPUT_LEFT | VIRTIO_INPUT_RIGHT, -1);
	vd_run(&f->v);
	point(f, 100, 201, VIRTIO_INPUT_LEFT | VIRTIO_INPUT_RIGHT, 0);
	vd_run(&f->v);
	expect(f, ABS, Y, 201);
	expect(f, KEY, LEFT, 1);
	expect(f, KEY, RIGHT, 1);
	expect(f, REL, WHEEL, -1);
	expect(f, 0, 0, 0);
	assert_false(has_more(f));
	/* Movements that nobody took yet are one, clicks are not. */
	point(f, 1, 1, VIRTIO_INPUT_LEFT, 0);
	point(f, 2, 2, VIRTIO_INPUT_LEFT, 0);
	point(f, 3, 3, VIRTIO_INPUT_LEFT, 0);
	point(f, 3, 3, 0, 0);
	point(f, 4, 3, 0, 0);
	vd_run(&f->v);
	expect(f, ABS, X, 1);
	expect(f, ABS, Y, 1);
	expect(f, KEY, RIGHT, 0);
	expect(f, 0, 0, 0);
	expect(f, ABS, X, 3);
	expect(f, ABS, Y, 3);
	expect(f, 0, 0, 0);
	expect(f, KEY, LEFT, 0);
	expect(f, 0, 0, 0);
	expect(f, ABS, X, 4);
	expect(f, 0, 0, 0);
	assert_false(has_more(f));
	assert_true(f->v.nr_queue_msi[EVENTS] > 0);
}

/* A driver that gives too few buffers gets the rest of a frame later, and which buttons are down in the end. */
static void test_few_buffers(void **state)
{
	struct fixture *f = *state;

	assert_true(vd_start(&f->v, 0, NR, SIZE));
	give(f, 2);
	point(f, 7, 8, VIRTIO_INPUT_LEFT, 0);
	vd_run(&f->v);
	for (unsigned int k = 0; k < 2 * VIRTIO_INPUT_FRAMES; k++)
		point(f, k, k, k & 1 ? VIRTIO_INPUT_LEFT : VIRTIO_INPUT_RIGHT, 1);
	point(f, 9, 9, 0, 0);
	expect(f, ABS, X, 7);
	expect(f, ABS, Y, 8);
	assert_false(has_more(f));
	give(f, 2);
	expect(f, KEY, LEFT, 1);
	expect(f, 0, 0, 0);
	for (unsigned int left = 6 * VIRTIO_INPUT_FRAMES; left; left--) {
		give(f, 1);
		if (!has_more(f))
			break;
	}
	assert_int_equal(f->t.told.buttons, 0);
	assert_int_equal(f->t.told.x, 9);
}

/* What the driver gives to the other queue comes back; a buffer that is too small stops the device, and a reset helps. */
static void test_drivers_mistakes(void **state)
{
	struct fixture *f = *state;
	struct vd_piece light = { VD_DATA, 8, false }, small = { VD_DATA, 7, true };
	uint32_t len;
	uint16_t id;

	assert_true(vd_start(&f->v, 0, NR, SIZE));
	vd_add(&f->v, STATUS, &light, 1, false);
	vd_kick(&f->v, STATUS);
	assert_true(vd_used(&f->v, STATUS, &id, &len));
	assert_int_equal(len, 0);
	vd_add(&f->v, EVENTS, &small, 1, false);
	vd_kick(&f->v, EVENTS);
	assert_int_equal(vd_status(&f->v) & VD_S_NEEDS_RESET, 0);
	point(f, 5, 5, VIRTIO_INPUT_LEFT, 0);
	vd_run(&f->v);
	assert_true(vd_status(&f->v) & VD_S_NEEDS_RESET);
	f->nr = 0;
	assert_true(vd_start(&f->v, 0, NR, SIZE));
	give(f, 4);
	assert_false(has_more(f));
	point(f, 5, 5, 0, 0);
	vd_run(&f->v);
	expect(f, ABS, X, 5);
	expect(f, ABS, Y, 5);
	expect(f, 0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drivers_mistakes, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio_input", tests, NULL, NULL);
}
