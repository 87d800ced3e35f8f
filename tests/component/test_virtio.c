/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio transport and queues by way of the simplest device, the entropy source, and a driver in virtio_driver.h. */
#include "unit.h"

#include "sys/thread.h"
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

static bool is_zero(struct vd *v, uint64_t gpa, uint32_t n)
{
	const uint8_t *p = vd_ram(v, gpa);

	while (n && !p[n - 1])
		n--;
	return !n;
}

/* A buffer is filled, and nothing beside it. */
static void fills(struct vd *v, uint64_t features, bool indirect)
{
	struct vd_piece p[2] = { { VD_DATA, 32, true }, { VD_DATA + 64, 100, true } };
	unsigned int irqs;
	uint16_t id, got;
	uint32_t len;

	assert_true(vd_start(v, features, 1, 8));
	irqs = v->nr_queue_msi[0];
	/* Around the ring several times. */
	for (unsigned int n = 0; n < 50; n++) {
		memset(vd_ram(v, VD_DATA), 0, 256);
		id = vd_add(v, 0, p, 2, indirect);
		vd_kick(v, 0);
		assert_true(vd_used(v, 0, &got, &len));
		assert_int_equal(got, id);
		assert_int_equal(len, 132);
		assert_false(is_zero(v, VD_DATA, 32));
		assert_true(is_zero(v, VD_DATA + 32, 32));
		assert_false(is_zero(v, VD_DATA + 64, 100));
		assert_true(is_zero(v, VD_DATA + 164, 92));
		assert_false(vd_used(v, 0, &got, &len));
		assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, 0);
	}
	assert_true(v->nr_queue_msi[0] > irqs);
}

static void test_split(void **state)
{
	struct fixture *f = *state;

	fills(&f->v, 0, false);
	fills(&f->v, VD_F_INDIRECT, true);
	fills(&f->v, VD_F_INDIRECT | VD_F_EVENT_IDX, true);
}

static void test_packed(void **state)
{
	struct fixture *f = *state;

	fills(&f->v, VD_F_PACKED, false);
	fills(&f->v, VD_F_PACKED | VD_F_INDIRECT, true);
	fills(&f->v, VD_F_PACKED | VD_F_INDIRECT | VD_F_EVENT_IDX, true);
}

/* The driver is interrupted when it wants to be. */
static void test_suppression(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };
	unsigned int irqs;

	assert_true(vd_start(v, 0, 1, 8));
	put_le16((uint8_t *)vd_ram(v, v->q[0].avail), 1);
	irqs = v->nr_queue_msi[0];
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs);
	put_le16((uint8_t *)vd_ram(v, v->q[0].avail), 0);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs + 1);

	/* used_event is behind the available ring: interrupt at the third from now. */
	assert_true(vd_start(v, VD_F_EVENT_IDX, 1, 8));
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	irqs = v->nr_queue_msi[0];
	put_le16((uint8_t *)vd_ram(v, v->q[0].avail + 4 + 16), 3);
	for (unsigned int n = 0; n < 2; n++)
		assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs + 1);
	/* avail_event: the device wants to hear of the next one. */
	assert_int_equal(get_le16((uint8_t *)vd_ram(v, v->q[0].used + 4 + 64)), 4);

	/* Packed: events off, and at a place beyond the wrap. */
	assert_true(vd_start(v, VD_F_PACKED | VD_F_EVENT_IDX, 1, 8));
	put_le16((uint8_t *)vd_ram(v, v->q[0].avail + 2), 1);
	irqs = v->nr_queue_msi[0];
	for (unsigned int n = 0; n < 6; n++)
		assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs);
	put_le16((uint8_t *)vd_ram(v, v->q[0].avail), 1); /* slot 1 of the next lap */
	put_le16((uint8_t *)vd_ram(v, v->q[0].avail + 2), 2);
	for (unsigned int n = 0; n < 3; n++)
		assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs + 1);
}

static void test_intx(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };
	unsigned int gsi = PCI_PIRQ_GSI + (VD_DEVFN >> 3) % 4;

	assert_true(vd_negotiate(v, 0));
	vd_queue(v, 0, 8);
	vd_set_status(v, VD_S_DRIVER_OK);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_true(bench_line(&v->b, gsi));
	assert_int_equal(vd_in(v, v->isr, 1), 1);
	assert_false(bench_line(&v->b, gsi));
	assert_int_equal(vd_in(v, v->isr, 1), 0);
	/* A reset takes the interrupt away, and so does switching MSI-X on. */
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_true(bench_line(&v->b, gsi));
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0x8000);
	assert_false(bench_line(&v->b, gsi));
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0);
	assert_true(bench_line(&v->b, gsi));
	vd_set_status(v, 0);
	assert_false(bench_line(&v->b, gsi));
}

