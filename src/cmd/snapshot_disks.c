/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks beside a snapshot. The order of steps is what keeps a save whole that is killed anywhere: the machine fills images without
 * names; these get names that nobody has yet; then the snapshot gets its name, and with it they belong to something; then
 * those of the snapshot that was there before go. Images that belong to nothing are removed by the next save.
 */
#include "cmd/snapshot_disks.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "sys/fd.h"

enum { POLL_MS = 20, TAG_DIGITS = 8 };

/* --- saving -------------------------------------------------------------------------------------- */

static int open_one(struct saved_disks *d, const struct json *disk, const char *path, uint32_t tag,
		    struct err *err)
{
	_cleanup_(strbuf_done) struct strbuf name = { 0 };
	struct disk_create_opts o = { 0 };
	enum disk_bus bus = DISK_BUS_VIRTIO;
	char self[32];
	uint64_t n;
	int r;

	if (!disk_bus_parse(control_word(disk, "bus"), &bus) ||
	    !json_u64(json_get(disk, "disk"), &n) || !json_u64(json_get(disk, "size"), &o.size))
		return err_set(err, -EIO, "the machine does not say what its disks are");
	if (d->nr == ARRAY_SIZE(d->disk))
		return err_set(err, -E2BIG, "more than %zu disks", ARRAY_SIZE(d->disk));
	strbuf_addf(&name, "%s.%0*" PRIx32 ".%s%" PRIu64 ".qcow2", path, TAG_DIGITS, tag,
		    bus == DISK_BUS_VIRTIO ? "disk" : disk_bus_name(bus), n);
	r = snapshot_file_open(&d->disk[d->nr].file, strbuf_cstr(&name), err);
	d->disk[d->nr].n = n;
	d->disk[d->nr].bus = bus;
	d->nr++;
	if (r < 0)
		return r;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", d->disk[d->nr - 1].file.fd);
	return disk_create(self, "qcow2", &o, err);
}

int saved_disks_open(struct saved_disks *d, const struct json *disks, const char *path,
		     struct err *err)
{
	const struct json *disk;
	uint32_t tag;
	int r = 0;

	d->nr = 0;
	if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
		abort(); /* so few bytes are there as soon as the host has started */
	for (size_t i = 0; r == 0 && (disk = json_at(disks, i)); i++) {
		bool readonly = false;

		ignore_result(json_bool(json_get(disk, "readonly"), &readonly)); /* or it is not */
		if (!readonly)
			r = open_one(d, disk, path, tag, err);
	}
	return r;
}

void saved_disks_ask(const struct saved_disks *d, struct strbuf *request, int *fds)
{
	strbuf_adds(request, ",\"disks\":[");
	for (unsigned int k = 0; k < d->nr; k++) {
		strbuf_adds(request, k ? "," : "");
		strbuf_add_json(request, str_of(d->disk[k].file.name));
		fds[k] = d->disk[k].file.fd;
	}
	strbuf_addc(request, ']');
}

/* How it stands with one of them. Returns 1 when it is done, 0 when it is not. */
static int look(const struct json *disks, enum disk_bus bus, uint64_t n, struct err *err)
{
	const struct json *disk, *job;
	const char *state;

	for (size_t i = 0; (disk = json_at(disks, i)); i++)
		if (control_number(disk, "disk") == n &&
		    !strcmp(control_word(disk, "bus"), disk_bus_name(bus)))
			break;
	job = json_get(disk, "job");
	state = control_word(job, "state");
	if (!strcmp(state, "done"))
		return 1;
	if (!strcmp(state, "running"))
		return 0;
	if (!strcmp(state, "failed"))
		return err_set(err, -EIO, "disk %" PRIu64 ": %s", n, control_word(job, "error"));
	return err_set(err, -ECANCELED, "disk %" PRIu64 " is not being copied any more", n);
}

