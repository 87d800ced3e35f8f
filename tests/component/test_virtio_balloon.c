/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The balloon by a driver in virtio_driver.h: which pages the host has again, and which it must not take. */
#include "unit.h"

#include <sys/stat.h>

#include "virtio_driver.h"
#include "vm/virtio/balloon.h"
#include "vm/virtio/pci.h"

enum {
	INFLATE,
	DEFLATE,
	STATS,
	REPORT,
	REPORT_TOO,
	NR,
	F_STATS = 1,
	F_OOM = 2,
	F_POISON = 4,
	F_REPORTING = 5,
	LIST = 0x300000,     /* page numbers */
	LIST_LEN = 0x200000, /* more than the I/O thread does at once */
	PAGES = 0x800000,
	ALL = 1 << F_STATS | 1 << F_OOM | 1 << F_REPORTING,
};

struct fixture {
	struct vd v;
	struct virtio_balloon b;
	struct virtio_pci pci;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int r;

	*state = f;
	if (!f || vd_bench_init(&f->v) < 0)
		return -1;
	virtio_balloon_init(&f->b, false, &f->v.b.memory.phys, &f->v.io);
	r = virtio_pci_init(&f->pci, &f->b.dev, &f->v.b.board, &f->v.pci, VD_DEVFN, 0x00ff00, NULL);
	return r < 0 || !vd_probe(&f->v) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_balloon_done(&f->b);
	vd_bench_done(&f->v);
	free(f);
	return 0;
}

