/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll disk` but for convert and compare: opening an image as the options say, asking, and printing. Names that
 * stand in an image come from whoever made it; on a terminal they are shown without control characters.
 */
#include "cmd/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/child.h"
#include "sys/fd.h"

int disk_complain(const struct cmd_call *call, const struct err *err, int status)
{
	fprintf(stderr, "atoll %s: %s\n", call->cmd->name, err_text(err));
	return status;
}

int disk_print(const struct cmd_call *call, struct strbuf *out)
{
	struct err err = ERR_INIT;
	int r = fd_write_full(STDOUT_FILENO, strbuf_cstr(out), out->n);

	strbuf_done(out);
	if (r == 0)
		return 0;
	err_set(&err, r, "standard output: %s", strerror(-r));
	return disk_complain(call, &err, 1);
}

int disk_open_image(const char *path, const struct disk_image_opts *o, unsigned flags,
		    const char *snapshot, struct disk **ret, struct err *err)
{
	const struct disk_open_opts open = {
		.flags = flags | (o->format ? 0 : DISK_PROBE) |
			 (o->force_share ? DISK_NO_LOCK : 0) | (o->direct ? DISK_DIRECT : 0),
		.format = o->format,
		.backing_format = o->backing_format,
		.snapshot = snapshot,
	};

	return disk_open(path, &open, ret, err);
}

void disk_add_plain(struct strbuf *out, const char *s)
{
	for (; *s; s++)
		strbuf_addc(out, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void add_size(struct strbuf *out, uint64_t v)
{
	static const char units[] = "KMGTPE";
	double d = (double)v;
	int i = -1;

	while (d >= 1024 && i < 5) {
		d /= 1024;
		i++;
	}
	if (i < 0)
		strbuf_addf(out, "%" PRIu64 " bytes", v);
	else
		strbuf_addf(out, "%.3g %ciB (%" PRIu64 " bytes)", d, units[i], v);
}

static void add_time(struct strbuf *out, uint64_t wall_ns)
{
	time_t t = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;
	char text[40];

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%SZ", &tm))
		strbuf_adds(out, text);
}

/* --- info ------------------------------------------------------------------------------------- */

static void add_key(struct strbuf *out, const char *key)
{
	size_t start = out->n;

	strbuf_addf(out, "%s:", key);
	strbuf_pad(out, start, 20);
}

static void add_line(struct strbuf *out, const char *key, const char *value)
{
	add_key(out, key);
	disk_add_plain(out, value);
	strbuf_addc(out, '\n');
}

static void info_text(const struct disk_info *i, struct strbuf *out)
{
	add_line(out, "image", i->path);
	add_line(out, "format", i->format);
	add_key(out, "disk size");
	add_size(out, i->size);
	strbuf_addc(out, '\n');
	add_key(out, "file length");
	add_size(out, i->file_bytes);
	strbuf_addc(out, '\n');
	add_key(out, "space on the host");
	add_size(out, i->host_bytes);
	strbuf_addc(out, '\n');
	if (i->cluster) {
		add_key(out, "cluster size");
		add_size(out, i->cluster);
		strbuf_addc(out, '\n');
	}
	if (i->backing)
		add_line(out, "backing file", i->backing);
	if (i->backing)
		add_line(out, "backing format",
			 i->backing_format ? i->backing_format : "(not stored)");
	if (i->is_dirty)
		add_line(out, "state", "dirty: was not closed, tables may be out of date");
	if (i->is_corrupt)
		add_line(out, "state", "corrupt: needs repair");
	for (size_t k = 0; k < i->nr_details; k++) {
		const struct disk_detail *d = &i->details[k];
		char num[24];

		snprintf(num, sizeof(num), "%" PRIu64, d->num);
		add_line(out, d->key,
			 d->type == DISK_DETAIL_STR   ? d->str
			 : d->type == DISK_DETAIL_U64 ? num
			 : d->num		      ? "yes"
						      : "no");
	}
}

static void snapshots_text(const struct disk_info *i, struct strbuf *out)
{
	size_t start = out->n;

	strbuf_adds(out, "ID");
	strbuf_pad(out, start, 6);
	strbuf_adds(out, "NAME");
	strbuf_pad(out, start, 32);
	strbuf_adds(out, "MADE");
	strbuf_pad(out, start, 54);
	strbuf_adds(out, "DISK\n");
	for (size_t k = 0; k < i->nr_snapshots; k++) {
		const struct disk_snapshot *s = &i->snapshots[k];

		start = out->n;
		disk_add_plain(out, s->id);
		strbuf_addc(out, ' ');
		strbuf_pad(out, start, 6);
		disk_add_plain(out, s->name);
		strbuf_addc(out, ' ');
		strbuf_pad(out, start, 32);
		add_time(out, s->wall_ns);
		strbuf_addc(out, ' ');
		strbuf_pad(out, start, 54);
		add_size(out, s->disk_bytes);
		strbuf_addc(out, '\n');
	}
}

static void json_str(struct strbuf *out, const char *key, const char *value)
{
	strbuf_addf(out, "\"%s\":", key);
	if (value)
		strbuf_add_json(out, str_of(value));
	else
		strbuf_adds(out, "null");
	strbuf_addc(out, ',');
}

static void snapshots_json(const struct disk_info *i, struct strbuf *out)
{
	strbuf_addc(out, '[');
	for (size_t k = 0; k < i->nr_snapshots; k++) {
		const struct disk_snapshot *s = &i->snapshots[k];

		strbuf_adds(out, k ? ",{" : "{");
		json_str(out, "id", s->id);
		json_str(out, "name", s->name);
		strbuf_addf(out,
			    "\"wall_ns\":%" PRIu64 ",\"vm_clock_ns\":%" PRIu64
			    ",\"vm_state_bytes\":%" PRIu64 ",\"disk_bytes\":%" PRIu64 "}",
			    s->wall_ns, s->vm_clock_ns, s->vm_state_bytes, s->disk_bytes);
	}
	strbuf_addc(out, ']');
}

static void info_json(const struct disk_info *i, struct strbuf *out)
{
	strbuf_addc(out, '{');
	json_str(out, "image", i->path);
	json_str(out, "format", i->format);
	strbuf_addf(out,
		    "\"size\":%" PRIu64 ",\"file_bytes\":%" PRIu64 ",\"host_bytes\":%" PRIu64
		    ",\"cluster\":%" PRIu32 ",\"dirty\":%s,\"corrupt\":%s,",
		    i->size, i->file_bytes, i->host_bytes, i->cluster,
		    i->is_dirty ? "true" : "false", i->is_corrupt ? "true" : "false");
	json_str(out, "backing", i->backing);
	json_str(out, "backing_format", i->backing_format);
	json_str(out, "backing_path", i->backing_path);
	strbuf_adds(out, "\"details\":{");
	for (size_t k = 0; k < i->nr_details; k++) {
		const struct disk_detail *d = &i->details[k];

		strbuf_addf(out, "%s\"%s\":", k ? "," : "", d->key);
		if (d->type == DISK_DETAIL_STR)
			strbuf_add_json(out, str_of(d->str));
		else if (d->type == DISK_DETAIL_U64)
			strbuf_addf(out, "%" PRIu64, d->num);
		else
			strbuf_adds(out, d->num ? "true" : "false");
	}
	strbuf_adds(out, "},\"snapshots\":");
	snapshots_json(i, out);
	strbuf_addc(out, '}');
}

int cmd_disk_info_exec(const struct cmd_call *call)
{
	const struct disk_info_opts *o = call->opts;
	_cleanup_(disk_closep) struct disk *disk = NULL;
	struct strbuf out = { 0 };
	struct err err = ERR_INIT;
	struct disk_info info;
	int r = disk_open_image(call->args[0], &o->image, o->backing_chain ? 0 : DISK_TOP_ONLY,
				NULL, &disk, &err);

	for (unsigned depth = 0; r == 0; depth++) {
		r = disk_info(disk, depth, &info, &err);
		if (r == -ENOENT && depth) {
			r = 0;
			break;
		}
		if (r < 0)
			break;
		if (o->image.json)
			strbuf_adds(&out, depth ? "," : o->backing_chain ? "[" : "");
		else if (depth)
			strbuf_addc(&out, '\n');
		if (o->image.json)
			info_json(&info, &out);
		else
			info_text(&info, &out);
		if (!o->image.json && info.nr_snapshots)
			snapshots_text(&info, &out);
		disk_info_done(&info);
		if (!o->backing_chain)
			break;
	}
	if (o->image.json)
		strbuf_adds(&out, o->backing_chain ? "]\n" : "\n");
	if (r == 0)
		return disk_print(call, &out);
	strbuf_done(&out);
	return disk_complain(call, &err, 1);
}

/* --- create ----------------------------------------------------------------------------------- */

int disk_read_options(const struct opt_list *list, char **ret_text, struct disk_option **ret,
		      size_t *ret_n, struct err *err)
{
	_cleanup_(mem_freep) struct disk_option *all = NULL;
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	char *p;
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		strbuf_addf(&text, "%s%s", i ? "," : "", list->v[i]);
	p = strbuf_take(&text);
	for (char *at = p, *next; at && *at; at = next) {
		char *equals;

		next = strchr(at, ',');
		if (next)
			*next++ = '\0';
		equals = strchr(at, '=');
		if (!equals) {
			err_set(err, -EINVAL, "option '%.60s' has no value: NAME=VALUE", at);
			free(p);
			return -EINVAL;
		}
		*equals = '\0';
		all = mem_renew(all, n + 1, sizeof(*all));
		all[n++] = (struct disk_option){ at, equals + 1 };
	}
	*ret_text = p;
	*ret = take_ptr(&all);
	*ret_n = n;
	return 0;
}

bool disk_list_options(const struct opt_list *list, const char *format)
{
	const struct disk_option_info *o = disk_format_options(format);

	if (!list->n || strcmp(list->v[list->n - 1], "help") != 0)
		return false;
	for (; o && o->name; o++)
		printf("%-20s %s\n", o->name, o->help);
	return true;
}

int cmd_disk_create_exec(const struct cmd_call *call)
{
	const struct disk_create_cmd_opts *o = call->opts;
	_cleanup_(mem_freep) struct disk_option *options = NULL;
	_cleanup_(mem_freep) char *text = NULL;
	struct disk_create_opts c = {
		.backing = o->backing,
		.backing_format = o->image.backing_format,
	};
	struct err err = ERR_INIT;
	int r = 0;

	if (disk_list_options(&o->options, o->image.format))
		return 0;
	if (call->nr_args > 1)
		r = str_parse_size(str_of(call->args[1]), 0, UINT64_C(1) << 62, &c.size, &err);
	else if (!o->backing)
		r = err_set(&err, -EINVAL, "the size is missing: IMAGE SIZE");
	if (r == 0)
		r = disk_read_options(&o->options, &text, &options, &c.nr_options, &err);
	c.options = options;
	if (r == 0)
		r = disk_create(call->args[0], o->image.format, &c, &err);
	return r < 0 ? disk_complain(call, &err, 1) : 0;
}

/* --- check ------------------------------------------------------------------------------------ */

static void report(void *arg, const char *text)
{
	struct strbuf *out = arg;

	disk_add_plain(out, text);
	strbuf_addc(out, '\n');
	if (out->n > (1U << 20)) {
		/* A broken image has many findings; they need not all be kept. */
		fputs(strbuf_cstr(out), stdout);
		strbuf_reset(out);
	}
}

static void check_text(const struct disk_check *c, struct strbuf *out)
{
	strbuf_addf(out,
		    "errors %" PRIu64 " (repaired %" PRIu64 "), leaks %" PRIu64
		    " (repaired %" PRIu64 ")\n",
		    c->errors, c->errors_fixed, c->leaks, c->leaks_fixed);
	if (c->clusters)
		strbuf_addf(out,
			    "clusters %" PRIu64 ", allocated %" PRIu64 ", compressed %" PRIu64
			    ", fragmented %" PRIu64 "\n",
			    c->clusters, c->allocated, c->packed, c->fragmented);
}

static void check_json(const struct disk_check *c, struct strbuf *out)
{
	strbuf_reset(out);
	strbuf_addf(out,
		    "{\"errors\":%" PRIu64 ",\"errors_fixed\":%" PRIu64 ",\"leaks\":%" PRIu64
		    ",\"leaks_fixed\":%" PRIu64 ",\"clusters\":%" PRIu64 ",\"allocated\":%" PRIu64
		    ",\"packed\":%" PRIu64 ",\"fragmented\":%" PRIu64 ",\"file_end\":%" PRIu64
		    "}\n",
		    c->errors, c->errors_fixed, c->leaks, c->leaks_fixed, c->clusters, c->allocated,
		    c->packed, c->fragmented, c->file_end);
}

int cmd_disk_check_exec(const struct cmd_call *call)
{
	const struct disk_check_opts *o = call->opts;
	struct strbuf out = { 0 };
	struct disk_check c = {
		.fix_leaks = o->repair >= 1,
		.fix_errors = o->repair >= 2,
		.report = o->image.json ? NULL : report,
		.arg = &out,
	};
	struct disk *disk = NULL;
	struct err err = ERR_INIT;
	unsigned flags = DISK_TOP_ONLY | DISK_REPAIR | (o->repair ? DISK_RDWR : 0);
	int r = disk_open_image(call->args[0], &o->image, flags, NULL, &disk, &err), closed;

	if (r == 0) {
		r = disk_check(disk, &c, &err);
		closed = disk_close(disk, r < 0 ? NULL : &err);
		r = r < 0 ? r : closed;
	}
	if (r < 0) {
		strbuf_done(&out);
		return disk_complain(call, &err, 1);
	}
	if (o->image.json)
		check_json(&c, &out);
	else
		check_text(&c, &out);
	r = disk_print(call, &out);
	if (r)
		return r;
	return c.errors > c.errors_fixed ? 2 : c.leaks > c.leaks_fixed ? 3 : 0;
}

/* --- resize, snapshot ------------------------------------------------------------------------- */

static int new_size(const char *text, uint64_t old, uint64_t *ret, struct err *err)
{
	char sign = *text == '+' || *text == '-' ? *text++ : 0;
	uint64_t v;
	int r = str_parse_size(str_of(text), 0, UINT64_C(1) << 62, &v, err);

	if (r < 0)
		return r;
	if (sign == '-' && v > old)
		return err_set(err, -EINVAL, "the disk has only %" PRIu64 " bytes", old);
	*ret = sign == '+' ? old + v : sign == '-' ? old - v : v;
	return 0;
}

int disk_close_changed(const struct cmd_call *call, struct disk *disk, int r, struct err *err)
{
	int closed = disk_close(disk, r < 0 ? NULL : err);

	return r < 0 || closed < 0 ? disk_complain(call, err, 1) : 0;
}

int cmd_disk_resize_exec(const struct cmd_call *call)
{
	const struct disk_resize_opts *o = call->opts;
	struct disk *disk = NULL;
	struct err err = ERR_INIT;
	uint64_t size = 0;
	int r = disk_open_image(call->args[0], &o->image, DISK_RDWR | DISK_UNMAP, NULL, &disk,
				&err);

	if (r == 0)
		r = new_size(call->args[1], disk_size(disk), &size, &err);
	if (r == 0)
		r = disk_resize(disk, size, o->shrink, &err);
	return disk_close_changed(call, disk, r, &err);
}

static int list_snapshots(const struct cmd_call *call, const struct disk_info_opts *o,
			  struct disk *disk, struct err *err)
{
	struct strbuf out = { 0 };
	struct disk_info info;
	int r = disk_info(disk, 0, &info, err);

	if (r < 0)
		return disk_complain(call, err, 1);
	if (o->image.json) {
		snapshots_json(&info, &out);
		strbuf_addc(&out, '\n');
	} else {
		snapshots_text(&info, &out);
	}
	disk_info_done(&info);
	return disk_print(call, &out);
}

int cmd_disk_snapshot_exec(const struct cmd_call *call)
{
	const struct disk_info_opts *o = call->opts;
	const char *what = call->args[0], *name = call->nr_args > 2 ? call->args[2] : NULL;
	bool list = strcmp(what, "list") == 0, create = strcmp(what, "create") == 0;
	bool apply = strcmp(what, "apply") == 0, delete = strcmp(what, "delete") == 0;
	unsigned flags = DISK_TOP_ONLY | (list ? 0 : DISK_RDWR | DISK_UNMAP);
	struct disk *disk = NULL;
	struct err err = ERR_INIT;
	int r = 0;

	if (!list && !create && !apply && !delete)
		r = err_set(&err, -EINVAL, "'%.40s' is none of list, create, apply, delete", what);
	else if (list == !!name)
		r = err_set(&err, -EINVAL,
			    list ? "unexpected argument" : "the name of the snapshot is missing");
	if (r == 0)
		r = disk_open_image(call->args[1], &o->image, flags, NULL, &disk, &err);
	if (r < 0)
		return disk_complain(call, &err, 1);
	if (list) {
		r = list_snapshots(call, o, disk, &err);
		disk_close(disk, NULL);
		return r;
	}
	if (create)
		r = disk_snapshot_create(disk, name, clock_wall(clock_real()), &err);
	else if (apply)
		r = disk_snapshot_apply(disk, name, &err);
	else
		r = disk_snapshot_delete(disk, name, &err);
	return disk_close_changed(call, disk, r, &err);
}

/* --- map -------------------------------------------------------------------------------------- */

static void add_extent(struct strbuf *out, const struct disk_extent *e, bool json, bool first)
{
	static const char *const kinds[] = { "hole", "zero", "data", "packed" };
	size_t start = out->n;

	if (json) {
		strbuf_addf(out,
			    "%s{\"off\":%" PRIu64 ",\"len\":%" PRIu64
			    ",\"kind\":\"%s\",\"depth\":%u",
			    first ? "[" : ",\n", e->off, e->len, kinds[e->kind], e->depth);
		if (e->kind == DISK_DATA) {
			strbuf_addf(out, ",\"host_off\":%" PRIu64 ",\"file\":", e->host_off);
			strbuf_add_json(out, str_of(e->path));
		}
		strbuf_addc(out, '}');
		return;
	}
	strbuf_addf(out, "0x%-16" PRIx64 " 0x%-14" PRIx64 " %-7s %u", e->off, e->len,
		    kinds[e->kind], e->depth);
	if (e->kind == DISK_DATA) {
		strbuf_pad(out, start, 48);
		strbuf_addf(out, "0x%-16" PRIx64 " ", e->host_off);
		disk_add_plain(out, e->path);
	}
	strbuf_addc(out, '\n');
}

/* Whether b goes on where a ends, in the same way. */
static bool joins(const struct disk_extent *a, const struct disk_extent *b)
{
	return a->kind == b->kind && a->depth == b->depth && a->off + a->len == b->off &&
	       (a->kind != DISK_DATA ||
		(a->path == b->path && a->host_off + a->len == b->host_off));
}

int cmd_disk_map_exec(const struct cmd_call *call)
{
	const struct disk_info_opts *o = call->opts;
	_cleanup_(disk_closep) struct disk *disk = NULL;
	struct disk_extent last = { 0 }, e;
	struct strbuf out = { 0 };
	struct err err = ERR_INIT;
	bool first = true;
	int r = disk_open_image(call->args[0], &o->image, 0, o->snapshot, &disk, &err);

	for (uint64_t off = 0; r == 0 && off < disk_size(disk); off += e.len) {
		r = disk_map(disk, off, disk_size(disk) - off, &e);
		if (r < 0) {
			err_set(&err, r, "map at %" PRIu64 ": %s", off, disk_strerror(r));
			break;
		}
		if (last.len && joins(&last, &e)) {
			last.len += e.len;
			continue;
		}
		if (last.len) {
			add_extent(&out, &last, o->image.json, first);
			first = false;
		}
		last = e;
	}
	if (r < 0) {
		strbuf_done(&out);
		return disk_complain(call, &err, 1);
	}
	if (last.len)
		add_extent(&out, &last, o->image.json, first);
	if (o->image.json)
		strbuf_adds(&out, last.len ? "]\n" : "[]\n");
	return disk_print(call, &out);
}

/* --- serve ------------------------------------------------------------------------------------ */

/* What talks to strangers, and has TLS for it, is a program of its own. */
int cmd_disk_serve_exec(const struct cmd_call *call)
{
	struct err err = ERR_INIT;
	char path[2048];

	if (child_beside_us("atoll-nbd", path, sizeof(path), &err) == 0) {
		execv(path, call->argv);
		err_set_errno(&err, "'%s', which serves; reinstall or rebuild it", path);
	}
	return disk_complain(call, &err, 1);
}
