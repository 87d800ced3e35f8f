// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The "edu" PCI device. Work is done at once, on the vCPU that asks for it, so the busy bits that a
 * driver polls are never seen set: a factorial takes at most 34 multiplications, since every larger
 * one is 0 in 32 bits, and DMA moves at most the buffer.
 *
 * Interrupts are signalled after the device's lock is released, because a write of the configuration
 * space, which holds the bus lock, may come to the device.
 */
#include "vm/dev/edu.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "sys/thread.h"
#include "vm/dev/vtd.h"

/* clang-format off */
enum {
	VENDOR = 0x1234,
	DEVICE = 0x11e8,
	REVISION = 0x10,
	IDENTITY = 0x010000ed,
	MSI_CAP_ID = 5,
	MSI_CAP_LEN = 14,
	MSI_ENABLE = 1,
	MSI_64BIT = 0x80,

	REG_ID = 0x00, REG_ALIVE = 0x04, REG_FACTORIAL = 0x08, REG_STATUS = 0x20,
	REG_IRQ_STATUS = 0x24, REG_IRQ_RAISE = 0x60, REG_IRQ_ACK = 0x64,
	REG_DMA_SRC = 0x80, REG_DMA_DST = 0x88, REG_DMA_COUNT = 0x90, REG_DMA_CMD = 0x98,
	FIRST_WIDE_REG = REG_DMA_SRC,

	STATUS_IRQ = 0x80,
	IRQ_FACTORIAL = 1,
	IRQ_DMA = 0x100,
	DMA_START = 1,
	DMA_TO_MEMORY = 2,
	DMA_IRQ = 4,
	DMA_MASK = 7,
	BUFFER_BASE = 0x40000,
};
/* clang-format on */

/* The device drives 28 address lines. */
#define DMA_ADDRESS_MASK UINT64_C(0x0fffffff)
#define CLASS_OTHER	 0xff0000

static uint32_t factorial(uint32_t n)
{
	uint32_t f = 1;

	if (n > 34)
		return 0;
	for (uint32_t i = 2; i <= n; i++)
		f *= i;
	return f;
}

static uint16_t source_id(const struct edu *e)
{
	return e->pci.devfn;
}

/* Tells the guest what irq_status says now; @raised: something was added. Not with the lock held. */
static void signal_irq(struct edu *e, uint32_t irq_status, bool raised)
{
	const uint8_t *cap = e->pci.config + e->msi_cap;
	uint64_t addr;
	uint32_t data;
	bool by_message;

	mutex_lock(&e->pci.bus->lock);
	by_message = get_le16(cap + 2) & MSI_ENABLE;
	addr = get_le64(cap + 4);
	data = get_le16(cap + 12);
	mutex_unlock(&e->pci.bus->lock);

	if (by_message) {
		if (raised && pci_dev_is_master(&e->pci)) /* else it is lost */
			vtd_msi(e->iommu, source_id(e), addr, data);
		pci_dev_set_intx(&e->pci, false);
	} else {
		pci_dev_set_intx(&e->pci, irq_status != 0);
	}
}

static void raise_irq(struct edu *e, uint32_t what)
{
	uint32_t now;

	if (!what)
		return;
	mutex_lock(&e->lock);
	e->irq_status |= what;
	now = e->irq_status;
	mutex_unlock(&e->lock);
	signal_irq(e, now, true);
}

static void acknowledge_irq(struct edu *e, uint32_t what)
{
	uint32_t now;

	mutex_lock(&e->lock);
	e->irq_status &= ~what;
	now = e->irq_status;
	mutex_unlock(&e->lock);
	signal_irq(e, now, false);
}

/* Moves the bytes that the DMA registers describe; wrong ones, or no bus master, move nothing. Under the lock. */
static void run_dma(struct edu *e)
{
	bool to_memory = e->dma_cmd & DMA_TO_MEMORY;
	uint64_t off = (to_memory ? e->dma_src : e->dma_dst) - BUFFER_BASE;

	if (!pci_dev_is_master(&e->pci) || !range_ok(off, e->dma_count, EDU_BUFFER_SIZE))
		return;
	/* What fails is the memory management unit's to report; the device goes on. */
	if (to_memory)
		(void)vtd_dma_write(e->iommu, source_id(e), e->dma_dst & DMA_ADDRESS_MASK,
				    e->buffer + off, e->dma_count);
	else
		(void)vtd_dma_read(e->iommu, source_id(e), e->dma_src & DMA_ADDRESS_MASK,
				   e->buffer + off, e->dma_count);
}

