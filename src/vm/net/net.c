/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends of network devices: taps, sockets, captures. The header in front of each frame is what lets two guests, or a
 * guest and the host's kernel, pass each other packets of 64 KiB whose checksums nobody has computed: most of the
 * cost of a network is the number of packets.
 */
#include "vm/net/net.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "sys/fd.h"
#include "sys/ipc.h"

enum {
	SOCKET_BUFFER = 1 << 20,
	PCAP_HEADER = 24,
	PCAP_RECORD = 16,
	PCAP_ETHERNET = 1,
};
#define PCAP_MAGIC_NS 0xa1b23c4d

void net_end_close(struct net_end *end)
{
	fd_closep(&end->fd);
	fd_closep(&end->pcap_fd);
}

/* The other side of a socket is one of us, or a helper, that can do what a tap can. */
static void end_of(int fd, bool is_tap, struct net_end *ret)
{
	*ret = NET_END_INIT;
	ret->fd = fd;
	ret->is_tap = is_tap;
	ret->takes = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN;
	net_set_offloads(ret, 0);
}

int net_open_fd(int *fd, bool is_tap, struct net_end *ret, struct err *err)
{
	int r = fd_nonblock(*fd, 1);

	if (r < 0)
		return err_set(err, r, "the network's descriptor");
	end_of(fd_take(fd), is_tap, ret);
	return 0;
}

/* --- taps ---------------------------------------------------------------------------------------------------- */

int net_open_tap(const char *name, struct net_end *ret, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = NET_HDR, little = 1, r;

	if (strlen(name) >= sizeof(ifr.ifr_name))
		return err_set(err, -EINVAL,
			       "'%.40s': a network device's name has at most %zu bytes", name,
			       sizeof(ifr.ifr_name) - 1);
	r = fd_open("/dev/net/tun", O_RDWR | O_NONBLOCK, &fd, err);
	if (r < 0)
		return r;
	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_set_errno(err, "tap device '%s' (is it there, and yours?)", name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0)
		return err_set_errno(err, "tap device '%s' cannot have packet headers", name);
	end_of(fd_take(&fd), true, ret);
	return 0;
}

void net_set_offloads(struct net_end *end, unsigned int offloads)
{
	unsigned long flags = 0;

	if (!end->is_tap)
		return;
	if (offloads & NET_CSUM) {
		flags = TUN_F_CSUM;
		flags |= offloads & NET_TSO4 ? TUN_F_TSO4 : 0;
		flags |= offloads & NET_TSO6 ? TUN_F_TSO6 : 0;
		if (offloads & (NET_TSO4 | NET_TSO6))
			flags |= offloads & NET_ECN ? TUN_F_TSO_ECN : 0;
	}
	/* All of these are older than this program's other demands on the kernel. */
	ignore_result(ioctl(end->fd, TUNSETOFFLOAD, flags));
}

/* --- sockets ------------------------------------------------------------------------------------------------- */

static void socket_end(int fd, struct net_end *ret)
{
	int size = SOCKET_BUFFER;

	/* As much as the host allows. */
	ignore_result(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	end_of(fd, false, ret);
}

int net_pair(struct net_end *a, struct net_end *b, struct err *err)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
		return err_set_errno(err, "socket pair");
	socket_end(fd[0], a);
	socket_end(fd[1], b);
	return 0;
}

int net_open_socket(const char *path, bool listen_there, struct net_end *ret, struct err *err)
{
	_cleanup_(fd_closep) int fd = -EBADF;
	_cleanup_(fd_closep) int peer = -EBADF;
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof(to.sun_path))
		return err_set(err, -EINVAL, "'%.40s': a socket's path has 1 to %zu bytes", path,
			       sizeof(to.sun_path) - 1);
	memcpy(to.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, "socket");
	if (!listen_there) {
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			return err_set_errno(err,
					     "connect to '%s' (the machine with listen=%s starts first)",
					     path, path);
		peer = fd_take(&fd);
	} else {
		ipc_unlink_abandoned(&to);
		if (bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 1) < 0)
			return err_set_errno(err, "listen at '%s'", path);
		log_info("net.listen",
			 kv_str("waits", "for the machine with connect= of this path"),
			 kv_str("path", path));
		peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		ignore_result(unlink(path)); /* one peer for the life of the machine */
		if (peer < 0)
			return err_set_errno(err, "wait at '%s'", path);
	}
	if (fd_nonblock(peer, 1) < 0)
		return err_set_errno(err, "socket '%s'", path);
	socket_end(fd_take(&peer), ret);
	return 0;
}

