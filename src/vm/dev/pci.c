// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Configuration space and what follows from writing to it. A device's 4 KiB of registers are bytes with
 * a mask of writable bits (and one of bits cleared by writing 1), so most registers need no code. After
 * each write the generic part looks at what it must act on: BARs and the command register decide where
 * on the buses the device answers, the bridge's PIRQ registers where its interrupt goes.
 *
 * A BAR that would overlap something else is simply not mapped, until the guest moves it: firmware passes
 * through such states while it sizes and places BARs.
 *
 * One lock for the whole host: configuration accesses are rare. A BAR is (un)mapped under it, and the
 * device's own functions are not called under it but for config_written().
 */
#include "vm/dev/pci.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/thread.h"
#include "vm/dev/pci_priv.h"
#include "vm/memory.h"
#include "vm/snapshot/state.h"

static uint16_t reg16(const struct pci_dev *d, unsigned int off)
{
	return get_le16(d->config + off);
}

static uint64_t bar_address(const struct pci_dev *d, unsigned int nr)
{
	const struct pci_bar *b = &d->bar[nr];
	unsigned int off = PCI_BAR0 + 4 * nr;
	uint32_t low = get_le32(d->config + off);

	if (b->kind == PCI_BAR_IO)
		return low & ~UINT32_C(3);
	if (b->kind == PCI_BAR_MEM64)
		return (uint64_t)get_le32(d->config + off + 4) << 32 | (low & ~UINT32_C(15));
	return low & ~UINT32_C(15);
}

static struct bus *bar_bus(const struct pci_dev *d, const struct pci_bar *b)
{
	return b->kind == PCI_BAR_IO ? d->bus->pio : d->bus->mmio;
}

static bool bar_wanted(const struct pci_dev *d, const struct pci_bar *b, uint64_t addr)
{
	uint16_t command = reg16(d, PCI_COMMAND);
	uint64_t last;

	if (!add_ok(addr, b->size - 1, &last) || !addr)
		return false;
	if (b->kind == PCI_BAR_IO)
		return (command & PCI_COMMAND_IO) && last <= UINT16_MAX;
	/* A 32-bit BAR that ends at the very top is being sized. */
	return (command & PCI_COMMAND_MEMORY) && last != UINT32_MAX && last != UINT64_MAX;
}

/* CPUs go on by the bus until the machine has moved the window. */
static void move_window(struct pci_bus *p, const struct pci_bar *b)
{
	uint64_t gpa = b->mapped ? b->range.base : MEMORY_NOWHERE;

	if (atomic_exchange(&b->window->wanted, gpa) != gpa)
		machine_windows_moved(p->events);
}

/* Brings the buses up to date with the device's BARs and command register. */
static void remap(struct pci_dev *d)
{
	atomic_store_explicit(&d->is_master, reg16(d, PCI_COMMAND) & PCI_COMMAND_MASTER,
			      memory_order_relaxed);
	atomic_store_explicit(&d->has_io, reg16(d, PCI_COMMAND) & PCI_COMMAND_IO,
			      memory_order_relaxed);
	for (unsigned int nr = 0; nr < PCI_NR_BARS; nr++) {
		struct pci_bar *b = &d->bar[nr];
		uint64_t addr;
		bool want;

		if (b->kind == PCI_BAR_NONE)
			continue;
		addr = bar_address(d, nr);
		want = bar_wanted(d, b, addr);
		if (b->mapped && want && addr == b->range.base)
			continue;
		if (b->mapped)
			bus_del(bar_bus(d, b), &b->range);
		b->range.base = addr;
		b->range.len = b->size;
		/* Something else is there already: see above. */
		b->mapped = want && bus_add(bar_bus(d, b), &b->range, NULL) == 0;
		if (b->window)
			move_window(d->bus, b);
	}
}

/* --- interrupt pins --- */

static void drive_pirq(struct pci_bus *p, unsigned int pirq)
{
	struct irq_line line = irq_router_line(p->irqs, PCI_PIRQ_GSI + pirq, IRQ_FROM_PIRQ);
	uint8_t route = p->lpc.config[pci_pirq_reg(pirq)];
	bool level = p->pirq_count[pirq] > 0;

	irq_set(&line, level);
	if (route & PCI_PIRQ_OFF)
		return;
	/* Several PIRQs may be routed to one ISA interrupt. */
	level = false;
	for (unsigned int k = 0; k < PCI_NR_PIRQ; k++)
		level = level || (p->lpc.config[pci_pirq_reg(k)] == route && p->pirq_count[k]);
	line = irq_router_line(p->irqs, route & 15, IRQ_FROM_PIRQ);
	irq_set(&line, level);
}

