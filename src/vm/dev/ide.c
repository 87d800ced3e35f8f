/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller's registers, served on the vCPU's thread under the worker's lock; ide_work.c carries commands out.
 *
 *	IDLE ── command ──> WORK (busy) ── done ──────────────────────> IDLE, interrupt
 *	  │                  │   ^   ^
 *	  │                  │   │   └── buffer read, and there is more ─┐
 *	  │                  └── data for the guest ──> IN, interrupt ───┴─ all read ──> IDLE
 *	  ├── command that takes data ──> OUT ── buffer written ──> WORK ── and there is more ──> OUT, interrupt
 *	  └── PACKET ──> PACKET_OUT ── 12 bytes written ──> WORK
 *
 * A command without DMA is carried out in pieces of a small buffer, so that what the guest has not fetched yet is part of
 * the registers: neither a pause nor a snapshot waits for a guest that reads a port. Within a piece one block follows the
 * other at once. A reset makes everything IDLE; what the worker has is dropped (epoch).
 *
 * Ports answer when the guest has switched on I/O decoding of the function and its channel; the latter is on from the
 * start, because kernels that are booted without firmware expect it.
 */
#include "vm/dev/ide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "vm/dev/ide_priv.h"

enum {
	INTEL = 0x8086,
	DEVICE_PIIX3_IDE = 0x7010,
	CLASS_IDE = 0x010180, /* both channels at their old ports; bus master */
	TIMING = 0x40, /* two registers of 16 bits; the highest bit switches the channel on */
	BAR = 4,
	BAR_SIZE = 16,

	R_DATA = 0,
	R_ERROR = 1, /* written: features */
	R_COUNT = 2,
	R_LOW = 3,
	R_MID = 4,
	R_HIGH = 5,
	R_DEVICE = 6,
	R_STATUS = 7, /* written: command */

	HEADS = 16,
	SECTORS = 63,
	MULTIWORD_2 = 0x22,
	DEVICE_FIXED = 0xa0, /* read as 1 */
};
#define TIMING_ON UINT32_C(0x80008000)

static const struct {
	uint16_t command, control;
	unsigned int gsi;
} places[IDE_CHANNELS] = { { 0x1f0, 0x3f6, 14 }, { 0x170, 0x376, 15 } };

void ide_update_irq(struct ide_channel *ch)
{
	irq_set(&ch->irq, ch->has_irq && !(ch->control & IDE_NO_IRQ));
}

void ide_interrupt(struct ide_channel *ch)
{
	ch->has_irq = true;
	if (!(ch->control & IDE_NO_IRQ))
		ch->bm_status |= BM_INTERRUPT;
	ide_update_irq(ch);
}

static void take_back_irq(struct ide_channel *ch)
{
	ch->has_irq = false;
	ide_update_irq(ch);
}

static void begin_work(struct ide_channel *ch)
{
	ch->phase = IDE_WORK;
	pthread_cond_broadcast(&ch->ide->worker.work);
}

static bool is_packet(struct ide_channel *ch)
{
	return ide_selected(ch)->ata.is_cd && ch->command == ATA_CMD_PACKET;
}

void ide_end(struct ide_channel *ch, uint8_t status, uint8_t error)
{
	struct ide_drive *d = ide_selected(ch);

	ch->phase = IDE_IDLE;
	d->status = status;
	d->error = error;
	if (is_packet(ch))
		d->count[0] = REASON_STATUS;
}

/* --- data through the port --------------------------------------------------------------------- */

void ide_begin_block(struct ide_channel *ch)
{
	struct ide_drive *d = ide_selected(ch);
	uint32_t n = ch->len - ch->at;

	if (is_packet(ch)) {
		/* Only the last block may be of an odd size. */
		n = n > ch->limit ? MAX(ch->limit & ~1u, 2u) : n;
		d->mid[0] = (uint8_t)n;
		d->high[0] = (uint8_t)(n >> 8);
		d->count[0] = REASON_TO_HOST;
	} else {
		n = MIN(n, ata_block(&d->ata, ch->command) * ATA_SECTOR);
	}
	ch->block = ch->at + n;
}

void ide_begin_out(struct ide_channel *ch)
{
	uint32_t rest = ide_nr_out(ch, ide_selected(ch)) - ch->first;

	ch->phase = IDE_OUT;
	ch->at = 0;
	ch->len = MIN(rest * ATA_SECTOR, (uint32_t)IDE_BUFFER);
	ide_begin_block(ch);
}

