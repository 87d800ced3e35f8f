// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The port and memory buses. Every exit of a vCPU for I/O looks an address up here, on several threads,
 * while a guest that moves a PCI BAR changes the table. So lookups take no lock: the table is a sorted
 * array with a sequence number (odd while it is being changed), and a lookup that overlapped a change
 * looks again. All fields it reads are atomics, so the race is defined; they are stored with release and
 * loaded with acquire, which keeps them between the two looks at the number and costs nothing here.
 * Publishing a fresh copy for each change was rejected: nobody knows when the old one may be freed, and
 * a guest could make them pile up.
 *
 * The array grows by doubling; outgrown ones stay until bus_free(), since a lookup may still be in them.
 */
#include "vm/bus.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/attr.h"
#include "base/checked.h"
#include "base/mem.h"
#include "sys/thread.h"

struct slot {
	_Atomic uint64_t base, last;
	_Atomic(struct bus_range *) range;
};

struct table {
	struct table *older;
	uint32_t max;
	struct slot slot[];
};

struct bus {
	const char *name;
	pthread_mutex_t lock; /* for changes */
	_Atomic uint32_t seq;
	_Atomic uint32_t nr;
	_Atomic(struct table *) table;
};

static struct table *table_new(uint32_t max)
{
	struct table *t = mem_new(sizeof(*t) + max * sizeof(struct slot));

	t->max = max;
	return t;
}

struct bus *bus_new(const char *name)
{
	struct bus *bus = mem_new(sizeof(*bus));

	bus->name = name;
	mutex_init(&bus->lock);
	atomic_init(&bus->table, table_new(32));
	return bus;
}

void bus_free(struct bus *bus)
{
	struct table *t, *older;

	if (!bus)
		return;
	for (t = atomic_load(&bus->table); t; t = older) {
		older = t->older;
		free(t);
	}
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

static void slot_copy(struct slot *to, const struct slot *from)
{
	atomic_store_explicit(&to->base, atomic_load(&from->base), memory_order_release);
	atomic_store_explicit(&to->last, atomic_load(&from->last), memory_order_release);
	atomic_store_explicit(&to->range, atomic_load(&from->range), memory_order_release);
}

static void change_begin(struct bus *bus)
{
	atomic_fetch_add(&bus->seq, 1);
}

static void change_end(struct bus *bus)
{
	atomic_fetch_add(&bus->seq, 1);
}

int bus_add(struct bus *bus, struct bus_range *r, struct err *err)
{
	struct table *t;
	uint64_t last;
	uint32_t nr, at;

	if (!r->len || !add_ok(r->base, r->len - 1, &last))
		return err_set(err, -EINVAL, "%s: '%s' is empty or wraps", bus->name, r->name);
	mutex_guard(&bus->lock);
	t = atomic_load(&bus->table);
	nr = atomic_load(&bus->nr);
	for (at = 0; at < nr && atomic_load(&t->slot[at].last) < r->base; at++)
		;
	if (at < nr && atomic_load(&t->slot[at].base) <= last)
		return err_set(err, -EEXIST, "%s: '%s' at 0x%llx overlaps '%s'", bus->name, r->name,
			       (unsigned long long)r->base, atomic_load(&t->slot[at].range)->name);
	if (nr == t->max) {
		struct table *bigger = table_new(t->max * 2);

		for (uint32_t k = 0; k < nr; k++)
			slot_copy(&bigger->slot[k], &t->slot[k]);
		bigger->older = t;
		t = bigger;
	}
	change_begin(bus);
	atomic_store(&bus->table, t);
	for (uint32_t k = nr; k > at; k--)
		slot_copy(&t->slot[k], &t->slot[k - 1]);
	atomic_store_explicit(&t->slot[at].base, r->base, memory_order_release);
	atomic_store_explicit(&t->slot[at].last, last, memory_order_release);
	atomic_store_explicit(&t->slot[at].range, r, memory_order_release);
	atomic_store_explicit(&bus->nr, nr + 1, memory_order_release);
	change_end(bus);
	return 0;
}

void bus_del(struct bus *bus, struct bus_range *r)
{
	struct table *t;
	uint32_t nr, at;

	if (!bus)
		return;
	mutex_guard(&bus->lock);
	t = atomic_load(&bus->table);
	nr = atomic_load(&bus->nr);
	for (at = 0; at < nr && atomic_load(&t->slot[at].range) != r; at++)
		;
	if (at == nr)
		return;
	change_begin(bus);
	for (uint32_t k = at; k + 1 < nr; k++)
		slot_copy(&t->slot[k], &t->slot[k + 1]);
	atomic_store_explicit(&bus->nr, nr - 1, memory_order_release);
	change_end(bus);
}

/* The range that holds @addr, and the offset in it. */
static struct bus_range *lookup_once(struct bus *bus, uint64_t addr, uint64_t *ret_base,
				     uint64_t *ret_last)
{
	const struct table *t = atomic_load_explicit(&bus->table, memory_order_acquire);
	uint32_t lo = 0, hi = atomic_load_explicit(&bus->nr, memory_order_acquire);

	/* Table and count may belong to different moments; the caller finds out, we stay inside. */
	hi = MIN(hi, t->max);
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		*ret_base = atomic_load_explicit(&t->slot[mid].base, memory_order_acquire);
		*ret_last = atomic_load_explicit(&t->slot[mid].last, memory_order_acquire);
		if (addr < *ret_base)
			hi = mid;
		else if (addr > *ret_last)
			lo = mid + 1;
		else
			return atomic_load_explicit(&t->slot[mid].range, memory_order_acquire);
	}
	return NULL;
}

