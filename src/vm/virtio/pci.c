/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI transport. A notification is a write to the queue's own word, so that it costs a bus look-up and a mark.
 *
 * Locks: the device's lock, ours, the PCI bus's, interrupt controllers', in this order. A configuration write runs
 * under the bus's lock and may only touch the MSI-X tables, which are below it; the window into the BAR is served
 * outside of that lock (pci_dev.config_window).
 *
 * A vector is a number until it is used: one that the table does not have reads back as "none" (4.1.5.1.2.1), so
 * no register holds a number that is not checked.
 */
#include "vm/virtio/pci.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

/* clang-format off */
enum {
	VENDOR = 0x1af4,
	DEVICE_BASE = 0x1040,
	REVISION = 1,

	/* BAR 0. */
	OFF_COMMON = 0x0000, LEN_COMMON = 0x38,
	OFF_ISR = 0x1000, LEN_ISR = 1,
	OFF_DEVICE = 0x2000, LEN_DEVICE = 0x1000,
	OFF_NOTIFY = 0x3000, NOTIFY_STEP = 4,
	BAR_SIZE = 0x4000,
	BAR_REGS = 0, BAR_MSIX = 1,

	/* Capabilities (4.1.4). */
	CAP_VENDOR = 9,
	CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_EXTRA = 16,
	TYPE_COMMON = 1, TYPE_NOTIFY = 2, TYPE_ISR = 3, TYPE_DEVICE = 4, TYPE_WINDOW = 5,

	/* The common structure (4.1.4.3). */
	C_FEATURES_SEL = 0, C_FEATURES = 4, C_ACCEPTED_SEL = 8, C_ACCEPTED = 12,
	C_CONFIG_VECTOR = 16, C_NUM_QUEUES = 18, C_STATUS = 20, C_GENERATION = 21,
	C_QUEUE_SEL = 22, C_QUEUE_SIZE = 24, C_QUEUE_VECTOR = 26, C_QUEUE_ENABLE = 28,
	C_QUEUE_NOTIFY_OFF = 30, C_QUEUE_DESC = 32, C_QUEUE_DRIVER = 40, C_QUEUE_DEVICE = 48,

	ISR_QUEUE = 1, ISR_CONFIG = 2,
};
/* clang-format on */

/* --- interrupts ---------------------------------------------------------------------------------------------- */

static void raise_isr(struct virtio_pci *v, uint8_t bit)
{
	mutex_guard(&v->lock);
	v->isr |= bit;
	pci_dev_set_intx(&v->pci, true);
}

static void queue_interrupt(void *arg, const struct virtq *q)
{
	struct virtio_pci *v = arg;

	if (msix_is_enabled(&v->msix))
		msix_notify(&v->msix, q->vector);
	else
		raise_isr(v, ISR_QUEUE);
}

static uint16_t config_vector(struct virtio_pci *v)
{
	mutex_guard(&v->lock);
	return v->config_vector;
}

static void config_interrupt(void *arg)
{
	struct virtio_pci *v = arg;

	if (msix_is_enabled(&v->msix))
		msix_notify(&v->msix, config_vector(v));
	else
		raise_isr(v, ISR_CONFIG);
}

static uint8_t take_isr(struct virtio_pci *v)
{
	uint8_t isr;

	mutex_guard(&v->lock);
	isr = v->isr;
	v->isr = 0;
	pci_dev_set_intx(&v->pci, false);
	return isr;
}

static void was_reset(void *arg)
{
	struct virtio_pci *v = arg;

	take_isr(v);
	mutex_guard(&v->lock);
	v->config_vector = VIRTQ_NO_VECTOR;
	v->queue_sel = 0;
}

static uint16_t vector_of(const struct virtio_pci *v, uint64_t value)
{
	return (uint16_t)value < v->msix.nr ? (uint16_t)value : VIRTQ_NO_VECTOR;
}

