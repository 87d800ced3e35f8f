/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of a disk. Data is moved in pieces of a buffer, so that a command's size costs no memory. A guest that
 * changes the descriptors meanwhile changes where its own data goes, and nothing else.
 *
 * Source: ATA/ATAPI-8 command set (ACS-2).
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "disk/disk.h"
#include "vm/dev/ahci_priv.h"

enum {
	CMD_DATA_SET_MANAGEMENT = 0x06,
	CMD_DEVICE_RESET = 0x08,
	CMD_READ = 0x20,
	CMD_READ_EXT = 0x24,
	CMD_READ_DMA_EXT = 0x25,
	CMD_READ_NATIVE_MAX_EXT = 0x27,
	CMD_READ_MULTIPLE_EXT = 0x29,
	CMD_READ_LOG_EXT = 0x2f,
	CMD_WRITE = 0x30,
	CMD_WRITE_EXT = 0x34,
	CMD_WRITE_DMA_EXT = 0x35,
	CMD_WRITE_MULTIPLE_EXT = 0x39,
	CMD_VERIFY = 0x40,
	CMD_VERIFY_EXT = 0x42,
	CMD_READ_FPDMA = 0x60,
	CMD_WRITE_FPDMA = 0x61,
	CMD_DIAGNOSTIC = 0x90,
	CMD_READ_MULTIPLE = 0xc4,
	CMD_WRITE_MULTIPLE = 0xc5,
	CMD_SET_MULTIPLE = 0xc6,
	CMD_READ_DMA = 0xc8,
	CMD_WRITE_DMA = 0xca,
	CMD_STANDBY_NOW = 0xe0,
	CMD_IDLE_NOW = 0xe1,
	CMD_STANDBY = 0xe2,
	CMD_IDLE = 0xe3,
	CMD_CHECK_POWER = 0xe5,
	CMD_FLUSH = 0xe7,
	CMD_FLUSH_EXT = 0xea,
	CMD_IDENTIFY = 0xec,
	CMD_SET_FEATURES = 0xef,
	CMD_READ_NATIVE_MAX = 0xf8,

	FEATURE_WRITE_CACHE = 0x02,
	FEATURE_TRANSFER_MODE = 0x03,
	FEATURE_NO_READ_AHEAD = 0x55,
	FEATURE_NO_WRITE_CACHE = 0x82,
	FEATURE_READ_AHEAD = 0xaa,

	DEVICE_LBA = 0x40,
	MULTIPLE_MAX = 16,
	QUEUE_DEPTH = 32,
	LOG_DIRECTORY = 0x00,
	LOG_QUEUE_ERROR = 0x10,
	DSM_TRIM = 1,
	DSM_BLOCKS_MAX = 8, /* of 512 bytes with 64 ranges each */
};

#define LBA28_MAX UINT64_C(0x0fffffff)

int ata_fail(struct ata_command *c, uint8_t error)
{
	c->status = ATA_OK | ATA_ERR;
	c->error = error;
	return 0;
}

void ata_string(uint8_t *to, const char *text, size_t n)
{
	for (size_t k = 0; k < n; k++)
		to[k ^ 1] = *text ? (uint8_t)*text++ : ' ';
}

static uint64_t nr_sectors(const struct ata_command *c)
{
	return disk_size(c->port->disk) / ATA_SECTOR;
}

static int identify(struct ata_command *c)
{
	uint8_t id[ATA_SECTOR] = { 0 };
	uint64_t n = nr_sectors(c), cylinders = MIN(n / (16 * 63), UINT64_C(16383));

	put_le16(id, 0x0040);
	put_le16(id + 2, (uint16_t)cylinders);
	put_le16(id + 6, 16);
	put_le16(id + 12, 63);
	ata_string(id + 20, c->port->serial, 20);
	ata_string(id + 46, "1.0", 8);
	ata_string(id + 54, "ATOLL DISK", 40);
	put_le16(id + 94, 0x8000 | MULTIPLE_MAX);
	put_le16(id + 98, 0x0b00);  /* IORDY, LBA, DMA */
	put_le16(id + 100, 0x4000); /* reserved as set */
	put_le16(id + 106, 7);
	put_le16(id + 108, (uint16_t)cylinders);
	put_le16(id + 110, 16);
	put_le16(id + 112, 63);
	put_le32(id + 114, (uint32_t)(cylinders * 16 * 63));
	put_le16(id + 118, 0x0100 | MULTIPLE_MAX);
	put_le32(id + 120, (uint32_t)MIN(n, LBA28_MAX));
	put_le16(id + 126, 0x0007); /* multiword DMA 0-2 */
	put_le16(id + 128, 0x0003); /* PIO 3, 4 */
	for (unsigned int k = 130; k <= 136; k += 2)
		put_le16(id + k, 120);
	if (!c->port->is_readonly) {
		put_le16(id + 138, 0x4000); /* what was trimmed reads the same each time */
		put_le16(id + 210, DSM_BLOCKS_MAX);
		put_le16(id + 338, DSM_TRIM);
	}
	put_le16(id + 150, QUEUE_DEPTH - 1);
	put_le16(id + 152, 0x0106); /* queuing, SATA 1.5 and 3 Gbit/s */
	put_le16(id + 160, 0x01f0); /* ATA-4 to ATA-8 */
	put_le16(id + 164, 0x0060); /* write cache, look-ahead */
	put_le16(id + 166, 0x7400); /* FLUSH, FLUSH EXT, 48 bits */
	put_le16(id + 168, 0x4020); /* logs */
	put_le16(id + 170, 0x0060);
	put_le16(id + 172, 0x3400);
	put_le16(id + 174, 0x4020);
	put_le16(id + 176, 0x203f); /* Ultra DMA 0-5, 5 selected */
	put_le64(id + 200, n);
	id[510] = 0xa5;
	id[511] = byte_sum_complement(id, 511);
	c->is_pio = true;
	return ata_put(c, id, sizeof(id));
}

