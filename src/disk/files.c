/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that name other files, for a process that can open nothing (sys/sandbox): somebody else opens the image first,
 * notes each file that this takes, and sends them; there, opening the image takes the files from the list.
 *
 * By the path that comes out of the image, which both sides form in the same way. By position would have been shorter,
 * and wrong as soon as the image says something else the second time. What is not in the list cannot be had.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "disk/file_priv.h"
#include "sys/fd.h"

void disk_files_done(struct disk_files *files)
{
	while (files->nr) {
		files->nr--;
		fd_closep(&files->fd[files->nr]);
		free(files->path[files->nr]);
	}
}

int disk_files_add(struct disk_files *files, const char *path, int fd, struct err *err)
{
	if (files->nr == DISK_FILES_MAX) {
		fd_closep(&fd);
		return err_set(err, -E2BIG,
			       "the image consists of more than %d files, which is too many for a "
			       "machine that runs already",
			       DISK_FILES_MAX + 1);
	}
	files->path[files->nr] = mem_strdup(path);
	files->fd[files->nr++] = fd;
	return 0;
}

int disk_files_take(struct disk_files *files, const char *path, int *ret_fd, struct err *err)
{
	for (unsigned k = 0; k < files->nr; k++) {
		if (files->fd[k] >= 0 && !strcmp(files->path[k], path)) {
			*ret_fd = fd_take(&files->fd[k]);
			return 0;
		}
	}
	return err_set(err, -EACCES, "'%s' was not handed over with the image", path);
}

int disk_files_note(int fd, const char *path, const struct disk_open_opts *o,
		    struct disk_files *ret, struct err *err)
{
	struct disk_open_opts look = *o;
	struct disk *disk = NULL;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;

	if (copy < 0)
		return err_set_errno(err, "'%s'", path);
	*ret = (struct disk_files){ .is_noting = true, .part_flags = o->flags & DISK_RDWR };
	/* Nothing is changed, and whose it is asks the one who will use it. */
	look.flags = (o->flags & ~(unsigned)(DISK_RDWR | DISK_UNMAP)) | DISK_NO_LOCK;
	look.files = ret;
	r = disk_open_fd(copy, path, &look, &disk, err);
	if (r == 0)
		r = disk_close(disk, err);
	ret->is_noting = false;
	if (r < 0)
		disk_files_done(ret);
	return r;
}
