/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bus master: its registers, and data between a command and the guest's memory by its table. The table is read once,
 * entry by entry, when it is come to.
 *
 * Memory is touched under the lock and while the bus master is started, so nothing is moved after the guest has stopped it.
 * A drive whose bus master is stopped in the middle waits for it, as drives do, and begins from the start with the next
 * one.
 *
 * Without the PCI function's bus master bit, in the wrong direction, or when the table names no RAM or too little, the bus
 * master says error and the drive aborts.
 *
 * Source: Programming interface for bus master IDE 1.0.
 */
#include <errno.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "cpu/physmem.h"
#include "vm/dev/ide_priv.h"

enum {
	COMMAND_BITS = BM_START | BM_TO_MEMORY,
	STATUS_BITS = 0x60, /* drives that can do DMA, for the guest's own use */

	PRD_SIZE = 8,
	PRD_LAST = 0x80,
	PRD_TABLE = 64 << 10, /* which it does not cross */
};

uint64_t ide_bm_read(void *arg, uint64_t off, unsigned int size)
{
	struct ide *i = arg;
	struct ide_channel *ch = &i->channel[off >> 3 & 1];

	mutex_guard(&i->worker.lock);
	switch (off & 7) {
	case 0:
		return ch->bm_command;
	case 2:
		return ch->bm_status | (ch->bm_active ? BM_ACTIVE : 0);
	case 4 ... 7:
		return ch->bm_table >> 8 * (off & 3) & 0xff;
	default:
		return 0;
	}
}

/* Memory is touched under the lock, and only while this is on: see below. */
static void bm_command(struct ide_channel *ch, uint8_t value)
{
	bool was_on = ch->bm_command & BM_START;

	ch->bm_command = value & COMMAND_BITS;
	if (was_on == (value & BM_START))
		return;
	ch->bm_active = value & BM_START;
	ch->bm_starts++;
	pthread_cond_broadcast(&ch->ide->worker.work);
}

void ide_bm_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct ide *i = arg;
	struct ide_channel *ch = &i->channel[off >> 3 & 1];
	uint8_t v = (uint8_t)value, done = v & (BM_ERROR | BM_INTERRUPT);
	unsigned int shift = 8 * (off & 3);

	mutex_guard(&i->worker.lock);
	switch (off & 7) {
	case 0:
		bm_command(ch, v);
		break;
	case 2:
		ch->bm_status =
			(uint8_t)((ch->bm_status & ~STATUS_BITS & ~done) | (v & STATUS_BITS));
		break;
	case 4 ... 7:
		ch->bm_table &= ~(UINT32_C(0xff) << shift);
		ch->bm_table |= (uint32_t)v << shift & ~UINT32_C(3);
		break;
	default:
		break;
	}
}

/* The entry that comes next. Returns 0 or -EFAULT. */
static int next_entry(struct ide_command *c)
{
	const struct ide_channel *ch = c->channel;
	uint8_t e[PRD_SIZE];

	if (!c->has_table) {
		c->next = ch->bm_table;
		c->nr = (PRD_TABLE - c->next % PRD_TABLE) / PRD_SIZE;
		c->has_table = true;
	}
	if (c->is_last || !c->nr || physmem_read(ch->ide->mem, c->next, e, sizeof(e)) < 0)
		return -EFAULT;
	c->next += PRD_SIZE;
	c->nr--;
	c->addr = get_le32(e) & ~UINT32_C(1);
	c->left = get_le16(e + 4) & 0xfffe;
	if (!c->left)
		c->left = 64 << 10;
	c->is_last = e[7] & PRD_LAST;
	return 0;
}

int ide_dma_move(struct ata_command *ata, uint8_t *buf, size_t n, bool to_guest)
{
	struct ide_command *c = ide_command_of(ata);
	struct ide_channel *ch = c->channel;
	struct physmem *mem = ch->ide->mem;

	mutex_guard(&ata->worker->lock);
	if (ata_is_dropped(ata))
		return -ECANCELED;
	if (!c->has_table)
		c->starts = ch->bm_starts;
	if (!(ch->bm_command & BM_START) || c->starts != ch->bm_starts)
		return -EAGAIN;
	if (!pci_dev_is_master(&ch->ide->pci) || !(ch->bm_command & BM_TO_MEMORY) == to_guest)
		return -EFAULT;
	while (n) {
		size_t part;
		int r = c->left ? 0 : next_entry(c);

		if (r < 0)
			return r;
		part = MIN(n, (size_t)c->left);
		r = to_guest ? physmem_write(mem, c->addr, buf, part)
			     : physmem_read(mem, c->addr, buf, part);
		if (r < 0)
			return -EFAULT;
		buf += part;
		n -= part;
		c->addr += (uint32_t)part;
		c->left -= (uint32_t)part;
	}
	return 0;
}
