/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MMIO transport: registers of 32 bits that select what others mean, as virtio.c has them, and one interrupt.
 *
 * Registers take aligned accesses of 32 bits only, and others read as zero and change nothing, as the specification allows
 * (4.2.2.2); the configuration space takes any. Of the older version, whose rings are page numbers, nothing is offered:
 * every kernel with a driver for this transport since 2013 knows the newer one. There is no shared memory, so its length
 * reads as all ones. A queue that was made ready stays so until the device is reset.
 */
#include "vm/virtio/mmio.h"

#include <string.h>

#include "sys/thread.h"

/* clang-format off */
enum {
	R_MAGIC = 0x000, R_VERSION = 0x004, R_DEVICE = 0x008, R_VENDOR = 0x00c,
	R_FEATURES = 0x010, R_FEATURES_SEL = 0x014, R_ACCEPTED = 0x020, R_ACCEPTED_SEL = 0x024,
	R_QUEUE_SEL = 0x030, R_QUEUE_MAX = 0x034, R_QUEUE_SIZE = 0x038, R_QUEUE_READY = 0x044,
	R_NOTIFY = 0x050, R_ISR = 0x060, R_ISR_ACK = 0x064, R_STATUS = 0x070,
	R_QUEUE_DESC = 0x080, R_QUEUE_DRIVER = 0x090, R_QUEUE_DEVICE = 0x0a0,
	R_SHM_LEN = 0x0b0, R_SHM_LEN_HIGH = 0x0b4, R_SHM_BASE = 0x0b8, R_SHM_BASE_HIGH = 0x0bc,
	R_GENERATION = 0x0fc, R_CONFIG = 0x100,

	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0x1af4,
	ISR_QUEUE = 1, ISR_CONFIG = 2,
};
/* clang-format on */

unsigned int virtio_mmio_gsi(unsigned int n)
{
	static const uint8_t gsi[VIRTIO_MMIO_MAX] = { 16, 17, 18, 19, 20, 21, 22, 23,
						      5,  10, 11, 7,  6,  12, 14, 15 };

	return gsi[n];
}

/* --- interrupts ---------------------------------------------------------------------------------------------- */

static void set_isr(struct virtio_mmio *v, uint32_t clear, uint32_t set)
{
	mutex_guard(&v->lock);
	v->isr = (v->isr & ~clear) | set;
	irq_set(&v->irq, v->isr != 0);
}

static void queue_interrupt(void *arg, const struct virtq *q)
{
	set_isr(arg, 0, ISR_QUEUE);
}

static void config_interrupt(void *arg)
{
	set_isr(arg, 0, ISR_CONFIG);
}

static void was_reset(void *arg)
{
	struct virtio_mmio *v = arg;

	set_isr(v, UINT32_MAX, 0);
	mutex_guard(&v->lock);
	v->queue_sel = 0;
}

static uint32_t get(struct virtio_mmio *v, const uint32_t *reg)
{
	mutex_guard(&v->lock);
	return *reg;
}

/* --- registers ------------------------------------------------------------------------------------------------ */

/* Where the registers are that all transports have, by their names in virtio.h. */
struct place {
	uint16_t off;
	uint8_t reg;
};

static const struct place device_regs[] = {
	{ R_FEATURES_SEL, VIRTIO_REG_FEATURES_SEL }, { R_FEATURES, VIRTIO_REG_FEATURES },
	{ R_ACCEPTED_SEL, VIRTIO_REG_ACCEPTED_SEL }, { R_ACCEPTED, VIRTIO_REG_ACCEPTED },
	{ R_GENERATION, VIRTIO_REG_GENERATION },
};

static const struct place queue_regs[] = {
	{ R_QUEUE_MAX, VIRTIO_QUEUE_MAX_SIZE },		  { R_QUEUE_SIZE, VIRTIO_QUEUE_SIZE },
	{ R_QUEUE_READY, VIRTIO_QUEUE_ENABLE },		  { R_QUEUE_DESC, VIRTIO_QUEUE_DESC },
	{ R_QUEUE_DESC + 4, VIRTIO_QUEUE_DESC_HIGH },	  { R_QUEUE_DRIVER, VIRTIO_QUEUE_DRIVER },
	{ R_QUEUE_DRIVER + 4, VIRTIO_QUEUE_DRIVER_HIGH }, { R_QUEUE_DEVICE, VIRTIO_QUEUE_DEVICE },
	{ R_QUEUE_DEVICE + 4, VIRTIO_QUEUE_DEVICE_HIGH },
};

