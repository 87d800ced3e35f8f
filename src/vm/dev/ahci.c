/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller's registers, served on the vCPU's thread under the lock; ahci_work.c carries commands out, ahci_fis.c
 * has what goes through the guest's memory.
 *
 * Source: AHCI 1.3.1, 3 (registers), 10.4 (resets).
 */
#include "vm/dev/ahci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "vm/dev/ahci_priv.h"

enum {
	INTEL = 0x8086,
	DEVICE_ICH9_AHCI = 0x2922,
	CLASS_AHCI = 0x010601,
	REVISION = 2,
	CONFIG_MAP = 0x90,
	MAP_AHCI = 0x40,
	BAR = 5,
	BAR_SIZE = 4096,

	/* Of the whole. */
	REG_CAP = 0x00,
	REG_GHC = 0x04,
	REG_IS = 0x08,
	REG_PI = 0x0c,
	REG_VS = 0x10,
	GHC_RESET = 1 << 0,
	GHC_IE = 1 << 1,
	VERSION_1_0 = 0x00010000,
	/* Native queuing, CLO, AHCI only, 3 Gbit/s, 32 slots. */
	CAP_FIXED = 1 << 30 | 1 << 24 | 1 << 18 | 2 << 20 | 31 << 8,
	PORT_BASE = 0x100,
	PORT_SIZE = 0x80,

	/* Of a port. */
	PX_CLB = 0x00,
	PX_CLBU = 0x04,
	PX_FB = 0x08,
	PX_FBU = 0x0c,
	PX_IS = 0x10,
	PX_IE = 0x14,
	PX_CMD = 0x18,
	PX_TFD = 0x20,
	PX_SIG = 0x24,
	PX_SSTS = 0x28,
	PX_SCTL = 0x2c,
	PX_SERR = 0x30,
	PX_SACT = 0x34,
	PX_CI = 0x38,

	CMD_SUD = 1 << 1,
	CMD_POD = 1 << 2,
	CMD_CLO = 1 << 3,
	CMD_FR = 1 << 14,
	CMD_CR = 1 << 15,
	CMD_ATAPI = 1 << 24,
	CMD_WRITABLE = CMD_ST | CMD_FRE | CMD_ATAPI,

	IS_PCS = 1 << 6,
	SERR_DIAG_X = 1 << 26,
	SSTS_UP = 0x123, /* device, 3 Gbit/s, active */
	TFD_NONE = 0x7f,
};
#define CAP_S64A UINT32_C(0x80000000)

/* Under the lock, so that two threads cannot set the line in another order than the registers. */
void ahci_update_irq(struct ahci *a)
{
	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		if (a->port[k].is & a->port[k].ie)
			a->is |= 1u << k;
	pci_dev_set_intx(&a->pci, a->is && (a->ghc & GHC_IE));
}

static void link_up(struct ahci *a, struct ahci_port *p)
{
	if (!p->drive.disk) {
		p->ssts = 0;
		return;
	}
	p->ssts = SSTS_UP;
	p->serr |= SERR_DIAG_X;
	p->is |= IS_PCS;
	ahci_send_signature(a, p);
}

static void port_reset(struct ahci_port *p)
{
	p->drive.epoch++;
	p->ci = p->sact = 0;
	p->in_reset = false;
	p->is_halted = false;
	p->tfd = TFD_NONE;
	p->sig = UINT32_MAX;
}

/* --- registers --- */

static uint32_t port_cmd(const struct ahci_port *p)
{
	uint32_t v = p->cmd | CMD_SUD | CMD_POD;

	if (p->cmd & CMD_FRE)
		v |= CMD_FR;
	if ((p->cmd & CMD_ST) || p->running >= 0)
		v |= CMD_CR;
	return v;
}

/* Queued commands leave the device ready for more. */
static uint32_t port_tfd(const struct ahci_port *p)
{
	uint32_t waits = p->ci & ~p->sact;
	bool is_busy = waits && p->drive.disk && (p->cmd & CMD_ST) && !p->is_halted;

	if (p->running >= 0 && !(p->sact & UINT32_C(1) << p->running))
		is_busy = true;
	return is_busy ? p->tfd | ATA_BSY : p->tfd;
}