/* The guest has moved a block. */
static void end_block(struct ide_channel *ch)
{
	if (ch->phase == IDE_PACKET_OUT) {
		memcpy(ch->packet, ch->buffer, sizeof(ch->packet));
		begin_work(ch);
	} else if (ch->at < ch->len) {
		ide_begin_block(ch);
		ide_interrupt(ch);
	} else if (ch->phase == IDE_OUT || ch->has_more) {
		begin_work(ch);
	} else {
		ide_end(ch, ATA_OK, 0);
		if (is_packet(ch))
			ide_interrupt(ch);
	}
}

static uint64_t data_read(struct ide_channel *ch, unsigned int size)
{
	unsigned int n;
	uint64_t value;

	if (ch->phase != IDE_IN)
		return 0;
	n = MIN(size, ch->block - ch->at);
	value = get_le(ch->buffer + ch->at, n);
	ch->at += n;
	if (ch->at == ch->block)
		end_block(ch);
	return value;
}

static void data_write(struct ide_channel *ch, unsigned int size, uint64_t value)
{
	unsigned int n;

	if (ch->phase != IDE_OUT && ch->phase != IDE_PACKET_OUT)
		return;
	n = MIN(size, ch->block - ch->at);
	put_le(ch->buffer + ch->at, value, n);
	ch->at += n;
	if (ch->at == ch->block)
		end_block(ch);
}

/* --- commands and resets ----------------------------------------------------------------------- */

/* What a drive is, in its registers. */
static void sign(struct ide_drive *d)
{
	d->error = 1; /* no fault found */
	d->status = d->ata.is_cd ? 0 : ATA_OK;
	d->count[0] = d->low[0] = 1;
	d->mid[0] = d->ata.is_cd ? (uint8_t)ATAPI_SIGNATURE : 0;
	d->high[0] = d->ata.is_cd ? ATAPI_SIGNATURE >> 8 : 0;
}

static void sign_both(struct ide_channel *ch)
{
	ch->device = 0;
	for (unsigned int k = 0; k < ARRAY_SIZE(ch->drive); k++)
		sign(&ch->drive[k]);
}

/* Whatever the drives do ends, without a word. */
static void drop(struct ide_channel *ch)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(ch->drive); k++)
		ch->drive[k].ata.epoch++;
	ch->phase = IDE_IDLE;
	take_back_irq(ch);
}

bool ide_is_dma(const struct ide_channel *ch, const struct ide_drive *d)
{
	return d->ata.is_cd ? ch->command == ATA_CMD_PACKET && (d->features[0] & 1)
			    : ata_is_dma(ch->command);
}

uint32_t ide_nr_out(const struct ide_channel *ch, const struct ide_drive *d)
{
	return d->ata.is_cd ? 0
			    : ata_nr_out(&d->ata, ch->command,
					 (uint16_t)(d->count[0] | d->count[1] << 8));
}

static void command(struct ide_channel *ch, uint8_t value)
{
	struct ide_drive *d = ide_selected(ch);

	if (value == ATA_CMD_DEVICE_RESET && d->ata.disk && d->ata.is_cd) { /* at any time */
		drop(ch);
		sign(d);
		return;
	}
	if (ch->phase != IDE_IDLE)
		return;
	take_back_irq(ch);
	if (value == ATA_CMD_DIAGNOSTIC) { /* both */
		sign_both(ch);
		ide_interrupt(ch);
		return;
	}
	if (!d->ata.disk)
		return;
	ch->command = value;
	ch->first = ch->at = ch->len = 0;
	ch->has_more = false;
	ch->needs_start = !d->ata.is_cd && ata_is_dma(value);
	d->error = 0;
	if (value == ATA_CMD_PACKET && d->ata.is_cd) {
		ch->limit = (uint16_t)(d->mid[0] | d->high[0] << 8);
		if (!ch->limit)
			ch->limit = UINT16_MAX;
		d->count[0] = REASON_COMMAND;
		ch->block = ch->len = IDE_PACKET;
		ch->phase = IDE_PACKET_OUT;
	} else if (ide_nr_out(ch, d)) {
		ide_begin_out(ch); /* the first block without an interrupt */
	} else {
		begin_work(ch);
	}
}

static void control(struct ide_channel *ch, uint8_t value)
{
	uint8_t old = ch->control;

	ch->control = value & (IDE_NO_IRQ | IDE_SRST | IDE_HOB);
	if (!(old & IDE_SRST) && (value & IDE_SRST))
		drop(ch);
	if ((old & IDE_SRST) && !(value & IDE_SRST))
		sign_both(ch);
	ide_update_irq(ch);
}

/* --- registers --------------------------------------------------------------------------------- */

