/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files for a machine's disks, opened with the rights of who asks: the machine's process has none. It tells which
 * images it has (paths as it was given them, and the folder that they begin in), here they are found and opened, and
 * the machine checks that they are the same files.
 */
#include "cmd/live_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/backup_target.h"
#include "disk/disk.h"
#include "sys/fd.h"

void live_files_close(struct live_files *f)
{
	while (f->nr)
		fd_closep(&f->fd[--f->nr]);
}

static void add_member(struct strbuf *request, const char *key, const char *value)
{
	strbuf_addf(request, ",\"%s\":", key);
	strbuf_add_json(request, str_of(value));
}

static int add_file(struct live_files *f, const char *path, int flags, struct err *err)
{
	int fd = -EBADF, r = fd_open(path, flags | O_NONBLOCK | O_NOCTTY, &fd, err);

	if (r == 0)
		f->fd[f->nr++] = fd;
	return r;
}

/* --- the chain as the machine tells it ----------------------------------------------------------- */

static const char *told(const struct json *disk, size_t depth, const char *key)
{
	return json_str(json_get(json_at(json_get(disk, "chain"), depth), key));
}

/* The path of an image from here, appended. Returns whether it is a file. */
static bool path_of(const struct json *disk, size_t depth, struct strbuf *out)
{
	const char *file = told(disk, depth, "file"), *folder = json_str(json_get(disk, "folder"));

	if (!file || disk_is_served(file))
		return false;
	if (file[0] != '/')
		strbuf_addf(out, "%s/", folder ? folder : "");
	strbuf_adds(out, file);
	return true;
}

/* The depth of the image that a path of the user's means. */
static int find(const struct json *disk, const char *path, size_t *ret, struct err *err)
{
	struct stat st, other;
	int r = stat(path, &st);

	for (size_t depth = 0; told(disk, depth, "file"); depth++) {
		_cleanup_(strbuf_done) struct strbuf at = { 0 };

		*ret = depth;
		if (!strcmp(path, told(disk, depth, "file")))
			return 0;
		if (r == 0 && path_of(disk, depth, &at) && stat(strbuf_cstr(&at), &other) == 0 &&
		    st.st_dev == other.st_dev && st.st_ino == other.st_ino)
			return 0;
	}
	return r < 0 ? err_set_errno(err, "'%s'", path)
		     : err_set(err, -ENOENT, "'%s' is no image of this disk", path);
}

/* --- a snapshot ----------------------------------------------------------------------------------- */

static int make_overlay(const struct json *disk, const char *path, const char *below,
			struct live_files *files, struct strbuf *request, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	struct disk_create_opts c = { .backing_format = told(disk, 0, "format") };
	int r = disk_name_below(path, below, &name, err);

	if (r == 0 && !json_u64(json_get(disk, "size"), &c.size))
		r = err_set(err, -EIO, "the machine does not say how large the disk is");
	if (r < 0)
		return r;
	c.backing = strbuf_cstr(&name);
	r = disk_create(path, "qcow2", &c, err);
	if (r == 0)
		r = add_file(files, path, O_RDWR, err);
	if (r == 0)
		r = add_file(files, below, O_PATH, err);
	if (r == 0)
		r = new_file_sync(files->fd[0], path, err);
	add_member(request, "name", strbuf_cstr(&name));
	return r;
}

int live_open_overlay(const struct json *disk, const char *path, struct live_files *files,
		      struct strbuf *request, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf below = { 0 };
	_cleanup_(mem_freep) char *real = NULL;
	int r = 0;

	/* Otherwise the machine has something to say. */
	if (path_of(disk, 0, &below)) {
		r = new_file_reserve(path, "a snapshot", err);
		if (r < 0)
			return r;
		r = make_overlay(disk, path, strbuf_cstr(&below), files, request, err);
		if (r < 0)
			unlink(path);
		real = realpath(path, NULL);
	}
	add_member(request, "file", real ? real : path);
	return r;
}

/* --- a commit, a stream --------------------------------------------------------------------------- */

static int find_named(const struct json *disk, const char *path, const char *key, size_t *depth,
		      struct strbuf *request, struct err *err)
{
	int r = find(disk, path, depth, err);

	if (r == 0)
		add_member(request, key, told(disk, *depth, "file"));
	return r;
}

int live_open_images(const struct json *disk, bool is_commit, const char *top, const char *base,
		     struct live_files *files, struct strbuf *request, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf lower = { 0 }, upper = { 0 }, name = { 0 };
	size_t from = 0, to, above;
	int r = 0;

	if (!disk)
		return 0; /* the machine has something to say */
	if (top)
		r = find_named(disk, top, "top", &from, request, err);
	to = from + 1;
	if (r == 0 && base)
		r = find_named(disk, base, "base", &to, request, err);
	if (r < 0 || (!base && !is_commit))
		return r;
	/* Whose header will name the base. */
	above = from ? from - 1 : 0;
	if (!path_of(disk, to, &lower) || !path_of(disk, above, &upper))
		return 0;
	r = disk_name_below(strbuf_cstr(&upper), strbuf_cstr(&lower), &name, err);
	if (r == 0)
		r = add_file(files, strbuf_cstr(&lower), is_commit ? O_RDWR : O_PATH, err);
	/* The top of all is open for writing already. */
	if (r == 0 && above)
		r = add_file(files, strbuf_cstr(&upper), O_RDWR, err);
	add_member(request, "name", strbuf_cstr(&name));
	return r;
}

/* --- a backup ------------------------------------------------------------------------------------- */

int live_open_target(const struct json *disk, const struct backup_opts *o, const char *path,
		     struct live_files *files, bool *ret_made, struct strbuf *request,
		     struct err *err)
{
	_cleanup_(mem_freep) char *real = NULL;
	uint64_t size = 0;
	int r;

	*ret_made = false;
	if (!json_u64(json_get(disk, "size"), &size))
		return 0; /* the machine has something to say */
	r = backup_target_make(o, path, size, ret_made, err);
	if (r == 0)
		r = add_file(files, path, O_RDWR, err);
	if (r < 0)
		return r;
	real = realpath(path, NULL);
	add_member(request, "file", real ? real : path);
	add_member(request, "format", o->format);
	if (o->bitmap)
		add_member(request, "bitmap", o->bitmap);
	strbuf_addf(request, ",\"increment\":%s", o->update || o->onto ? "true" : "false");
	return 0;
}
