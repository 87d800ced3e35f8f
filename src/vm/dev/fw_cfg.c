// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The firmware configuration device. Items are bytes that the machine prepares before the guest runs and
 * nobody changes afterwards; the guest selects one and reads it from the start, a byte a port access or
 * any number by DMA. Reading past the end gives zeros. Nothing is writable.
 *
 * Files are items with names. Their numbers follow the order of the names, so that adding a file cannot
 * reorder what a guest sees otherwise; the directory item is rebuilt with each.
 *
 * The DMA control block and the data lie wherever the guest says. All of it goes through physmem_read()
 * and physmem_write(), which know RAM only: a guest cannot make the device write to a device.
 */
#include "vm/dev/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "cpu/physmem.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum {
	PORT_SELECTOR = 0x510,
	OFF_DATA = 1,
	OFF_DMA_HIGH = 4,
	OFF_DMA_LOW = 8,
	RANGE_LEN = 12,

	ID_TRADITIONAL = 1,
	ID_DMA = 2,
	KEY_INDEX = 0x3fff, /* bit 14 asked for writing, long ago; bit 15 is FW_CFG_ARCH_LOCAL */
	KEY_INVALID = 0xffff,

	DMA_ERROR = 1,
	DMA_READ = 2,
	DMA_SKIP = 4,
	DMA_SELECT = 8,
	DMA_WRITE = 16,
	DMA_BLOCK = 16, /* control be32, length be32, address be64 */

	DIR_ENTRY = 64, /* size be32, select be16, 2 reserved, name 56 */
};

#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

static struct fw_cfg_item *item_of(struct fw_cfg *f, uint16_t key)
{
	unsigned int n = key & KEY_INDEX;

	if (key == KEY_INVALID)
		return NULL;
	if (key & FW_CFG_ARCH_LOCAL)
		return n < ARRAY_SIZE(f->local) ? &f->local[n] : NULL;
	return n < ARRAY_SIZE(f->item) ? &f->item[n] : NULL;
}

static void item_set(struct fw_cfg_item *it, uint8_t *data, uint64_t len)
{
	free(it->data);
	it->data = data;
	it->len = (uint32_t)len;
}

static int item_copy(struct fw_cfg_item *it, const void *data, uint64_t len)
{
	uint8_t *copy;
	int r;

	r = mem_try(&copy, len, FW_CFG_MAX_BYTES);
	if (r < 0)
		return r;
	if (len)
		memcpy(copy, data, len);
	item_set(it, copy, len);
	return 0;
}

int fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, uint64_t len)
{
	struct fw_cfg_item *it = item_of(f, key);

	if (!it || (key & KEY_INDEX) >= FW_CFG_FILE_FIRST)
		return -EINVAL;
	mutex_guard(&f->lock);
	return item_copy(it, data, len);
}

int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value)
{
	uint8_t b[2];

	put_le16(b, value);
	return fw_cfg_add(f, key, b, sizeof(b));
}

int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value)
{
	uint8_t b[4];

	put_le32(b, value);
	return fw_cfg_add(f, key, b, sizeof(b));
}

int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value)
{
	uint8_t b[8];

	put_le64(b, value);
	return fw_cfg_add(f, key, b, sizeof(b));
}

static void rebuild_directory(struct fw_cfg *f)
{
	size_t len = 4 + (size_t)f->nr_files * DIR_ENTRY;
	uint8_t *dir = mem_new(len);

	put_be32(dir, f->nr_files);
	for (unsigned int k = 0; k < f->nr_files; k++) {
		uint8_t *e = dir + 4 + (size_t)k * DIR_ENTRY;

		put_be32(e, f->item[FW_CFG_FILE_FIRST + k].len);
		put_be16(e + 4, (uint16_t)(FW_CFG_FILE_FIRST + k));
		memcpy(e + 8, f->names[k], sizeof(f->names[k]));
	}
	item_set(&f->item[FW_CFG_FILE_DIR], dir, len);
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint64_t len)
{
	struct fw_cfg_item it = { 0 };
	size_t n = strlen(name);
	unsigned int at;
	int r;

	if (!n || n >= sizeof(f->names[0]))
		return -EINVAL;
	mutex_guard(&f->lock);
	for (at = 0; at < f->nr_files && strcmp(f->names[at], name) < 0; at++)
		;
	if (at < f->nr_files && !strcmp(f->names[at], name))
		return -EEXIST;
	if (f->nr_files == FW_CFG_MAX_FILES)
		return -ENOSPC;
	r = item_copy(&it, data, len);
	if (r < 0)
		return r;
	for (unsigned int k = f->nr_files; k > at; k--) {
		memcpy(f->names[k], f->names[k - 1], sizeof(f->names[k]));
		f->item[FW_CFG_FILE_FIRST + k] = f->item[FW_CFG_FILE_FIRST + k - 1];
	}
	memset(f->names[at], 0, sizeof(f->names[at]));
	memcpy(f->names[at], name, n);
	f->item[FW_CFG_FILE_FIRST + at] = it;
	f->nr_files++;
	rebuild_directory(f);
	return 0;
}

static void select_key(struct fw_cfg *f, uint16_t key)
{
	f->key = key & 0x4000 ? (uint16_t)(key & ~0x4000) : key;
	f->off = 0;
}