/* The register at an offset; negative: none of these. */
static int find_reg(const struct place *places, size_t n, uint64_t off)
{
	for (size_t k = 0; k < n; k++)
		if (places[k].off == off)
			return places[k].reg;
	return -1;
}

static int device_reg(uint64_t off)
{
	return find_reg(device_regs, ARRAY_SIZE(device_regs), off);
}

static int queue_reg(uint64_t off)
{
	return find_reg(queue_regs, ARRAY_SIZE(queue_regs), off);
}

static uint32_t reg_read(struct virtio_mmio *v, uint64_t off)
{
	int r;

	/* What the driver tells cannot be read back (4.2.2). */
	if (off == R_FEATURES_SEL || off == R_ACCEPTED_SEL || off == R_ACCEPTED)
		return 0;
	r = device_reg(off);
	if (r >= 0)
		return virtio_reg_read(v->dev, (enum virtio_reg)r);
	if (off == R_QUEUE_MAX || off == R_QUEUE_READY)
		return virtio_queue_read(v->dev, get(v, &v->queue_sel),
					 (enum virtio_queue_reg)queue_reg(off));
	switch (off) {
	case R_MAGIC:
		return MAGIC;
	case R_VERSION:
		return VERSION;
	case R_DEVICE:
		return v->dev->ops->id;
	case R_VENDOR:
		return VENDOR;
	case R_ISR:
		return get(v, &v->isr);
	case R_STATUS:
		return virtio_status(v->dev);
	case R_SHM_LEN:
	case R_SHM_LEN_HIGH:
	case R_SHM_BASE:
	case R_SHM_BASE_HIGH:
		return UINT32_MAX;
	default:
		return 0;
	}
}

static void reg_write(struct virtio_mmio *v, uint64_t off, uint32_t value)
{
	int r = device_reg(off), qr = queue_reg(off);

	if (r >= 0) {
		virtio_reg_write(v->dev, (enum virtio_reg)r, value);
	} else if (qr >= 0) {
		virtio_queue_write(v->dev, get(v, &v->queue_sel), (enum virtio_queue_reg)qr, value);
	} else if (off == R_NOTIFY) {
		virtio_kick(v->dev, value);
	} else if (off == R_ISR_ACK) {
		set_isr(v, value, 0);
	} else if (off == R_STATUS) {
		virtio_set_status(v->dev, (uint8_t)value);
	} else if (off == R_QUEUE_SEL) {
		mutex_guard(&v->lock);
		v->queue_sel = value;
	}
}

static uint64_t mmio_read(void *arg, uint64_t off, unsigned int size)
{
	struct virtio_mmio *v = arg;

	if (off >= R_CONFIG)
		return virtio_config_read(v->dev, off - R_CONFIG, size);
	return size == 4 && off % 4 == 0 ? reg_read(v, off) : 0;
}

static void mmio_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct virtio_mmio *v = arg;

	if (off >= R_CONFIG)
		virtio_config_write(v->dev, off - R_CONFIG, size, value);
	else if (size == 4 && off % 4 == 0)
		reg_write(v, off, (uint32_t)value);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

int virtio_mmio_init(struct virtio_mmio *v, struct virtio_dev *d, const struct board *board,
		     unsigned int n, struct err *err)
{
	int r;

	*v = (struct virtio_mmio){
		.dev = d,
		.transport = { .queue_interrupt = queue_interrupt,
			       .config_interrupt = config_interrupt,
			       .reset = was_reset,
			       .arg = v },
		.bus = board->mmio,
		.range = { .name = d->name,
			   .base = VIRTIO_MMIO_BASE + (uint64_t)n * VIRTIO_MMIO_STEP,
			   .len = VIRTIO_MMIO_LEN,
			   .read = mmio_read,
			   .write = mmio_write,
			   .arg = v,
			   .max_size = 8 },
		.irq = irq_router_line(board->irqs, virtio_mmio_gsi(n), IRQ_FROM_ISA),
	};
	mutex_init(&v->lock);
	d->transport = &v->transport;
	r = bus_add(v->bus, &v->range, err);
	if (r < 0)
		virtio_mmio_done(v);
	return r;
}

void virtio_mmio_done(struct virtio_mmio *v)
{
	if (!v->dev)
		return;
	bus_del(v->bus, &v->range);
	v->dev->transport = NULL;
	pthread_mutex_destroy(&v->lock);
	v->dev = NULL;
}

void virtio_mmio_reset(struct virtio_mmio *v)
{
	virtio_reset_wait(v->dev);
}
