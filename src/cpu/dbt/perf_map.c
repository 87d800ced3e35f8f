// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of translations for `perf report`: perf looks for /tmp/perf-PID.map when it meets an address that belongs to no
 * file. The folder is everybody's, so the file is made anew: what stands at the name before is removed, and the
 * open refuses to follow or to take what somebody else put there meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/dbt/inspect.h"
#include "sys/fd.h"

static int map_fd = -EBADF; /* one a process, as the file is */

void perf_map_open(void)
{
	static bool is_tried;
	struct err err = ERR_INIT;
	char path[64];

	if (is_tried)
		return;
	is_tried = true;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	unlink(path); /* of an earlier process of this number; another user's stays, and open() says so */
	map_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC, 0600);
	if (map_fd < 0) {
		err_set_errno(&err, "'%s'", path);
		log_warn("dbt.perf_map", kv_err("error", &err));
	}
}

void perf_map_add(const struct tblock *b)
{
	char line[80];
	int n;

	if (map_fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%" PRIxPTR " %" PRIx32 " guest_%016" PRIx64 "\n",
		     (uintptr_t)b->code, b->code_size, b->lin);
	if (fd_write_full(map_fd, line, (size_t)n) < 0)
		fd_closep(&map_fd); /* a full disk: what was told stays true */
}