static uint64_t edu_read(void *arg, uint64_t off, unsigned int size)
{
	struct edu *e = arg;

	if (size < 4 || off % size || (size == 8 && off < FIRST_WIDE_REG))
		return UINT64_MAX;
	mutex_guard(&e->lock);
	switch (off) {
	case REG_ID:
		return IDENTITY;
	case REG_ALIVE:
		return e->alive;
	case REG_FACTORIAL:
		return e->factorial;
	case REG_STATUS:
		return e->status;
	case REG_IRQ_STATUS:
		return e->irq_status;
	case REG_DMA_SRC:
		return e->dma_src;
	case REG_DMA_SRC + 4:
		return e->dma_src >> 32;
	case REG_DMA_DST:
		return e->dma_dst;
	case REG_DMA_DST + 4:
		return e->dma_dst >> 32;
	case REG_DMA_COUNT:
		return e->dma_count;
	case REG_DMA_COUNT + 4:
		return e->dma_count >> 32;
	case REG_DMA_CMD:
		return e->dma_cmd;
	case REG_DMA_CMD + 4:
		return 0;
	default:
		return UINT64_MAX;
	}
}

/* A 32-bit write of half a 64-bit register leaves the other half. */
static void write_wide(uint64_t *reg, uint64_t off, unsigned int size, uint64_t value)
{
	if (size == 8)
		*reg = value;
	else if (off & 4)
		*reg = (uint32_t)*reg | value << 32;
	else
		*reg = (*reg & ~UINT64_C(0xffffffff)) | (uint32_t)value;
}

/* Stores, and does what that starts. Returns the interrupt causes to raise. */
static uint32_t store(struct edu *e, uint64_t off, unsigned int size, uint64_t value)
{
	mutex_guard(&e->lock);
	switch (off) {
	case REG_ALIVE:
		e->alive = ~(uint32_t)value;
		break;
	case REG_FACTORIAL:
		e->factorial = factorial((uint32_t)value);
		return e->status & STATUS_IRQ ? IRQ_FACTORIAL : 0;
	case REG_STATUS:
		e->status = (uint32_t)value & STATUS_IRQ;
		break;
	case REG_IRQ_RAISE:
		return (uint32_t)value;
	case REG_DMA_SRC:
	case REG_DMA_SRC + 4:
		write_wide(&e->dma_src, off, size, value);
		break;
	case REG_DMA_DST:
	case REG_DMA_DST + 4:
		write_wide(&e->dma_dst, off, size, value);
		break;
	case REG_DMA_COUNT:
	case REG_DMA_COUNT + 4:
		write_wide(&e->dma_count, off, size, value);
		break;
	case REG_DMA_CMD:
		e->dma_cmd = value & DMA_MASK;
		if (!(value & DMA_START))
			break;
		run_dma(e);
		e->dma_cmd &= ~(uint64_t)DMA_START;
		return value & DMA_IRQ ? IRQ_DMA : 0;
	default:
		break;
	}
	return 0;
}

static void edu_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct edu *e = arg;

	if (size < 4 || off % size || (size == 8 && off < FIRST_WIDE_REG))
		return;
	if (off == REG_IRQ_ACK) {
		acknowledge_irq(e, (uint32_t)value);
		return;
	}
	raise_irq(e, store(e, off, size, value));
}

void edu_reset(struct edu *e)
{
	mutex_guard(&e->lock);
	e->alive = e->factorial = e->status = e->irq_status = 0;
	e->dma_src = e->dma_dst = e->dma_count = e->dma_cmd = 0;
	memset(e->buffer, 0, sizeof(e->buffer));
	put_le16(e->pci.config + e->msi_cap + 2, MSI_64BIT);
}

int edu_init(struct edu *e, struct pci_bus *bus, uint8_t devfn, struct vtd *iommu, struct err *err)
{
	struct bus_range range = {
		.name = "edu", .read = edu_read, .write = edu_write, .arg = e, .max_size = 8
	};
	uint8_t *cap;
	int r;

	memset(e, 0, sizeof(*e));
	e->iommu = iommu;
	mutex_init(&e->lock);
	pci_dev_setup(&e->pci, "edu", VENDOR, DEVICE, CLASS_OTHER, REVISION);
	pci_dev_set_pin(&e->pci, 1);
	r = pci_dev_add_bar(&e->pci, 0, PCI_BAR_MEM32, false, EDU_BAR_SIZE, &range);
	if (r >= 0)
		r = pci_dev_add_cap(&e->pci, MSI_CAP_ID, MSI_CAP_LEN);
	if (r < 0)
		return err_set(err, r, "PCI device 'edu' does not fit its configuration space");
	e->msi_cap = (uint8_t)r;
	cap = e->pci.config + e->msi_cap;
	put_le16(cap + 2, MSI_64BIT);
	cap = e->pci.wmask + e->msi_cap;
	put_le16(cap + 2, MSI_ENABLE);
	put_le64(cap + 4, ~UINT64_C(3));
	put_le16(cap + 12, 0xffff);
	return pci_dev_plug(bus, &e->pci, devfn, err);
}

void edu_done(struct edu *e)
{
	pci_dev_unplug(&e->pci);
}
