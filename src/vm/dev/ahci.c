/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller's registers, and the thread that carries commands out.
 *
 *	a bit of PxCI set --> waits --> the worker takes it (running) --> registers and CI as after the command
 *	                                        └─ a reset meanwhile (epoch): the result is dropped
 *
 * A vCPU never waits for a disk. What the guest wrote into memory (list, table, descriptors) is read by the worker once,
 * when it takes the command. While a command is under way PxCMD.CR stays set, also when the guest clears ST: that is how
 * drivers learn that nothing moves in their memory any more.
 *
 * One command at a time for all ports: this controller is for installers, CD images and systems without virtio. Native
 * queuing saves the guest the wait between two commands; they still come one after the other. Of queued commands the
 * worker does the lowest slot first, and tells each end by a Set Device Bits FIS.
 *
 * Without the bus master bit nothing of the guest's memory is read or written: a command fails as one whose descriptors
 * lead nowhere.
 *
 * Source: AHCI 1.3.1; Serial ATA 3.0, 10.3 (FIS layouts).
 */
#include "vm/dev/ahci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "cpu/physmem.h"
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

	CMD_ST = 1 << 0,
	CMD_SUD = 1 << 1,
	CMD_POD = 1 << 2,
	CMD_CLO = 1 << 3,
	CMD_FRE = 1 << 4,
	CMD_CCS_SHIFT = 8,
	CMD_FR = 1 << 14,
	CMD_CR = 1 << 15,
	CMD_ATAPI = 1 << 24,
	CMD_WRITABLE = CMD_ST | CMD_FRE | CMD_ATAPI,

	IS_DHRS = 1 << 0,
	IS_PSS = 1 << 1,
	IS_SDBS = 1 << 3,
	IS_PCS = 1 << 6,
	IS_IFS = 1 << 27,
	IS_TFES = 1 << 30,
	SERR_DIAG_X = 1 << 26,
	SSTS_UP = 0x123, /* device, 3 Gbit/s, active */
	SIG_DISK = 0x00000101,
	TFD_NONE = 0x7f,

	/* Command list and table. */
	HEADER_SIZE = 32,
	HEADER_ATAPI = 1 << 5,
	HEADER_CLEAR = 1 << 10,
	TABLE_PACKET = 0x40,
	TABLE_PRDT = 0x80,
	PRD_SIZE = 16,
	PRD_COUNT_MASK = 0x3fffff,
	CFIS_SIZE = 20,
	FIS_H2D = 0x27,
	FIS_D2H = 0x34,
	FIS_PIO_SETUP = 0x5f,
	FIS_SET_BITS = 0xa1,
	FIS_IS_COMMAND = 0x80,
	FIS_INTERRUPT = 0x40,
	FIS_TO_HOST = 0x20,
	CONTROL_SRST = 0x04,
	RX_PIO_SETUP = 0x20,
	RX_D2H = 0x40,
	RX_SET_BITS = 0x58,
};
#define SIG_ATAPI UINT32_C(0xeb140101)
#define CAP_S64A  UINT32_C(0x80000000)

/* --- interrupts --- */

/* Under the lock, so that two threads cannot set the line in another order than the registers. */
static void update_irq(struct ahci *a)
{
	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		if (a->port[k].is & a->port[k].ie)
			a->is |= 1u << k;
	pci_dev_set_intx(&a->pci, a->is && (a->ghc & GHC_IE));
}

/* --- what a command is made of --- */

static int prd_move(struct ata_command *c, uint8_t *buf, size_t n, bool to_guest)
{
	struct prd_cursor *p = &c->prd;
	uint8_t d[PRD_SIZE];

	while (n) {
		size_t part;
		int r;

		if (!p->left) {
			if (!p->nr || physmem_read(p->mem, p->next, d, sizeof(d)) < 0)
				return -EFAULT;
			p->nr--;
			p->next += PRD_SIZE;
			p->addr = get_le64(d) & ~UINT64_C(1);
			p->left = (get_le32(d + 12) & PRD_COUNT_MASK) + 1;
		}
		part = MIN(n, (size_t)p->left);
		r = to_guest ? physmem_write(p->mem, p->addr, buf, part)
			     : physmem_read(p->mem, p->addr, buf, part);
		if (r < 0)
			return -EFAULT;
		buf += part;
		n -= part;
		p->addr += part;
		p->left -= (uint32_t)part;
		p->moved += (uint32_t)part;
	}
	return 0;
}