static uint8_t status(struct ide_channel *ch)
{
	const struct ide_drive *d = ide_selected(ch);

	if (!d->ata.disk)
		return 0; /* by the other one, or by nobody */
	if (ch->control & IDE_SRST)
		return ATA_BSY;
	switch (ch->phase) {
	case IDE_IDLE:
		return d->status;
	case IDE_WORK:
		return ATA_BSY | ATA_OK;
	default:
		return ATA_OK | ATA_DRQ;
	}
}

static uint8_t reg_read(struct ide_channel *ch, uint64_t reg)
{
	const struct ide_drive *d = ide_selected(ch);
	unsigned int was = ch->control & IDE_HOB ? 1 : 0;

	if (reg == R_STATUS) {
		take_back_irq(ch);
		return status(ch);
	}
	if (reg == R_DEVICE && (ch->drive[0].ata.disk || ch->drive[1].ata.disk))
		return ch->device | DEVICE_FIXED;
	if (!d->ata.disk)
		return 0;
	switch (reg) {
	case R_ERROR:
		return d->error;
	case R_COUNT:
		return d->count[was];
	case R_LOW:
		return d->low[was];
	case R_MID:
		return d->mid[was];
	default:
		return d->high[was];
	}
}

static void push(uint8_t *reg, uint8_t value)
{
	reg[1] = reg[0];
	reg[0] = value;
}

static void reg_write(struct ide_channel *ch, uint64_t reg, uint8_t value)
{
	ch->control &= (uint8_t)~IDE_HOB;
	if (ch->control & IDE_SRST)
		return;
	if (reg == R_STATUS) {
		command(ch, value);
		return;
	}
	if (ch->phase != IDE_IDLE)
		return;
	if (reg == R_DEVICE)
		ch->device = value;
	/* Both drives listen. */
	for (unsigned int k = 0; k < ARRAY_SIZE(ch->drive); k++) {
		struct ide_drive *d = &ch->drive[k];

		switch (reg) {
		case R_ERROR:
			push(d->features, value);
			break;
		case R_COUNT:
			push(d->count, value);
			break;
		case R_LOW:
			push(d->low, value);
			break;
		case R_MID:
			push(d->mid, value);
			break;
		case R_HIGH:
			push(d->high, value);
			break;
		default:
			break;
		}
	}
}

static bool answers(struct ide_channel *ch)
{
	struct ide *i = ch->ide;
	unsigned int on = atomic_load_explicit(&i->decoded, memory_order_relaxed);

	return pci_dev_has_io(&i->pci) && (on >> (ch - i->channel) & 1);
}

static uint64_t ports_read(void *arg, uint64_t off, unsigned int size)
{
	struct ide_channel *ch = arg;
	uint64_t value = 0;

	if (!answers(ch))
		return UINT64_MAX;
	mutex_guard(&ch->ide->worker.lock);
	if (off == R_DATA)
		return data_read(ch, size);
	for (unsigned int k = 0; k < size; k++)
		value |= (uint64_t)reg_read(ch, off + k) << 8 * k;
	return value;
}

static void ports_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct ide_channel *ch = arg;

	if (!answers(ch))
		return;
	mutex_guard(&ch->ide->worker.lock);
	if (off == R_DATA) {
		data_write(ch, size, value);
		return;
	}
	for (unsigned int k = 0; k < size; k++)
		reg_write(ch, off + k, (uint8_t)(value >> 8 * k));
}

static uint64_t control_read(void *arg, uint64_t off, unsigned int size)
{
	struct ide_channel *ch = arg;

	if (!answers(ch))
		return UINT64_MAX;
	mutex_guard(&ch->ide->worker.lock);
	return status(ch);
}

static void control_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct ide_channel *ch = arg;

	if (!answers(ch))
		return;
	mutex_guard(&ch->ide->worker.lock);
	control(ch, (uint8_t)value);
}

/* --- the whole --------------------------------------------------------------------------------- */

static void config_written(struct pci_dev *pci, uint16_t off, unsigned int size)
{
	struct ide *i = container_of(pci, struct ide, pci);
	unsigned int on = 0;

	for (unsigned int k = 0; k < IDE_CHANNELS; k++)
		on |= pci->config[TIMING + 2 * k + 1] & 0x80u ? 1u << k : 0;
	atomic_store_explicit(&i->decoded, on, memory_order_relaxed);
}

static void channel_reset(struct ide_channel *ch)
{
	drop(ch);
	ch->control = ch->command = 0;
	ch->bm_command = ch->bm_status = 0;
	ch->bm_table = 0;
	ch->bm_active = false;
	for (unsigned int k = 0; k < ARRAY_SIZE(ch->drive); k++) {
		struct ide_drive *d = &ch->drive[k];

		memset(d->features, 0, sizeof(d->features));
		memset(d->count, 0, sizeof(d->count));
		memset(d->low, 0, sizeof(d->low));
		memset(d->mid, 0, sizeof(d->mid));
		memset(d->high, 0, sizeof(d->high));
	}
}

