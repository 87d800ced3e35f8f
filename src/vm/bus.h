/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_BUS_H
#define VM_BUS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A bus maps addresses (I/O ports or guest-physical addresses) to the devices that answer them. A device
 * registers ranges with two functions; they run on the vCPU's thread, and take the device's own mutex.
 * Ranges never overlap. Looking up takes no lock while ranges come and go (a PCI BAR moves): the sorted
 * table has a sequence number, and a lookup that saw it change looks again.
 */
struct bus;
struct bus_range {
	const char *name; /* for --stats; static */
	uint64_t base, len;
	/* @off: from base. @size: 1, 2, 4 or 8 (ports: at most 4). Unused high bits of the result are ignored.
	 * NULL: reads float, writes are swallowed. */
	uint64_t (*read)(void *arg, uint64_t off, unsigned int size);
	void (*write)(void *arg, uint64_t off, unsigned int size, uint64_t value);
	void *arg;
	unsigned int
		max_size; /* larger accesses are split into ones of this size; 0 = takes any size */
	uint64_t nr_reads, nr_writes; /* counted by the bus (relaxed) */
};

/* bus_new - an empty bus; addresses nobody answers read as all ones and swallow writes. */
struct bus *bus_new(const char *name);
void bus_free(struct bus *bus);

/*
 * bus_add - let a device answer [r->base, r->base + r->len).
 *
 * @r: caller-owned, must outlive its registration.
 * Returns 0, -EEXIST when it overlaps another range (named in @err), -EINVAL for an empty or wrapping one.
 */
_nodiscard_ int bus_add(struct bus *bus, struct bus_range *r, struct err *err);

/* bus_del - stop answering. Afterwards no new access starts; one in flight on another vCPU may still end. */
void bus_del(struct bus *bus, struct bus_range *r);

/* An access that straddles ranges is split into bytes. Thread: any vCPU thread. */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size);
void bus_write(struct bus *bus, uint64_t addr, unsigned int size, uint64_t value);

/* bus_each - call @fn for every range in address order (statistics). */
void bus_each(struct bus *bus, void (*fn)(const struct bus_range *r, void *arg), void *arg);

#endif
