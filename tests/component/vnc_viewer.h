/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_TESTS_COMPONENT_VNC_VIEWER_H
#define ATOLL_TESTS_COMPONENT_VNC_VIEWER_H

/* A VNC viewer that speaks RFB 3.8 byte by byte. */
#include <arpa/inet.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "display/vnc.h"

static inline void get(int fd, void *buf, size_t n)
{
	if (n) /* for nothing it would wait, too */
		assert_int_equal(recv(fd, buf, n, MSG_WAITALL), n);
}

static inline void put(int fd, const void *buf, size_t n)
{
	assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
}

/* Connected, up to the list of security types. */
static inline int greet(const struct vnc *v, uint8_t *ret_type)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)vnc_port(v)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char version[12];
	uint8_t n;

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	get(fd, version, 12);
	assert_memory_equal(version, "RFB 003.008\n", 12);
	put(fd, version, 12);
	get(fd, &n, 1);
	assert_true(n >= 1);
	while (n--)
		get(fd, ret_type, 1);
	return fd;
}

/* Connected to a server without a password whose name is "m", and of these encodings; @ret_size: the screen's, or NULL. */
static inline int join(const struct vnc *v, const int32_t *encodings, unsigned int nr,
		       uint16_t ret_size[2])
{
	uint8_t type, result[4], share = 1, init[25], set[4 + 4 * 8] = { 2 };
	int fd = greet(v, &type);

	assert_int_equal(type, 1);
	put(fd, &type, 1);
	get(fd, result, 4);
	assert_int_equal(get_be32(result), 0);
	put(fd, &share, 1);
	get(fd, init, 25);
	assert_int_equal(get_be32(init + 20), 1);
	assert_int_equal(init[24], 'm');
	if (ret_size) {
		ret_size[0] = get_be16(init);
		ret_size[1] = get_be16(init + 2);
	}
	assert_true(nr <= 8);
	put_be16(set + 2, (uint16_t)nr);
	for (unsigned int k = 0; k < nr; k++)
		put_be32(set + 4 + (size_t)k * 4, (uint32_t)encodings[k]);
	if (nr)
		put(fd, set, 4 + 4 * nr);
	return fd;
}

#endif
