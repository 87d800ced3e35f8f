/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is at the SATA controller: hard disks of --disk, and media of CD-ROM drives. A CD's image is always raw and never
 * written: nothing in it says what it is, and nothing in it can name another file.
 */
#include "cmd/vm_sata.h"

#include <errno.h>

#include "disk/disk.h"

static int too_many(struct err *err)
{
	return err_set(err, -EINVAL, "a machine has at most %d SATA disks and CD-ROM drives",
		       MACHINE_SATA);
}

int vm_sata_open(struct machine_config *cfg, struct vm_disks *disks, const struct opt_list *cdroms,
		 struct err *err)
{
	static const char *const serial[MACHINE_SATA] = { "HD1", "HD2", "HD3", "HD4", "HD5", "HD6" },
				 *const cd_serial[MACHINE_SATA] = { "CD1", "CD2", "CD3",
								    "CD4", "CD5", "CD6" };
	const struct disk_open_opts opts = { .format = "raw" };
	unsigned int port = 0;

	disks->nr_virtio = 0;
	for (unsigned int k = 0; k < disks->nr; k++) {
		const struct vm_disk *d = disks->disk[k];

		if (d->bus == VM_DISK_VIRTIO) {
			disks->virtio[disks->nr_virtio++] = d->disk;
			continue;
		}
		if (port == MACHINE_SATA)
			return too_many(err);
		cfg->sata[port] = (struct machine_sata){
			.disk = d->disk.disk,
			.serial = *d->serial ? d->serial : serial[port],
			.is_readonly = !(disk_flags(d->disk.disk) & DISK_RDWR),
		};
		port++;
	}
	cfg->disks = disks->virtio;
	cfg->nr_disks = disks->nr_virtio;
	for (size_t k = 0; k < cdroms->n; k++, port++) {
		int r;

		if (port == MACHINE_SATA)
			return too_many(err);
		r = disk_open(cdroms->v[k], &opts, &cfg->sata[port].disk, err);
		if (r == 0)
			r = disk_async_start(cfg->sata[port].disk, 1, err);
		if (r < 0)
			return err_wrap(err, r, "--cdrom");
		cfg->sata[port].serial = cd_serial[k];
		cfg->sata[port].is_cd = cfg->sata[port].is_readonly = true;
	}
	return 0;
}

void vm_sata_close(struct machine_config *cfg)
{
	for (unsigned int k = 0; k < MACHINE_SATA; k++) {
		if (cfg->sata[k].disk && cfg->sata[k].is_cd) {
			disk_drain(cfg->sata[k].disk);
			disk_closep(&cfg->sata[k].disk);
		}
		cfg->sata[k] = (struct machine_sata){ 0 };
	}
}
