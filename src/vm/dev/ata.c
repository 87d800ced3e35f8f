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
#include "vm/dev/ata_priv.h"

enum {
	CMD_DATA_SET_MANAGEMENT = 0x06,
	CMD_RECALIBRATE = 0x10,
	CMD_READ = 0x20,
	CMD_READ_ONCE = 0x21,
	CMD_READ_EXT = 0x24,
	CMD_READ_DMA_EXT = 0x25,
	CMD_READ_NATIVE_MAX_EXT = 0x27,
	CMD_READ_MULTIPLE_EXT = 0x29,
	CMD_READ_LOG_EXT = 0x2f,
	CMD_WRITE = 0x30,
	CMD_WRITE_ONCE = 0x31,
	CMD_WRITE_EXT = 0x34,
	CMD_WRITE_DMA_EXT = 0x35,
	CMD_WRITE_MULTIPLE_EXT = 0x39,
	CMD_VERIFY = 0x40,
	CMD_VERIFY_ONCE = 0x41,
	CMD_VERIFY_EXT = 0x42,
	CMD_READ_FPDMA = 0x60,
	CMD_WRITE_FPDMA = 0x61,
	CMD_SEEK = 0x70,
	CMD_SET_GEOMETRY = 0x91,
	CMD_READ_MULTIPLE = 0xc4,
	CMD_WRITE_MULTIPLE = 0xc5,
	CMD_SET_MULTIPLE = 0xc6,
	CMD_READ_DMA = 0xc8,
	CMD_READ_DMA_ONCE = 0xc9,
	CMD_WRITE_DMA = 0xca,
	CMD_WRITE_DMA_ONCE = 0xcb,
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
	DEVICE_HEAD = 0x0f,
	HEADS = 16,
	SECTORS = 63, /* of a track */
	CYLINDERS_MAX = 16383,
	MODE_KIND = 0xf8, /* of a transfer mode; the rest is its number */
	MODE_MULTIWORD = 0x20,
	MODE_ULTRA = 0x40,
	QUEUE_DEPTH = 32,
	LOG_DIRECTORY = 0x00,
	LOG_QUEUE_ERROR = 0x10,
	DSM_TRIM = 1,
	DSM_BLOCKS_MAX = 8, /* of 512 bytes with 64 ranges each */
};

#define LBA28_MAX UINT64_C(0x0fffffff)

/* --- between controller and drive -------------------------------------------------------------- */

int ata_put(struct ata_command *c, const void *buf, size_t n)
{
	int r = c->move(c, (uint8_t *)buf, n, true);

	c->moved += r < 0 ? 0 : (uint32_t)n;
	return r;
}

int ata_get(struct ata_command *c, void *buf, size_t n)
{
	int r = c->move(c, buf, n, false);

	c->moved += r < 0 ? 0 : (uint32_t)n;
	return r;
}

void ata_piece(struct ata_command *c, uint64_t *lba, uint64_t *n)
{
	uint64_t skip = MIN((uint64_t)c->first, *n), rest = *n - skip;

	*lba += skip;
	*n = c->most ? MIN((uint64_t)c->most, rest) : rest;
	c->has_more = *n < rest;
}

bool ata_is_dma(uint8_t command)
{
	switch (command) {
	case CMD_DATA_SET_MANAGEMENT:
	case CMD_READ_DMA_EXT:
	case CMD_WRITE_DMA_EXT:
	case CMD_READ_DMA:
	case CMD_READ_DMA_ONCE:
	case CMD_WRITE_DMA:
	case CMD_WRITE_DMA_ONCE:
		return true;
	default:
		return false;
	}
}

unsigned int ata_block(const struct ata_drive *d, uint8_t command)
{
	switch (command) {
	case CMD_READ_MULTIPLE:
	case CMD_READ_MULTIPLE_EXT:
	case CMD_WRITE_MULTIPLE:
	case CMD_WRITE_MULTIPLE_EXT:
		return d->multiple ? d->multiple : 1;
	default:
		return 1;
	}
}

uint32_t ata_nr_out(const struct ata_drive *d, uint8_t command, uint16_t count)
{
	switch (command) {
	case CMD_WRITE_MULTIPLE:
		if (!d->multiple)
			return 0; /* it fails at once */
		_fallthrough_;
	case CMD_WRITE:
	case CMD_WRITE_ONCE:
		return count & 255 ? count & 255u : 256;
	case CMD_WRITE_MULTIPLE_EXT:
		if (!d->multiple)
			return 0;
		_fallthrough_;
	case CMD_WRITE_EXT:
		return count ? count : 65536;
	default:
		return 0;
	}
}

