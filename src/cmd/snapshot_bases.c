/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots that are based on others. A base is in the folder of what is based on it, so one look at the folder tells
 * whether it may go. The look is taken before a save begins and again before it gets its name; what another command does in
 * between two looks and the end is found out by whoever opens the snapshot, because a base is known by its contents.
 */
#include "cmd/snapshot_bases.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void folder_of(const char *path, struct strbuf *ret)
{
	strbuf_addf(ret, "%.*s.", (int)(name_of(path) - path), path);
}

static int same_folder(const char *a, const char *b, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf p = { 0 }, q = { 0 };
	struct stat s, t;

	folder_of(a, &p);
	folder_of(b, &q);
	if (stat(strbuf_cstr(&p), &s) < 0 || stat(strbuf_cstr(&q), &t) < 0)
		return err_set_errno(err, "the folder of '%s'", b);
	if (s.st_dev != t.st_dev || s.st_ino != t.st_ino)
		return err_set(err, -EXDEV, "a snapshot and its base '%s' have to be in one folder",
			       a);
	return 0;
}

int saved_base_open(struct saved_base *b, const char *path, const char *file, struct err *err)
{
	unsigned int nr = 1;
	int r = snapshot_open(path, &b->snap, err);

	if (r == 0)
		r = snapshot_open_bases(&b->snap, err);
	if (r == 0)
		r = same_folder(path, file, err);
	if (r < 0)
		return r;
	b->name = name_of(path);
	for (const struct snapshot *s = &b->snap; s->base; s = s->base)
		nr++;
	if (nr == SNAPSHOT_CHAIN)
		return err_set(err, -ELOOP,
			       "'%s' is the last of %d snapshots, each based on the one before, which are as many as "
			       "can be: save without --base",
			       path, SNAPSHOT_CHAIN);
	return 0;
}

int saved_base_stays(const struct saved_base *b, struct err *err)
{
	struct snapshot now = { .fd = -EBADF };
	int r;

	if (b->snap.fd < 0)
		return 0;
	r = snapshot_open(b->snap.path, &now, err);
	if (r == 0 && !snapshot_ref_same(&now.self, &b->snap.self))
		r = err_set(err, -ESTALE, "the base '%s' was replaced meanwhile", b->snap.path);
	snapshot_close(&now);
	return r;
}

/* What a save that was killed has left without its name, which belongs to nothing. */
static bool is_part(const char *name)
{
	size_t n = strlen(name);

	return name[0] == '.' && n > 5 && !strcmp(name + n - 5, ".part");
}

int snapshot_unused(const struct snapshot *s, struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf folder = { 0 };
	struct dirent *e;
	int r = 0;
	DIR *dir;

	folder_of(s->path, &folder);
	dir = opendir(strbuf_cstr(&folder));
	if (!dir)
		return err_set_errno(err, "the folder of '%s'", s->path);
	while (r == 0 && (e = readdir(dir))) {
		_cleanup_(strbuf_done) struct strbuf path = { 0 };
		struct snapshot other = { .fd = -EBADF };
		struct stat st;

		/* Not what waits for somebody when it is opened. */
		if (is_part(e->d_name) || fstatat(dirfd(dir), e->d_name, &st, 0) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		strbuf_addf(&path, "%s/%s", strbuf_cstr(&folder), e->d_name);
		if (snapshot_open(strbuf_cstr(&path), &other, NULL) == 0 && other.has_base &&
		    snapshot_ref_same(&other.base_ref, &s->self))
			r = err_set(err, -EBUSY,
				    "'%s' is the base of '%.200s', which would be lost: remove that first, or take "
				    "another name",
				    s->path, e->d_name);
		snapshot_close(&other);
	}
	closedir(dir);
	return r;
}
