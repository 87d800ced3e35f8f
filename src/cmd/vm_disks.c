/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --disk: one disk of a machine. The file's name comes first, and what follows are words and KEY=VALUE, so that a
 * name with an equals sign is no riddle; one with a comma must be reached by another path.
 *
 * The format is what the user says or what the name ends in. It is not looked up in the file: a guest that owns a raw
 * disk could write another format's header into it, with a backing file of its choice.
 */
#include "cmd/vm_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/disk.h"
#include "sys/fd.h"
#include "vm/virtio/blk.h"

enum { QUEUES_MAX = 16, WORKERS = 4 };

#define RECONNECT_NS	 (10 * NS_PER_S)
#define RECONNECT_MAX_NS (86400 * NS_PER_S)

struct spec {
	char path[2048], format[16], serial[VIRTIO_BLK_SERIAL + 1];
	unsigned int flags, queues;
	bool packed, is_cd;
	enum disk_bus bus;
	bool is_virtio_only; /* something was asked for that only virtio disks have */
	struct disk_limits limits;
	uint64_t reconnect_ns; /* of a disk that a server has */
};

static int copy(char *to, size_t size, struct str from, const char *what, struct err *err)
{
	if (from.n >= size)
		return err_set(err, -ENAMETOOLONG, "%s '%.*s' is longer than %zu bytes", what,
			       (int)MIN(from.n, (size_t)60), from.p, size - 1);
	memcpy(to, from.p, from.n);
	to[from.n] = 0;
	return 0;
}

static int parse_cache(struct spec *s, struct str v, struct err *err)
{
	if (str_eq(v, STR("none")))
		s->flags |= DISK_DIRECT;
	else if (str_eq(v, STR("unsafe")))
		s->flags |= DISK_NO_FLUSH;
	else if (!str_eq(v, STR("writeback")))
		return err_set(err, -EINVAL, "cache=%.*s: writeback, none or unsafe are possible",
			       STR_ARG(v));
	return 0;
}

static int parse_discard(struct spec *s, struct str v, struct err *err)
{
	if (str_eq(v, STR("ignore")))
		s->flags &= ~(unsigned int)DISK_UNMAP;
	else if (!str_eq(v, STR("unmap")))
		return err_set(err, -EINVAL, "discard=%.*s: unmap or ignore are possible",
			       STR_ARG(v));
	return 0;
}

static int parse_bus(struct spec *s, struct str v, struct err *err)
{
	for (unsigned int bus = 0; bus < DISK_NR_BUSES; bus++) {
		if (!str_eq(v, str_of(disk_bus_name((enum disk_bus)bus))))
			continue;
		s->bus = (enum disk_bus)bus;
		return 0;
	}
	return err_set(err, -EINVAL, "if=%.*s: virtio, sata or ide are possible", STR_ARG(v));
}

static int parse_word(struct spec *s, struct str key, struct str value, bool has_value,
		      struct err *err)
{
	uint64_t n;
	int r;

	if (!has_value && str_eq(key, STR("readonly"))) {
		s->flags &= ~(unsigned int)(DISK_RDWR | DISK_UNMAP);
		return 0;
	}
	if (!has_value && str_eq(key, STR("cdrom"))) {
		s->is_cd = true;
		return 0;
	}
	if (!has_value && str_eq(key, STR("packed"))) {
		s->packed = s->is_virtio_only = true;
		return 0;
	}
	if (has_value && str_eq(key, STR("if")))
		return parse_bus(s, value, err);
	if (has_value && str_eq(key, STR("format")))
		return copy(s->format, sizeof(s->format), value, "format", err);
	if (has_value && str_eq(key, STR("reconnect")))
		return str_parse_ns(value, 0, RECONNECT_MAX_NS, &s->reconnect_ns, err);
	if (has_value && str_eq(key, STR("serial")))
		return copy(s->serial, sizeof(s->serial), value, "serial", err);
	if (has_value && str_eq(key, STR("cache")))
		return parse_cache(s, value, err);
	if (has_value && str_eq(key, STR("discard")))
		return parse_discard(s, value, err);
	if (has_value && str_eq(key, STR("full"))) {
		s->flags &= ~(unsigned int)DISK_WAIT_SPACE;
		if (str_eq(value, STR("wait")))
			s->flags |= DISK_WAIT_SPACE;
		else if (!str_eq(value, STR("report")))
			return err_set(err, -EINVAL, "full=%.*s: wait or report are possible",
				       STR_ARG(value));
		return 0;
	}
	if (has_value && str_eq(key, STR("queues"))) {
		r = str_parse_u64(value, 1, QUEUES_MAX, &n, err);
		s->queues = (unsigned int)n;
		s->is_virtio_only = true;
		return r < 0 ? err_wrap(err, r, "queues") : 0;
	}
	if (!has_value && str_eq(key, STR("no-backing"))) {
		s->flags |= DISK_NO_BACKING;
		return 0;
	}
	r = has_value ? disk_limits_parse(&s->limits, key, value, err) : -ENOENT;
	if (r != -ENOENT)
		return r;
	return err_set(err, -EINVAL,
		       "'%.*s' is none of if=BUS, cdrom, format=F, readonly, no-backing, cache=C, discard=D, "
		       "serial=S, queues=N, packed, full=F, reconnect=T, iops=N, bps=N, burst=T",
		       (int)MIN(key.n, (size_t)60), key.p);
}

