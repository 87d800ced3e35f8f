/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walking through lists of pieces of memory. A guest's request comes in as many pieces as its driver
 * likes, and images cut the same bytes in other places; nothing is allocated to bring the two together.
 */
#include <assert.h>
#include <string.h>

#include "disk/file_priv.h"

struct iov_iter iov_iter(const struct iovec *iov, unsigned nr)
{
	return (struct iov_iter){ iov, nr, 0 };
}

uint64_t iov_bytes(const struct iov_iter *it)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < it->nr; i++)
		n += it->iov[i].iov_len;
	return n - it->skip;
}

unsigned iov_slice(const struct iov_iter *it, uint64_t len, struct iovec *out, unsigned max,
		   uint64_t *ret_len)
{
	size_t skip = it->skip;
	unsigned n = 0;

	*ret_len = 0;
	for (unsigned i = 0; i < it->nr && len && n < max; i++, skip = 0) {
		size_t here = MIN((uint64_t)it->iov[i].iov_len - skip, len);

		if (!here)
			continue;
		out[n++] = (struct iovec){ (char *)it->iov[i].iov_base + skip, here };
		len -= here;
		*ret_len += here;
	}
	return n;
}

void iov_advance(struct iov_iter *it, uint64_t len)
{
	len += it->skip;
	while (it->nr && len >= it->iov->iov_len) {
		len -= it->iov->iov_len;
		it->iov++;
		it->nr--;
	}
	assert(it->nr || !len);
	it->skip = (size_t)len;
}

enum { FILL, TO, FROM };

static void walk(struct iov_iter *it, int how, char *p, uint64_t len)
{
	while (len) {
		size_t n = MIN((uint64_t)it->iov->iov_len - it->skip, len);
		char *here = (char *)it->iov->iov_base + it->skip;

		if (n && how == FILL)
			memset(here, 0, n);
		else if (n && how == TO)
			memcpy(here, p, n);
		else if (n)
			memcpy(p, here, n);
		if (p)
			p += n;
		len -= n;
		iov_advance(it, n);
	}
}

void iov_fill_zero(struct iov_iter *it, uint64_t len)
{
	walk(it, FILL, NULL, len);
}

void iov_copy_to(struct iov_iter *it, const void *from, uint64_t len)
{
	walk(it, TO, (char *)from, len);
}

void iov_copy_from(struct iov_iter *it, void *to, uint64_t len)
{
	walk(it, FROM, to, len);
}
