/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --cloud-init: from a file of user data to a disk of atoll-vm. */
#include "cmd/run_seed.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "image/seed.h"
#include "sys/fd.h"

/* More is refused by seed_nocloud(), with a reason. */
enum { FILE_MAX = 16 << 20 };

/* The option is in the words as "--cloud-init FILE" or "--cloud-init=FILE". @file points into one of them. */
static void replace_words(char **argv, const char *file, int fd)
{
	struct strbuf disk = { 0 };

	for (size_t k = 1; argv[k]; k++) {
		if (file < argv[k] || file > argv[k] + strlen(argv[k]))
			continue;
		strbuf_addf(&disk, "%s/proc/self/fd/%d,format=raw,readonly,serial=cloud-init",
			    file == argv[k] ? "" : "--disk=", fd);
		if (file == argv[k])
			argv[k - 1] = mem_strdup("--disk");
		argv[k] = strbuf_take(&disk); /* until exec() */
		return;
	}
}

int run_seed(const struct cmd_call *call, struct err *err)
{
	const struct run_opts *o = call->opts;
	_cleanup_(mem_freep) void *text = NULL;
	size_t n;
	int r, fd;

	if (!o->cloud_init)
		return 0;
	r = file_read(o->cloud_init, FILE_MAX, &text, &n, err);
	if (r == 0)
		r = seed_nocloud((struct str){ text, n }, o->name, NULL, &fd, err);
	if (r < 0)
		return err_wrap(err, r, "--cloud-init %s", o->cloud_init);
	if (fcntl(fd, F_SETFD, 0) < 0)
		return err_set_errno(err, "--cloud-init %s", o->cloud_init);
	replace_words(call->argv, o->cloud_init, fd);
	return 0;
}
