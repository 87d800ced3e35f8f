/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_BASE_MEM_H
#define ATOLL_BASE_MEM_H

#include <stddef.h>

#include "base/attr.h"

/*
 * Two kinds of allocation. mem_new(): small, of a size that we chose; running out ends the program
 * (one machine a process: the damage is one guest). mem_try(): of a size that a guest, an image, a
 * client or a peer influences; it has a limit and may fail.
 */

/*
 * mem_new - zeroed memory of our own size.
 *
 * @size:  bytes, > 0
 * Returns memory owned by the caller, freed with free() or mem_freep(). Aborts when there is none.
 * Thread: any.
 */
_nodiscard_ void *mem_new(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));

/*
 * mem_new_n - zeroed array of @n elements of @size bytes, both > 0; else as mem_new(). Aborts when
 * the product overflows. Thread: any.
 */
_nodiscard_ void *mem_new_n(size_t n, size_t size)
	__attribute__((malloc, alloc_size(1, 2), returns_nonnull));

/*
 * mem_renew - resize an array of our own; new bytes are not zeroed. Aborts when there is no memory.
 *
 * @p:  from mem_new(), mem_new_n(), mem_renew() or NULL
 * Returns the new place; @p is gone. Thread: any.
 */
_nodiscard_ void *mem_renew(void *p, size_t n, size_t size) __attribute__((returns_nonnull));

/* mem_strdup - copy of a string; aborts when there is no memory. Thread: any. */
_nodiscard_ char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));

/*
 * mem_try - zeroed memory of a size that comes from outside.
 *
 * @ret_p:  address of a pointer variable of any type; written only on success
 * @size:   bytes; 0 gives a pointer that may be freed and not read
 * @limit:  largest @size that makes sense here, bytes
 * Returns 0; -E2BIG (over the limit), -ENOMEM. Thread: any.
 */
_nodiscard_ int mem_try(void *ret_p, size_t size, size_t limit);

/* mem_freep - for _cleanup_(mem_freep) on a pointer variable: frees what it points to. Thread:
 * any. */
void mem_freep(void *pp);

#endif