/* --- commands ---------------------------------------------------------------------------------- */

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
	return disk_size(c->drive->disk) / ATA_SECTOR;
}

/* The modes of a kind that there are, 0 to @max, and which one is selected. */
static uint16_t modes(const struct ata_drive *d, uint8_t kind, unsigned int max)
{
	unsigned int all = (1u << (max + 1)) - 1, number = d->mode & 7;

	return (uint16_t)(all | ((d->mode & MODE_KIND) == kind ? 1u << (8 + number) : 0));
}

/* What a drive at a parallel bus says otherwise: its geometry as the guest has chosen it, modes, and no queue. */
static void identify_parallel(const struct ata_drive *d, uint64_t n, uint8_t *id)
{
	uint64_t tracks = n / d->sectors;
	uint64_t cylinders = d->heads ? MIN(tracks / d->heads, UINT64_C(65535)) : 0;

	put_le16(id + 108, (uint16_t)cylinders);
	put_le16(id + 110, d->heads);
	put_le16(id + 112, d->sectors);
	put_le32(id + 114, (uint32_t)(cylinders * d->heads * d->sectors));
	put_le16(id + 118, d->multiple ? 0x0100 | d->multiple : 0);
	put_le16(id + 126, modes(d, MODE_MULTIWORD, 2));
	put_le16(id + 150, 0);
	put_le16(id + 152, 0);
	put_le16(id + 168, 0x4000);
	put_le16(id + 174, 0x4000);
	put_le16(id + 176, modes(d, MODE_ULTRA, 5));
	put_le16(id + 186, 0x6001); /* reset: passed, 80 wires */
}