/* The medium of a CD-ROM drive: see vm_drives.c. */
static int check_cd(struct spec *s, struct err *err)
{
	if (s->bus == DISK_BUS_VIRTIO)
		return err_set(err, -EINVAL, "cdrom is for if=sata and if=ide");
	if (s->format[0] && strcmp(s->format, "raw") != 0)
		return err_set(err, -EINVAL, "a CD-ROM drive's medium is raw, not %s", s->format);
	s->flags &= ~(unsigned int)(DISK_RDWR | DISK_UNMAP);
	return copy(s->format, sizeof(s->format), STR("raw"), "format", err);
}

/* What the end of the name says. */
static int guess_format(struct spec *s, struct err *err)
{
	const char *format = disk_format_of_name(s->path);
	struct stat st;

	if (format)
		return copy(s->format, sizeof(s->format), str_of(format), "format", err);
	if (stat(s->path, &st) == 0 && S_ISBLK(st.st_mode))
		return copy(s->format, sizeof(s->format), STR("raw"), "format", err);
	return err_set(err, -EINVAL,
		       "the name does not tell the format of the image: add ',format=raw' or what "
		       "it is");
}

static int parse(struct spec *s, const char *text, unsigned int nr_cpus, struct err *err)
{
	struct str rest = str_of(text), part;
	int r;

	*s = (struct spec){ .flags = DISK_RDWR | DISK_UNMAP | DISK_WAIT_SPACE,
			    .queues = MIN(nr_cpus, 4u),
			    .reconnect_ns = RECONNECT_NS };
	str_cut(&rest, ',', &part);
	r = copy(s->path, sizeof(s->path), part, "path", err);
	while (r == 0 && str_cut(&rest, ',', &part)) {
		struct str key, value = part;
		bool has_value = memchr(part.p, '=', part.n) != NULL;

		str_cut(&value, '=', &key);
		r = parse_word(s, key, value, has_value, err);
	}
	if (r == 0 && !s->path[0])
		r = err_set(err, -EINVAL, "no file is named");
	if (r == 0 && s->bus != DISK_BUS_VIRTIO && s->is_virtio_only)
		r = err_set(err, -EINVAL, "queues and packed are for if=virtio, not for if=%s",
			    disk_bus_name(s->bus));
	if (r == 0 && s->is_cd)
		r = check_cd(s, err);
	if (r == 0 && !s->format[0])
		r = guess_format(s, err);
	return r;
}

static void on_full(void *arg, bool is_full)
{
	if (is_full)
		log_warn("disk.full", kv_str("disk", arg),
			 kv_str("what", "writes wait for space on the host"));
	else
		log_info("disk.space", kv_str("disk", arg), kv_str("what", "writes go on"));
}

static void close_one(struct vm_disk *d)
{
	struct err err = ERR_INIT;
	int r = 0;

	if (d->disk.disk) {
		disk_drain(d->disk.disk);
		r = disk_close(take_ptr(&d->disk.disk), &err);
	}
	if (r < 0) {
		fprintf(stderr, "atoll-vm: close a disk: %s\n", err_text(&err));
		atomic_store(&d->all->worst, r);
	}
}

static void disk_free(struct vm_disk *d)
{
	close_one(d);
	free(d->serial);
	free(d->path);
	free(d);
}

static void released(void *owner)
{
	struct vm_disk *d = owner;

	if (d->is_ours)
		close_one(d);
	else
		disk_free(d);
}

static int start(struct vm_disk *d, const struct spec *s, struct err *err)
{
	int r = disk_async_start(d->disk.disk, WORKERS, err);

	if (r < 0)
		return r;
	disk_on_full(d->disk.disk, on_full, d->path);
	return disk_set_limits(d->disk.disk, &s->limits, err);
}

