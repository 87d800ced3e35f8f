/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `atoll disk bitmap`: the bitmaps of an image that nobody uses. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"

static void list_text(const struct disk_bitmap *b, size_t n, struct strbuf *out)
{
	size_t start = out->n;

	strbuf_adds(out, "NAME");
	strbuf_pad(out, start, 32);
	strbuf_adds(out, "STATE");
	strbuf_pad(out, start, 45);
	strbuf_adds(out, "GRANULARITY");
	strbuf_pad(out, start, 58);
	strbuf_adds(out, "MARKED\n");
	for (size_t i = 0; i < n; i++) {
		start = out->n;
		disk_add_plain(out, b[i].name);
		strbuf_addc(out, ' ');
		strbuf_pad(out, start, 32);
		strbuf_addf(out, "%s ",
			    b[i].is_out_of_date ? "out of date"
			    : b[i].is_enabled	? "enabled"
						: "disabled");
		strbuf_pad(out, start, 45);
		strbuf_addf(out, "%" PRIu64 " ", b[i].granularity);
		strbuf_pad(out, start, 58);
		if (b[i].is_out_of_date)
			strbuf_adds(out, "?\n");
		else
			strbuf_addf(out, "%" PRIu64 "\n", b[i].dirty_bytes);
	}
}

static int list(const struct cmd_call *call, bool json, struct disk *disk)
{
	_cleanup_(mem_freep) struct disk_bitmap *all = NULL;
	struct strbuf out = { 0 };
	struct err err = ERR_INIT;
	size_t n;

	if (disk_bitmaps(disk, &all, &n, &err) < 0)
		return disk_complain(call, &err, 1);
	if (json) {
		disk_bitmaps_json(all, n, &out);
		strbuf_addc(&out, '\n');
	} else {
		list_text(all, n, &out);
	}
	return disk_print(call, &out);
}

/* What is asked for. Returns 0; 1: a list; -EINVAL. */
static int read_change(const struct cmd_call *call, struct disk_bitmap_change *c, struct err *err)
{
	static const char *const names[] = {
		[DISK_BITMAP_ADD] = "add",	   [DISK_BITMAP_REMOVE] = "remove",
		[DISK_BITMAP_CLEAR] = "clear",	   [DISK_BITMAP_ENABLE] = "enable",
		[DISK_BITMAP_DISABLE] = "disable", [DISK_BITMAP_MERGE] = "merge",
	};
	const struct disk_bitmap_cmd_opts *o = call->opts;
	bool list = strcmp(call->args[0], "list") == 0;
	size_t i = 0, want;

	while (!list && i < ARRAY_SIZE(names) && strcmp(call->args[0], names[i]) != 0)
		i++;
	if (i == ARRAY_SIZE(names))
		return err_set(err, -EINVAL,
			       "'%.40s' is none of list, add, remove, clear, enable, disable, merge",
			       call->args[0]);
	want = list ? 2 : i == DISK_BITMAP_MERGE ? 4 : 3;
	if (call->nr_args < want)
		return err_set(err, -EINVAL, "the name of %s is missing",
			       call->nr_args < 3 ? "the bitmap" : "the bitmap to take marks from");
	if (call->nr_args > want)
		return err_set(err, -EINVAL, "unexpected argument '%.60s'", call->args[want]);
	if (list)
		return 1;
	*c = (struct disk_bitmap_change){
		.op = (enum disk_bitmap_op)i,
		.name = call->args[2],
		.from = want > 3 ? call->args[3] : NULL,
		.granularity = o->granularity,
		.is_disabled = o->disabled,
	};
	return 0;
}

int cmd_disk_bitmap_exec(const struct cmd_call *call)
{
	const struct disk_bitmap_cmd_opts *o = call->opts;
	struct disk_bitmap_change c;
	struct disk *disk = NULL;
	struct err err = ERR_INIT;
	int what = read_change(call, &c, &err), r = what;

	if (what >= 0)
		r = disk_open_image(call->args[1], &o->image,
				    DISK_TOP_ONLY | (what ? 0 : DISK_RDWR), NULL, &disk, &err);
	if (r == 0 && what) {
		r = list(call, o->image.json, disk);
		disk_close(disk, NULL);
		return r;
	}
	if (r == 0)
		r = disk_bitmap_change(disk, &c, &err);
	return disk_close_changed(call, disk, r, &err);
}
