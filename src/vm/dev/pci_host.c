// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host bridge and the ISA bridge of a Q35 board, and the two ways to configuration space.
 *
 * The PAM registers can be written and read back, and change nothing: 0xc0000-0xfffff is always RAM, and holds
 * firmware's copy from the start. Reading ROM there until firmware has made its copy would mean changing the memory
 * map of running CPUs, for something that nobody can tell from the result. Write protection of the copy is not
 * offered for the same reason.
 *
 * Port 0xcf8 takes the address as 32 bits; a byte written to 0xcf9 in the middle of it is the reset
 * control register of the ISA bridge. MMCONFIG is at a fixed place: PCIEXBAR reads as what the ACPI
 * tables say, and writing it changes nothing but what is read.
 *
 * Sources: Intel 3 Series (82Q35) and ICH9 data sheets.
 */
#include <errno.h>

#include "base/bytes.h"
#include "sys/thread.h"
#include "vm/dev/acpi_pm.h"
#include "vm/dev/pci_priv.h"

enum {
	PORT_ADDRESS = 0xcf8,
	PORT_DATA = 0xcfc,
	ADDRESS_ENABLE = 1 << 31,

	MCH_PCIEXBAR = 0x60,
	MCH_PAM0 = 0x90, /* PAM0 to PAM6 */
	MCH_NR_PAM = 7,
	MCH_SMRAM = 0x9d,
	SMRAM_RESET = 0x02, /* closed; there is no SMM */
	LPC_PMBASE = 0x40,
	LPC_ACPI_CNTL = 0x44,
	LPC_ACPI_EN = 0x80,
	LPC_PIRQE_ROUTE = 0x68, /* to PIRQH: not wired to anything here */
	LPC_GEN_PMCON_1 = 0xa0,
	LPC_RCBA = 0xf0,

	RST_CPU = 1 << 2,
	RST_KEPT = 0x0a,

	INTEL = 0x8086,
	DEVICE_MCH = 0x29c0,
	DEVICE_LPC = 0x2918,
	CLASS_HOST = 0x060000,
	CLASS_ISA = 0x060100,
	SUBSYSTEM_VENDOR = 0x1af4,
	SUBSYSTEM = 0x1100,
};

static uint64_t address_read(void *arg, uint64_t off, unsigned int size)
{
	struct pci_bus *p = arg;

	mutex_guard(&p->lock);
	if (off == 1 && size == 1)
		return p->rst_cnt;
	return off == 0 && size == 4 ? p->address : UINT64_MAX;
}

static void address_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct pci_bus *p = arg;
	bool reset;

	mutex_lock(&p->lock);
	reset = off == 1 && size == 1 && (value & RST_CPU) && !(p->rst_cnt & RST_CPU);
	if (off == 0 && size == 4)
		/* Hardware has no bits 0 and 1 here. Some software puts the byte's number into them,
		 * and emulators let it. */
		p->address = (uint32_t)value & 0x80ffffff;
	else if (off == 1 && size == 1)
		p->rst_cnt = value & (RST_KEPT | RST_CPU);
	mutex_unlock(&p->lock);
	if (reset)
		machine_request(p->events, MACHINE_RESET, 0);
}

static uint32_t latched_address(struct pci_bus *p)
{
	mutex_guard(&p->lock);
	return p->address;
}

/* The register that a data port names, aligned to the access. */
static uint16_t config_offset(uint32_t address, uint64_t off, unsigned int size)
{
	return (uint16_t)(((address & 0xff) | off) & ~(uint64_t)(size - 1));
}

static uint64_t data_read(void *arg, uint64_t off, unsigned int size)
{
	struct pci_bus *p = arg;
	uint32_t a = latched_address(p);

	if (!(a & ADDRESS_ENABLE))
		return UINT64_MAX;
	return pci_config_read(p, (uint16_t)(a >> 8), config_offset(a, off, size), size);
}

static void data_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct pci_bus *p = arg;
	uint32_t a = latched_address(p);

	if (a & ADDRESS_ENABLE)
		pci_config_write(p, (uint16_t)(a >> 8), config_offset(a, off, size), size,
				 (uint32_t)value);
}

static uint64_t ecam_read(void *arg, uint64_t off, unsigned int size)
{
	return pci_config_read(arg, (uint16_t)(off >> 12), off & 0xfff, size);
}

static void ecam_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	pci_config_write(arg, (uint16_t)(off >> 12), off & 0xfff, size, (uint32_t)value);
}

