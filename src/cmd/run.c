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

#include "cmd/commands.h"
#include "cmd/run_seed.h"
#include "sys/child.h"

int cmd_run_exec(const struct cmd_call *call)
{
	const struct run_opts *o = call->opts; /* of `trace`, too: they come first there */
	struct err err = ERR_INIT;
	char path[2048];

	if (!run_can_boot(o)) {
		err_set(&err, -EINVAL,
			"nothing to start: give --disk IMAGE, --kernel FILE or --firmware WHAT");
	} else if (child_beside_us("atoll-vm", path, sizeof(path), &err) == 0 &&
		   run_seed(call, &err) == 0) {
		execv(path, call->argv);
		err_set_errno(&err, "'%s', which runs the machine; reinstall or rebuild it", path);
	}
	fprintf(stderr, "atoll %s: %s\n", call->cmd->name, err_text(&err));
	return 1;
}