/* --- the common structure -------------------------------------------------------------------------------------- */

static uint16_t selected_queue(struct virtio_pci *v)
{
	mutex_guard(&v->lock);
	return v->queue_sel;
}

/* The device's register at an offset of the common structure; false: it is the transport's. */
static bool device_reg(uint64_t off, enum virtio_reg *ret)
{
	switch (off) {
	case C_FEATURES_SEL:
		*ret = VIRTIO_REG_FEATURES_SEL;
		return true;
	case C_FEATURES:
		*ret = VIRTIO_REG_FEATURES;
		return true;
	case C_ACCEPTED_SEL:
		*ret = VIRTIO_REG_ACCEPTED_SEL;
		return true;
	case C_ACCEPTED:
		*ret = VIRTIO_REG_ACCEPTED;
		return true;
	case C_GENERATION:
		*ret = VIRTIO_REG_GENERATION;
		return true;
	default:
		return false;
	}
}

static bool queue_reg(uint64_t off, enum virtio_queue_reg *ret)
{
	static const enum virtio_queue_reg halves[] = {
		VIRTIO_QUEUE_DESC,	  VIRTIO_QUEUE_DESC_HIGH, VIRTIO_QUEUE_DRIVER,
		VIRTIO_QUEUE_DRIVER_HIGH, VIRTIO_QUEUE_DEVICE,	  VIRTIO_QUEUE_DEVICE_HIGH,
	};

	if (off >= C_QUEUE_DESC && off < C_QUEUE_DEVICE + 8 && !(off & 3)) {
		*ret = halves[(off - C_QUEUE_DESC) / 4];
		return true;
	}
	switch (off) {
	case C_QUEUE_SIZE:
		*ret = VIRTIO_QUEUE_SIZE;
		return true;
	case C_QUEUE_VECTOR:
		*ret = VIRTIO_QUEUE_VECTOR;
		return true;
	case C_QUEUE_ENABLE:
		*ret = VIRTIO_QUEUE_ENABLE;
		return true;
	default:
		return false;
	}
}

static uint64_t common_read(struct virtio_pci *v, uint64_t off)
{
	enum virtio_queue_reg qr;
	enum virtio_reg r;
	uint16_t n;

	if (device_reg(off, &r))
		return virtio_reg_read(v->dev, r);
	n = selected_queue(v);
	if (queue_reg(off, &qr)) {
		/* A queue that does not exist has size 0 and no vector (4.1.4.3.1). */
		if (n >= v->dev->nr_queues)
			return qr == VIRTIO_QUEUE_VECTOR ? VIRTQ_NO_VECTOR : 0;
		return virtio_queue_read(v->dev, n, qr);
	}
	switch (off) {
	case C_CONFIG_VECTOR:
		return config_vector(v);
	case C_NUM_QUEUES:
		return v->dev->nr_queues;
	case C_STATUS:
		return virtio_status(v->dev);
	case C_QUEUE_SEL:
		return n;
	case C_QUEUE_NOTIFY_OFF:
		return n < v->dev->nr_queues ? n : 0;
	default:
		return 0;
	}
}

static void common_write(struct virtio_pci *v, uint64_t off, uint64_t value)
{
	enum virtio_queue_reg qr;
	enum virtio_reg r;

	if (device_reg(off, &r)) {
		virtio_reg_write(v->dev, r, (uint32_t)value);
		return;
	}
	if (queue_reg(off, &qr)) {
		if (qr == VIRTIO_QUEUE_VECTOR)
			value = vector_of(v, value);
		virtio_queue_write(v->dev, selected_queue(v), qr, (uint32_t)value);
		return;
	}
	if (off == C_STATUS) {
		virtio_set_status(v->dev, (uint8_t)value);
		return;
	}
	mutex_guard(&v->lock);
	if (off == C_CONFIG_VECTOR)
		v->config_vector = vector_of(v, value);
	else if (off == C_QUEUE_SEL)
		v->queue_sel = (uint16_t)value;
}

