/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_ATA_DISK_H
#define ATOLL_TESTS_COMPONENT_ATA_DISK_H

/* Disks for tests of the SATA and IDE controllers. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/disk.h"

/* A raw disk of @n sectors of 512 bytes; sector k begins with k as 32 bits. NULL: failed. */
static inline struct disk *ata_make_disk(unsigned int n, unsigned int flags)
{
	const struct disk_open_opts opts = { .format = "raw", .flags = flags };
	char path[] = "/tmp/ata-XXXXXX";
	struct disk *disk = NULL;
	int fd = mkstemp(path);
	uint8_t sector[512] = { 0 };
	bool ok = fd >= 0;

	for (unsigned int k = 0; ok && k < n; k++) {
		put_le32(sector, k);
		ok = write(fd, sector, sizeof(sector)) == (ssize_t)sizeof(sector);
	}
	if (ok && disk_open(path, &opts, &disk, NULL) < 0)
		disk = NULL;
	if (disk && disk_async_start(disk, 1, NULL) < 0)
		disk_closep(&disk);
	if (fd >= 0)
		close(fd);
	unlink(path);
	return disk;
}

static inline void ata_end_disk(struct disk **disk)
{
	if (*disk)
		disk_drain(*disk);
	disk_closep(disk);
}

#endif
