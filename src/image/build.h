/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_IMAGE_BUILD_H
#define ATOLL_IMAGE_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct image_build {
	const char *path;	      /* of the image; replaced when the new one is whole */
	const char *format;	      /* of src/disk */
	uint64_t size_bytes;	      /* of the disk; a multiple of 1 MiB, at least 1 GiB */
	uint64_t epoch_s;	      /* no file is younger: seconds since 1970 */
	const char *release, *mirror; /* NULL: as the host's package sources say */
	const char *const *packages;  /* besides those that make a machine of it */
	size_t nr_packages;
	/*
	 * @stage:    what is being done, for people
	 * @permille: 0 to 1000, never less than before
	 * Called on the caller's thread.
	 */
	void (*progress)(void *arg, const char *stage, unsigned int permille);
	void *arg;
};

/*
 * image_build - make a bootable Debian disk of packages: see README.md.
 *
 * Takes a minute or more. Needs mmdebstrap, mke2fs, sfdisk, mkfs.vfat, mcopy, and root or user namespaces with
 * subordinate ids. When this process is killed, what it has started ends, too.
 *
 * Returns 0; -EINVAL (size, package names), -ENOENT (a program is missing), -EIO (a program failed: its last words are
 * told), others of src/disk. Thread: any.
 */
_nodiscard_ int image_build(const struct image_build *b, struct err *err);

#endif