/* Bytes of the selected item that are left. */
static uint32_t left(struct fw_cfg *f, const struct fw_cfg_item **ret)
{
	const struct fw_cfg_item *it = item_of(f, f->key);

	*ret = it;
	return it && f->off < it->len ? it->len - f->off : 0;
}

static uint8_t next_byte(struct fw_cfg *f)
{
	const struct fw_cfg_item *it;

	return left(f, &it) ? it->data[f->off++] : 0;
}

/* Copies item bytes, then zeros, to guest memory. Returns 0 or -EFAULT. */
static int dma_read(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	static const uint8_t zeros[4096];
	const struct fw_cfg_item *it;
	uint32_t n = MIN(left(f, &it), len);
	uint64_t end;
	int r = 0;

	if (!add_ok(gpa, len, &end))
		return -EFAULT;
	if (n)
		r = physmem_write(f->mem, gpa, it->data + f->off, n);
	f->off += n;
	for (gpa += n, len -= n; r == 0 && len; gpa += n, len -= n) {
		n = MIN((uint32_t)sizeof(zeros), len);
		r = physmem_write(f->mem, gpa, zeros, n);
	}
	return r;
}

static void dma_run(struct fw_cfg *f, uint64_t block)
{
	uint8_t b[DMA_BLOCK], status[4];
	const struct fw_cfg_item *it;
	uint32_t control, len;
	int r = 0;

	if (!f->mem || physmem_read(f->mem, block, b, sizeof(b)) < 0)
		return; /* nowhere to say so */
	control = get_be32(b);
	len = get_be32(b + 4);
	if (control & DMA_SELECT)
		select_key(f, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		r = dma_read(f, get_be64(b + 8), len);
	else if (control & DMA_WRITE)
		r = -EPERM;
	else if (control & DMA_SKIP)
		f->off += MIN(left(f, &it), len);
	put_be32(status, r < 0 ? DMA_ERROR : 0);
	if (physmem_write(f->mem, block, status, sizeof(status)) < 0)
		return; /* the block was in ROM: the guest waits for ever, as it asked for */
}

static uint64_t fw_read(void *arg, uint64_t off, unsigned int size)
{
	struct fw_cfg *f = arg;
	uint64_t value = 0;
	uint8_t sig[8];

	mutex_guard(&f->lock);
	if (off >= OFF_DMA_HIGH) {
		put_be64(sig, DMA_SIGNATURE);
		return get_le(sig + (off - OFF_DMA_HIGH),
			      MIN(size, (unsigned int)(RANGE_LEN - off)));
	}
	if (off == OFF_DATA)
		for (unsigned int k = 0; k < size; k++)
			value |= (uint64_t)next_byte(f) << (8 * k);
	return value;
}

static void fw_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct fw_cfg *f = arg;
	uint64_t block;

	mutex_guard(&f->lock);
	if (off == 0 && size == 2) {
		select_key(f, (uint16_t)value);
	} else if (off == OFF_DMA_HIGH && size == 4) {
		f->dma_addr = (uint64_t)__builtin_bswap32((uint32_t)value) << 32;
	} else if (off == OFF_DMA_LOW && size == 4) {
		block = f->dma_addr | __builtin_bswap32((uint32_t)value);
		f->dma_addr = 0;
		dma_run(f, block);
	}
}

void fw_cfg_reset(struct fw_cfg *f)
{
	mutex_guard(&f->lock);
	select_key(f, FW_CFG_SIGNATURE);
	f->dma_addr = 0;
}

int fw_cfg_init(struct fw_cfg *f, const struct board *board, struct err *err)
{
	int r;

	memset(f, 0, sizeof(*f));
	f->pio = board->pio;
	f->mem = board->mem;
	f->range = (struct bus_range){ .name = "fw_cfg",
				       .base = PORT_SELECTOR,
				       .len = RANGE_LEN,
				       .read = fw_read,
				       .write = fw_write,
				       .arg = f };
	mutex_init(&f->lock);
	r = fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
	if (r == 0)
		r = fw_cfg_add_u32(f, FW_CFG_ID, ID_TRADITIONAL | (f->mem ? ID_DMA : 0));
	rebuild_directory(f);
	if (r == 0)
		r = bus_add(f->pio, &f->range, err);
	if (r < 0)
		fw_cfg_done(f);
	return r;
}

void fw_cfg_done(struct fw_cfg *f)
{
	if (!f->pio)
		return;
	bus_del(f->pio, &f->range);
	for (size_t k = 0; k < ARRAY_SIZE(f->item); k++)
		free(f->item[k].data);
	for (size_t k = 0; k < ARRAY_SIZE(f->local); k++)
		free(f->local[k].data);
	pthread_mutex_destroy(&f->lock);
	memset(f, 0, sizeof(*f));
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ANY(struct fw_cfg, key),
	STATE_ANY(struct fw_cfg, off),
	STATE_ANY(struct fw_cfg, dma_addr),
};

const struct state_desc fw_cfg_state = {
	.name = "fw-cfg",
	.version = 1,
	STATE_LOCK(struct fw_cfg, lock),
	STATE_TABLE(struct fw_cfg, fields),
};
