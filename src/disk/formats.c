/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of formats, and small things that all of them need: names, options of a new image, lines of an
 * answer.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "disk/format_priv.h"
#include "disk/nbd/client.h"

const struct format *const disk_formats[] = {
	&format_raw, &format_qcow2, &format_vhd, &format_vhdx, &format_vdi, &format_vmdk, NULL,
};

const struct format *format_find(const char *name)
{
	for (size_t i = 0; disk_formats[i]; i++)
		if (strcmp(disk_formats[i]->name, name) == 0 ||
		    (disk_formats[i]->alias && strcmp(disk_formats[i]->alias, name) == 0))
			return disk_formats[i];
	return NULL;
}

void format_names(struct strbuf *out)
{
	for (size_t i = 0; disk_formats[i]; i++)
		strbuf_addf(out, "%s%s", i ? ", " : "", disk_formats[i]->name);
}

const char *disk_format_name(size_t i)
{
	size_t n = 0;

	while (disk_formats[n])
		n++;
	return i < n ? disk_formats[i]->name : NULL;
}

const char *disk_format_of_name(const char *path)
{
	static const struct {
		const char *end, *format;
	} known[] = { { ".qcow2", "qcow2" }, { ".vhd", "vhd" },	  { ".vpc", "vhd" },
		      { ".vhdx", "vhdx" },   { ".vmdk", "vmdk" }, { ".vdi", "vdi" },
		      { ".raw", "raw" },     { ".img", "raw" },	  { ".iso", "raw" } };

	/* What is served is a disk already, whatever the socket's name ends in. */
	if (nbd_is_uri(path))
		return "raw";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_ends(str_of(path), str_of(known[i].end)))
			return known[i].format;
	return NULL;
}

bool disk_is_served(const char *name)
{
	return nbd_is_uri(name);
}

const struct disk_option_info *disk_format_options(const char *format)
{
	const struct format *fmt = format_find(format);

	return fmt && fmt->create ? fmt->options : NULL;
}

const char *create_option(const struct disk_create_opts *o, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < o->nr_options; i++)
		if (strcmp(o->options[i].name, name) == 0)
			value = o->options[i].value;
	return value;
}

int path_from_image(const char *from, const char *name, struct strbuf *out, struct err *err)
{
	const char *slash = strrchr(from, '/'), *colon = strchr(name, ':');

	if (nbd_is_uri(name)) {
		strbuf_adds(out, name);
		return 0;
	}
	if (str_starts(str_of(name), STR("file:")))
		name += 5;
	else if (colon && !memchr(name, '/', (size_t)(colon - name)))
		return err_set(err, -EOPNOTSUPP,
			       "backing file '%.100s' is not a file but a protocol; './' in front "
			       "makes it a file name",
			       name);
	if (name[0] != '/' && slash)
		strbuf_add(out, from, (size_t)(slash - from + 1));
	strbuf_adds(out, name);
	return 0;
}

int create_ask_parent(const struct disk_file *file, const struct disk_create_opts *o,
		      const char *format, const char *key, char ret[DISK_DETAIL_MAX],
		      uint64_t *ret_size, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 };
	_cleanup_(disk_closep) struct disk *parent = NULL;
	_cleanup_(mem_freep) struct disk_info *info = mem_new(sizeof(*info));
	const struct disk_open_opts open = { .format = format, .flags = DISK_TOP_ONLY };
	int r = path_from_image(file->path, o->backing, &path, err);

	if (r == 0)
		r = disk_open(strbuf_cstr(&path), &open, &parent, err);
	if (r == 0)
		r = disk_info(parent, 0, info, err);
	if (r < 0)
		return err_wrap(err, r, "parent");
	ret[0] = 0;
	for (size_t i = 0; i < info->nr_details; i++)
		if (!strcmp(info->details[i].key, key))
			memcpy(ret, info->details[i].str, DISK_DETAIL_MAX);
	if (ret_size)
		*ret_size = info->size;
	disk_info_done(info);
	return 0;
}

int create_check_options(const struct disk_create_opts *o, const struct disk_option_info *table,
			 struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf names = { 0 };

	for (size_t k = 0; table && table[k].name; k++)
		strbuf_addf(&names, "%s%s", k ? ", " : "", table[k].name);
	for (size_t i = 0; i < o->nr_options; i++) {
		size_t k = 0;

		while (table && table[k].name && strcmp(table[k].name, o->options[i].name) != 0)
			k++;
		if (!table || !table[k].name)
			return err_set(err, -EINVAL, "option '%.40s' is none of %s",
				       o->options[i].name, strbuf_cstr(&names));
	}
	return 0;
}

static struct disk_detail *add_detail(struct disk_info *info, const char *key, int type)
{
	static struct disk_detail none; /* the table is large enough for every format of ours */
	struct disk_detail *d = &none;

	if (info->nr_details < DISK_DETAILS_MAX)
		d = &info->details[info->nr_details++];
	*d = (struct disk_detail){ .key = key };
	d->type = type;
	return d;
}

void detail_str(struct disk_info *info, const char *key, const char *fmt, ...)
{
	struct disk_detail *d = add_detail(info, key, DISK_DETAIL_STR);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->str, sizeof(d->str), fmt, ap);
	va_end(ap);
}

void detail_u64(struct disk_info *info, const char *key, uint64_t v)
{
	add_detail(info, key, DISK_DETAIL_U64)->num = v;
}

void detail_bool(struct disk_info *info, const char *key, bool v)
{
	add_detail(info, key, DISK_DETAIL_BOOL)->num = v;
}

_printf_(4, 0) static void report(struct disk_check *c, const char *what, bool is_fixed,
				  const char *fmt, va_list ap)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "%s%s: ", what, is_fixed ? " (repaired)" : "");

	if (!c->report)
		return;
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	c->report(c->arg, text);
}

void check_error(struct disk_check *c, bool is_fixed, const char *fmt, ...)
{
	va_list ap;

	c->errors++;
	c->errors_fixed += is_fixed;
	va_start(ap, fmt);
	report(c, "error", is_fixed, fmt, ap);
	va_end(ap);
}

void check_leak(struct disk_check *c, bool is_fixed, uint64_t n, const char *fmt, ...)
{
	va_list ap;

	c->leaks += n;
	c->leaks_fixed += is_fixed ? n : 0;
	va_start(ap, fmt);
	report(c, "leak", is_fixed, fmt, ap);
	va_end(ap);
}