/* --- captures ------------------------------------------------------------------------------------------------ */

int net_capture(struct net_end *end, const char *path, struct err *err)
{
	uint8_t h[PCAP_HEADER] = { 0 };
	int r = fd_open(path, O_WRONLY | O_CREAT | O_TRUNC, &end->pcap_fd, err);

	if (r < 0)
		return r;
	put_le32(h, PCAP_MAGIC_NS);
	put_le16(h + 4, 2);
	put_le16(h + 6, 4);
	put_le32(h + 16, NET_PACKET_MAX);
	put_le32(h + 20, PCAP_ETHERNET);
	r = fd_write_full(end->pcap_fd, h, sizeof(h));
	return r < 0 ? err_set(err, r, "write '%s'", path) : 0;
}

void net_captured(struct net_end *end, const struct iovec *iov, unsigned int nr)
{
	uint8_t h[PCAP_RECORD];
	struct timespec now;
	uint32_t len = 0;

	if (end->pcap_fd < 0)
		return;
	for (unsigned int k = 0; k < nr; k++)
		len += (uint32_t)iov[k].iov_len;
	clock_gettime(CLOCK_REALTIME, &now);
	put_le32(h, (uint32_t)now.tv_sec);
	put_le32(h + 4, (uint32_t)now.tv_nsec);
	put_le32(h + 8, len);
	put_le32(h + 12, len);
	/* Half a record would spoil the rest: without room the capture ends here. */
	if (fd_write_full(end->pcap_fd, h, sizeof(h)) < 0 ||
	    writev(end->pcap_fd, iov, (int)nr) != (ssize_t)len)
		fd_closep(&end->pcap_fd);
}

/* --- addresses ------------------------------------------------------------------------------------------------ */

static int hex(char c)
{
	return c >= '0' && c <= '9'		    ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

int net_parse_mac(struct str v, uint8_t *mac, struct err *err)
{
	bool good = v.n == 17;

	for (unsigned int k = 0; good && k < 6; k++) {
		int high = hex(v.p[3 * k]), low = hex(v.p[3 * k + 1]);

		good = high >= 0 && low >= 0 && (k == 5 || v.p[3 * k + 2] == ':');
		mac[k] = (uint8_t)(high << 4 | low);
	}
	if (!good || (mac[0] & 1))
		return err_set(err, -EINVAL,
			       "address '%.*s': six bytes like 52:54:00:12:34:56, the first one even",
			       (int)MIN(v.n, (size_t)40), v.p);
	return 0;
}

/* --- checksums ------------------------------------------------------------------------------------------------ */

static uint16_t internet_sum(const uint8_t *p, uint32_t n)
{
	uint64_t sum = 0;

	for (; n > 1; p += 2, n -= 2)
		sum += get_be16(p);
	if (n)
		sum += (uint64_t)*p << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

int net_finish_csum(uint8_t *hdr, uint8_t *frame, uint32_t len)
{
	uint32_t start = get_le16(hdr + NET_H_CSUM_START);
	uint32_t at = start + get_le16(hdr + NET_H_CSUM_OFFSET);
	uint16_t sum;

	if (!(hdr[NET_H_FLAGS] & NET_NEEDS_CSUM))
		return 0;
	if (start >= len || !range_ok(at, 2, len))
		return -EINVAL;
	/* The field holds the pseudo header's sum, and is part of what is summed. */
	sum = (uint16_t)~internet_sum(frame + start, len - start);
	put_be16(frame + at, sum ? sum : 0xffff);
	hdr[NET_H_FLAGS] &= (uint8_t)~NET_NEEDS_CSUM;
	put_le16(hdr + NET_H_CSUM_START, 0);
	put_le16(hdr + NET_H_CSUM_OFFSET, 0);
	return 0;
}
