/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of a running machine, for those who ask from outside: what they are, and changes of them. What takes long
 * is a job of the disk (disk/job.c), so nothing here keeps the control socket waiting for more than a few writes.
 */
#include "vm/machine_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/mem.h"
#include "disk/disk.h"
#include "vm/machine_priv.h"
#include "vm/virtio/blk.h"

/* --- changes ------------------------------------------------------------------------------------ */

static int start_job(struct disk *d, const struct disk_request_spec *s,
		     const struct disk_handed *handed, struct err *err)
{
	const struct disk_job_opts o = {
		.kind = s->ask == DISK_ASK_COMMIT ? DISK_JOB_COMMIT : DISK_JOB_STREAM,
		.top = s->top,
		.base = s->base,
		.bps = s->bps,
		.handed = handed,
	};

	return disk_job_start(d, &o, err);
}

static int start_backup(struct disk *d, const struct disk_request_spec *s, struct err *err)
{
	const struct disk_open_opts open = {
		.flags = DISK_RDWR | DISK_UNMAP | DISK_TOP_ONLY,
		.format = s->format,
	};
	struct disk_job_opts o = {
		.kind = DISK_JOB_BACKUP,
		.bitmap = s->bitmap,
		.is_increment = s->increment,
		.bps = s->bps,
	};
	int fd = fcntl(s->fds[0], F_DUPFD_CLOEXEC, 0), r;

	if (fd < 0)
		return err_set_errno(err, "target '%s'", s->file);
	r = disk_open_fd(fd, s->file, &open, &o.target, err);
	if (r < 0)
		return r;
	r = disk_job_start(d, &o, err);
	if (r < 0)
		disk_close(o.target, NULL);
	return r;
}

static int limit(struct disk *d, const char *text, struct err *err)
{
	struct disk_limits l;
	unsigned int waiting;
	int r;

	disk_get_limits(d, &l, &waiting);
	r = disk_limits_parse_list(&l, str_of(text), err);
	return r < 0 ? r : disk_set_limits(d, &l, err);
}

struct disk *machine_disk_find(const struct machine *m, enum disk_bus bus, unsigned int n)
{
	const struct ata_drive *d = NULL;

	switch (bus) {
	case DISK_BUS_SATA:
		d = m->has_ahci && n < AHCI_PORTS ? &m->ahci.port[n].drive : NULL;
		return d && !d->is_cd ? d->disk : NULL;
	case DISK_BUS_IDE:
		d = m->has_ide && n < IDE_DRIVES ? &m->ide.channel[n / 2].drive[n % 2].ata : NULL;
		return d && !d->is_cd ? d->disk : NULL;
	default:
		return n < MACHINE_VIRTIO_MAX && m->virtio.disk[n] ? m->virtio.disk[n]->disk : NULL;
	}
}

int machine_disk_ask(struct machine *m, const struct disk_request_spec *s, struct err *err)
{
	const struct disk_handed handed = { .fd = s->fds, .nr = s->nr_fds, .name = s->name };
	struct disk *d;
	int r;

	mutex_guard(&m->control);
	d = machine_disk_find(m, s->bus, s->disk);
	if (!d)
		return err_set(err, -ENODEV, "the machine has no %sdisk with number %u",
			       disk_bus_label(s->bus), s->disk);
	switch (s->ask) {
	case DISK_ASK_SNAPSHOT:
		return disk_snapshot_external(d, s->file, NULL, 0, &handed, err);
	case DISK_ASK_COMMIT:
	case DISK_ASK_STREAM:
		return start_job(d, s, &handed, err);
	case DISK_ASK_BACKUP:
		return start_backup(d, s, err);
	case DISK_ASK_CANCEL:
		return disk_job_cancel(d, err);
	case DISK_ASK_SPEED:
		return disk_job_set_speed(d, s->bps, err);
	case DISK_ASK_LIMIT:
		return limit(d, s->limits, err);
	case DISK_ASK_RESIZE:
		r = disk_resize(d, s->size, s->shrink, err);
		/* Drivers of the others look when they are told to. */
		if (r == 0 && s->bus == DISK_BUS_VIRTIO)
			virtio_blk_resized(m->virtio.disk[s->disk]);
		return r;
	case DISK_ASK_RETRY:
		disk_retry(d);
		return 0;
	}
	return -EINVAL;
}