/* --- BAR 0 ------------------------------------------------------------------------------------------------------- */

static uint64_t regs_read(void *arg, uint64_t off, unsigned int size)
{
	struct virtio_pci *v = arg;

	if (off < LEN_COMMON) {
		uint64_t value = common_read(v, off);

		/* The addresses may be read and written as 64 bits. */
		if (size == 8)
			value |= common_read(v, off + 4) << 32;
		return value;
	}
	if (off == OFF_ISR)
		return take_isr(v);
	if (off >= OFF_DEVICE && off < OFF_DEVICE + LEN_DEVICE)
		return virtio_config_read(v->dev, off - OFF_DEVICE, size);
	return 0;
}

static void regs_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct virtio_pci *v = arg;

	if (off >= OFF_NOTIFY) {
		/* The word's place says which queue; the value says the same (4.1.5.2). */
		virtio_kick(v->dev, (unsigned int)(off - OFF_NOTIFY) / NOTIFY_STEP);
	} else if (off < LEN_COMMON) {
		common_write(v, off, size == 8 ? (uint32_t)value : value);
		if (size == 8)
			common_write(v, off + 4, value >> 32);
	} else if (off >= OFF_DEVICE && off < OFF_DEVICE + LEN_DEVICE) {
		virtio_config_write(v->dev, off - OFF_DEVICE, size, value);
	}
}

/* --- configuration space ------------------------------------------------------------------------------------------- */

static void config_written(struct pci_dev *d, uint16_t off, unsigned int size)
{
	struct virtio_pci *v = container_of(d, struct virtio_pci, pci);

	msix_config_written(&v->msix, off, size);
}

/* The capability's last word stands for BAR, offset and length that were written to it before (4.1.4.9). */
static bool config_window(struct pci_dev *d, uint16_t off, unsigned int size, bool is_write,
			  uint32_t *value)
{
	struct virtio_pci *v = container_of(d, struct virtio_pci, pci);
	uint8_t cap[CAP_EXTRA + 4];
	uint32_t at, len;

	if (is_write && range_overlap(off, size, PCI_COMMAND, 2))
		virtio_master_changed(v->dev);
	if (off != v->window_cap + CAP_EXTRA)
		return false;
	mutex_lock(&d->bus->lock);
	memcpy(cap, d->config + v->window_cap, sizeof(cap));
	mutex_unlock(&d->bus->lock);
	at = get_le32(cap + CAP_OFFSET);
	len = get_le32(cap + CAP_LENGTH);
	if (cap[CAP_BAR] != BAR_REGS || (len != 1 && len != 2 && len != 4) || at % len ||
	    !range_ok(at, len, BAR_SIZE) || size < len) {
		*value = 0;
		return true;
	}
	if (is_write)
		regs_write(v, at, len, get_le(cap + CAP_EXTRA, len));
	else
		*value = (uint32_t)regs_read(v, at, len) & (uint32_t)(UINT64_MAX >> (64 - 8 * len));
	return true;
}

static int add_cap(struct virtio_pci *v, unsigned int type, unsigned int off, unsigned int len,
		   uint32_t extra)
{
	bool has_extra = type == TYPE_NOTIFY || type == TYPE_WINDOW;
	unsigned int size = has_extra ? CAP_EXTRA + 4 : CAP_EXTRA;
	int r = pci_dev_add_cap(&v->pci, CAP_VENDOR, size);
	uint8_t *cap = v->pci.config + MAX(r, 0);

	if (r < 0)
		return r;
	cap[CAP_LEN] = (uint8_t)size;
	cap[CAP_TYPE] = (uint8_t)type;
	cap[CAP_BAR] = BAR_REGS;
	put_le32(cap + CAP_OFFSET, off);
	put_le32(cap + CAP_LENGTH, len);
	if (has_extra)
		put_le32(cap + CAP_EXTRA, extra);
	return r;
}

