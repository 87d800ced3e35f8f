/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request makes many small objects that all die together. Handing them out from a few large
 * blocks removes the bookkeeping of who frees what, which is where leaks and double frees come
 * from. There is no free of a single object and no reset to a mark: what needs that is not a
 * request.
 */
#include "base/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

#define ARENA_BLOCK_BYTES 4096
#define ARENA_ALIGN	  _Alignof(max_align_t)

struct arena_block {
	struct arena_block *next;
	size_t size_bytes; /* of data[] */
	size_t used_bytes;
	_Alignas(max_align_t) char data[];
};

/* Room for `size` bytes (already aligned), or NULL when the system has none. */
static void *arena_take(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;
	size_t data, total;
	void *p;

	if (!b || size > b->size_bytes - b->used_bytes) {
		data = MAX(size, (size_t)ARENA_BLOCK_BYTES - sizeof(*b));
		if (!add_ok(data, sizeof(*b), &total))
			return NULL;
		b = calloc(1, total);
		if (!b)
			return NULL;
		b->size_bytes = data;
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->used_bytes;
	b->used_bytes += size;
	a->used_bytes += size;
	return p;
}

static bool arena_round(size_t size, size_t *ret)
{
	uint64_t rounded;

	if (!align_up_ok(size ? size : 1, ARENA_ALIGN, &rounded))
		return false;
	*ret = rounded;
	return true;
}

void *arena_new(struct arena *a, size_t size)
{
	void *p = NULL;

	if (arena_round(size, &size))
		p = arena_take(a, size);
	if (unlikely(!p))
		abort();
	return p;
}

int arena_try(struct arena *a, void *ret_p, size_t size)
{
	size_t sum;
	void *p;

	if (!arena_round(size, &size) || !add_ok(a->used_bytes, size, &sum))
		return -E2BIG;
	if (a->limit_bytes && sum > a->limit_bytes)
		return -E2BIG;
	p = arena_take(a, size);
	if (!p)
		return -ENOMEM;
	memcpy(ret_p, &p, sizeof(p));
	return 0;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_new(a, n + 1);

	memcpy(p, s, n);
	return p;
}

void arena_done(struct arena *a)
{
	struct arena_block *b = a->blocks;

	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
	a->blocks = NULL;
	a->used_bytes = 0;
}