int ata_put(struct ata_command *c, const void *buf, size_t n)
{
	return prd_move(c, (uint8_t *)buf, n, true);
}

int ata_get(struct ata_command *c, void *buf, size_t n)
{
	return prd_move(c, buf, n, false);
}

static void parse_fis(struct ata_command *c, const uint8_t *f)
{
	c->command = f[2];
	c->features = (uint16_t)(f[3] | f[11] << 8);
	c->lba = get_le(f + 4, 3) | get_le(f + 8, 3) << 24;
	c->device = f[7];
	c->count = get_le16(f + 12);
	c->control = f[15];
}

/* A FIS where the guest receives them, if it does. */
static void put_fis(struct ahci *a, const struct ahci_port *p, unsigned int at, const uint8_t *f,
		    size_t n)
{
	if ((p->cmd & CMD_FRE) && pci_dev_is_master(&a->pci))
		ignore_result(physmem_write(a->mem, p->fis + at, f, n));
}

/* Registers as the device sends them. Under the lock. */
static void send_d2h(struct ahci *a, struct ahci_port *p, const struct ata_command *c)
{
	uint8_t f[20] = { FIS_D2H, FIS_INTERRUPT, c->status, c->error };

	put_le(f + 4, c->lba, 3);
	f[7] = c->device;
	put_le(f + 8, c->lba >> 24, 3);
	put_le16(f + 12, c->count);
	put_fis(a, p, RX_D2H, f, sizeof(f));
	p->tfd = (uint32_t)c->error << 8 | c->status;
	p->is |= IS_DHRS;
}

/* A transfer without DMA is announced; its end needs nothing more. Under the lock. */
static void send_pio_setup(struct ahci *a, struct ahci_port *p, const struct ata_command *c)
{
	uint8_t f[20] = { FIS_PIO_SETUP, FIS_INTERRUPT | FIS_TO_HOST, ATA_OK | ATA_DRQ, c->error };

	put_le(f + 4, c->lba, 3);
	f[7] = c->device;
	put_le(f + 8, c->lba >> 24, 3);
	put_le16(f + 12, c->count);
	f[15] = c->status;
	put_le16(f + 16, (uint16_t)c->prd.moved);
	put_fis(a, p, RX_PIO_SETUP, f, sizeof(f));
	p->is |= IS_PSS;
}

/* The end of a queued command; of one that failed the guest reads the tag out of a log. Under the lock. */
static void send_set_bits(struct ahci *a, struct ahci_port *p, const struct ata_command *c)
{
	uint32_t done = c->status & ATA_ERR ? 0 : UINT32_C(1) << ata_tag(c);
	uint8_t f[8] = { FIS_SET_BITS, FIS_INTERRUPT, c->status & 0x77, c->error };

	put_le32(f + 4, done);
	put_fis(a, p, RX_SET_BITS, f, sizeof(f));
	p->sact &= ~done;
	p->tfd = (uint32_t)c->error << 8 | c->status;
	p->is |= IS_SDBS;
}

/* The device after a reset says what it is. Under the lock. */
static void send_signature(struct ahci *a, struct ahci_port *p)
{
	struct ata_command c = { .status = p->is_cd ? 0 : ATA_OK, .error = 1, .count = 1 };

	p->sig = p->is_cd ? SIG_ATAPI : SIG_DISK;
	c.lba = p->sig >> 8 & 0xffffff;
	send_d2h(a, p, &c);
}

static void link_up(struct ahci *a, struct ahci_port *p)
{
	if (!p->disk) {
		p->ssts = 0;
		return;
	}
	p->ssts = SSTS_UP;
	p->serr |= SERR_DIAG_X;
	p->is |= IS_PCS;
	send_signature(a, p);
}

static void port_reset(struct ahci_port *p)
{
	p->epoch++;
	p->ci = p->sact = 0;
	p->in_reset = false;
	p->is_halted = false;
	p->tfd = TFD_NONE;
	p->sig = UINT32_MAX;
}

/* --- the worker --- */

static bool is_ready(const struct ahci_port *p)
{
	return p->disk && p->ci && (p->cmd & CMD_ST) && !p->is_halted && p->running < 0;
}

