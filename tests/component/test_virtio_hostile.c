/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings that no driver makes: each stops the device, which asks for a reset and works after it. */
#include "unit.h"

#include "base/log.h"
#include "virtio_driver.h"
#include "vm/virtio/pci.h"
#include "vm/virtio/rng.h"

struct fixture {
	struct vd v;
	struct virtio_rng rng;
	struct virtio_pci pci;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int r = f ? vd_bench_init(&f->v) : -1;

	*state = f;
	if (r < 0)
		return r;
	log_setup(2, LOG_TEXT, LOG_ERROR, NULL);
	virtio_rng_init(&f->rng, &f->v.b.memory.phys, &f->v.io);
	f->rng.dev.features |= VD_F_PACKED;
	r = virtio_pci_init(&f->pci, &f->rng.dev, &f->v.b.board, &f->v.pci, VD_DEVFN, 0x00ff00,
			    NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_rng_done(&f->rng);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

static void avail(struct vd *v, uint16_t head)
{
	struct vd_queue *q = &v->q[0];

	put_le16((uint8_t *)vd_ram(v, q->avail + 4 + 2 * (uint64_t)(q->avail_idx % q->size)), head);
	q->avail_idx++;
	put_le16((uint8_t *)vd_ram(v, q->avail + 2), q->avail_idx);
}

static void desc(struct vd *v, unsigned int i, uint64_t gpa, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	vd_desc(v, v->q[0].desc + 16 * (uint64_t)i, gpa, len, flags, next);
}

/* The device stopped, told so, and is as new after a reset. */
static void stopped(struct fixture *f, unsigned int irqs, const char *what)
{
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };
	const char *why = f->rng.dev.q[0].broken;
	uint64_t features = v->features;
	uint32_t len;
	uint16_t id;

	if (!(vd_status(v) & VD_S_NEEDS_RESET))
		fail_msg("%s: the device goes on", what);
	if (!why || !strstr(why, what))
		fail_msg("%s: stopped because %s", what, why ? why : "of nothing");
	assert_int_equal(v->nr_queue_msi[1], irqs + 1);
	assert_false(vd_used(v, 0, &id, &len));
	vd_kick(v, 0);
	assert_false(vd_used(v, 0, &id, &len));
	assert_true(vd_start(v, features, 1, 8));
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
}

#define CASE(features, what, ...)                                                                  \
	do {                                                                                       \
		unsigned int irqs_;                                                                \
		assert_true(vd_start(v, (features), 1, 8));                                        \
		irqs_ = v->nr_queue_msi[1];                                                        \
		__VA_ARGS__;                                                                       \
		vd_kick(v, 0);                                                                     \
		stopped(f, irqs_, (what));                                                         \
	} while (0)

static void test_split(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	uint64_t table = VD_TABLES;

	CASE(0, "head of a chain", avail(v, 8));
	CASE(0, "head of a chain", avail(v, 0xffff));
	CASE(0, "index jumped", put_le16((uint8_t *)vd_ram(v, v->q[0].avail + 2), 9));
	CASE(0, "index jumped", put_le16((uint8_t *)vd_ram(v, v->q[0].avail + 2), 0xffff));
	CASE(0, "number is not in the ring", desc(v, 0, VD_DATA, 8, VD_WRITE | VD_NEXT, 8);
	     avail(v, 0));
	CASE(0, "longer than its queue", desc(v, 0, VD_DATA, 8, VD_WRITE | VD_NEXT, 0);
	     avail(v, 0));
	CASE(0, "longer than its queue", desc(v, 0, VD_DATA, 8, VD_WRITE | VD_NEXT, 1);
	     desc(v, 1, VD_DATA, 8, VD_WRITE | VD_NEXT, 0); avail(v, 0));
	CASE(0, "not RAM", desc(v, 0, 0xfee00000, 8, VD_WRITE, 0); avail(v, 0));
	CASE(0, "not RAM", desc(v, 0, VD_RAM - 4, 8, VD_WRITE, 0); avail(v, 0));
	/* Its own registers. */
	CASE(0, "not RAM", desc(v, 0, v->common, 8, VD_WRITE, 0); avail(v, 0));
	CASE(0, "not RAM", desc(v, 0, 0x9fffc, 8, VD_WRITE, 0); avail(v, 0));
	CASE(0, "wraps", desc(v, 0, UINT64_MAX - 3, 8, VD_WRITE, 0); avail(v, 0));
	CASE(0, "wraps", desc(v, 0, UINT64_MAX, UINT32_MAX, VD_WRITE, 0); avail(v, 0));
	CASE(0, "readable descriptor follows", desc(v, 0, VD_DATA, 8, VD_WRITE | VD_NEXT, 1);
	     desc(v, 1, VD_DATA, 8, 0, 0); avail(v, 0));
	CASE(0, "4 GiB", desc(v, 0, VD_DATA, 8, VD_NEXT, 1);
	     desc(v, 1, VD_DATA, UINT32_MAX, VD_WRITE, 0); avail(v, 0));
	CASE(0, "not negotiated", desc(v, 0, table, 16, VD_INDIRECT, 0); avail(v, 0));
	CASE(VD_F_INDIRECT, "impossible size", desc(v, 0, table, 0, VD_INDIRECT, 0); avail(v, 0));
	CASE(VD_F_INDIRECT, "impossible size", desc(v, 0, table, 17, VD_INDIRECT, 0); avail(v, 0));
	CASE(VD_F_INDIRECT, "impossible size", desc(v, 0, table, 16 * 9, VD_INDIRECT, 0);
	     avail(v, 0));
	CASE(VD_F_INDIRECT, "impossible size", desc(v, 0, table, 0xfffffff0, VD_INDIRECT, 0);
	     avail(v, 0));
	CASE(VD_F_INDIRECT, "table is not in RAM", desc(v, 0, 0xfec00000, 16, VD_INDIRECT, 0);
	     avail(v, 0));
	CASE(VD_F_INDIRECT, "table is not in RAM", desc(v, 0, UINT64_MAX - 15, 16, VD_INDIRECT, 0);
	     avail(v, 0));
	CASE(VD_F_INDIRECT, "has a next", desc(v, 0, table, 16, VD_INDIRECT | VD_NEXT, 1);
	     avail(v, 0));
	CASE(VD_F_INDIRECT, "points at another", desc(v, 0, table, 16, VD_INDIRECT, 0);
	     vd_desc(v, table, table, 16, VD_INDIRECT, 0); avail(v, 0));
	CASE(VD_F_INDIRECT, "out of its indirect table", desc(v, 0, table, 32, VD_INDIRECT, 0);
	     vd_desc(v, table, VD_DATA, 8, VD_WRITE | VD_NEXT, 2); avail(v, 0));
	CASE(VD_F_INDIRECT, "longer than its queue", desc(v, 0, table, 16, VD_INDIRECT, 0);
	     vd_desc(v, table, VD_DATA, 8, VD_WRITE | VD_NEXT, 0); avail(v, 0));
	/* A table that lies in the ring that points at it. */
	CASE(VD_F_INDIRECT, "points at another", desc(v, 0, v->q[0].desc, 16, VD_INDIRECT, 0);
	     avail(v, 0));
}

static void packed(struct vd *v, unsigned int slot, uint64_t gpa, uint32_t len, uint16_t id,
		   uint16_t flags)
{
	vd_desc(v, v->q[0].desc + 16 * (uint64_t)slot, gpa, len, id, (uint16_t)(flags | 1 << 7));
}

static void test_packed(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	uint64_t table = VD_TABLES, both = VD_F_PACKED | VD_F_INDIRECT;

	CASE(VD_F_PACKED, "longer than what is free",
	     for (unsigned int k = 0; k < 8; k++) packed(v, k, VD_DATA, 8, 0, VD_WRITE | VD_NEXT));
	CASE(VD_F_PACKED, "not RAM", packed(v, 0, 0xfee00000, 8, 0, VD_WRITE));
	CASE(VD_F_PACKED, "not negotiated", packed(v, 0, table, 16, 0, VD_INDIRECT));
	CASE(both, "part of a chain", packed(v, 0, table, 16, 0, VD_INDIRECT | VD_NEXT));
	CASE(both, "part of a chain", packed(v, 1, table, 16, 0, VD_INDIRECT);
	     packed(v, 0, VD_DATA, 16, 0, VD_NEXT));
	CASE(both, "impossible size", packed(v, 0, table, 24, 0, VD_INDIRECT));
	CASE(both, "wraps", packed(v, 0, table, 16, 0, VD_INDIRECT);
	     vd_desc(v, table, UINT64_MAX, 16, 0, VD_WRITE));
}

/* Rings that are not where rings can be: told when the driver is done. */
static void test_areas(void **state)
{
	static const struct {
		uint16_t size;
		uint64_t desc, avail, used;
		const char *why;
	} cases[] = {
		{ 8, VD_RINGS + 8, VD_RINGS + 0x1000, VD_RINGS + 0x2000, "aligned" },
		{ 8, VD_RINGS, VD_RINGS + 0x1001, VD_RINGS + 0x2000, "aligned" },
		{ 8, VD_RINGS, VD_RINGS + 0x1000, VD_RINGS + 0x2002, "aligned" },
		{ 8, VD_RAM - 64, VD_RINGS, VD_RINGS, "not in RAM" },
		{ 8, VD_RINGS, VD_RAM, VD_RINGS, "not in RAM" },
		{ 8, VD_RINGS, VD_RINGS, 0xfee00000, "not in RAM" },
		{ 8, UINT64_MAX - 15, VD_RINGS, VD_RINGS, "not in RAM" },
		{ 0, VD_RINGS, VD_RINGS, VD_RINGS, "size" },
		{ 7, VD_RINGS, VD_RINGS, VD_RINGS, "size" },
		{ 0xffff, VD_RINGS, VD_RINGS, VD_RINGS, "size" },
	};
	struct fixture *f = *state;
	struct vd *v = &f->v;

	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		assert_true(vd_negotiate(v, 0));
		vd_out(v, v->common + 22, 2, 0);
		vd_out(v, v->common + 24, 2, cases[k].size);
		vd_out(v, v->common + 32, 8, cases[k].desc);
		vd_out(v, v->common + 40, 8, cases[k].avail);
		vd_out(v, v->common + 48, 8, cases[k].used);
		vd_out(v, v->common + 28, 2, 1);
		vd_set_status(v, VD_S_DRIVER_OK);
		vd_run(v);
		assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, VD_S_NEEDS_RESET);
		assert_non_null(strstr(f->rng.dev.q[0].broken, cases[k].why));
		vd_out(v, v->notify, 2, 0);
		vd_run(v);
	}
	/* Notifications before the driver is ready, and of queues that do not exist. */
	assert_true(vd_negotiate(v, 0));
	vd_out(v, v->notify, 2, 0);
	vd_out(v, v->notify + 4 * 60, 2, 60);
	vd_run(v);
	assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, 0);
}

/* A ring whose index always shows more: a batch is done, and others have their turn. */
static void test_endless(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	uint64_t chains;

	assert_true(vd_start(v, 0, 1, 8));
	/* Entry 0 writes random bytes over the ring's index: it goes anywhere, and soon too far. */
	desc(v, 0, v->q[0].avail + 2, 2, VD_WRITE, 0);
	for (unsigned int k = 0; k < 8; k++)
		avail(v, 0);
	chains = f->rng.dev.nr_chains;
	vd_notify(v, 0);
	for (unsigned int k = 0; k < 100; k++)
		iothread_run(&v->io);
	assert_true(f->rng.dev.nr_chains - chains <= 100 * 256);
	vd_set_status(v, 0);
	assert_int_equal(vd_status(v), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_split, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_areas, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio hostile", tests, NULL, NULL);
}
