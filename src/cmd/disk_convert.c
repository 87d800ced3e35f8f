/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll disk convert` and `compare`: the two that read whole disks, with a bar that says how far they are.
 *
 * A target that could not be finished is removed: half an image looks like a whole one. It is not flushed
 * on the way, but once at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/disk.h"
#include "cmd/progress.h"

/* --- how far it is ---------------------------------------------------------------------------- */

struct bar {
	struct progress progress;
	uint64_t start_ns;
};

static void bar_begin(struct bar *b, bool wanted)
{
	progress_begin(&b->progress, wanted);
	b->start_ns = clock_now(clock_real());
}

static void bar_show(void *arg, uint64_t done, uint64_t total)
{
	struct bar *b = arg;
	uint64_t ns = clock_now(clock_real()) - b->start_ns;
	char text[32];

	snprintf(text, sizeof(text), "%.0f MiB/s",
		 ns ? (double)done / 1048576 / ((double)ns / NS_PER_S) : 0.0);
	progress_show(&b->progress, done, total, text);
}

static unsigned nr_threads(uint64_t wanted)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return wanted ? (unsigned)wanted : (unsigned)MIN(MAX(cpus, 2L), 16L);
}

/* --- convert ---------------------------------------------------------------------------------- */

static int make_target(const struct disk_convert_opts *o, const char *path, uint64_t size,
		       struct err *err)
{
	_cleanup_(mem_freep) struct disk_option *options = NULL;
	_cleanup_(mem_freep) char *text = NULL;
	struct disk_create_opts c = { .size = size };
	int r = disk_read_options(&o->options, &text, &options, &c.nr_options, err);

	c.options = options;
	return r < 0 ? r : disk_create(path, o->out_format, &c, err);
}

static int convert(const struct disk_convert_opts *o, const char *from, const char *to,
		   bool *ret_made, struct err *err)
{
	_cleanup_(disk_closep) struct disk *src = NULL;
	struct disk_open_opts out = {
		.flags = DISK_RDWR | DISK_UNMAP | (o->no_create ? 0 : DISK_NO_FLUSH) |
			 (o->image.direct ? DISK_DIRECT : 0),
		.format = o->out_format,
	};
	struct disk *dst = NULL;
	struct bar bar;
	struct disk_copy_opts copy = {
		.nr_threads = nr_threads(o->threads),
		.packed = o->compress,
		.dst_is_zero = !o->no_create,
		.progress = bar_show,
		.arg = &bar,
	};
	int r = disk_open_image(from, &o->image, 0, o->snapshot, &src, err), closed;

	if (r == 0 && !o->no_create) {
		r = make_target(o, to, disk_size(src), err);
		*ret_made = r == 0;
	}
	if (r == 0)
		r = disk_open(to, &out, &dst, err);
	if (r < 0)
		return r;
	bar_begin(&bar, o->progress);
	r = disk_copy(src, dst, &copy, err);
	progress_end(&bar.progress);
	closed = disk_close(dst, r < 0 ? NULL : err);
	return r < 0 ? r : closed;
}

int cmd_disk_convert_exec(const struct cmd_call *call)
{
	const struct disk_convert_opts *o = call->opts;
	struct err err = ERR_INIT;
	bool made = false;
	int r;

	if (disk_list_options(&o->options, o->out_format))
		return 0;
	r = convert(o, call->args[0], call->args[1], &made, &err);
	if (r == 0)
		return 0;
	if (made)
		unlink(call->args[1]);
	return disk_complain(call, &err, 1);
}

/* --- compare ---------------------------------------------------------------------------------- */

int cmd_disk_compare_exec(const struct cmd_call *call)
{
	const struct disk_compare_opts *o = call->opts;
	_cleanup_(disk_closep) struct disk *a = NULL;
	_cleanup_(disk_closep) struct disk *b = NULL;
	struct disk_image_opts second = o->image;
	struct err err = ERR_INIT;
	struct bar bar;
	const struct disk_copy_opts how = {
		.nr_threads = nr_threads(o->threads),
		.progress = bar_show,
		.arg = &bar,
	};
	uint64_t differs = UINT64_MAX;
	int r = disk_open_image(call->args[0], &o->image, 0, NULL, &a, &err);

	second.format = o->second_format;
	if (r == 0)
		r = disk_open_image(call->args[1], &second, 0, NULL, &b, &err);
	if (r < 0)
		return disk_complain(call, &err, 2);
	bar_begin(&bar, o->progress);
	r = disk_compare(a, b, &how, &differs, &err);
	progress_end(&bar.progress);
	if (r < 0)
		return disk_complain(call, &err, 2);
	if (differs != UINT64_MAX) {
		printf("the images differ at byte %" PRIu64 "\n", differs);
		return 1;
	}
	printf("the images are the same\n");
	return 0;
}
