/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_ARENA_H
#define ATOLL_BASE_ARENA_H

#include <stddef.h>

#include "base/attr.h"

/*
 * Memory for one request or one step, freed in one call. Zero-initialised is empty and valid.
 * Thread: one at a time.
 */
struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used_bytes;	    /* handed out in all, alignment included */
	size_t limit_bytes;	    /* arena_try() refuses beyond; 0: no limit */
};

/*
 * arena_new - zeroed memory that lives until arena_done().
 *
 * @size:  bytes, chosen by us; aligned for any type
 * Returns memory; aborts when there is none. Ignores the limit. Thread: owner.
 */
_nodiscard_ void *arena_new(struct arena *a, size_t size) __attribute__((returns_nonnull));

/*
 * arena_try - arena_new() for a size that comes from outside.
 *
 * @ret_p:  address of a pointer variable; written only on success
 * Returns 0; -E2BIG (over arena.limit_bytes in all), -ENOMEM. Thread: owner.
 */
_nodiscard_ int arena_try(struct arena *a, void *ret_p, size_t size);

/* arena_strndup - terminated copy of @n bytes; aborts without memory. Thread: owner. */
_nodiscard_ char *arena_strndup(struct arena *a, const char *s, size_t n)
	__attribute__((returns_nonnull));

/* arena_done - free everything; the arena is empty and may be used again. Thread: owner. */
void arena_done(struct arena *a);

#endif
