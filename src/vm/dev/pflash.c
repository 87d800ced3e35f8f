/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flash chip behind the memory bus. A write is a command or its argument; what a read gives depends on the last
 * command. Bits can only be cleared by programming; erasing a block sets all of them.
 *
 *	read array --40h/10h--> address, byte   --> status
 *	           --20h-----> D0h (confirm)    --> status
 *	           --E8h-----> count, bytes, D0h --> status
 *	           --60h-----> anything (locks)  --> status
 *	           --70h/90h/98h: status, identification, CFI query     --FFh--> read array
 *
 * Every access is an exit. Mapping the array as memory while it is being read was rejected: firmware copies all
 * variables once and then reads its copy, and changing the map of running CPUs twice for each byte that is programmed
 * costs more than that.
 *
 * The file is written when the chip goes back to reading, in one piece; drivers do that after each buffer.
 *
 * Sources: Intel StrataFlash (28FxxxJ3) data sheet, Common Flash Interface (JESD68). A cleared status reads as 0
 * rather than 80h, which is what OVMF takes for a flash chip.
 */
#include "vm/dev/pflash.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "sys/fd.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

enum {
	CMD_ARRAY = 0x00,
	CMD_PROGRAM_ALT = 0x10,
	CMD_ERASE = 0x20,
	CMD_PROGRAM = 0x40,
	CMD_CLEAR_STATUS = 0x50,
	CMD_LOCK = 0x60,
	CMD_STATUS = 0x70,
	CMD_ID = 0x90,
	CMD_CFI = 0x98,
	CMD_CONFIRM = 0xd0,
	CMD_BUFFER = 0xe8,
	CMD_ARRAY_ALT = 0xff,

	STATUS_READY = 0x80,
	STATUS_ERASE_ERROR = 0x20,
	STATUS_PROGRAM_ERROR = 0x10,

	ID_MAKER = 0x89,
	ID_DEVICE = 0x18,
	BUFFER_LOG2 = 5,
	BUFFER_SIZE = 1 << BUFFER_LOG2,
};

static void to_array(struct pflash *f)
{
	f->cmd = CMD_ARRAY;
	f->cycle = 0;
}

/* What was changed goes to the file. */
static void write_back(struct pflash *f)
{
	uint64_t first = f->dirty_first, n = f->dirty_end - first;
	int r;

	if (first >= f->dirty_end)
		return;
	f->dirty_first = f->size;
	f->dirty_end = 0;
	if (f->fd < 0)
		return;
	r = fd_pwrite_full(f->fd, f->data + first, n, first);
	if (r < 0 && !f->is_broken)
		log_warn("vm.firmware.vars", kv_str("error", strerror(-r)));
	f->is_broken = r < 0;
}

static void changed(struct pflash *f, uint64_t off, uint64_t n)
{
	f->dirty_first = MIN(f->dirty_first, off);
	f->dirty_end = MAX(f->dirty_end, off + n);
}

static void program(struct pflash *f, uint64_t off, uint8_t value)
{
	f->data[off] &= value;
	changed(f, off, 1);
}

static void erase(struct pflash *f, uint64_t off)
{
	off = align_down(off, PFLASH_BLOCK);
	memset(f->data + off, 0xff, PFLASH_BLOCK);
	changed(f, off, PFLASH_BLOCK);
}

/* The chip is done with a command: status is read until it is told otherwise. */
static void finish(struct pflash *f, uint8_t error)
{
	f->status |= STATUS_READY | error;
	f->cmd = CMD_STATUS;
	f->cycle = 0;
}

static void begin(struct pflash *f, uint8_t cmd)
{
	f->cycle = 0;
	switch (cmd) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
	case CMD_ERASE:
	case CMD_BUFFER:
	case CMD_LOCK:
		f->status |= STATUS_READY; /* and room in the buffer */
		f->cmd = cmd;
		f->cycle = 1;
		break;
	case CMD_STATUS:
	case CMD_ID:
	case CMD_CFI:
		f->cmd = cmd;
		break;
	case CMD_CLEAR_STATUS:
		f->status = 0;
		to_array(f);
		break;
	default: /* read array, and what the chip does not know */
		to_array(f);
		write_back(f);
	}
}

/* The data of "write to buffer": a count, as many bytes, the confirmation. */
static void buffer_write(struct pflash *f, uint64_t off, uint8_t value)
{
	if (f->cycle == 1) {
		if (value >= BUFFER_SIZE) {
			finish(f, STATUS_PROGRAM_ERROR);
			return;
		}
		f->buf_left = value + 1u;
		f->cycle = 2;
	} else if (f->buf_left) {
		program(f, off, value);
		f->buf_left--;
	} else {
		finish(f, value == CMD_CONFIRM ? 0 : STATUS_PROGRAM_ERROR);
	}
}

