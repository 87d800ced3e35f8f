/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of a CD-ROM drive: a few of ATA's own, and SCSI commands in packets. The medium is an image of sectors of
 * 2048 bytes, one data track; it is there from power-on and cannot be taken out.
 *
 * A command that fails leaves a sense code, which REQUEST SENSE fetches. The first one after a reset fails with "medium
 * may have changed", as drives do; drivers expect it.
 *
 * Source: SFF-8020i, MMC-3, SPC-3.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "disk/disk.h"
#include "vm/dev/ata_priv.h"

enum {
	CMD_IDENTIFY_PACKET = 0xa1,
	CMD_STANDBY_NOW = 0xe0,
	CMD_IDLE_NOW = 0xe1,
	CMD_CHECK_POWER = 0xe5,
	CMD_FLUSH = 0xe7,
	CMD_IDENTIFY = 0xec,
	CMD_SET_FEATURES = 0xef,
	FEATURE_TRANSFER_MODE = 0x03,

	OP_TEST_UNIT_READY = 0x00,
	OP_REQUEST_SENSE = 0x03,
	OP_INQUIRY = 0x12,
	OP_MODE_SENSE_6 = 0x1a,
	OP_START_STOP = 0x1b,
	OP_PREVENT = 0x1e,
	OP_READ_CAPACITY = 0x25,
	OP_READ_10 = 0x28,
	OP_SEEK_10 = 0x2b,
	OP_SYNCHRONIZE = 0x35,
	OP_READ_TOC = 0x43,
	OP_GET_CONFIGURATION = 0x46,
	OP_GET_EVENT_STATUS = 0x4a,
	OP_READ_DISC_INFORMATION = 0x51,
	OP_MODE_SENSE_10 = 0x5a,
	OP_READ_12 = 0xa8,
	OP_MECHANISM_STATUS = 0xbd,

	KEY_NONE = 0,
	KEY_MEDIUM = 3,
	KEY_ILLEGAL = 5,
	KEY_ATTENTION = 6,
	CODE_UNKNOWN_COMMAND = 0x20,
	CODE_LBA = 0x21,
	CODE_FIELD = 0x24,
	CODE_CHANGED = 0x28,
	CODE_READ_ERROR = 0x11,

	PROFILE_CD_ROM = 8,
	LEAD_OUT = 0xaa,
	MSF_OFFSET = 150, /* the first two seconds are not counted */
};

static int check(struct ata_command *c, uint8_t key, uint8_t code)
{
	c->drive->sense[0] = key;
	c->drive->sense[1] = code;
	c->drive->sense[2] = 0;
	return ata_fail(c, (uint8_t)(key << 4 | ATA_ABORTED));
}

static uint32_t nr_sectors(const struct ata_command *c)
{
	return (uint32_t)MIN(disk_size(c->drive->disk) / CD_SECTOR, (uint64_t)UINT32_MAX);
}

static int identify(struct ata_command *c)
{
	uint8_t id[ATA_SECTOR] = { 0 };

	put_le16(id, 0x85c0); /* CD-ROM, removable, fast DRQ, packets of 12 bytes */
	ata_string(id + 20, c->drive->serial, 20);
	ata_string(id + 46, "1.0", 8);
	ata_string(id + 54, "ATOLL CD-ROM", 40);
	put_le16(id + 98, 0x0b00);
	put_le16(id + 106, 7);
	put_le16(id + 126, 0x0007);
	put_le16(id + 128, 0x0003);
	for (unsigned int k = 130; k <= 136; k += 2)
		put_le16(id + k, 120);
	put_le16(id + 152, c->drive->is_parallel ? 0 : 0x0006);
	put_le16(id + 160, 0x00f0);
	put_le16(id + 164, 0x0010); /* PACKET */
	put_le16(id + 166, 0x4000);
	put_le16(id + 168, 0x4000);
	put_le16(id + 170, 0x0010);
	put_le16(id + 174, 0x4000);
	put_le16(id + 176, 0x203f);
	if (c->drive->is_parallel)
		put_le16(id + 186, 0x6001);
	c->is_pio = true;
	return ata_put(c, id, sizeof(id));
}

/* @n bytes of answer, of which the guest wants at most @limit. */
static int answer(struct ata_command *c, const uint8_t *p, size_t n, size_t limit)
{
	n = MIN(n, limit);
	return n ? ata_put(c, p, n) : 0;
}

static int inquiry(struct ata_command *c)
{
	uint8_t p[36] = { 5, 0x80, 0, 0x21, 31 };

	if (c->packet[1] & 1)
		return check(c, KEY_ILLEGAL, CODE_FIELD); /* no pages */
	memcpy(p + 8, "ATOLL   CD-ROM          1.0 ", 28);
	return answer(c, p, sizeof(p), get_be16(c->packet + 3));
}