static void test_msix_masks(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };
	unsigned int irqs;

	assert_true(vd_start(v, 0, 1, 8));
	irqs = v->nr_queue_msi[0];
	vd_out(v, v->msix + 12, 4, 1);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs);
	assert_int_equal(vd_in(v, v->msix + 0x800, 8), 1);
	vd_out(v, v->msix + 12, 4, 0);
	assert_int_equal(v->nr_queue_msi[0], irqs + 1);
	assert_int_equal(vd_in(v, v->msix + 0x800, 8), 0);
	/* The whole function. */
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0xc000);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs + 1);
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0x8000);
	assert_int_equal(v->nr_queue_msi[0], irqs + 2);
	/* A vector that the table does not have is none. */
	vd_out(v, v->common + 22, 2, 0);
	vd_out(v, v->common + 26, 2, 2);
	assert_int_equal(vd_in(v, v->common + 26, 2), 0xffff);
	vd_out(v, v->common + 16, 2, 77);
	assert_int_equal(vd_in(v, v->common + 16, 2), 0xffff);
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(v->nr_queue_msi[0], irqs + 2);
}

static void test_features(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;

	vd_set_status(v, VD_S_ACK | VD_S_DRIVER);
	/* Not without VERSION_1; not with what was not offered. */
	vd_set_status(v, VD_S_FEATURES_OK);
	assert_int_equal(vd_status(v) & VD_S_FEATURES_OK, 0);
	vd_out(v, v->common + 8, 4, 1);
	vd_out(v, v->common + 12, 4, 1 | 1u << 31);
	vd_set_status(v, VD_S_FEATURES_OK);
	assert_int_equal(vd_status(v) & VD_S_FEATURES_OK, 0);
	/* No DRIVER_OK without FEATURES_OK. */
	vd_set_status(v, VD_S_DRIVER_OK);
	assert_int_equal(vd_status(v) & VD_S_DRIVER_OK, 0);
	vd_out(v, v->common + 12, 4, 1);
	vd_set_status(v, VD_S_FEATURES_OK);
	assert_int_equal(vd_status(v) & VD_S_FEATURES_OK, VD_S_FEATURES_OK);
	/* And then they stay. */
	vd_out(v, v->common + 12, 4, 0);
	assert_int_equal(vd_in(v, v->common + 12, 4), 1);
}

/* What is changed after a queue was enabled has no effect. */
static void test_latched(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };

	assert_true(vd_start(v, 0, 1, 8));
	vd_out(v, v->common + 22, 2, 0);
	vd_out(v, v->common + 24, 2, 0xffff);
	vd_out(v, v->common + 32, 8, UINT64_C(0xffffffffffff0000));
	vd_out(v, v->common + 40, 8, 0);
	vd_out(v, v->common + 48, 8, 0xfee00000);
	vd_out(v, v->common + 28, 2, 1);
	assert_int_equal(vd_in(v, v->common + 24, 2), 8);
	assert_int_equal(vd_in(v, v->common + 32, 8), v->q[0].desc);
	for (unsigned int n = 0; n < 20; n++)
		assert_int_equal(vd_do(v, 0, &p, 1), 8);
	/* A queue that does not exist. */
	vd_out(v, v->common + 22, 2, 5);
	assert_int_equal(vd_in(v, v->common + 24, 2), 0);
	vd_out(v, v->common + 28, 2, 1);
	assert_int_equal(vd_in(v, v->common + 28, 2), 0);
}

/* The window in configuration space reaches what the BAR has. */
static void test_window(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	unsigned int at = vd_cfg(v, 0x34, 1);

	while (at && !(vd_cfg(v, at, 1) == 9 && vd_cfg(v, at + 3, 1) == 5))
		at = vd_cfg(v, at + 1, 1);
	assert_true(at);
	pci_config_write(&v->pci, VD_DEVFN, at + 4, 1, 0);
	pci_config_write(&v->pci, VD_DEVFN, at + 8, 4, (uint32_t)(v->common - vd_bar(v, 0)) + 20);
	pci_config_write(&v->pci, VD_DEVFN, at + 12, 4, 1);
	pci_config_write(&v->pci, VD_DEVFN, at + 16, 4, VD_S_ACK);
	assert_int_equal(vd_status(v), VD_S_ACK);
	assert_int_equal(vd_cfg(v, at + 16, 4), VD_S_ACK);
	/* Places that are not there. */
	pci_config_write(&v->pci, VD_DEVFN, at + 8, 4, 0xfffffffc);
	pci_config_write(&v->pci, VD_DEVFN, at + 12, 4, 4);
	assert_int_equal(vd_cfg(v, at + 16, 4), 0);
	pci_config_write(&v->pci, VD_DEVFN, at + 12, 4, 0xfffffffc);
	pci_config_write(&v->pci, VD_DEVFN, at + 16, 4, 1);
	assert_int_equal(vd_cfg(v, at + 16, 4), 0);
}

