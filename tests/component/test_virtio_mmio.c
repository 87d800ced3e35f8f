/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MMIO transport, by the entropy source and the driver in virtio_mmio_driver.h. */
#include "unit.h"

#include "virtio_mmio_driver.h"
#include "vm/virtio/mmio.h"
#include "vm/virtio/rng.h"

enum { GSI = 16 };

struct fixture {
	struct vd v;
	struct virtio_rng rng;
	struct virtio_mmio mmio;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int r = f ? vd_bench_init(&f->v) : -1;

	*state = f;
	if (r < 0)
		return r;
	virtio_rng_init(&f->rng, &f->v.b.memory.phys, &f->v.io);
	f->rng.dev.features |= VD_F_PACKED;
	memcpy(f->rng.dev.config, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	f->rng.dev.config_len = 8;
	f->rng.dev.config_wmask[1] = 0xf0;
	return virtio_mmio_init(&f->mmio, &f->rng.dev, &f->v.b.board, 0, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_mmio_reset(&f->mmio);
	virtio_mmio_done(&f->mmio);
	virtio_mmio_done(&f->mmio);
	virtio_rng_done(&f->rng);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

static bool line(struct fixture *f)
{
	return f->v.b.ioapic.lines >> GSI & 1;
}

static void test_identity(void **state)
{
	struct vd *v = &((struct fixture *)*state)->v;

	assert_int_equal(vdm_in(v, VDM_MAGIC), 0x74726976);
	assert_int_equal(vdm_in(v, VDM_VERSION), 2);
	assert_int_equal(vdm_in(v, VDM_DEVICE), 4);
	assert_int_equal(vdm_in(v, VDM_VENDOR), 0x1af4);
	assert_true(vdm_offered(v) & VD_F_VERSION_1);
	assert_int_equal(vdm_in(v, VDM_QUEUE_MAX), 64);
	vdm_out(v, VDM_QUEUE_SEL, 1);
	assert_int_equal(vdm_in(v, VDM_QUEUE_MAX), 0);
	vdm_out(v, VDM_QUEUE_SEL, 0xffffffff);
	assert_int_equal(vdm_in(v, VDM_QUEUE_MAX), 0);
	assert_int_equal(vdm_in(v, 0xb0), 0xffffffff); /* no shared memory */
	assert_int_equal(vdm_in(v, 0xb4), 0xffffffff);
	/* Only whole registers. */
	assert_int_equal(vd_in(v, VDM_BASE, 2), 0);
	assert_int_equal(vd_in(v, VDM_BASE + 2, 4), 0);
	vd_out(v, VDM_BASE + VDM_STATUS, 1, VD_S_ACK);
	assert_int_equal(vdm_in(v, VDM_STATUS), 0);
	/* The configuration takes any. */
	assert_int_equal(vd_in(v, VDM_BASE + VDM_CONFIG, 1), 0x11);
	assert_int_equal(vd_in(v, VDM_BASE + VDM_CONFIG + 2, 2), 0x4433);
	vd_out(v, VDM_BASE + VDM_CONFIG + 1, 1, 0xff);
	assert_int_equal(vdm_in(v, VDM_CONFIG), 0x4433f211);
	assert_int_equal(vdm_in(v, VDM_CONFIG + 8), 0);
	assert_int_equal(vdm_in(v, VDM_CONFIG + 0xfc), 0);
}

static void chains(struct fixture *f, uint64_t features)
{
	const struct vd_piece p = { VD_DATA, 100, true };
	struct vd *v = &f->v;
	uint16_t id, got;
	uint32_t len;

	assert_true(vdm_start(v, features, 1, 8));
	assert_int_equal(vdm_in(v, VDM_READY), 1);
	for (unsigned int n = 0; n < 30; n++) {
		unsigned int edges = v->b.edges[GSI];

		assert_false(line(f));
		id = vd_add(v, 0, &p, 1, (features & VD_F_INDIRECT) && (n & 1));
		vdm_kick(v, 0);
		assert_true(vd_used(v, 0, &got, &len));
		assert_int_equal(got, id);
		assert_int_equal(len, 100);
		/* The line is up until the driver says that it has seen it. */
		assert_true(line(f));
		assert_int_equal(v->b.edges[GSI], edges + 1);
		assert_int_equal(vdm_in(v, VDM_ISR), 1);
		assert_true(line(f));
		vdm_out(v, VDM_ACK, 2);
		assert_true(line(f));
		vdm_out(v, VDM_ACK, 1);
		assert_int_equal(vdm_in(v, VDM_ISR), 0);
	}
	assert_false(line(f));
}

static void test_split(void **state)
{
	chains(*state, VD_F_INDIRECT);
}

static void test_packed(void **state)
{
	chains(*state, VD_F_INDIRECT | VD_F_PACKED);
}

/* A bad ring: the device asks for a reset, by an interrupt of the configuration; a reset takes the line down. */
static void test_bad_ring(void **state)
{
	const struct vd_piece p = { UINT64_C(1) << 50, 100, true };
	struct fixture *f = *state;
	struct vd *v = &f->v;

	assert_true(vdm_start(v, 0, 1, 8));
	vd_add(v, 0, &p, 1, false);
	vdm_kick(v, 0);
	assert_int_equal(vdm_in(v, VDM_STATUS) & VD_S_NEEDS_RESET, VD_S_NEEDS_RESET);
	assert_int_equal(vdm_in(v, VDM_ISR), 2);
	assert_true(line(f));
	vdm_kick(v, 7); /* no such queue */
	vdm_out(v, VDM_STATUS, 0);
	vd_run(v);
	assert_int_equal(vdm_in(v, VDM_STATUS), 0);
	assert_int_equal(vdm_in(v, VDM_READY), 0);
	assert_false(line(f));
	chains(f, 0);
}

/* What is written after a queue was made ready changes nothing; what the configuration does is told. */
static void test_later(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	uint32_t generation;

	assert_true(vdm_start(v, 0, 1, 8));
	vdm_out(v, VDM_QUEUE_SEL, 0);
	vdm_out(v, VDM_QUEUE_SIZE, 64);
	vdm_out(v, VDM_DESC, 0);
	vdm_out(v, VDM_READY, 0);
	assert_int_equal(vdm_in(v, VDM_READY), 1);
	generation = vdm_in(v, VDM_GENERATION);
	virtio_config_changed(&f->rng.dev);
	assert_int_equal(vdm_in(v, VDM_GENERATION), generation + 1);
	assert_int_equal(vdm_in(v, VDM_ISR), 2);
	vdm_out(v, VDM_ACK, 2);
	chains(f, 0);
}

/* Every window has an interrupt of its own, and none that the timer, the keyboard's place, serial ports, the clock or ACPI
 * have. */
static void test_interrupts(void **state)
{
	uint32_t seen = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 8 | 1u << 9 |
			1u << 13;

	for (unsigned int n = 0; n < VIRTIO_MMIO_MAX; n++) {
		assert_true(virtio_mmio_gsi(n) < IRQ_NR_GSI);
		assert_false(seen >> virtio_mmio_gsi(n) & 1);
		seen |= 1u << virtio_mmio_gsi(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_split, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later, setup, teardown),
		cmocka_unit_test(test_interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
