/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --cdrom: media of CD-ROM drives. An image is always raw and never written: nothing in it says what it is, and
 * nothing in it can name another file.
 */
#include "cmd/vm_sata.h"

#include <errno.h>

#include "disk/disk.h"

int vm_sata_open(struct machine_sata *ret, const struct opt_list *cdroms, struct err *err)
{
	static const char *const serial[MACHINE_SATA] = { "CD1", "CD2", "CD3", "CD4", "CD5", "CD6" };
	const struct disk_open_opts opts = { .format = "raw" };

	if (cdroms->n > MACHINE_SATA)
		return err_set(err, -EINVAL, "%zu CD-ROM drives: a machine has at most %d",
			       cdroms->n, MACHINE_SATA);
	for (size_t k = 0; k < cdroms->n; k++) {
		int r = disk_open(cdroms->v[k], &opts, &ret[k].disk, err);

		if (r < 0)
			return err_wrap(err, r, "--cdrom");
		ret[k].serial = serial[k];
		ret[k].is_cd = ret[k].is_readonly = true;
	}
	return 0;
}

void vm_sata_close(struct machine_sata *sata)
{
	for (unsigned int k = 0; k < MACHINE_SATA; k++) {
		disk_closep(&sata[k].disk);
		sata[k].disk = NULL;
	}
}