static struct ahci_port *next_port(struct ahci *a)
{
	if (a->pauses)
		return NULL;
	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		if (is_ready(&a->port[k]))
			return &a->port[k];
	return NULL;
}

/* A FIS without the command bit only sets the control register: software resets begin and end so. Under the lock. */
static void control_fis(struct ahci *a, struct ahci_port *p, unsigned int slot, const uint8_t *fis)
{
	bool srst = fis[15] & CONTROL_SRST;

	if (p->in_reset && !srst)
		send_signature(a, p);
	p->in_reset = srst;
	p->ci &= ~(UINT32_C(1) << slot);
}

/* What the guest wrote about the command. Returns 0 or -EFAULT. */
static int fetch(struct ahci *a, uint64_t list, unsigned int slot, uint8_t *header, uint8_t *fis,
		 struct ata_command *c)
{
	uint64_t table;

	if (!pci_dev_is_master(&a->pci) ||
	    physmem_read(a->mem, list + (uint64_t)slot * HEADER_SIZE, header, HEADER_SIZE) < 0)
		return -EFAULT;
	table = get_le64(header + 8) & ~UINT64_C(0x7f);
	if (physmem_read(a->mem, table, fis, CFIS_SIZE) < 0 ||
	    physmem_read(a->mem, table + TABLE_PACKET, c->packet, sizeof(c->packet)) < 0)
		return -EFAULT;
	if (fis[0] != FIS_H2D)
		return -EFAULT;
	c->prd = (struct prd_cursor){ .mem = a->mem,
				      .next = table + TABLE_PRDT,
				      .nr = get_le16(header + 2) };
	parse_fis(c, fis);
	return 0;
}

/* The command's end in the registers. Under the lock. */
static void finish(struct ahci *a, struct ahci_port *p, unsigned int slot,
		   const struct ata_command *c, int r)
{
	if (r < 0) { /* the interface, not the device, has failed */
		p->is |= IS_IFS;
		p->tfd = ATA_OK | ATA_ERR | ATA_ABORTED << 8;
		p->is_halted = true;
		return;
	}
	if (c->is_pio && !(c->status & ATA_ERR))
		send_pio_setup(a, p, c);
	if (c->is_queued)
		send_set_bits(a, p, c);
	else
		send_d2h(a, p, c);
	if (c->status & ATA_ERR) {
		p->is |= IS_TFES;
		p->is_halted = true;
		return;
	}
	p->ci &= ~(UINT32_C(1) << slot);
}

/* One command, if one waits. */
static bool work_once(struct ahci *a)
{
	struct ata_command c = { .status = ATA_OK, .buffer = a->buffer };
	uint8_t header[HEADER_SIZE], fis[CFIS_SIZE], count[4];
	unsigned int slot, epoch;
	struct ahci_port *p;
	bool is_command;
	uint64_t list;
	int r;

	mutex_lock(&a->lock);
	p = next_port(a);
	if (!p) {
		mutex_unlock(&a->lock);
		return false;
	}
	slot = (unsigned int)__builtin_ctz(p->ci);
	p->running = (int)slot;
	p->cmd = (p->cmd & ~(31u << CMD_CCS_SHIFT)) | slot << CMD_CCS_SHIFT;
	epoch = p->epoch;
	list = p->list;
	c.port = p;
	a->is_working = true;
	mutex_unlock(&a->lock);

	r = fetch(a, list, slot, header, fis, &c);
	is_command = r == 0 && (fis[1] & FIS_IS_COMMAND);
	if (is_command) {
		r = p->is_cd ? atapi_run(&c) : ata_run(&c);
		put_le32(count, c.prd.moved);
		/* A list outside of RAM is known from reading it. */
		ignore_result(physmem_write(a->mem, list + (uint64_t)slot * HEADER_SIZE + 4, count,
					    sizeof(count)));
	}
	mutex_lock(&a->lock);
	if (p->epoch == epoch && (is_command || r < 0))
		finish(a, p, slot, &c, r);
	else if (p->epoch == epoch)
		control_fis(a, p, slot, fis);
	p->running = -1;
	a->is_working = false;
	pthread_cond_broadcast(&a->idle);
	update_irq(a);
	mutex_unlock(&a->lock);
	return true;
}

unsigned int ahci_work(struct ahci *a)
{
	unsigned int n = 0;

	while (work_once(a))
		n++;
	return n;
}