static unsigned int pirq_of(const struct pci_dev *d)
{
	uint8_t pin = d->config[PCI_INTERRUPT_PIN];

	return pci_pirq(d->devfn >> 3, pin ? pin - 1u : 0);
}

static void update_intx(struct pci_dev *d)
{
	uint8_t pin = d->config[PCI_INTERRUPT_PIN];
	bool disabled = reg16(d, PCI_COMMAND) & PCI_COMMAND_INTX_OFF;
	bool out = d->intx && !disabled && pin && !d->has_messages;
	unsigned int pirq = pirq_of(d);

	if (d->intx)
		d->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		d->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (out == d->intx_out)
		return;
	d->intx_out = out;
	d->bus->pirq_count[pirq] += out ? 1 : -1u;
	drive_pirq(d->bus, pirq);
}

void pci_dev_set_intx(struct pci_dev *d, bool level)
{
	if (!d->bus)
		return;
	mutex_guard(&d->bus->lock);
	d->intx = level;
	update_intx(d);
}

/* --- access --- */

static void write_bytes(struct pci_dev *d, uint16_t off, unsigned int size, uint32_t value)
{
	for (unsigned int k = 0; k < size; k++) {
		uint8_t v = (uint8_t)(value >> (8 * k)), *reg = &d->config[off + k];

		*reg = (uint8_t)((*reg & ~d->wmask[off + k]) | (v & d->wmask[off + k]));
		*reg &= (uint8_t) ~(v & d->w1cmask[off + k]);
	}
}

static void config_write(struct pci_bus *p, struct pci_dev *d, uint16_t off, unsigned int size,
			 uint32_t value)
{
	uint8_t route[PCI_NR_PIRQ];

	for (unsigned int k = 0; k < PCI_NR_PIRQ; k++)
		route[k] = p->lpc.config[pci_pirq_reg(k)];
	write_bytes(d, off, size, value);
	if (off < PCI_CAP_FIRST) {
		remap(d);
		update_intx(d);
	}
	for (unsigned int k = 0; d == &p->lpc && k < PCI_NR_PIRQ; k++) {
		struct irq_line old = irq_router_line(p->irqs, route[k] & 15, IRQ_FROM_PIRQ);

		if (route[k] == p->lpc.config[pci_pirq_reg(k)])
			continue;
		if (!(route[k] & PCI_PIRQ_OFF))
			irq_set(&old, false);
		/* Others may be routed to where this one was. */
		for (unsigned int other = 0; other < PCI_NR_PIRQ; other++)
			drive_pirq(p, other);
	}
	if (d->config_written) {
		d->config_written(d, off, size);
		update_intx(d);
	}
}

/* The device at bus/device/function @bdf; only bus 0 exists. */
static struct pci_dev *find(struct pci_bus *p, uint16_t bdf)
{
	return bdf < ARRAY_SIZE(p->dev) ? p->dev[bdf] : NULL;
}

static bool access_ok(uint16_t off, unsigned int size)
{
	return (size == 1 || size == 2 || size == 4) && range_ok(off, size, PCI_CONFIG_SIZE);
}

/* The window behind a register, if it is one. */
static bool window(struct pci_bus *p, uint16_t bdf, uint16_t off, unsigned int size, bool is_write,
		   uint32_t *value)
{
	struct pci_dev *d;

	mutex_lock(&p->lock);
	d = find(p, bdf);
	mutex_unlock(&p->lock);
	return d && d->config_window && access_ok(off, size) &&
	       d->config_window(d, off, size, is_write, value);
}

uint32_t pci_config_read(struct pci_bus *p, uint16_t bdf, uint16_t off, unsigned int size)
{
	const struct pci_dev *d;
	uint32_t value;

	if (window(p, bdf, off, size, false, &value))
		return value;
	mutex_guard(&p->lock);
	d = find(p, bdf);
	if (!d || !access_ok(off, size))
		return UINT32_MAX;
	return (uint32_t)get_le(d->config + off, size);
}

void pci_config_write(struct pci_bus *p, uint16_t bdf, uint16_t off, unsigned int size,
		      uint32_t value)
{
	struct pci_dev *d;

	mutex_lock(&p->lock);
	d = find(p, bdf);
	if (d && access_ok(off, size))
		config_write(p, d, off, size, value);
	mutex_unlock(&p->lock);
	window(p, bdf, off, size, true, &value);
}

/* --- devices --- */