static int request_sense(struct ata_command *c)
{
	uint8_t p[18] = { 0x70 };
	int r;

	p[2] = c->drive->sense[0];
	p[7] = 10;
	p[12] = c->drive->sense[1];
	p[13] = c->drive->sense[2];
	r = answer(c, p, sizeof(p), c->packet[4]);
	if (r == 0)
		memset(c->drive->sense, 0, sizeof(c->drive->sense));
	return r;
}

static int read_sectors(struct ata_command *c, uint64_t lba, uint64_t n)
{
	int r = 0;

	if (!range_ok(lba, n, nr_sectors(c)))
		return check(c, KEY_ILLEGAL, CODE_LBA);
	ata_piece(c, &lba, &n);
	for (uint64_t part; r == 0 && n; lba += part, n -= part) {
		part = MIN(n, (uint64_t)(ATA_BUFFER / CD_SECTOR));
		r = ata_move(c, DISK_OP_READ, lba * CD_SECTOR, part * CD_SECTOR);
		if (r < 0)
			return r == -ECANCELED ? r : check(c, KEY_MEDIUM, CODE_READ_ERROR);
		r = ata_put(c, c->worker->buffer, part * CD_SECTOR);
	}
	return r;
}

static int read_capacity(struct ata_command *c)
{
	uint32_t n = nr_sectors(c);
	uint8_t p[8];

	put_be32(p, n ? n - 1 : 0);
	put_be32(p + 4, CD_SECTOR);
	return ata_put(c, p, sizeof(p));
}

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
	uint32_t frame = lba + MSF_OFFSET;

	if (!msf) {
		put_be32(p, lba);
		return;
	}
	p[0] = 0;
	p[1] = (uint8_t)MIN(frame / 75 / 60, 255u);
	p[2] = (uint8_t)(frame / 75 % 60);
	p[3] = (uint8_t)(frame % 75);
}

static int read_toc(struct ata_command *c)
{
	bool msf = c->packet[1] & 2;
	uint8_t format = c->packet[2] & 15, p[20] = { 0, 0, 1, 1 };
	size_t n = 4, limit = get_be16(c->packet + 7);

	if (!format)
		format = c->packet[9] >> 6;
	if (format > 1)
		return check(c, KEY_ILLEGAL, CODE_FIELD);
	if (format == 1) { /* sessions: one, that begins with track 1 */
		p[5] = 0x14;
		p[6] = 1;
		put_address(p + 8, 0, msf);
		n = 12;
	} else {
		if (c->packet[6] > 1 && c->packet[6] != LEAD_OUT)
			return check(c, KEY_ILLEGAL, CODE_FIELD);
		if (c->packet[6] <= 1) {
			p[n + 1] = 0x14; /* data track */
			p[n + 2] = 1;
			put_address(p + n + 4, 0, msf);
			n += 8;
		}
		p[n + 1] = 0x14;
		p[n + 2] = LEAD_OUT;
		put_address(p + n + 4, nr_sectors(c), msf);
		n += 8;
	}
	put_be16(p, (uint16_t)(n - 2));
	return answer(c, p, n, limit);
}

static int get_configuration(struct ata_command *c)
{
	uint8_t p[40] = { 0 };
	size_t n = 8;

	put_be16(p + 6, PROFILE_CD_ROM);
	/* Profiles, core, removable medium: each number, flags, length. */
	put_be16(p + n, 0x0000);
	p[n + 2] = 3;
	p[n + 3] = 4;
	put_be16(p + n + 4, PROFILE_CD_ROM);
	p[n + 6] = 1;
	n += 8;
	put_be16(p + n, 0x0001);
	p[n + 2] = 11;
	p[n + 3] = 8;
	put_be32(p + n + 4, 7); /* serial ATA */
	p[n + 8] = 1;
	n += 12;
	put_be16(p + n, 0x0003);
	p[n + 2] = 3;
	p[n + 3] = 4;
	p[n + 4] = 0x29; /* tray, may eject, may be locked */
	n += 8;
	put_be32(p, (uint32_t)(n - 4));
	return answer(c, p, n, get_be16(c->packet + 7));
}

static int get_event_status(struct ata_command *c)
{
	uint8_t p[8] = { 0, 6, 4, 0x10, 0, 2 }; /* media class; no event; a medium is there */
	uint8_t none[4] = { 0, 2, 0x80, 0x10 };

	if (!(c->packet[1] & 1))
		return check(c, KEY_ILLEGAL, CODE_FIELD); /* only when polled */
	if (!(c->packet[4] & 0x10))
		return answer(c, none, sizeof(none), get_be16(c->packet + 7));
	return answer(c, p, sizeof(p), get_be16(c->packet + 7));
}

