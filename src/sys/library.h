/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_SYS_LIBRARY_H
#define ATOLL_SYS_LIBRARY_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/* A function of a library, and the pointer to function that gets it. */
struct library_symbol {
	const char *name;
	void *to;
};

/*
 * library_load - open a shared library that only some need, and find functions of it.
 *
 * It stays loaded: it, or what it brought, may have registered exit functions.
 *
 * @what, @package:  who needs it, and Debian's package that has it; for people
 * Returns 0; -ENOENT with the story. Thread: any.
 */
_nodiscard_ int library_load(const char *file, const char *what, const char *package,
			     const struct library_symbol *symbols, size_t n, struct err *err);

#endif
