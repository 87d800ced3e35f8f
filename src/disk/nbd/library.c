/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnbd, loaded when the first disk is named by a URI. It brings GnuTLS and an XML parser: linked as usual, they would
 * be in every machine's process and cost each start of a program milliseconds.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/attr.h"
#include "disk/nbd/library_priv.h"

#define LIBRARY "libnbd.so.0"

struct nbd_library nbd_lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[160];

static void load(void)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		snprintf(problem, sizeof(problem), "%s", dlerror());
		return;
	}
#define LOAD(name)                                                                                 \
	if (!problem[0]) {                                                                         \
		*(void **)&nbd_lib.name = dlsym(handle, "nbd_" #name);                             \
		if (!nbd_lib.name)                                                                 \
			snprintf(problem, sizeof(problem), "%s has no nbd_" #name, LIBRARY);       \
	}
	NBD_FUNCTIONS(LOAD)
#undef LOAD
}

int nbd_library_load(struct err *err)
{
	pthread_once(&once, load);
	if (!problem[0])
		return 0;
	return err_set(err, -ENOENT, "NBD needs Debian's package libnbd0: %s", problem);
}
