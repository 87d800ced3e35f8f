/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands: out of the guest's memory, to its drive, and their ends in registers and memory. The thread that does it is in
 * ata_worker.c.
 *
 *	a bit of PxCI set --> waits --> the worker takes it (running) --> registers and CI as after the command
 *
 * What the guest wrote into memory (list, table, descriptors) is read by the worker once,
 * when it takes the command. While a command is under way PxCMD.CR stays set, also when the guest clears ST: that is how
 * drivers learn that nothing moves in their memory any more.
 *
 * Native queuing saves the guest the wait between two commands; they still come one after the other. Of queued commands the
 * worker does the lowest slot first, and tells each end by a Set Device Bits FIS.
 *
 * Without the bus master bit a command fails as one whose descriptors lead nowhere.
 *
 * Source: AHCI 1.3.1, 4.2 (command list and table), 5 (operation).
 */
#include <errno.h>

#include "base/bytes.h"
#include "cpu/physmem.h"
#include "vm/dev/ahci_priv.h"

enum {
	/* Command list and table. */
	HEADER_SIZE = 32,
	TABLE_PACKET = 0x40,
	TABLE_PRDT = 0x80,
	FIS_H2D = 0x27,
	FIS_IS_COMMAND = 0x80,
	CONTROL_SRST = 0x04,
};

static bool is_ready(const struct ahci_port *p)
{
	return p->drive.disk && p->ci && (p->cmd & CMD_ST) && !p->is_halted && p->running < 0;
}

struct ahci_port *ahci_next_port(struct ahci *a)
{
	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		if (is_ready(&a->port[k]))
			return &a->port[k];
	return NULL;
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

/* A FIS without the command bit only sets the control register: software resets begin and end so. Under the lock. */
static void control_fis(struct ahci *a, struct ahci_port *p, unsigned int slot, const uint8_t *fis)
{
	bool srst = fis[15] & CONTROL_SRST;

	if (p->in_reset && !srst)
		ahci_send_signature(a, p);
	p->in_reset = srst;
	p->ci &= ~(UINT32_C(1) << slot);
}

/* What the guest wrote about the command. Returns 0 or -EFAULT. */
static int fetch(struct ahci_command *c)
{
	struct ahci *a = c->ahci;
	uint8_t header[HEADER_SIZE];
	uint64_t table;

	if (!pci_dev_is_master(&a->pci) ||
	    physmem_read(a->mem, c->list + (uint64_t)c->slot * HEADER_SIZE, header, HEADER_SIZE) <
		    0)
		return -EFAULT;
	table = get_le64(header + 8) & ~UINT64_C(0x7f);
	if (physmem_read(a->mem, table, c->fis, sizeof(c->fis)) < 0 ||
	    physmem_read(a->mem, table + TABLE_PACKET, c->ata.packet, sizeof(c->ata.packet)) < 0)
		return -EFAULT;
	if (c->fis[0] != FIS_H2D)
		return -EFAULT;
	c->prd = (struct prd_cursor){ .mem = a->mem,
				      .next = table + TABLE_PRDT,
				      .nr = get_le16(header + 2) };
	parse_fis(&c->ata, c->fis);
	return 0;
}

/* The command's end in the registers. */
static void ended(struct ahci *a, struct ahci_port *p, unsigned int slot,
		  const struct ata_command *c, int r)
{
	if (r < 0) { /* the interface, not the device, has failed */
		p->is |= IS_IFS;
		p->tfd = ATA_OK | ATA_ERR | ATA_ABORTED << 8;
		p->is_halted = true;
		return;
	}
	if (c->is_pio && !(c->status & ATA_ERR))
		ahci_send_pio_setup(a, p, c);
	if (c->is_queued)
		ahci_send_set_bits(a, p, c);
	else
		ahci_send_d2h(a, p, c);
	if (c->status & ATA_ERR) {
		p->is |= IS_TFES;
		p->is_halted = true;
		return;
	}
	p->ci &= ~(UINT32_C(1) << slot);
}

static struct ata_command *take(struct ata_worker *w)
{
	struct ahci *a = container_of(w, struct ahci, worker);
	struct ahci_port *p = ahci_next_port(a);
	struct ahci_command *c = a->command;

	if (!p)
		return NULL;
	*c = (struct ahci_command){
		.ata = { .drive = &p->drive, .status = ATA_OK, .move = ahci_prd_move },
		.ahci = a,
		.port = p,
		.slot = (unsigned int)__builtin_ctz(p->ci),
		.list = p->list,
	};
	p->running = (int)c->slot;
	p->cmd = (p->cmd & ~(31u << CMD_CCS_SHIFT)) | c->slot << CMD_CCS_SHIFT;
	return &c->ata;
}

static int run(struct ata_command *ata)
{
	struct ahci_command *c = container_of(ata, struct ahci_command, ata);
	uint8_t count[4];
	int r = fetch(c);

	if (r < 0 || !(c->fis[1] & FIS_IS_COMMAND))
		return r;
	c->is_command = true;
	r = ata_run(ata);
	if (r == -ECANCELED)
		return r;
	put_le32(count, ata->moved);
	/* A list outside of RAM is known from reading it. */
	ignore_result(physmem_write(c->ahci->mem, c->list + (uint64_t)c->slot * HEADER_SIZE + 4,
				    count, sizeof(count)));
	return r;
}

static void finish(struct ata_command *ata, int r, bool is_dropped)
{
	struct ahci_command *c = container_of(ata, struct ahci_command, ata);

	if (!is_dropped && (c->is_command || r < 0))
		ended(c->ahci, c->port, c->slot, ata, r);
	else if (!is_dropped)
		control_fis(c->ahci, c->port, c->slot, c->fis);
	c->port->running = -1;
	ahci_update_irq(c->ahci);
}

const struct ata_worker_ops ahci_work_ops = { .take = take, .run = run, .finish = finish };