void pci_host_reset(struct pci_bus *p)
{
	p->address = 0;
	p->rst_cnt = 0;
	put_le64(p->host.config + MCH_PCIEXBAR, PCI_ECAM_BASE | 1); /* 256 buses, enabled */
	put_le32(p->lpc.config + LPC_PMBASE, ACPI_PM_BASE | 1);
	p->lpc.config[LPC_ACPI_CNTL] = LPC_ACPI_EN;
	memset(p->host.config + MCH_PAM0, 0, MCH_NR_PAM);
	p->host.config[MCH_SMRAM] = SMRAM_RESET;
	put_le32(p->lpc.config + LPC_RCBA, 0);
	put_le16(p->lpc.config + LPC_GEN_PMCON_1, 0);
	memset(p->lpc.config + LPC_PIRQE_ROUTE, PCI_PIRQ_OFF, PCI_NR_PIRQ);
	for (unsigned int k = 0; k < PCI_NR_PIRQ; k++)
		p->lpc.config[pci_pirq_reg(k)] = PCI_PIRQ_OFF;
}

static int plug_bridges(struct pci_bus *p, struct err *err)
{
	int r;

	pci_dev_setup(&p->host, "host bridge", INTEL, DEVICE_MCH, CLASS_HOST, 0);
	pci_dev_set_subsystem(&p->host, SUBSYSTEM_VENDOR, SUBSYSTEM);
	put_le64(p->host.wmask + MCH_PCIEXBAR, UINT64_C(0xff0000007));
	memset(p->host.wmask + MCH_PAM0, 0x33, MCH_NR_PAM);
	p->host.wmask[MCH_PAM0] = 0x30;
	pci_dev_setup(&p->lpc, "isa bridge", INTEL, DEVICE_LPC, CLASS_ISA, 2);
	pci_dev_set_subsystem(&p->lpc, SUBSYSTEM_VENDOR, SUBSYSTEM);
	put_le32(p->lpc.wmask + LPC_PMBASE, 0xff80);
	p->lpc.wmask[LPC_ACPI_CNTL] = 0x87;
	memset(p->lpc.wmask + LPC_PIRQE_ROUTE, 0x8f, PCI_NR_PIRQ);
	put_le16(p->lpc.wmask + LPC_GEN_PMCON_1, 0x1fff);
	put_le32(p->lpc.wmask + LPC_RCBA, 0xffffc001);
	for (unsigned int k = 0; k < PCI_NR_PIRQ; k++)
		p->lpc.wmask[pci_pirq_reg(k)] = 0x8f;
	pci_host_reset(p);
	r = pci_dev_plug(p, &p->host, PCI_DEVFN_HOST, err);
	return r < 0 ? r : pci_dev_plug(p, &p->lpc, (uint8_t)PCI_DEVFN_LPC, err);
}

int pci_init(struct pci_bus *p, const struct board *board, struct err *err)
{
	int r;

	memset(p, 0, sizeof(*p));
	p->pio = board->pio;
	p->mmio = board->mmio;
	p->irqs = board->irqs;
	p->events = board->events;
	p->addr_port = (struct bus_range){ .name = "pci-address",
					   .base = PORT_ADDRESS,
					   .len = 4,
					   .read = address_read,
					   .write = address_write,
					   .arg = p };
	p->data_port = (struct bus_range){ .name = "pci-data",
					   .base = PORT_DATA,
					   .len = 4,
					   .read = data_read,
					   .write = data_write,
					   .arg = p };
	p->ecam = (struct bus_range){ .name = "pci-mmconfig",
				      .base = PCI_ECAM_BASE,
				      .len = PCI_ECAM_SIZE,
				      .read = ecam_read,
				      .write = ecam_write,
				      .arg = p,
				      .max_size = 4 };
	mutex_init(&p->lock);
	r = plug_bridges(p, err);
	if (r == 0)
		r = bus_add(p->pio, &p->addr_port, err);
	if (r == 0)
		r = bus_add(p->pio, &p->data_port, err);
	if (r == 0)
		r = bus_add(p->mmio, &p->ecam, err);
	if (r < 0)
		pci_done(p);
	return r;
}

void pci_done(struct pci_bus *p)
{
	if (!p->pio)
		return;
	bus_del(p->pio, &p->addr_port);
	bus_del(p->pio, &p->data_port);
	bus_del(p->mmio, &p->ecam);
	for (unsigned int k = 0; k < ARRAY_SIZE(p->dev); k++)
		if (p->dev[k])
			pci_dev_unplug(p->dev[k]);
	pthread_mutex_destroy(&p->lock);
	p->pio = NULL;
}
