/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands: out of a channel's registers, to its drive, and their ends in the registers. The thread that does it is in
 * ata_worker.c, DMA in ide_dma.c.
 *
 * Data goes between the drive and the channel's buffer, or the guest's memory, and both only under the lock and while the
 * command is still wanted: after a reset nothing is moved any more. A command that finds no started bus master is put back, and begins
 * again when there is one, so no thread waits for the guest.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "cpu/physmem.h"
#include "vm/dev/ide_priv.h"

enum {
	DISK_PIECE = IDE_BUFFER / ATA_SECTOR,
	CD_PIECE = IDE_BUFFER / CD_SECTOR,
	KEY_ABORTED = 0x0b,
};

static int port_move(struct ata_command *ata, uint8_t *buf, size_t n, bool to_guest)
{
	struct ide_channel *ch = ide_command_of(ata)->channel;

	mutex_guard(&ata->worker->lock);
	if (ata_is_dropped(ata))
		return -ECANCELED;
	if (to_guest) {
		if (n > sizeof(ch->buffer) - ch->len)
			return -EFAULT;
		memcpy(ch->buffer + ch->len, buf, n);
		ch->len += (uint32_t)n;
	} else {
		if (n > ch->len - ch->at)
			return -EFAULT;
		memcpy(buf, ch->buffer + ch->at, n);
		ch->at += (uint32_t)n;
	}
	return 0;
}

static bool is_ready(struct ide_channel *ch)
{
	return ch->phase == IDE_WORK && !ch->is_running && ide_selected(ch)->ata.disk &&
	       (!ch->needs_start || (ch->bm_command & BM_START));
}

static struct ata_command *begin(struct ide_channel *ch)
{
	struct ide_command *c = ch->ide->command;
	struct ide_drive *d = ide_selected(ch);
	bool is_dma = ide_is_dma(ch, d);

	*c = (struct ide_command){
		.ata = { .drive = &d->ata,
			 .move = is_dma ? ide_dma_move : port_move,
			 .command = ch->command,
			 .device = ch->device,
			 .features = (uint16_t)(d->features[0] | d->features[1] << 8),
			 .count = (uint16_t)(d->count[0] | d->count[1] << 8),
			 .lba = d->low[0] | (uint64_t)d->mid[0] << 8 | (uint64_t)d->high[0] << 16 |
				(uint64_t)d->low[1] << 24 | (uint64_t)d->mid[1] << 32 |
				(uint64_t)d->high[1] << 40,
			 .first = ch->first,
			 .most = is_dma		? 0
				 : d->ata.is_cd ? CD_PIECE
						: DISK_PIECE,
			 .status = ATA_OK },
		.channel = ch,
		.is_dma = is_dma,
	};
	memcpy(c->ata.packet, ch->packet, sizeof(ch->packet));
	ch->at = 0;
	if (!ide_nr_out(ch, d))
		ch->len = 0;
	ch->is_running = true;
	return &c->ata;
}

static struct ata_command *take(struct ata_worker *w)
{
	struct ide *i = container_of(w, struct ide, worker);

	for (unsigned int k = 0; k < IDE_CHANNELS; k++)
		if (is_ready(&i->channel[k]))
			return begin(&i->channel[k]);
	return NULL;
}

/* What a command leaves in the registers. */
static void store(struct ide_channel *ch, struct ide_drive *d, const struct ata_command *c)
{
	ch->device = (uint8_t)((ch->device & 0xf0) | (c->device & 0x0f));
	for (unsigned int k = 0; k < 2; k++) {
		d->count[k] = (uint8_t)(c->count >> 8 * k);
		d->low[k] = (uint8_t)(c->lba >> 24 * k);
		d->mid[k] = (uint8_t)(c->lba >> (24 * k + 8));
		d->high[k] = (uint8_t)(c->lba >> (24 * k + 16));
	}
}

/* The guest's memory, not the drive, has failed. */
static void fault(struct ide_channel *ch, struct ata_command *c)
{
	c->has_more = false;
	ata_fail(c, ATA_ABORTED);
	if (c->drive->is_cd) {
		c->drive->sense[0] = KEY_ABORTED;
		c->drive->sense[1] = c->drive->sense[2] = 0;
		c->error |= KEY_ABORTED << 4;
	}
	if (ide_command_of(c)->is_dma)
		ch->bm_status |= BM_ERROR;
}

static void finish(struct ata_command *c, int r, bool is_dropped)
{
	struct ide_channel *ch = ide_command_of(c)->channel;
	struct ide_drive *d = container_of(c->drive, struct ide_drive, ata);
	bool is_out = ide_nr_out(ch, d) > 0;

	ch->is_running = false;
	if (is_dropped || r == -ECANCELED)
		return;
	if (r == -EAGAIN) {
		ch->needs_start = true;
		return;
	}
	if (r < 0)
		fault(ch, c);
	/* One that has memory left stays active. */
	if (ide_command_of(c)->is_dma &&
	    (r < 0 || (!ide_command_of(c)->left && ide_command_of(c)->is_last)))
		ch->bm_active = false;
	store(ch, d, c);
	ch->has_more = c->has_more && !(c->status & ATA_ERR);
	if (ch->has_more)
		ch->first += c->most;
	if (c->status & ATA_ERR) {
		ide_end(ch, c->status, c->error);
	} else if (is_out && ch->has_more) {
		ide_begin_out(ch);
	} else if (!is_out && ch->len) {
		ch->phase = IDE_IN;
		ide_begin_block(ch);
	} else {
		ide_end(ch, c->status, c->error);
	}
	ide_interrupt(ch);
}

const struct ata_worker_ops ide_work_ops = { .take = take, .run = ata_run, .finish = finish };
