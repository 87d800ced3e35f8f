/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread that carries commands out.
 *
 *	a bit of PxCI set --> waits --> the worker takes it (running) --> registers and CI as after the command
 *	                                        └─ a reset meanwhile (epoch): the result is dropped
 *
 * A vCPU never waits for a disk. Requests go to it as those of virtio disks do (disk_submit()), so limits hold, and a write
 * for which the host has no space waits. The worker waits with it; data is in its buffer meanwhile, so a pause does not.
 * A reset hurries the disk.
 *
 * What the guest wrote into memory (list, table, descriptors) is read by the worker once,
 * when it takes the command. While a command is under way PxCMD.CR stays set, also when the guest clears ST: that is how
 * drivers learn that nothing moves in their memory any more.
 *
 * One command at a time for all ports: this controller is for installers, CD images and systems without virtio. Native
 * queuing saves the guest the wait between two commands; they still come one after the other. Of queued commands the
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
	CFIS_SIZE = 20,
	FIS_H2D = 0x27,
	FIS_IS_COMMAND = 0x80,
	CONTROL_SRST = 0x04,
};

static bool is_ready(const struct ahci_port *p)
{
	return p->disk && p->ci && (p->cmd & CMD_ST) && !p->is_halted && p->running < 0;
}

struct ahci_port *ahci_next_port(struct ahci *a)
{
	if (a->pauses)
		return NULL;
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

/* --- the disk ---------------------------------------------------------------------------------- */

struct transfer {
	struct disk_request req;
	struct ahci *ahci;
	bool is_done;
	int status;
};

static void transferred(struct disk_request *req, int status)
{
	struct transfer *t = container_of(req, struct transfer, req);
	struct ahci *a = t->ahci;

	mutex_guard(&a->move_lock);
	t->status = status;
	t->is_done = true;
	pthread_cond_signal(&a->moved);
}

/* Nobody will hear of the command. Under the lock. */
static bool is_dropped(const struct ata_command *c)
{
	return c->ahci->stop || c->port->epoch != c->epoch;
}

int ahci_move(struct ata_command *c, enum disk_op op, uint64_t off, uint64_t len)
{
	struct ahci *a = c->ahci;
	struct iovec iov = { c->buffer, len };
	struct transfer t = { .ahci = a,
			      .req = { .op = op,
				       .off = off,
				       .len = len,
				       .iov = &iov,
				       .nr_iov = op == DISK_OP_READ || op == DISK_OP_WRITE,
				       .done = transferred } };
	bool is_over;

	/* Under the lock: who hurries the disk afterwards finds the request there. */
	mutex_lock(&a->lock);
	if (is_dropped(c)) {
		mutex_unlock(&a->lock);
		return -ECANCELED;
	}
	a->is_moving = true;
	disk_submit(c->port->disk, &t.req);
	pthread_cond_broadcast(&a->idle);
	mutex_unlock(&a->lock);

	mutex_lock(&a->move_lock);
	while (!t.is_done)
		cond_wait(&a->moved, &a->move_lock);
	mutex_unlock(&a->move_lock);

	mutex_lock(&a->lock);
	while (a->pauses && !a->is_settling && !is_dropped(c))
		cond_wait(&a->work, &a->lock);
	a->is_moving = false;
	is_over = is_dropped(c);
	mutex_unlock(&a->lock);
	return is_over ? -ECANCELED : t.status;
}

void ahci_hurry(struct ahci *a)
{
	for (unsigned int k = 0; k < AHCI_PORTS; k++)
		if (a->port[k].disk)
			disk_hurry(a->port[k].disk);
}

/* --- commands ---------------------------------------------------------------------------------- */

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

/* One command, if one waits. */
static bool work_once(struct ahci *a)
{
	struct ata_command c = { .ahci = a, .status = ATA_OK, .buffer = a->buffer };
	uint8_t header[HEADER_SIZE], fis[CFIS_SIZE], count[4];
	unsigned int slot;
	struct ahci_port *p;
	bool is_command;
	uint64_t list;
	int r;

	mutex_lock(&a->lock);
	p = ahci_next_port(a);
	if (!p) {
		mutex_unlock(&a->lock);
		return false;
	}
	slot = (unsigned int)__builtin_ctz(p->ci);
	p->running = (int)slot;
	p->cmd = (p->cmd & ~(31u << CMD_CCS_SHIFT)) | slot << CMD_CCS_SHIFT;
	c.epoch = p->epoch;
	list = p->list;
	c.port = p;
	a->is_working = true;
	mutex_unlock(&a->lock);

	r = fetch(a, list, slot, header, fis, &c);
	is_command = r == 0 && (fis[1] & FIS_IS_COMMAND);
	if (is_command)
		r = p->is_cd ? atapi_run(&c) : ata_run(&c);
	if (is_command && r != -ECANCELED) {
		put_le32(count, c.prd.moved);
		/* A list outside of RAM is known from reading it. */
		ignore_result(physmem_write(a->mem, list + (uint64_t)slot * HEADER_SIZE + 4, count,
					    sizeof(count)));
	}
	mutex_lock(&a->lock);
	if (p->epoch == c.epoch && (is_command || r < 0))
		finish(a, p, slot, &c, r);
	else if (p->epoch == c.epoch)
		control_fis(a, p, slot, fis);
	p->running = -1;
	a->is_working = false;
	pthread_cond_broadcast(&a->idle);
	ahci_update_irq(a);
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
		while (!a->stop && !ahci_next_port(a))
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
	ahci_hurry(a);
	mutex_unlock(&a->lock);
	thread_join(&a->thread);
	a->has_thread = a->stop = false;
}

void ahci_pause(struct ahci *a)
{
	mutex_guard(&a->lock);
	a->pauses++;
	while (a->is_working && !a->is_moving)
		cond_wait(&a->idle, &a->lock);
}

void ahci_settle(struct ahci *a)
{
	mutex_guard(&a->lock);
	a->is_settling = true;
	pthread_cond_broadcast(&a->work);
	ahci_hurry(a);
	while (a->is_working)
		cond_wait(&a->idle, &a->lock);
	a->is_settling = false;
}

void ahci_resume(struct ahci *a)
{
	mutex_guard(&a->lock);
	a->pauses--;
	pthread_cond_broadcast(&a->work);
}
