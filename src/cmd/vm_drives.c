/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is at the SATA and IDE controllers: hard disks and media of CD-ROM drives. A CD's image is always raw and never
 * written: nothing in it says what it is, and nothing in it can name another file.
 */
#include "cmd/vm_drives.h"

#include <errno.h>

#include "disk/disk.h"

/* The places of a controller. */
struct places {
	struct machine_drive *drive;
	unsigned int nr, max;
	const char *name;
};

/* The next one; NULL with the story. */
static struct machine_drive *next(struct places *p, struct err *err)
{
	if (p->nr < p->max)
		return &p->drive[p->nr++];
	err_set(err, -EINVAL, "a machine has at most %u %s disks and CD-ROM drives", p->max,
		p->name);
	return NULL;
}

static int put_disks(struct vm_disks *disks, struct places *sata, struct places *ide,
		     struct err *err)
{
	static const char *const serial[] = { "HD1", "HD2", "HD3", "HD4", "HD5", "HD6" },
				 *const cd_serial[] = { "CD1", "CD2", "CD3", "CD4", "CD5", "CD6" };

	disks->nr_virtio = 0;
	for (unsigned int k = 0; k < disks->nr; k++) {
		const struct vm_disk *d = disks->disk[k];
		struct places *p = d->bus == DISK_BUS_IDE ? ide : sata;
		struct machine_drive *to;

		if (d->bus == DISK_BUS_VIRTIO) {
			disks->virtio[disks->nr_virtio++] = d->disk;
			continue;
		}
		to = next(p, err);
		if (!to)
			return -EINVAL;
		*to = (struct machine_drive){
			.disk = d->disk.disk,
			.serial = *d->serial ? d->serial
				  : d->is_cd ? cd_serial[p->nr - 1]
					     : serial[p->nr - 1],
			.is_cd = d->is_cd,
			.is_readonly = !(disk_flags(d->disk.disk) & DISK_RDWR),
		};
	}
	return 0;
}

int vm_drives_open(struct machine_config *cfg, struct vm_disks *disks,
		   const struct opt_list *cdroms, struct err *err)
{
	static const char *const serial[MACHINE_SATA] = { "CD1", "CD2", "CD3", "CD4", "CD5", "CD6" };
	struct places sata = { cfg->sata, 0, MACHINE_SATA, "SATA" };
	struct places ide = { cfg->ide, 0, MACHINE_IDE, "IDE" };
	const struct disk_open_opts opts = { .format = "raw" };
	int r = put_disks(disks, &sata, &ide, err);

	if (r < 0)
		return r;
	cfg->disks = disks->virtio;
	cfg->nr_disks = disks->nr_virtio;
	for (size_t k = 0; k < cdroms->n; k++) {
		struct machine_drive *to = next(&sata, err);

		if (!to)
			return -EINVAL;
		r = disk_open(cdroms->v[k], &opts, &to->disk, err);
		if (r == 0)
			r = disk_async_start(to->disk, 1, err);
		if (r < 0)
			return err_wrap(err, r, "--cdrom");
		to->serial = serial[k];
		to->is_cd = to->is_readonly = true;
	}
	return 0;
}

static bool is_of_disks(const struct vm_disks *disks, const struct disk *disk)
{
	for (unsigned int k = 0; k < disks->nr; k++)
		if (disks->disk[k]->disk.disk == disk)
			return true;
	return false;
}

void vm_drives_close(struct machine_config *cfg, const struct vm_disks *disks)
{
	for (unsigned int k = 0; k < MACHINE_SATA; k++) {
		if (cfg->sata[k].disk && !is_of_disks(disks, cfg->sata[k].disk)) {
			disk_drain(cfg->sata[k].disk);
			disk_closep(&cfg->sata[k].disk);
		}
		cfg->sata[k] = (struct machine_drive){ 0 };
	}
	for (unsigned int k = 0; k < MACHINE_IDE; k++)
		cfg->ide[k] = (struct machine_drive){ 0 };
}