void ide_reset(struct ide *i)
{
	mutex_lock(&i->worker.lock);
	for (unsigned int k = 0; k < IDE_CHANNELS; k++)
		channel_reset(&i->channel[k]);
	ata_power_on(&i->worker);
	for (unsigned int k = 0; k < IDE_CHANNELS; k++) {
		struct ide_channel *ch = &i->channel[k];

		sign_both(ch);
		for (unsigned int n = 0; n < ARRAY_SIZE(ch->drive); n++) {
			struct ata_drive *d = &ch->drive[n].ata;

			d->heads = HEADS;
			d->sectors = SECTORS;
			d->multiple = ATA_MULTIPLE_MAX;
			d->mode = MULTIWORD_2;
		}
		ide_update_irq(ch);
	}
	mutex_unlock(&i->worker.lock);
	pci_config_write(i->pci.bus, IDE_DEVFN, TIMING, 4, TIMING_ON);
}

int ide_plug(struct ide *i, unsigned int place, struct disk *disk, bool is_cd, bool is_readonly,
	     const char *serial, struct err *err)
{
	struct ide_drive *d;

	if (place >= IDE_DRIVES)
		return err_set(err, -EINVAL, "IDE drive %u: there are %d", place, IDE_DRIVES);
	d = &i->channel[place / 2].drive[place % 2];
	if (d->ata.disk)
		return err_set(err, -EEXIST, "IDE drive %u is there already", place);
	ata_drive_plug(&d->ata, disk, is_cd, is_readonly, serial);
	ide_reset(i);
	return 0;
}

static int add_ports(struct ide_channel *ch, unsigned int k, struct err *err)
{
	int r;

	ch->command_ports = (struct bus_range){ .name = "ide",
						.base = places[k].command,
						.len = 8,
						.read = ports_read,
						.write = ports_write,
						.arg = ch,
						.max_size = 4 };
	ch->control_port = (struct bus_range){ .name = "ide-control",
					       .base = places[k].control,
					       .len = 1,
					       .read = control_read,
					       .write = control_write,
					       .arg = ch };
	r = bus_add(ch->ide->pio, &ch->command_ports, err);
	return r < 0 ? r : bus_add(ch->ide->pio, &ch->control_port, err);
}

int ide_init(struct ide *i, const struct board *board, struct pci_bus *pci, struct err *err)
{
	const struct bus_range range = { .name = "ide-dma",
					 .read = ide_bm_read,
					 .write = ide_bm_write,
					 .arg = i,
					 .max_size = 1 };
	int r;

	memset(i, 0, sizeof(*i));
	i->mem = board->mem;
	i->pio = board->pio;
	ata_worker_init(&i->worker, &ide_work_ops);
	i->command = mem_new(sizeof(*i->command));
	pci_dev_setup(&i->pci, "ide", INTEL, DEVICE_PIIX3_IDE, CLASS_IDE, 0);
	pci_dev_set_subsystem(&i->pci, 0x1af4, 0x1100);
	put_le32(i->pci.wmask + TIMING, UINT32_C(0xf3fff3ff));
	i->pci.config_written = config_written;
	r = pci_dev_add_bar(&i->pci, BAR, PCI_BAR_IO, false, BAR_SIZE, &range);
	for (unsigned int k = 0; k < IDE_CHANNELS; k++) {
		struct ide_channel *ch = &i->channel[k];

		ch->ide = i;
		ch->irq = irq_router_line(board->irqs, places[k].gsi, IRQ_FROM_ISA);
		for (unsigned int n = 0; n < ARRAY_SIZE(ch->drive); n++) {
			ch->drive[n].ata.is_parallel = true;
			ata_worker_add(&i->worker, &ch->drive[n].ata);
		}
		if (r == 0)
			r = add_ports(ch, k, err);
	}
	if (r == 0)
		r = pci_dev_plug(pci, &i->pci, IDE_DEVFN, err);
	if (r < 0)
		ide_done(i);
	else
		ide_reset(i);
	return r;
}

void ide_done(struct ide *i)
{
	if (!i->command)
		return;
	ata_stop(&i->worker);
	for (unsigned int k = 0; k < IDE_CHANNELS; k++) {
		bus_del(i->pio, &i->channel[k].command_ports);
		bus_del(i->pio, &i->channel[k].control_port);
	}
	pci_dev_unplug(&i->pci);
	ata_worker_done(&i->worker);
	free(take_ptr(&i->command));
}
