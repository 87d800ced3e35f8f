/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_DISK_H
#define ATOLL_CMD_DISK_H

#include "cmd/commands.h"
#include "disk/disk.h"

/* The commands of `atoll disk`. Return the exit status. Thread: the first. */
int cmd_disk_info_exec(const struct cmd_call *call);
int cmd_disk_create_exec(const struct cmd_call *call);
int cmd_disk_convert_exec(const struct cmd_call *call);
int cmd_disk_check_exec(const struct cmd_call *call);
int cmd_disk_resize_exec(const struct cmd_call *call);
int cmd_disk_snapshot_exec(const struct cmd_call *call);
int cmd_disk_bitmap_exec(const struct cmd_call *call);
int cmd_disk_backup_exec(const struct cmd_call *call);
int cmd_disk_commit_exec(const struct cmd_call *call);
int cmd_disk_stream_exec(const struct cmd_call *call);
int cmd_disk_compare_exec(const struct cmd_call *call);
int cmd_disk_map_exec(const struct cmd_call *call);
int cmd_disk_serve_exec(const struct cmd_call *call);

/* disk_complain - the one line on standard error. Returns @status. Thread: the first. */
int disk_complain(const struct cmd_call *call, const struct err *err, int status);

/* disk_print - to standard output, and strbuf_done(). Returns the exit status. Thread: the first. */
int disk_print(const struct cmd_call *call, struct strbuf *out);

/* disk_add_plain - a text from outside, without what would do something to a terminal. Thread: any. */
void disk_add_plain(struct strbuf *out, const char *s);

/*
 * disk_close_changed - the end of a command that changed a disk: closes it, complains when @r or closing is an error.
 *
 * @disk:  NULL is fine
 * Returns the exit status. Thread: the first.
 */
int disk_close_changed(const struct cmd_call *call, struct disk *disk, int r, struct err *err);

/* disk_open_image - disk_open() as the options of a command want it, and @flags. Thread: the first. */
_nodiscard_ int disk_open_image(const char *path, const struct disk_image_opts *o, unsigned flags,
				const char *snapshot, struct disk **ret, struct err *err);

/*
 * disk_read_options - "name=value,name=value" of several arguments.
 *
 * @ret_text: what the names and values point into; strbuf_done() after their last use
 * @ret:      an array, free()
 * Returns 0; -EINVAL. Thread: any.
 */
_nodiscard_ int disk_read_options(const struct opt_list *list, char **ret_text,
				  struct disk_option **ret, size_t *ret_n, struct err *err);

/*
 * disk_list_options - answer `-o help`: the options of a format, on standard output.
 *
 * Returns true when help was asked for. Thread: the first.
 */
bool disk_list_options(const struct opt_list *list, const char *format);

#endif