static int read_disc_information(struct ata_command *c)
{
	uint8_t p[34] = { 0, 32, 0x0e, 1, 1, 1, 1, 0x20 };

	return answer(c, p, sizeof(p), get_be16(c->packet + 7));
}

/* Capabilities (page 2ah) and error recovery (01h), after a header of @head bytes. */
static int mode_sense(struct ata_command *c, size_t head, size_t limit)
{
	uint8_t page = c->packet[2] & 63, p[48] = { 0 };
	size_t n = head;

	if (page != 0x01 && page != 0x2a && page != 0x3f)
		return check(c, KEY_ILLEGAL, CODE_FIELD);
	if (page != 0x2a) {
		p[n] = 0x01;
		p[n + 1] = 6;
		p[n + 3] = 5; /* retries */
		n += 8;
	}
	if (page != 0x01) {
		p[n] = 0x2a;
		p[n + 1] = 18;
		p[n + 2] = 0x03; /* reads CD-R and CD-RW */
		p[n + 4] = 0x70; /* mode 2, several sessions */
		p[n + 6] = 0x29; /* tray, eject, lock */
		put_be16(p + n + 8, 706 * 8);
		put_be16(p + n + 12, 512);
		put_be16(p + n + 14, 706 * 8);
		n += 20;
	}
	if (head == 8)
		put_be16(p, (uint16_t)(n - 2));
	else
		p[0] = (uint8_t)(n - 1);
	return answer(c, p, n, limit);
}

static int packet(struct ata_command *c)
{
	const uint8_t *p = c->packet;

	if (c->drive->medium_changed && p[0] != OP_INQUIRY && p[0] != OP_REQUEST_SENSE &&
	    p[0] != OP_GET_CONFIGURATION && p[0] != OP_GET_EVENT_STATUS) {
		c->drive->medium_changed = false;
		return check(c, KEY_ATTENTION, CODE_CHANGED);
	}
	switch (p[0]) {
	case OP_TEST_UNIT_READY:
	case OP_START_STOP:
	case OP_PREVENT:
	case OP_SEEK_10:
	case OP_SYNCHRONIZE:
		return 0;
	case OP_REQUEST_SENSE:
		return request_sense(c);
	case OP_INQUIRY:
		return inquiry(c);
	case OP_MODE_SENSE_6:
		return mode_sense(c, 4, p[4]);
	case OP_MODE_SENSE_10:
		return mode_sense(c, 8, get_be16(p + 7));
	case OP_READ_CAPACITY:
		return read_capacity(c);
	case OP_READ_10:
		return read_sectors(c, get_be32(p + 2), get_be16(p + 7));
	case OP_READ_12:
		return read_sectors(c, get_be32(p + 2), get_be32(p + 6));
	case OP_READ_TOC:
		return read_toc(c);
	case OP_GET_CONFIGURATION:
		return get_configuration(c);
	case OP_GET_EVENT_STATUS:
		return get_event_status(c);
	case OP_READ_DISC_INFORMATION:
		return read_disc_information(c);
	case OP_MECHANISM_STATUS: {
		const uint8_t none[8] = { 0, 0, 0, 0, 0, 1 };

		return answer(c, none, sizeof(none), get_be16(p + 8));
	}
	default:
		return check(c, KEY_ILLEGAL, CODE_UNKNOWN_COMMAND);
	}
}

int atapi_run(struct ata_command *c)
{
	int r;

	switch (c->command) {
	case ATA_CMD_PACKET:
		r = packet(c);
		c->is_pio = !(c->features & 1) && c->moved;
		c->count = 3; /* interrupt reason: status follows */
		return r;
	case CMD_IDENTIFY_PACKET:
		return identify(c);
	case CMD_SET_FEATURES:
		return (c->features & 0xff) == FEATURE_TRANSFER_MODE ? 0 : ata_fail(c, ATA_ABORTED);
	case ATA_CMD_DEVICE_RESET:
	case CMD_STANDBY_NOW:
	case CMD_IDLE_NOW:
	case CMD_FLUSH:
		return 0;
	case CMD_CHECK_POWER:
		c->count = 0xff;
		return 0;
	default: /* IDENTIFY, too: the signature in the registers says what this is */
		c->lba = ATAPI_SIGNATURE << 8 | 1;
		c->count = 1;
		return ata_fail(c, ATA_ABORTED);
	}
}