static uint32_t port_read(const struct ahci_port *p, unsigned int reg)
{
	switch (reg) {
	case PX_CLB:
		return (uint32_t)p->list;
	case PX_CLBU:
		return (uint32_t)(p->list >> 32);
	case PX_FB:
		return (uint32_t)p->fis;
	case PX_FBU:
		return (uint32_t)(p->fis >> 32);
	case PX_IS:
		return p->is;
	case PX_IE:
		return p->ie;
	case PX_CMD:
		return port_cmd(p);
	case PX_TFD:
		return port_tfd(p);
	case PX_SIG:
		return p->sig;
	case PX_SSTS:
		return p->ssts;
	case PX_SCTL:
		return p->sctl;
	case PX_SERR:
		return p->serr;
	case PX_SACT:
		return p->sact;
	case PX_CI:
		return p->ci;
	default:
		return 0;
	}
}

static void write_cmd(struct ahci *a, struct ahci_port *p, uint32_t value)
{
	uint32_t old = p->cmd;

	p->cmd = (p->cmd & ~(uint32_t)CMD_WRITABLE) | (value & CMD_WRITABLE);
	if ((old & CMD_ST) && !(value & CMD_ST)) {
		p->ci = p->sact = 0;
		p->is_halted = false;
		p->drive.epoch++; /* what is under way is not answered */
		p->cmd &= ~(31u << CMD_CCS_SHIFT);
	}
	if (value & CMD_CLO)
		p->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
	/* The device has waited with its first FIS for somebody to receive it. */
	if (!(old & CMD_FRE) && (value & CMD_FRE) && p->drive.disk && (p->tfd & 0xff) == TFD_NONE)
		ahci_send_signature(a, p);
}

static void write_sctl(struct ahci *a, struct ahci_port *p, uint32_t value)
{
	uint32_t old = p->sctl & 15;

	p->sctl = value & 0xfff;
	if ((value & 15) == 1 && old != 1) {
		port_reset(p);
		p->ssts = 0;
	} else if ((value & 15) == 4) {
		p->ssts = p->drive.disk ? 4 : 0; /* offline */
	} else if (!(value & 15) && old) {
		link_up(a, p);
	}
}

static void port_write(struct ahci *a, struct ahci_port *p, unsigned int reg, uint32_t value)
{
	switch (reg) {
	case PX_CLB:
		p->list = (p->list & ~UINT64_C(0xffffffff)) | (value & ~UINT32_C(0x3ff));
		break;
	case PX_CLBU:
		p->list = (p->list & 0xffffffff) | (uint64_t)value << 32;
		break;
	case PX_FB:
		p->fis = (p->fis & ~UINT64_C(0xffffffff)) | (value & ~UINT32_C(0xff));
		break;
	case PX_FBU:
		p->fis = (p->fis & 0xffffffff) | (uint64_t)value << 32;
		break;
	case PX_IS:
		p->is &= ~value;
		break;
	case PX_IE:
		p->ie = value & UINT32_C(0xfdc000ff);
		break;
	case PX_CMD:
		write_cmd(a, p, value);
		break;
	case PX_SCTL:
		write_sctl(a, p, value);
		break;
	case PX_SERR:
		p->serr &= ~value;
		break;
	case PX_SACT:
		if (p->cmd & CMD_ST)
			p->sact |= value;
		break;
	case PX_CI:
		if (p->cmd & CMD_ST)
			p->ci |= value;
		break;
	default:
		break;
	}
}

static void hba_reset(struct ahci *a)
{
	a->ghc = 0;
	a->is = 0;
	for (unsigned int k = 0; k < AHCI_PORTS; k++) {
		struct ahci_port *p = &a->port[k];

		port_reset(p);
		p->list = p->fis = 0;
		p->is = p->ie = p->cmd = p->sctl = p->serr = 0;
		p->ssts = p->drive.disk ? SSTS_UP : 0;
		if (p->drive.disk)
			p->sig = ahci_signature(p);
	}
}