void pci_dev_setup(struct pci_dev *d, const char *name, uint16_t vendor, uint16_t device,
		   uint32_t class_code, uint8_t revision)
{
	memset(d, 0, sizeof(*d));
	d->name = name;
	put_le16(d->config + PCI_VENDOR, vendor);
	put_le16(d->config + PCI_DEVICE, device);
	d->config[PCI_REVISION] = revision;
	put_le(d->config + PCI_CLASS, class_code, 3);
	put_le16(d->wmask + PCI_COMMAND, PCI_COMMAND_WRITABLE);
	d->wmask[PCI_CACHE_LINE] = 0xff;
	d->wmask[PCI_LATENCY] = 0xff;
	d->wmask[PCI_INTERRUPT_LINE] = 0xff;
	put_le16(d->w1cmask + PCI_STATUS, PCI_STATUS_ERRORS);
	d->cap_end = PCI_CAP_FIRST;
}

void pci_dev_set_subsystem(struct pci_dev *d, uint16_t vendor, uint16_t device)
{
	put_le16(d->config + PCI_SUBSYSTEM_VENDOR, vendor);
	put_le16(d->config + PCI_SUBSYSTEM, device);
}

void pci_dev_set_pin(struct pci_dev *d, uint8_t pin)
{
	d->config[PCI_INTERRUPT_PIN] = pin;
}

int pci_dev_add_bar(struct pci_dev *d, unsigned int nr, enum pci_bar_kind kind, bool prefetchable,
		    uint64_t size, const struct bus_range *range)
{
	unsigned int words = kind == PCI_BAR_MEM64 ? 2 : 1, off = PCI_BAR0 + 4 * nr;
	uint64_t least = kind == PCI_BAR_IO ? 4 : 16, most, mask;

	most = kind == PCI_BAR_IO      ? 256
	       : kind == PCI_BAR_MEM64 ? UINT64_C(1) << 46
				       : UINT64_C(1) << 30;
	if (kind == PCI_BAR_NONE || nr + words > PCI_NR_BARS || !size || size > most)
		return -EINVAL;
	for (unsigned int k = 0; k < words; k++)
		if (d->bar[nr + k].kind != PCI_BAR_NONE)
			return -EINVAL;
	if (nr && d->bar[nr - 1].kind == PCI_BAR_MEM64)
		return -EINVAL;
	while (least < size)
		least <<= 1;
	d->bar[nr] = (struct pci_bar){
		.kind = kind, .prefetchable = prefetchable, .size = least, .range = *range
	};
	mask = ~(least - 1);
	put_le32(d->wmask + off, (uint32_t)mask);
	if (kind == PCI_BAR_IO) {
		d->config[off] = 1;
	} else {
		d->config[off] = (uint8_t)((words == 2 ? 4 : 0) | (prefetchable ? 8 : 0));
		if (words == 2)
			put_le32(d->wmask + off + 4, (uint32_t)(mask >> 32));
	}
	return 0;
}

int pci_dev_add_cap(struct pci_dev *d, uint8_t id, unsigned int len)
{
	unsigned int at = (d->cap_end + 3u) & ~3u, link = PCI_CAP_POINTER;

	if (len < 2 || at + len > PCI_CAP_LIMIT)
		return -ENOSPC;
	while (d->config[link])
		link = d->config[link] + 1u;
	d->config[link] = (uint8_t)at;
	d->config[at] = id;
	d->config[PCI_STATUS] |= PCI_STATUS_CAPS;
	d->cap_end = (uint16_t)(at + len);
	return (int)at;
}

int pci_dev_plug(struct pci_bus *p, struct pci_dev *d, uint8_t devfn, struct err *err)
{
	mutex_guard(&p->lock);
	if (p->dev[devfn])
		return err_set(err, -EEXIST, "PCI slot %02x.%x has '%s' already", devfn >> 3,
			       devfn & 7, p->dev[devfn]->name);
	d->bus = p;
	d->devfn = devfn;
	p->dev[devfn] = d;
	/* Functions 1 to 7 are looked for only when function 0 says so. */
	if ((devfn & 7) && p->dev[devfn & ~7])
		p->dev[devfn & ~7]->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI;
	return 0;
}

void pci_dev_unplug(struct pci_dev *d)
{
	struct pci_bus *p = d->bus;

	if (!p)
		return;
	mutex_guard(&p->lock);
	put_le16(d->config + PCI_COMMAND, 0);
	remap(d);
	d->intx = false;
	update_intx(d);
	p->dev[d->devfn] = NULL;
	d->bus = NULL;
}

static void dev_reset(struct pci_dev *d)
{
	put_le16(d->config + PCI_COMMAND, 0);
	d->config[PCI_INTERRUPT_LINE] = 0;
	d->config[PCI_CACHE_LINE] = d->config[PCI_LATENCY] = 0;
	for (unsigned int nr = 0; nr < PCI_NR_BARS; nr++)
		for (unsigned int k = 0; k < 4; k++)
			d->config[PCI_BAR0 + 4 * nr + k] &=
				(uint8_t)~d->wmask[PCI_BAR0 + 4 * nr + k];
	d->intx = false;
	remap(d);
	update_intx(d);
}