int saved_disks_wait(const struct saved_disks *d, struct control_client *c, struct err *err)
{
	const struct timespec nap = { .tv_nsec = POLL_MS * 1000000 };

	for (unsigned int k = 0; k < d->nr;) {
		_cleanup_(json_freep) struct json *answer = NULL;
		int r = control_ask(c, "{\"do\":\"disks\"}", &answer, err);

		if (r == 0)
			r = look(json_get(answer, "ok"), d->disk[k].bus, d->disk[k].n, err);
		if (r < 0)
			return r;
		if (r)
			k++;
		else
			nanosleep(&nap, NULL);
	}
	return 0;
}

int saved_disks_name(struct saved_disks *d, struct err *err)
{
	int r = 0;

	for (unsigned int k = 0; r == 0 && k < d->nr; k++)
		r = snapshot_file_name(&d->disk[k].file, err);
	return r;
}

void saved_disks_done(struct saved_disks *d)
{
	while (d->nr)
		snapshot_file_done(&d->disk[--d->nr].file);
}

/* --- what is there ------------------------------------------------------------------------------- */

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Is it what a save to @name makes? NAME.XXXXXXXX.diskN.qcow2, the same with sata or ide, or the hidden one that comes before a name. */
static bool is_made(const char *file, const char *name)
{
	size_t n = strlen(name), hidden = file[0] == '.' && name[0] != '.';
	const char *p = file + hidden;

	if (strncmp(p, name, n) != 0)
		return false;
	p += n;
	if (hidden && !strcmp(p, ".part"))
		return true;
	if (p[0] != '.' || strspn(p + 1, "0123456789abcdef") != TAG_DIGITS)
		return false;
	p += 1 + TAG_DIGITS;
	if (strncmp(p, ".disk", 5) != 0 && strncmp(p, ".sata", 5) != 0 &&
	    strncmp(p, ".ide", 4) != 0)
		return false;
	p += 1 + strcspn(p + 1, "0123456789");
	p += strspn(p, "0123456789");
	return !strcmp(p, hidden ? ".qcow2.part" : ".qcow2");
}

/* Names, each with its end. */
static int add_name(void *arg, const struct snapshot_disk *d, struct err *err)
{
	strbuf_add(arg, d->file, strlen(d->file) + 1);
	return 0;
}

static bool has_name(const struct strbuf *names, const char *name)
{
	for (size_t at = 0; at < names->n; at += strlen(names->p + at) + 1)
		if (!strcmp(names->p + at, name))
			return true;
	return false;
}

/* What the snapshots of a folder name. Returns negative when one may name anything. */
static int all_names(DIR *dir, const char *folder, struct strbuf *ret)
{
	struct dirent *e;
	int r = 0;

	while (r == 0 && (e = readdir(dir))) {
		_cleanup_(strbuf_done) struct strbuf path = { 0 };
		struct snapshot s = { .fd = -EBADF };
		struct stat st;

		/* Not what waits for somebody when it is opened. */
		if (fstatat(dirfd(dir), e->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
			continue;
		strbuf_addf(&path, "%s/%s", folder, e->d_name);
		r = snapshot_open(strbuf_cstr(&path), &s, NULL);
		if (r == 0)
			r = snapshot_each_disk(&s, add_name, ret, NULL);
		else if (r == -EILSEQ || r == -ENOENT)
			r = 0; /* it is none */
		snapshot_close(&s);
	}
	return r;
}

void snapshot_tidy(const char *path, struct snapshot *gone)
{
	_cleanup_(strbuf_done) struct strbuf folder = { 0 }, named = { 0 }, old = { 0 };
	struct dirent *e;
	DIR *dir;
	int r;

	strbuf_addf(&folder, "%.*s.", (int)(name_of(path) - path), path);
	dir = opendir(strbuf_cstr(&folder));
	if (!dir)
		return;
	r = all_names(dir, strbuf_cstr(&folder), &named);
	if (r == 0 && gone->fd >= 0)
		r = snapshot_each_disk(gone, add_name, &old, NULL);
	rewinddir(dir);
	while (r == 0 && (e = readdir(dir)))
		if ((is_made(e->d_name, name_of(path)) || has_name(&old, e->d_name)) &&
		    !has_name(&named, e->d_name))
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
}
