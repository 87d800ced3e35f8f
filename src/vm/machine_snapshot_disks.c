/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks of a machine that is being saved. Each that is written to gets a backup job (disk/job_backup.c) in the moment when the
 * machine stands still: the job copies what was there then, while the guest goes on and changes it. So memory and disks are
 * of one moment, and the machine's own images stay what they are.
 *
 * Rejected: a snapshot below (an overlay for the machine that goes on), after which the file that the user knows has old
 * contents; a snapshot inside the image, which machines that start from it could not read while this one writes.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "vm/machine_snapshot_priv.h"
#include "vm/virtio/blk.h"

static enum disk_bus bus_of(unsigned int n)
{
	return (enum disk_bus)(n / MACHINE_VIRTIO_MAX);
}

/* The disk of that number, when it is written to; NULL. */
static struct disk *written(const struct machine *m, unsigned int n)
{
	struct disk *d = machine_disk_find(m, bus_of(n), n % MACHINE_VIRTIO_MAX);

	return d && (disk_flags(d) & DISK_RDWR) ? d : NULL;
}

int snapshot_disks_full(const struct machine *m, struct err *err)
{
	for (unsigned int n = 0; n < SNAPSHOT_DISKS; n++) {
		struct disk *d = written(m, n);

		if (d && disk_nr_stalled(d))
			return err_set(err, -EBUSY,
				       "writes to %sdisk %u wait for space on the host",
				       disk_bus_label(bus_of(n)), n % MACHINE_VIRTIO_MAX);
	}
	return 0;
}

static int open_target(int fd, const char *name, struct disk **ret, struct err *err)
{
	const struct disk_open_opts o = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_TOP_ONLY,
		.format = "qcow2",
	};
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? err_set_errno(err, "'%s'", name) : disk_open_fd(copy, name, &o, ret, err);
}

int snapshot_disks_open(struct snapshot_disks *s, struct machine *m, const struct machine_save *to,
			struct err *err)
{
	unsigned int nr = 0;
	int r = snapshot_disks_full(m, err);

	if (r < 0)
		return r;
	for (unsigned int n = 0; n < SNAPSHOT_DISKS; n++)
		nr += written(m, n) != NULL;
	if (nr != to->nr_disks)
		return err_set(err, -EINVAL,
			       "the machine has %u disks that are written to, and files for %u came "
			       "with the request",
			       nr, to->nr_disks);
	for (unsigned int n = 0; n < SNAPSHOT_DISKS; n++) {
		if (!written(m, n))
			continue;
		r = open_target(to->disk_fd[s->nr], to->disk_name[s->nr], &s->disk[s->nr].target,
				err);
		if (r < 0)
			return r;
		s->disk[s->nr].n = n;
		s->disk[s->nr].name = to->disk_name[s->nr];
		s->nr++;
	}
	return 0;
}

static int changed(struct err *err)
{
	return err_set(err, -EBUSY, "a disk came or went while the machine was saved");
}

int snapshot_disks_begin(struct snapshot_disks *s, struct machine *m, struct err *err)
{
	for (unsigned int n = 0; n < SNAPSHOT_DISKS; n++) {
		struct disk *d = written(m, n);
		struct disk_job_opts o = { .kind = DISK_JOB_BACKUP };
		int r;

		if (!d)
			continue;
		if (s->nr_begun == s->nr || s->disk[s->nr_begun].n != n)
			return changed(err);
		o.target = s->disk[s->nr_begun].target;
		r = disk_job_start(d, &o, err);
		if (r < 0)
			return err_wrap(err, r, "%sdisk %u", disk_bus_label(bus_of(n)),
					n % MACHINE_VIRTIO_MAX);
		s->disk[s->nr_begun++].target = NULL;
	}
	return s->nr_begun == s->nr ? 0 : changed(err);
}

void snapshot_disks_tell(const struct snapshot_disks *s, struct strbuf *out)
{
	strbuf_addc(out, '[');
	for (unsigned int k = 0; k < s->nr; k++) {
		enum disk_bus bus = bus_of(s->disk[k].n);

		strbuf_adds(out, k ? ",{" : "{");
		if (bus != DISK_BUS_VIRTIO)
			strbuf_addf(out, "\"bus\":\"%s\",", disk_bus_name(bus));
		strbuf_addf(out, "\"disk\":%u,\"file\":", s->disk[k].n % MACHINE_VIRTIO_MAX);
		strbuf_add_json(out, str_of(s->disk[k].name));
		strbuf_addc(out, '}');
	}
	strbuf_addc(out, ']');
}

void snapshot_disks_done(struct snapshot_disks *s, struct machine *m, bool is_failed)
{
	mutex_guard(&m->control);
	for (unsigned int k = 0; k < s->nr; k++) {
		struct disk *d = written(m, s->disk[k].n);

		if (s->disk[k].target)
			disk_close(s->disk[k].target, NULL);
		if (is_failed && k < s->nr_begun && d)
			ignore_result(disk_job_cancel(d, NULL)); /* or it has ended */
	}
	s->nr = 0;
}
