/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnbd, loaded when the first disk is named by a URI. It brings GnuTLS and an XML parser: linked as usual, they would
 * be in every machine's process and cost each start of a program milliseconds.
 */
#include <pthread.h>

#include "base/attr.h"
#include "disk/nbd/library_priv.h"
#include "sys/library.h"

#define LIBRARY "libnbd.so.0"

struct nbd_library nbd_lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct err problem;

static void load(void)
{
#define SYMBOL(name) { "nbd_" #name, &nbd_lib.name },
	const struct library_symbol symbols[] = { NBD_FUNCTIONS(SYMBOL) };

	ignore_result(library_load(LIBRARY, "NBD", "libnbd0", symbols, ARRAY_SIZE(symbols),
				   &problem)); /* told to each who asks */
}

int nbd_library_load(struct err *err)
{
	pthread_once(&once, load);
	return problem.code ? err_set(err, problem.code, "%s", err_text(&problem)) : 0;
}
