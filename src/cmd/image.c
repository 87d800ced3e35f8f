/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `atoll image build`: what stands on the command line, made ready for src/image. */
#include "cmd/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/commands.h"
#include "cmd/progress.h"
#include "disk/disk.h"
#include "image/build.h"

/* "2026-01-31" or seconds since 1970. */
static int parse_date(const char *text, uint64_t *ret, struct err *err)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%d", &tm);
	time_t t;

	if (str_parse_u64(str_of(text), 1, UINT32_MAX, ret, NULL) == 0)
		return 0;
	t = end && !*end ? timegm(&tm) : -1;
	if (t < 0)
		return err_set(err, -EINVAL,
			       "date '%.40s': write YYYY-MM-DD, or seconds since 1970", text);
	*ret = (uint64_t)t;
	return 0;
}

static int find_date(const struct image_build_opts *o, uint64_t *ret, struct err *err)
{
	const char *text = o->date ? o->date : getenv("SOURCE_DATE_EPOCH");

	if (text)
		return parse_date(text, ret, err);
	*ret = (uint64_t)time(NULL);
	return 0;
}

/* What the name ends in. */
static int find_format(const struct image_build_opts *o, const char *path, const char **ret,
		       struct err *err)
{
	*ret = o->format ? o->format : disk_format_of_name(path);
	if (*ret)
		return 0;
	return err_set(err, -EINVAL,
		       "'%.80s' does not say which format the image shall have: let the name end in "
		       ".qcow2, or give --format",
		       path);
}

static void show(void *arg, const char *stage, unsigned int permille)
{
	progress_due(arg); /* stages are few */
	progress_show(arg, permille, 1000, stage);
}

int cmd_image_build_exec(const struct cmd_call *call)
{
	const struct image_build_opts *o = call->opts;
	struct progress progress;
	struct image_build b = {
		.path = call->args[0],
		.size_bytes = o->size_bytes,
		.release = o->release,
		.mirror = o->mirror,
		.packages = o->package.v,
		.nr_packages = o->package.n,
		.progress = show,
		.arg = &progress,
	};
	struct err err = ERR_INIT;
	int r = find_format(o, b.path, &b.format, &err);

	if (r == 0)
		r = find_date(o, &b.epoch_s, &err);
	if (r == 0) {
		progress_begin(&progress, o->progress);
		r = image_build(&b, &err);
		progress_end(&progress);
	}
	if (r < 0)
		fprintf(stderr, "atoll %s: %s\n", call->cmd->name, err_text(&err));
	return r < 0;
}
