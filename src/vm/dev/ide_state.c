/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The controller in a snapshot: between two commands, or two pieces of one, so that what a worker knows is not in it. */
#include <errno.h>

#include "vm/dev/ide_priv.h"

static const struct state_field drive_fields[] = {
	STATE_BOOL(struct ide_drive, ata.has_drive),
	STATE_BOOL(struct ide_drive, ata.is_cd),
	STATE_ANY(struct ide_drive, status),
	STATE_ANY(struct ide_drive, error),
	STATE_BYTES(struct ide_drive, features),
	STATE_BYTES(struct ide_drive, count),
	STATE_BYTES(struct ide_drive, low),
	STATE_BYTES(struct ide_drive, mid),
	STATE_BYTES(struct ide_drive, high),
	STATE_BYTES(struct ide_drive, ata.sense),
	STATE_BOOL(struct ide_drive, ata.medium_changed),
	STATE_RANGE(struct ide_drive, ata.heads, 1, 16),
	STATE_RANGE(struct ide_drive, ata.sectors, 1, 255),
	STATE_MAX(struct ide_drive, ata.multiple, ATA_MULTIPLE_MAX),
	STATE_ANY(struct ide_drive, ata.mode),
};

static const struct state_desc drive_state = {
	.name = "IDE drive",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct ide_drive, drive_fields),
};

static const struct state_field channel_fields[] = {
	STATE_STRUCT(struct ide_channel, drive, &drive_state),
	STATE_ANY(struct ide_channel, device),
	STATE_ANY(struct ide_channel, control),
	STATE_MAX(struct ide_channel, phase, IDE_NR_PHASES - 1),
	STATE_ANY(struct ide_channel, command),
	STATE_BYTES(struct ide_channel, packet),
	STATE_BOOL(struct ide_channel, needs_start),
	STATE_BOOL(struct ide_channel, has_more),
	STATE_BOOL(struct ide_channel, has_irq),
	STATE_MAX(struct ide_channel, first, 65536),
	STATE_MAX(struct ide_channel, at, IDE_BUFFER),
	STATE_MAX(struct ide_channel, block, IDE_BUFFER),
	STATE_MAX(struct ide_channel, len, IDE_BUFFER),
	STATE_ANY(struct ide_channel, limit),
	STATE_BYTES(struct ide_channel, buffer),
	STATE_ANY(struct ide_channel, bm_command),
	STATE_ANY(struct ide_channel, bm_status),
	STATE_ANY(struct ide_channel, bm_table),
	STATE_BOOL(struct ide_channel, bm_active),
};

static const struct state_desc channel_state = {
	.name = "IDE channel",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct ide_channel, channel_fields),
};

static const struct state_field fields[] = {
	STATE_STRUCT(struct ide, channel, &channel_state),
};

/* What a drive is the guest knows already. */
static int check_drive(const struct ata_drive *n, const struct ata_drive *p, unsigned int place,
		       struct err *err)
{
	if (n->has_drive == p->has_drive && n->is_cd == p->is_cd)
		return 0;
	return err_set(err, -EINVAL, "IDE drive %u was %s when the machine was saved", place,
		       !n->has_drive ? "none"
		       : n->is_cd    ? "a CD-ROM drive"
				     : "a disk");
}

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct ide *n = next, *p = present;

	for (unsigned int k = 0; k < IDE_DRIVES; k++) {
		const struct ide_channel *ch = &n->channel[k / 2];
		int r = check_drive(&ch->drive[k % 2].ata, &p->channel[k / 2].drive[k % 2].ata, k,
				    err);

		if (r < 0)
			return r;
		if (ch->phase >= IDE_IN && (ch->at >= ch->block || ch->block > ch->len))
			return err_set(err, -EINVAL, "IDE channel %u: its block makes no sense",
				       k / 2);
	}
	return 0;
}

static void loaded(void *obj)
{
	struct ide *i = obj;

	mutex_guard(&i->worker.lock);
	for (unsigned int k = 0; k < IDE_CHANNELS; k++)
		ide_update_irq(&i->channel[k]);
	pthread_cond_broadcast(&i->worker.work);
}

const struct state_desc ide_state = {
	.name = "ide",
	.version = 1,
	STATE_LOCK(struct ide, worker.lock),
	STATE_TABLE(struct ide, fields),
	.check = check,
	.loaded = loaded,
};
