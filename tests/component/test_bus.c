/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sys/thread.h"
#include "vm/bus.h"

struct dev {
	struct bus_range r;
	uint64_t reads, writes, last_off, last_value;
	unsigned int last_size;
};

static uint64_t dev_read(void *arg, uint64_t off, unsigned int size)
{
	struct dev *d = arg;

	d->reads++;
	d->last_off = off;
	d->last_size = size;
	return UINT64_C(0x1122334455667788) + off;
}

static void dev_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct dev *d = arg;

	d->writes++;
	d->last_off = off;
	d->last_size = size;
	d->last_value = value;
}

static void dev_make(struct dev *d, uint64_t base, uint64_t len, unsigned int max_size)
{
	*d = (struct dev){ .r = { .name = "dev",
				  .base = base,
				  .len = len,
				  .read = dev_read,
				  .write = dev_write,
				  .arg = d,
				  .max_size = max_size } };
}

static void test_floating(void **state)
{
	struct bus *bus = bus_new("test");

	assert_int_equal(bus_read(bus, 0x80, 1), 0xff);
	assert_int_equal(bus_read(bus, 0x80, 2), 0xffff);
	assert_int_equal(bus_read(bus, 0x80, 4), 0xffffffff);
	assert_true(bus_read(bus, UINT64_MAX - 7, 8) == UINT64_MAX);
	assert_true(bus_read(bus, UINT64_MAX, 8) == UINT64_MAX);
	bus_write(bus, UINT64_MAX, 8, 1);
	bus_free(bus);
	bus_free(NULL);
}

static void test_dispatch(void **state)
{
	struct bus *bus = bus_new("test");
	struct dev a, b, c;

	dev_make(&a, 0x100, 8, 0);
	dev_make(&b, 0x108, 8, 1);
	dev_make(&c, 0x0, 0x100, 4);
	assert_int_equal(bus_add(bus, &a.r, NULL), 0);
	assert_int_equal(bus_add(bus, &b.r, NULL), 0);
	assert_int_equal(bus_add(bus, &c.r, NULL), 0);

	assert_int_equal(bus_read(bus, 0x102, 2), 0x778a);
	assert_int_equal(a.last_off, 2);
	assert_int_equal(a.last_size, 2);
	/* One access of four bytes is four of one. */
	assert_int_equal(bus_read(bus, 0x108, 4), 0x8b8a8988);
	assert_int_equal(b.reads, 4);
	/* max_size 4 halves eight bytes. */
	bus_write(bus, 0x10, 8, UINT64_C(0xaabbccdd11223344));
	assert_int_equal(c.writes, 2);
	assert_int_equal(c.last_off, 0x14);
	assert_int_equal(c.last_value, 0xaabbccdd);
	/* Across two ranges: bytes. */
	a.reads = b.reads = 0;
	assert_int_equal(bus_read(bus, 0x106, 4), 0x89888f8e);
	assert_int_equal(a.reads, 2);
	assert_int_equal(b.reads, 2);
	/* Three bytes are left after one: one and two, no access of size three. */
	c.reads = a.reads = 0;
	(void)bus_read(bus, 0xff, 4);
	assert_int_equal(c.reads, 1);
	assert_int_equal(a.reads, 2);
	assert_int_equal(a.last_size, 2);
	assert_int_equal(a.r.nr_reads, 5);

	bus_del(bus, &a.r);
	assert_int_equal(bus_read(bus, 0x100, 1), 0xff);
	bus_del(bus, &a.r); /* twice is harmless */
	bus_free(bus);
}

static void test_refused(void **state)
{
	struct bus *bus = bus_new("test");
	struct dev a, b;
	struct err err = ERR_INIT;

	dev_make(&a, 0x100, 0x10, 0);
	assert_int_equal(bus_add(bus, &a.r, NULL), 0);
	dev_make(&b, 0x10f, 1, 0);
	assert_int_equal(bus_add(bus, &b.r, &err), -EEXIST);
	assert_non_null(strstr(err.text, "dev"));
	dev_make(&b, 0xf0, 0x11, 0);
	assert_int_equal(bus_add(bus, &b.r, NULL), -EEXIST);
	dev_make(&b, 0, 0x1000, 0);
	assert_int_equal(bus_add(bus, &b.r, NULL), -EEXIST);
	dev_make(&b, 0x200, 0, 0);
	assert_int_equal(bus_add(bus, &b.r, NULL), -EINVAL);
	dev_make(&b, UINT64_MAX, 2, 0);
	assert_int_equal(bus_add(bus, &b.r, NULL), -EINVAL);
	dev_make(&b, UINT64_MAX, 1, 0);
	assert_int_equal(bus_add(bus, &b.r, NULL), 0);
	assert_true(bus_read(bus, UINT64_MAX, 1) == 0x88);
	bus_free(bus);
}

static void count(const struct bus_range *r, void *arg)
{
	uint64_t *last = arg;

	assert_true(r->base > *last || !*last);
	*last = r->base;
}

static void test_many(void **state)
{
	struct bus *bus = bus_new("test");
	static struct dev d[200];
	uint64_t last = 0;

	for (unsigned int k = 0; k < 200; k++) { /* in no particular order */
		dev_make(&d[k], 0x1000 + (k * 77 % 200) * 0x10, 0x10, 0);
		assert_int_equal(bus_add(bus, &d[k].r, NULL), 0);
	}
	bus_each(bus, count, &last);
	assert_int_equal(last, 0x1000 + 199 * 0x10);
	for (unsigned int k = 0; k < 200; k++) {
		(void)bus_read(bus, d[k].r.base + 3, 1);
		assert_int_equal(d[k].reads, 1);
	}
	bus_free(bus);
}

struct mover {
	struct bus *bus;
	struct dev moving;
	_Atomic bool stop;
};

static void move(void *arg)
{
	struct mover *m = arg;

	for (unsigned int k = 0; !atomic_load(&m->stop); k++) {
		m->moving.r.base = 0x2000 + k % 16 * 0x100;
		assert_int_equal(bus_add(m->bus, &m->moving.r, NULL), 0);
		bus_del(m->bus, &m->moving.r);
	}
}

/* While a range comes and goes, its neighbours always answer. */
static void test_concurrent(void **state)
{
	struct mover m = { .bus = bus_new("test") };
	struct thread thread = { 0 };
	struct dev low, high;

	dev_make(&low, 0x1000, 8, 0);
	dev_make(&high, 0x9000, 8, 0);
	dev_make(&m.moving, 0x2000, 0x100, 0);
	assert_int_equal(bus_add(m.bus, &low.r, NULL), 0);
	assert_int_equal(bus_add(m.bus, &high.r, NULL), 0);
	assert_int_equal(thread_start(&thread, "mover", move, &m, NULL), 0);
	for (unsigned int k = 0; k < 100000; k++) {
		assert_int_equal(bus_read(m.bus, 0x1000, 1), 0x88);
		assert_int_equal(bus_read(m.bus, 0x9001, 1), 0x89);
	}
	atomic_store(&m.stop, true);
	thread_join(&thread);
	bus_free(m.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_floating),   cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_many),
		cmocka_unit_test(test_concurrent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
