/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New VHD images.
 *
 *	0 copy of the footer | 512 header | 1536 parent's name | 4 KiB table | 64 KiB footer
 *
 * The table has exactly the entries that the disk needs, as the specification wants it, and room behind it to grow
 * to 30 GiB where it is. The creator is given as "win ": programs that do not know a name take the size from the
 * geometry, which is a few hundred KiB off.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/mem.h"
#include "disk/utf16_priv.h"
#include "disk/vhd/image_priv.h"

enum {
	LOCATOR_OFF = 1536,
	LOCATOR_ROOM = 2560,
	TABLE_OFF = 4096,
	BLOCK_DEFAULT = 2 << 20,
};

const struct disk_option_info vhd_options[] = {
	{ "subformat", "dynamic (default), fixed (all of it in the file)" },
	{ "block_size", "bytes, a power of two from 4K to 256M (default: 2M, what others expect)" },
	{ 0 },
};

/* The parent's identifier, and its size. */
static int ask_parent(const struct disk_file *file, const struct disk_create_opts *o,
		      struct guid *ret_uuid, uint64_t *ret_size, struct err *err)
{
	char id[DISK_DETAIL_MAX];
	int r;

	if (strcmp(o->backing_format, "vhd") && strcmp(o->backing_format, "vpc"))
		return err_set(err, -EINVAL, "the parent of a VHD image must be one, too");
	r = create_ask_parent(file, o, "vhd", "uuid", id, ret_size, err);
	return r < 0 ? r : id[0] ? guid_parse(str_of(id), false, ret_uuid) : -EINVAL;
}

/* The relative name as other systems read it; in the file at LOCATOR_OFF. */
static int put_name(struct disk_file *f, struct vhd_header *h, const char *backing, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	_cleanup_(strbuf_done) struct strbuf raw = { 0 };
	const char *base = strrchr(backing, '/');

	base = base ? base + 1 : backing;
	memcpy(h->parent_name, base, MIN(strlen(base), sizeof(h->parent_name) - 1));
	/* A name alone would be looked for elsewhere. */
	if (backing[0] != '/' && backing[0] != '.')
		strbuf_adds(&name, ".\\");
	strbuf_adds(&name, backing);
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == '/')
			name.p[i] = '\\';
	utf16_put(strbuf_str(&name), false, &raw);
	if (raw.n > LOCATOR_ROOM)
		return err_set(err, -ENAMETOOLONG,
			       "the name of the backing file has more than %d characters",
			       LOCATOR_ROOM / 2);
	h->locators[0] = (struct vhd_locator){
		.code = VHD_LOCATOR_W2RU,
		.length = (uint32_t)raw.n,
		.off = LOCATOR_OFF,
	};
	return disk_file_write(f, LOCATOR_OFF, strbuf_cstr(&raw), raw.n);
}

static int take_options(const struct disk_create_opts *o, struct vhd_footer *f,
			uint64_t *block_size, struct err *err)
{
	const char *subformat = create_option(o, "subformat"),
		   *text = create_option(o, "block_size");
	int r = 0;

	f->type = o->backing ? VHD_DIFFERENCING : VHD_DYNAMIC;
	if (subformat && !strcmp(subformat, "fixed"))
		f->type = VHD_FIXED;
	else if (subformat && strcmp(subformat, "dynamic"))
		return err_set(err, -EINVAL, "subformat '%.40s' is neither dynamic nor fixed",
			       subformat);
	if (f->type == VHD_FIXED && o->backing)
		return err_set(err, -EINVAL, "a fixed VHD image has no backing file");
	*block_size = BLOCK_DEFAULT;
	if (text)
		r = str_parse_size(str_of(text), VHD_BLOCK_MIN, VHD_BLOCK_MAX, block_size, err);
	if (!r && !is_pow2(*block_size))
		r = err_set(err, -EINVAL, "%s is not a power of two", text);
	return r < 0 ? err_wrap(err, -EINVAL, "option block_size") : 0;
}

static int create_blocks(struct disk_file *file, const struct disk_create_opts *o,
			 struct vhd_footer *f, struct vhd_header *h, struct err *err)
{
	_cleanup_(mem_freep) uint8_t *table = NULL;
	_cleanup_(mem_freep) uint8_t *head = mem_new(VHD_FOOTER_SIZE + VHD_HEADER_SIZE);
	uint64_t nr = (o->size + h->block_size - 1) / h->block_size, bytes;
	int r;

	if (nr > VHD_MAX_ENTRIES)
		return err_set(err, -EINVAL, "block_size is too small for a disk of this size");
	bytes = align_up(nr * 4, VHD_SECTOR);
	r = mem_try(&table, bytes, VHD_MAX_ENTRIES * 4);
	if (r < 0)
		return r;
	memset(table, 0xff, bytes);
	h->nr_entries = (uint32_t)nr;
	h->table_off = TABLE_OFF;
	if (o->backing) {
		uint64_t size;

		r = ask_parent(file, o, &h->parent_uuid, &size, err);
		if (!r && size != o->size)
			r = err_set(err, -EINVAL,
				    "a differencing VHD image has its parent's size, %llu bytes",
				    (unsigned long long)size);
		if (!r)
			r = put_name(file, h, o->backing, err);
		if (r < 0)
			return r;
	}
	f->data_off = VHD_FOOTER_SIZE;
	vhd_footer_put(f, head);
	vhd_header_put(h, head + VHD_FOOTER_SIZE);
	r = disk_file_write(file, h->table_off, table, bytes);
	if (!r)
		r = disk_file_write(file, 0, head, VHD_FOOTER_SIZE + VHD_HEADER_SIZE);
	if (!r)
		r = disk_file_write(file, TABLE_OFF + MAX(bytes, (uint64_t)VHD_TABLE_ROOM), head,
				    VHD_FOOTER_SIZE);
	return r;
}

int vhd_create(struct disk_file *file, const struct disk_create_opts *o, struct err *err)
{
	struct vhd_footer f = {
		.data_off = UINT64_MAX,
		.timestamp = (uint32_t)((uint64_t)time(NULL) - VHD_EPOCH),
		.creator = "win ",
		.creator_version = 0x000a0000,
		.host_os = "Wi2k",
		.original_size = o->size,
		.current_size = o->size,
		.chs = vhd_chs_of(o->size / VHD_SECTOR),
	};
	_cleanup_(mem_freep) struct vhd_header *h = mem_new(sizeof(*h));
	uint8_t foot[VHD_FOOTER_SIZE];
	uint64_t block_size;
	int r;

	r = take_options(o, &f, &block_size, err);
	if (!r && (!o->size || o->size > VHD_MAX_SIZE))
		r = err_set(err, -EINVAL, "a VHD disk has 512 bytes to 2040 GiB");
	if (!r)
		r = guid_new(&f.uuid, err);
	if (r < 0)
		return r;
	h->block_size = (uint32_t)block_size;
	if (f.type == VHD_FIXED) {
		vhd_footer_put(&f, foot);
		r = disk_file_write(file, o->size, foot, sizeof(foot));
	} else {
		r = create_blocks(file, o, &f, h, err);
	}
	return r < 0 && (!err || !err->code)
		       ? err_set(err, r, "write a new image: %s", strerror(-r))
		       : r;
}