static struct disk_open_opts open_opts(const struct spec *s, struct disk_files *files)
{
	return (struct disk_open_opts){
		.flags = s->flags,
		.format = s->format,
		.reconnect_ns = s->reconnect_ns,
		.files = files,
	};
}

/* @fd: of the image, taken over, with what else it consists of; negative: opened by its name */
static int open_one(struct vm_disks *v, const char *text, int *fd, struct disk_files *files,
		    struct vm_disk **ret, struct err *err)
{
	struct disk_open_opts opts;
	struct vm_disk *d;
	struct disk *disk;
	struct spec s;
	int r;

	r = parse(&s, text, v->nr_cpus, err);
	if (r < 0)
		return r;
	opts = open_opts(&s, files);
	r = *fd >= 0 ? disk_open_fd(fd_take(fd), s.path, &opts, &disk, err)
		     : disk_open(s.path, &opts, &disk, err);
	if (r < 0)
		return r;
	d = mem_new(sizeof(*d));
	d->all = v;
	d->bus = s.bus;
	d->is_cd = s.is_cd;
	d->serial = mem_strdup(s.serial);
	d->path = mem_strdup(s.path);
	d->disk = (struct machine_disk){ .disk = disk,
					 .serial = d->serial,
					 .nr_queues = s.queues,
					 .packed = s.packed,
					 .release = { .fn = released, .owner = d } };
	r = start(d, &s, err);
	if (r < 0) {
		disk_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

int vm_disks_open(struct vm_disks *v, const struct opt_list *specs, unsigned int nr_cpus,
		  struct err *err)
{
	v->nr_cpus = nr_cpus;
	for (size_t i = 0; i < specs->n; i++) {
		int none = -EBADF;
		int r = v->nr < VM_DISKS_MAX
				? open_one(v, specs->v[i], &none, NULL, &v->disk[v->nr], err)
				: err_set(err, -EINVAL, "more than %d disks", VM_DISKS_MAX);

		if (r < 0)
			return err_wrap(err, r, "--disk %s", specs->v[i]);
		v->disk[v->nr++]->is_ours = true;
	}
	return 0;
}

int vm_disks_attach(void *arg, const char *spec, int *fd, struct disk_files *files,
		    struct machine_disk *ret, struct err *err)
{
	struct vm_disk *d;
	int r;

	if (*fd < 0)
		return err_set(err, -EOPNOTSUPP,
			       "--disk %s: a running machine reaches no servers: give it this disk "
			       "at its start",
			       spec);
	r = open_one(arg, spec, fd, files, &d, err);
	if (r < 0)
		return err_wrap(err, r, "--disk %s", spec);
	if (d->bus != DISK_BUS_VIRTIO) {
		disk_free(d);
		return err_set(err, -EINVAL,
			       "--disk %s: only virtio disks can be attached to a running machine",
			       spec);
	}
	*ret = d->disk;
	return 0;
}

int vm_disks_hand_over(const char *text, struct strbuf *out, int *ret_fd, struct disk_files *files,
		       struct err *err)
{
	_cleanup_(mem_freep) char *whole = NULL;
	struct disk_open_opts opts;
	struct str rest = str_of(text), file;
	struct spec s;
	int r = parse(&s, text, 1, err);

	*ret_fd = -EBADF;
	if (r == 0 && !disk_is_served(s.path)) {
		r = fd_open(s.path,
			    (s.flags & DISK_RDWR ? O_RDWR : O_RDONLY) |
				    (s.flags & DISK_DIRECT ? O_DIRECT : 0) | O_NONBLOCK | O_NOCTTY,
			    ret_fd, err);
		whole = r == 0 ? realpath(s.path, NULL) : NULL;
		if (r == 0 && !whole)
			r = err_set_errno(err, "'%s'", s.path);
		opts = open_opts(&s, NULL);
		if (r == 0)
			r = disk_files_note(*ret_fd, whole, &opts, files, err);
	}
	if (r < 0)
		return err_wrap(err, r, "--disk %s", text);
	str_cut(&rest, ',', &file);
	strbuf_addf(out, "%s,format=%s", whole ? whole : s.path, s.format);
	if (rest.n)
		strbuf_addf(out, ",%.*s", STR_ARG(rest));
	return 0;
}

int vm_disks_close(struct vm_disks *v)
{
	while (v->nr)
		disk_free(v->disk[--v->nr]);
	return atomic_load(&v->worst);
}
