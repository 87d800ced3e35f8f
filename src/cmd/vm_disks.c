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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/disk.h"
#include "vm/virtio/blk.h"

enum { QUEUES_MAX = 16, WORKERS = 4 };

#define RECONNECT_NS	 (10 * NS_PER_S)
#define RECONNECT_MAX_NS (86400 * NS_PER_S)

struct spec {
	char path[2048], format[16], serial[VIRTIO_BLK_SERIAL + 1];
	unsigned int flags, queues;
	bool packed;
	enum vm_disk_bus bus;
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
	if (str_eq(v, STR("sata")))
		s->bus = VM_DISK_SATA;
	else if (str_eq(v, STR("virtio")))
		s->bus = VM_DISK_VIRTIO;
	else
		return err_set(err, -EINVAL, "if=%.*s: virtio or sata are possible", STR_ARG(v));
	return 0;
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
	if (r == 0)
		s->is_virtio_only = true;
	if (r != -ENOENT)
		return r;
	return err_set(err, -EINVAL,
		       "'%.*s' is none of if=BUS, format=F, readonly, no-backing, cache=C, discard=D, "
		       "serial=S, queues=N, packed, full=F, reconnect=T, iops=N, bps=N, burst=T",
		       (int)MIN(key.n, (size_t)60), key.p);
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
	if (r == 0 && s->bus == VM_DISK_SATA && s->is_virtio_only)
		r = err_set(err, -EINVAL,
			    "queues, packed and limits are for if=virtio, not for if=sata");
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

static int open_one(struct vm_disks *v, const char *text, unsigned int nr_cpus, struct err *err)
{
	struct disk_open_opts opts = { 0 };
	struct machine_disk *d;
	struct spec s;
	int r;

	r = parse(&s, text, nr_cpus, err);
	if (r < 0)
		return r;
	if (v->nr == VM_DISKS_MAX)
		return err_set(err, -EINVAL, "more than %d disks", VM_DISKS_MAX);
	d = &v->disk[v->nr];
	opts.flags = s.flags;
	opts.format = s.format;
	opts.reconnect_ns = s.reconnect_ns;
	r = disk_open(s.path, &opts, &d->disk, err);
	if (r < 0)
		return r;
	v->serial[v->nr] = mem_strdup(s.serial);
	d->serial = v->serial[v->nr];
	d->nr_queues = s.queues;
	d->packed = s.packed;
	v->bus[v->nr] = s.bus;
	v->nr++;
	if (s.bus == VM_DISK_SATA)
		return 0;
	r = disk_async_start(d->disk, WORKERS, err);
	if (r < 0)
		return r;
	v->path[v->nr - 1] = mem_strdup(s.path);
	disk_on_full(d->disk, on_full, v->path[v->nr - 1]);
	return disk_set_limits(d->disk, &s.limits, err);
}

int vm_disks_open(struct vm_disks *v, const struct opt_list *specs, unsigned int nr_cpus,
		  struct err *err)
{
	for (size_t i = 0; i < specs->n; i++) {
		int r = open_one(v, specs->v[i], nr_cpus, err);

		if (r < 0)
			return err_wrap(err, r, "--disk %s", specs->v[i]);
	}
	return 0;
}

int vm_disks_close(struct vm_disks *v)
{
	int worst = 0;

	while (v->nr) {
		struct err err = ERR_INIT;
		int r;

		v->nr--;
		disk_drain(v->disk[v->nr].disk);
		r = disk_close(v->disk[v->nr].disk, &err);
		if (r < 0) {
			fprintf(stderr, "atoll-vm: close a disk: %s\n", err_text(&err));
			worst = r;
		}
		free(v->serial[v->nr]);
		free(v->path[v->nr]);
	}
	return worst;
}
