/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of the NBD server: bytes in pieces (the first byte of each says how many follow, and its top bit that answers
 * are read before). The first byte of all says what is served, and how.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nbd/session_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TLS = 1, READ_ONLY = 2, FAST_ZERO = 4, SIZE = 300000 };

static struct disk *disk;

/* One for all inputs: what is in it does not matter. */
static void open_disk(void)
{
	struct disk_open_opts o = { .flags = DISK_RDWR | DISK_UNMAP | DISK_NO_FLUSH,
				    .format = "raw" };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SIZE) < 0 || disk_open_fd(fd, "fuzz", &o, &disk, NULL) < 0 ||
	    disk_async_start(disk, 2, NULL) < 0)
		abort();
}

static void wake(void *arg)
{
}

static bool send_some(struct nbd_session *s, size_t max)
{
	struct iovec iov[5];
	unsigned nr = nbd_session_output(s, iov, ARRAY_SIZE(iov));
	size_t n = 0;

	for (unsigned i = 0; i < nr; i++) {
		assert(iov[i].iov_len);
		n += iov[i].iov_len;
	}
	if (nr)
		nbd_session_sent(s, MIN(n, max));
	assert(s->buffers <= NBD_BUFFERS_MAX && s->out.n <= NBD_OUT_MAX + 3 * NBD_NAME_MAX);
	return nr > 0;
}

static bool receive(struct nbd_session *s, const uint8_t **data, size_t *n)
{
	size_t room;
	uint8_t *to = nbd_session_room(s, &room);
	size_t k = MIN(room, *n);

	if (!k)
		return false;
	memcpy(to, *data, k);
	nbd_session_received(s, k);
	*data += k;
	*n -= k;
	return true;
}

static int test_status(void *arg, uint64_t off, uint64_t len, uint32_t *ret_flags,
		       uint64_t *ret_len)
{
	*ret_flags = off & 1;
	*ret_len = MIN(len, UINT64_C(7));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct nbd_context odd = { "test:odd", test_status, NULL };
	struct nbd_export e = { .name = "x", .contexts = &odd, .nr_contexts = 1 };
	struct nbd_session *s;
	unsigned how;

	if (!n)
		return 0;
	if (!disk)
		open_disk();
	how = *data++;
	n--;
	e.disk = disk;
	e.read_only = how & READ_ONLY;
	s = nbd_session_new(&e, how & TLS, 0, wake, NULL);
	if (how & FAST_ZERO && !e.read_only)
		s->zero_unit = 4096;
	while (n) {
		size_t piece = MIN((size_t)(*data & 127) + 1, n - 1), left;
		bool read_first = *data & 128;

		data++;
		n -= piece + 1;
		left = piece;
		if (read_first)
			while (send_some(s, 1 + piece * 50))
				;
		while (left && receive(s, &data, &left))
			;
		data += left;
		if (s->phase == NBD_TLS)
			nbd_session_secured(s);
	}
	nbd_session_end(s, NULL);
	disk_drain(disk);
	while (send_some(s, SIZE_MAX))
		;
	assert(nbd_session_idle(s));
	nbd_session_free(s);
	return 0;
}