static uint64_t host_bytes(struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstat(f->v.b.memory.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void fill(struct fixture *f, uint64_t gpa, uint64_t len)
{
	memset(vd_ram(&f->v, gpa), 0xa5, len);
}

static bool is(struct fixture *f, uint64_t gpa, uint8_t value)
{
	const uint8_t *p = vd_ram(&f->v, gpa);

	for (unsigned int k = 0; k < 4096; k++)
		if (p[k] != value)
			return false;
	return true;
}

static void number(struct fixture *f, unsigned int k, uint64_t gpa)
{
	put_le32((uint8_t *)vd_ram(&f->v, LIST + 4 * (uint64_t)k), (uint32_t)(gpa >> 12));
}

static void test_inflate(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece list = { LIST, 0, false };
	uint64_t before;

	assert_true(vd_start(v, ALL, NR, 64));
	fill(f, PAGES, 64 * 4096);
	/* In order, backwards, alone, twice; what is no RAM, and no page of this machine at all. */
	for (unsigned int k = 0; k < 16; k++)
		number(f, k, PAGES + 4096 * (uint64_t)k);
	for (unsigned int k = 0; k < 16; k++)
		number(f, 16 + k, PAGES + 4096 * (uint64_t)(47 - k));
	number(f, 32, PAGES + 4096 * 50);
	number(f, 33, PAGES + 4096 * 50);
	number(f, 34, 0xa0000);
	number(f, 35, 0xfee00000);
	put_le32((uint8_t *)vd_ram(v, LIST + 4 * 36), UINT32_MAX);
	number(f, 37, PAGES + 4096 * 60);
	list.len = 38 * 4 + 3; /* and a part of a number */
	before = host_bytes(f);
	assert_int_equal(vd_do(v, INFLATE, &list, 1), 0);
	for (unsigned int k = 0; k < 64; k++) {
		bool gone = k < 16 || (k >= 32 && k < 48) || k == 50 || k == 60;

		assert_true(is(f, PAGES + 4096 * (uint64_t)k, gone ? 0 : 0xa5));
	}
	/* Looking at them took them from the host again, so this is measured once more. */
	assert_int_equal(vd_do(v, INFLATE, &list, 1), 0);
	assert_true(host_bytes(f) <= before - 34 * 4096);
	assert_int_equal(vd_status(v) & VD_S_NEEDS_RESET, 0);
	/* Nothing happens when they are taken back. */
	assert_int_equal(vd_do(v, DEFLATE, &list, 1), 0);
	/* A driver may write the pages as soon as it likes. */
	fill(f, PAGES, 4096);
	assert_true(is(f, PAGES, 0xa5));
}

/* The log must know that a page became zeros. */
static void test_inflate_is_logged(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct memory *m = &v->b.memory;
	struct vd_piece list = { LIST, 8, false };
	uint64_t *bits = calloc(VD_RAM / 4096 / 64, 8);

	assert_non_null(bits);
	assert_true(vd_start(v, ALL, NR, 64));
	fill(f, PAGES, 4 * 4096);
	number(f, 0, PAGES + 4096);
	number(f, 1, PAGES + 2 * 4096);
	assert_int_equal(memory_log_start(m), 0);
	assert_int_equal(vd_do(v, INFLATE, &list, 1), 0);
	(void)memory_log_fetch(m, bits);
	assert_int_equal(bits[PAGES / 4096 / 64] & 15, 6);
	memory_log_stop(m);
	free(bits);
}

/* A list of many pages is worked through in turns, and given up in a reset. */
static void test_long_list(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece list = { LIST, LIST_LEN, false };
	uint32_t len;
	uint16_t id;
	unsigned int turns = 0;

	for (unsigned int again = 0; again < 2; again++) {
		assert_true(vd_start(v, ALL, NR, 64));
		fill(f, LIST, LIST_LEN);
		fill(f, PAGES, 4096);
		number(f, LIST_LEN / 4 - 1, PAGES);
		vd_add(v, INFLATE, &list, 1, false);
		vd_notify(v, INFLATE);
		assert_true(iothread_run(&v->io));
		if (again)
			break;
		do
			turns++;
		while (iothread_run(&v->io));
		assert_true(turns > 1);
		assert_true(vd_used(v, INFLATE, &id, &len));
		assert_true(is(f, PAGES, 0));
	}
	vd_set_status(v, 0);
	assert_int_equal(vd_status(v), 0);
	vd_run(v);
	assert_true(is(f, PAGES, 0xa5));
}

/* The driver's queue for reports is the 4th, 5th, or, without statistics, the 3rd. */
static void report(struct fixture *f, uint64_t features, unsigned int queue, bool gone)
{
	struct vd *v = &f->v;
	struct vd_piece p[] = { { PAGES, 0x2000, true },
				{ PAGES + 0x4800, 0x1800, true },
				{ 0x9f000, 0x1000, true } };
	uint64_t reported = f->b.reported_bytes;

	fill(f, PAGES, 8 * 4096);
	fill(f, 0x9f000, 4096);
	assert_int_equal(vd_do(v, queue, p, 3), 0);
	for (unsigned int k = 0; k < 8; k++)
		assert_true(
			is(f, PAGES + 4096 * (uint64_t)k, gone && (k < 2 || k == 5) ? 0 : 0xa5));
	assert_true(is(f, 0x9f000, gone ? 0 : 0xa5));
	assert_int_equal(f->b.reported_bytes - reported, gone ? 4 * 4096 : 0);
}

static void test_report(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;

	assert_true(vd_start(v, ALL, NR, 64));
	report(f, ALL, REPORT, true);
	report(f, ALL, REPORT_TOO, true);
	assert_true(vd_start(v, 1 << F_REPORTING, NR, 64));
	report(f, 1 << F_REPORTING, STATS, true);
	/* A guest that fills its free pages with zeros loses nothing; with something else it would. */
	assert_true(vd_start(v, ALL | 1 << F_POISON, NR, 64));
	report(f, ALL, REPORT, true);
	vd_out(v, v->config + 12, 4, 0xaaaaaaaa);
	report(f, ALL, REPORT, false);
	assert_true(vd_start(v, ALL | 1 << F_POISON, NR, 64));
	report(f, ALL, REPORT, true);
}

static void test_target(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct virtio_balloon_info info;
	unsigned int irqs;

	virtio_balloon_info(&f->b, &info);
	assert_false(info.is_running);
	virtio_balloon_set(&f->b, 16 << 20);
	assert_true(vd_start(v, ALL, NR, 64));
	assert_int_equal(vd_in(v, v->config, 4), 4096);
	irqs = v->nr_queue_msi[NR];
	virtio_balloon_set(&f->b, 4 << 20);
	assert_int_equal(vd_in(v, v->config, 4), 1024);
	assert_int_equal(v->nr_queue_msi[NR], irqs + 1);
	/* The driver cannot change what it is asked for. */
	vd_out(v, v->config, 4, 0);
	vd_out(v, v->config + 4, 4, 77);
	virtio_balloon_info(&f->b, &info);
	assert_true(info.is_running);
	assert_int_equal(info.target_bytes, 4 << 20);
	assert_int_equal(info.actual_bytes, 77 << 12);
	/* A new driver holds nothing, and is asked again. */
	assert_true(vd_start(v, ALL, NR, 64));
	virtio_balloon_info(&f->b, &info);
	assert_int_equal(info.actual_bytes, 0);
	assert_int_equal(vd_in(v, v->config, 4), 1024);
}

static void put_stat(struct fixture *f, unsigned int k, uint16_t tag, uint64_t value)
{
	put_le16((uint8_t *)vd_ram(&f->v, LIST + 10 * (uint64_t)k), tag);
	put_le64((uint8_t *)vd_ram(&f->v, LIST + 10 * (uint64_t)k + 2), value);
}

static void test_stats(void **state)
{
	struct fixture *f = *state;
	struct vd *v = &f->v;
	struct vd_piece p = { LIST, 35, false };
	struct virtio_balloon_info info;
	uint32_t len;
	uint16_t id;

	assert_true(vd_start(v, ALL, NR, 64));
	virtio_balloon_info(&f->b, &info);
	vd_run(v);
	put_stat(f, 0, 4, 1000);
	put_stat(f, 1, 0xfff0, 1);
	put_stat(f, 2, 5, UINT64_MAX);
	vd_add(v, STATS, &p, 1, false);
	vd_kick(v, STATS);
	/* Somebody has asked before there was a buffer, and so it came back at once. */
	assert_true(vd_used(v, STATS, &id, &len));
	put_stat(f, 0, 4, 2000);
	vd_add(v, STATS, &p, 1, false);
	vd_kick(v, STATS);
	assert_false(vd_used(v, STATS, &id, &len));
	virtio_balloon_info(&f->b, &info);
	assert_int_equal(info.nr_stats, 2);
	assert_int_equal(info.stats_known, 1 << 4 | 1 << 5);
	assert_int_equal(info.stats_value[4], 2000);
	assert_true(info.stats_value[5] == UINT64_MAX);
	vd_run(v);
	assert_true(vd_used(v, STATS, &id, &len));
	/* A buffer that is kept is given up in a reset. */
	vd_add(v, STATS, &p, 1, false);
	vd_kick(v, STATS);
	assert_true(vd_start(v, ALL, NR, 64));
	vd_add(v, STATS, &p, 1, false);
	vd_kick(v, STATS);
	assert_int_equal(f->b.nr_stats, 4);
	assert_string_equal(virtio_balloon_stat_name(4), "free_bytes");
	assert_null(virtio_balloon_stat_name(VIRTIO_BALLOON_STATS));
}

/* A driver may take memory back by itself, but not from a strict balloon. */
static void test_strict(void **state)
{
	struct fixture *f = *state;
	struct virtio_balloon strict;

	virtio_balloon_init(&strict, true, &f->v.b.memory.phys, &f->v.io);
	assert_int_equal(f->b.dev.features ^ strict.dev.features, 1 << F_OOM);
	assert_true(f->b.dev.features >> F_OOM & 1);
	virtio_balloon_done(&strict);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_inflate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inflate_is_logged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_report, setup, teardown),
		cmocka_unit_test_setup_teardown(test_target, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strict, setup, teardown),
	};

	return cmocka_run_group_tests_name("virtio balloon", tests, NULL, NULL);
}