static uint64_t hba_read(void *arg, uint64_t off, unsigned int size)
{
	struct ahci *a = arg;
	unsigned int reg = (unsigned int)(off & ~UINT64_C(3)), k = (reg - PORT_BASE) / PORT_SIZE;
	uint32_t value = 0;

	mutex_guard(&a->worker.lock);
	if (reg >= PORT_BASE) {
		if (k < AHCI_PORTS)
			value = port_read(&a->port[k], reg % PORT_SIZE);
		return value >> (8 * (off & 3));
	}
	switch (reg) {
	case REG_CAP:
		value = CAP_S64A | CAP_FIXED | (AHCI_PORTS - 1);
		break;
	case REG_GHC:
		value = a->ghc | UINT32_C(0x80000000); /* AHCI enabled, always */
		break;
	case REG_IS:
		value = a->is;
		break;
	case REG_PI:
		value = (1u << AHCI_PORTS) - 1;
		break;
	case REG_VS:
		value = VERSION_1_0;
		break;
	default:
		break;
	}
	return value >> (8 * (off & 3));
}

static void hba_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct ahci *a = arg;
	unsigned int k = (unsigned int)(off - PORT_BASE) / PORT_SIZE;

	if (size != 4 || (off & 3))
		return; /* registers are written whole */
	mutex_guard(&a->worker.lock);
	if (off >= PORT_BASE) {
		if (k < AHCI_PORTS)
			port_write(a, &a->port[k], off % PORT_SIZE, (uint32_t)value);
	} else if (off == REG_GHC) {
		a->ghc = value & GHC_IE;
		if (value & GHC_RESET)
			hba_reset(a);
	} else if (off == REG_IS) {
		a->is &= ~(uint32_t)value;
	}
	ahci_update_irq(a);
	if (ahci_next_port(a))
		pthread_cond_broadcast(&a->worker.work);
}

/* --- the whole --- */

void ahci_reset(struct ahci *a)
{
	mutex_guard(&a->worker.lock);
	hba_reset(a);
	ata_power_on(&a->worker);
	ahci_update_irq(a);
}

int ahci_plug(struct ahci *a, unsigned int port, struct disk *disk, bool is_cd, bool is_readonly,
	      const char *serial, struct err *err)
{
	struct ahci_port *p = &a->port[port < AHCI_PORTS ? port : 0];

	if (port >= AHCI_PORTS)
		return err_set(err, -EINVAL, "SATA port %u: there are %d", port, AHCI_PORTS);
	if (p->drive.disk)
		return err_set(err, -EEXIST, "SATA port %u has a drive already", port);
	ata_drive_plug(&p->drive, disk, is_cd, is_readonly, serial);
	ahci_reset(a);
	return 0;
}

int ahci_init(struct ahci *a, const struct board *board, struct pci_bus *pci, struct err *err)
{
	const struct bus_range range = {
		.name = "ahci", .read = hba_read, .write = hba_write, .arg = a, .max_size = 4
	};
	int r;

	memset(a, 0, sizeof(*a));
	a->mem = board->mem;
	ata_worker_init(&a->worker, &ahci_work_ops);
	a->command = mem_new(sizeof(*a->command));
	for (unsigned int k = 0; k < AHCI_PORTS; k++) {
		a->port[k].running = -1;
		ata_worker_add(&a->worker, &a->port[k].drive);
	}
	hba_reset(a);
	pci_dev_setup(&a->pci, "ahci", INTEL, DEVICE_ICH9_AHCI, CLASS_AHCI, REVISION);
	pci_dev_set_subsystem(&a->pci, 0x1af4, 0x1100);
	pci_dev_set_pin(&a->pci, 1);
	a->pci.config[CONFIG_MAP] = MAP_AHCI;
	r = pci_dev_add_bar(&a->pci, BAR, PCI_BAR_MEM32, false, BAR_SIZE, &range);
	if (r == 0)
		r = pci_dev_plug(pci, &a->pci, AHCI_DEVFN, err);
	if (r < 0)
		ahci_done(a);
	return r;
}

void ahci_done(struct ahci *a)
{
	if (!a->command)
		return;
	ata_stop(&a->worker);
	pci_dev_unplug(&a->pci);
	ata_worker_done(&a->worker);
	free(take_ptr(&a->command));
}