static int identify(struct ata_command *c)
{
	uint8_t id[ATA_SECTOR] = { 0 };
	uint64_t n = nr_sectors(c), cylinders = MIN(n / (HEADS * SECTORS), (uint64_t)CYLINDERS_MAX);

	put_le16(id, 0x0040);
	put_le16(id + 2, (uint16_t)cylinders);
	put_le16(id + 6, HEADS);
	put_le16(id + 12, SECTORS);
	ata_string(id + 20, c->drive->serial, 20);
	ata_string(id + 46, "1.0", 8);
	ata_string(id + 54, "ATOLL DISK", 40);
	put_le16(id + 94, 0x8000 | ATA_MULTIPLE_MAX);
	put_le16(id + 98, 0x0b00);  /* IORDY, LBA, DMA */
	put_le16(id + 100, 0x4000); /* reserved as set */
	put_le16(id + 106, 7);
	put_le16(id + 108, (uint16_t)cylinders);
	put_le16(id + 110, HEADS);
	put_le16(id + 112, SECTORS);
	put_le32(id + 114, (uint32_t)(cylinders * HEADS * SECTORS));
	put_le16(id + 118, 0x0100 | ATA_MULTIPLE_MAX);
	put_le32(id + 120, (uint32_t)MIN(n, LBA28_MAX));
	put_le16(id + 126, 0x0007); /* multiword DMA 0-2 */
	put_le16(id + 128, 0x0003); /* PIO 3, 4 */
	for (unsigned int k = 130; k <= 136; k += 2)
		put_le16(id + k, 120);
	if (!c->drive->is_readonly) {
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
	if (c->drive->is_parallel)
		identify_parallel(c->drive, n, id);
	id[510] = 0xa5;
	id[511] = byte_sum_complement(id, 511);
	c->is_pio = true;
	return ata_put(c, id, sizeof(id));
}

/* The sectors that a command names. Returns false when the disk does not have all of them. */
static bool extent(const struct ata_command *c, bool is_ext, uint64_t *ret_lba, uint64_t *ret_n)
{
	const struct ata_drive *d = c->drive;
	bool is_lba = c->device & DEVICE_LBA;

	*ret_lba = is_ext ? c->lba : ((c->lba & 0xffffff) | (uint64_t)(c->device & 15) << 24);
	*ret_n = is_ext ? (c->count ? c->count : 65536u)
			: (c->count & 255 ? c->count & 255u : 256u);
	if (!is_lba && !is_ext && d->is_parallel) { /* cylinder, head, and sectors from 1 */
		unsigned int head = c->device & DEVICE_HEAD, sector = c->lba & 255;

		is_lba = head < d->heads && sector && sector <= d->sectors;
		*ret_lba = ((c->lba >> 8 & 0xffff) * d->heads + head) * d->sectors + sector - 1;
	}
	return is_lba && range_ok(*ret_lba, *ret_n, nr_sectors(c));
}

/* A request to the disk has failed: the command, too, if there is still somebody to hear of it. */
static int disk_failed(struct ata_command *c, int r, uint8_t error)
{
	return r == -ECANCELED ? r : ata_fail(c, error);
}

static int flush(struct ata_command *c, uint8_t error)
{
	int r = ata_move(c, DISK_OP_FLUSH, 0, 0);

	return r < 0 ? disk_failed(c, r, error) : 0;
}

static int read_extent(struct ata_command *c, uint64_t lba, uint64_t n)
{
	int r = 0;

	ata_piece(c, &lba, &n);
	for (uint64_t part; r == 0 && n; lba += part, n -= part) {
		part = MIN(n, (uint64_t)(ATA_BUFFER / ATA_SECTOR));
		r = ata_move(c, DISK_OP_READ, lba * ATA_SECTOR, part * ATA_SECTOR);
		if (r < 0)
			return disk_failed(c, r, ATA_UNCORRECTABLE);
		r = ata_put(c, c->worker->buffer, part * ATA_SECTOR);
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
	ata_piece(c, &lba, &n);
	for (uint64_t part; n; lba += part, n -= part) {
		int r;

		part = MIN(n, (uint64_t)(ATA_BUFFER / ATA_SECTOR));
		r = ata_get(c, c->worker->buffer, part * ATA_SECTOR);
		if (r < 0)
			return r;
		r = ata_move(c, DISK_OP_WRITE, lba * ATA_SECTOR, part * ATA_SECTOR);
		if (r < 0)
			return disk_failed(c, r, ATA_UNCORRECTABLE);
	}
	return 0;
}

static int write_sectors(struct ata_command *c, bool is_ext)
{
	uint64_t lba, n;

	if (c->drive->is_readonly)
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
	if (is_write && c->drive->is_readonly)
		r = ata_fail(c, ATA_ABORTED);
	else if (!(c->device & DEVICE_LBA) || !range_ok(c->lba, n, nr_sectors(c)))
		r = ata_fail(c, ATA_NOT_FOUND);
	else
		r = is_write ? write_extent(c, c->lba, n) : read_extent(c, c->lba, n);
	if (r == 0 && is_write && is_forced && !(c->status & ATA_ERR))
		r = flush(c, ATA_UNCORRECTABLE);
	if (c->status & ATA_ERR) {
		c->drive->failed.tag = (uint8_t)ata_tag(c);
		c->drive->failed.status = c->status;
		c->drive->failed.error = c->error;
		c->drive->failed.lba = c->lba;
		c->drive->failed.count = c->count;
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
	log[0] = c->drive->failed.tag;
	log[2] = c->drive->failed.status;
	log[3] = c->drive->failed.error;
	put_le(log + 4, c->drive->failed.lba, 3);
	put_le(log + 8, c->drive->failed.lba >> 24, 3);
	put_le16(log + 12, c->drive->failed.count);
	log[511] = byte_sum_complement(log, 511);
	return ata_put(c, log, sizeof(log));
}

/* Ranges that are not needed any more: 48 bits of place, 16 of length; all within the disk, or none is given up. */
static int trim(struct ata_command *c)
{
	size_t len = (size_t)c->count * ATA_SECTOR;
	int r;

	if (c->drive->is_readonly || (c->features & 0xff) != DSM_TRIM || !c->count ||
	    c->count > DSM_BLOCKS_MAX)
		return ata_fail(c, ATA_ABORTED);
	r = ata_get(c, c->worker->buffer, len);
	if (r < 0)
		return r;
	for (size_t k = 0; k < len; k += 8)
		if (!range_ok(get_le(c->worker->buffer + k, 6), get_le16(c->worker->buffer + k + 6),
			      nr_sectors(c)))
			return ata_fail(c, ATA_NOT_FOUND);
	for (size_t k = 0; k < len; k += 8) {
		uint64_t n = get_le16(c->worker->buffer + k + 6);

		r = n ? ata_move(c, DISK_OP_DISCARD, get_le(c->worker->buffer + k, 6) * ATA_SECTOR,
				 n * ATA_SECTOR)
		      : 0;
		if (r < 0)
			return disk_failed(c, r, ATA_ABORTED);
	}
	return 0;
}

/* One that is not offered is refused; at a serial bus it makes no difference. */
static int set_mode(struct ata_command *c)
{
	uint8_t mode = (uint8_t)c->count, kind = mode & MODE_KIND;
	unsigned int max = kind == MODE_ULTRA ? 5 : kind == MODE_MULTIWORD ? 2 : 4;

	if (!c->drive->is_parallel)
		return 0;
	if ((mode & 7u) > max ||
	    (kind != MODE_ULTRA && kind != MODE_MULTIWORD && kind != 0 && kind != 8))
		return ata_fail(c, ATA_ABORTED);
	if (kind & (MODE_ULTRA | MODE_MULTIWORD)) /* those of PIO are none of DMA */
		c->drive->mode = mode;
	return 0;
}

static int set_features(struct ata_command *c)
{
	switch (c->features & 0xff) {
	case FEATURE_TRANSFER_MODE:
		return set_mode(c);
	case FEATURE_WRITE_CACHE:
	case FEATURE_NO_WRITE_CACHE:
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

static int set_multiple(struct ata_command *c)
{
	unsigned int n = c->count & 255;

	if (!c->drive->is_parallel)
		return 0;
	if (n > ATA_MULTIPLE_MAX || (n & (n - 1)))
		return ata_fail(c, ATA_ABORTED);
	c->drive->multiple = (uint8_t)n;
	return 0;
}

static int set_geometry(struct ata_command *c)
{
	if (!(c->count & 255))
		return ata_fail(c, ATA_ABORTED);
	c->drive->heads = (uint8_t)((c->device & DEVICE_HEAD) + 1);
	c->drive->sectors = (uint8_t)c->count;
	return 0;
}

/* Commands that only drives at a parallel bus have, and which ones they do not have. Returns 1: it is one of all drives. */
static int run_parallel(struct ata_command *c)
{
	uint64_t lba, n;

	switch (c->command) {
	case CMD_READ_ONCE:
		c->is_pio = true;
		return read_sectors(c, false);
	case CMD_READ_DMA_ONCE:
		return read_sectors(c, false);
	case CMD_WRITE_ONCE:
	case CMD_WRITE_DMA_ONCE:
		return write_sectors(c, false);
	case CMD_VERIFY_ONCE:
		return verify(c, false);
	case CMD_RECALIBRATE:
		return 0;
	case CMD_SEEK:
		c->count = 1;
		return extent(c, false, &lba, &n) ? 0 : ata_fail(c, ATA_NOT_FOUND);
	case CMD_SET_GEOMETRY:
		return set_geometry(c);
	case CMD_READ_MULTIPLE:
	case CMD_READ_MULTIPLE_EXT:
	case CMD_WRITE_MULTIPLE:
	case CMD_WRITE_MULTIPLE_EXT:
		return c->drive->multiple ? 1 : ata_fail(c, ATA_ABORTED);
	case CMD_READ_FPDMA:
	case CMD_WRITE_FPDMA:
	case CMD_READ_LOG_EXT:
		return ata_fail(c, ATA_ABORTED);
	default:
		return 1;
	}
}

static int run_disk(struct ata_command *c)
{
	int r = c->drive->is_parallel ? run_parallel(c) : 1;

	if (r <= 0)
		return r;
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
		c->device = (uint8_t)((c->device & ~DEVICE_HEAD) | (c->lba >> 24 & DEVICE_HEAD));
		c->lba &= 0xffffff;
		return 0;
	case CMD_READ_NATIVE_MAX_EXT:
		c->lba = nr_sectors(c) - 1;
		return 0;
	case CMD_CHECK_POWER:
		c->count = 0xff; /* active */
		return 0;
	case ATA_CMD_DIAGNOSTIC:
		c->error = 1; /* passed; the status has no error */
		return 0;
	case CMD_SET_MULTIPLE:
		return set_multiple(c);
	case CMD_STANDBY_NOW:
	case CMD_IDLE_NOW:
	case CMD_STANDBY:
	case CMD_IDLE:
		return 0;
	default: /* DEVICE RESET is for packet devices only */
		return ata_fail(c, ATA_ABORTED);
	}
}

int ata_run(struct ata_command *c)
{
	return c->drive->is_cd ? atapi_run(c) : run_disk(c);
}