/* Memory that the device writes is told to whoever watches pages. */
static unsigned int nr_told;

static void told(void *arg, const struct physmem_region *r, uint64_t off, uint64_t len,
		 uint8_t flags)
{
	nr_told++;
}

static void test_dirty(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };
	const struct physmem_region *r = physmem_find(&v->b.memory.phys, VD_DATA);

	assert_true(vd_start(v, 0, 1, 8));
	v->b.memory.phys.written = told;
	nr_told = 0;
	r->page_flags[(VD_DATA - r->gpa) >> 12] = PAGE_F_CODE;
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_int_equal(nr_told, 1);
	r->page_flags[(VD_DATA - r->gpa) >> 12] = 0;
	/* The used ring, too. */
	nr_told = 0;
	r->page_flags[(v->q[0].used - r->gpa) >> 12] = PAGE_F_LOG;
	assert_int_equal(vd_do(v, 0, &p, 1), 8);
	assert_true(nr_told >= 2);
}

/* A device that is no bus master reads and writes no memory, a message included; what was asked of it comes later. */
static void test_master(void **state)
{
	static const uint64_t kinds[] = { 0, VD_F_EVENT_IDX, VD_F_PACKED,
					  VD_F_PACKED | VD_F_EVENT_IDX };
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { VD_DATA, 8, true };

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		unsigned int irqs;
		uint16_t id;
		uint32_t len;
		void *before;

		assert_true(vd_start(v, kinds[k], 1, 8));
		assert_int_equal(vd_do(v, 0, &p, 1), 8);
		irqs = v->nr_queue_msi[0];
		vd_set_master(v, false);
		vd_add(v, 0, &p, 1, false);
		vd_add(v, 0, &p, 1, false);
		if (kinds[k] == VD_F_EVENT_IDX) /* interrupt at the third */
			put_le16((uint8_t *)vd_ram(v, v->q[0].avail + 4 + 16), 2);
		before = vd_picture(v);
		assert_non_null(before);
		vd_kick(v, 0);
		vd_kick(v, 0);
		assert_true(vd_is_as_in(v, before));
		assert_int_equal(v->nr_queue_msi[0], irqs);
		vd_set_master(v, true);
		vd_run(v);
		assert_true(vd_used(v, 0, &id, &len));
		assert_true(vd_used(v, 0, &id, &len));
		assert_int_equal(len, 8);
		assert_int_equal(v->nr_queue_msi[0], irqs + 1);
		/* A reset, and a start, without it. */
		vd_set_master(v, false);
		vd_add(v, 0, &p, 1, false);
		memcpy(before, vd_ram(v, VD_RINGS), VD_PICTURE);
		vd_kick(v, 0);
		vd_set_status(v, 0);
		vd_run(v);
		assert_int_equal(vd_status(v), 0);
		assert_true(vd_is_as_in(v, before));
		vd_set_master(v, true);
		vd_run(v);
		assert_true(vd_is_as_in(v, before));
		free(before);
	}
}

/* A message is pending as if it were masked, and is sent once. */
static void test_master_messages(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;

	assert_true(vd_start(v, 0, 1, 8));
	vd_set_master(v, false);
	for (unsigned int k = 0; k < 2; k++) {
		mutex_lock(&f->rng.dev.lock);
		virtio_config_changed(&f->rng.dev);
		mutex_unlock(&f->rng.dev.lock);
	}
	assert_int_equal(v->nr_queue_msi[1], 0);
	assert_int_equal(vd_in(v, v->msix + 0x800, 8), 2);
	/* Other bits of the register, and the masks, do not let it go. */
	pci_config_write(&v->pci, VD_DEVFN, 4, 2, 0x402);
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0xc000);
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0x8000);
	assert_int_equal(v->nr_queue_msi[1], 0);
	vd_set_master(v, true);
	assert_int_equal(v->nr_queue_msi[1], 1);
	assert_int_equal(vd_in(v, v->msix + 0x800, 8), 0);
	/* A pin is no access to memory. */
	vd_set_master(v, false);
	pci_config_write(&v->pci, VD_DEVFN, v->msix_cap + 2, 2, 0);
	pci_config_write(&v->pci, VD_DEVFN, 4, 2, 2);
	mutex_lock(&f->rng.dev.lock);
	virtio_config_changed(&f->rng.dev);
	mutex_unlock(&f->rng.dev.lock);
	assert_true(bench_line(&v->b, PCI_PIRQ_GSI + (VD_DEVFN >> 3) % 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_split, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_suppression, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_masks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_latched, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dirty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master_messages, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio", tests, NULL, NULL);
}
