/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_IMAGE_SEED_H
#define ATOLL_IMAGE_SEED_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/* What a guest is told at its first start: files of a small volume. */
struct seed_file {
	const char *path; /* relative, joined by '/'; folders are made */
	struct str data;
};

/* As cloud-init's data source NoCloud finds its files: on a volume of this name. */
#define SEED_NOCLOUD_VOLUME "cidata"

/*
 * seed_write - write an ISO 9660 volume (Rock Ridge, Joliet) with some files.
 *
 * @fd:      written from its beginning on; stays the caller's
 * @volume:  its label, 1 to 16 letters and digits
 * Returns 0; -EINVAL (label, path), -ENOSPC, -EIO. Thread: any.
 */
_nodiscard_ int seed_write(int fd, const char *volume, const struct seed_file *files,
			   size_t nr_files, struct err *err);

/*
 * seed_nocloud - the volume that cloud-init reads as NoCloud.
 *
 * The instance's id is a hash of the user data: with other user data, cloud-init takes the machine for a new one and
 * does its work again.
 *
 * @user_data:  "#cloud-config" and YAML, a script that begins with "#!", or another form that cloud-init knows; at most 1 MiB
 * @hostname:   NULL: not told
 * @network:    network configuration, version 1 or 2; or NULL
 * @ret_fd:     a memfd, sealed against writing
 * Returns 0; -EINVAL (what cloud-init would not read as user data), -ENOMEM. Thread: any.
 */
_nodiscard_ int seed_nocloud(struct str user_data, const char *hostname, const char *network,
			     int *ret_fd, struct err *err);

#endif
