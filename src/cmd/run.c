/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `atoll run` is atoll-vm under a shorter name, and so is `atoll trace` for a machine that it starts: argv[0] says which. The options were checked already by the same table, so a
 * mistake is reported in the words of `atoll run`; then this process becomes the machine. A separate program
 * keeps what the cloud links to (TLS, databases) out of the process that faces a guest.
 */
#include "cmd/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/run_seed.h"

#include "cmd/commands.h"

static const char vm_program[] = "atoll-vm";

/* The path of atoll-vm in the folder of the running program. */
static int find_vm(char *ret, size_t size, struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", ret, size - 1);
	char *slash;

	if (n < 0)
		return err_set_errno(err, "/proc/self/exe");
	ret[n] = 0;
	slash = strrchr(ret, '/');
	if (!slash || (size_t)(slash + 1 - ret) + sizeof(vm_program) > size)
		return err_set(err, -ENAMETOOLONG, "path of this program");
	memcpy(slash + 1, vm_program, sizeof(vm_program));
	return 0;
}

int cmd_run_exec(const struct cmd_call *call)
{
	const struct run_opts *o = call->opts; /* of `trace`, too: they come first there */
	struct err err = ERR_INIT;
	char path[2048];

	if (!run_can_boot(o)) {
		err_set(&err, -EINVAL,
			"nothing to start: give --disk IMAGE, --kernel FILE or --firmware WHAT");
	} else if (find_vm(path, sizeof(path), &err) == 0 && run_seed(call, &err) == 0) {
		execv(path, call->argv);
		err_set_errno(&err, "'%s', which runs the machine; reinstall or rebuild it", path);
	}
	fprintf(stderr, "atoll %s: %s\n", call->cmd->name, err_text(&err));
	return 1;
}