/* The sectors that a command names. Returns false when the disk does not have all of them. */
static bool extent(const struct ata_command *c, bool is_ext, uint64_t *ret_lba, uint64_t *ret_n)
{
	*ret_lba = is_ext ? c->lba : ((c->lba & 0xffffff) | (c->device & 15u) << 24);
	*ret_n = is_ext ? (c->count ? c->count : 65536u)
			: (c->count & 255 ? c->count & 255u : 256u);
	return (c->device & DEVICE_LBA) && range_ok(*ret_lba, *ret_n, nr_sectors(c));
}

/* A request to the disk has failed: the command, too, if there is still somebody to hear of it. */
static int disk_failed(struct ata_command *c, int r, uint8_t error)
{
	return r == -ECANCELED ? r : ata_fail(c, error);
}

static int flush(struct ata_command *c, uint8_t error)
{
	int r = ahci_move(c, DISK_OP_FLUSH, 0, 0);

	return r < 0 ? disk_failed(c, r, error) : 0;
}

static int read_extent(struct ata_command *c, uint64_t lba, uint64_t n)
{
	int r = 0;

	for (uint64_t part; r == 0 && n; lba += part, n -= part) {
		part = MIN(n, (uint64_t)(AHCI_BUFFER / ATA_SECTOR));
		r = ahci_move(c, DISK_OP_READ, lba * ATA_SECTOR, part * ATA_SECTOR);
		if (r < 0)
			return disk_failed(c, r, ATA_UNCORRECTABLE);
		r = ata_put(c, c->buffer, part * ATA_SECTOR);
	}
	return r;
}

static int read_sectors(struct ata_command *c, bool is_ext)
{
	uint64_t lba, n;

	return extent(c, is_ext, &lba, &n) ? read_extent(c, lba, n) : ata_fail(c, ATA_NOT_FOUND);
}

static int write_extent(struct ata_command *c, uint64_t lba, uint64_t n)
{
	for (uint64_t part; n; lba += part, n -= part) {
		int r;

		part = MIN(n, (uint64_t)(AHCI_BUFFER / ATA_SECTOR));
		r = ata_get(c, c->buffer, part * ATA_SECTOR);
		if (r < 0)
			return r;
		r = ahci_move(c, DISK_OP_WRITE, lba * ATA_SECTOR, part * ATA_SECTOR);
		if (r < 0)
			return disk_failed(c, r, ATA_UNCORRECTABLE);
	}
	return 0;
}

static int write_sectors(struct ata_command *c, bool is_ext)
{
	uint64_t lba, n;

	if (c->port->is_readonly)
		return ata_fail(c, ATA_ABORTED);
	return extent(c, is_ext, &lba, &n) ? write_extent(c, lba, n) : ata_fail(c, ATA_NOT_FOUND);
}

/* A queued command has its count where others have features, and its tag where others have their count. */
static int queued(struct ata_command *c, bool is_write)
{
	uint64_t n = c->features ? c->features : 65536u;
	bool is_forced = c->device & 0x80; /* on the medium when it ends */
	int r;

	c->is_queued = true;
	if (is_write && c->port->is_readonly)
		r = ata_fail(c, ATA_ABORTED);
	else if (!(c->device & DEVICE_LBA) || !range_ok(c->lba, n, nr_sectors(c)))
		r = ata_fail(c, ATA_NOT_FOUND);
	else
		r = is_write ? write_extent(c, c->lba, n) : read_extent(c, c->lba, n);
	if (r == 0 && is_write && is_forced && !(c->status & ATA_ERR))
		r = flush(c, ATA_UNCORRECTABLE);
	if (c->status & ATA_ERR) {
		c->port->failed.tag = (uint8_t)ata_tag(c);
		c->port->failed.status = c->status;
		c->port->failed.error = c->error;
		c->port->failed.lba = c->lba;
		c->port->failed.count = c->count;
	}
	return r;
}