/* --- what they are ------------------------------------------------------------------------------- */

static void add_chain(struct disk *d, struct strbuf *out)
{
	struct disk_info info;

	strbuf_adds(out, ",\"chain\":[");
	for (unsigned int depth = 0; disk_info(d, depth, &info, NULL) == 0; depth++) {
		strbuf_adds(out, depth ? ",{\"file\":" : "{\"file\":");
		strbuf_add_json(out, str_of(info.path));
		strbuf_addf(out, ",\"format\":\"%s\",\"host_bytes\":%" PRIu64 "}", info.format,
			    info.host_bytes);
		disk_info_done(&info);
	}
	strbuf_addc(out, ']');
}

static void add_bitmaps(struct disk *d, struct strbuf *out)
{
	_cleanup_(mem_freep) struct disk_bitmap *all = NULL;
	size_t n;

	strbuf_adds(out, ",\"bitmaps\":");
	ignore_result(disk_bitmaps(d, &all, &n, NULL)); /* damaged ones are none */
	disk_bitmaps_json(all, n, out);
}

static void add_limits(struct disk *d, struct strbuf *out)
{
	struct disk_limits l;
	unsigned int waiting;

	disk_get_limits(d, &l, &waiting);
	strbuf_addf(out,
		    ",\"limits\":{\"iops\":%" PRIu64 ",\"iops-rd\":%" PRIu64 ",\"iops-wr\":%" PRIu64
		    ",\"bps\":%" PRIu64 ",\"bps-rd\":%" PRIu64 ",\"bps-wr\":%" PRIu64
		    ",\"burst_ns\":%" PRIu64 ",\"waiting\":%u}",
		    l.iops, l.iops_rd, l.iops_wr, l.bps, l.bps_rd, l.bps_wr, l.burst_ns, waiting);
}

static void add_job(struct disk *d, struct strbuf *out)
{
	struct disk_job_status st;

	disk_job_status(d, &st);
	if (st.state == DISK_JOB_NONE) {
		strbuf_adds(out, ",\"job\":null");
		return;
	}
	strbuf_addf(out,
		    ",\"job\":{\"kind\":\"%s\",\"state\":\"%s\",\"done\":%" PRIu64
		    ",\"total\":%" PRIu64 ",\"bps\":%" PRIu64 ",\"error\":",
		    disk_job_kind_name(st.kind), disk_job_state_name(st.state), st.done, st.total,
		    st.bps);
	if (st.state == DISK_JOB_FAILED)
		strbuf_add_json(out, str_of(st.error));
	else
		strbuf_adds(out, "null");
	strbuf_addc(out, '}');
}

static void add_disk(struct machine *m, enum disk_bus bus, unsigned int n, struct strbuf *out)
{
	struct disk *d = machine_disk_find(m, bus, n);

	if (!d)
		return;
	strbuf_addf(out,
		    "%s{\"bus\":\"%s\",\"disk\":%u,\"size\":%" PRIu64
		    ",\"readonly\":%s,\"full\":%u",
		    out->p[out->n - 1] == '[' ? "" : ",", disk_bus_name(bus), n, disk_size(d),
		    disk_flags(d) & DISK_RDWR ? "false" : "true", disk_nr_stalled(d));
	strbuf_adds(out, ",\"folder\":"); /* that paths in the chain begin in */
	strbuf_add_json(out, str_of(m->folder));
	add_chain(d, out);
	add_bitmaps(d, out);
	add_limits(d, out);
	add_job(d, out);
	strbuf_addc(out, '}');
}

void machine_disks(struct machine *m, struct strbuf *out)
{
	mutex_guard(&m->control);
	strbuf_addc(out, '[');
	for (unsigned int bus = 0; bus < DISK_NR_BUSES; bus++)
		for (unsigned int n = 0; n < MACHINE_VIRTIO_MAX; n++)
			add_disk(m, (enum disk_bus)bus, n, out);
	strbuf_addc(out, ']');
}