static int add_caps(struct virtio_pci *v)
{
	int r = add_cap(v, TYPE_COMMON, OFF_COMMON, LEN_COMMON, 0);

	if (r >= 0)
		r = add_cap(v, TYPE_ISR, OFF_ISR, LEN_ISR, 0);
	if (r >= 0)
		r = add_cap(v, TYPE_DEVICE, OFF_DEVICE, LEN_DEVICE, 0);
	if (r >= 0)
		r = add_cap(v, TYPE_NOTIFY, OFF_NOTIFY, NOTIFY_STEP * v->dev->nr_queues,
			    NOTIFY_STEP);
	if (r >= 0)
		r = add_cap(v, TYPE_WINDOW, 0, 0, 0);
	if (r < 0)
		return r;
	v->window_cap = (uint8_t)r;
	v->pci.wmask[r + CAP_BAR] = 0xff;
	memset(v->pci.wmask + r + CAP_OFFSET, 0xff, 12);
	return 0;
}

int virtio_pci_init(struct virtio_pci *v, struct virtio_dev *d, const struct board *board,
		    struct pci_bus *bus, uint8_t devfn, uint32_t class_code, struct err *err)
{
	struct bus_range range = { .read = regs_read, .write = regs_write, .max_size = 8 };
	int r;

	memset(v, 0, sizeof(*v));
	v->dev = d;
	v->transport = (struct virtio_transport){ .queue_interrupt = queue_interrupt,
						  .config_interrupt = config_interrupt,
						  .reset = was_reset,
						  .is_master = &v->pci.is_master,
						  .arg = v };
	v->config_vector = VIRTQ_NO_VECTOR;
	mutex_init(&v->lock);
	pci_dev_setup(&v->pci, d->name, VENDOR, (uint16_t)(DEVICE_BASE + d->ops->id), class_code,
		      REVISION);
	pci_dev_set_subsystem(&v->pci, VENDOR, (uint16_t)(DEVICE_BASE + d->ops->id));
	pci_dev_set_pin(&v->pci, 1);
	v->pci.config_written = config_written;
	v->pci.config_window = config_window;
	range.name = d->name;
	range.arg = v;
	r = pci_dev_add_bar(&v->pci, BAR_REGS, PCI_BAR_MEM32, false, BAR_SIZE, &range);
	if (r == 0)
		r = msix_init(&v->msix, &v->pci, board, BAR_MSIX, d->nr_queues + 1, err);
	if (r == 0)
		r = add_caps(v);
	if (r < 0) {
		virtio_pci_done(v);
		return err_set(err, r, "PCI device '%s' does not fit its configuration space",
			       d->name);
	}
	d->transport = &v->transport;
	r = pci_dev_plug(bus, &v->pci, devfn, err);
	if (r < 0)
		virtio_pci_done(v);
	return r;
}

void virtio_pci_done(struct virtio_pci *v)
{
	if (!v->dev)
		return;
	pci_dev_unplug(&v->pci);
	v->dev->transport = NULL;
	msix_done(&v->msix);
	pthread_mutex_destroy(&v->lock);
	v->dev = NULL;
}

void virtio_pci_reset(struct virtio_pci *v)
{
	virtio_reset_wait(v->dev);
	msix_reset(&v->msix);
	put_le(v->pci.config + v->window_cap + CAP_BAR, 0, 1);
	memset(v->pci.config + v->window_cap + CAP_OFFSET, 0, 12);
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_MAX(struct virtio_pci, isr, ISR_QUEUE | ISR_CONFIG),
	STATE_ANY(struct virtio_pci, config_vector),
	STATE_ANY(struct virtio_pci, queue_sel),
};

const struct state_desc virtio_pci_state = {
	.name = "virtio-pci",
	.version = 1,
	STATE_LOCK(struct virtio_pci, lock),
	STATE_TABLE(struct virtio_pci, fields),
};
