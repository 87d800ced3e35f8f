/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries opened when they are needed. Linked as usual, those that bring TLS and parsers of their own would cost each
 * start of a program milliseconds, and be in every machine's process.
 */
#include "sys/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int library_load(const char *file, const char *what, const char *package,
		 const struct library_symbol *symbols, size_t n, struct err *err)
{
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return err_set(err, -ENOENT, "%s needs %s (Debian package %s): %s", what, file,
			       package, dlerror());
	for (size_t k = 0; k < n; k++) {
		void *f = dlsym(lib, symbols[k].name);

		if (!f)
			return err_set(err, -ENOENT, "%s has no %s", file, symbols[k].name);
		memcpy(symbols[k].to, &f, sizeof(f));
	}
	return 0;
}
