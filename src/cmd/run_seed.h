/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_RUN_SEED_H
#define ATOLL_CMD_RUN_SEED_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"

/*
 * run_seed - make a disk of --cloud-init FILE.
 *
 * The option's words in call->argv become a --disk that names a descriptor, which stays open over exec(): the process
 * that faces the guest needs neither the file nor the library that writes volumes. Nothing happens without the option.
 *
 * Returns 0; -EINVAL (not user data), others of open(2). Thread: the first.
 */
_nodiscard_ int run_seed(const struct cmd_call *call, struct err *err);

#endif