static void worker(void *arg)
{
	struct ahci *a = arg;

	for (;;) {
		bool stop;

		mutex_lock(&a->lock);
		while (!a->stop && !next_port(a))
			cond_wait(&a->work, &a->lock);
		stop = a->stop;
		mutex_unlock(&a->lock);
		if (stop)
			return;
		work_once(a);
	}
}

int ahci_start(struct ahci *a, struct err *err)
{
	int r = thread_start(&a->thread, "ahci", worker, a, err);

	a->has_thread = r == 0;
	return r;
}

void ahci_stop(struct ahci *a)
{
	if (!a->has_thread)
		return;
	mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->work);
	mutex_unlock(&a->lock);
	thread_join(&a->thread);
	a->has_thread = a->stop = false;
}

void ahci_pause(struct ahci *a)
{
	mutex_guard(&a->lock);
	a->pauses++;
	while (a->is_working)
		cond_wait(&a->idle, &a->lock);
}

void ahci_resume(struct ahci *a)
{
	mutex_guard(&a->lock);
	a->pauses--;
	pthread_cond_broadcast(&a->work);
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
	bool is_busy = waits && p->disk && (p->cmd & CMD_ST) && !p->is_halted;

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
		p->epoch++; /* what is under way is not answered */
		p->cmd &= ~(31u << CMD_CCS_SHIFT);
	}
	if (value & CMD_CLO)
		p->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
	/* The device has waited with its first FIS for somebody to receive it. */
	if (!(old & CMD_FRE) && (value & CMD_FRE) && p->disk && (p->tfd & 0xff) == TFD_NONE)
		send_signature(a, p);
}

static void write_sctl(struct ahci *a, struct ahci_port *p, uint32_t value)
{
	uint32_t old = p->sctl & 15;

	p->sctl = value & 0xfff;
	if ((value & 15) == 1 && old != 1) {
		port_reset(p);
		p->ssts = 0;
	} else if ((value & 15) == 4) {
		p->ssts = p->disk ? 4 : 0; /* offline */
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
		p->ssts = p->disk ? SSTS_UP : 0;
		if (p->disk)
			p->sig = p->is_cd ? SIG_ATAPI : SIG_DISK;
	}
}

static uint64_t hba_read(void *arg, uint64_t off, unsigned int size)
{
	struct ahci *a = arg;
	unsigned int reg = (unsigned int)(off & ~UINT64_C(3)), k = (reg - PORT_BASE) / PORT_SIZE;
	uint32_t value = 0;

	mutex_guard(&a->lock);
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
	mutex_guard(&a->lock);
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
	update_irq(a);
	if (next_port(a))
		pthread_cond_broadcast(&a->work);
}

/* --- the whole --- */

void ahci_reset(struct ahci *a)
{
	mutex_lock(&a->lock);
	hba_reset(a);
	while (a->is_working)
		cond_wait(&a->idle, &a->lock);
	for (unsigned int k = 0; k < AHCI_PORTS; k++) {
		memset(a->port[k].sense, 0, sizeof(a->port[k].sense));
		a->port[k].medium_changed = a->port[k].is_cd;
	}
	update_irq(a);
	mutex_unlock(&a->lock);
}

int ahci_plug(struct ahci *a, unsigned int port, struct disk *disk, bool is_cd, bool is_readonly,
	      const char *serial, struct err *err)
{
	struct ahci_port *p = &a->port[port < AHCI_PORTS ? port : 0];

	if (port >= AHCI_PORTS)
		return err_set(err, -EINVAL, "SATA port %u: there are %d", port, AHCI_PORTS);
	if (p->disk)
		return err_set(err, -EEXIST, "SATA port %u has a drive already", port);
	p->disk = disk;
	p->is_cd = is_cd;
	p->is_readonly = is_readonly || is_cd;
	snprintf(p->serial, sizeof(p->serial), "%.20s", serial);
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
	mutex_init(&a->lock);
	cond_init(&a->work);
	cond_init(&a->idle);
	a->buffer = mem_new(AHCI_BUFFER);
	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		a->port[k].running = -1;
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
	if (!a->buffer)
		return;
	ahci_stop(a);
	pci_dev_unplug(&a->pci);
	free(take_ptr(&a->buffer));
	pthread_cond_destroy(&a->work);
	pthread_cond_destroy(&a->idle);
	pthread_mutex_destroy(&a->lock);
}