static struct bus_range *lookup(struct bus *bus, uint64_t addr, uint64_t *ret_base,
				uint64_t *ret_last)
{
	for (;;) {
		uint32_t seq = atomic_load_explicit(&bus->seq, memory_order_acquire);
		struct bus_range *r = lookup_once(bus, addr, ret_base, ret_last);

		if (!(seq & 1) && seq == atomic_load_explicit(&bus->seq, memory_order_relaxed))
			return r;
	}
}

static uint64_t ones(unsigned int size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

/*
 * How many of the @size bytes that are left go to @r at once: all, or at most max_size; single bytes
 * where the access leaves the range.
 */
static unsigned int piece(const struct bus_range *r, uint64_t addr, uint64_t last,
			  unsigned int size)
{
	if (r->max_size && r->max_size < size)
		size = r->max_size;
	return last - addr < size - 1 || !is_pow2(size) ? 1 : size;
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size)
{
	uint64_t base, last, value = 0;
	unsigned int done = 0;

	while (done < size) {
		struct bus_range *r = lookup(bus, addr + done, &base, &last);
		unsigned int n = r ? piece(r, addr + done, last, size - done) : 1;
		uint64_t part = UINT64_MAX;

		if (r) {
			__atomic_fetch_add(&r->nr_reads, 1, __ATOMIC_RELAXED);
			if (r->read)
				part = r->read(r->arg, addr + done - base, n);
		}
		value |= (part & ones(n)) << (8 * done);
		done += n;
	}
	return value;
}

void bus_write(struct bus *bus, uint64_t addr, unsigned int size, uint64_t value)
{
	uint64_t base, last;
	unsigned int done = 0;

	while (done < size) {
		struct bus_range *r = lookup(bus, addr + done, &base, &last);
		unsigned int n = r ? piece(r, addr + done, last, size - done) : 1;

		if (r) {
			__atomic_fetch_add(&r->nr_writes, 1, __ATOMIC_RELAXED);
			if (r->write)
				r->write(r->arg, addr + done - base, n,
					 value >> (8 * done) & ones(n));
		}
		done += n;
	}
}

void bus_each(struct bus *bus, void (*fn)(const struct bus_range *r, void *arg), void *arg)
{
	const struct table *t;

	mutex_guard(&bus->lock);
	t = atomic_load(&bus->table);
	for (uint32_t k = 0; k < atomic_load(&bus->nr); k++)
		fn(atomic_load(&t->slot[k].range), arg);
}