void pci_reset(struct pci_bus *p)
{
	mutex_guard(&p->lock);
	for (unsigned int k = 0; k < ARRAY_SIZE(p->dev); k++)
		if (p->dev[k])
			dev_reset(p->dev[k]);
	pci_host_reset(p);
}

/* --- what firmware does --- */

static int place(uint64_t *next, uint64_t end, uint64_t size, uint64_t *ret)
{
	uint64_t at, stop;

	if (!align_up_ok(*next, size, &at) || !add_ok(at, size, &stop) || stop > end)
		return -ENOSPC;
	*ret = at;
	*next = stop;
	return 0;
}

int pci_assign_bars(struct pci_bus *p, struct err *err)
{
	uint64_t io = PCI_IO_BASE, mem = PCI_MMIO32_BASE, at = 0;

	mutex_guard(&p->lock);
	for (unsigned int k = 0; k < ARRAY_SIZE(p->dev); k++) {
		struct pci_dev *d = p->dev[k];
		uint16_t command = 0;

		for (unsigned int nr = 0; d && nr < PCI_NR_BARS; nr++) {
			struct pci_bar *b = &d->bar[nr];
			unsigned int off = PCI_BAR0 + 4 * nr;
			bool is_io = b->kind == PCI_BAR_IO;

			if (b->kind == PCI_BAR_NONE)
				continue;
			if (place(is_io ? &io : &mem, is_io ? PCI_IO_END : PCI_MMIO32_END, b->size,
				  &at) < 0)
				return err_set(err, -ENOSPC, "no room for BAR %u of '%s'", nr,
					       d->name);
			put_le32(d->config + off, get_le32(d->config + off) | (uint32_t)at);
			command |= is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
		}
		if (d && d->config[PCI_INTERRUPT_PIN])
			d->config[PCI_INTERRUPT_LINE] = (uint8_t)(PCI_PIRQ_GSI + pirq_of(d));
		if (!command)
			continue;
		put_le16(d->config + PCI_COMMAND, command | PCI_COMMAND_MASTER);
		remap(d);
	}
	return 0;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field dev_fields[] = {
	STATE_BYTES(struct pci_dev, config),
	STATE_BOOL(struct pci_dev, intx),
};

/* What a guest can change, and nothing else: who a device is, where its capabilities are, is the device's own. */
static int check_dev(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct pci_dev *n = next, *p = present;

	if (memcmp(n->config, p->config, 4) != 0)
		return err_set(err, -EINVAL,
			       "it is a device %04x:%04x there, and '%s' in this machine",
			       reg16(n, PCI_VENDOR), reg16(n, PCI_DEVICE), p->name);
	for (unsigned int off = 0; off < PCI_CONFIG_SIZE; off++) {
		uint8_t mask = p->wmask[off] | p->w1cmask[off];

		if (off == PCI_STATUS)
			mask |= PCI_STATUS_INTERRUPT;
		if ((n->config[off] ^ p->config[off]) & ~mask)
			return err_set(err, -EINVAL,
				       "register 0x%x of the configuration space is 0x%02x, and "
				       "0x%02x in this device",
				       off, n->config[off], p->config[off]);
	}
	return 0;
}

/* What follows from the registers is made for the bus as a whole: what one device moves to may be another's place yet. */
const struct state_desc pci_dev_state = {
	.name = "pci-device",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct pci_dev, dev_fields),
	.check = check_dev,
};

static const struct state_field bus_fields[] = {
	STATE_MAX(struct pci_bus, address, 0x80ffffff),
	STATE_ANY(struct pci_bus, rst_cnt),
};

static void bus_loaded(void *obj)
{
	struct pci_bus *p = obj;

	mutex_guard(&p->lock);
	for (unsigned int k = 0; k < ARRAY_SIZE(p->dev); k++)
		for (unsigned int nr = 0; p->dev[k] && nr < PCI_NR_BARS; nr++) {
			struct pci_bar *b = &p->dev[k]->bar[nr];

			if (b->mapped)
				bus_del(bar_bus(p->dev[k], b), &b->range);
			b->mapped = false;
		}
	for (unsigned int k = 0; k < ARRAY_SIZE(p->dev); k++) {
		struct pci_dev *d = p->dev[k];

		if (!d)
			continue;
		remap(d);
		if (d->config_written)
			d->config_written(d, 0, PCI_CONFIG_SIZE);
		update_intx(d);
	}
	for (unsigned int pirq = 0; pirq < PCI_NR_PIRQ; pirq++)
		drive_pirq(p, pirq);
}

const struct state_desc pci_bus_state = {
	.name = "pci",
	.version = 1,
	STATE_LOCK(struct pci_bus, lock),
	STATE_TABLE(struct pci_bus, bus_fields),
	.loaded = bus_loaded,
};