/* Which logs there are, and which queued command has failed. */
static int read_log(struct ata_command *c)
{
	uint8_t log[ATA_SECTOR] = { 0 };

	c->is_pio = true;
	if (c->count != 1 || (c->lba >> 8 & 0xff) || (c->lba >> 32))
		return ata_fail(c, ATA_ABORTED);
	if ((c->lba & 0xff) == LOG_DIRECTORY) {
		put_le16(log, 1); /* version */
		put_le16(log + 2 * LOG_QUEUE_ERROR, 1);
		return ata_put(c, log, sizeof(log));
	}
	if ((c->lba & 0xff) != LOG_QUEUE_ERROR)
		return ata_fail(c, ATA_ABORTED);
	log[0] = c->port->failed.tag;
	log[2] = c->port->failed.status;
	log[3] = c->port->failed.error;
	put_le(log + 4, c->port->failed.lba, 3);
	put_le(log + 8, c->port->failed.lba >> 24, 3);
	put_le16(log + 12, c->port->failed.count);
	log[511] = byte_sum_complement(log, 511);
	return ata_put(c, log, sizeof(log));
}

/* Ranges that are not needed any more: 48 bits of place, 16 of length; all within the disk, or none is given up. */
static int trim(struct ata_command *c)
{
	size_t len = (size_t)c->count * ATA_SECTOR;
	int r;

	if (c->port->is_readonly || (c->features & 0xff) != DSM_TRIM || !c->count ||
	    c->count > DSM_BLOCKS_MAX)
		return ata_fail(c, ATA_ABORTED);
	r = ata_get(c, c->buffer, len);
	if (r < 0)
		return r;
	for (size_t k = 0; k < len; k += 8)
		if (!range_ok(get_le(c->buffer + k, 6), get_le16(c->buffer + k + 6), nr_sectors(c)))
			return ata_fail(c, ATA_NOT_FOUND);
	for (size_t k = 0; k < len; k += 8) {
		uint64_t n = get_le16(c->buffer + k + 6);

		r = n ? ahci_move(c, DISK_OP_DISCARD, get_le(c->buffer + k, 6) * ATA_SECTOR,
				  n * ATA_SECTOR)
		      : 0;
		if (r < 0)
			return disk_failed(c, r, ATA_ABORTED);
	}
	return 0;
}

static int set_features(struct ata_command *c)
{
	switch (c->features & 0xff) {
	case FEATURE_WRITE_CACHE:
	case FEATURE_NO_WRITE_CACHE:
	case FEATURE_TRANSFER_MODE:
	case FEATURE_READ_AHEAD:
	case FEATURE_NO_READ_AHEAD:
		return 0;
	default:
		return ata_fail(c, ATA_ABORTED);
	}
}

static int verify(struct ata_command *c, bool is_ext)
{
	uint64_t lba, n;

	return extent(c, is_ext, &lba, &n) ? 0 : ata_fail(c, ATA_NOT_FOUND);
}

int ata_run(struct ata_command *c)
{
	switch (c->command) {
	case CMD_IDENTIFY:
		return identify(c);
	case CMD_READ:
	case CMD_READ_MULTIPLE:
		c->is_pio = true;
		return read_sectors(c, false);
	case CMD_READ_DMA:
		return read_sectors(c, false);
	case CMD_READ_EXT:
	case CMD_READ_MULTIPLE_EXT:
		c->is_pio = true;
		return read_sectors(c, true);
	case CMD_READ_DMA_EXT:
		return read_sectors(c, true);
	case CMD_WRITE:
	case CMD_WRITE_MULTIPLE:
	case CMD_WRITE_DMA:
		return write_sectors(c, false);
	case CMD_WRITE_EXT:
	case CMD_WRITE_MULTIPLE_EXT:
	case CMD_WRITE_DMA_EXT:
		return write_sectors(c, true);
	case CMD_READ_FPDMA:
		return queued(c, false);
	case CMD_WRITE_FPDMA:
		return queued(c, true);
	case CMD_READ_LOG_EXT:
		return read_log(c);
	case CMD_DATA_SET_MANAGEMENT:
		return trim(c);
	case CMD_VERIFY:
		return verify(c, false);
	case CMD_VERIFY_EXT:
		return verify(c, true);
	case CMD_FLUSH:
	case CMD_FLUSH_EXT:
		return flush(c, ATA_ABORTED);
	case CMD_SET_FEATURES:
		return set_features(c);
	case CMD_READ_NATIVE_MAX:
		c->lba = MIN(nr_sectors(c), LBA28_MAX) - 1;
		return 0;
	case CMD_READ_NATIVE_MAX_EXT:
		c->lba = nr_sectors(c) - 1;
		return 0;
	case CMD_CHECK_POWER:
		c->count = 0xff; /* active */
		return 0;
	case CMD_DIAGNOSTIC:
		c->error = 1; /* passed; the status has no error */
		return 0;
	case CMD_SET_MULTIPLE:
	case CMD_STANDBY_NOW:
	case CMD_IDLE_NOW:
	case CMD_STANDBY:
	case CMD_IDLE:
		return 0;
	default: /* DEVICE RESET is for packet devices only */
		return ata_fail(c, ATA_ABORTED);
	}
}