static void write_byte(struct pflash *f, uint64_t off, uint8_t value)
{
	if (!f->cycle) {
		begin(f, value);
		return;
	}
	switch (f->cmd) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
		program(f, off, value);
		finish(f, 0);
		break;
	case CMD_ERASE:
		if (value == CMD_CONFIRM)
			erase(f, off);
		finish(f, value == CMD_CONFIRM ? 0 : STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR);
		break;
	case CMD_BUFFER:
		buffer_write(f, off, value);
		break;
	default: /* locks: there are none to set */
		finish(f, 0);
	}
}

static uint8_t cfi_byte(const struct pflash *f, uint64_t off)
{
	static const uint8_t fixed[] = {
		[0x10] = 'Q',
		[0x11] = 'R',
		[0x12] = 'Y',
		[0x13] = 1 /* command set */,
		[0x15] = 0x31 /* its table */,
		[0x1b] = 0x45,
		[0x1c] = 0x55 /* volts */,
		[0x1f] = 7,
		[0x20] = 7,
		[0x21] = 10 /* log2 of typical times */,
		[0x23] = 4,
		[0x24] = 4,
		[0x25] = 4,
		[0x2a] = BUFFER_LOG2,
		[0x2c] = 1 /* one kind of block */,
		[0x31] = 'P',
		[0x32] = 'R',
		[0x33] = 'I',
		[0x34] = '1',
		[0x35] = '0',
	};
	uint64_t blocks = f->size / PFLASH_BLOCK - 1;

	switch (off) {
	case 0x27: /* log2 of the size, rounded up */
		return (uint8_t)(64 - __builtin_clzll(f->size - 1));
	case 0x2d:
		return (uint8_t)blocks;
	case 0x2e:
		return (uint8_t)(blocks >> 8);
	case 0x2f:
		return (uint8_t)(PFLASH_BLOCK >> 8);
	case 0x30:
		return (uint8_t)(PFLASH_BLOCK >> 16);
	default:
		return off < sizeof(fixed) ? fixed[off] : 0;
	}
}

static uint8_t read_byte(const struct pflash *f, uint64_t off)
{
	switch (f->cmd) {
	case CMD_ARRAY:
		return f->data[off];
	case CMD_ID:
		return off & 1 ? ID_DEVICE : (off & 2 ? 0 /* not locked */ : ID_MAKER);
	case CMD_CFI:
		return cfi_byte(f, off & 0xff);
	default:
		return f->status;
	}
}

static uint64_t pflash_read(void *arg, uint64_t off, unsigned int size)
{
	struct pflash *f = arg;
	uint64_t value = 0;

	mutex_guard(&f->lock);
	if (f->cmd == CMD_ARRAY)
		return get_le(f->data + off, size);
	for (unsigned int k = 0; k < size; k++)
		value |= (uint64_t)read_byte(f, off + k) << (8 * k);
	return value;
}

static void pflash_write(void *arg, uint64_t off, unsigned int size, uint64_t value)
{
	struct pflash *f = arg;

	mutex_guard(&f->lock);
	/* A wide write is as many cycles on the chip's 8 data lines. */
	for (unsigned int k = 0; k < size; k++)
		write_byte(f, off + k, (uint8_t)(value >> (8 * k)));
}

void pflash_reset(struct pflash *f)
{
	mutex_guard(&f->lock);
	write_back(f);
	to_array(f);
	f->status = 0;
}

int pflash_init(struct pflash *f, const struct board *board, uint64_t gpa, uint8_t *data,
		uint64_t size, int fd, struct err *err)
{
	int r;

	*f = (struct pflash){ 0 };
	if (!size || size % PFLASH_BLOCK || size > PFLASH_MAX)
		return err_set(err, -EINVAL,
			       "flash of %llu bytes: whole blocks of 4 KiB up to 16 MiB are possible",
			       (unsigned long long)size);
	*f = (struct pflash){
		.mmio = board->mmio,
		.range = { .name = "pflash",
			   .base = gpa,
			   .len = size,
			   .read = pflash_read,
			   .write = pflash_write,
			   .arg = f },
		.data = data,
		.size = size,
		.fd = fd,
		.dirty_first = size,
	};
	mutex_init(&f->lock);
	r = bus_add(f->mmio, &f->range, err);
	if (r < 0)
		pflash_done(f);
	return r;
}

void pflash_done(struct pflash *f)
{
	if (!f->mmio)
		return;
	bus_del(f->mmio, &f->range);
	write_back(f);
	pthread_mutex_destroy(&f->lock);
	f->mmio = NULL;
}

/* --- state --------------------------------------------------------------------------------------- */

static const struct state_field fields[] = {
	STATE_ANY(struct pflash, cmd),
	STATE_ANY(struct pflash, status),
	STATE_MAX(struct pflash, cycle, 2),
	STATE_MAX(struct pflash, buf_left, BUFFER_SIZE),
};

/* The contents are saved beside it: their length is the chip's. */
const struct state_desc pflash_state = {
	.name = "flash",
	.version = 1,
	STATE_LOCK(struct pflash, lock),
	STATE_TABLE(struct pflash, fields),
};

void pflash_replace(struct pflash *f, const void *data)
{
	mutex_guard(&f->lock);
	memcpy(f->data, data, f->size);
	changed(f, 0, f->size);
}
