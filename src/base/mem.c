/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation with the decision "may this fail?" made by the function that is called. Checking every
 * small allocation costs a branch and an error path that no test ever walks; checking none lets a
 * guest's number decide how much we ask for. So small ones abort, outside sizes have a limit.
 */
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _noreturn_ _cold_ void out_of_memory(size_t n, size_t size)
{
	fprintf(stderr, "out of memory: %zu x %zu bytes\n", n, size);
	abort();
}

void *mem_new_n(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (unlikely(!p))
		out_of_memory(n, size);
	return p;
}

void *mem_new(size_t size)
{
	return mem_new_n(1, size);
}

void *mem_renew(void *p, size_t n, size_t size)
{
	void *q = reallocarray(p, n, size);

	if (unlikely(!q))
		out_of_memory(n, size);
	return q;
}

char *mem_strdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(mem_new(n), s, n);
}

int mem_try(void *ret_p, size_t size, size_t limit)
{
	void *p;

	if (size > limit)
		return -E2BIG;
	p = calloc(1, size ? size : 1);
	if (!p)
		return -ENOMEM;
	memcpy(ret_p, &p, sizeof(p));
	return 0;
}

void mem_freep(void *pp)
{
	void *p;

	memcpy(&p, pp, sizeof(p));
	free(p);
}
